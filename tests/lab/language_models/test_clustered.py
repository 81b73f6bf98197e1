"""AUROC under weights against scikit-learn, and intervals that know about clusters."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deepdrift.lab.bench.evaluation import EvaluationError
from deepdrift.lab.language_models.clustered import (
    Layout,
    cluster_draws,
    rate,
    weighted_auroc,
)


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_auroc_is_that_of_scikit_learn(ties):
    rng = np.random.default_rng(0)
    s = rng.integers(5, size=60) if ties else rng.normal(size=60)
    y, w = rng.random(60) < 0.4, rng.integers(0, 4, size=(7, 60)).astype(float)
    expected = [roc_auc_score(y, s, sample_weight=row) for row in w]
    assert weighted_auroc(s, y, w) == pytest.approx(expected, abs=1e-12)


def test_a_draw_without_one_kind_has_no_auroc():
    assert np.isnan(weighted_auroc([1, 2], [0, 1], [[1, 0], [0, 1]])).all()


def test_clusters_stay_together_and_keep_their_number():
    draws = cluster_draws([3, 3, 5, 5, 5, 8], n_bootstrap=50)
    assert (draws[0] == 1).all()
    assert (draws[:, 2] == draws[:, 4]).all()
    assert (draws[:, [0, 2, 5]].sum(axis=1) == 3).all()


def repeated(n, times, seed=0):
    """Scores of n clusters, the same in each of so many cells."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    s = rng.normal(size=n) + y
    return (np.tile(x, times) for x in (s, y, np.arange(n))), np.repeat(np.arange(times), n)


def test_five_copies_of_an_answer_are_one_observation():
    (s, y, cluster), cell = repeated(60, 5)
    once = Layout(y[:60], cell[:60], cluster[:60]).auroc(s[:60])
    five = Layout(y, cell, cluster).auroc(s)
    assert (five.value, five.low, five.high) == pytest.approx((once.value, once.low, once.high))
    naive = Layout(y, cell, np.arange(300)).auroc(s)
    assert naive.high - naive.low < 0.6 * (five.high - five.low)


def test_cells_have_equal_weight_and_one_sided_ones_are_left_out():
    s = [0, 1, 5, 4, 0, 0, 7]
    y = [0, 1, 0, 1, 0, 1, 1]
    cell = [0, 0, 1, 1, 2, 2, 3]
    found = Layout(y, cell, range(7)).auroc(s)
    assert found.value == pytest.approx((1 + 0 + 0.5) / 3)
    assert (found.n_in, found.n_out) == (3, 3)


def test_a_gain_is_paired():
    (s, y, cluster), cell = repeated(60, 3)
    layout = Layout(y, cell, cluster)
    nothing = layout.gain(s, 3 * s + 1)  # the same order
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    noisy = s + np.random.default_rng(1).normal(size=len(s))
    gain = layout.gain(s, noisy)
    assert gain.value == pytest.approx(layout.auroc(s).value - layout.auroc(noisy).value)
    assert layout.gain(noisy, s).value == pytest.approx(-gain.value)


def test_a_wider_confidence_is_a_wider_interval():
    (s, y, cluster), cell = repeated(40, 1)
    layout = Layout(y, cell, cluster)
    assert layout.auroc(s, 0.99).low < layout.auroc(s).low


def test_rate_draws_clusters():
    hits = np.repeat([1, 0, 1, 1], 25)
    wide, narrow = rate(hits, np.repeat(np.arange(4), 25)), rate(hits, np.arange(100))
    assert wide.value == narrow.value == 0.75
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_bad_input_is_named():
    with pytest.raises(EvaluationError, match="no cell"):
        Layout([1, 1], [0, 0], [0, 1])
    with pytest.raises(EvaluationError, match="expected one of each"):
        Layout([1, 0], [0], [0, 1])
    with pytest.raises(EvaluationError, match="expected 2, got 3"):
        Layout([1, 0], [0, 0], [0, 1]).auroc([1, 2, 3])
    with pytest.raises(EvaluationError, match="NaN"):
        Layout([1, 0], [0, 0], [0, 1]).auroc([1, np.nan])
    with pytest.raises(EvaluationError, match="at least one"):
        rate([], [])
