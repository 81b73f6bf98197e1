"""The exercises of notebook 02: questions, tests, hints and what to learn."""

from __future__ import annotations

from deepdrift.lab.bench.exercise import Check, Exercise, between, near, percent

EXERCISES = {
    "ex_02_1": Exercise(
        question="In which share of the six pairs does the strange image score higher?",
        test=near(5 / 6, 0.004),
        right="5 beats 1 and 4 but not 6, 7 beats all three: 5 of 6 pairs.",
        hint="write down all six pairs, 5 with 1, 4, 6 and 7 with 1, 4, 6, and count.",
        special_hints=(
            (near(5, 0), "that is the number of pairs; the share is asked."),
            (near(1 / 6, 0.004), "those are the pairs that the normal image wins."),
            (percent(83, 84), "right as a percentage; AUROC is a share from 0 to 1."),
        ),
        strong_hint="7 wins three pairs, 5 wins two of three.",
    ),
    "ex_02_2": Exercise(
        question="How long is the step from z0 to 3 z0 in half the light?",
        test=near(2.0, 1e-6),
        right="the step is 3 z0 - z0 = 2 z0, so 4 in full light and 2 in half of it; the state is "
        "exactly as usual in its direction, only shorter.",
        hint="the step is z1 - z0 = 3 z0 - z0; how long is that when z0 has length 1?",
        special_hints=(
            (near(4.0, 1e-6), "that is the step in full light; now halve z0."),
            (near(3.0, 1e-6), "that is the length of z1 in half the light, not of the step."),
        ),
        strong_hint="The step is twice z0, and z0 has length 1 now.",
    ),
    "ex_02_3": Exercise(
        question="What mean AUROC do random numbers reach after the flip, with 5 images per set?",
        test=between(0.6, 0.75),
        right="the fewer images, the more luck, and the flip turns all luck into merit.",
        hint="experiment.random_aurocs(n_images=5), flip each, take the mean.",
        special_hints=(
            (between(0.53, 0.5999), "that is with 20 images per set; draw 5."),
            (between(0.4, 0.53), "that is the mean without the flip: an honest coin."),
        ),
        strong_hint="answer = sum(experiment.flip(experiment.random_aurocs(n_images=5))) / 15.",
    ),
}


check = Check(EXERCISES)
