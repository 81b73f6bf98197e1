"""What a score does to a state, solved from sums once: whitening, prediction, class means.

Two functions of covariances, `distance_map` and `step_map`, give two small records that turn states
into squared lengths. Everything is solved in float64 and kept in float32, as the states are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from deepdrift.scores.moments import ROUNDING, conditioned, rounding_variance

WIDE = 320  # from here on the factor L is kept, not its inverse: half as many numbers are read
_WITHIN = 9.0  # squared lengths per channel up to this, in variances of rounding, are rounding
_SHAKY = 1e-10  # damping below this share of the trace: a Cholesky factor would lose the digits


@dataclass(frozen=True)
class DistanceMap:
    """Whiten a state and take the squared distance to the nearest mean.

    Attributes
    ----------
    centre : Tensor, shape (D,)
    white : Tensor, shape (D, D)
        Lower triangular: W with ``W C W^T = I`` for the `conditioned` covariance C, or its inverse
        if `factored`.
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

    @property
    def width(self) -> int:
        """Width of the state."""
        return len(self.white)

    def to(self, device: torch.device) -> DistanceMap:
        """The same on another device."""
        return _to(self, device)

    def squared(self, state: Tensor) -> Tensor:
        """Squared distance ``(N,)``, float64, to the nearest mean."""
        points = state.float() - self.centre
        return forgive(nearest(_whitened(points, self.white), self.means), self.allowance)


@dataclass(frozen=True)
class StepMap:
    """Whitened residual of a target that is predicted from a source.

    With the prediction A, and W with ``W C W^T = I`` for the covariance C of the residual, it is
    ``offset - W A x + W y`` for x and y from their centres. These are the means rounded to float32;
    the offset is what the rounding would cost. If `factored`, it is ``L^-1 (offset - A x + y)``.

    Attributes
    ----------
    source, target : Tensor, shapes (D_x,), (D_y,)
        Centres.
    offset : Tensor, shape (D_y,)
    predict : Tensor, shape (D_y, D_x)
        ``-W A`` or ``-A``.
    white : Tensor, shape (D_y, D_y)
        Lower triangular: W or L.
    allowance : float
        See `DistanceMap`; 0 unless the target is predicted up to rounding.
    """

    source: Tensor
    target: Tensor
    offset: Tensor
    predict: Tensor
    white: Tensor
    allowance: float = 0.0

    @property
    def width(self) -> int:
        """Width of the target."""
        return len(self.white)

    def to(self, device: torch.device) -> StepMap:
        """The same on another device."""
        return _to(self, device)

    def residual(self, source: Tensor, target: Tensor) -> Tensor:
        """Whitened residual ``(N, D_y)``, float32."""
        x, y = source.float() - self.source, target.float() - self.target
        if factored(self.width):
            return _whitened(torch.addmm(y + self.offset, x, self.predict.T), self.white)
        return torch.addmm(torch.addmm(self.offset, x, self.predict.T), y, self.white.T)

    def squared(self, source: Tensor, target: Tensor) -> Tensor:
        """Squared length ``(N,)``, float64, of the residual."""
        return forgive(_squared_length(self.residual(source, target)), self.allowance)


def factored(width: int) -> bool:
    """Whether maps to this width keep the Cholesky factor and not its inverse."""
    return width > WIDE


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
    factor = torch.linalg.cholesky(conditioned(covariance, n, floor))
    constant = float(covariance.trace()) <= width * floor
    return DistanceMap(
        centre,
        _kept(factor),
        torch.linalg.solve_triangular(factor, (means - centre).T, upper=False).T.float(),
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
    factor = torch.linalg.cholesky(conditioned(rest, n, floor))
    source, target = mean_x.float(), mean_y.float()
    offset = (target - mean_y) - weights @ (source - mean_x)
    if not factored(width):
        both = torch.cat([weights, offset[:, None]], dim=1)
        both = torch.linalg.solve_triangular(factor, both, upper=False)
        weights, offset = both[:, :-1], both[:, -1]
    return StepMap(
        source,
        target,
        offset.float(),
        -weights.float(),
        _kept(factor),
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


def _kept(factor: Tensor) -> Tensor:
    """The factor, column by column in memory, as solvers read it; or its inverse."""
    if factored(len(factor)):
        return factor.float().T.contiguous().T
    identity = torch.eye(len(factor), dtype=factor.dtype, device="cpu")
    return torch.linalg.solve_triangular(factor, identity, upper=False).float()


def _whitened(points: Tensor, white: Tensor) -> Tensor:
    if factored(len(white)):
        return torch.linalg.solve_triangular(white, points.T, upper=False).T
    return points @ white.T


def _to(part: Any, device: torch.device) -> Any:
    """A record of tensors on another device."""
    moved = {k: v.to(device) for k, v in vars(part).items() if isinstance(v, Tensor)}
    return part if part.white.device == device else replace(part, **moved)


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
