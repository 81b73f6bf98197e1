"""Exercises of notebook 00: right answers pass in any dress, usual wrong ones get their hint."""

import numpy as np
import pytest
import torch

from deepdrift.lab.start_here.exercises import EXERCISES
from deepdrift.lab.start_here.explorer import count_alarms


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("ex_00_0", "50 %"),
        ("ex_00_1", 24),
        ("ex_00_1", "24 pictures"),
        ("ex_00_1", [24]),
        ("ex_00_1", torch.tensor([[24.0]])),
        ("ex_00_2", 18.8),
        ("ex_00_2", "18.8 %"),
        ("ex_00_2", "18,8 %"),
        ("ex_00_2", np.array([18.8])),
        ("ex_00_2", 0.188),
        ("ex_00_3", " Rarely "),
        ("ex_00_3", "'rarely.'"),
    ],
)
def test_right_answers_in_any_dress(key, answer):
    assert EXERCISES[key].reply(answer).startswith("Right")


def test_a_share_is_right_and_told_what_it_is_in_percent():
    assert "in percent it is 18.8" in EXERCISES["ex_00_2"].reply(0.188)


@pytest.mark.parametrize(
    ("key", "answer", "hint"),
    [
        ("ex_00_1", 120, "alpha = 0.05"),
        ("ex_00_1", 0.01, "how many pictures"),
        ("ex_00_1", 2400, "share of normal pictures"),
        ("ex_00_1", "a few", "give a number"),
        ("ex_00_2", 2.9, "for 5 %"),
        ("ex_00_2", "81.2 %", "caught"),
        ("ex_00_2", 0.971, "caught at the line"),
        ("ex_00_2", count_alarms([1], [2], 3), "1.0 % false alarms"),
        ("ex_00_3", "never", "not never"),
        ("ex_00_3", "always", "calibrated on"),
    ],
)
def test_wrong_answers_get_a_hint(key, answer, hint):
    reply = EXERCISES[key].reply(answer)
    assert reply.startswith("Not yet:") and hint in reply


@pytest.mark.parametrize("key", EXERCISES)
def test_the_second_wrong_try_gets_the_stronger_hint_and_what_is_printed_fits(key):
    exercise = EXERCISES[key]
    assert exercise.strong_hint and exercise.reply("?", tries=1).endswith(exercise.strong_hint)
    assert len(f"Right: {exercise.right}") <= 100
