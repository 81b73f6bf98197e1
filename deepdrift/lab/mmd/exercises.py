"""The exercises of notebook 06: questions, tests, hints and what to learn."""

from __future__ import annotations

from typing import Any

from deepdrift.lab.bench.exercise import Check, Exercise, near, percent
from deepdrift.lab.mmd.exact_test import exact_p_value


def _moved_up(x: Any, y: Any) -> bool:
    return len(x) == len(y) == 3 and all(b - a >= 2 for a, b in zip(x, y, strict=True))


EXERCISES = {
    "ex_06_1": Exercise(
        question="From which group size n can an exact test of n against n reach p <= 0.05?",
        test=near(4, 0),
        right="8 values split in 70 ways, and the true groups and their mirror image make 2/70, "
        "below 0.03; 3 against 3 stops at 2/20.",
        hint="2n values split in (2n choose n) ways; how many of these reach the true groups' "
        "value at least?",
        special_hints=(
            (near(3, 0), "1/20 would do, but the mirror image always ties: 2/20."),
            (near(20, 0), "that is the number of splits, not the size of a group."),
            (lambda n: float(n) > 4, "that is enough; a smaller one is enough too."),
        ),
        strong_hint="4 against 4 has 70 splits, and two of them always tie.",
    ),
    "ex_06_2": Exercise(
        question="Which false-alarm rate, in percent, does the smallest p of five bandwidths give?",
        test=percent(8, 16),
        right="five chances instead of one. It is not five times 5 %, since the five tests look "
        "at the same values; the aggregated test knows that and keeps 5 %.",
        hint="factors = [1/4, 1/2, 1, 2, 4], and run the cell.",
        special_hints=(
            (percent(20, 26), "five times 5 % would need five unrelated tests; run the cell."),
            (percent(0.5, 8), "that is one bandwidth, or too few; take all five."),
        ),
        strong_hint="The cell prints the rate in percent, with its interval; take the first "
        "number.",
    ),
    "ex_06_3": Exercise(
        question="Which x and y, each y at least 2 larger, have p = 1, as (x, y)?",
        test=lambda answer: _moved_up(*answer) and exact_p_value(*answer) == 1,
        right="each y is nearest to its own x, and the pairs lie far apart: a split that "
        "joins twins has a larger MMD², and none has a smaller one.",
        hint="three pairs of twins, far from each other: every y near its own x and far from all "
        "else.",
        special_hints=(
            (
                lambda answer: not _moved_up(*answer),
                "give three numbers x and three numbers y, each y at least 2 above its x.",
            ),
            (
                lambda answer: exact_p_value(*answer) < 0.5,
                "the test sees this change; keep each y close to its own x, the pairs far apart.",
            ),
        ),
        strong_hint="Start from x = 0, 10, 20 and put each y just above its x.",
    ),
}


check = Check(EXERCISES)
