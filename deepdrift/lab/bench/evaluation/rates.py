"""Rates that a threshold keeps: their exact intervals."""

from __future__ import annotations

import math

from scipy import stats

from deepdrift.errors import CalibrationError
from deepdrift.lab.bench.evaluation.estimates import Estimate, EvaluationError, check_open


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
    check_open(alpha, "alpha"), check_open(confidence, "confidence")
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
    check_open(confidence, "confidence")
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


def beta_interval(share: float, n: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson bounds for a mean ``share`` of n trials, half successes allowed."""
    k, tail = share * n, (1 - confidence) / 2
    low = stats.beta.ppf(tail, k, n - k + 1) if k > 0 else 0.0
    high = stats.beta.ppf(1 - tail, k + 1, n - k) if k < n else 1.0
    return float(low), float(high)
