"""Exercises of notebook 00: the right answers pass, the usual wrong ones get their own hint."""

import pytest

from deepdrift.lab.start_here.exercises import EXERCISES


@pytest.mark.parametrize(
    ("key", "answer"), [("ex_00_1", 24), ("ex_00_2", 18.5), ("ex_00_3", " Rarely ")]
)
def test_right_answers(key, answer):
    assert EXERCISES[key].reply(answer).startswith("Right:")


@pytest.mark.parametrize(
    ("key", "answer", "hint"),
    [
        ("ex_00_1", 120, "alpha = 0.05"),
        ("ex_00_1", 2400, "share of normal pictures"),
        ("ex_00_2", 0.185, "in percent"),
        ("ex_00_2", 2.9, "for 5 %"),
        ("ex_00_2", 81.5, "caught"),
        ("ex_00_3", "never", "not never"),
        ("ex_00_3", "always", "calibrated on"),
    ],
)
def test_wrong_answers_get_a_hint(key, answer, hint):
    reply = EXERCISES[key].reply(answer)
    assert reply.startswith("Not yet:") and hint in reply
