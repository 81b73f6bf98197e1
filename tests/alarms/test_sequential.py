"""Streaming statistics against hand-worked numbers, SciPy, polyfit and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deepdrift.alarms.sequential import Cusum, Ewma, PageHinkley, WindowSlope, window_slopes
from deepdrift.errors import CalibrationError
from deepdrift.evidence.e_process import EProcess, e_process, e_value


def slopes_one_by_one(steps, values, window):
    line = WindowSlope(window)
    rows = [line.update(s, v) for s, v in zip(steps.tolist(), values.tolist(), strict=True)]
    return np.array(rows).reshape(-1, 3).T


# ---- slope ----


@pytest.mark.parametrize("window", [5, 20, 64])
def test_slope_matches_polyfit_after_100000_updates_far_from_the_origin(window):
    """Running sums that subtract what leaves the window lose all digits on such a stream."""
    rng = np.random.default_rng(window)
    n = 100_000
    steps = 10**6 + np.cumsum(rng.integers(1, 4, n))
    values = 1e6 + rng.normal(size=n)
    ours = slopes_one_by_one(steps, values, window)
    for end in [window, 2 * window + 1, n // 2 + 3, *range(n - 2 * window, n + 1)]:
        t, y = (a[end - window : end] for a in (steps, values))
        t, y = (t - t[0]).astype(float), y - y[0]
        (slope, level), cov = np.polyfit(t, y, 1, cov="unscaled")
        rss = ((y - level - slope * t) ** 2).sum()
        error = math.sqrt(cov[0, 0] * rss / (window - 2))
        np.testing.assert_allclose(ours[:, end - 1], [slope, error, slope / error], atol=1e-9)


def test_slope_and_error_match_scipy_linregress():
    rng = np.random.default_rng(1)
    steps, values = np.cumsum(rng.uniform(0.1, 5, 30)), rng.normal(size=30)
    fit = stats.linregress(steps[-12:], values[-12:])
    ours = slopes_one_by_one(steps, values, 12)[:, -1]
    np.testing.assert_allclose(ours, [fit.slope, fit.stderr, fit.slope / fit.stderr], rtol=1e-9)


def test_a_huge_spike_leaves_no_trace_once_it_has_left_the_window():
    values = np.tile([0.0, 1.0, 3.0, 2.0, 5.0, 4.0], 20)
    spiked = values.copy()
    spiked[47] = 1e15
    plain, after = (slopes_one_by_one(np.arange(120), v, 8) for v in (values, spiked))
    np.testing.assert_allclose(after[:, 47 + 8 :], plain[:, 47 + 8 :], rtol=1e-12)


@pytest.mark.parametrize("level", [0.0, 0.1, -7.3, 1e6 + 0.1])
def test_a_constant_stream_after_a_jump_is_never_a_significant_slope(level):
    """Rounding alone must not look like a tiny slope with a tinier error."""
    values = np.concatenate([np.full(30, 0.3), np.full(60, level)])
    slope, _, ratio = slopes_one_by_one(np.arange(90), values, 10)[:, 45:]
    assert np.abs(ratio).max() < 1e-3
    assert np.abs(slope).max() < 1e-9


@given(
    window=st.integers(5, 12),
    pairs=st.lists(
        st.tuples(st.integers(1, 9), st.floats(-1e9, 1e9) | st.sampled_from([0.0, 0.1, 3.0])),
        max_size=60,
    ),
    fraction=st.booleans(),
)
def test_slopes_of_a_whole_stream_are_bit_for_bit_those_of_single_updates(window, pairs, fraction):
    steps = np.cumsum([s for s, _ in pairs], dtype=np.int64) * (0.37 if fraction else 1)
    values = np.array([v for _, v in pairs], dtype=float)
    together = window_slopes(steps, values, window)
    np.testing.assert_array_equal(together, slopes_one_by_one(steps, values, window))


def test_slope_forgets_on_reset():
    line = WindowSlope(5)
    for i in range(7):
        line.update(i, float(i))
    line.reset()
    seen = [line.update(100 + i, -2.0 * i)[0] for i in range(5)]
    assert [math.isnan(s) for s in seen] == [True] * 4 + [False]
    assert seen[-1] == -2.0


# ---- charts ----


def test_ewma_matches_its_definition_and_has_unit_variance():
    rng = np.random.default_rng(2)
    x, weight = rng.normal(size=50), 0.2
    chart = Ewma(weight)
    got = [chart.update(v) for v in x]
    for t in (1, 2, 7, 50):
        weights = weight * (1 - weight) ** np.arange(t)[::-1]
        expected = weights @ x[:t] / math.sqrt((weights**2).sum())
        assert got[t - 1] == pytest.approx(expected, rel=1e-12)
    chart.reset()
    assert chart.update(1.7) == pytest.approx(1.7)


def test_cusum_is_the_largest_sum_of_recent_excesses():
    x = np.random.default_rng(3).normal(0.3, 1, 200)
    chart = Cusum(slack=0.5)
    for t, v in enumerate(x):
        best = max(0.0, max(np.cumsum((x[: t + 1] - 0.5)[::-1])))
        assert chart.update(v) == pytest.approx(best, abs=1e-9)


def test_page_hinkley_matches_its_definition():
    """m_t minus its running minimum (0 at the start counts), with the running mean of each step."""
    x = np.random.default_rng(4).normal(5.0, 1, 200)
    means = np.cumsum(x) / np.arange(1, 201)
    m = np.concatenate([[0.0], np.cumsum(x - means - 0.2)])
    expected = (m - np.minimum.accumulate(m))[1:]
    chart = PageHinkley(slack=0.2)
    np.testing.assert_allclose([chart.update(v) for v in x], expected, atol=1e-9)


@pytest.mark.parametrize("make", [Cusum, PageHinkley])
def test_a_long_excursion_is_not_paid_back(make):
    """Without the cap, 500 steps at 10 would keep the sum high for thousands of steps."""
    chart = make(0.5, 4.0)
    for v in [0.0] * 50 + [10.0] * 500:
        chart.update(v)
    assert chart._sum <= 4.0 + 10.0
    assert sum(chart.update(0.0) > 2.0 for _ in range(100)) <= 6


# ---- distribution functions ----


# ---- e-values ----


@pytest.mark.parametrize("kappa", [0.3, 0.5, 0.9, None])
def test_an_e_value_has_mean_one_under_a_uniform_p(kappa):
    u = np.linspace(0, 60, 600_001)  # p = exp(-u), so E e(p) = integral of e(exp(-u)) exp(-u)
    mean = np.trapezoid(e_value(np.exp(-u), kappa) * np.exp(-u), u)
    # what lies beyond p = exp(-60): exp(-60 kappa), or 1 / 60 for the mixture
    left = math.exp(-60 * kappa) if kappa else 1 / 60
    assert mean + left == pytest.approx(1.0, abs=1e-4)


def test_mixture_is_the_average_over_kappa_and_smooth_near_one():
    kappas = (np.arange(20_000) + 0.5) / 20_000
    for p in (1e-4, 0.1, 0.9, 0.99004, 0.99006, 0.999999, 1.0):
        assert e_value(p) == pytest.approx(np.mean(kappas * p ** (kappas - 1)), rel=1e-7)


def test_p_zero_is_infinite_evidence_for_good():
    for change in (False, True):
        logs = e_process([0.9, 0.0, 1.0, 1.0], change=change)
        assert np.isfinite(logs[0]) and np.isposinf(logs[1:]).all()
    test = EProcess(alpha=0.01)
    assert [test.update(p) for p in (0.9, 0.0, 1.0)] == [False, True, True]


@pytest.mark.parametrize("kappa", [0.4, None])
@pytest.mark.parametrize("change", [False, True])
def test_e_process_step_by_step_is_the_array_one(kappa, change):
    p = np.random.default_rng(5).uniform(size=40)
    test = EProcess(alpha=1e-30, kappa=kappa, change=change)  # never alarms, never starts again
    logs = []
    for value in p:
        test.update(value)
        logs.append(test.log_value)
    np.testing.assert_allclose(logs, e_process(p, kappa, change=change), rtol=1e-10, atol=1e-12)


def test_an_e_detector_starts_again_after_its_alarm():
    test = EProcess(alpha=0.1, kappa=0.5, change=True)
    # e = 5, 5, 5: M = 5, then (1 + 5) 5 = 30 >= 10: alarm, then again 5
    assert [test.update(0.01) for _ in range(3)] == [False, True, False]
    assert math.exp(test.log_value) == pytest.approx(5.0)


def reached(n_calibration, streams=400, steps=1000, bound=20.0, growing=False):
    """Share of normal streams whose evidence against normality ever reaches the bound."""
    rng = np.random.default_rng(n_calibration)
    hits = 0
    for _ in range(streams):
        x = rng.normal(size=n_calibration + steps)
        past, new = x[:n_calibration], x[n_calibration:]
        if growing:
            above = (x[None, :] >= new[:, None]) & (
                np.arange(len(x)) <= n_calibration + np.arange(steps)[:, None]
            )
            p = above.sum(1) / (n_calibration + 1 + np.arange(steps))
        else:
            p = (1 + n_calibration - np.searchsorted(np.sort(past), new)) / (n_calibration + 1)
        hits += e_process(p).max() >= math.log(bound)
    return hits, streams


def test_a_small_fixed_calibration_set_breaks_the_bound():
    """The caveat in the docstring is real: far more than 5 % of the streams reach 20."""
    hits, streams = reached(50)
    assert stats.binomtest(hits, streams, 0.05, alternative="greater").pvalue < 1e-3
    assert hits / streams < 0.2


def test_a_large_calibration_set_and_a_growing_one_keep_the_bound():
    hits, streams = reached(5000)
    assert 0 < hits <= 0.05 * streams
    hits, streams = reached(50, streams=60, growing=True)
    assert hits <= 0.05 * streams


def test_the_mean_run_length_of_an_e_detector_keeps_its_bound():
    p = np.random.default_rng(6).uniform(size=(300, 1500))
    over = e_process(p, change=True) >= math.log(100)
    lengths = np.where(over.any(1), over.argmax(1) + 1, 1500)  # cut off: a lower estimate
    assert lengths.mean() > 100
    shifted = e_process(p[:, :50] ** 4, change=True) >= math.log(100)
    assert np.median(shifted.argmax(1)) < 20 and shifted.any(1).all()


def test_wrong_bets_are_refused_by_name():
    with pytest.raises(CalibrationError, match="p_values"):
        e_process([0.5, math.nan])
    with pytest.raises(CalibrationError, match="p_values"):
        e_value(1.5)
    with pytest.raises(CalibrationError, match="kappa"):
        e_value(0.5, kappa=1.0)
    with pytest.raises(CalibrationError, match="alpha"):
        EProcess(alpha=20)
    with pytest.raises(CalibrationError, match="kappa"):
        EProcess(kappa=0.0)
