"""Two keys, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from deepdrift.lab.reinforcement_learning.keys import (
    Choice,
    TwoKeys,
    choose,
    compare_keys,
    danger,
)
from deepdrift.lab.reinforcement_learning.outcomes import Outcomes
from deepdrift.lab.reinforcement_learning.plants import LabError

KEYS = TwoKeys(unfamiliar=1.0, level=0.1, losing=0.5, memory=2)


def test_danger_reaches_one_at_the_limits():
    twelve = 12 * 2 * np.pi / 360
    cart = [[2.4, 0, 0, 0], [0, 0, twelve, 0], [1.2, 12, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(danger("cartpole", cart), [1, 1, 1, 0])
    lander = np.zeros((4, 8))
    lander[0, 0], lander[1, 4], lander[2, 5] = -1, 1, 0.8
    np.testing.assert_allclose(danger("lunarlander", lander), [1, 1, 1, 0])


def test_a_brake_of_the_lander_in_metres():
    """3.75 m/s down need 3.75^2 / 15 = 0.9375 m, of 0.5 * 6.667 m; upwards none."""
    down, up = np.zeros(8), np.zeros(8)
    down[[1, 3]], up[[1, 3]] = (0.5, -0.5), (0.5, 0.5)
    np.testing.assert_allclose(
        danger("lunarlander", [down, up]), [0.9375 / (0.5 * 6.667), 0], rtol=1e-6
    )


def test_after_the_end_there_is_no_danger_known():
    for name, width in (("cartpole", 4), ("lunarlander", 8)):
        assert np.isnan(danger(name, np.full((2, width), np.nan))).all()
    with pytest.raises(LabError, match="known for cartpole and lunarlander"):
        danger("pendulum", [0, 0, 0])


def test_both_keys_are_needed_and_the_first_is_remembered():
    scores = [[0, 2, 0, 0, 0, 0], [0, 2, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [2, 2, 2, 2, 2, 2]]
    dangers = [[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]]
    assert KEYS.alarms(scores, dangers).tolist() == [4, -1, -1, -1]


def test_two_keys_never_come_before_one():
    random = np.random.default_rng(0)
    scores, dangers = random.random((2, 50, 40)) * 2
    two = KEYS.alarms(scores, dangers)
    first = np.where((scores > 1).any(1), (scores > 1).argmax(1) + 1, 10**6)
    assert (two[two >= 0] >= first[two >= 0]).all()


def outcomes(alarms):
    return Outcomes.of([29, 29, -1, -1], [30, 30, 99, 99], alarms, onset=5)


def test_comparison_and_choice():
    one, two = [outcomes([10, 10, 10, 10])], [outcomes([20, 10, -1, -1])]
    found = compare_keys(KEYS, one, two)
    assert (found.caught, found.benign, found.caught_one, found.benign_one) == (1, 0, 1, 1)
    assert found.worth_it
    dear = Choice(KEYS, caught=0.5, benign=0.0, caught_one=1.0, benign_one=1.0)
    weak = Choice(KEYS, caught=0.95, benign=0.6, caught_one=1.0, benign_one=1.0)
    assert not dear.worth_it and not weak.worth_it
    assert choose([dear, weak]) is weak
    assert choose([dear]) is dear


def test_a_comparison_needs_both_kinds():
    with pytest.raises(LabError, match="failures and survived faults"):
        compare_keys(KEYS, *[[Outcomes.of([29], [30], [10], onset=5)]] * 2)
