"""The exercises of notebook 10: questions, tests, hints and what to learn."""

from __future__ import annotations

from deepdrift.lab.bench.exercise import Check, Exercise, between, near, percent, says

EXERCISES = {
    "ex_10_1": Exercise(
        question="Which ECE has a model that says 0.8 four times and is right in three?",
        test=near(0.05, 0.001),
        right="one bin, confidence 0.8, accuracy 3/4: a gap of 0.05 on all four predictions.",
        hint="all four share a bin: compare 0.8 with the share that was right.",
        special_hints=(
            (near(0.2, 0.001), "that is 1 - 0.8; compare 0.8 with 3 of 4 right."),
            (near(0.75, 0.001), "that is the accuracy; how far is it from 0.8?"),
            (near(0.0125, 0.0005), "the bin holds all four predictions: its weight is 1."),
        ),
        strong_hint="abs(0.8 - 3 / 4).",
    ),
    "ex_10_2": Exercise(
        question="Of 1,000 calibrated models, how many does the test at 5 % call miscalibrated?",
        test=between(30, 70),
        right="about 50: that is what 5 % means. Without the null band it would be all of them.",
        hint="a test at level alpha is wrong about a true null in a share alpha of cases.",
        special_hints=(
            (between(0.03, 0.07), "that is the share; how many of 1,000?"),
            (between(930, 970), "those are the ones that it leaves in peace."),
            (near(1000, 0.5), "each has an ECE above 0, but within the band of chance."),
            (near(0, 0.5), "then it could never find anything; some are called by bad luck."),
        ),
        strong_hint="0.05 * 1000.",
    ),
    "ex_10_3": Exercise(
        question="What does dividing the logits by T = 2 do to the accuracy: up, down, nothing?",
        test=says(
            *("nothing", "none", "no", "same", "unchanged", "no change", "equal", "no effect"),
            *("stays the same", "it stays the same", "nothing changes", "it does nothing"),
        ),
        right="nothing: the largest logit stays the largest. Only confidence moves.",
        hint="which class is predicted before, and which after dividing all logits by 2?",
        special_hints=(
            (says("up", "better", "increases"), "confidence becomes more honest, but who wins?"),
            (says("down", "worse", "decreases"), "confidence falls; does another class win?"),
        ),
        strong_hint="(4, 1) becomes (2, 0.5): the first one still wins.",
    ),
    "ex_10_4": Exercise(
        question="A model is 61.9 % sure and never right. What is its ECE?",
        test=percent(61.8, 62.0),
        right="confidence minus accuracy, 0.619 - 0: no new information at all.",
        hint="in every bin the accuracy is 0: what is the gap there, and what is the mean gap?",
        special_hints=(
            (near(0.381, 0.001), "that is 1 - 0.619; compare confidence with an accuracy of 0."),
        ),
        strong_hint="Sum of weight * |confidence - 0| is the mean confidence.",
    ),
}


check = Check(EXERCISES)
