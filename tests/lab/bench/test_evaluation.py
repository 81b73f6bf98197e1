"""Measures of separation: against pair counting, scikit-learn, scipy and simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from deepdrift.errors import CalibrationError, DeepDriftError
from deepdrift.lab.bench import evaluation as ev
from deepdrift.lab.bench.evaluation import curves, roc

small_scores = st.lists(st.integers(-3, 3), min_size=2, max_size=12)


def pair_table(normal, shifted):
    """1 where the shifted sample is above, 1/2 where tied: shape (n_in, n_out)."""
    normal, shifted = np.asarray(normal, float)[:, None], np.asarray(shifted, float)[None, :]
    return (shifted > normal) + 0.5 * (shifted == normal)


def brute_force_variance(table):
    """DeLong's variance from the definition: placements are row and column means."""
    n, m = table.shape
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    s_rows = sum((rows - table.mean()) ** 2) / (n - 1)
    s_columns = sum((columns - table.mean()) ** 2) / (m - 1)
    return s_rows / n + s_columns / m


def gaussian_scores(seed, n_in=150, n_out=100, shift=1.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=n_in), rng.normal(shift, size=n_out)


@given(small_scores, small_scores)
def test_auroc_equals_the_share_of_ordered_pairs(normal, shifted):
    assert ev.auroc(normal, shifted).value == pytest.approx(pair_table(normal, shifted).mean())


@given(small_scores, small_scores)
def test_swapping_the_sets_or_the_sign_mirrors_value_and_interval(normal, shifted):
    forward = ev.auroc(normal, shifted)
    for mirrored in (
        ev.auroc(shifted, normal),
        ev.auroc([-x for x in normal], [-x for x in shifted]),
    ):
        assert mirrored.value == pytest.approx(1 - forward.value)
        assert (mirrored.low, mirrored.high) == pytest.approx((1 - forward.high, 1 - forward.low))


@given(small_scores, small_scores)
def test_interval_contains_the_value_and_stays_a_probability(normal, shifted):
    estimate = ev.auroc(normal, shifted)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.low < estimate.high, "finite samples are never certain"


@given(small_scores, small_scores)
def test_delong_variance_equals_the_definition(normal, shifted):
    got = roc._delong_variance(*roc._placements(*roc.ranked(normal, shifted)))
    assert got == pytest.approx(brute_force_variance(pair_table(normal, shifted)), abs=1e-12)


def test_an_inverted_score_stays_below_one_half():
    """Taking max(A, 1 - A) would report 1.0 here: the sign must not be chosen afterwards."""
    estimate = ev.auroc(np.arange(10) + 100, np.arange(10))
    assert estimate.value == 0.0
    assert estimate.high == pytest.approx(1 - 0.025 ** (1 / 10))


def test_delong_interval_agrees_with_the_bootstrap():
    normal, shifted = gaussian_scores(0)

    def statistic(x, y, axis=-1):
        table = (y[..., None, :] > x[..., :, None]).mean(axis=(-1, -2))
        return table

    oracle = stats.bootstrap(
        (normal, shifted),
        statistic,
        n_resamples=2000,
        batch=100,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(1),
    ).confidence_interval
    estimate = ev.auroc(normal, shifted)
    assert (estimate.low, estimate.high) == pytest.approx((oracle.low, oracle.high), abs=0.006)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_delong_interval_covers_the_truth(shift):
    """Truth for unit Gaussians: Phi(shift / sqrt 2). 300 draws: 5 sigma is about 6 points."""
    truth = stats.norm.cdf(shift / math.sqrt(2))
    estimates = [ev.auroc(*gaussian_scores(seed, 60, 40, shift)) for seed in range(300)]
    covered = np.mean([e.low <= truth <= e.high for e in estimates])
    assert 0.89 <= covered <= 0.99


def test_perfect_separation_uses_disjoint_pairs():
    """All of m = 40 independent pairs in order: the lower bound solves p^40 = 0.025."""
    estimate = ev.auroc(np.zeros(60), np.ones(40))
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(0.025 ** (1 / 40))


def test_infinity_is_the_most_unusual_and_ties_with_itself():
    assert ev.auroc([0, 1, 2], [np.inf, np.inf]).value == 1.0
    assert ev.auroc([0, np.inf], [1, np.inf]).value == pytest.approx((1 + 0 + 1 + 0.5) / 4)
    assert ev.fpr_at_tpr([0, 1, 2, np.inf], [np.inf, np.inf]).value == 0.25
    assert ev.aupr([0, -np.inf], [np.inf, 1]).value == 1.0


