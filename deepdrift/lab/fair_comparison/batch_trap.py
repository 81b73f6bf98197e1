"""What happens to an AUROC when it judges means of batches instead of images.

A mean over B images keeps the difference between normal and shifted and divides the scatter by
``sqrt(B)``. So any score that differs on average, however weakly, nears 1 for large B, and one
with the wrong sign nears 0. The AUROC over batch means answers "has this camera changed?"; an
AUROC over images answers "is this image strange?".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from deepdrift.lab.bench.evaluation import (
    Array,
    Estimate,
    EvaluationError,
    Seed,
    as_scores,
    auroc,
)

__all__ = ["auroc_of_batches", "auroc_of_gap", "batch_means", "curves", "predicted_auroc"]


def batch_means(scores: Any, size: int, n_batches: int = 400, seed: Seed = 0) -> Array:
    """Means of batches drawn with replacement, shape (n_batches,).

    Parameters
    ----------
    scores : array_like, shape (N,)
        One per image, finite.
    size : int
        Images per batch, B >= 1.
    n_batches : int
        How many batches.
    seed : int or numpy.random.Generator

    Raises
    ------
    EvaluationError
        For NaN, infinite scores, or a size below 1.

    Examples
    --------
    >>> batch_means([3.0, 3.0], size=5, n_batches=2).tolist()
    [3.0, 3.0]
    """
    scores = as_scores(scores)
    if not np.isfinite(scores).all():
        raise EvaluationError("scores: a mean needs finite scores, got infinity")
    if size < 1 or n_batches < 1:
        raise EvaluationError(
            f"size, n_batches: expected at least 1 each, got {size!r} and {n_batches!r}"
        )
    drawn = np.random.default_rng(seed).integers(0, len(scores), (n_batches, size))
    return scores[drawn].mean(axis=1)


def auroc_of_batches(
    normal: Any, shifted: Any, size: int, n_batches: int = 400, seed: int = 0
) -> Estimate:
    """AUROC between means over batches of normal and of shifted images.

    Parameters
    ----------
    normal, shifted : array_like, shapes (N,) and (M,)
        Scores per image, larger = more unusual.
    size, n_batches, seed
        See `batch_means`.

    Examples
    --------
    Each image tells little, a hundred together nearly everything:

    >>> rng = np.random.default_rng(0)
    >>> normal, shifted = rng.normal(size=2000), rng.normal(0.3, size=2000)
    >>> [f"{auroc_of_batches(normal, shifted, size):.1f}"[:3] for size in (1, 100)]
    ['0.6', '1.0']
    """
    rng = np.random.default_rng(seed)
    means = [batch_means(x, size, n_batches, rng) for x in (normal, shifted)]
    return auroc(*means)


def predicted_auroc(normal: Any, shifted: Any, size: int) -> float:
    """The same by the normal law: ``Phi(sqrt(B) d' / sqrt(2))``.

    Here ``d'`` is the difference of the two means over the root mean square of the two standard
    deviations. Exact for normal scores; for others the better, the larger B is (central limit
    theorem).

    Examples
    --------
    Means 0 and 1, standard deviations 1, so d' = 1: Phi(0.71) for images, Phi(1.41) for fours.

    >>> f"{predicted_auroc([-1, 1], [0, 2], 1):.2f}, {predicted_auroc([-1, 1], [0, 2], 4):.2f}"
    '0.76, 0.92'
    """
    a, b = as_scores(normal, "normal"), as_scores(shifted, "shifted")
    finite = np.isfinite(a).all() and np.isfinite(b).all()
    spread = math.sqrt((a.var() + b.var()) / 2) if finite else 0.0
    if not spread > 0:
        raise EvaluationError("normal, shifted: expected finite scores that are not all equal")
    return auroc_of_gap((b.mean() - a.mean()) / spread, size)


def auroc_of_gap(gap: float, size: int) -> float:
    """AUROC between means over B images of two normal laws: ``Phi(sqrt(B) gap / sqrt(2))``.

    Parameters
    ----------
    gap : float
        Difference of the two means, in standard deviations of one image.
    size : int
        Images per batch, B.

    Examples
    --------
    >>> [round(auroc_of_gap(0.2, size), 2) for size in (1, 25, 400)]
    [0.56, 0.76, 1.0]
    """
    return float(stats.norm.cdf(math.sqrt(size / 2) * gap))


def curves(
    pairs: Mapping[str, tuple[Any, Any]], sizes: Sequence[int]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """AUROC over batch means for every size, measured and by the formula, score by score.

    Parameters
    ----------
    pairs : mapping of str to (normal, shifted)
        Score -> its values for normal and for shifted images.
    sizes : sequence of int
        Images per batch.

    Examples
    --------
    >>> measured, predicted = curves({"a": ([-1, 1], [0, 2])}, [1, 4])
    >>> [round(value, 2) for value in predicted["a"]]
    [0.76, 0.92]
    """
    measured = {k: [float(auroc_of_batches(*pair, n)) for n in sizes] for k, pair in pairs.items()}
    predicted = {k: [predicted_auroc(*pair, n) for n in sizes] for k, pair in pairs.items()}
    return measured, predicted
