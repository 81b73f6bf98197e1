"""Statistics that read a stream step by step: window slope, EWMA, CUSUM, Page-Hinkley.

The charts look upwards (larger is more unusual), `TwoSided` either way; all cost O(1) per step.
EWMA, CUSUM and Page-Hinkley expect a *standardised* stream: mean 0, standard deviation 1,
independent steps on normal data.
Autocorrelation makes each of them fire more often than the textbooks say; measure the rate
(`deepdrift.alarms.run_length.average_run_length`) or choose the level from normal streams
(`deepdrift.alarms.run_length.threshold_for_rate`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-14  # share of a sum of squares that may be rounding, not noise


class WindowSlope:
    """Least-squares slope over the last ``window`` values, with its standard error.

    The window is the end of one block of ``window`` values and the beginning of the next. Sums
    grow from a block's start (prefix) or were laid down from its end (suffix); nothing is ever
    subtracted from them, so nothing cancels, and a spike is forgotten exactly when it leaves. Both
    are taken around the previous block's last step and median. Amortised O(1) per value.

    Parameters
    ----------
    window : int
        Number of values, at least 3.

    Examples
    --------
    >>> line = WindowSlope(3)
    >>> for step, value in enumerate([0.0, 1.0, 5.0]):
    ...     slope, error, ratio = line.update(step, value)
    >>> slope, round(error, 6)  # 5 / 2, and sqrt(1.5 / 1 / 2)
    (2.5, 0.866025)
    """

    __slots__ = ("_steps", "_suffix", "_sums", "_t0", "_values", "_y0", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.reset()

    def reset(self) -> None:
        """Forget every value."""
        self._steps: list[float] = []
        self._values: list[float] = []
        self._suffix: list[tuple[float, ...]] = []
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)

    def update(self, step: float, value: float) -> tuple[float, float, float]:
        """Take in one finite value; returns slope, standard error and their ratio.

        NaN until the window is full. Steps must increase; they need not be consecutive.
        """
        place, window = len(self._steps), self.window
        if not place and not self._suffix:
            self._t0, self._y0 = step, value
        t, y = float(step - self._t0), value - self._y0
        self._steps.append(step)
        self._values.append(value)
        a, b, c, d, e = self._sums
        self._sums = (a, b, c, d, e) = (a + t, b + y, c + t * t, d + t * y, e + y * y)
        if self._suffix:
            f, g, h, i, j = self._suffix[place + 1]
            a, b, c, d, e = a + f, b + g, c + h, d + i, e + j
        if place == window - 1:
            self._close_block()
        elif not self._suffix:
            return math.nan, math.nan, math.nan
        tt, ty = c - a * a / window, d - a * b / window
        if not tt > 0.0:
            return math.nan, math.nan, math.nan
        slope = ty / tt
        rss, floor = e - b * b / window - slope * ty, _ROUNDING * e
        error = math.sqrt((rss if rss > 0.0 else 0.0) / (window - 2) / tt)
        scale = math.sqrt((rss if rss > floor else floor) / (window - 2) / tt)
        return slope, error, (slope / scale if scale > 0.0 else 0.0)

    def _close_block(self) -> None:
        self._t0, self._y0 = self._steps[-1], sorted(self._values)[self.window // 2]
        a = b = c = d = e = 0.0
        suffix = [(a, b, c, d, e)]
        for step, value in zip(reversed(self._steps), reversed(self._values), strict=True):
            t, y = float(step - self._t0), value - self._y0
            a, b, c, d, e = a + t, b + y, c + t * t, d + t * y, e + y * y
            suffix.append((a, b, c, d, e))
        self._suffix = suffix[::-1]
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)
        self._steps.clear()
        self._values.clear()


def window_slopes(steps: NDArray[Any], values: NDArray[np.float64], window: int) -> NDArray:
    """`WindowSlope` for a whole stream at once, bit for bit the same numbers.

    Returns
    -------
    ndarray, shape (3, n)
        Slope, standard error and their ratio; NaN in the first ``window - 1`` places.
    """
    n, out = len(values), np.full((3, len(values)), np.nan)
    if n < window:
        return out
    blocks = -(-n // window)
    padded_t, padded_y = (np.resize(x, blocks * window) for x in (steps, values))
    padded_t[n:], padded_y[n:] = steps[-1], values[-1]
    t, y = padded_t.reshape(blocks, window), padded_y.reshape(blocks, window)
    t0, y0 = np.empty((blocks, 1), t.dtype), np.empty((blocks, 1))
    t0[0], y0[0] = t[0, 0], y[0, 0]
    t0[1:, 0], y0[1:, 0] = t[:-1, -1], np.sort(y[:-1], axis=1)[:, window // 2]

    def sums(t: NDArray, y: NDArray) -> NDArray:
        return np.cumsum([t, y, t * t, t * y, y * y], axis=-1)

    with np.errstate(all="ignore"):
        total = sums((t - t0).astype(np.float64), y - y0)
        if blocks > 1:
            before_t = (t[:-1, ::-1] - t0[1:]).astype(np.float64)
            suffix = sums(before_t, y[:-1, ::-1] - y0[1:])[:, :, ::-1]
            total[:, 1:, :-1] += suffix[:, :, 1:]
        a, b, c, d, e = total.reshape(5, -1)[:, window - 1 : n]
        tt, ty = c - a * a / window, d - a * b / window
        slope = ty / tt
        rss, floor = e - b * b / window - slope * ty, _ROUNDING * e
        error = np.sqrt(np.where(rss > 0.0, rss, 0.0) / (window - 2) / tt)
        scale = np.sqrt(np.where(rss > floor, rss, floor) / (window - 2) / tt)
        ratio = np.where(scale > 0.0, slope / scale, 0.0)
        out[:, window - 1 :] = np.where(tt > 0.0, (slope, error, ratio), np.nan)
    return out


class Ewma:
    """Exponentially weighted mean in units of its own standard deviation (Roberts 1959).

    ``S_t = weight x_t + (1 - weight) S_{t-1}``, divided by
    ``sqrt(weight / (2 - weight) (1 - (1 - weight)^(2t)))``.

    Examples
    --------
    >>> chart = Ewma(0.5)
    >>> chart.update(1.0), round(chart.update(2.0), 4)  # 1.25 / sqrt(1/3 * 15/16)
    (1.0, 2.2361)
    """

    __slots__ = ("_decay", "_mean", "weight")

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.reset()

    def reset(self) -> None:
        """Start again from mean 0."""
        self._mean, self._decay = 0.0, 1.0

    def update(self, value: float) -> float:
        """Take in one standardised value; returns the standardised mean."""
        weight = self.weight
        keep = 1.0 - weight
        self._mean = weight * value + keep * self._mean
        self._decay *= keep * keep
        return self._mean / math.sqrt(weight / (2.0 - weight) * (1.0 - self._decay))


class Cusum:
    """Upper cumulative sum ``C_t = max(0, min(C_{t-1}, cap) + x_t - slack)`` (Page 1954).

    The sum is capped where it fires: until the first alarm this is the textbook CUSUM, after it
    the chart comes down within a few normal steps instead of paying back a long excursion.

    Examples
    --------
    >>> chart = Cusum(slack=0.5, cap=4.0)
    >>> [chart.update(x) for x in (1.0, 0.0, 2.0, 9.0, 0.0)]
    [0.5, 0.0, 1.5, 10.0, 3.5]
    """

    __slots__ = ("_sum", "cap", "slack")

    def __init__(self, slack: float, cap: float = math.inf) -> None:
        self.slack, self.cap = slack, cap
        self.reset()

    def reset(self) -> None:
        """Start again from 0."""
        self._sum = 0.0

    def update(self, value: float) -> float:
        """Take in one standardised value; returns the sum."""
        total = (self._sum if self._sum < self.cap else self.cap) + value - self.slack
        self._sum = total if total > 0.0 else 0.0
        return self._sum


class PageHinkley:
    """CUSUM around the running mean: ``m_t - min m``, ``m_t = sum(x_i - mean_i - slack)``.

    Needs no known mean (Page 1954; Hinkley 1971), and is therefore blind at the start; capped
    like `Cusum`.

    Examples
    --------
    >>> chart = PageHinkley(slack=0.5)
    >>> [chart.update(x) for x in (1.0, 3.0, 2.0, 6.0)]  # means 1, 2, 2, 3
    [0.0, 0.5, 0.0, 2.5]
    """

    __slots__ = ("_count", "_mean", "_sum", "cap", "slack")

    def __init__(self, slack: float, cap: float = math.inf) -> None:
        self.slack, self.cap = slack, cap
        self.reset()

    def reset(self) -> None:
        """Forget mean and sum."""
        self._sum = self._mean = 0.0
        self._count = 0

    def update(self, value: float) -> float:
        """Take in one value; returns the sum above its minimum."""
        self._count += 1
        self._mean += (value - self._mean) / self._count
        total = (self._sum if self._sum < self.cap else self.cap) + value - self._mean - self.slack
        self._sum = total if total > 0.0 else 0.0
        return self._sum


class TwoSided:
    """A chart and its mirror image: the larger of both, negative where the mirror image has it.

    Parameters
    ----------
    up, down : Ewma, Cusum or PageHinkley
        Two new charts of one kind; ``down`` is fed the negative values.

    Examples
    --------
    >>> chart = TwoSided(Cusum(slack=0.5), Cusum(slack=0.5))
    >>> [chart.update(x) for x in (1.0, -2.0, -2.0)]
    [0.5, -1.5, -3.0]
    """

    __slots__ = ("down", "up")

    def __init__(self, up: Any, down: Any) -> None:
        self.up, self.down = up, down

    def reset(self) -> None:
        """Start both again."""
        self.up.reset()
        self.down.reset()

    def update(self, value: float) -> float:
        """Take in one value."""
        up, down = self.up.update(value), self.down.update(-value)
        return up if up >= down else -down
