"""Kolmogorov-Smirnov per feature: SciPy's numbers, the correction, and what it cannot see."""

import sys

import numpy as np
import pytest
import torch
from scipy import stats

from deepdrift.baselines import KSDrift, MMDDrift
from deepdrift.errors import CalibrationError, MissingExtraError, StateError


def sample(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_each_feature_is_scipys_test_and_the_smallest_is_corrected():
    x, y = sample(40, 6, 0), sample(30, 6, 1)
    y[:, 4] += 0.6
    test = KSDrift(x).test(y)
    alone = [stats.ks_2samp(x[:, j].numpy(), y[:, j].numpy()) for j in range(6)]
    assert test.p_values.tolist() == pytest.approx([t.pvalue for t in alone], rel=1e-12)
    assert test.statistics.tolist() == pytest.approx([t.statistic for t in alone], rel=1e-12)
    assert test.p_value == pytest.approx(6 * min(t.pvalue for t in alone))
    assert test.worst_feature == 4
    assert test.is_drift == (test.p_value <= 0.05)


def test_the_gap_is_the_largest_between_two_step_functions():
    x, y = sample(15, 1, 0), sample(11, 1, 1)
    points = np.concatenate([x, y])[:, 0]
    gap = max(abs(float((x <= t).double().mean() - (y <= t).double().mean())) for t in points)
    assert KSDrift(x).test(y).statistics.item() == pytest.approx(gap, abs=1e-15)


def test_level_holds_for_continuous_features_and_for_rectified_ones():
    for rectify in (False, True):  # half of all values tie at zero
        alarms = 0
        for seed in range(200):
            x, y = sample(30, 4, seed), sample(30, 4, seed + 1000)
            alarms += KSDrift(x.relu() if rectify else x).test(y.relu() if rectify else y).is_drift
        assert alarms <= stats.binom.ppf(0.999, 200, 0.05)


def test_it_misses_a_change_of_relation_that_mmd_finds():
    x, y = sample(150, 2, 0), sample(150, 1, 1)
    y = torch.cat([y, y], dim=1)  # the same two laws, now one determines the other
    assert not KSDrift(x).test(y).is_drift
    assert MMDDrift(x).test(y).is_drift


def test_constant_features_and_sentence():
    x = torch.cat([torch.ones(30, 2), sample(30, 1, 0)], dim=1)
    test = KSDrift(x).test(x[:20])
    assert test.p_values[:2].tolist() == [1.0, 1.0] and not test.is_drift
    y = x.clone()
    y[:, 1] = 2.0
    assert str(KSDrift(x).test(y)).startswith("Drift: feature 1 of 3 differs most (gap 1, corr")
    assert str(test).startswith("No drift found: feature ")


def test_bad_input():
    x = sample(20, 3, 0)
    bad = x.clone()
    bad[0, 0] = torch.nan
    with pytest.raises(StateError, match="x: 1 of 20 samples hold NaN"):
        KSDrift(x).test(bad)
    with pytest.raises(CalibrationError, match="reference: 1 of 20"):
        KSDrift(bad)
    with pytest.raises(StateError, match="x: expected 3 features"):
        KSDrift(x).test(x[:, :2])
    with pytest.raises(StateError, match="at least 2 samples"):
        KSDrift(x).test(x[:1])
    with pytest.raises(CalibrationError, match="alpha: expected a rate"):
        KSDrift(x, alpha=0)


def test_images_through_a_feature_map():
    images = torch.rand(30, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    brighter = images + 0.5
    by_map = KSDrift(images, feature_map=lambda s: s.flatten(1)).test(brighter)
    assert by_map.p_values.equal(KSDrift(images.flatten(1)).test(brighter.flatten(1)).p_values)


def test_without_scipy_it_says_what_to_install(monkeypatch):
    x = sample(20, 3, 0)
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingExtraError, match=r"deepdrift\[lab\]"):
        KSDrift(x).test(x)
