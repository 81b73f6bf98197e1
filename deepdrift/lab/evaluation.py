"""How well scores separate normal from shifted samples, and how sure we can be.

One orientation, never chosen after the fact: a larger score means more unusual, and the shifted
samples are the positive class. An AUROC below 0.5 is reported as such. Every measure here depends
on the order of the scores alone, so infinity is allowed (the most unusual of all) and ties count
half; NaN has no place in an order and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.errors import CalibrationError, DeepDriftError, require

metrics = require("sklearn.metrics", "lab")
stats = require("scipy.stats", "lab")

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


def _check_open(value: float, name: str) -> float:
    if not 0 < value < 1:
        raise EvaluationError(f"{name}: expected a number between 0 and 1, got {value!r}")
    return float(value)


def _ranked(in_scores: Any, out_scores: Any) -> tuple[Array, Array]:
    """Both score sets replaced by their dense common ranks 0, 1, 2, ... (finite, same order)."""
    normal = as_scores(in_scores, "in_scores", at_least=2)
    shifted = as_scores(out_scores, "out_scores", at_least=2)
    ranks = stats.rankdata(np.concatenate([normal, shifted]), method="dense") - 1.0
    return ranks[: len(normal)], ranks[len(normal) :]


def _labelled(normal: Array, shifted: Array) -> tuple[Array, Array]:
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
    return _placements(*_ranked(in_scores, out_scores))


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
    _check_open(confidence, "confidence")
    normal, shifted = _ranked(in_scores, out_scores)
    value = float(metrics.roc_auc_score(*_labelled(normal, shifted)))
    variance = _delong_variance(*_placements(normal, shifted))
    if variance > 0:
        logit = math.log(value / (1 - value))
        half = stats.norm.ppf((1 + confidence) / 2) * math.sqrt(variance) / (value * (1 - value))
        low, high = (1 / (1 + math.exp(-x)) for x in (logit - half, logit + half))
    else:
        low, high = _beta_interval(value, min(len(normal), len(shifted)), confidence)
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
    _check_open(confidence, "confidence")
    a, b = _ranked(in_a, out_a), _ranked(in_b, out_b)
    for x, y, name in ((a[0], b[0], "in"), (a[1], b[1], "out")):
        if len(x) != len(y):
            raise EvaluationError(
                f"{name}_a, {name}_b: expected two scores of the same samples, "
                f"got {len(x)} and {len(y)}"
            )
    value = float(metrics.roc_auc_score(*_labelled(*a)) - metrics.roc_auc_score(*_labelled(*b)))
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
    normal, shifted = _ranked(in_scores, out_scores)
    value = float(metrics.average_precision_score(*_labelled(normal, shifted)))
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
    normal, shifted = _ranked(in_scores, out_scores)

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
    _check_open(confidence, "confidence")
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


def false_alarm_interval(
    n_calibration: int, alpha: float, confidence: float = 0.9, *, n_test: int | None = None
) -> tuple[float, float]:
    """Where the realised false-alarm rate of one conformal threshold is expected to lie.

    A threshold calibrated at level ``alpha`` on ``n`` normal scores keeps alpha on average; the
    rate of one particular threshold follows ``Beta(k, n + 1 - k)``, ``k = floor(alpha (n + 1))``
    (Vovk 2012), exactly so for continuous scores. Measured on ``n_test`` samples rather than on
    endlessly many, it follows the beta-binomial distribution.

    Parameters
    ----------
    n_calibration : int
        Calibration samples.
    alpha : float
        Nominal false-alarm rate, between 0 and 1.
    confidence : float
        Probability of the central interval.
    n_test : int, optional
        Size of the test set the rate is measured on.

    Returns
    -------
    tuple of float
        Lower and upper bound of the rate, in [0, 1].

    Raises
    ------
    CalibrationError
        If ``n_calibration < 1 / alpha - 1``: no conformal threshold exists.

    Examples
    --------
    >>> "{:.3f} to {:.3f}".format(*false_alarm_interval(100, 0.05))
    '0.020 to 0.089'
    """
    _check_open(alpha, "alpha"), _check_open(confidence, "confidence")
    k = math.floor(alpha * (n_calibration + 1) + 1e-9)
    if k < 1:
        raise CalibrationError(
            f"n_calibration: {n_calibration} samples cannot support alpha = {alpha:g}; "
            f"at least {math.ceil(1 / alpha - 1 - 1e-9)} are needed (n >= 1 / alpha - 1)"
        )
    a, b = k, n_calibration + 1 - k
    if n_test is None:
        low, high = stats.beta.interval(confidence, a, b)
    else:
        low, high = (x / n_test for x in stats.betabinom.interval(confidence, n_test, a, b))
    return float(low), float(high)


def binomial_interval(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact (Clopper-Pearson) interval of a rate observed as ``k`` out of ``n``.

    Examples
    --------
    No alarm in 30 trials does not mean that there are none ("rule of three": about 3 / n).

    >>> "{:.3f} to {:.3f}".format(*binomial_interval(0, 30, confidence=0.90))
    '0.000 to 0.095'
    """
    _check_open(confidence, "confidence")
    if not (n >= 1 and 0 <= k <= n):
        raise EvaluationError(f"k, n: expected 0 <= k <= n and n >= 1, got k = {k}, n = {n}")
    interval = stats.binomtest(int(k), int(n)).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def proportion(k: int, n: int, confidence: float = 0.95) -> Estimate:
    """A rate observed as ``k`` out of ``n``, with its exact interval, as an `Estimate`.

    Examples
    --------
    >>> print(proportion(90, 100))
    0.900 [0.824, 0.951]
    """
    low, high = binomial_interval(k, n, confidence)
    return Estimate(k / n, low, high, n_in=n, n_out=0, confidence=confidence)


def _beta_interval(share: float, n: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson bounds for a mean ``share`` of n trials, half successes allowed."""
    k, tail = share * n, (1 - confidence) / 2
    low = stats.beta.ppf(tail, k, n - k + 1) if k > 0 else 0.0
    high = stats.beta.ppf(1 - tail, k + 1, n - k) if k < n else 1.0
    return float(low), float(high)
