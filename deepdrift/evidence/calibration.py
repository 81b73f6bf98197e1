"""From scores to p-values and thresholds: what normal data alone allow us to promise.

Scores are oriented: larger means more unusual. With ``n`` calibration scores that are
exchangeable with the score of a new normal sample, the conformal p-value satisfies
``P(p <= alpha) <= alpha`` for every ``alpha``, every ``n`` and every distribution
(Vovk, Gammerman and Shafer 2005; Bates et al., Annals of Statistics 51, 2023).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from deepdrift.errors import CalibrationError

Tail = Literal["upper", "lower", "two-sided"]


def calibration_scores(scores: Tensor, name: str = "scores") -> Tensor:
    """Calibration scores as float64 on the CPU, samples on the first axis.

    Raises
    ------
    CalibrationError
        If there is none, or if some are not finite.
    """
    scores = torch.as_tensor(scores, device="cpu").detach().to("cpu", torch.float64)
    if scores.ndim == 0 or len(scores) == 0:
        raise CalibrationError(f"{name}: expected at least one calibration score, got none")
    bad = int((~torch.isfinite(scores)).sum())
    if bad:
        raise CalibrationError(
            f"{name}: {bad} of {scores.numel()} calibration scores are NaN or infinite; "
            "remove the inputs they come from before calibrating"
        )
    return scores


def _check_alpha(alpha: float) -> float:
    if not 0 < alpha < 1:
        raise CalibrationError(f"alpha: expected a rate between 0 and 1, got {alpha!r}")
    return float(alpha)


def required_samples(alpha: float) -> int:
    """Smallest calibration size for which a conformal alarm at rate ``alpha`` can ever fire.

    The smallest p-value of ``n`` scores is ``1 / (n + 1)``, hence ``n >= 1 / alpha - 1``.

    Examples
    --------
    >>> required_samples(0.05), required_samples(0.01)
    (19, 99)
    """
    return math.ceil(1 / _check_alpha(alpha) - 1 - 1e-9)


def conformal_p_values(calibration: Tensor, scores: Tensor, tail: Tail = "upper") -> Tensor:
    """Share of normal scores at least as unusual, the new one counted in.

    ``p = (1 + #{i : s_i >= s}) / (n + 1)`` for the upper tail, ``<=`` for the lower, and
    ``min(1, 2 min(p_upper, p_lower))`` for both.

    Parameters
    ----------
    calibration : Tensor, shape (n,) or (n, K)
        Finite scores of normal samples; K series are calibrated side by side.
    scores : Tensor, shape (m,) or (m, K)
        Scores to judge. NaN and infinity are never healthy: they get p = 0, which no finite
        score can get.
    tail : {"upper", "lower", "two-sided"}
        Which side is unusual.

    Returns
    -------
    Tensor, shape of ``scores``, float64, in [1 / (n + 1), 1], or 0 where a score is not finite.
        Cost: O((n + m) K log n).

    Raises
    ------
    CalibrationError
        If calibration scores are missing or not finite, or if K differs.

    Examples
    --------
    >>> conformal_p_values(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.5, 9.0, 0.0]))
    tensor([0.5000, 0.2500, 1.0000], dtype=torch.float64)
    """
    reference = calibration_scores(calibration, "calibration")
    scores = torch.as_tensor(scores, device="cpu").detach().to("cpu", torch.float64)
    if scores.ndim != reference.ndim or scores.shape[1:] != reference.shape[1:]:
        raise CalibrationError(
            f"scores: expected one entry per sample as in the calibration scores of shape "
            f"{tuple(reference.shape)}, got shape {tuple(scores.shape)}"
        )
    return p_values_from_sorted(reference.sort(dim=0).values, scores, tail)


def p_values_from_sorted(ordered: Tensor, scores: Tensor, tail: Tail = "upper") -> Tensor:
    """`conformal_p_values` for calibration scores that are checked and sorted along axis 0."""
    n = len(ordered)
    columns = ordered.reshape(n, -1).T.contiguous()
    queries = scores.reshape(-1, len(columns)).T.contiguous()
    if tail in ("upper", "two-sided"):
        upper = (1 + n - torch.searchsorted(columns, queries)).double() / (n + 1)
    if tail in ("lower", "two-sided"):
        lower = (1 + torch.searchsorted(columns, queries, right=True)).double() / (n + 1)
    if tail == "upper":
        p = upper
    elif tail == "lower":
        p = lower
    elif tail == "two-sided":
        p = (2 * torch.minimum(upper, lower)).clamp(max=1.0)
    else:
        raise CalibrationError(f"tail: expected 'upper', 'lower' or 'two-sided', got {tail!r}")
    return torch.where(torch.isfinite(queries), p, 0.0).T.reshape(scores.shape)


def steps(n: int) -> Tensor:
    """The p-value ``(n + 1,)`` of a score that 0, 1, ... n of n normal scores fall short of.

    Examples
    --------
    >>> steps(3).tolist()
    [1.0, 0.75, 0.5, 0.25]
    """
    return (1 + n - torch.arange(n + 1, device="cpu")).double() / (n + 1)


def conformal_threshold(scores: Tensor, alpha: float = 0.05) -> float:
    """Threshold that a new normal score exceeds with probability at most ``alpha``.

    The k-th smallest of n scores with ``k = ceil((1 - alpha) (n + 1))``; the alarm
    ``score > threshold`` is the same decision as ``p <= alpha``. Given the calibration set, the
    realised rate follows Beta(n + 1 - k, k): it scatters around alpha, less so for large n.

    Parameters
    ----------
    scores : Tensor, shape (n,)
        Finite scores of normal samples that were not used to fit the score.
    alpha : float
        False-alarm rate to promise, between 0 and 1.

    Raises
    ------
    CalibrationError
        If n < 1 / alpha - 1: such a small set cannot support the promise.

    Examples
    --------
    >>> conformal_threshold(torch.arange(1.0, 20.0), alpha=0.10)  # n = 19, k = 18
    18.0
    """
    scores = calibration_scores(scores).flatten()
    n, needed = len(scores), required_samples(alpha)
    if n < needed:
        raise CalibrationError(
            f"scores: {n} calibration samples cannot support a false-alarm rate of {alpha:g}; "
            f"at least {needed} are needed (1 / alpha - 1), or choose alpha >= {1 / (n + 1):.3g}"
        )
    k = math.ceil((1 - alpha) * (n + 1) - 1e-9)
    return float(scores.sort().values[k - 1])


def quantile_threshold(scores: Tensor, alpha: float = 0.05) -> float:
    """Empirical ``1 - alpha`` quantile, linearly interpolated: the textbook plug-in rule.

    It ignores that the new sample is not among the n: on average it is exceeded with a
    probability above alpha, by up to about 1 / n.

    Examples
    --------
    >>> quantile_threshold(torch.arange(1.0, 12.0), alpha=0.10)
    10.0
    """
    scores = calibration_scores(scores).flatten()
    return float(torch.quantile(scores, 1 - _check_alpha(alpha)))


def iqr_threshold(scores: Tensor, factor: float = 1.5) -> float:
    """Tukey's upper fence ``Q3 + factor (Q3 - Q1)`` (Tukey 1977).

    It states no false-alarm rate: a normal distribution exceeds it in 0.35 % of cases, an
    exponential one in 4.8 %.

    Examples
    --------
    >>> iqr_threshold(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))  # 4 + 1.5 (4 - 2)
    7.0
    """
    if not factor >= 0:
        raise CalibrationError(f"factor: expected a number >= 0, got {factor!r}")
    scores = calibration_scores(scores).flatten()
    first, third = (float(torch.quantile(scores, q)) for q in (0.25, 0.75))
    return third + factor * (third - first)


def fisher_statistic(p_values: Tensor) -> Tensor:
    """``-2 sum_k log p_k`` over the last axis; larger is more unusual, infinite where a p is 0.

    Dependent layers make its textbook chi-squared law wrong, so compare it with its own values on
    normal data (`conformal_p_values`) instead.

    Examples
    --------
    >>> fisher_statistic(torch.tensor([[0.5, 0.5], [0.01, 0.1]])).round(decimals=2).tolist()
    [2.77, 13.82]
    """
    if not isinstance(p_values, Tensor):
        p_values = torch.as_tensor(p_values, device="cpu")
    return -2 * p_values.double().log().sum(dim=-1)


def combine_p_values(
    p_values: Tensor, method: Literal["fisher", "simes", "bonferroni", "max"] = "simes"
) -> Tensor:
    """One p-value from K, along the last axis.

    ============ ============================================ ==================================
    method       formula                                      valid when
    ============ ============================================ ==================================
    fisher       P(chi2_2K >= -2 sum log p)                   the K are independent (Fisher 1925)
    simes        min_k K p_(k) / k                            independent or positively dependent
    bonferroni   min(1, K min p)                              always
    max          max_k p_k                                    always, for "all K are unusual"
    ============ ============================================ ==================================

    Parameters
    ----------
    p_values : Tensor, shape (..., K)
        In [0, 1].

    Returns
    -------
    Tensor, shape (...), float64.

    Raises
    ------
    CalibrationError
        For values outside [0, 1], NaN, K = 0 or an unknown method.

    Examples
    --------
    >>> combine_p_values(torch.tensor([0.01, 0.04, 0.9]), method="simes")  # min(.03, .06, .9)
    tensor(0.0300, dtype=torch.float64)
    """
    p = torch.as_tensor(p_values, device="cpu").detach().to("cpu", torch.float64)
    if p.ndim == 0 or p.shape[-1] == 0 or not bool(((p >= 0) & (p <= 1)).all()):
        raise CalibrationError(
            f"p_values: expected numbers in [0, 1] of shape (..., K) with K >= 1, got shape "
            f"{tuple(p.shape)}"
            + (f", range {float(p.min()):g} to {float(p.max()):g}" if p.numel() else "")
        )
    k = p.shape[-1]
    if method == "fisher":
        half = fisher_statistic(p) / 2
        tail = torch.special.gammaincc(torch.full_like(half, float(k)), half.clamp(max=1e300))
        return torch.where(torch.isinf(half), 0.0, tail)
    if method == "simes":
        ranks = torch.arange(1, k + 1, dtype=torch.float64, device="cpu")
        return (k * p.sort(dim=-1).values / ranks).amin(dim=-1).clamp(max=1.0)
    if method == "bonferroni":
        return (k * p.amin(dim=-1)).clamp(max=1.0)
    if method == "max":
        return p.amax(dim=-1)
    raise CalibrationError(
        f"method: expected 'fisher', 'simes', 'bonferroni' or 'max', got {method!r}"
    )


def flagged_count_p_value(
    n_flagged: int, n_samples: int, n_calibration: int, alpha: float
) -> float:
    """Probability that at least this many of ``n_samples`` normal samples are flagged.

    All samples share one threshold, so their number is not binomial but beta-binomial:
    ``P(K >= k)`` with ``K | q ~ Binomial(N, q)``, ``q ~ Beta(a, n + 1 - a)`` and
    ``a = floor(alpha (n + 1))``; exact for exchangeable scores without ties.

    Examples
    --------
    One sample: the rate of the threshold itself.

    >>> round(flagged_count_p_value(1, 1, n_calibration=99, alpha=0.05), 12)
    0.05
    >>> flagged_count_p_value(0, 64, n_calibration=99, alpha=0.05)
    1.0
    """
    a = math.floor(_check_alpha(alpha) * (n_calibration + 1) + 1e-9)
    b = n_calibration + 1 - a
    if n_flagged <= 0:
        return 1.0
    if a == 0:
        return 0.0

    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    def term(k: int) -> float:
        choose = -math.log(n_samples + 1) - log_beta(n_samples - k + 1, k + 1)
        return math.exp(choose + log_beta(k + a, n_samples - k + b) - log_beta(a, b))

    return min(1.0, math.fsum(term(k) for k in range(n_flagged, n_samples + 1)))
