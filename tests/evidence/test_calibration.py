"""p-values and thresholds against hand-computed values, enumeration and scipy."""

import math
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from deepdrift.errors import CalibrationError
from deepdrift.evidence import calibration as cal

RATES = [0.5, 1 / 3, 0.3, 0.25, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.001, 1 - 0.9]

# few distinct values: ties are the hard case
score_lists = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30)


def brute_force_p(calibration, score, tail):
    upper = Fraction(1 + sum(c >= score for c in calibration), len(calibration) + 1)
    lower = Fraction(1 + sum(c <= score for c in calibration), len(calibration) + 1)
    both = min(Fraction(1), 2 * min(upper, lower))
    return float({"upper": upper, "lower": lower, "two-sided": both}[tail])


@pytest.mark.parametrize("tail", ["upper", "lower", "two-sided"])
@given(calibration=score_lists, scores=score_lists)
@hypothesis_settings(max_examples=60)
def test_p_values_equal_counting(tail, calibration, scores):
    found = cal.conformal_p_values(torch.tensor(calibration), torch.tensor(scores), tail)
    expected = [brute_force_p(calibration, s, tail) for s in scores]
    assert found.tolist() == expected  # the same fraction, rounded once


def test_p_values_of_several_series_are_those_of_each():
    generator = torch.Generator().manual_seed(0)
    calibration = torch.randint(0, 5, (23, 3), generator=generator).double()
    scores = torch.randint(-1, 6, (11, 3), generator=generator).double()
    together = cal.conformal_p_values(calibration, scores, "two-sided")
    for k in range(3):
        alone = cal.conformal_p_values(calibration[:, k], scores[:, k], "two-sided")
        assert torch.equal(together[:, k], alone)


def test_a_score_below_float32_resolution_still_counts():
    # 1 + 1e-9 is above 1 in float64 and equal to it in float32
    p = cal.conformal_p_values(torch.ones(3), torch.tensor([1 + 1e-9], dtype=torch.float64))
    assert p.item() == 1 / 4


@pytest.mark.parametrize("tail", ["upper", "lower", "two-sided"])
def test_scores_that_are_not_finite_get_zero(tail):
    bad = torch.tensor([math.nan, math.inf, -math.inf])
    assert cal.conformal_p_values(torch.arange(9.0), bad, tail).tolist() == [0, 0, 0]


def test_no_score_gives_no_p_value():
    assert cal.conformal_p_values(torch.arange(9.0), torch.empty(0)).shape == (0,)
    assert cal.conformal_p_values(torch.rand(9, 4), torch.empty(0, 4)).shape == (0, 4)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("tail", ["upper", "lower", "two-sided"])
