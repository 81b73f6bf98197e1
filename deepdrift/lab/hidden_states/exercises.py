"""The exercises of notebook 01: questions, tests, hints and what to learn."""

from __future__ import annotations

from deepdrift.lab.bench.exercise import Check, Exercise, between, says

EXERCISES = {
    "ex_01_1": Exercise(
        question="What is the mean-pooled state of the tokens (0, 0), (2, 4) and (4, 8)?",
        test=lambda answer: [float(v) for v in answer] == [2.0, 4.0],
        right="each coordinate is averaged over the three tokens: (0 + 2 + 4) / 3 and "
        "(0 + 4 + 8) / 3.",
        hint="average over the tokens, coordinate by coordinate; the result has two numbers.",
        special_hints=(
            (lambda answer: [float(v) for v in answer] == [4.0, 8.0], "that is the last token."),
            (lambda answer: [float(v) for v in answer] == [0.0, 0.0], "that is the first token."),
        ),
    ),
    "ex_01_2": Exercise(
        question="How many percent does the class token of the ViT's blocks.4 get right?",
        test=between(88.5, 91),
        right="the class token carries the answer; averaged over all tokens it was diluted.",
        hint='collect(vit, ..., ["blocks.4"], pooling="cls") for the fit and the test images, then '
        "nearest_mean; divide the hits by 30.",
        special_hints=(
            (between(0.885, 0.91), "right, as a share: give it in percent."),
            (between(75, 78), "that is mean pooling again: pass pooling='cls' to collect."),
        ),
    ),
    "ex_01_3": Exercise(
        question="In which layer of vit-holdout do sandals and bags stand out most?",
        test=says("blocks.0"),
        right="the ViT sees them best right after the first block, where the CNN needs two blocks "
        "more: which layer to trust depends on the network.",
        hint="six layers this time: use data.NETWORK_LAYERS['vit-holdout'] everywhere.",
        special_hints=(
            (says("blocks.2", "blocks.3"), "that is the CNN's answer; did you swap the network?"),
        ),
    ),
}


check = Check(EXERCISES)
