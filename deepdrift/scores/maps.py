"""What a score does to a state, solved from sums once: whitening, prediction, class means.

Two functions of covariances, `distance_map` and `step_map`, give two small records that turn states
into squared lengths. Everything is solved in float64 and kept in float32, as the states are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deepdrift.scores.moments import ROUNDING, rounding_variance, whitening

_WITHIN = 9.0  # squared lengths per channel up to this, in variances of rounding, are rounding
_SHAKY = 1e-10  # damping below this share of the trace: a Cholesky factor would lose the digits


@dataclass(frozen=True)
class DistanceMap:
    """Whiten a state and take the squared distance to the nearest mean.

    Attributes
    ----------
    centre : Tensor, shape (D,)
    white : Tensor, shape (D, D)
        Lower triangular.
    means : Tensor, shape (C, D)
        Whitened class means, from the centre.
    allowance : float
        Subtracted from the squared distance, which does not fall below 0; 0 unless the layer is
        constant up to rounding.
    """

    centre: Tensor
    white: Tensor
    means: Tensor
    allowance: float = 0.0

    def to(self, device: torch.device) -> DistanceMap:
        """The same on another device."""
        if self.centre.device == device:
            return self
        return replace(
            self, **{k: getattr(self, k).to(device) for k in ("centre", "white", "means")}
        )

    def squared(self, state: Tensor) -> Tensor:
        """Squared distance ``(N,)``, float64, to the nearest mean."""
        points = (state.float() - self.centre) @ self.white.T
        return forgive(nearest(points, self.means), self.allowance)


@dataclass(frozen=True)
class StepMap:
    """Whitened residual of a target that is predicted from a source.

    ``residual = offset + affine (pair - centre)`` for ``pair = [source, target]``. The centre is
    the mean rounded to float32, the offset what the rounding would cost.

    Attributes
    ----------
    centre : Tensor, shape (D_x + D_y,)
    offset : Tensor, shape (D_y,)
    affine : Tensor, shape (D_y, D_x + D_y)
        ``[-W A, W]`` with the prediction A and W, lower triangular, from `whitening`.
    allowance : float
        See `DistanceMap`; 0 unless the target is predicted up to rounding.
    """

    centre: Tensor
    offset: Tensor
    affine: Tensor
    allowance: float = 0.0

    def to(self, device: torch.device) -> StepMap:
        """The same on another device."""
        if self.centre.device == device:
            return self
        return replace(
            self, **{k: getattr(self, k).to(device) for k in ("centre", "offset", "affine")}
        )

    def residual(self, source: Tensor, target: Tensor) -> Tensor:
        """Whitened residual ``(N, D_y)``, float32."""
        pair = torch.cat([source, target], dim=1).float()
        return torch.addmm(self.offset, pair - self.centre, self.affine.T)

    def squared(self, source: Tensor, target: Tensor) -> Tensor:
        """Squared length ``(N,)``, float64, of the residual."""
        return forgive(_squared_length(self.residual(source, target)), self.allowance)


def distance_map(counts: Tensor, means: Tensor, within: Tensor) -> DistanceMap:
    """Map to the distance from class means, with one covariance for all classes.

    Parameters
    ----------
    counts : Tensor, shape (C,)
        Samples per class.
    means : Tensor, shape (C, D), float64
    within : Tensor, shape (D, D), float64
        Scatter: sum over samples of the squared deviation from the mean of their class.

    Examples
    --------
    Classes at 0 and 10, variance 1: a state at 3 is nine variances from the nearer one.

    >>> means = torch.tensor([[0.0], [10.0]], dtype=torch.float64)
    >>> solved = distance_map(torch.tensor([2, 2]), means, torch.tensor([[4.0]]).double())
    >>> solved.squared(torch.tensor([[3.0], [10.0]])).round(decimals=4).tolist()
    [9.0, 0.0]
    """
    shares, n, width = counts.double() / counts.sum(), int(counts.sum()), means.shape[1]
    centre = (shares @ means).float()  # rounded once, the same for states and means
    covariance = within / n
    floor = rounding_variance((shares @ means.square()).sqrt(), covariance, ROUNDING)
    white = whitening(covariance, n, floor)
    constant = float(covariance.trace()) <= width * floor
    return DistanceMap(
        centre,
        white.float(),
        ((means - centre) @ white.T).float(),
        _WITHIN * width if constant else 0.0,
    )


def step_map(
    n: int, mean_x: Tensor, mean_y: Tensor, xx: Tensor, xy: Tensor, yy: Tensor, ridge: float
) -> StepMap:
    """Map to the whitened residual of a ridge prediction of y from x.

    If plain least squares predict y up to rounding, there is no more to a step than rounding. Such
    a step is held to that prediction, and residuals within `ROUNDING` count as none.

    Parameters
    ----------
    n : int
        Samples behind the covariances.
    mean_x, mean_y : Tensor, shapes (D_x,), (D_y,), float64
    xx, xy, yy : Tensor, shapes (D_x, D_x), (D_x, D_y), (D_y, D_y), float64
        Covariances.
    ridge : float
        Relative to the mean variance of x.
    """
    width = len(yy)
    floor = rounding_variance(mean_y, yy, ROUNDING)
    stored = rounding_variance(mean_x, xx)
    weights = _ridge_weights(xx, xy, ridge * float(xx.trace()) / len(xx) + stored)
    rest = _residual_covariance(weights, xx, xy, yy)
    left, enough = float(rest.trace()), n > 2 * len(xx) + 2  # else any y is predicted
    if enough and width * floor < left <= ridge * float(yy.trace()):
        plain = _ridge_weights(xx, xy, stored)
        exact = _residual_covariance(plain, xx, xy, yy)
        if float(exact.trace()) <= width * floor:
            weights, rest, left = plain, exact, float(exact.trace())
    white = whitening(rest, n, floor)
    affine, mean = torch.cat([-white @ weights, white], dim=1), torch.cat([mean_x, mean_y])
    centre = mean.float()
    return StepMap(
        centre,
        (affine @ (centre.double() - mean)).float(),
        affine.float(),
        _WITHIN * width if enough and left <= width * floor else 0.0,
    )


def nearest(points: Tensor, means: Tensor) -> Tensor:
    """Squared distance ``(N,)``, float64, of points ``(N, D)`` to the nearest of ``(C, D)``."""
    if len(means) == 1:
        return _squared_length(points - means)
    gaps = torch.cdist(points, means, compute_mode="donot_use_mm_for_euclid_dist")
    return gaps.amin(dim=1).double().square()


def forgive(squared: Tensor, allowance: float) -> Tensor:
    """Squared lengths without what rounding alone can make."""
    return (squared - allowance).clamp(min=0) if allowance else squared


def _squared_length(points: Tensor) -> Tensor:
    return torch.linalg.vector_norm(points, dim=1, dtype=torch.float64).square()


def _ridge_weights(xx: Tensor, xy: Tensor, damping: float) -> Tensor:
    """Prediction A ``(D_y, D_x)``: ``A (xx + damping I) = xy^T``."""
    if damping > _SHAKY * float(xx.trace()):
        damped = xx.clone()
        damped.diagonal().add_(damping)
        return torch.cholesky_solve(xy, torch.linalg.cholesky(damped)).T
    values, vectors = torch.linalg.eigh(xx)
    return (xy.T @ vectors / (values.clamp(min=0) + damping)) @ vectors.T


def _residual_covariance(weights: Tensor, xx: Tensor, xy: Tensor, yy: Tensor) -> Tensor:
    """Covariance ``(D_y, D_y)`` of ``y - A x``."""
    explained = weights @ xy
    rest = yy - explained - explained.T + weights @ xx @ weights.T
    return (rest + rest.T) / 2
