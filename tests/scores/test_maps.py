"""The solved maps against the eigenvalue formulas they replaced, and what rounding may not do."""

import numpy as np
import pytest
import torch

from deepdrift.scores.maps import distance_map, step_map
from deepdrift.scores.moments import ROUNDING, conditioned, rounding_variance, shrinkage

EPS = torch.finfo(torch.float32).eps


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# What was computed before: whitening and ridge by the eigenvalues, float64 throughout.


def old_whitening(covariance, n, floor):
    d = len(covariance)
    weight, scale = shrinkage(covariance, n), float(covariance.trace()) / d
    values, vectors = torch.linalg.eigh(covariance)
    values = (1 - weight) * values.clamp(min=0) + weight * scale
    return vectors.T / values.clamp(min=floor).sqrt()[:, None]


def old_distance(z, labels, new, floor_units):
    means = torch.stack([z[labels == c].mean(dim=0) for c in labels.unique()])
    rows = torch.searchsorted(labels.unique(), labels)
    within = (z - means[rows]).T @ (z - means[rows]) / len(z)
    floor = rounding_variance(z.square().mean(dim=0).sqrt(), 0 * within, floor_units)
    white = old_whitening(within, len(z), floor)
    return torch.cdist(new @ white.T, means @ white.T).amin(dim=1).square()


def old_innovation(x, y, x_new, y_new, ridge, floor_units):
    both = torch.cat([x, y], dim=1)
    mean, d = both.mean(dim=0), x.shape[1]
    covariance = (both - mean).T @ (both - mean) / len(x)
    xx, xy, yy = covariance[:d, :d], covariance[:d, d:], covariance[d:, d:]
    damping = ridge * float(xx.trace()) / d + rounding_variance(mean[:d], xx)
    values, vectors = torch.linalg.eigh(xx)
    weights = (xy.T @ vectors / (values.clamp(min=0) + damping)) @ vectors.T
    rest = yy - weights @ xy - (weights @ xy).T + weights @ xx @ weights.T
    floor = rounding_variance(mean[d:], yy, floor_units)
    white = old_whitening((rest + rest.T) / 2, len(x), floor)
    residual = (y_new - mean[d:]) - (x_new - mean[:d]) @ weights.T
    return (residual @ white.T).square().sum(dim=1)


SPOILED = {
    "full": lambda z: z,
    "dead channels": lambda z: z * torch.tensor([1.0, 0, 1, 0, 1, 1]),
    "twins": lambda z: torch.cat([z[:, :3]] * 2, dim=1),
    "rank one": lambda z: z[:, :1].expand(-1, 6),
    "rectified": lambda z: z.clamp(min=0),
    "far": lambda z: z + 1000,
    "small": lambda z: 1e-6 * z,
    "uneven": lambda z: z * torch.logspace(-3, 3, 6),
}
every_kind = pytest.mark.parametrize("kind", SPOILED)


@every_kind
@pytest.mark.parametrize("n", [4, 7, 400])
@pytest.mark.parametrize("n_classes", [1, 3])
def test_distance_is_what_the_eigenvalues_gave(kind, n, n_classes):
    labels = torch.arange(n) % n_classes
    mixed = normal(6, 6, seed=5)
    z, new = (SPOILED[kind](normal(k, 6, seed=k) @ mixed).float().double() for k in (n, 50))
    means = torch.stack([z[labels == c].mean(dim=0) for c in range(n_classes)])
    within = (z - means[labels]).T @ (z - means[labels])
    solved = distance_map(labels.bincount(), means, within)
    found, expected = solved.squared(new.float()), old_distance(z, labels, new, 1.0)
    assert solved.allowance == 0
    # float32 states near 1000 and spreads of a factor 10^6 cost digits in either formula
    assert torch.allclose(found, expected, rtol=2e-4 if kind in ("far", "uneven") else 2e-5)


