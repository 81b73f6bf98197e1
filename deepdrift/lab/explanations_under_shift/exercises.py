"""The exercises of notebook 09: questions, tests, hints and what to learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepdrift.lab.bench.exercise import Check, Exercise, near, percent, says


def _four(*values: float) -> Any:
    """Test for four numbers in their order, of either sign where a map drops it."""

    def test(answer: Sequence[float]) -> bool:
        given = [float(x) for x in _flat(answer)]
        return len(given) == 4 and all(
            abs(a - b) < 1e-3 for a, b in zip(given, values, strict=True)
        )

    return test


def _flat(answer: Any) -> list[Any]:
    return [y for x in answer for y in (_flat(x) if isinstance(x, list | tuple) else [x])]


EXERCISES = {
    "ex_09_1": Exercise(
        question="Which four numbers does integrated gradients give the image 1, 0.5, 1, 0?",
        test=lambda answer: _four(2, -0.5, 0, 0)(answer) or _four(2, 0.5, 0, 0)(answer),
        right="weight times pixel; with their signs they add up to f(x) - f(black) = 1.5. The "
        "heaviest weight gets nothing, for its pixel is black.",
        hint="in a linear model each pixel adds its weight times its grey value.",
        special_hints=(
            (_four(2, 1, 0, 3), "that is saliency; the size of the pixel counts too."),
            (_four(2, -1, 0, 3), "those are the weights; the size of the pixel counts too."),
            (near(1.5, 1e-3), "that is their sum; give the four."),
        ),
        strong_hint="The first is 2 x 1, the second -1 x 0.5.",
    ),
    "ex_09_2": Exercise(
        question="Which rank correlation do two empty maps get from argsort?",
        test=near(1.0, 1e-6),
        right="argsort numbers equal values in order, the same in both maps: a perfect 1.0 from "
        "two maps that say nothing. Ours answers NaN.",
        hint="run it: both maps are the same zeros, so both get the same ranks.",
        special_hints=(
            (near(0.0, 1e-6), "so one would wish; run the lines and look."),
            (lambda answer: answer != answer, "that is what ours answers; what does argsort?"),
        ),
        strong_hint="The ranks are 0, 1, 2, ... in both; correlate them.",
    ),
    "ex_09_3": Exercise(
        question="Which overlap have two random halves of very many pixels by chance?",
        test=lambda answer: near(1 / 3, 0.01)(answer) or percent(33, 34)(answer),
        right="a quarter of the pixels is in both, three quarters in either: 1 / 3. With a top "
        "half chance alone looks three times as alike as with a top fifth.",
        hint="which share of the pixels is in both halves, which in at least one?",
        special_hints=(
            (near(0.25, 1e-3), "that is the share in both; divide by the share in either."),
            (near(0.5, 1e-3), "that is the share of each; how much of it is common?"),
            (near(1 / 9, 0.002), "that is the chance for the top 20 %."),
        ),
        strong_hint="Both: 1/2 x 1/2. Either: 1/2 + 1/2 - 1/4.",
    ),
    "ex_09_4": Exercise(
        question="How far, in percent, has an overlap of 0.58 come from 0.16 to identical?",
        test=percent(49.5, 50.5),
        right="0.42 of 0.84: half of the way.",
        hint="what lies above 0.16, of all that could: 1 - 0.16.",
        special_hints=(
            (percent(57.5, 58.5), "that starts at zero, where no two maps are."),
            (percent(41.5, 42.5), "that is what lies above 0.16; divide by what could."),
            (percent(52, 53.5), "that starts at chance; start at the same class."),
        ),
        strong_hint="(0.58 - 0.16) / (1 - 0.16).",
    ),
    "ex_09_5": Exercise(
        question="Turned back with its image, is the ViT's saliency nearer to the clean map?",
        test=says("no", "further", "further away", "less", "less alike", "lower"),
        right="no: the map has not turned with the garment, so a low overlap under rotation is not "
        "the grid's doing; the grid alone leaves 0.60.",
        hint="run the lines and compare the first two numbers.",
        special_hints=(
            (says("yes", "nearer", "higher", "more"), "so one would hope; look again."),
        ),
        strong_hint="The second number is the one after turning back: higher or lower?",
    ),
}


check = Check(EXERCISES)
