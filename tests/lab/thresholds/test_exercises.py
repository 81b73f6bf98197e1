"""Exercises of notebook 03: the right answers pass, the usual wrong ones get their own hint."""

import numpy as np
import pytest
import torch
from scipy import stats

from deepdrift.lab.bench.evaluation import false_alarm_interval
from deepdrift.lab.thresholds.exercises import EXERCISES


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("ex_03_1", 13.5),
        ("ex_03_1", 0.9**19),
        ("ex_03_1", "13.5 %"),
        ("ex_03_1", np.array([0.135])),
        ("ex_03_2", 2.5),
        ("ex_03_2", 0.025),
        ("ex_03_2", 5 / 201),
        ("ex_03_2", 500 / 201),
        ("ex_03_2", "alpha = 2,5 %"),
        ("ex_03_3", 12.3),
        ("ex_03_3", torch.tensor([0.123])),
        ("ex_03_3", "about 12 percent"),
    ],
)
def test_right_answers_in_any_dress(key, answer):
    reply = EXERCISES[key].reply(answer)
    assert reply.startswith("Right") and "\n" not in reply  # `check` wraps it


@pytest.mark.parametrize(
    ("key", "answer", "hint"),
    [
        ("ex_03_1", 0.05, "mean rate"),
        ("ex_03_1", 5, "mean rate"),
        ("ex_03_1", 0.1, "one score lies above"),
        ("ex_03_1", 0.1**19, "all 19 above"),
        ("ex_03_1", 0.865, "stays below"),
        ("ex_03_1", "86.5 %", "stays below"),
        ("ex_03_1", 0.5, "all 19 must"),
        ("ex_03_1", "one in seven", "give a number"),
        ("ex_03_2", 0.05, "holds on average"),
        ("ex_03_2", 5, "holds on average"),
        ("ex_03_2", 0.01, "a larger alpha"),
        ("ex_03_2", 1, "a larger alpha"),
        ("ex_03_2", 0.03, "go lower"),
        ("ex_03_2", 3, "go lower"),
        ("ex_03_2", 6 / 201, "go lower"),
        ("ex_03_3", 0.063, "1,000 different images"),
        ("ex_03_3", "6 %", "1,000 different images"),
        ("ex_03_3", 9.5, "repeat each"),
        ("ex_03_3", 0.5, "repeat them"),
    ],
)
def test_wrong_answers_get_a_hint_and_then_a_stronger_one(key, answer, hint):
    exercise = EXERCISES[key]
    reply = exercise.reply(answer)
    assert reply.startswith("Not yet:") and hint in reply
    assert exercise.strong_hint and exercise.reply(answer, tries=1).endswith(exercise.strong_hint)


def test_the_first_answer_is_the_beta_law():
    assert 0.9**19 == pytest.approx(stats.beta.sf(0.1, 1, 19))


def test_the_second_answer_is_the_largest_that_keeps_the_guarantee():
    for alpha, upper in ((5 / 201, 0.0452), (6 / 201, 0.0518)):
        assert false_alarm_interval(200, alpha)[1] == pytest.approx(upper, abs=1e-4)
    largest = max(k for k in range(1, 201) if false_alarm_interval(200, k / 201)[1] <= 0.05)
    assert largest == 5


def test_the_third_answer_is_the_law_of_50_scores():
    k = -(-951 // 20)  # the 951st of 1,000 scores is the 48th of the 50 that are repeated
    assert 0.11 < stats.beta.ppf(0.95, 51 - k, k) < 0.13
