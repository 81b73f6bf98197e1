"""Exercises of notebook 06: the right answers pass, the usual wrong ones get their own hint."""

import numpy as np
import pytest
import torch

from deepdrift.lab.mmd.exercises import EXERCISES

TWINS = ([0, 10, 20], [2, 12, 22])


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("ex_06_1", 4),
        ("ex_06_1", torch.tensor([4])),
        ("ex_06_1", "4 values"),
        ("ex_06_2", 11.5),
        ("ex_06_2", 0.115),
        ("ex_06_2", "11,5 %"),
        ("ex_06_3", TWINS),
        ("ex_06_3", torch.tensor(TWINS)),
        ("ex_06_3", np.array(TWINS)),
        ("ex_06_3", ((-40.0, 0.5, 50.0), (-37.5, 2.5, 52.0))),
    ],
)
def test_right_answers(key, answer):
    assert EXERCISES[key].reply(answer).startswith("Right")


@pytest.mark.parametrize(
    ("key", "answer", "hint"),
    [
        ("ex_06_1", 3, "mirror image"),
        ("ex_06_1", 20, "number of splits"),
        ("ex_06_1", 5, "a smaller one"),
        ("ex_06_1", 2, "2n choose n"),
        ("ex_06_1", "four", "2n choose n"),
        ("ex_06_2", 0.045, "one bandwidth"),
        ("ex_06_2", 25, "five unrelated tests"),
        ("ex_06_2", "twice", "run the cell"),
        ("ex_06_3", ([0, 1, 2], [3, 4, 5]), "the test sees this change"),
        ("ex_06_3", ([0, 10, 20], [1, 11, 21]), "at least 2 above"),
        ("ex_06_3", ([0, 10, 20, 30], [2, 12, 22, 32]), "three numbers"),
        ("ex_06_3", ([0, 2, 5], [2, 6, 8]), "three pairs of twins"),
        ("ex_06_3", 1, "three pairs of twins"),
    ],
)
def test_wrong_answers_get_a_hint(key, answer, hint):
    reply = EXERCISES[key].reply(answer)
    assert reply.startswith("Not yet:") and hint in reply, reply


@pytest.mark.parametrize("key", list(EXERCISES))
def test_the_second_try_gets_more(key):
    exercise = EXERCISES[key]
    assert exercise.strong_hint in exercise.reply(1, tries=1)
    assert exercise.strong_hint not in exercise.reply(1)
