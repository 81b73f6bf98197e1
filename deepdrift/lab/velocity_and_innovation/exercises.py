"""The exercises of notebook 02: questions, tests, hints and what to learn."""

from __future__ import annotations

from deepdrift.lab.bench.exercise import Check, Exercise, between, near

EXERCISES = {
    "ex_02_1": Exercise(
        question="How long is the step from z0 to 3 z0 in half the light?",
        test=near(2.0, 1e-6),
        right="the step is 3 z0 - z0 = 2 z0, so 4 in full light and 2 in half of it; the state is "
        "exactly as usual in its direction, only shorter.",
        hint="the step is z1 - z0 = 3 z0 - z0; how long is that when z0 has length 1?",
        special_hints=(
            (near(4.0, 1e-6), "that is the step in full light; now halve z0."),
            (near(3.0, 1e-6), "that is the length of z1 in half the light, not of the step."),
        ),
    ),
    "ex_02_2": Exercise(
        question="What mean AUROC do random numbers reach after the flip, with 5 images per set?",
        test=between(0.6, 0.75),
        right="the fewer images, the more luck, and the flip turns all luck into merit.",
        hint="draw torch.rand(2, 15, 5, ...), 15 AUROCs, flip each, take the mean.",
        special_hints=(
            (between(0.53, 0.5999), "that is with 20 images per set; draw 5."),
            (between(0.4, 0.53), "that is the mean without the flip: an honest coin."),
        ),
    ),
    "ex_02_3": Exercise(
        question="Which start and innovation does your pair have, as (start, innovation)?",
        test=lambda answer: float(answer[0]) > 100 and 0 <= float(answer[1]) < 0.5,
        right="a start that was never seen, and then a step exactly as usual: innovation is calm, "
        "the whole trajectory is not.",
        hint="the rule is target = 2 x source: go far out, and then obey it.",
        special_hints=(
            (lambda answer: float(answer[0]) <= 100, "start further out: 20 is far enough."),
            (lambda answer: float(answer[1]) >= 0.5, "you are far out; now obey target = 2 x."),
        ),
    ),
}


check = Check(EXERCISES)
