"""The exercises of notebook 11: questions, tests, hints and what to learn."""

from __future__ import annotations

import re
from typing import Any

from deepdrift.lab.bench.exercise import Check, Exercise, Test, near, says


def _two(first: float, second: float) -> Test:
    """Test for two percentages in their order, or the shares that they are; also in a sentence."""

    def test(answer: Any) -> bool | str:
        parts = re.findall(r"\d+(?:\.\d+)?", answer) if isinstance(answer, str) else answer
        a, b = (float(part) for part in parts)
        if abs(a - first) < 0.05 and abs(b - second) < 0.05:
            return True
        shares = abs(100 * a - first) < 0.05 and abs(100 * b - second) < 0.05
        return "as shares; in percent they are a hundred times that" if shares else False

    return test


EXERCISES = {
    "ex_11_1": Exercise(
        question="A cart moves 0.5 m a step; its position sensor freezes. How large is the "
        "innovation of the first frozen reading, if the next reading is predicted as this one "
        "plus 0.5?",
        test=near(0.5, 0.001),
        right="predicted is 0.5 more, seen is the same: a residual of 0.5, while the velocity of "
        "the reading is 0.",
        hint="the prediction is the last reading + 0.5; what does the frozen sensor show?",
        special_hints=(
            (near(0, 0.001), "that is the velocity: nothing moves. What was predicted?"),
            (near(-0.5, 0.001), "right but for the sign: how large is it?"),
            (near(1.0, 0.001), "the reading stays; the prediction goes on by 0.5, once."),
        ),
        strong_hint="abs(x - (x + 0.5)).",
    ),
    "ex_11_2": Exercise(
        question="How many calibration episodes does a threshold with 1 % false alarms per "
        "episode need at least?",
        test=near(99, 0),
        right="the new episode is one of n + 1, all equally likely to hold the largest maximum: "
        "1 / (n + 1) is at most 1 % from n = 99 on.",
        hint="if n episodes are normal, how likely does the next one exceed all of them?",
        special_hints=(
            (near(100, 0), "enough, but one fewer will do: count the new episode too."),
            (near(19, 0), "that is for 5 %."),
        ),
        strong_hint="Solve 1 / (n + 1) = 0.01.",
    ),
    "ex_11_3": Exercise(
        question="A fault at step 100, an alarm at 180, control is lost at 184; 5 steps are "
        "needed. Caught in time, too late, missed, or a false alarm?",
        test=says("too late", "late", "it is too late", "alarm too late"),
        right="184 - 180 = 4 steps are fewer than 5. That the fault is 80 steps old does not help.",
        hint="how many steps lie between the alarm and the loss?",
        special_hints=(
            (says("caught in time", "caught", "in time"), "after the alarm 4 steps are left."),
            (says("missed"), "there was an alarm."),
            (says("false alarm", "false", "a false alarm"), "the fault began before the alarm."),
        ),
        strong_hint="184 - 180 = 4, and 5 are needed.",
    ),
    "ex_11_4": Exercise(
        question="One key rings in 48 % of the survived episodes and catches 92 % of the failures. "
        "Which two numbers must two keys reach to meet the bar: benign alarms at most, failures "
        "caught at least, in percent?",
        test=_two(24, 82),
        right="half of 48 is 24, and ten points below 92 is 82. Both must hold: the cart misses "
        "the second, the lander the first.",
        hint="at most half of the benign alarms, at most ten points of the caught failures lost; "
        "give the two as (a, b).",
        special_hints=(
            (_two(82, 24), "right, the other way round: first the alarms, then the failures."),
            (_two(24, 82.8), "ten points, not ten percent of 92."),
            (_two(38, 82), "of the benign alarms half must go, not ten points."),
            (_two(24, 46), "half is for the benign alarms; of the failures ten points."),
            (_two(48, 92), "those are the shares of one key; what may two keys have?"),
        ),
        strong_hint="48 / 2 and 92 - 10.",
    ),
}


check = Check(EXERCISES)
