"""Exercises of notebook 01: the right answers pass, the usual wrong ones get their own hint."""

import pytest

from deepdrift.lab.hidden_states.exercises import EXERCISES


@pytest.mark.parametrize(
    ("key", "answer"),
    [("ex_01_1", [2, 4]), ("ex_01_1", (2.0, 4.0)), ("ex_01_2", 89.8), ("ex_01_3", "blocks.0")],
)
def test_right_answers(key, answer):
    assert EXERCISES[key].reply(answer).startswith("Right:")


@pytest.mark.parametrize(
    ("key", "answer", "hint"),
    [
        ("ex_01_1", [4, 8], "last token"),
        ("ex_01_1", 3, "average over the tokens"),
        ("ex_01_2", 0.898, "in percent"),
        ("ex_01_2", 76.5, "mean pooling again"),
        ("ex_01_3", "blocks.2", "CNN's answer"),
        ("ex_01_3", "stem", "six layers"),
    ],
)
def test_wrong_answers_get_a_hint(key, answer, hint):
    reply = EXERCISES[key].reply(answer)
    assert reply.startswith("Not yet:") and hint in reply
