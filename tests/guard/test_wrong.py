"""The probability of being wrong against scikit-learn, and the band against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom, binomtest
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression

from deepdrift.guard.wrong import WrongCurve, fit_platt, rising_band


def answers(n: int, seed: int, ties: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores, and answers that are wrong with probability 1 / (1 + exp(2 - score))."""
    g = np.random.default_rng(seed)
    scores = g.gamma(2.0, 1.5, n)
    scores = scores.round() if ties else scores
    wrong = g.random(n) < 1 / (1 + np.exp(2 - scores))
    return torch.from_numpy(scores), torch.from_numpy(wrong)


GRID = torch.linspace(-2, 14, 60).double()


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [40, 500])
def test_isotonic_is_scikit_learns(n, ties):
    scores, wrong = answers(n, 1, ties)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(scores.numpy(), wrong.numpy())
    ours = WrongCurve(scores, wrong, "isotonic")(GRID)[0]
    np.testing.assert_allclose(ours, theirs.predict(GRID.numpy()), atol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [40, 500])
def test_platt_is_scikit_learns(n, ties):
    scores, wrong = answers(n, 2, ties)
    theirs = _SigmoidCalibration().fit(scores.numpy(), wrong.numpy())
    ours = WrongCurve(scores, wrong, "platt")(GRID)[0]
    np.testing.assert_allclose(ours, theirs.predict(GRID.numpy()), atol=1e-4)


def test_platt_of_separated_and_of_falling_scores():
    up = np.arange(20.0)
    slope, intercept = fit_platt(up, up >= 10)
    assert 0 < slope < 50 and -intercept / slope == pytest.approx(9.5, abs=1e-3)
    slope, intercept = fit_platt(up, up < 5)  # never falls: flat at the mean of Platt's targets
    assert slope == 0
    share = (5 * 6 / 7 + 15 / 17) / 20
    assert 1 / (1 + np.exp(-intercept)) == pytest.approx(share, abs=1e-6)


def test_units_of_the_score_do_not_matter():
    scores, wrong = answers(200, 3)
    for method in ("platt", "isotonic"):
        one = torch.stack(WrongCurve(scores, wrong, method)(GRID))
        other = torch.stack(WrongCurve(1e4 * scores + 7, wrong, method)(1e4 * GRID + 7))
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_the_band_of_seven_answers_by_hand():
    scores = np.array([1.0, 2.0, 3.0, 3.0, 4.0, 5.0, 6.0])
    wrong = np.array([0, 1, 0, 1, 0, 1, 1])
    low, high = rising_band(scores, wrong, np.array([3.0]), 0.8)
    level = 1 - 2 * (0.1 / 3)  # windows of 1, 2 and 4 scores on either side
    below = [(1, 1), (1, 2), (2, 4)]  # 3; 3, 3; 1, 2, 3, 3: wrong of how many
    above = [(0, 1), (1, 2), (2, 4)]  # 3; 3, 3; 3, 3, 4, 5
    limits = [binomtest(k, n).proportion_ci(level, "exact") for k, n in below]
    assert low[0] == pytest.approx(max(limit.low for limit in limits))
    limits = [binomtest(k, n).proportion_ci(level, "exact") for k, n in above]
    assert high[0] == pytest.approx(min(limit.high for limit in limits))
    low, high = rising_band(scores, wrong, np.array([0.0, 9.0]), 0.8)
    assert low[0] == 0 and high[1] == 1  # beyond all scores only one side is known


@pytest.mark.parametrize("n", [30, 150])
@pytest.mark.parametrize("at", [0.5, 2.5, 6.0])
def test_the_band_holds_the_curve(n, at):
    misses, tries, true = 0, 300, 1 / (1 + np.exp(2 - at))
    for seed in range(tries):
        scores, wrong = answers(n, 1000 + seed)
        low, high = rising_band(scores.numpy(), wrong.long().numpy(), np.array([at]), 0.8)
        misses += not low[0] <= true <= high[0]
    assert misses <= binom.ppf(0.999, tries, 0.2)


def test_more_answers_make_the_band_narrower_and_it_holds_the_estimate():
    widths = []
    for n in (40, 400, 4000):
        p, low, high = WrongCurve(*answers(n, 4))(torch.tensor([3.0]))
        assert low <= p <= high
        widths.append((high - low).item())
    assert widths[0] > 1.2 * widths[1] > 1.5 * widths[2]


def test_a_score_that_is_nan_has_no_probability():
    scores = torch.arange(20.0)
    for x in WrongCurve(scores, scores >= 10, "isotonic")(torch.tensor([torch.nan, 0.0])):
        assert x.isnan().tolist() == [True, False]
