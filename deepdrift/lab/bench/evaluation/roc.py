"""How well scores separate normal from shifted samples, and how sure we can be.

One orientation, never chosen after the fact: a larger score means more unusual, and the shifted
samples are the positive class. An AUROC below 0.5 is reported as such. Every measure here depends
on the order of the scores alone, so infinity is allowed (the most unusual of all) and ties count
half; NaN has no place in an order and is refused.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from deepdrift.errors import require
from deepdrift.lab.bench.evaluation.estimates import (
    Array,
    Estimate,
    EvaluationError,
    as_scores,
    check_open,
)
from deepdrift.lab.bench.evaluation.rates import beta_interval

metrics = require("sklearn.metrics", "lab")


def ranked(in_scores: Any, out_scores: Any) -> tuple[Array, Array]:
    """Both score sets replaced by their dense common ranks 0, 1, 2, ... (finite, same order)."""
    normal = as_scores(in_scores, "in_scores", at_least=2)
    shifted = as_scores(out_scores, "out_scores", at_least=2)
    ranks = stats.rankdata(np.concatenate([normal, shifted]), method="dense") - 1.0
    return ranks[: len(normal)], ranks[len(normal) :]


def labelled(normal: Array, shifted: Array) -> tuple[Array, Array]:
    """Labels (0 normal, 1 shifted) and all scores, as scikit-learn takes them."""
    labels = np.concatenate([np.zeros(len(normal)), np.ones(len(shifted))])
    return labels, np.concatenate([normal, shifted])


def placements(in_scores: Any, out_scores: Any) -> tuple[Array, Array]:
    """Share of the other set that each sample is placed right against, ties half (midranks).

    The mean of either is the AUROC; how they scatter is its uncertainty.

    Returns
    -------
    of_normal, of_shifted : array, shapes (n_in,) and (n_out,)

    Examples
    --------
    >>> [p.tolist() for p in placements([1, 3], [2, 3, 4])]
    [[1.0, 0.5], [0.5, 0.75, 1.0]]
    """
    return _placements(*ranked(in_scores, out_scores))


def _placements(normal: Array, shifted: Array) -> tuple[Array, Array]:
    n, m = len(normal), len(shifted)
    ranks = stats.rankdata(np.concatenate([normal, shifted]))
    of_shifted = (ranks[n:] - stats.rankdata(shifted)) / n
    of_normal = 1 - (ranks[:n] - stats.rankdata(normal)) / m
    return of_normal, of_shifted


def _delong_variance(of_normal: Array, of_shifted: Array) -> float:
    """Variance of a mean of placements: one term per sample set (DeLong et al. 1988, eq. 5)."""
    terms = (np.var(v, ddof=1) / len(v) for v in (of_normal, of_shifted))
    return float(sum(terms))


def auroc(in_scores: Any, out_scores: Any, confidence: float = 0.95) -> Estimate:
    """Probability that a shifted sample scores above a normal one, ties counting half.

    The value is scikit-learn's; the interval is DeLong's, on the logit scale so that it stays
    within (0, 1). Where DeLong's variance is zero (perfect separation, or all scores equal) the
    ``m = min(n_in, n_out)`` disjoint pairs are taken as ``m`` independent trials instead, so that
    a perfect score on few samples does not look certain.

    Parameters
    ----------
    in_scores, out_scores : array_like, shapes (n_in,) and (n_out,)
        Scores of normal and of shifted samples, larger meaning more unusual; at least two each.
    confidence : float
        Coverage of the interval.

    Returns
    -------
    Estimate
        0.5 is a coin flip; below 0.5 the shifted samples look more normal than normal ones.

    Raises
    ------
    EvaluationError
        For NaN, wrong shapes, or fewer than two scores.

    References
    ----------
    DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988; with midranks as in Sun and Xu, IEEE
    Signal Processing Letters 21, 2014.

    Examples
    --------
    Of the 2 x 3 pairs, 4 are in the right order and 1 is tied: (4 + 0.5) / 6.

    >>> auroc([1, 3], [2, 3, 4]).value
    0.75
    >>> print(auroc(range(10), range(10, 20)))  # perfect, yet n = 10 cannot promise more
    1.000 [0.692, 1.000]
    """
    check_open(confidence, "confidence")
    normal, shifted = ranked(in_scores, out_scores)
    value = float(metrics.roc_auc_score(*labelled(normal, shifted)))
    variance = _delong_variance(*_placements(normal, shifted))
    if variance > 0:
        logit = math.log(value / (1 - value))
        half = stats.norm.ppf((1 + confidence) / 2) * math.sqrt(variance) / (value * (1 - value))
        low, high = (1 / (1 + math.exp(-x)) for x in (logit - half, logit + half))
    else:
        low, high = beta_interval(value, min(len(normal), len(shifted)), confidence)
    return Estimate(value, low, high, len(normal), len(shifted), confidence)


def auroc_difference(
    in_a: Any, out_a: Any, in_b: Any, out_b: Any, confidence: float = 0.95
) -> Estimate:
    """AUROC of score A minus AUROC of score B on the same samples (paired DeLong).

    Both scores saw the same images, so most of their luck is shared and cancels: the interval is
    narrower than two separate ones would suggest. If it excludes 0, the scores differ.

    Parameters
    ----------
    in_a, out_a, in_b, out_b : array_like, shapes (n_in,), (n_out,), (n_in,), (n_out,)
        Scores A and B of the same normal and of the same shifted samples, in the same order.

    Returns
    -------
    Estimate
        In [-1, 1]. Two scores with the same order differ by exactly 0 [0, 0].

    Raises
    ------
    EvaluationError
        If A and B are not of the same samples (different lengths), or for NaN.

    Examples
    --------
    A orders 7.5 of 9 pairs, B 4.5; the standard error is sqrt(1/36).

    >>> print(auroc_difference([1, 2, 3], [2, 4, 6], [1, 2, 3], [0, 2, 9]))
    0.333 [0.007, 0.660]
    """
    check_open(confidence, "confidence")
    a, b = ranked(in_a, out_a), ranked(in_b, out_b)
    for x, y, name in ((a[0], b[0], "in"), (a[1], b[1], "out")):
        if len(x) != len(y):
            raise EvaluationError(
                f"{name}_a, {name}_b: expected two scores of the same samples, "
                f"got {len(x)} and {len(y)}"
            )
    value = float(metrics.roc_auc_score(*labelled(*a)) - metrics.roc_auc_score(*labelled(*b)))
    of_normal, of_shifted = (
        pa - pb for pa, pb in zip(_placements(*a), _placements(*b), strict=True)
    )
    n_in, n_out = len(a[0]), len(a[1])
    variance = _delong_variance(of_normal, of_shifted)
    if variance > 0:
        half = float(stats.norm.ppf((1 + confidence) / 2)) * math.sqrt(variance)
    elif all(np.array_equal(x, y) for x, y in zip(a, b, strict=True)):
        half = 0.0
    else:  # no disagreement in min(n) disjoint pairs
        half = 1 - ((1 - confidence) / 2) ** (1 / min(n_in, n_out))
    low, high = max(-1.0, value - half), min(1.0, value + half)
    return Estimate(value, low, high, n_in, n_out, confidence)