@every_kind
@pytest.mark.parametrize("n", [5, 400])
@pytest.mark.parametrize("ridge", [1e-3, 0.3])
def test_innovation_is_what_the_eigenvalues_gave(kind, n, ridge):
    turn = normal(6, 6, seed=5)

    def pair(n, seed):
        x = SPOILED[kind](normal(n, 6, seed=seed)).float().double()
        y = SPOILED[kind](normal(n, 6, seed=seed + 1) + normal(n, 6, seed=seed) @ turn)
        return x, y.float().double()

    (x, y), (x_new, y_new) = pair(n, 0), pair(50, 10)
    both = torch.cat([x, y], dim=1)
    mean, c = both.mean(dim=0), torch.cov(both.T, correction=0)
    solved = step_map(n, mean[:6], mean[6:], c[:6, :6], c[:6, 6:], c[6:, 6:], ridge)
    found = solved.squared(x_new.float(), y_new.float())
    units = ROUNDING if kind == "far" and n == 5 else 1.0  # the residuals of a fit through 5 points
    expected = old_innovation(x, y, x_new, y_new, ridge, units)
    assert solved.allowance == 0
    assert torch.allclose(found, expected, rtol=1e-3 if kind in ("far", "uneven") else 1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_random_covariances_give_the_same_metric(seed):
    rng = np.random.default_rng(seed)
    d, n = int(rng.integers(1, 40)), int(rng.integers(1, 80))
    x = normal(n, d, seed=seed) * torch.logspace(-3, 3, d)[rng.permutation(d)]
    s = x.T @ x / n
    for floor in (1e-30, float(s.trace()) / d, 1e-6 * float(s.trace()) / d):
        expected = old_whitening(s, n, floor)
        metric = torch.cholesky_inverse(torch.linalg.cholesky(conditioned(s, n, floor)))
        assert torch.allclose(metric, expected.T @ expected, rtol=1e-6, atol=1e-9 * metric.max())
        values = torch.linalg.eigvalsh(conditioned(s, n, floor))
        assert values.min() >= floor * (1 - 1e-6)


def test_a_floor_above_the_spread_is_the_spread():
    found = conditioned(torch.diag(torch.tensor([1e-9, 1e-3]).double()), 100, floor=1e-4)
    assert found[0, 0].item() == pytest.approx(1e-4)
    assert found[1, 1].item() == pytest.approx(1e-3, rel=0.02)  # less shrinkage


# What rounding may not do


def rounded(z, units, seed):
    """The same states from other arithmetic: off by so many units of rounding of their size."""
    size = z.square().mean().sqrt()
    return z + units * EPS * size * normal(*z.shape, seed=seed).clamp(-1, 1)


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_layers_constant_up_to_rounding_have_no_evidence(size):
    z = torch.full((300, 5), 3.0 * size).double()
    means = z.mean(dim=0, keepdim=True)
    fit = rounded(z, 30, 0)
    solved = distance_map(torch.tensor([300]), means, (fit - means).T @ (fit - means))
    assert solved.squared(rounded(z, 30, 1).float()).max() == 0
    assert solved.squared((1.01 * z).float()).min() > 1e5


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_steps_predicted_up_to_rounding_have_no_evidence(size, offset):
    x = normal(500, 5) + offset
    y = size * (x @ normal(5, 4, seed=2) + offset)

    def covariance(a, b):
        return (a - a.mean(dim=0)).T @ (b - b.mean(dim=0)) / len(a)

    fit = rounded(y, 30, 3)
    blocks = covariance(x, x), covariance(x, fit), covariance(fit, fit)
    solved = step_map(500, x.mean(dim=0), fit.mean(dim=0), *blocks, ridge=1e-3)
    assert solved.squared(x.float(), rounded(y, 30, 4).float()).max() == 0
    assert solved.squared(x.float(), (y + 1e-2 * size).float()).min() > 1e5
    noisy = y + 1e-3 * size * normal(*y.shape, seed=6)  # far above rounding: as ever
    blocks = covariance(x, x), covariance(x, noisy), covariance(noisy, noisy)
    solved = step_map(500, x.mean(dim=0), noisy.mean(dim=0), *blocks, ridge=1e-3)
    assert solved.allowance == 0
    assert ROUNDING * EPS < 1e-5
