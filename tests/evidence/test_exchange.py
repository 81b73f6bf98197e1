"""The exact test of a fusion of blocks: against ranks by SciPy, and its level in simulation."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from deepdrift.evidence import exchange
from deepdrift.evidence.exchange import EXACT_UP_TO, ExchangeableRanks
from deepdrift.evidence.fusion import Fusion

WEIGHTS = np.array([1.0, 2.0, 0.5])


def sums_of_all(pool, weights):
    """Weighted evidence ``(n + 1,)`` of samples that are all treated alike, by SciPy's ranks."""
    n = len(pool)
    counts = n + 1 - stats.rankdata(pool, method="min", axis=0)
    excess = np.zeros_like(pool)
    for i in range(n):
        excess[i] = np.maximum(pool[i] - np.delete(pool, i, axis=0).max(axis=0), 0)
    return ((excess - 2 * np.log(counts / n)) * weights).sum(axis=1).round(9)


@pytest.mark.parametrize("n_blocks", [1, 2, 3])
@pytest.mark.parametrize("n", [2, 3, 25])
@pytest.mark.parametrize("tied", [False, True])
def test_every_sample_as_the_new_one(n_blocks, n, tied):
    """Each of n + 1 samples in turn is judged by the others; the ranks are those among all."""
    generator = np.random.default_rng(n)
    for _ in range(20):
        pool, weights = generator.normal(size=(n + 1, n_blocks)) ** 2, WEIGHTS[:n_blocks]
        pool = pool.round() if tied else pool
        sums = sums_of_all(pool, weights)
        found = [
            ExchangeableRanks(
                torch.from_numpy(np.delete(pool, i, axis=0)), torch.from_numpy(weights)
            ).p_value(list(pool[i]), sums[i])
            for i in range(n + 1)
        ]
        ranks = n + 2 - stats.rankdata(sums, method="min")
        assert np.allclose(found, ranks / (n + 1), rtol=1e-12)
        if not tied and len(set(sums)) == n + 1:  # exact: every rank once
            assert np.allclose(np.sort(found), np.arange(1, n + 2) / (n + 1))


def test_pieces_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    normal, new = (torch.rand(n, 3, generator=generator).double() for n in (40, 57))
    ranks = ExchangeableRanks(normal, torch.from_numpy(WEIGHTS))
    scores = 9 * torch.rand(57, generator=generator).double()
    expected = ranks.p_values(new, scores)
    monkeypatch.setattr(exchange, "_CELLS", 40 * 3 * 5)  # five new samples at a time
    assert torch.equal(ranks.p_values(new, scores), expected)
    alone = [ranks.p_value(t, s) for t, s in zip(new.tolist(), scores.tolist(), strict=True)]
    assert alone == expected.tolist()
    assert ranks.p_values(new[:0], scores[:0]).shape == (0,)


def test_what_is_not_finite_has_p_zero():
    ranks = ExchangeableRanks(torch.rand(9, 2).double(), torch.ones(2))
    new = torch.tensor([[math.inf, 0.0], [math.nan, 0.0], [0.5, 0.5]], dtype=torch.float64)
    p = ranks.p_values(new, new.sum(dim=1))
    assert p[:2].tolist() == [0.0, 0.0]
    assert 0.1 <= float(p[2]) <= 1


def chain(shape, generator, shift=0.0):
    """Scores of layers that share a part, in blocks of 4, 5 and 1 that share some of it too."""
    common = torch.randn(*shape, 1, generator=generator)
    z = 0.7 * common + 0.7 * torch.randn(*shape, 10, generator=generator) + shift
    return z.exp()


def judged(n, n_blocks, repeats, n_new, shift, seed):
    """Shares flagged from scores and by the exact test, at the largest level below 1 in 20."""
    generator = torch.Generator().manual_seed(seed)
    slices = {"innovation": slice(0, 4), "distance": slice(4, 9), "output": slice(9, 10)}
    names = list(slices)[:n_blocks]
    halves = [chain((repeats, n), generator) for _ in "ab"]
    new = chain((repeats, n_new), generator, shift)
    level = max(math.floor(0.05 * (n + 1)), 1) / (n + 1) + 1e-12
    flagged = np.zeros(2)
    for first, second, x in zip(*halves, new, strict=True):
        fusion = Fusion(*({k: h[:, slices[k]] for k in names} for h in (first, second)))
        matrix = torch.cat([x[:, slices[k]] for k in names], dim=1).double()
        scores, p, _ = fusion.judge(matrix, finite=True)
        old = fusion.p_values(scores)
        assert bool((p <= old).all())
        flagged += [float((v <= level).double().mean()) for v in (old, p)]
    return flagged / repeats


@pytest.mark.parametrize("n_blocks", [2, 3])
@pytest.mark.parametrize("n", [20, 25])
def test_the_level_is_kept_and_spent(n, n_blocks):
    """Dependent layers: by the exact test a normal sample is flagged as often as allowed.

    The rate of one calibration set scatters by about ``sqrt(a (1 - a) / (n + 2))``.
    """
    exact, repeats = 1 / (n + 1), 1200
    from_scores, by_test = judged(n, n_blocks, repeats, n_new=20, shift=0, seed=n)
    error = math.sqrt(exact * (1 - exact) / repeats * (1 / (n + 2) + 1 / 20))
    assert abs(by_test - exact) < 3.5 * error
    assert from_scores < 0.8 * exact


def test_what_is_unusual_is_found_more_often():
    from_scores, by_test = judged(20, 2, 300, n_new=20, shift=1.5, seed=1)
    assert by_test > from_scores + 0.05


def test_beyond_the_limit_the_scores_decide():
    generator = torch.Generator().manual_seed(3)
    new = chain((50,), generator).double()
    for n in (EXACT_UP_TO, EXACT_UP_TO + 1):
        halves = [chain((n,), generator) for _ in "ab"]
        fusion = Fusion(*({"a": h[:, :4], "b": h[:, 4:]} for h in halves))
        scores, p, _ = fusion.judge(new)
        same = torch.equal(p, fusion.p_values(scores))
        assert same == (n > EXACT_UP_TO)
        assert float((fusion.p_values(scores) - p).max()) <= 3 / n  # and there it hardly matters
