from __future__ import annotations

import numpy as np
import pytest
import torch

from deepdrift import confidence


def calibrated(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes; the larger probability, uniform over [0.5, 1], is right with itself."""
    generator = np.random.default_rng(seed)
    sure = generator.uniform(0.5, 1, n)
    labels = (generator.random(n) >= sure).astype(int)
    return torch.from_numpy(np.stack([sure, 1 - sure], axis=1)), torch.from_numpy(labels)


@pytest.mark.parametrize(("n", "mean", "high"), [(100, 0.090, 0.136), (2000, 0.020, 0.030)])
def test_what_a_perfect_model_shows(n, mean, high):
    """Mean and 95 % quantile by simulating models instead of hits."""
    own = [confidence.ece(*calibrated(n, seed)) for seed in range(400)]
    null = confidence.ece_null(calibrated(n, 0)[0], n_simulations=2000)
    assert float(null.mean()) == pytest.approx(np.mean(own), rel=0.06)
    assert float(null.quantile(0.95)) == pytest.approx(np.quantile(own, 0.95), rel=0.12)
    assert float(null.mean()) == pytest.approx(mean, rel=0.05)
    assert float(null.quantile(0.95)) == pytest.approx(high, rel=0.12)


def test_calibrated_models_are_rejected_in_one_of_twenty():
    p_values = [
        confidence.calibration_test(*calibrated(100, seed), n_simulations=99, seed=seed).p_value
        for seed in range(1000)
    ]
    rejected = np.mean(np.array(p_values) <= 0.05)
    assert 0.03 <= rejected <= 0.07
    assert 0.45 < np.mean(p_values) < 0.55


def test_a_model_that_is_too_sure_is_found():
    p, labels = calibrated(500, 0)
    sure = torch.stack(
        [(p[:, 0] + 0.15).clamp(max=0.999), 1 - (p[:, 0] + 0.15).clamp(max=0.999)], 1
    )
    found = confidence.calibration_test(sure, labels, n_simulations=199)
    assert found.p_value == 1 / 200
    assert found.ece > found.null_high > found.null_mean > 0


def test_the_null_knows_only_confidence_and_the_seed():
    p, _ = calibrated(300, 3)
    first = confidence.ece_null(p, n_simulations=50, seed=1)
    assert torch.equal(first, confidence.ece_null(p.flip(1), n_simulations=50, seed=1))
    assert not torch.equal(first, confidence.ece_null(p, n_simulations=50, seed=2))


def test_one_bin_is_a_binomial():
    """Ten answers of 0.8: hits are binomial, and the ECE is |hits / 10 - 0.8|."""
    null = confidence.ece_null([[0.8, 0.2]] * 10, n_bins=1, n_simulations=20_000)
    from scipy.stats import binom

    expected = sum(binom.pmf(k, 10, 0.8) * abs(k / 10 - 0.8) for k in range(11))
    assert float(null.mean()) == pytest.approx(expected, rel=0.03)


def test_blocks_of_draws_are_one_stream(monkeypatch):
    import deepdrift.confidence.null as module

    p, _ = calibrated(97, 0)
    whole = confidence.ece_null(p, n_simulations=30)
    monkeypatch.setattr(module, "BLOCK", 200)  # two simulations at a time
    assert torch.equal(confidence.ece_null(p, n_simulations=30), whole)


def test_the_band_of_a_bin_is_that_of_its_binomial():
    from scipy.stats import binom

    low, high = confidence.reliability_band([[0.7, 0.3]] * 50, n_bins=10, n_simulations=5000)
    ends = binom.ppf([0.025, 0.975], 50, 0.7) / 50
    assert [float(low[6]), float(high[6])] == pytest.approx(ends, abs=0.021)
    assert low.isnan().sum() == high.isnan().sum() == 9
    with pytest.raises(confidence.ConfidenceError, match="coverage"):
        confidence.reliability_band([[0.7, 0.3]], coverage=1.0)
