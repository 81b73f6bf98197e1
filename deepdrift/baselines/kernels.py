"""Kernels of a squared distance, and how wide to make them.

With ``d`` the Euclidean distance and one bandwidth ``sigma`` in the units of the features:

=================== ======================================== ===================================
kernel              k                                        elsewhere
=================== ======================================== ===================================
gaussian            exp(-d^2 / (2 sigma^2))                  torchdrift ``GaussianKernel(l)``,
                                                             alibi-detect ``GaussianRBF(sigma)``,
                                                             frouros ``rbf_kernel(sigma)``: same
                                                             number; scikit-learn ``rbf_kernel``:
                                                             gamma = 1 / (2 sigma^2)
laplace             exp(-d / sigma)                          torchdrift ``ExpKernel(l)``: same
                                                             number (scikit-learn's Laplacian
                                                             uses the city-block distance)
rational-quadratic  (1 + d^2 / (2 a sigma^2))^-a, a = 1      torchdrift and alibi-detect
                                                             ``RationalQuadratic``: same number
=================== ======================================== ===================================

What differs is the default bandwidth. Ours is ``sqrt(median d^2 / 2)`` over the pairs of the
*pooled* sample; alibi-detect applies the same rule to the reference alone; torchdrift takes the
median of all pooled distances, zeros of the diagonal included: larger by a factor of
``sqrt(2)``, up to that diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deepdrift.baselines.samples import as_sample
from deepdrift.errors import CalibrationError

Kernel = Callable[[Tensor, float], Tensor]
_ROUNDING = 1e-13  # of the largest squared length
MAX_POINTS = 1000  # of a sample whose pairs are all looked at


def gaussian(squared: Tensor, sigma: float) -> Tensor:
    """``exp(-d^2 / (2 sigma^2))`` of squared distances.

    Examples
    --------
    >>> gaussian(torch.tensor([0.0, 2.0]), sigma=1.0)  # 1 and exp(-1)
    tensor([1.0000, 0.3679])
    """
    return squared.div(-2 * sigma**2).exp_()


def laplace(squared: Tensor, sigma: float) -> Tensor:
    """``exp(-d / sigma)`` of squared distances, also called exponential kernel.

    Examples
    --------
    >>> laplace(torch.tensor([0.0, 4.0]), sigma=2.0)  # 1 and exp(-1)
    tensor([1.0000, 0.3679])
    """
    return squared.sqrt().div_(-sigma).exp_()


def rational_quadratic(squared: Tensor, sigma: float, shape: float = 1.0) -> Tensor:
    """``(1 + d^2 / (2 shape sigma^2))^-shape`` of squared distances.

    A mixture of Gaussian kernels of all widths; the Gaussian itself for ``shape -> inf``.

    Examples
    --------
    >>> rational_quadratic(torch.tensor([0.0, 6.0]), sigma=1.0)  # 1 and 1 / (1 + 3)
    tensor([1.0000, 0.2500])
    """
    return squared.div(2 * shape * sigma**2).add_(1).pow_(-shape)


KERNELS: dict[str, Kernel] = {
    "gaussian": gaussian,
    "laplace": laplace,
    "rational-quadratic": rational_quadratic,
}


def find_kernel(kernel: str | Kernel) -> Kernel:
    """Kernel of that name; a function ``(squared distances, sigma) -> values`` is itself one."""
    if callable(kernel):
        return kernel
    if kernel not in KERNELS:
        raise CalibrationError(
            f"kernel: expected one of {sorted(KERNELS)} or a function of squared distances and "
            f"sigma, got {kernel!r}"
        )
    return KERNELS[kernel]


def as_bandwidths(sigma: float | Sequence[float] | None) -> tuple[float, ...] | None:
    """Bandwidths as a tuple of positive numbers; None stays None."""
    if sigma is None:
        return None
    values = torch.as_tensor(sigma, dtype=torch.float64, device="cpu").flatten().tolist()
    if not values or not all(math.isfinite(s) and s > 0 for s in values):
        raise CalibrationError(f"sigma: expected positive numbers, got {sigma!r}")
    return tuple(values)


def median_heuristic(
    x: Any, *, max_points: int = MAX_POINTS, generator: torch.Generator | int | None = None
) -> float:
    """Bandwidth at which the median pair of a sample has ``k = 1 / e`` (Gaussian kernel).

    ``sigma = sqrt(m / 2)`` with m the lower median of the squared distances over the pairs i < j.
    If m is 0 (over half of the pairs are equal), the median over the pairs that differ; 1 if none
    does. For a permutation test, pass the *pooled* sample: a bandwidth that treats both groups
    alike keeps the level exact (Gretton et al., JMLR 2012, section 8, use the pooled median too).

    Parameters
    ----------
    x : Tensor or array, shape (N, D), N >= 2
    max_points : int
        Larger samples are represented by that many random rows (without replacement).
    generator : torch.Generator or int, optional
        For those rows; seed 0 by default.

    Returns
    -------
    float
        Bandwidth in the units of x, > 0. Cost: O(min(N, max_points)^2 D).

    Examples
    --------
    Squared distances 1, 4, 9: the median is 4.

    >>> median_heuristic([[0.0], [1.0], [3.0]]) == 2**0.5
    True
    """
    return math.sqrt(float(_lower_quantiles(x, [0.5], max_points, generator)[0]) / 2)


def bandwidth_grid(
    x: Any,
    n: int = 10,
    *,
    max_points: int = MAX_POINTS,
    generator: torch.Generator | int | None = None,
) -> tuple[float, ...]:
    """Bandwidths that cover the scales of a sample: a geometric grid.

    From half the 5 % quantile of the distances of all pairs to twice their 95 % quantile. Other
    parameters as for `median_heuristic`.

    Examples
    --------
    All distances are 1: from 1/2 to 2 in three steps.

    >>> [round(s, 12) for s in bandwidth_grid([[0.0], [1.0]], n=3)]
    [0.5, 1.0, 2.0]
    """
    if n < 1:
        raise CalibrationError(f"n: expected at least one bandwidth, got {n!r}")
    low, high = _lower_quantiles(x, [0.05, 0.95], max_points, generator).sqrt().tolist()
    grid = torch.logspace(
        math.log10(low / 2), math.log10(high * 2), n, dtype=torch.float64, device="cpu"
    )
    return tuple(grid.tolist())


def squared_distances(x: Tensor, y: Tensor, largest: float) -> Tensor:
    """``|x_i - y_j|^2`` of centred points, by one matrix product; shape (n, m).

    What is within rounding of 0 is 0: below 1e-13 of ``largest``, the largest squared length.

    Examples
    --------
    >>> squared_distances(torch.tensor([[1.0], [2.0]]), torch.tensor([[-2.0]]), largest=4.0)
    tensor([[ 9.],
            [16.]])
    """
    squared = torch.addmm(y.square().sum(dim=1), x, y.T, alpha=-2)
    squared.add_(x.square().sum(dim=1, keepdim=True))
    return functional.threshold_(squared, _ROUNDING * largest, 0.0)


def _lower_quantiles(
    x: Any, levels: list[float], max_points: int, generator: torch.Generator | int | None
) -> Tensor:
    """Quantiles of the squared distances over pairs i < j, each one of these distances, > 0."""
    x = as_sample(x, "x", minimum=2)
    if len(x) > max_points:
        x = x[torch.randperm(len(x), generator=as_generator(generator), device="cpu")[:max_points]]
    x = x - x.mean(dim=0)
    squared = squared_distances(x, x, float(x.square().sum(dim=1).max()))
    twice = squared.fill_diagonal_(0).flatten().numpy()  # every pair, and len(x) zeros
    found = _of_pairs(twice, levels, skip=len(x))
    if found.min() == 0:
        twice = twice[twice > 0]
        found = _of_pairs(twice, levels) if len(twice) else np.full(len(levels), 2.0)
    return torch.from_numpy(found)


def _of_pairs(twice: np.ndarray, levels: list[float], skip: int = 0) -> np.ndarray:
    """Order statistics of a list that holds every pair twice, after ``skip`` smallest entries."""
    pairs = (len(twice) - skip) // 2
    ranks = [skip + 2 * max(1, math.ceil(level * pairs)) - 1 for level in levels]
    twice.partition(ranks)  # in place
    return twice[ranks]


def as_generator(generator: torch.Generator | int | None) -> torch.Generator:
    """A generator is used (and advanced) as it is; a seed makes a fresh one, None means seed 0."""
    if isinstance(generator, torch.Generator):
        return generator
    return torch.Generator().manual_seed(0 if generator is None else int(generator))
