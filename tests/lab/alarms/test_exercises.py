"""Exercises of notebook 04: the right answers pass, the usual wrong ones get their own hint."""

import pytest

from deepdrift import State
from deepdrift.lab.alarms.exercises import EXERCISES


@pytest.mark.parametrize(
    ("key", "answer"), [("ex_04_1", 4), ("ex_04_2", "More"), ("ex_04_3", State.INVALID)]
)
def test_right_answers(key, answer):
    assert EXERCISES[key].reply(answer).startswith("Right:")


@pytest.mark.parametrize(
    ("key", "answer", "hint"),
    [
        ("ex_04_1", 3, "not running"),
        ("ex_04_1", 1, "clear_after=1"),
        ("ex_04_2", "fewer", "after a recovery"),
        ("ex_04_3", "ALERT", "neither"),
    ],
)
def test_wrong_answers_get_a_hint(key, answer, hint):
    reply = EXERCISES[key].reply(answer)
    assert reply.startswith("Not yet:") and hint in reply