def test_order_alone_matters():
    normal, shifted = gaussian_scores(3)
    for measure in (ev.auroc, ev.aupr, ev.fpr_at_tpr):
        assert measure(normal, shifted) == measure(np.exp(9 * normal), np.exp(9 * shifted))


def test_sample_sizes_and_tensors():
    estimate = ev.auroc(torch.zeros(3, requires_grad=True), torch.ones(5, dtype=torch.bfloat16))
    assert (estimate.n_in, estimate.n_out) == (3, 5)


@pytest.mark.parametrize("measure", [ev.auroc, ev.aupr, ev.fpr_at_tpr])
@pytest.mark.parametrize(
    ("normal", "shifted", "message"),
    [
        ([0, 1], [np.nan, 1, np.nan], "out_scores: 2 of 3 scores are NaN"),
        ([0], [1, 2], r"in_scores: expected one score per sample, .* N >= 2, got shape \(1,\)"),
        ([[0, 1]], [1, 2], r"in_scores: .*got shape \(1, 2\)"),
        ([0, 1], [], r"out_scores: .*got shape \(0,\)"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(measure, normal, shifted, message):
    with pytest.raises(ev.EvaluationError, match=message) as caught:
        measure(normal, shifted)
    assert isinstance(caught.value, DeepDriftError) and isinstance(caught.value, ValueError)


def test_difference_variance_equals_the_definition():
    rng = np.random.default_rng(4)
    base_in, base_out = rng.normal(size=40), rng.normal(1, size=30)
    a = base_in + rng.normal(size=40) / 2, base_out + rng.normal(size=30) / 2
    table = pair_table(*a) - pair_table(base_in, base_out)
    estimate = ev.auroc_difference(*a, base_in, base_out)
    half = stats.norm.ppf(0.975) * math.sqrt(brute_force_variance(table))
    assert estimate.value == pytest.approx(table.mean())
    assert (estimate.low, estimate.high) == pytest.approx(
        (table.mean() - half, table.mean() + half)
    )


def test_pairing_narrows_the_interval():
    normal, shifted = gaussian_scores(5)
    rng = np.random.default_rng(6)
    noisy = normal + 0.3 * rng.normal(size=150), shifted + 0.3 * rng.normal(size=100)
    paired = ev.auroc_difference(*noisy, normal, shifted)
    broken = ev.auroc_difference(rng.permutation(noisy[0]), noisy[1], normal, shifted)
    assert paired.value == pytest.approx(broken.value)
    assert paired.high - paired.low < 0.8 * (broken.high - broken.low)


def test_difference_is_zero_for_the_same_order_and_modest_for_two_perfect_scores():
    normal, shifted = gaussian_scores(7)
    same = ev.auroc_difference(normal, shifted, 3 * normal + 1, 3 * shifted + 1)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    perfect = ev.auroc_difference([0, 1, 2], [3, 4, 5], [2, 1, 0], [5, 4, 3])
    assert perfect.value == 0.0
    assert perfect.high == pytest.approx(1 - 0.025 ** (1 / 3)) == -perfect.low


def test_difference_refuses_other_samples():
    with pytest.raises(ev.EvaluationError, match="out_a, out_b: .* got 3 and 2"):
        ev.auroc_difference([0, 1], [1, 2, 3], [0, 1], [1, 2])


@given(small_scores, small_scores)
@settings(max_examples=60)
def test_count_tables_equal_scikit_learn(normal, shifted):
    """The bootstrap's vectorised statistics on the observed counts equal the library's."""
    counts = [c[None] for c in curves._counts(*roc.ranked(normal, shifted))]
    labels, scores = [0] * len(normal) + [1] * len(shifted), [*normal, *shifted]
    assert curves._average_precision(*counts)[0] == pytest.approx(
        metrics.average_precision_score(labels, scores)
    )
    false_rate, true_rate, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    for wanted in (0.5, 0.95, 1.0):
        assert curves._false_positive_rate(*counts, wanted)[0] == pytest.approx(
            false_rate[np.argmax(true_rate >= wanted - 1e-12)]
        )


def test_bootstrap_interval_agrees_with_scipy():
    normal, shifted = gaussian_scores(8, 80, 60)
    labels = np.r_[np.zeros(80), np.ones(60)]
    oracle = stats.bootstrap(
        (normal, shifted),
        lambda x, y: metrics.average_precision_score(labels, np.r_[x, y]),
        n_resamples=1000,
        method="percentile",
        vectorized=False,
        rng=np.random.default_rng(2),
    ).confidence_interval
    estimate = ev.aupr(normal, shifted, n_bootstrap=4000)
    assert (estimate.low, estimate.high) == pytest.approx((oracle.low, oracle.high), abs=0.02)


def test_bootstrap_follows_its_seed_and_leaves_global_state_alone():
    normal, shifted = gaussian_scores(9)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (ev.fpr_at_tpr(normal, shifted, seed=s) for s in (1, 1, 2))
    assert first == again != other
    assert ev.aupr(normal, shifted, seed=np.random.default_rng(3)) == ev.aupr(
        normal, shifted, seed=3
    )
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_fpr_at_tpr_by_hand():
    """Ten shifted samples at 1..10: catching 95 % means all ten, so the threshold is 1."""
    normal = [0.5, 1.0, 1.5, 20.0]
    assert ev.fpr_at_tpr(normal, range(1, 11)).value == 0.75
    assert ev.fpr_at_tpr(normal, range(1, 11), tpr=0.9).value == 0.25
    perfect = ev.fpr_at_tpr(np.zeros(30), np.ones(30), confidence=0.9)
    assert (perfect.low, perfect.value) == (0.0, 0.0)
    assert perfect.high == pytest.approx(1 - 0.05 ** (1 / 30))


def test_settings_are_checked():
    for call, message in (
        (lambda: ev.auroc([0, 1], [1, 2], confidence=95), "confidence: .* got 95"),
        (lambda: ev.fpr_at_tpr([0, 1], [1, 2], tpr=0), "tpr: .* got 0"),
        (lambda: ev.aupr([0, 1], [1, 2], n_bootstrap=10), "n_bootstrap: .* got 10"),
        (lambda: ev.binomial_interval(5, 4), "got k = 5, n = 4"),
        (lambda: ev.false_alarm_interval(100, 5), "alpha: .* got 5"),
    ):
        with pytest.raises(ev.EvaluationError, match=message):
            call()


@pytest.mark.parametrize(
    ("n", "alpha", "expected"),
    [(100, 0.05, (0.020, 0.089)), (500, 0.05, (0.035, 0.067)), (1000, 0.01, (0.005, 0.016))],
)
def test_false_alarm_interval_known_values(n, alpha, expected):
    assert ev.false_alarm_interval(n, alpha) == pytest.approx(expected, abs=5e-4)


def test_false_alarm_interval_is_what_thresholds_do():
    """Uniform scores: the true rate of a threshold is 1 - threshold."""
    rng = np.random.default_rng(10)
    n, alpha, draws = 99, 0.1, 4000
    thresholds = np.sort(rng.uniform(size=(draws, n)), axis=1)[:, 90 - 1]  # k = ceil(.9 * 100)
    low, high = ev.false_alarm_interval(n, alpha)
    assert np.mean((low <= 1 - thresholds) & (1 - thresholds <= high)) == pytest.approx(
        0.9, abs=0.02
    )
    measured = rng.binomial(50, 1 - thresholds) / 50
    wide_low, wide_high = ev.false_alarm_interval(n, alpha, n_test=50)
    assert wide_low <= low < high <= wide_high
    assert np.mean((wide_low <= measured) & (measured <= wide_high)) >= 0.88


def test_false_alarm_interval_says_how_many_are_needed():
    assert ev.false_alarm_interval(99, 0.01)[1] < 0.05  # alpha (n + 1) is exactly 1
    with pytest.raises(CalibrationError, match="98 samples .* alpha = 0.01; at least 99"):
        ev.false_alarm_interval(98, 0.01)


def test_binomial_interval_inverts_the_exact_test():
    """At the lower bound, seeing k or more has probability exactly (1 - confidence) / 2."""
    low, high = ev.binomial_interval(7, 50, confidence=0.95)
    assert stats.binom.sf(6, 50, low) == pytest.approx(0.025)
    assert stats.binom.cdf(7, 50, high) == pytest.approx(0.025)
    assert ev.binomial_interval(50, 50)[1] == 1.0


def test_estimate_reads_like_a_result():
    estimate = ev.Estimate(0.95312, 0.94671, 0.95949, n_in=3000, n_out=1000)
    assert str(estimate) == f"{estimate}" == "0.953 [0.947, 0.959]"
    assert f"{estimate:.1%}" == "95.3% [94.7%, 95.9%]"
    assert float(estimate) == 0.95312
    with pytest.raises(AttributeError):
        estimate.value = 1.0
