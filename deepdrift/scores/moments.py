"""Means and covariances from running sums, and the shrunk covariance.

Everything fitted in this package is a function of these sums, so shards merge exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deepdrift.errors import CalibrationError

SHRINKAGE_FLOOR = 1e-3  # relative to the mean variance; keeps dead channels finite
ROUNDING = 32.0  # units of float32 rounding by which the same state differs between batch sizes
_VARIANCE_FLOOR = 1e-36  # for a state that is always zero
_FLOAT32_EPS = torch.finfo(torch.float32).eps


@dataclass
class Moments:
    """Count, mean and co-moment matrix of samples seen so far, float64.

    ``comoment = sum_i (x_i - mean)(x_i - mean)^T``. Batches and shards are combined by the
    pairwise update of Chan, Golub and LeVeque (1983), which is exact up to rounding and, unlike
    raw sums of squares, does not lose digits for data far from zero.

    Examples
    --------
    >>> m = Moments.of(torch.tensor([[0.0], [2.0]])).merge(Moments.of(torch.tensor([[4.0]])))
    >>> m.n, m.mean.item(), m.comoment.item()  # of 0, 2, 4
    (3, 2.0, 8.0)
    """

    n: int
    mean: Tensor
    comoment: Tensor

    @classmethod
    def of(cls, samples: Tensor) -> Moments:
        """Moments of samples ``(N, D)``, N >= 1."""
        x = samples.detach().double()
        mean = x.mean(dim=0)
        centred = x - mean
        return cls(len(x), mean, centred.T @ centred)

    @property
    def covariance(self) -> Tensor:
        """Maximum-likelihood covariance ``(D, D)``: the co-moment over n."""
        return self.comoment / self.n

    def merge(self, other: Moments) -> Moments:
        """Moments of the union of both samples."""
        n = self.n + other.n
        delta = other.mean - self.mean
        return Moments(
            n,
            self.mean + delta * (other.n / n),
            self.comoment + other.comoment + torch.outer(delta, delta) * (self.n * other.n / n),
        )


def finite_samples(samples: Tensor, name: str) -> Tensor:
    """Check normal samples ``(N, D)``: two axes, at least one sample, all finite.

    Raises
    ------
    CalibrationError
        Naming the argument and what is wrong.
    """
    if not isinstance(samples, Tensor):
        samples = torch.as_tensor(samples, device="cpu")
    if samples.ndim != 2 or len(samples) == 0:
        raise CalibrationError(
            f"{name}: expected at least one sample of shape (N, D), got {tuple(samples.shape)}"
        )
    bad = int((~torch.isfinite(samples)).any(dim=1).sum())
    if bad:
        raise CalibrationError(
            f"{name}: {bad} of {len(samples)} normal samples hold NaN or infinity; find the inputs "
            "or weights they come from and remove them before fitting"
        )
    return samples


def shrinkage(covariance: Tensor, n: int) -> float:
    """Oracle-approximating shrinkage weight of a sample covariance ``(D, D)`` of n samples.

    Chen, Wiesel, Eldar and Hero, IEEE TSP 58 (2010), eq. 23; at least `SHRINKAGE_FLOOR`, at
    most 1.

    Examples
    --------
    >>> shrinkage(torch.eye(2), n=10)  # already a multiple of the identity
    1.0
    """
    d = len(covariance)
    trace, square = float(covariance.trace()), float((covariance * covariance).sum())
    spread = square - trace**2 / d
    if spread <= 0:
        return 1.0
    weight = ((1 - 2 / d) * square + trace**2) / ((n + 1 - 2 / d) * spread)
    return min(1.0, max(SHRINKAGE_FLOOR, weight))


def rounding_variance(mean: Tensor, covariance: Tensor, units: float = 1.0) -> float:
    """Variance that float32 rounding alone can make: ``(units eps)^2`` times the mean square.

    One unit is what storing a number costs. A network's own arithmetic costs more: convolutions of
    deep networks were seen to differ by 30 units between batch sizes (`ROUNDING`).

    Examples
    --------
    >>> rounding_variance(torch.tensor([2.0, 0.0]), torch.eye(2)) == 3 * 2.0**-46
    True
    """
    mean_square = float((mean.square() + covariance.diagonal()).mean())
    return max((units * _FLOAT32_EPS) ** 2 * mean_square, _VARIANCE_FLOOR)


def conditioned(covariance: Tensor, n: int, floor: float = _VARIANCE_FLOOR) -> Tensor:
    """The shrunk covariance ``(1 - w) S + w tr(S) / D I``, with no variance below ``floor``.

    w is from `shrinkage`. Positive definite for any S, also rank deficient or zero. Only where the
    floor is above the shrinkage target (a layer that hardly varies) are eigenvalues needed.

    Examples
    --------
    >>> conditioned(torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64)), n=1).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    weight, scale = shrinkage(covariance, n), float(covariance.trace()) / len(covariance)
    if weight * scale >= floor:
        shrunk = covariance * (1 - weight)
        shrunk.diagonal().add_(weight * scale)
        return shrunk
    values, vectors = torch.linalg.eigh(covariance)
    values = ((1 - weight) * values.clamp(min=0) + weight * scale).clamp(min=floor)
    return (vectors * values) @ vectors.T
