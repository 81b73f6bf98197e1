"""The exercises of notebook 07: questions, tests, hints and what to learn."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from deepdrift.baselines.plane import choose_rank
from deepdrift.lab.bench.exercise import Check, Exercise, between, percent
from deepdrift.lab.dime.rank_mutants import survivors


def _is_spectrum(shares: Any) -> bool:
    falls = all(a >= b > 0 for a, b in itertools.pairwise(shares))
    return falls and abs(sum(shares) - 1) < 1e-9


def _living_mutants(shares: Any, wanted: float) -> list[str]:
    right = choose_rank(torch.tensor(shares, dtype=torch.float64), float(wanted))
    return survivors(lambda rank: rank(shares, wanted) == right)


EXERCISES = {
    "ex_07_1": Exercise(
        question="How far is (9.6, 7.2) outside and within, as (outside, within)?",
        test=lambda answer: abs(answer[0] - 1) < 0.01 and abs(answer[1] - 10**0.5) < 0.01,
        right="minus the mean it is (4.6, 2.2): 5 along (0.8, 0.6) and 1 across; 5 divided by the "
        "standard deviation, the root of 2.5, is 3.16.",
        hint="subtract (5, 5), then multiply with (0.8, 0.6) and with (-0.6, 0.8).",
        special_hints=(
            (
                lambda answer: abs(answer[0] - 10**0.5) < 0.01 and abs(answer[1] - 1) < 0.01,
                "right numbers, wrong order: (outside, within).",
            ),
            (
                lambda answer: abs(answer[0] - 1) < 0.01 and abs(answer[1] - 5) < 0.01,
                "5 along the line is in units of the features; divide by the root of 2.5.",
            ),
            (
                lambda answer: abs(answer[0] - 1) < 0.01 and abs(answer[1] - 2) < 0.01,
                "divide by the standard deviation, the root of the variance.",
            ),
            (lambda answer: answer[0] < 0, "a distance is never negative."),
        ),
        strong_hint="Minus the mean it is (4.6, 2.2): 5 along the line, 1 across.",
    ),
    "ex_07_2": Exercise(
        question="Which false-alarm rate does a plane of 70 images give that calibrates itself?",
        test=percent(70, 95),
        right="a plane of 27 directions laid through 70 images lies close to these 70: new images "
        "are nearly twice as far away. Calibrate on images the plane never saw.",
        hint="change 200 to 70: fit and calibration are one call.",
        special_hints=(
            (between(0.3, 0.5), "that is with 200 images."),
            (between(30, 50), "that is with 200 images."),
            (between(0.0, 0.1), "that is the promise; change one number and run the cell."),
        ),
        strong_hint='experiment.held_out_or_own(vit, ..., 70, 0.05)["its own"].',
    ),
    "ex_07_3": Exercise(
        question="Which shares and wanted share are too much for all four mutants?",
        test=lambda answer: _is_spectrum(answer[0]) and not _living_mutants(*answer),
        right="the rank is more than 1, a sum of the shares meets the wanted share exactly, and "
        "the square roots are more even than the shares. One example kills four mistakes.",
        hint="give (shares, wanted), such as ([0.5, 0.3, 0.2], 0.6).",
        special_hints=(
            (
                lambda answer: not _is_spectrum(answer[0]),
                "the shares must be positive, fall and add up to 1.",
            ),
            (
                lambda answer: "first short" in _living_mutants(*answer),
                "where rank 1 is right, a constant 1 is right as well: ask for more.",
            ),
            (
                lambda answer: "one too many at a tie" in _living_mutants(*answer),
                "make a tie: let the first two shares add up to exactly the wanted share.",
            ),
            (
                lambda answer: "sizes for squares" in _living_mutants(*answer),
                "let the shares fall off steeply, so that their roots tell another story.",
            ),
        ),
        strong_hint="Begin with 0.5 and 0.25 and want 0.75; let small ones fill the rest.",
    ),
}


check = Check(EXERCISES)