@pytest.mark.parametrize("tied", [False, True])
def test_level_by_enumeration(n, tail, tied):
    """All orders of n + 1 exchangeable scores: P(p <= a) <= a for every a that p can take."""
    values = [i // 2 if tied else i for i in range(n + 1)]
    p = []
    for order in permutations(values):
        calibration, new = torch.tensor(order[:-1]).double(), torch.tensor(order[-1:]).double()
        p.append(cal.conformal_p_values(calibration, new, tail).item())
    p = np.array(p)
    for alpha in np.unique(p):
        assert np.mean(p <= alpha) <= alpha + 1e-12
    if tail == "upper" and not tied:  # exactly uniform on the ranks
        assert sorted(set(p)) == [k / (n + 1) for k in range(1, n + 2)]
        assert all(np.sum(p == k) == math.factorial(n) for k in set(p))


@given(scores=score_lists, alpha=st.sampled_from(RATES))
@hypothesis_settings(max_examples=200)
def test_threshold_and_p_value_are_one_decision(scores, alpha):
    if len(scores) < cal.required_samples(alpha):
        with pytest.raises(CalibrationError, match="cannot support"):
            cal.conformal_threshold(torch.tensor(scores), alpha)
        return
    threshold = cal.conformal_threshold(torch.tensor(scores), alpha)
    new = torch.arange(-4, 4.5, 0.5)
    p = cal.conformal_p_values(torch.tensor(scores), new)
    assert torch.equal(new > threshold, p <= alpha + 1e-12)


@pytest.mark.parametrize("alpha", RATES)
@pytest.mark.parametrize("extra", [0, 1, 6, 7, 20])  # 6: (1 - 1/3) 9 rounds up
def test_threshold_is_the_exact_order_statistic(alpha, extra):
    rational = Fraction(alpha).limit_denominator(1000)
    n = math.ceil(1 / rational - 1) + extra
    k = math.ceil((1 - rational) * (n + 1))
    assert cal.conformal_threshold(torch.arange(1.0, n + 1), alpha) == k


@pytest.mark.parametrize("alpha", RATES)
def test_required_samples_is_the_boundary(alpha):
    needed = cal.required_samples(alpha)
    assert needed == math.ceil(1 / Fraction(alpha).limit_denominator(1000) - 1)
    assert cal.conformal_threshold(torch.arange(float(needed)), alpha) == needed - 1
    if needed > 1:
        with pytest.raises(CalibrationError, match=f"at least {needed} are needed"):
            cal.conformal_threshold(torch.arange(float(needed - 1)), alpha)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 1.5, math.nan, math.inf])
def test_rates_outside_0_and_1_are_refused(alpha):
    for call in (cal.conformal_threshold, cal.quantile_threshold):
        with pytest.raises(CalibrationError, match="alpha"):
            call(torch.arange(100.0), alpha)


@pytest.mark.parametrize("call", [cal.conformal_threshold, cal.quantile_threshold])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_calibration_scores_must_be_finite_and_there(call, bad):
    with pytest.raises(CalibrationError, match="1 of 100"):
        call(torch.cat([torch.arange(99.0), torch.tensor([bad])]))
    with pytest.raises(CalibrationError, match="1 of 3"):
        cal.iqr_threshold(torch.tensor([1.0, 2.0, bad]))
    with pytest.raises(CalibrationError, match="at least one"):
        call(torch.empty(0))


def test_shapes_that_do_not_fit_are_refused():
    for scores in (torch.tensor(1.0), torch.rand(4, 3), torch.rand(4, 2, 1)):
        with pytest.raises(CalibrationError, match=r"\(5, 2\)"):
            cal.conformal_p_values(torch.rand(5, 2), scores)
    with pytest.raises(CalibrationError, match=r"\(5,\)"):
        cal.conformal_p_values(torch.rand(5), torch.tensor(1.0))
    with pytest.raises(CalibrationError, match="tail"):
        cal.conformal_p_values(torch.rand(5), torch.rand(5), "both")


