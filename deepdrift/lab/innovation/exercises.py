"""The exercises of notebook 02b: questions, tests, hints and what to learn."""

from __future__ import annotations

from deepdrift.lab.bench.exercise import Check, Exercise, between, near

EXERCISES = {
    "ex_02b_1": Exercise(
        question="Which start and innovation does your pair have, as (start, innovation)?",
        test=lambda answer: float(answer[0]) > 100 and 0 <= float(answer[1]) < 0.5,
        right="a start that was never seen, and then a step exactly as usual: innovation is calm, "
        "the whole trajectory is not.",
        hint="the rule is target = 2 x source: go far out, and then obey it.",
        special_hints=(
            (lambda answer: float(answer[0]) <= 100, "start further out: 20 is far enough."),
            (lambda answer: float(answer[1]) >= 0.5, "you are far out; now obey target = 2 x."),
        ),
        strong_hint="The start scores source squared over 2; try the pair (20, 40).",
    ),
    "ex_02b_2": Exercise(
        question="Which relative distance have the logits (4, 1)?",
        test=near(0.0, 0.01),
        right="2 to its class and 2 to the whole: as near to the one as to the other.",
        hint="squared length over variance twice: from (4, 0) with 0.5, from (0, 0) with 8.5.",
        special_hints=(
            (near(2.0, 0.01), "that is one of the two distances; subtract the other."),
            (near(1.0, 0.01), "that is the squared length; divide by the variance 0.5."),
        ),
        strong_hint="1 / 0.5 to the class mean, 17 / 8.5 to the mean of all.",
    ),
    "ex_02b_3": Exercise(
        question="What do the layers of a block with p = 0.5, 0.01, 0.2, 0.02 add up to?",
        test=between(17.0, 17.06),
        right="the two smallest speak: -2 log 0.01 - 2 log 0.02 = 9.21 + 7.82.",
        hint="only the two smallest p-values speak, each as -2 log p (natural logarithm).",
        special_hints=(
            (between(21.6, 21.7), "that is the sum over all four; two speak."),
            (between(9.1, 9.3), "that is the smallest alone; two speak."),
            (between(7.3, 7.5), "that is with the logarithm to base 10; take the natural one."),
        ),
        strong_hint="-2 * (math.log(0.01) + math.log(0.02)).",
    ),
}


check = Check(EXERCISES)
