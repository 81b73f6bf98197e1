"""Exercises of notebook 07: the right answers pass, the usual wrong ones get their own hint."""

import numpy as np
import pytest

from deepdrift.lab.dime.exercises import EXERCISES

STEEP = ([0.5, 0.25, 0.125, 0.125], 0.75)


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("ex_07_1", (1.0, 3.1623)),
        ("ex_07_1", [1, 10**0.5]),
        ("ex_07_2", 0.8),
        ("ex_07_2", "77 %"),
        ("ex_07_2", np.array([77.0])),
        ("ex_07_1", np.array([[1.0, 3.1623]])),
        ("ex_07_3", STEEP),
        ("ex_07_3", ((0.5, 0.25, 0.125, 0.0625, 0.0625), 0.75)),
    ],
)
def test_right_answers(key, answer):
    assert EXERCISES[key].reply(answer).startswith("Right")


@pytest.mark.parametrize(
    ("key", "answer", "hint"),
    [
        ("ex_07_1", (10**0.5, 1), "wrong order"),
        ("ex_07_1", (1, 5), "units of the features"),
        ("ex_07_1", (1, 2), "root of the variance"),
        ("ex_07_1", (-1, 3.162), "never negative"),
        ("ex_07_1", 1, "subtract (5, 5)"),
        ("ex_07_2", 0.05, "that is the promise"),
        ("ex_07_2", 0.37, "with 200 images"),
        ("ex_07_2", "37 %", "with 200 images"),
        ("ex_07_2", "many", "change 200 to 70"),
        ("ex_07_3", ([0.5, 0.25], 0.75), "add up to 1"),
        ("ex_07_3", ([0.25, 0.75], 0.75), "must be positive, fall"),
        ("ex_07_3", ([0.75, 0.25], 0.75), "ask for more"),
        ("ex_07_3", ([0.5, 0.25, 0.125, 0.125], 0.7), "make a tie"),
        ("ex_07_3", ([0.5, 0.5], 1.0), "make a tie"),
        ("ex_07_3", ([0.25] * 4, 0.5), "steeply"),
        ("ex_07_3", 3, "give (shares, wanted)"),
    ],
)
def test_wrong_answers_get_a_hint(key, answer, hint):
    reply = EXERCISES[key].reply(answer)
    assert reply.startswith("Not yet:") and hint in reply, reply