def test_quantile_and_iqr_against_numpy():
    scores = torch.rand(101, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 3
    for alpha in (0.01, 0.05, 0.2):
        expected = np.quantile(scores.numpy(), 1 - alpha)
        assert cal.quantile_threshold(scores, alpha) == pytest.approx(expected, rel=1e-12)
    q1, q3 = np.quantile(scores.numpy(), [0.25, 0.75])
    assert cal.iqr_threshold(scores) == pytest.approx(q3 + 1.5 * (q3 - q1), rel=1e-12)
    assert cal.iqr_threshold(torch.tensor([0.0, 1.0, 2.0, 10.0]), factor=2) == 4 + 2 * 3.25
    for factor in (-1, math.nan):
        with pytest.raises(CalibrationError, match="factor"):
            cal.iqr_threshold(scores, factor)


def test_fisher_against_scipy():
    p = torch.rand(50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 4
    expected = [stats.combine_pvalues(row, "fisher") for row in p.numpy()]
    assert np.allclose(cal.fisher_statistic(p), [e.statistic for e in expected], rtol=1e-12)
    found = cal.combine_p_values(p, "fisher").numpy()
    assert np.allclose(found, [e.pvalue for e in expected], rtol=1e-9)


def test_fisher_far_out_and_at_the_ends():
    assert cal.combine_p_values(torch.zeros(3), "fisher").item() == 0
    assert cal.combine_p_values(torch.ones(3), "fisher").item() == 1
    tiny = torch.full((4,), 1e-60, dtype=torch.float64)
    expected = stats.chi2.sf(-8 * math.log(1e-60), 8)
    assert cal.combine_p_values(tiny, "fisher").item() == pytest.approx(expected, rel=1e-9)


def test_other_combinations_by_hand():
    p = torch.tensor([[0.04, 0.01, 0.9], [0.5, 0.5, 0.5], [1.0, 0.9, 0.8]], dtype=torch.float64)
    assert cal.combine_p_values(p, "simes").tolist() == pytest.approx([0.03, 0.5, 1.0])
    assert cal.combine_p_values(p, "bonferroni").tolist() == pytest.approx([0.03, 1.0, 1.0])
    assert cal.combine_p_values(p, "max").tolist() == [0.9, 0.5, 1.0]


@pytest.mark.parametrize("method", ["fisher", "simes", "bonferroni", "max"])
def test_combinations_do_not_depend_on_order_and_keep_one_p_value(method):
    p = torch.rand(20, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    shuffled = p[:, [3, 1, 4, 0, 2]]
    expected = cal.combine_p_values(p, method)
    assert torch.allclose(cal.combine_p_values(shuffled, method), expected, rtol=1e-12)
    assert torch.allclose(cal.combine_p_values(p[:, :1], method), p[:, 0], rtol=1e-12)


@pytest.mark.parametrize("bad", [[0.5, 1.1], [-0.1, 0.5], [math.nan, 0.5], []])
def test_combining_refuses_what_is_no_p_value(bad):
    with pytest.raises(CalibrationError, match=r"\[0, 1\]"):
        cal.combine_p_values(torch.tensor(bad))
    with pytest.raises(CalibrationError, match="method"):
        cal.combine_p_values(torch.tensor([0.5]), "stouffer")


@pytest.mark.parametrize("alpha", [0.05, 0.1, 1 / 3])
@pytest.mark.parametrize("n_calibration", [19, 60, 999])
@pytest.mark.parametrize("n_samples", [1, 7, 64])
def test_flagged_count_against_scipy(alpha, n_calibration, n_samples):
    a = math.floor(Fraction(alpha).limit_denominator(100) * (n_calibration + 1))
    b = n_calibration + 1 - a
    law, tail = stats.betabinom(n_samples, a, b), Fraction(0)
    for k in range(n_samples + 1, -1, -1):
        if k <= n_samples:  # C(N, k) B(k + a, N - k + b) / B(a, b) in whole numbers
            ways = math.comb(k + a - 1, k) * math.comb(n_samples - k + b - 1, n_samples - k)
            tail += Fraction(ways, math.comb(n_samples + a + b - 1, n_samples))
        found = cal.flagged_count_p_value(k, n_samples, n_calibration, alpha)
        assert found == pytest.approx(float(tail), rel=1e-9, abs=0)
        assert found == pytest.approx(law.sf(k - 1), abs=1e-10)


def test_flagged_count_where_no_alarm_is_possible():
    assert cal.flagged_count_p_value(1, 10, n_calibration=5, alpha=0.05) == 0
    assert cal.flagged_count_p_value(0, 10, n_calibration=5, alpha=0.05) == 1


def test_realised_rate_of_the_conformal_threshold_follows_its_beta_law():
    """Not only the mean: the scatter over calibration sets is the one that is stated."""
    n, alpha = 60, 0.1
    uniform = torch.rand(2000, n, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    rates = [1 - cal.conformal_threshold(row, alpha) for row in uniform]
    k = math.ceil((1 - alpha) * (n + 1))
    assert stats.kstest(rates, stats.beta(n + 1 - k, k).cdf).pvalue > 0.01
