"""The exercises of notebook 01: questions, tests, hints and what to learn."""

from __future__ import annotations

from typing import Any

from deepdrift.lab.bench.exercise import Check, Exercise, Test, percent, says


def _numbers(*expected: float) -> Test:
    """Test for these numbers in this order."""

    def test(answer: Any) -> bool:
        return [float(value) for value in answer] == list(expected)

    return test


EXERCISES = {
    "ex_01_1": Exercise(
        question="What is the mean-pooled state of the tokens (0, 0), (2, 4) and (4, 8)?",
        test=_numbers(2, 4),
        right="each coordinate is averaged: (0 + 2 + 4) / 3 and (0 + 4 + 8) / 3.",
        hint="average over the tokens, coordinate by coordinate; the result has two numbers.",
        special_hints=(
            (_numbers(4, 8), "that is the last token."),
            (_numbers(0, 0), "that is the first token."),
            (_numbers(6, 12), "that is the sum; there are three tokens."),
            (_numbers(4, 2), "the right numbers in the other order."),
        ),
        strong_hint="The first coordinates are 0, 2 and 4, the second ones 0, 4 and 8.",
    ),
    "ex_01_2": Exercise(
        question="How many percent does the class token of the ViT's blocks.4 get right?",
        test=percent(88.5, 91),
        right="the class token carries the answer; averaged over all tokens it is diluted.",
        hint='collect(vit, ..., ["blocks.4"], pooling="cls") for the fit and the test images, then '
        "nearest_mean; divide the hits by 30.",
        special_hints=(
            (percent(75, 78), "that is mean pooling again: pass pooling='cls' to collect."),
        ),
        strong_hint="The network itself is right in 90 %; its class token is about as good.",
    ),
    "ex_01_3": Exercise(
        question="In which layer of vit-holdout do sandals and bags stand out most?",
        test=says("blocks.0", "block 0", "blocks.0 of vit-holdout"),
        right="right after the first block; the CNN needs two blocks more.",
        hint="six layers this time: use data.NETWORK_LAYERS['vit-holdout'] everywhere.",
        special_hints=(
            (says("blocks.2", "blocks.3"), "that is the CNN's answer; did you swap the network?"),
            (
                says("patch"),
                "patch is the ViT's first layer, and blocks.0 the one after it; close.",
            ),
        ),
        strong_hint="The largest of the six AUROCs is 0.89.",
    ),
}


check = Check(EXERCISES)
