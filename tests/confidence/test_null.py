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


@pytest.mark.parametrize(("n", "mean", "high"), [(100, 0.090, 0.132), (2000, 0.020, 0.030)])
def test_what_a_perfect_model_shows(n, mean, high):
    """Mean and 95 % quantile by simulating models; the null by drawing hits for twenty of them."""
    own = [confidence.ece(*calibrated(n, seed)) for seed in range(1000)]
    null = torch.cat(
        [confidence.ece_null(calibrated(n, s)[0], n_simulations=200, seed=s) for s in range(20)]
    )
    for found in (np.array(own), null.numpy()):
        assert found.mean() == pytest.approx(mean, rel=0.02)
        assert np.quantile(found, 0.95) == pytest.approx(high, rel=0.04)


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


def test_the_p_value_counts_the_null_by_hand():
    p, labels = calibrated(150, 5)
    found = confidence.calibration_test(p, labels, n_simulations=99, seed=4)
    null = confidence.ece_null(p, n_simulations=99, seed=4)
    assert found.p_value == (1 + int((null >= found.ece).sum())) / 100
    assert found.null_high == pytest.approx(np.quantile(null.numpy(), 0.95))
    assert found.null_mean == pytest.approx(np.mean(null.numpy()))


def test_a_null_that_ties_with_the_observed_counts():
    """Two coins: both fall alike, and the ECE is 0.5, in one of two cases."""
    found = confidence.calibration_test([[0.5, 0.5]] * 2, [0, 0], n_simulations=999)
    assert found.ece == 0.5
    assert found.p_value == pytest.approx(0.5, abs=0.05)
    assert confidence.calibration_test([[0.5, 0.5]] * 2, [0, 1], n_simulations=99).p_value == 1.0


def test_calibrated_models_of_many_classes_are_rejected_no_more_often():
    """Labels are drawn from the whole row, so that the hit has the probability of its top."""
    generator = torch.Generator().manual_seed(0)
    p = (2 * torch.randn(400, 300, 10, generator=generator, dtype=torch.float64)).softmax(dim=2)
    drawn = torch.multinomial(p.flatten(0, 1), 1, generator=generator).view(400, 300)
    p_values = [
        confidence.calibration_test(a, b, n_simulations=99, seed=i).p_value
        for i, (a, b) in enumerate(zip(p, drawn, strict=True))
    ]
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.083  # three standard errors


def test_the_band_leaves_one_bin_in_twenty():
    outside = filled = 0
    for seed in range(200):
        p, labels = calibrated(300, seed)
        low, high = confidence.reliability_band(p, 10, n_simulations=200, seed=seed)
        found = confidence.reliability(p, labels, 10)
        some = found.count > 0
        filled += int(some.sum())
        outside += int(((found.accuracy < low) | (found.accuracy > high))[some].sum())
    assert 0.02 <= outside / filled <= 0.06  # at most 5 %, for hits are whole


def test_the_band_of_a_bin_is_that_of_its_binomial():
    from scipy.stats import binom

    low, high = confidence.reliability_band([[0.7, 0.3]] * 50, n_bins=10, n_simulations=5000)
    ends = binom.ppf([0.025, 0.975], 50, 0.7) / 50
    assert [float(low[6]), float(high[6])] == pytest.approx(ends, abs=0.021)
    assert low.isnan().sum() == high.isnan().sum() == 9
    with pytest.raises(confidence.ConfidenceError, match="coverage"):
        confidence.reliability_band([[0.7, 0.3]], coverage=1.0)
