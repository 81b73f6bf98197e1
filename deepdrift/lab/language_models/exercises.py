"""The exercises of notebook 12: questions, tests, hints and what to learn."""

from __future__ import annotations

from deepdrift.lab.bench.exercise import Check, Exercise, between, near, percent, says

EXERCISES = {
    "ex_12_1": Exercise(
        question="Two tokens of probability 0.9 and 0.1: the NLL of the whole answer, in nats?",
        test=near(2.408, 0.01),
        right="-log(0.9 * 0.1) = 0.11 + 2.30. Its first token alone would look like certainty.",
        hint="the probability of the answer is the product of its tokens'; take minus its log.",
        special_hints=(
            (near(0.105, 0.006), "that is the first token alone."),
            (near(2.303, 0.006), "that is the second token alone."),
            (near(1.204, 0.006), "that is the mean over tokens; the whole answer is the sum."),
            (near(0.09, 0.001), "that is its probability; take minus the natural logarithm."),
            (near(1.046, 0.006), "that is a logarithm to base 10; nats are natural logarithms."),
            (near(3.474, 0.006), "those are bits; nats are natural logarithms."),
            (near(-2.408, 0.01), "negative log-likelihood: turn the sign."),
        ),
        strong_hint="-math.log(0.9) - math.log(0.1).",
    ),
    "ex_12_2": Exercise(
        question="Velocity has AUROC 0.36. In how many percent of pairs does the made-up one move "
        "less?",
        test=percent(63.9, 64.1),
        right="1 - 0.36. It is worse than a coin, in a reliable way: the claimed sign is wrong.",
        hint="AUROC is the share of pairs (made up, known) in which the made-up one scores higher.",
        special_hints=(
            (percent(35.9, 36.1), "that is the share in which it moves more."),
            (percent(49.9, 50.1), "that would be a coin; 0.36 is not one."),
            (percent(13.9, 14.1), "that is the distance from a coin."),
        ),
        strong_hint="100 * (1 - 0.36).",
    ),
    "ex_12_3": Exercise(
        question="A score adds .04 beside the first token and nothing beside the whole answer. "
        "Does it know what the output does not say?",
        test=says("no", "no it does not", "nothing", "it does not", "false"),
        right="no: it knows, roughly, what the rest of the answer says, and that was already paid.",
        hint="what does the whole answer's log-probability have that its first token's has not?",
        special_hints=(
            (says("yes", "true"), "then it would add something beside the whole answer too."),
        ),
        strong_hint="The second, third, ... token are output as well.",
    ),
    "ex_12_4": Exercise(
        question="Of 400 questions the surest 40 % are answered, 15 % of these wrong. How many "
        "confident errors?",
        test=near(24, 0.01),
        right="0.15 * 160. A share of errors is a number of people who were told something false.",
        hint="how many questions are answered? Then take the wrong ones of these.",
        special_hints=(
            (near(160, 0.5), "that is how many are answered; how many of these are wrong?"),
            (near(60, 0.5), "that is 15 % of all 400; only 40 % are answered."),
            (near(136, 0.5), "those are the right ones among the answers."),
            (between(0.05, 0.07), "that is the share of all questions; how many of 400?"),
        ),
        strong_hint="0.4 * 400 * 0.15.",
    ),
}


check = Check(EXERCISES)
