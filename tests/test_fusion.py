"""Fusion keeps its level on dependent layers; checked exactly and on many simulated data sets."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy import stats

from deepdrift.calibration import conformal_p_values, conformal_threshold
from deepdrift.errors import CalibrationError
from deepdrift.fusion import Fusion

RATES = (0.01, 0.05, 0.1, 0.2)


def dependent(n, generator, heavy=True):
    """Null scores of two blocks whose layers share a common part; some coarse, so that they tie."""
    common = torch.randn(n, 1, generator=generator)
    layers = common + 0.7 * torch.randn(n, 5, generator=generator)
    if heavy:
        layers = layers.exp()
    layers[:, 1] = (4 * layers[:, 1]).round() / 4
    return {"innovation": layers[:, :2], "distance": layers[:, 2:]}


def by_counting(first, second, new):
    """The three steps of the docstring in plain loops, for one new sample."""

    def layer_ps(block, sample):
        return [
            (1 + sum(c[k] >= sample[k] for c in first[block])) / (len(first[block]) + 1)
            for k in range(len(sample))
        ]

    def fisher(ps):
        return -2 * math.fsum(math.log(p) for p in ps)

    n = len(next(iter(second.values())))
    t = {b: [fisher(layer_ps(b, s)) for s in second[b]] for b in second}
    t_new = {b: fisher(layer_ps(b, new[b])) for b in new}
    close = 1e-8  # sums of the same logarithms in another order are ties
    own = [[sum(v >= t[b][i] - close for v in t[b]) / (n + 1) for b in t] for i in range(n)]
    mine = [(1 + sum(v >= t_new[b] - close for v in t[b])) / (n + 1) for b in t]
    normal, score = [fisher(p) for p in own], fisher(mine)
    return score, (1 + sum(v >= score - close for v in normal)) / (n + 1)


def test_against_plain_loops():
    generator = torch.Generator().manual_seed(0)
    first, second, new = (dependent(n, generator) for n in (23, 31, 40))
    fusion = Fusion(first, second)
    scores = fusion.score(new)
    p_values = fusion.p_values(scores)
    lists = [{k: v.tolist() for k, v in part.items()} for part in (first, second)]
    for i in range(40):
        score, p = by_counting(*lists, {k: v[i].tolist() for k, v in new.items()})
        assert scores[i].item() == pytest.approx(score, rel=1e-9, abs=2e-9)
        assert p_values[i].item() == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_level_by_enumeration(n):
    """All orders of n + 1 samples given the first half: P(p <= a) <= a for every a, with ties."""
    generator = torch.Generator().manual_seed(n)
    first = {k: v.double() for k, v in dependent(9, generator).items()}
    for _ in range(5):
        pool = dependent(n + 1, generator)
        p = []
        for order in permutations(range(n + 1)):
            second = {k: v[list(order[:-1])] for k, v in pool.items()}
            fusion = Fusion(first, second)
            new = {k: v[[order[-1]]] for k, v in pool.items()}
            p.append(fusion.p_values(fusion.score(new)).item())
        for alpha in {k / (n + 1) for k in range(1, n + 2)}:
            assert np.mean(np.array(p) <= alpha + 1e-12) <= alpha + 1e-12


@pytest.mark.parametrize("n_blocks", [1, 2])
def test_level_over_many_null_data_sets(n_blocks):
    """One new sample per data set: the rejections are independent, so binomial limits hold.

    Never above the stated rate (validity), and not far below it (some use).
    """
    generator, repeats = torch.Generator().manual_seed(12), 3000
    p = []
    for _ in range(repeats):
        parts = [dependent(n, generator) for n in (99, 99, 1)]
        first, second, new = ({k: v[k] for k in list(v)[:n_blocks]} for v in parts)
        fusion = Fusion(first, second)
        p.append(fusion.p_values(fusion.score(new)).item())
    p = np.array(p)
    for alpha in RATES:
        rejected = int((p <= alpha + 1e-12).sum())
        assert rejected <= stats.binom.ppf(0.999, repeats, alpha)
        assert rejected >= stats.binom.ppf(0.001, repeats, 0.7 * alpha)


def test_the_plain_chi_squared_law_would_break_the_level():
    """Why the combination is judged on a second half at all."""
    generator = torch.Generator().manual_seed(5)
    first, second, new = (dependent(n, generator) for n in (500, 500, 4000))
    fusion = Fusion({"distance": first["distance"]}, {"distance": second["distance"]})
    scores = fusion.score({"distance": new["distance"]})
    assert np.mean(stats.chi2(6).sf(scores.numpy()) <= 0.01) > 0.03
    assert (fusion.p_values(scores) <= 0.01).double().mean() < 0.02


def test_threshold_and_p_value_are_one_decision():
    generator = torch.Generator().manual_seed(1)
    fusion = Fusion(dependent(60, generator), dependent(61, generator))
    scores = fusion.score(dependent(500, generator))
    p_values = fusion.p_values(scores)
    for alpha in (0.05, 0.1, 1 / 3):
        flagged = scores > conformal_threshold(fusion.normal_scores, alpha)
        assert torch.equal(flagged, p_values <= alpha + 1e-12)
        assert 0 < int(flagged.sum()) < 500


def test_one_block_of_one_layer_is_a_conformal_p_value():
    generator = torch.Generator().manual_seed(2)
    first, second, new = (torch.randn(n, 1, generator=generator) for n in (50, 999, 300))
    fusion = Fusion({"a": first}, {"a": second})
    p = fusion.p_values(fusion.score({"a": new}))
    expected = conformal_p_values(second[:, 0], new[:, 0])
    # the layer step coarsens scores to the 51 ranks among the first half, never the other way
    assert bool((p >= expected - 1e-12).all())
    assert float((p - expected).max()) < 0.15


def test_larger_layer_scores_never_give_smaller_combined_scores():
    generator = torch.Generator().manual_seed(3)
    fusion = Fusion(dependent(60, generator), dependent(60, generator))
    new = dependent(100, generator)
    more = {k: v + torch.rand(v.shape, generator=generator) for k, v in new.items()}
    assert bool((fusion.score(more) >= fusion.score(new)).all())


def test_any_increasing_change_of_units_changes_nothing():
    generator = torch.Generator().manual_seed(4)
    parts = [dependent(n, generator, heavy=False) for n in (40, 50, 60)]
    first, second, new = parts
    expected = Fusion(first, second).score(new)
    first, second, new = ({k: (v.double() / 3).exp() for k, v in part.items()} for part in parts)
    assert torch.allclose(Fusion(first, second).score(new), expected, rtol=1e-12)


def test_the_order_of_layers_changes_nothing():
    """Sums of the same logarithms in another order differ in the last bit; ties must stay."""
    generator = torch.Generator().manual_seed(8)
    first, second, new = (torch.rand(n, 6, generator=generator).mul(9).floor() for n in (9, 80, 80))
    order = [4, 2, 5, 0, 3, 1]
    one = Fusion({"a": first}, {"a": second})
    other = Fusion({"a": first[:, order]}, {"a": second[:, order]})
    scores = one.score({"a": new})
    assert torch.equal(other.score({"a": new[:, order]}), scores)
    assert torch.equal(other.p_values(scores), one.p_values(scores))
    alone = torch.cat([one.score({"a": row[None]}) for row in new])
    assert torch.equal(alone, scores)


def test_score_is_combine_of_layer_p_values():
    generator = torch.Generator().manual_seed(6)
    first, second, new = (dependent(n, generator) for n in (40, 50, 7))
    fusion = Fusion(first, second)
    layers = {k: fusion.layer_p_values(k, v) for k, v in new.items()}
    for k, p in layers.items():
        assert torch.equal(p, conformal_p_values(first[k], new[k]))
    assert torch.equal(fusion.combine(layers), fusion.score(new))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("n_blocks", [1, 2])
def test_one_bad_layer_score_makes_its_sample_infinite(bad, n_blocks):
    generator = torch.Generator().manual_seed(7)
    first, second, new = (dependent(n, generator) for n in (40, 50, 5))
    keep = list(first)[:n_blocks]
    first, second, new = ({k: part[k].clone() for k in keep} for part in (first, second, new))
    fusion = Fusion(first, second)
    new["innovation"][3, 1] = bad
    scores = fusion.score(new)
    assert scores[3] == math.inf
    assert fusion.p_values(scores)[3] == 0
    assert bool(scores[[0, 1, 2, 4]].isfinite().all())


def test_bad_halves_are_refused():
    half = {"a": torch.rand(9, 2)}
    for first, second, text in [
        (half, {"b": torch.rand(9, 2)}, "same blocks"),
        ({}, {}, "same blocks"),
        (half, {"a": torch.full((9, 2), math.nan)}, r"second\['a'\].*NaN"),
        ({"a": torch.full((9, 2), math.inf)}, half, r"first\['a'\].*infinite"),
        (half, {"a": torch.empty(0, 2)}, "at least one"),
        ({"a": torch.empty(0, 2)}, half, "at least one"),
        (half, {"a": torch.rand(9, 3)}, r"\(9, 2\) and \(9, 3\)"),
        ({"a": torch.rand(9)}, {"a": torch.rand(9)}, r"\(n, K\)"),
    ]:
        with pytest.raises(CalibrationError, match=text):
            Fusion(first, second)
