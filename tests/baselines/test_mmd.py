"""MMD: every statistic against double loops, the test against other people's and its own law."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics.pairwise import rbf_kernel
from torch import nn

from deepdrift.baselines import (
    MMDAggregated,
    MMDDrift,
    bandwidth_grid,
    median_heuristic,
    mmd2_biased,
    mmd2_linear,
    mmd2_unbiased,
    permutation,
)
from deepdrift.baselines.kernels import KERNELS, rational_quadratic
from deepdrift.baselines.permutation import decide, group_sums, random_splits
from deepdrift.errors import CalibrationError, ReferenceFileError, StateError

LAWS = {
    "gaussian": lambda d, s: math.exp(-(d**2) / (2 * s**2)),
    "laplace": lambda d, s: math.exp(-d / s),
    "rational-quadratic": lambda d, s: 1 / (1 + d**2 / (2 * s**2)),
}


def sample(n, d=3, shift=0.0, seed=0):
    g = torch.Generator().manual_seed(1000 * seed + n)
    return torch.randn(n, d, generator=g, dtype=torch.float64) + shift


def by_loops(x, y, law, sigma, biased=False):
    """The definition, one pair at a time."""

    def mean(a, b, same):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not same or i != j]
        return sum(law(math.dist(a[i], b[j]), sigma) for i, j in pairs) / len(pairs)

    x, y = x.tolist(), y.tolist()
    return mean(x, x, not biased) + mean(y, y, not biased) - 2 * mean(x, y, False)


# ---- the statistics ----


@pytest.mark.parametrize("kernel", LAWS)
def test_statistics_are_the_double_loops(kernel):
    x, y = sample(7), sample(5, shift=0.5, seed=1)
    law = LAWS[kernel]
    unbiased, biased = (by_loops(x, y, law, 1.3, b) for b in (False, True))
    assert mmd2_unbiased(x, y, 1.3, kernel) == pytest.approx(unbiased, abs=1e-14)
    assert mmd2_biased(x, y, 1.3, kernel) == pytest.approx(biased, abs=1e-14)
    several = np.mean([by_loops(x, y, law, s) for s in (0.3, 1.0, 4.0)])
    assert mmd2_unbiased(x, y, [0.3, 1.0, 4.0], kernel) == pytest.approx(several, abs=1e-14)


def test_linear_statistic_is_the_mean_over_disjoint_pairs():
    x, y = sample(9), sample(6, seed=1)
    k = lambda a, b: math.exp(-(math.dist(a.tolist(), b.tolist()) ** 2) / 2)  # noqa: E731
    h = [
        k(x[i], x[i + 1]) + k(y[i], y[i + 1]) - k(x[i], y[i + 1]) - k(x[i + 1], y[i])
        for i in (0, 2, 4)
    ]
    assert mmd2_linear(x, y, sigma=1.0) == pytest.approx(np.mean(h), abs=1e-14)


def test_biased_statistic_of_the_distance_kernel_is_scipys_energy_distance():
    x, y = sample(30, d=1), sample(20, d=1, shift=0.4, seed=1)
    ours = mmd2_biased(x, y, sigma=1.0, kernel=lambda squared, sigma: -squared.sqrt())
    theirs = stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    assert ours == pytest.approx(theirs, rel=1e-10)


def test_biased_statistic_of_the_linear_kernel_is_the_distance_of_the_means():
    x, y = sample(30, d=4), sample(20, d=4, shift=0.4, seed=1)
    ours = mmd2_biased(x, y, sigma=1.0, kernel=lambda squared, sigma: -squared / 2)
    assert ours == pytest.approx(float((x.mean(0) - y.mean(0)).square().sum()), rel=1e-10)


def test_gaussian_is_scikit_learns_with_gamma():
    x, y = sample(40), sample(40, shift=1, seed=1)
    k = rbf_kernel(x, y, gamma=1 / (2 * 0.7**2)).mean()
    own = [rbf_kernel(s, s, gamma=1 / (2 * 0.7**2)).mean() for s in (x, y)]
    assert mmd2_biased(x, y, sigma=0.7) == pytest.approx(sum(own) - 2 * k, abs=1e-13)


def test_rational_quadratic_tends_to_the_gaussian():
    squared = torch.tensor([0.0, 0.5, 3.0], dtype=torch.float64)
    wide = rational_quadratic(squared, 0.8, shape=1e7)
    torch.testing.assert_close(wide, KERNELS["gaussian"](squared, 0.8), rtol=0, atol=1e-6)


def test_unbiased_is_zero_on_average_where_biased_is_not():
    pairs = [(sample(6, seed=s), sample(9, seed=s + 500)) for s in range(300)]
    unbiased = np.array([mmd2_unbiased(x, y, sigma=1.0) for x, y in pairs])
    biased = np.array([mmd2_biased(x, y, sigma=1.0) for x, y in pairs])
    error = unbiased.std() / math.sqrt(300)
    assert abs(unbiased.mean()) < 3 * error
    assert biased.min() > 0 and biased.mean() > 30 * error
    linear = np.array([mmd2_linear(x, y, sigma=1.0) for x, y in pairs])
    assert abs(linear.mean()) < 3 * linear.std() / math.sqrt(300)
    assert linear.std() > 1.5 * unbiased.std()  # its price


@pytest.mark.parametrize("statistic", [mmd2_unbiased, mmd2_biased, mmd2_linear])
def test_a_common_offset_changes_nothing(statistic):
    x, y = (torch.round(sample(60, seed=s) * 256) / 256 for s in (0, 1))  # exact in float32 + 1e4
    near = statistic(x.float(), y.float(), sigma=1.5)
    far = statistic((x + 1e4).float(), (y + 1e4).float(), sigma=1.5)
    assert far == pytest.approx(near, abs=1e-9)
    very_far = statistic(x + 2**30, y + 2**30, sigma=1.5)  # exact in float64
    assert very_far == pytest.approx(near, abs=1e-9)


def test_equal_points_have_distance_zero_far_from_the_mean():
    # The expansion a^2 + b^2 - 2ab leaves 1e-10 here, whose root would show in Laplace's kernel.
    x, y = (100 * sample(4, d=64, seed=s).repeat(2, 1) for s in (0, 1))
    expected = by_loops(x, y, LAWS["laplace"], 1.0)  # 4 of 28 pairs are equal in either group
    assert expected == pytest.approx(2 / 7)
    assert mmd2_unbiased(x, y, 1.0, "laplace") == pytest.approx(expected, abs=1e-12)


def test_plain_lists_keep_their_digits():
    x, y = [[0.1], [0.7]], [[0.3], [1.9]]
    assert mmd2_unbiased(x, y, 1.0) == pytest.approx(
        by_loops(np.array(x), np.array(y), LAWS["gaussian"], 1.0), abs=1e-15
    )


# ---- bandwidths ----


@pytest.mark.parametrize("n", [2, 5, 6, 40])
def test_median_heuristic_is_the_lower_median_over_pairs(n):
    x = sample(n)
    squared = sorted(math.dist(a, b) ** 2 for a, b in itertools.combinations(x.tolist(), 2))
    rule = math.sqrt(squared[(len(squared) - 1) // 2] / 2)
    assert median_heuristic(x) == pytest.approx(rule, rel=1e-12)


def test_median_heuristic_of_many_samples_looks_at_some_of_them():
    x = sample(6000, d=5)
    subset, more = median_heuristic(x), median_heuristic(x, max_points=6000)
    assert subset == pytest.approx(more, rel=0.02) and subset != more
    assert median_heuristic(x) == subset != median_heuristic(x, generator=1)


def test_median_heuristic_of_equal_samples():
    assert median_heuristic(torch.ones(5, 2)) == 1.0
    mostly = torch.zeros(20, 1)
    mostly[0] = 3.0  # most pairs are equal; those that differ have distance 3
    assert median_heuristic(mostly) == pytest.approx(3 / math.sqrt(2))


def test_bandwidth_grid_spans_the_quantiles():
    x = sample(50)
    distances = sorted(math.dist(a, b) for a, b in itertools.combinations(x.tolist(), 2))
    low, high = (distances[math.ceil(q * len(distances)) - 1] for q in (0.05, 0.95))
    grid = bandwidth_grid(x, 4)
    assert grid[0] == pytest.approx(low / 2) and grid[-1] == pytest.approx(high * 2)
    assert np.diff(np.log(grid)) == pytest.approx(np.log(4 * high / low) / 3)


# ---- permutations ----


@pytest.mark.parametrize(("n", "m"), [(4, 6), (5, 5)])
def test_permuted_values_are_the_double_loops_on_explicit_index_sets(n, m):
    pooled = torch.cat([sample(n), sample(m, shift=1, seed=1)])
    members = random_splits(n, m, 12, torch.Generator().manual_seed(3))
    assert members[:n, 0].all() and members.sum(0).tolist() == [n] * 13
    values = group_sums(pooled, members, [lambda d: KERNELS["laplace"](d, 1.1)]).unbiased()[0]
    expected = [by_loops(pooled[c], pooled[~c], LAWS["laplace"], 1.1) for c in members.T]
    assert values.tolist() == pytest.approx(expected, abs=1e-14)


def test_all_splits_average_to_zero_and_are_drawn_equally_often():
    pooled = sample(6)
    sets = list(itertools.combinations(range(6), 2))
    members = torch.zeros(6, len(sets), dtype=torch.bool)
    for column, chosen in enumerate(sets):
        members[list(chosen), column] = True
    values = group_sums(pooled, members, [lambda d: KERNELS["gaussian"](d, 1.0)]).unbiased()
    assert float(values.mean()) == pytest.approx(0, abs=1e-14)

    drawn = random_splits(2, 4, 3000, torch.Generator().manual_seed(0))[:, 1:]
    counts = [int((drawn[list(s)].all(0)).sum()) for s in sets]
    assert sum(counts) == 3000 and stats.chisquare(counts).pvalue > 0.001


def test_tiles_do_not_show(monkeypatch):
    pooled = sample(53)
    members = random_splits(20, 33, 9, torch.Generator().manual_seed(0))
    kernels = [lambda d, s=s: KERNELS["gaussian"](d, s) for s in (0.5, 2.0)]
    whole, seen = group_sums(pooled, members, kernels), []
    monkeypatch.setattr(permutation, "TILE", 8)

    def watched(squared):
        seen.append(squared.numel())
        return kernels[0](squared)

    tiled = group_sums(pooled, members, [watched, kernels[1]])
    for name in ("inside", "outside", "across", "mean", "square"):
        torch.testing.assert_close(getattr(tiled, name), getattr(whole, name), rtol=1e-12, atol=0)
    assert max(seen) == 64 and len(seen) == 28  # never more than one tile, mirrored ones not made


def test_p_value_is_scipys_exact_permutation_test():
    x, y = sample(4, d=1), sample(4, d=1, shift=1.2, seed=1)

    def statistic(a, b):
        return by_loops(a[:, None], b[:, None], LAWS["gaussian"], 1.0)

    exact = stats.permutation_test(
        (x[:, 0].numpy(), y[:, 0].numpy()),
        statistic,
        vectorized=False,
        n_resamples=np.inf,
        alternative="greater",
    ).pvalue
    ours = MMDDrift(x, sigma=1.0, n_permutations=4000).test(y).p_value
    assert 0.02 < exact < 0.5
    assert ours == pytest.approx(exact, abs=4 * math.sqrt(exact / 4000))


def test_p_value_counts_the_observed_split_and_all_that_tie_with_it():
    # Equally large groups: exchanging them gives the same number up to rounding.
    x, y = sample(3), sample(3, shift=50, seed=1)
    generator = torch.Generator().manual_seed(2)
    test = MMDDrift(x, sigma=20.0, n_permutations=199, generator=2).test(y)
    members = random_splits(3, 3, 199, generator)[:, 1:]
    first = members[:3].sum(0)
    ties = int(((first == 3) | (first == 0)).sum())
    assert ties > 5
    assert test.p_value == (1 + ties) / 200


@given(
    st.lists(st.sampled_from([0.0, 0.1 + 0.2, 0.3, 1 / 3, 1.0, -1.0]), min_size=100, max_size=120),
    st.sampled_from([0.01, 0.05, 0.07, 0.1, 0.3 - 0.25, 0.29, 0.5, 0.99]),
    st.sampled_from([0.0, 1e-12]),
)
def test_p_value_and_threshold_are_one_decision(values, alpha, slack):
    p, threshold = decide(torch.tensor(values, dtype=torch.float64), alpha, slack)
    assert (p <= alpha) == (values[0] >= threshold)
    assert p == (1 + sum(v + slack >= values[0] for v in values[1:])) / len(values)


def test_the_decision_at_a_level_that_floats_round():
    # 0.29 * 100 is 28.999999999999996, yet 29 / 100 <= 0.29.
    values = torch.cat([torch.tensor([1.0]), torch.ones(28), torch.zeros(71)]).double()
    p, threshold = decide(values, alpha=0.29, slack=0.0)
    assert p == 0.29 and 0 < threshold <= 1


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.5, 3.0])
@pytest.mark.parametrize("method", [MMDDrift, MMDAggregated])
def test_result_agrees_with_itself(method, shift):
    for seed in range(8):
        x, y = sample(20, seed=seed), sample(15, shift=shift, seed=seed + 50)
        test = method(x, n_permutations=39).test(y)
        assert test.is_drift == (test.p_value <= 0.05) == (test.distance >= test.distance_threshold)
        assert 1 / 40 <= test.p_value <= 1
        assert test.distance_threshold >= sorted(test.null)[-2]  # two of the 40 may be called drift
        expected = (test.distance - test.null.mean()) / test.null.std(correction=0)
        assert test.effect_size == pytest.approx(float(expected))


def test_distance_is_the_unbiased_statistic_at_the_pooled_median():
    x, y = sample(25), sample(40, shift=0.4, seed=1)  # the larger group is not the reference
    test = MMDDrift(x).test(y)
    assert test.sigma == (median_heuristic(torch.cat([y, x])),)
    assert test.distance == pytest.approx(mmd2_unbiased(x, y, test.sigma), abs=1e-14)
    assert test.distance == pytest.approx(mmd2_unbiased(x, y), abs=1e-14)
    swapped = MMDDrift(y).test(x)
    assert (swapped.p_value, swapped.distance) == (test.p_value, pytest.approx(test.distance))


def test_an_offset_changes_no_decision():
    x, y = (torch.round(sample(80, seed=s) * 256) / 256 for s in (0, 1))
    near, far = (MMDDrift((x + c).float()).test((y + c).float()) for c in (0, 1e4))
    assert near.p_value == far.p_value and near.distance == pytest.approx(far.distance, abs=1e-9)


# ---- level and power ----


def rejections(method, n, shift, datasets, d=2, **options):
    return sum(
        method(sample(n, d, seed=s), generator=s, **options)
        .test(sample(n + 2, d, shift, seed=s + 10_000))
        .is_drift
        for s in range(datasets)
    )


def level_interval(n_permutations, datasets, alpha=0.05):
    """Central 99.8 % of the number of false alarms of an exact test."""
    rate = math.floor(alpha * (n_permutations + 1) + 1e-9) / (n_permutations + 1)
    return stats.binom.interval(0.998, datasets, rate)


@pytest.mark.parametrize("n_permutations", [19, 20, 50, 100, 500])
def test_level_of_the_median_heuristic_test(n_permutations):
    low, high = level_interval(n_permutations, 400)
    assert low <= rejections(MMDDrift, 12, 0.0, 400, n_permutations=n_permutations) <= high


@pytest.mark.parametrize("combine", ["max", "fuse"])
@pytest.mark.parametrize("n_permutations", [19, 100])
def test_level_of_the_aggregated_test(n_permutations, combine):
    low, high = level_interval(n_permutations, 400)
    options = {"n_permutations": n_permutations, "combine": combine}
    assert low <= rejections(MMDAggregated, 12, 0.0, 400, **options) <= high


@pytest.mark.parametrize("method", [MMDDrift, MMDAggregated])
def test_power_rises_with_size_and_shift(method):
    by_size = [rejections(method, n, 0.5, 60) for n in (10, 25, 60)]
    by_shift = [rejections(method, 25, shift, 60) for shift in (0.0, 0.4, 1.0)]
    assert by_size[0] + 6 < by_size[1] and by_size[1] + 6 < by_size[2] and by_size[2] > 40
    assert by_shift[0] + 6 < by_shift[1] and by_shift[1] + 6 < by_shift[2] and by_shift[2] > 54


def comb(n, shift, seed):
    g = torch.Generator().manual_seed(seed)
    teeth = torch.randint(-5, 6, (n, 1), generator=g) + shift
    return teeth + 0.1 * torch.randn(n, 1, generator=g)


def test_the_aggregated_test_sees_what_the_median_heuristic_misses():
    pairs = [(comb(80, 0.0, s), comb(80, 0.5, s + 1000)) for s in range(40)]
    median = sum(MMDDrift(x, generator=1).test(y).is_drift for x, y in pairs)
    assert median <= 8
    for combine in ("max", "fuse"):
        found = [MMDAggregated(x, generator=1, combine=combine).test(y) for x, y in pairs]
        assert sum(test.is_drift for test in found) >= 36


def test_aggregated_statistics_are_their_formulas():
    x, y, sigmas = sample(8), sample(6, shift=0.3, seed=1), [0.4, 1.0, 3.0]
    pooled = torch.cat([y, x])  # the smaller group is the one that is marked
    splits = random_splits(6, 8, 19, torch.Generator().manual_seed(7)).T
    values = np.array(
        [[by_loops(pooled[c], pooled[~c], LAWS["gaussian"], s) for c in splits] for s in sigmas]
    )
    standard = (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)
    test = MMDAggregated(x, sigma=sigmas, n_permutations=19, generator=7).test(y)
    assert test.distance == pytest.approx(standard[:, 0].max(), abs=1e-10)
    assert test.null.tolist() == pytest.approx(standard[:, 1:].max(0), abs=1e-10)

    pairs = list(itertools.permutations(pooled.tolist(), 2))
    squares = [np.mean([LAWS["gaussian"](math.dist(*p), s) ** 2 for p in pairs]) for s in sigmas]
    sharpness = math.sqrt(6 * 5)
    terms = np.exp(sharpness * values[:, 0] / np.sqrt(squares))
    fused = MMDAggregated(x, sigma=sigmas, combine="fuse").test(y)
    assert fused.distance == pytest.approx(math.log(terms.mean()) / sharpness, abs=1e-13)
    assert MMDAggregated(x, n_bandwidths=3).test(y).sigma == bandwidth_grid(torch.cat([y, x]), 3)


# ---- manners ----


def test_randomness_is_asked_for_and_leaves_no_trace():
    x, y = sample(40), sample(40, seed=1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = MMDDrift(x).test(y)
    assert first.null.equal(MMDDrift(x, generator=0).test(y).null)
    assert not first.null.equal(MMDDrift(x, generator=1).test(y).null)
    detector = MMDDrift(x, generator=torch.Generator().manual_seed(0))
    assert first.null.equal(detector.test(y).null)
    assert not first.null.equal(detector.test(y).null)  # the generator has moved on
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()


def test_the_result_is_frozen_and_reads_as_a_sentence():
    test = MMDDrift(sample(40), n_permutations=99).test(sample(30, shift=2, seed=1))
    assert str(test) == (
        f"Drift: MMD² {test.distance:.3g} reaches its threshold {test.distance_threshold:.3g} "
        "(p = 0.01, alpha = 0.05, 99 permutations, 40 reference and 30 test samples)."
    )
    assert str(MMDDrift(sample(40)).test(sample(40))).startswith("No drift found: MMD² -")
    with pytest.raises(dataclasses.FrozenInstanceError):
        test.is_drift = False


@pytest.mark.parametrize("method", [MMDDrift, MMDAggregated])
def test_constant_features_are_no_drift_and_another_constant_is(method):
    ones = torch.ones(30, 4)
    same = method(ones).test(torch.ones(20, 4))
    assert (same.p_value, same.is_drift, same.effect_size) == (1.0, False, 0.0)
    assert method(ones).test(torch.full((20, 4), 2.0)).p_value == 1 / 101
    dead = torch.cat([sample(40), torch.zeros(40, 3)], dim=1)
    assert method(dead).test(dead[:20]).p_value > 0.5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e200])
def test_one_bad_number_is_an_error_that_counts_it(value):
    good, bad = sample(80), sample(80)
    bad[7, 1] = value
    with pytest.raises(StateError, match="x: 1 of 80 samples hold NaN, infinity or numbers too"):
        MMDDrift(good).test(bad)
    with pytest.raises(CalibrationError, match="reference: 1 of 80"):
        MMDDrift(bad)
    with pytest.raises(StateError, match="y: 1 of 80"):
        mmd2_biased(good, bad)


def test_a_kernel_that_gives_no_numbers_is_never_an_answer():
    with pytest.raises(StateError, match="the kernel gave NaN or infinity"):
        MMDDrift(sample(20), kernel=lambda d, s: d * math.nan).test(sample(20, seed=1))


def test_samples_that_cannot_be_compared():
    detector = MMDDrift(sample(20))
    with pytest.raises(StateError, match="x: expected 3 features like the reference, got 2"):
        detector.test(sample(20, d=2))
    with pytest.raises(StateError, match="x: expected at least 2 samples, got 1"):
        detector.test(sample(1))
    with pytest.raises(CalibrationError, match="reference: expected at least 2 samples, got 1"):
        MMDDrift(sample(1))
    with pytest.raises(StateError, match=r"shape \(N, D\), got \(20,\); write x\[:, None\]"):
        detector.test(torch.zeros(20))
    with pytest.raises(CalibrationError, match="images need a feature map"):
        MMDDrift(torch.zeros(5, 1, 2, 2))
    with pytest.raises(StateError, match="y: expected 3 features"):
        mmd2_unbiased(sample(5), sample(5, d=2))


@pytest.mark.parametrize(
    ("n", "alpha", "needed"), [(18, 0.05, 19), (98, 0.01, 99), (0, 0.5, 1), (19.5, 0.05, 19)]
)
def test_too_few_permutations_for_the_level(n, alpha, needed):
    with pytest.raises(CalibrationError, match=f"n_permutations: .*use at least {needed}"):
        MMDDrift(sample(20), n_permutations=n, alpha=alpha)
    x, far = sample(20), sample(20, shift=9, seed=1)
    assert MMDDrift(x, n_permutations=needed, alpha=alpha).test(far).is_drift  # and those suffice


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0}, "alpha: expected a rate"),
        ({"alpha": 1.0}, "alpha: expected a rate"),
        ({"kernel": "cosine"}, "kernel: expected one of"),
        ({"sigma": 0.0}, "sigma: expected positive"),
        ({"sigma": [1.0, math.nan]}, "sigma: expected positive"),
        ({"sigma": []}, "sigma: expected positive"),
        ({"layer": "0"}, "layer: '0' needs the network"),
        ({"feature_map": 3}, "feature_map: expected a function or a network, got int"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(CalibrationError, match=message):
        MMDDrift(sample(20), **options)


def test_wrong_settings_of_the_aggregated_test():
    with pytest.raises(CalibrationError, match="n_bandwidths: expected at least one, got 0"):
        MMDAggregated(sample(20), n_bandwidths=0)
    with pytest.raises(CalibrationError, match="combine: expected 'max' or 'fuse', got 'sum'"):
        MMDAggregated(sample(20), combine="sum")


# ---- images and files ----


def images(n, seed, brightness=0.0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, 1, 4, 4, generator=g) + brightness


def network():
    g = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Dropout(0.9), nn.Linear(5, 2))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=g))
    return model


def test_images_through_a_layer_an_output_or_a_function():
    model = network().train()
    x, y = images(300, 0), images(60, 1, brightness=0.2)  # more than one forward pass
    hidden = [model[1](s.flatten(1)).detach() for s in (x, y)]
    expected = MMDDrift(hidden[0]).test(hidden[1])
    by_layer = MMDDrift(x, feature_map=model, layer="1").test(y)
    assert by_layer.distance == pytest.approx(expected.distance, abs=1e-7)
    by_function = MMDDrift(x, feature_map=lambda s: model[1](s.flatten(1))).test(y)
    assert by_function.distance == pytest.approx(expected.distance, abs=1e-7)

    outputs = [model[3](h).detach() for h in hidden]  # dropout is off in evaluation mode
    by_output = MMDDrift(x, feature_map=model).test(y)
    assert by_output.distance == pytest.approx(mmd2_unbiased(*outputs), abs=1e-7)
    assert model.training and model[2].training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_loader_of_labelled_batches_is_a_reference():
    x, y = images(50, 0), images(50, 1)
    batches = [(part, torch.zeros(len(part))) for part in x.split(16)]
    flat = MMDDrift(x.flatten(1)).test(y.flatten(1))
    assert MMDDrift(iter(batches), feature_map=lambda s: s.flatten(1)).test(y) == flat
    with pytest.raises(CalibrationError, match="reference: the loader yielded no batch"):
        MMDDrift(iter([]))


@pytest.mark.parametrize("method", [MMDDrift, MMDAggregated])
def test_saved_and_loaded_gives_the_same_answers(method, tmp_path):
    detector = method(
        sample(30), sigma=[0.5, 2.0], kernel="laplace", n_permutations=39, alpha=0.1, generator=5
    )
    detector.save(tmp_path / "mmd.safetensors")
    loaded, x = method.load(tmp_path / "mmd.safetensors"), sample(20, shift=0.2, seed=1)
    assert loaded.test(x) == detector.test(x)
    assert loaded.test(x).null.equal(detector.test(x).null)


def test_a_saved_generator_goes_on_where_it_was(tmp_path):
    detector = MMDDrift(sample(30), generator=torch.Generator().manual_seed(4))
    x = sample(20, seed=1)
    detector.test(x)
    detector.save(tmp_path / "mmd.safetensors")
    assert MMDDrift.load(tmp_path / "mmd.safetensors").test(x).null.equal(detector.test(x).null)


def test_a_loaded_test_of_images_takes_its_feature_map_again(tmp_path):
    flatten = lambda s: s.flatten(1)  # noqa: E731
    detector = MMDDrift(images(30, 0), feature_map=flatten)
    detector.save(tmp_path / "mmd.safetensors")
    loaded = MMDDrift.load(tmp_path / "mmd.safetensors", feature_map=flatten)
    assert loaded.test(images(30, 1)) == detector.test(images(30, 1))


def test_files_that_are_something_else(tmp_path):
    path = tmp_path / "mmd.safetensors"
    with pytest.raises(ReferenceFileError, match="no file"):
        MMDDrift.load(path)
    MMDAggregated(sample(10)).save(path)
    with pytest.raises(ReferenceFileError, match="expected a saved MMDDrift, found MMDAggregated"):
        MMDDrift.load(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ReferenceFileError, match="damaged"):
        MMDAggregated.load(path)
    with pytest.raises(CalibrationError, match="a function cannot be saved"):
        MMDDrift(sample(10), kernel=rational_quadratic).save(path)
