"""Exercises of notebook 04: the right answers pass in any dress, wrong ones get their own hint."""

import numpy as np
import pytest
import torch

from deepdrift import DriftObserver, ObserverConfig, State
from deepdrift.lab.alarms.exercises import EXERCISES

BROKEN = DriftObserver(ObserverConfig()).update(float("nan"))


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("ex_04_1", 4),
        ("ex_04_1", "4 values"),
        ("ex_04_1", np.array([4])),
        ("ex_04_1", torch.tensor([[4.0]])),
        ("ex_04_2", "More"),
        ("ex_04_2", " more changes. "),
        ("ex_04_3", State.INVALID),
        ("ex_04_3", "invalid"),
        ("ex_04_3", BROKEN.state),
    ],
)
def test_right_answers(key, answer):
    assert EXERCISES[key].reply(answer).startswith("Right:")


@pytest.mark.parametrize(
    ("key", "answer", "hint"),
    [
        ("ex_04_1", 3, "not running"),
        ("ex_04_1", 1, "clear_after=1"),
        ("ex_04_1", "two", "give a number"),
        ("ex_04_1", 2, "is not calm"),
        ("ex_04_2", "the same", "one value now"),
        ("ex_04_2", "fewer", "after a recovery"),
        ("ex_04_3", "ALERT", "neither"),
    ],
)
def test_wrong_answers_get_a_hint(key, answer, hint):
    reply = EXERCISES[key].reply(answer)
    assert reply.startswith("Not yet:") and hint in reply


@pytest.mark.parametrize("key", EXERCISES)
def test_the_second_wrong_try_gets_a_stronger_hint(key):
    first, second = (EXERCISES[key].reply("a guess", tries) for tries in (0, 1))
    assert second == f"{first} {EXERCISES[key].strong_hint}" and second != first
