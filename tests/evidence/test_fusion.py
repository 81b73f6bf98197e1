"""Fusion keeps its level on dependent layers; checked exactly and on many simulated data sets."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy import stats

from deepdrift.errors import CalibrationError
from deepdrift.evidence.calibration import conformal_p_values, conformal_threshold
from deepdrift.evidence.fusion import Fusion

RATES = (0.01, 0.05, 0.1, 0.2)


def dependent(n, generator):
    """Null scores of two blocks whose layers share a common part; some coarse, so that they tie."""
    common = torch.randn(n, 1, generator=generator)
    layers = (common + 0.7 * torch.randn(n, 5, generator=generator)).exp()
    layers[:, 1] = (4 * layers[:, 1]).ceil() / 4
    return {"innovation": layers[:, :2], "distance": layers[:, 2:]}


def by_counting(first, second, new, n_smallest=None):
    """The three steps of the docstring in plain loops, for one new sample."""
    close = 1e-8  # sums of the same logarithms in another order are ties

    def layer_evidence(normal, score):
        p = (1 + sum(c >= score for c in normal)) / (len(normal) + 1)
        top = sorted(normal)[-max(5, len(normal) // 10) :]
        slope = 1 / (sum(math.log(c / top[0]) for c in top) / len(top))
        return -2 * math.log(p) + 2 * min(max(slope, 1), 50) * math.log(max(1, score / top[-1]))

    def statistic(block, sample):
        columns = list(zip(*first[block], strict=True))
        evidence = sorted(map(layer_evidence, columns, sample), reverse=True)
        return math.fsum(evidence[:n_smallest])

    def evidence(count, n, value, others):
        return -2 * math.log(count / (n + 1)) + max(0, value - max(others))

    n = len(next(iter(second.values())))
    normal, score = [0.0] * n, 0.0
    for block in second:
        t = [statistic(block, s) for s in second[block]]
        t_new = statistic(block, new[block])
        for i in range(n):
            count = sum(v >= t[i] - close for v in t)
            normal[i] += evidence(count, n, t[i], t[:i] + t[i + 1 :])
        score += evidence(1 + sum(v >= t_new - close for v in t), n, t_new, t)
    return score, (1 + sum(v >= score - close for v in normal)) / (n + 1)


@pytest.mark.parametrize("n_smallest", [None, 1, 2, 3])
def test_against_plain_loops(n_smallest):
    generator = torch.Generator().manual_seed(0)
    first, second, new = (dependent(n, generator) for n in (23, 31, 40))
    fusion = Fusion(first, second, n_smallest=n_smallest)
    scores = fusion.score(new)
    p_values = fusion.p_values(scores)
    lists = [{k: v.tolist() for k, v in part.items()} for part in (first, second)]
    for i in range(40):
        score, p = by_counting(*lists, {k: v[i].tolist() for k, v in new.items()}, n_smallest)
        assert scores[i].item() == pytest.approx(score, rel=1e-9, abs=2e-9)
        assert p_values[i].item() == pytest.approx(p, rel=1e-9)


class BlockByBlock:
    """The same fusion as it was written first: one block after the other, no shared matrices."""

    def __init__(self, first, second, weights, n_smallest):
        self.weights, self.layers, self.tails, self.blocks = weights, {}, {}, {}
        self.n_smallest, self.second = n_smallest, {}
        evidence = {}
        for name in first:
            theirs = second[name].double()
            ordered = self.layers[name] = first[name].double().sort(dim=0).values
            logs = ordered[-max(len(ordered) // 10, min(5, len(ordered))) :].clamp(min=1e-300).log()
            exponent = (1 / (logs - logs[0]).mean(dim=0)).clamp(1.0, 50.0)
            alive = ordered[-1] > 0
            self.tails[name] = tuple(torch.where(alive, v, 1.0) for v in (ordered[-1], exponent))
            t = self.second[name] = self.statistic(name, theirs)
            ordered = self.blocks[name] = t.sort().values
            n = len(t)
            p = conformal_p_values(ordered, t) - 1 / (n + 1)
            rival = torch.where(t < ordered[-1], ordered[-1], ordered[max(n - 2, 0)])
            evidence[name] = t, p, (t - rival).clamp(min=0)
        self.normal_scores = self.combine(evidence).sort().values

    def statistic(self, name, scores):
        p, (largest, exponent) = conformal_p_values(self.layers[name], scores), self.tails[name]
        ratio = scores.double().nan_to_num(0.0, 0.0, 0.0) / largest
        parts = -2 * p.log() + 2 * exponent * ratio.clamp(min=1).log()
        loudest = parts.sort(dim=1, descending=True).values[:, : self.n_smallest]
        return loudest.sum(dim=1).round(decimals=9)

    def combine(self, evidence):
        if len(evidence) == 1:
            return next(iter(evidence.values()))[0]
        return sum(
            self.weights.get(k, 1.0) * (-2 * p.log() + excess)
            for k, (_, p, excess) in evidence.items()
        ).round(decimals=9)

    def score(self, blocks):
        evidence = {}
        for name, scores in blocks.items():
            t, ordered = self.statistic(name, scores), self.blocks[name]
            largest = ordered[-1] if len(ordered) > 1 else math.inf
            evidence[name] = t, conformal_p_values(ordered, t), (t - largest).clamp(min=0)
        return self.combine(evidence)

    def p_values(self, blocks):
        """The exact test in plain loops up to 200 samples, else the rank among normal scores."""
        scores = self.score(blocks)
        n = len(self.normal_scores)
        if n > 200 or len(blocks) == 1:
            return conformal_p_values(self.normal_scores, scores)
        normal = [t.tolist() for t in self.second.values()]
        new = torch.stack([self.statistic(k, v) for k, v in blocks.items()], dim=1).tolist()
        weights = [self.weights.get(k, 1.0) for k in blocks]
        p = [
            exactly([[*t, own] for t, own in zip(normal, row, strict=True)], weights)
            if math.isfinite(sum(row))
            else 0.0
            for row in new
        ]
        return torch.tensor(p, dtype=torch.float64)


def exactly(blocks, weights):
    """Rank of the last of n + 1 samples that are all treated alike, from statistics per block."""
    sums = []
    for i in range(len(blocks[0])):
        total = 0.0
        for t, weight in zip(blocks, weights, strict=True):
            count = sum(v >= t[i] for v in t)
            others = t[:i] + t[i + 1 :]
            excess = max(0.0, t[i] - max(others)) if len(others) > 1 else 0.0
            total += weight * (excess - 2 * math.log(count / len(t)))
        sums.append(round(total, 9))
    return sum(s >= sums[-1] for s in sums) / len(sums)


@pytest.mark.parametrize("n_blocks", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 7, 250])
@pytest.mark.parametrize("kind", ["normal", "tied", "silent", "bad"])
@pytest.mark.parametrize("n_smallest", [None, 1, 2, 9])
def test_one_matrix_for_all_blocks_gives_the_same_numbers(n_blocks, n, kind, n_smallest):
    generator = torch.Generator().manual_seed(n)

    def blocks(n):
        found = dependent(n, generator)
        found["output"] = found["distance"][:, :1] - found["innovation"][:, 1:] - 1  # any sign
        if kind == "tied":
            found = {k: v.round() for k, v in found.items()}
        elif kind == "silent":
            found["innovation"] = found["innovation"] * torch.tensor([0.0, 1.0])
        return {k: found[k].double() for k in list(found)[:n_blocks]}

    first, second, new = blocks(n), blocks(n + 1), blocks(500)
    if kind == "bad":
        for i, bad in enumerate((math.nan, math.inf, -math.inf)):
            new["innovation"][3 * i, 1] = bad
    weights = {"output": 2.0}
    one, other = (f(first, second, weights, n_smallest) for f in (Fusion, BlockByBlock))
    assert torch.equal(one.normal_scores, other.normal_scores)
    expected = other.score(new)
    p_values = other.p_values(new)
    assert torch.equal(one.score(new), expected)
    from_scores = one.p_values(expected)
    assert torch.equal(from_scores, conformal_p_values(other.normal_scores, expected))
    assert bool((from_scores >= p_values).all())
    ranks = torch.cat([conformal_p_values(first[k], new[k]) for k in new], dim=1)
    for finite in (False, True)[: 1 if kind == "bad" else 2]:
        scores, p, layers = one.judge(torch.cat(list(new.values()), dim=1), finite)
        assert torch.equal(scores, expected)
        assert torch.equal(p, p_values)
        assert torch.equal(layers, ranks)
    for i in range(100 if kind != "bad" else 0):  # one by one goes another way
        row = torch.cat([v[i : i + 1] for v in new.values()], dim=1)
        scores, p, layers = one.judge(row, finite=True)
        assert torch.equal(scores, expected[i : i + 1])
        assert torch.equal(p, p_values[i : i + 1])
        assert torch.equal(layers, ranks[i : i + 1])


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_level_by_enumeration(n):
    """All orders of n + 1 samples given the first half: P(p <= a) <= a for every a, with ties."""
    generator = torch.Generator().manual_seed(n)
    first = {k: v.double() for k, v in dependent(9, generator).items()}
    for _ in range(40 if n == 1 else 5):
        pool = dependent(n + 1, generator)
        p = []
        for order in permutations(range(n + 1)):
            second = {k: v[list(order[:-1])] for k, v in pool.items()}
            fusion = Fusion(first, second)
            new = torch.cat([v[[order[-1]]] for v in pool.values()], dim=1).double()
            scores, exact, _ = fusion.judge(new)
            p.append((fusion.p_values(scores).item(), exact.item()))
            assert p[-1][1] <= p[-1][0]
        for alpha in {k / (n + 1) for k in range(1, n + 2)}:
            assert np.all(np.mean(np.array(p) <= alpha + 1e-12, axis=0) <= alpha + 1e-12)


@pytest.mark.parametrize("n_smallest", [None, 1])
@pytest.mark.parametrize("n_blocks", [1, 2])
def test_level_over_many_null_data_sets(n_blocks, n_smallest):
    """One new sample per data set: the rejections are independent, so binomial limits hold.

    Never above the stated rate (validity), and not far below it (some use).
    """
    generator, repeats = torch.Generator().manual_seed(12), 2000
    p = []
    for _ in range(repeats):
        parts = [dependent(n, generator) for n in (99, 99, 1)]
        first, second, new = ({k: v[k] for k in list(v)[:n_blocks]} for v in parts)
        fusion = Fusion(first, second, n_smallest=n_smallest)
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


def test_units_change_nothing_and_within_the_normal_range_only_ranks_count():
    generator = torch.Generator().manual_seed(4)
    first, second, new = (dependent(n, generator) for n in (40, 50, 60))
    expected = Fusion(first, second).score(new)
    kilo = [{k: v.double() * 1000 for k, v in part.items()} for part in (first, second, new)]
    assert torch.allclose(Fusion(*kilo[:2]).score(kilo[2]), expected, rtol=1e-6)
    inside = {k: torch.minimum(new[k], first[k].max(dim=0).values) for k in new}
    second = {k: torch.minimum(v, first[k].max(dim=0).values) for k, v in second.items()}
    expected = Fusion(first, second).score(inside)
    cubed = [{k: v.double() ** 3 for k, v in part.items()} for part in (first, second, inside)]
    assert torch.allclose(Fusion(*cubed[:2]).score(cubed[2]), expected, rtol=1e-6)


@pytest.mark.parametrize("n_layers", [3, 8, 12])
@pytest.mark.parametrize("n_blocks", [1, 2])
def test_one_broken_layer_does_not_hide_among_healthy_ones(n_layers, n_blocks):
    """Ranks alone would give a layer that explodes no more weight than one just out of range."""
    generator = torch.Generator().manual_seed(20)

    def chi_squared(n):  # layers of width 8 that depend strongly on each other
        common = torch.randn(n, 1, 8, generator=generator)
        z = 0.9 * common + 0.4 * torch.randn(n, n_layers, 8, generator=generator)
        scores = z.square().sum(dim=2)
        return {"a": scores, "b": scores.flip(1) + torch.rand(n, n_layers, generator=generator)}

    first, second, new = ({k: chi_squared(n)[k] for k in "ab"[:n_blocks]} for n in (300, 300, 200))
    fusion = Fusion(first, second)
    assert (fusion.p_values(fusion.score(new)) <= 0.05).double().mean() < 0.12
    for scores in new.values():
        scores[:, 1] *= 1e4  # states a hundred times too long
    assert (fusion.p_values(fusion.score(new)) <= 0.05).double().mean() > 0.97


def test_evidence_keeps_growing_and_stays_finite():
    generator = torch.Generator().manual_seed(21)
    fusion = Fusion(dependent(40, generator), dependent(40, generator))
    new = {k: v.double() for k, v in dependent(1, generator).items()}
    scores = []
    for power in (2, 3, 6, 30, 300):
        new["distance"][0, 1] = 10.0**power
        scores.append(fusion.score(new).item())
    assert scores == sorted(set(scores))
    assert math.isfinite(scores[-1])


def test_layers_that_never_scored_have_no_tail_but_are_heard():
    """All normal scores are zero: a constant layer."""
    zero = {"a": torch.zeros(50, 2)}
    fusion = Fusion(zero, zero)
    scores = fusion.score({"a": torch.tensor([[0.0, 0.0], [0.5, 0.0], [1e9, 0.0]])})
    assert scores.tolist() == pytest.approx(
        [0, 2 * math.log(51), 2 * math.log(51) + 2 * math.log(1e9)]
    )
    assert fusion.p_values(scores).tolist() == pytest.approx([1, 1 / 51, 1 / 51])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_smallest_halves(n):
    generator = torch.Generator().manual_seed(n)
    fusion = Fusion(dependent(n, generator), dependent(n, generator))
    scores = fusion.score(dependent(50, generator))
    assert bool(scores.isfinite().all())
    if n > 1:  # with one sample, ties of two blocks leave p = 1
        assert float(fusion.p_values(scores).min()) == 1 / (n + 1)


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


def test_known_layer_p_values_need_not_be_counted_again():
    generator = torch.Generator().manual_seed(6)
    first, second, new = (dependent(n, generator) for n in (40, 50, 7))
    fusion = Fusion(first, second)
    layers = {k: fusion.layer_p_values(k, v) for k, v in new.items()}
    for k, p in layers.items():
        assert torch.equal(p, conformal_p_values(first[k], new[k]))
    assert torch.equal(fusion.score(new, layers), fusion.score(new))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("n_blocks", [1, 2])
@pytest.mark.parametrize("n_smallest", [None, 1])
def test_one_bad_layer_score_makes_its_sample_infinite(bad, n_blocks, n_smallest):
    generator = torch.Generator().manual_seed(7)
    first, second, new = (dependent(n, generator) for n in (40, 50, 5))
    keep = list(first)[:n_blocks]
    first, second, new = ({k: part[k].clone() for k in keep} for part in (first, second, new))
    fusion = Fusion(first, second, n_smallest=n_smallest)
    new["innovation"][3, 1] = bad
    scores = fusion.score(new)
    assert scores[3] == math.inf
    assert fusion.p_values(scores)[3] == 0
    assert bool(scores[[0, 1, 2, 4]].isfinite().all())


def test_the_smallest_p_values_speak_by_hand():
    """Nine normal scores 1 to 9 in three layers: 8.5 has p = 2 / 10, 7.5 has 3 / 10, 0 has 1."""
    half = {"a": torch.arange(1.0, 10.0)[:, None].expand(9, 3)}
    new = {"a": torch.tensor([[7.5, 0.0, 8.5]])}
    for n_smallest, p_values in [
        (1, [0.2]),
        (2, [0.2, 0.3]),
        (3, [0.2, 0.3, 1]),
        (None, [0.2, 0.3]),
    ]:
        score = Fusion(half, half, n_smallest=n_smallest).score(new).item()
        assert score == pytest.approx(-2 * sum(map(math.log, p_values)))


def test_a_layer_that_does_not_speak_cannot_hide_another():
    """Five healthy layers that look too ordinary outvote a broken one only if all speak."""
    generator = torch.Generator().manual_seed(9)
    first, second, new = (torch.randn(n, 6, generator=generator).exp() for n in (300, 300, 200))
    new[:, :5] = new[:, :5] / 3
    new[:, 5] = new[:, 5] * 12
    share = {}
    for n_smallest in (None, 1):
        fusion = Fusion({"a": first}, {"a": second}, n_smallest=n_smallest)
        share[n_smallest] = float((fusion.judge(new.double())[1] <= 0.05).double().mean())
    assert share[None] < 0.1
    assert share[1] > 0.3


@pytest.mark.parametrize("n_smallest", [0, -1, 1.5, "two"])
def test_a_number_of_layers_that_is_none_is_refused(n_smallest):
    half = {"a": torch.rand(9, 2)}
    with pytest.raises(CalibrationError, match="n_smallest: expected a whole number"):
        Fusion(half, half, n_smallest=n_smallest)


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
        (half | {"b": torch.rand(8, 1)}, half | {"b": torch.rand(9, 1)}, "as many samples"),
    ]:
        with pytest.raises(CalibrationError, match=text):
            Fusion(first, second)


def test_a_weight_counts_a_block_so_many_times():
    g = torch.Generator().manual_seed(0)
    halves = [
        {"a": torch.rand(60, 1, generator=g), "b": torch.rand(60, 1, generator=g)} for _ in "ab"
    ]
    query = {"a": torch.tensor([[0.9], [0.1]]), "b": torch.tensor([[0.2], [0.8]])}
    plain, twice = Fusion(*halves), Fusion(*halves, weights={"b": 2.0})
    alone = Fusion(*({"b": half["b"]} for half in halves))
    p = alone.p_values(alone.score({"b": query["b"]}))  # what block b says by itself
    assert torch.allclose(twice.score(query), plain.score(query) - 2 * p.log())
