"""The exercises of notebook 05: questions, tests, hints and what to learn."""

from __future__ import annotations

from deepdrift.lab.bench.exercise import Check, Exercise, between, says

EXERCISES = {
    "ex_05_1": Exercise(
        question="What does diagnose_drift call the profile 0.2, 0.4, 5.0, 10.0?",
        test=says("spurious correlation"),
        right="two calm layers, then 5 / 10 = 0.5 of the peak, less than 0.6: it grows and does "
        "not jump.",
        hint="find the first drift of 3 or more and divide it by the peak.",
        special_hints=(
            (says("broken layer"), "a broken layer reaches 0.6 of the peak at once; this is 0.5."),
            (says("novel class", "sensor failure"), "that needs drift in the first layer."),
        ),
    ),
    "ex_05_2": Exercise(
        question="How many of the 40 runs of the derivation faults does the ViT's doctor name?",
        test=between(23, 27),
        right="old faults on a new architecture: broken weights keep their names, and the rotated "
        "images and the reversed cue are called a broken layer.",
        hint="sum(c.diagnosis.name == c.expected for c in vit.cases(clinic.DERIVATION)).",
        special_hints=(
            (between(0.57, 0.68), "right, as a share: give the number of runs."),
            (between(57, 68), "right, in percent: give the number of runs."),
        ),
    ),
    "ex_05_3": Exercise(
        question="Which five drifts do the five rules call a sensor failure, wrongly?",
        test=lambda p: len(p) == 5 and p[0] > 3 > p[4] and p[4] < 0.6 * p[0] and max(p) > 2 * p[0],
        right="the rules ask the first layer and the last; what the others show is not looked at.",
        hint="the first drift above 3, the last below 3 and below 0.6 of the first; where do the "
        "rules not look?",
        special_hints=(
            (lambda p: len(p) != 5, "five drifts, please."),
            (
                lambda p: p[0] > 3 > p[4] and p[4] < 0.6 * p[0],
                "the rules say sensor failure; now let another layer exceed twice the first.",
            ),
        ),
    ),
}


check = Check(EXERCISES)
