"""Means of batches: the law behind them, and that no image is told apart better."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from deepdrift.lab.bench.evaluation import EvaluationError, auroc
from deepdrift.lab.fair_comparison.batch_trap import (
    auroc_of_batches,
    auroc_of_gap,
    batch_means,
    curves,
    predicted_auroc,
)


def test_batch_means_are_means_of_drawn_scores():
    scores = np.array([0.0, 1.0, 10.0])
    found = batch_means(scores, size=2, n_batches=500, seed=3)
    assert set(found) == {0.0, 0.5, 1.0, 5.0, 5.5, 10.0}
    assert found.mean() == pytest.approx(scores.mean(), abs=4 * scores.std() / math.sqrt(1000))
    np.testing.assert_array_equal(found, batch_means(scores, 2, 500, seed=3))


def test_normal_scores_follow_the_formula():
    rng = np.random.default_rng(0)
    normal, shifted = rng.normal(size=4000), rng.normal(0.25, 2.0, size=4000)
    for size in (1, 10, 100):
        law = stats.norm.cdf(math.sqrt(size) * 0.25 / math.sqrt(1 + 4))
        assert predicted_auroc(normal, shifted, size) == pytest.approx(law, abs=0.06)
        found = auroc_of_batches(normal, shifted, size, n_batches=3000)
        assert found.value == pytest.approx(predicted_auroc(normal, shifted, size), abs=0.025)


def test_weak_becomes_perfect_and_wrong_becomes_perfectly_wrong():
    rng = np.random.default_rng(1)
    normal, shifted = rng.normal(size=3000), rng.normal(0.3, size=3000)
    assert auroc(normal, shifted).value < 0.62
    assert auroc_of_batches(normal, shifted, 200).value > 0.99
    assert auroc_of_batches(-normal, -shifted, 200).value < 0.01


def test_a_batch_of_one_is_an_image():
    rng = np.random.default_rng(2)
    normal, shifted = rng.normal(size=500), rng.normal(1.0, size=500)
    one = auroc_of_batches(normal, shifted, 1, n_batches=5000)
    assert one.value == pytest.approx(auroc(normal, shifted).value, abs=0.015)


def test_bad_input_of_the_trap():
    with pytest.raises(EvaluationError, match="a mean needs finite scores"):
        batch_means([1.0, math.inf], 2)
    with pytest.raises(EvaluationError, match="NaN"):
        batch_means([1.0, math.nan], 2)
    with pytest.raises(EvaluationError, match="expected at least 1 each, got 0"):
        batch_means([1.0], 0)
    for pair in (([1.0, 1.0], [1.0, 1.0]), ([0.0, 1.0], [0.0, math.inf])):
        with pytest.raises(EvaluationError, match="finite scores that are not all equal"):
            predicted_auroc(*pair, 5)


def test_a_gap_by_hand():
    """Half a spread apart: Phi(0.35) for one image, Phi(0.71) for four."""
    assert [round(auroc_of_gap(0.5, n), 3) for n in (1, 4)] == [0.638, 0.76]
    assert auroc_of_gap(-0.5, 4) == pytest.approx(1 - auroc_of_gap(0.5, 4))
    assert auroc_of_gap(0.0, 1000) == 0.5


def test_curves_are_the_two_functions_for_every_size():
    rng = np.random.default_rng(3)
    pairs = {"a": (rng.normal(size=200), rng.normal(0.5, size=150))}
    measured, predicted = curves(pairs, [1, 7])
    assert measured["a"] == [auroc_of_batches(*pairs["a"], n).value for n in (1, 7)]
    assert predicted["a"] == [predicted_auroc(*pairs["a"], n) for n in (1, 7)]
