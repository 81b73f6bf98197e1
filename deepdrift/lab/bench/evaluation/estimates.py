"""A number with its interval, and what counts as scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.errors import DeepDriftError

Array = NDArray[np.float64]


Seed = int | np.random.Generator


class EvaluationError(DeepDriftError, ValueError):
    """Scores or settings that no honest number can be computed from."""


@dataclass(frozen=True)
class Estimate:
    """A measured value with its interval and the sample sizes behind it.

    Examples
    --------
    >>> estimate = Estimate(0.9531, 0.9468, 0.9594, n_in=3000, n_out=1000)
    >>> print(estimate)
    0.953 [0.947, 0.959]
    >>> f"{estimate:.2f}"
    '0.95 [0.95, 0.96]'
    """

    value: float
    low: float
    high: float
    n_in: int
    n_out: int
    confidence: float = 0.95

    def __format__(self, spec: str) -> str:
        spec = spec or ".3f"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self)

    def __float__(self) -> float:
        return self.value


def as_scores(scores: Any, name: str = "scores", at_least: int = 1) -> Array:
    """One-dimensional float64 copy of scores (list, array or tensor) without NaN.

    Raises
    ------
    EvaluationError
        For another shape, fewer than ``at_least`` scores, or NaN.

    Examples
    --------
    >>> as_scores([1, float("inf")])
    array([ 1., inf])
    """
    if hasattr(scores, "detach"):
        scores = scores.detach().cpu().double().numpy()
    scores = np.array(scores, dtype=np.float64)
    if scores.ndim != 1 or len(scores) < at_least:
        raise EvaluationError(
            f"{name}: expected one score per sample, shape (N,) with N >= {at_least}, "
            f"got shape {scores.shape}"
        )
    missing = int(np.isnan(scores).sum())
    if missing:
        raise EvaluationError(
            f"{name}: {missing} of {len(scores)} scores are NaN, which cannot be ranked; "
            "find the inputs they come from, or score them as infinity (most unusual)"
        )
    return scores


def check_open(value: float, name: str) -> float:
    """A number strictly between 0 and 1."""
    if not 0 < value < 1:
        raise EvaluationError(f"{name}: expected a number between 0 and 1, got {value!r}")
    return float(value)
