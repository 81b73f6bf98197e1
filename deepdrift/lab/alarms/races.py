"""A race of detectors: delay against false alarms, every threshold at once, on the same streams.

A detector turns a stream into a growing claim, one number per step, and raises its first alarm
where the claim reaches its level. Its running maximum gives the first alarm for every level in one
go. The rivals of ``river`` hide their statistic; they are run once per setting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepdrift.alarms.sequential import Cusum, Ewma, PageHinkley, window_slopes
from deepdrift.errors import DeepDriftError, require
from deepdrift.lab.bench.evaluation import Estimate

Array = NDArray[np.float64]
FirstAlarms = Callable[[Array], NDArray[np.int64]]  # stream (T,) -> first step per level (K,)


class RaceError(DeepDriftError, ValueError):
    """A race that cannot be run or read."""


def first_crossings(claims: ArrayLike, levels: ArrayLike) -> NDArray[np.int64]:
    """First step at which the claims reach each level; the number of steps where they never do.

    Examples
    --------
    >>> first_crossings([0.0, 2.0, 1.0, 3.0], [1.5, 3.0, 9.0]).tolist()
    [1, 3, 4]
    """
    return np.searchsorted(np.maximum.accumulate(np.asarray(claims, float)), levels, side="left")


def _chart(make: Callable[[], Any], silent: int = 0) -> Callable[[Array], Array]:
    def claims(values: Array) -> Array:
        chart = make()
        out = np.array([chart.update(x) for x in values.tolist()])
        out[:silent] = -math.inf
        return out

    return claims


def _slope(window: int) -> Callable[[Array], Array]:
    def claims(values: Array) -> Array:
        ratio = window_slopes(np.arange(len(values)), values, window)[2]
        return np.where(np.isnan(ratio), -math.inf, ratio)

    return claims


def _dwell(length: int) -> Callable[[Array], Array]:
    def claims(values: Array) -> Array:
        lowest = np.lib.stride_tricks.sliding_window_view(values, length).min(axis=1)
        return np.concatenate([np.full(length - 1, -math.inf), lowest])

    return claims


#: Our detectors: name -> (stream -> claims, levels to sweep).
OURS: dict[str, tuple[Callable[[Array], Array], Array]] = {
    "threshold": (lambda values: values, np.linspace(1.6, 4.2, 27)),
    "slope, 20 steps": (_slope(20), np.linspace(1.2, 6.5, 27)),
    "dwell, 3 steps": (_dwell(3), np.linspace(0.3, 2.4, 22)),
    "EWMA 0.2": (_chart(lambda: Ewma(0.2)), np.linspace(1.4, 4.4, 31)),
    "CUSUM 0.5": (_chart(lambda: Cusum(0.5)), np.linspace(1.0, 9.0, 33)),
    "Page-Hinkley": (_chart(lambda: PageHinkley(0.5), silent=19), np.linspace(1.0, 9.0, 33)),
}


def _rival(make: Callable[[float], Any], settings: Sequence[float]) -> FirstAlarms:
    def first_alarm(setting: float, numbers: list[float]) -> int:
        detector = make(setting)
        for step, value in enumerate(numbers):
            detector.update(value)
            if detector.drift_detected:
                return step
        return len(numbers)

    def first(values: Array) -> NDArray[np.int64]:
        return np.array([first_alarm(setting, values.tolist()) for setting in settings])

    return first


def detectors(rivals: bool = True) -> dict[str, tuple[FirstAlarms, Array]]:
    """All detectors: name -> (stream -> first alarm per setting, the settings swept).

    ``river``'s Page-Hinkley looks upwards with the slack of ours (its ``delta``); ADWIN tests after
    every value (``clock=1``; its default of 32 can only be slower). For ADWIN the setting is its
    ``delta``, for all others a level.
    """
    found: dict[str, tuple[FirstAlarms, Array]] = {
        name: (lambda values, f=claims, k=levels: first_crossings(f(values), k), levels)
        for name, (claims, levels) in OURS.items()
    }
    if rivals:
        drift = require("river.drift", "lab")
        levels = np.array([1.5, 2.5, 3.5, 4.5, 6.0, 8.0])
        deltas = np.array([0.0002, 0.002, 0.02, 0.1, 0.3, 0.7, 0.95])
        found["river Page-Hinkley"] = _rival(
            lambda level: drift.PageHinkley(
                min_instances=20, delta=0.5, threshold=level, alpha=1.0, mode="up"
            ),
            levels,
        ), levels  # fmt: skip
        found["river ADWIN"] = _rival(lambda d: drift.ADWIN(delta=d, clock=1), deltas), deltas
    return found


@dataclass(frozen=True, eq=False)
class Curve:
    """What one detector does, one entry per level (K,).

    Attributes
    ----------
    levels : ndarray
    rate : ndarray
        False alarms per 1,000 normal steps until the first one.
    delay, delay_low, delay_high : ndarray
        Mean steps from the onset to the first alarm, with 95 % interval; a stream in which none
        comes counts with all its steps. Streams with an earlier (false) alarm are left out.
    missed : ndarray
        Share of those streams without an alarm.
    """

    levels: Array
    rate: Array
    delay: Array
    delay_low: Array
    delay_high: Array
    missed: Array

    def at_rate(self, per_1000: float) -> tuple[float, float, float, float]:
        """Delay, its interval, and share missed, interpolated at a rate of false alarms.

        Raises
        ------
        RaceError
            If the swept levels do not reach the rate from both sides.
        """
        seen = np.flatnonzero((self.rate > 0) & np.isfinite(self.delay))
        order = seen[np.argsort(self.rate[seen], kind="stable")]
        x = np.log(self.rate[order])
        if not len(x) or not x[0] <= math.log(per_1000) <= x[-1]:
            raise RaceError(f"per_1000: the swept levels do not span {per_1000:g} per 1,000 steps")
        rows = (self.delay, self.delay_low, self.delay_high, self.missed)
        return tuple(float(np.interp(math.log(per_1000), x, row[order])) for row in rows)


def curve(levels: Array, normal: ArrayLike, n_normal: int, changed: ArrayLike, onset: int,
          n_changed: int) -> Curve:  # fmt: skip
    """First alarms on normal and on changed streams -> what the detector does.

    Parameters
    ----------
    normal, changed : array, shapes (streams, K)
        First alarm of each stream per level; the stream's length where there is none.
    n_normal, n_changed : int
        Steps of those streams.

    Examples
    --------
    >>> c = curve(np.array([3.0]), [[99], [100]], 100, [[12], [20], [5]], onset=10, n_changed=20)
    >>> float(c.rate[0]), float(c.delay[0]), float(c.missed[0])  # 1 alarm in 200 steps
    (5.0, 6.0, 0.5)
    """
    normal, changed = np.atleast_2d(normal), np.atleast_2d(changed)
    alarms = (normal < n_normal).sum(axis=0)
    watched = np.minimum(normal + 1, n_normal).sum(axis=0)
    rate = 1000 * alarms / watched
    fair = changed >= onset
    with np.errstate(invalid="ignore", divide="ignore"):
        n = np.where(fair.sum(axis=0) > 0, fair.sum(axis=0), np.nan)
        wait = np.where(fair, changed - onset, 0)
        mean = wait.sum(axis=0) / n
        variance = (np.where(fair, (wait - mean) ** 2, 0)).sum(axis=0) / np.maximum(n - 1, 1)
        half = 1.96 * np.sqrt(variance / n)
        missed = (changed == n_changed).sum(axis=0) / n
    return Curve(np.asarray(levels), rate, mean, np.maximum(mean - half, 0), mean + half, missed)


def race(
    normal: Array,
    changed_by_shift: Mapping[str, Array],
    onset: int,
    entrants: Mapping[str, tuple[FirstAlarms, Array]] | None = None,
) -> dict[str, dict[str, Curve]]:
    """Run all detectors over the same streams.

    Parameters
    ----------
    normal : array, shape (streams, T)
    changed_by_shift : mapping of str to array, shape (streams, T')
        Streams that shift at ``onset``.

    Returns
    -------
    dict
        Shift -> detector -> `Curve`.
    """
    entrants = detectors() if entrants is None else entrants
    out: dict[str, dict[str, Curve]] = {shift: {} for shift in changed_by_shift}
    for name, (first, levels) in entrants.items():
        false = np.stack([first(s) for s in normal])
        for shift, streams in changed_by_shift.items():
            true = np.stack([first(s) for s in streams])
            out[shift][name] = curve(levels, false, normal.shape[1], true, onset, streams.shape[1])
    return out


def delay_table(result: Mapping[str, Mapping[str, Curve]], per_1000: float) -> str:
    """Mean delays at one rate of false alarms as text: detectors below, shifts across.

    Parameters
    ----------
    result : mapping of str to mapping of str to Curve
        Of `race`.
    per_1000 : float
        False alarms per 1,000 normal steps.
    """

    def cell(curve: Curve) -> str:
        try:
            delay, low, high, _ = curve.at_rate(per_1000)
        except RaceError:
            return f"at most {curve.rate.max():.1f}" if curve.rate.max() < per_1000 else "-"
        return f"{delay:.0f} [{low:.0f}, {high:.0f}]"

    names = list(next(iter(result.values())))
    rows = [["", *result], *([name, *(cell(c[name]) for c in result.values())] for name in names)]
    return "\n".join(f"{row[0]:<20}" + "".join(f"{x:>15}" for x in row[1:]) for row in rows)


def delay_difference(
    curves: Mapping[str, Curve],
    changed: Array,
    onset: int,
    name: str,
    rival: str,
    per_1000: float,
) -> Estimate:
    """Mean delay of one of our detectors minus that of another, stream by stream.

    Each runs at the lowest of its levels that keeps the rate of false alarms.

    Parameters
    ----------
    curves : mapping of str to Curve
        Of `race` for one kind of shift; the levels and their rates are read from here.
    changed : array, shape (streams, T)
        Streams that shift at ``onset``; those with an earlier alarm of either are left out.

    Returns
    -------
    Estimate
        In steps, with a 95 % interval (normal approximation); negative means earlier.

    Raises
    ------
    RaceError
        If a detector has no level that keeps the rate, or fewer than two streams are left.
    """
    first = []
    for entrant in (name, rival):
        kept = curves[entrant].levels[curves[entrant].rate <= per_1000]
        if not len(kept):
            raise RaceError(f"per_1000: no level of {entrant} keeps {per_1000:g} per 1,000 steps")
        claims = OURS[entrant][0]
        first.append(np.array([first_crossings(claims(s), [kept.min()])[0] for s in changed]))
    fair = (first[0] >= onset) & (first[1] >= onset)
    gaps = (first[0] - first[1])[fair]
    if len(gaps) < 2:
        raise RaceError("changed: expected at least two streams without an alarm before the onset")
    half = 1.96 * gaps.std(ddof=1) / math.sqrt(len(gaps))
    mean = float(gaps.mean())
    return Estimate(mean, mean - half, mean + half, len(gaps), len(gaps))
