"""Exercises of notebook 01: right answers pass in any dress, usual wrong ones get their hint."""

import numpy as np
import pytest
import torch

from deepdrift.lab.hidden_states.exercises import EXERCISES
from deepdrift.states.pooling import pool

TOKENS = torch.tensor([[[0.0, 0.0], [2.0, 4.0], [4.0, 8.0]]])


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("ex_01_1", [2, 4]),
        ("ex_01_1", (2.0, 4.0)),
        ("ex_01_1", pool(TOKENS)),
        ("ex_01_1", pool(TOKENS).tolist()),
        ("ex_01_1", np.array([2.0, 4.0])),
        ("ex_01_1", [torch.tensor(2.0), torch.tensor(4.0)]),
        ("ex_01_2", 89.8),
        ("ex_01_2", "89.8 %"),
        ("ex_01_2", torch.tensor(0.898)),
        ("ex_01_3", "blocks.0"),
        ("ex_01_3", " Blocks.0 "),
    ],
)
def test_right_answers_in_any_dress(key, answer):
    assert EXERCISES[key].reply(answer).startswith("Right")


@pytest.mark.parametrize(
    ("key", "answer", "hint"),
    [
        ("ex_01_1", [4, 8], "last token"),
        ("ex_01_1", pool(TOKENS, method="cls"), "first token"),
        ("ex_01_1", [6, 12], "three tokens"),
        ("ex_01_1", [4, 2], "other order"),
        ("ex_01_1", 3, "average over the tokens"),
        ("ex_01_2", 76.5, "mean pooling again"),
        ("ex_01_2", "nine tenths", "give a number"),
        ("ex_01_3", "blocks.2", "CNN's answer"),
        ("ex_01_3", "patch", "close"),
        ("ex_01_3", "stem", "six layers"),
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
