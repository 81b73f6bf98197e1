"""Exercises of notebook 08: the right answers pass, the usual wrong ones get their own hint."""

import math

import numpy as np
import pytest
import torch

from deepdrift.lab.fair_comparison.exercises import EXERCISES

TURNED = ([1, 2, 3, 4, 5], [0, 0, 0, 0, 100])


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("ex_08_1", 0.294),
        ("ex_08_1", 1000 / 3400),
        ("ex_08_1", np.array([0.294])),
        ("ex_08_1", "0.294"),
        ("ex_08_2", [0.911]),
        ("ex_08_2", "about 0.91"),
        ("ex_08_3", (torch.tensor(TURNED[0]), np.array(TURNED[1], dtype=float))),
        ("ex_08_3", [list(part) for part in TURNED]),
        ("ex_08_2", 0.911),
        ("ex_08_3", TURNED),
        ("ex_08_3", ([1.0] * 9, [0.0] * 8 + [10.0])),
    ],
)
def test_right_answers(key, answer):
    assert EXERCISES[key].reply(answer).startswith("Right:")


@pytest.mark.parametrize(
    ("key", "answer", "hint"),
    [
        ("ex_08_1", 0.5, "the coin's AUROC"),
        ("ex_08_1", 0.417, "divide by all images"),
        ("ex_08_1", 0.2, "for 600 shifted"),
        ("ex_08_1", 0.7, "which share of its alarms"),
        ("ex_08_2", 0.892, "one score for all"),
        ("ex_08_2", 0.948, "that is the CNN"),
        ("ex_08_1", "a third", "give a number"),
        ("ex_08_2", 0.5, "the best there"),
        ("ex_08_3", ([1, 2], [0, 9]), "at least five"),
        ("ex_08_3", ([1] * 5, [0] * 4 + [math.inf]), "finite"),
        ("ex_08_3", ([1] * 5, [0] * 5), "very large"),
        ("ex_08_3", ([1] * 5, [2] * 5), "let most of them lie below"),
        ("ex_08_3", ([1] * 5, [2] * 3 + [0] * 2), "let most of them lie below"),
        ("ex_08_3", 3, "two lists"),
    ],
)
def test_wrong_answers_get_a_hint(key, answer, hint):
    reply = EXERCISES[key].reply(answer)
    assert reply.startswith("Not yet:") and hint in reply, reply


def test_the_coin_is_the_coin_of_the_measure():
    """Equal scores for all: scikit-learn's average precision is the share of shifted images."""
    from deepdrift.lab.bench.evaluation import aupr

    value = aupr([0.0] * 2400, [0.0] * 1000, n_bootstrap=100).value
    assert EXERCISES["ex_08_1"].reply(value).startswith("Right:")


def test_the_turned_lists_fool_batches_and_not_images():
    from deepdrift.lab.bench.evaluation import auroc
    from deepdrift.lab.fair_comparison.batch_trap import auroc_of_batches

    assert auroc(*TURNED).value == pytest.approx(0.2)
    assert auroc_of_batches(*TURNED, size=100).value > 0.99


@pytest.mark.parametrize(
    ("key", "answer", "share"),
    [("ex_08_1", 29.4, "0.294"), ("ex_08_1", "29.4 %", None), ("ex_08_2", 91.1, "0.911")],
)
def test_percent_is_as_good_as_a_share(key, answer, share):
    reply = EXERCISES[key].reply(answer)
    assert reply.startswith("Right") and (share is None or f"it is {share}" in reply)


@pytest.mark.parametrize("key", EXERCISES)
def test_a_second_wrong_try_gets_a_stronger_hint(key):
    exercise = EXERCISES[key]
    assert exercise.strong_hint and exercise.reply(-3, tries=1).endswith(exercise.strong_hint)
    assert len(f"Right: {exercise.right}") <= 100
