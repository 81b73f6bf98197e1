"""Running sums against numpy, shrinkage against the published formula and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.covariance import oas

from deepdrift.errors import CalibrationError
from deepdrift.scores.moments import (
    SHRINKAGE_FLOOR,
    Moments,
    conditioned,
    finite_samples,
    rounding_variance,
    shrinkage,
)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e7])
def test_moments_against_numpy(shift):
    x = normal(200, 5) @ normal(5, 5, seed=1) + shift
    m = Moments.of(x)
    assert m.n == 200
    assert np.allclose(m.mean, x.numpy().mean(axis=0), rtol=1e-13)
    expected = np.cov(x.numpy().T, bias=True)
    assert np.allclose(m.covariance, expected, rtol=1e-8, atol=1e-9)


@given(cuts=st.lists(st.integers(1, 59), unique=True, max_size=12), seed=st.integers(0, 9))
@hypothesis_settings(max_examples=40)
def test_any_batching_gives_the_same_sums(cuts, seed):
    x = normal(60, 4, seed=seed) * torch.tensor([1e-3, 1.0, 1e3, 0.0]) + 100
    whole, parts = Moments.of(x), None
    for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 60], strict=True):
        part = Moments.of(x[a:b])
        parts = part if parts is None else parts.merge(part)
    assert parts.n == 60
    assert torch.allclose(parts.mean, whole.mean, rtol=1e-13)
    assert torch.allclose(parts.comoment, whole.comoment, rtol=1e-9, atol=1e-9)


def test_far_from_zero_no_digit_is_lost():
    """Sums of squares would give noise of size 1 here (1e18 with 16 digits)."""
    x = torch.tensor([[1e9], [1e9 + 1], [1e9 + 2]], dtype=torch.float64)
    merged = Moments.of(x[:1]).merge(Moments.of(x[1:]))
    assert merged.comoment.item() == 2
    assert Moments.of(x).comoment.item() == 2


def test_merging_changes_neither_side():
    a, b = Moments.of(normal(10, 3)), Moments.of(normal(20, 3, seed=1))
    before = [t.clone() for m in (a, b) for t in (m.mean, m.comoment)]
    a.merge(b)
    assert all(
        torch.equal(x, y)
        for x, y in zip(before, (a.mean, a.comoment, b.mean, b.comoment), strict=True)
    )


def test_bad_samples_are_refused():
    for samples, text in [
        (torch.empty(0, 3), "at least one sample"),
        (torch.zeros(3), r"\(N, D\)"),
        (torch.tensor([[1.0, float("nan")], [1, float("inf")], [0, 0]]), "2 of 3 normal samples"),
    ]:
        with pytest.raises(CalibrationError, match=text):
            finite_samples(samples, "states")


@pytest.mark.parametrize("n", [2, 10, 100, 100_000])
def test_shrinkage_is_equation_23(n):
    s = normal(6, 6)
    s = s @ s.T
    values = np.linalg.eigvalsh(s.numpy())
    square, trace, p = (values**2).sum(), values.sum(), 6
    rho = ((1 - 2 / p) * square + trace**2) / ((n + 1 - 2 / p) * (square - trace**2 / p))
    assert shrinkage(s, n) == pytest.approx(np.clip(rho, SHRINKAGE_FLOOR, 1), rel=1e-10)


@pytest.mark.parametrize("n", [50, 300, 3000])
def test_shrinkage_against_scikit_learn(n):
    """That one leaves out the terms 2 / p, which vanish for wide states."""
    p = 200
    x = normal(n, p) * torch.linspace(0.5, 3, p)
    _, theirs = oas(x.numpy())
    mine = shrinkage(Moments.of(x).covariance, n)
    assert mine == pytest.approx(max(theirs, SHRINKAGE_FLOOR), rel=2 / p + 1 / n)


def test_shrinkage_at_the_ends():
    assert shrinkage(torch.zeros(3, 3), 10) == 1
    assert shrinkage(torch.tensor([[4.0]]), 10) == 1
    assert shrinkage(torch.diag(torch.tensor([1.0, 0.0])), 10**9) == SHRINKAGE_FLOOR


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_good_covariance_is_shrunk_and_nothing_else(scale):
    a = normal(5, 5) * scale
    s, n = a @ a.T, 40
    w = shrinkage(s, n)
    shrunk = (1 - w) * s + w * s.trace() / 5 * torch.eye(5, dtype=torch.float64)
    assert torch.allclose(conditioned(s, n), shrunk, rtol=1e-12)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_deficient_covariances_can_be_inverted(rank):
    a = normal(8, rank) if rank else torch.zeros(8, 1, dtype=torch.float64)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(conditioned(a @ a.T, n=10)))
    assert bool(inverse.isfinite().all())
    assert bool(torch.linalg.svdvals(inverse).gt(0).all())  # no direction is overlooked


def test_no_variance_is_below_the_floor():
    eye = torch.eye(2, dtype=torch.float64)
    assert torch.allclose(conditioned(0 * eye, n=10, floor=0.25), eye / 4)


def test_rounding_variance_scales_like_a_variance():
    mean, cov = normal(4), torch.eye(4, dtype=torch.float64)
    once, thousand = rounding_variance(mean, cov), rounding_variance(1000 * mean, 1e6 * cov)
    assert thousand == pytest.approx(1e6 * once, rel=1e-12)
    assert rounding_variance(0 * mean, 0 * cov) > 0
