"""Every split of a few numbers, against the library's statistic and against enumeration by hand."""

import itertools
import math

import numpy as np
import pytest
import torch

from deepdrift.baselines import MMDDrift
from deepdrift.errors import StateError
from deepdrift.lab.mmd.exact_test import exact_p_value, values_of_all_splits


def by_loops(x, y, sigma):
    """MMD² from its definition, pair by pair."""

    def k(a, b):
        return math.exp(-((a - b) ** 2) / (2 * sigma**2))

    own = sum(k(a, b) for a, b in itertools.permutations(x, 2)) / (len(x) * (len(x) - 1))
    other = sum(k(a, b) for a, b in itertools.permutations(y, 2)) / (len(y) * (len(y) - 1))
    return own + other - 2 * np.mean([[k(a, b) for b in y] for a in x])


def test_all_splits_by_the_definition():
    x, y = [0.3, 1.7, -0.4], [2.2, 0.9]
    values = values_of_all_splits(x, y, sigma=0.8)
    pooled = x + y
    expected = [
        by_loops([pooled[i] for i in m], [pooled[i] for i in range(5) if i not in m], 0.8)
        for m in itertools.combinations(range(5), 3)
    ]
    np.testing.assert_allclose(values, expected, atol=1e-12)
    assert len(values) == 10 and values[0] == pytest.approx(by_loops(x, y, 0.8))


def test_p_values_worth_knowing():
    assert exact_p_value([0, 1, 2], [3, 4, 5]) == 2 / 20  # itself and its mirror image
    assert exact_p_value([0, 1, 2], [3, 4, 5, 7]) == 1 / 35  # sizes differ: no mirror
    assert exact_p_value([0, 1, 2, 3], [4, 5, 6, 7]) == 2 / 70
    assert exact_p_value([0, 10, 20], [1, 11, 21]) == 1.0  # twins
    assert exact_p_value([4, 4], [4, 4]) == 1.0


def test_random_permutations_come_close():
    x, y = [0, 1, 2, 3, 5], [2, 4, 5, 6, 8]
    exact = exact_p_value(x, y, sigma=1.5)
    columns = (torch.tensor(z, dtype=torch.float64)[:, None] for z in (x, y))
    reference, new = columns
    drawn = MMDDrift(reference, sigma=1.5, n_permutations=9999).test(new).p_value
    assert 0.05 < exact < 0.5
    assert abs(drawn - exact) < 4 * math.sqrt(exact * (1 - exact) / 10_000)


def test_refusals():
    with pytest.raises(StateError, match="184,756 splits"):
        values_of_all_splits(range(10), range(10))
    with pytest.raises(StateError, match="at least 2 samples"):
        exact_p_value([1], [2, 3])
    with pytest.raises(StateError, match="NaN"):
        exact_p_value([1, math.nan], [2, 3])
