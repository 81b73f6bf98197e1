"""Precision, recall and error rates of a detector, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deepdrift.lab.bench.evaluation.estimates import (
    Array,
    Estimate,
    EvaluationError,
    Seed,
    check_open,
)
from deepdrift.lab.bench.evaluation.rates import binomial_interval
from deepdrift.lab.bench.evaluation.roc import labelled, metrics, ranked


def aupr(
    in_scores: Any,
    out_scores: Any,
    confidence: float = 0.95,
    *,
    n_bootstrap: int = 1000,
    seed: Seed = 0,
) -> Estimate:
    """Area under the precision-recall curve (average precision), shifted samples positive.

    Its chance level is the share of shifted samples, ``n_out / (n_in + n_out)``, so values can
    only be compared at the same share. The interval is a stratified percentile bootstrap: both
    sets are drawn anew, each with its own size. Perfect separation has a bootstrap interval of
    zero width; read the AUROC's interval there.

    Parameters
    ----------
    in_scores, out_scores : array_like, shapes (n_in,) and (n_out,)
        Larger means more unusual.
    n_bootstrap : int
        Number of resamples.
    seed : int or numpy.random.Generator
        Source of the resamples; the same integer gives the same interval.

    Examples
    --------
    Ranked 4, 3, 2, 1: shifted, normal, shifted, normal; precision 1 and 2/3 at the two hits.

    >>> f"{aupr([1, 3], [2, 4]).value:.4f}"
    '0.8333'
    """
    normal, shifted = ranked(in_scores, out_scores)
    value = float(metrics.average_precision_score(*labelled(normal, shifted)))
    low, high = _bootstrap(normal, shifted, _average_precision, confidence, n_bootstrap, seed)
    return Estimate(value, low, high, len(normal), len(shifted), confidence)


def fpr_at_tpr(
    in_scores: Any,
    out_scores: Any,
    tpr: float = 0.95,
    confidence: float = 0.95,
    *,
    n_bootstrap: int = 1000,
    seed: Seed = 0,
) -> Estimate:
    """Share of normal samples flagged when at least ``tpr`` of the shifted ones are (FPR95).

    The highest threshold ``t`` with ``share(out >= t) >= tpr`` decides, one order statistic, so
    the number is noisy: never quote it without its interval (stratified percentile bootstrap;
    Clopper-Pearson at the observed threshold where the bootstrap has zero width).

    Parameters
    ----------
    in_scores, out_scores : array_like, shapes (n_in,) and (n_out,)
        Larger means more unusual.
    tpr : float
        Share of shifted samples to catch, in (0, 1].

    Returns
    -------
    Estimate
        In [0, 1]; lower is better.

    Examples
    --------
    To catch 3 of 4 shifted samples the threshold is 3; one of the four normal ones reaches it.

    >>> fpr_at_tpr([0, 1, 2, 3], [1, 3, 4, 5], tpr=0.75).value
    0.25
    """
    if not 0 < tpr <= 1:
        raise EvaluationError(f"tpr: expected a share in (0, 1], got {tpr!r}")
    normal, shifted = ranked(in_scores, out_scores)

    def statistic(n_normal: Array, n_shifted: Array) -> Array:
        return _false_positive_rate(n_normal, n_shifted, tpr)

    value = float(statistic(*(c[None] for c in _counts(normal, shifted)))[0])
    low, high = _bootstrap(normal, shifted, statistic, confidence, n_bootstrap, seed)
    if low == high:
        low, high = binomial_interval(round(value * len(normal)), len(normal), confidence)
    return Estimate(value, low, high, len(normal), len(shifted), confidence)


def _counts(normal: Array, shifted: Array) -> tuple[Array, Array]:
    """How often each distinct score occurs in either set, from the highest score down."""
    n_ranks = int(max(normal.max(), shifted.max())) + 1
    pair = (np.bincount(x.astype(int), minlength=n_ranks)[::-1] for x in (normal, shifted))
    return tuple(c.astype(np.float64) for c in pair)


def _average_precision(n_normal: Array, n_shifted: Array) -> Array:
    """Sum over thresholds of (recall gained) x (precision), for rows of `_counts`."""
    hits, flagged = n_shifted.cumsum(-1), (n_normal + n_shifted).cumsum(-1)
    precision = hits / np.maximum(flagged, 1)
    return (n_shifted * precision).sum(-1) / n_shifted.sum(-1)


def _false_positive_rate(n_normal: Array, n_shifted: Array, tpr: float) -> Array:
    caught = n_shifted.cumsum(-1)
    reached = caught >= tpr * caught[:, -1:] - 1e-9
    at = reached.argmax(-1)[:, None]
    flagged = np.take_along_axis(n_normal.cumsum(-1), at, axis=-1)[:, 0]
    return flagged / n_normal.sum(-1)


def _bootstrap(
    normal: Array,
    shifted: Array,
    statistic: Callable[[Array, Array], Array],
    confidence: float,
    n_bootstrap: int,
    seed: Seed,
) -> tuple[float, float]:
    """Percentile interval. Drawing n samples anew is drawing multinomial counts of each score."""
    check_open(confidence, "confidence")
    if n_bootstrap < 100:
        raise EvaluationError(f"n_bootstrap: expected at least 100 resamples, got {n_bootstrap}")
    generator = np.random.default_rng(seed)
    counts = _counts(normal, shifted)
    drawn = []
    for start in range(0, n_bootstrap, 100):  # in blocks, so that memory stays bounded
        size = min(100, n_bootstrap - start)
        resampled = (
            generator.multinomial(int(c.sum()), c / c.sum(), size=size).astype(np.float64)
            for c in counts
        )
        drawn.append(statistic(*resampled))
    low, high = np.quantile(
        np.concatenate(drawn), [(1 - confidence) / 2, (1 + confidence) / 2]
    ).tolist()
    return low, high
