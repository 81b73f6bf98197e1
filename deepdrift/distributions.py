"""The two distribution functions that thresholds need: Beta and Student t, without SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function ``I_x(a, b)``, relative error below 1e-10.

    Continued fraction 8.17.22 of the NIST Digital Library of Mathematical Functions, evaluated
    by Lentz's method on the side of the mean where it converges fast.

    Examples
    --------
    >>> round(beta_cdf(0.5, 2.0, 3.0), 12)  # 11 / 16
    0.6875
    """
    if x <= 0.0 or x >= 1.0:
        return float(x > 0.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta_cdf(1.0 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b)
    front = math.exp(log_front - math.lgamma(a) - math.lgamma(b)) / a
    fraction, upper, lower = 1.0, 1.0, 0.0
    for i in range(10_000):
        m = i // 2
        if i == 0:
            term = 1.0
        elif i % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        lower = 1.0 / ((1.0 + term * lower) or 1e-300)
        upper = (1.0 + term / upper) or 1e-300
        fraction *= upper * lower
        if i and abs(upper * lower - 1.0) < 1e-15:
            break
    return front * (fraction - 1.0)


def _bisect(cdf: Callable[[float], float], target: float, low: float, high: float) -> float:
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if cdf(middle) < target else (low, middle)
    return 0.5 * (low + high)


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Inverse of `beta_cdf` in its first argument, by bisection.

    Examples
    --------
    >>> round(beta_quantile(0.6875, 2.0, 3.0), 10)
    0.5
    """
    return _bisect(lambda x: beta_cdf(x, a, b), probability, 0.0, 1.0)


def t_upper_tail(t: float, df: int) -> float:
    """``P(T > t)`` for Student's t with ``df`` degrees of freedom.

    Examples
    --------
    >>> round(t_upper_tail(1.0, 1), 12)  # Cauchy: 1/2 - atan(1) / pi
    0.25
    """
    tail = 0.5 * beta_cdf(df / (df + t * t), df / 2.0, 0.5)
    return tail if t >= 0 else 1.0 - tail


@lru_cache(maxsize=256)
def t_quantile(confidence: float, df: int) -> float:
    """One-sided quantile of Student's t: ``P(T <= t) = confidence``, for confidence >= 0.5.

    Examples
    --------
    >>> round(t_quantile(0.75, 1), 10), round(t_quantile(0.99, 18), 3)
    (1.0, 2.552)
    """
    top = 1.0
    while t_upper_tail(top, df) > 1.0 - confidence:
        top *= 2.0
    return _bisect(lambda t: -t_upper_tail(t, df), confidence - 1.0, 0.0, top)
