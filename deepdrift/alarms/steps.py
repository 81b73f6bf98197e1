"""Step numbers and times of a stream, and how far apart its readings typically are.

Streams are numbered 0, 1, 2, ..., or by a global step every 100, or by unix seconds every 60. A
machine that counts readings must not mind. So gaps and slopes are measured in *typical steps*: the
**lower median** of the last `KEPT` distances between readings, since the stream began or last
started afresh. It is the distance that at least half of them do not exceed; one outage moves it
little, a few left-out numbers of a consecutive stream not at all. The first distance has nothing
to be compared with and is never a gap. A distance that made the machine start afresh is not
counted, and the memory starts afresh too: a stream that slows down from every second to every
minute starts afresh once, not for ever.

Where readings arrive at random times (requests, exponential distances), a typical step is 0.7 of
the mean distance, and chance alone makes a window of 20 start afresh 0.03 times in 1,000 steps, one
of 10 4 times and one of 5 57 times; leave the step out to count readings instead.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_left, insort
from collections import deque
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.alarms.config import ObserverError

KEPT = 31
NUMBERS, NAIVE, AWARE = "numbers", "times without a time zone", "times with a time zone"

_EPOCH, _MICROSECOND = datetime(1970, 1, 1), timedelta(microseconds=1)
_LARGEST = 2**62  # so that no difference of two leaves 64 bits
_EXPECTED = "expected an int, a float, a datetime, a pandas Timestamp or a numpy datetime64"


def is_missing(value: Any) -> bool:
    """Whether a value is None, pandas' NA or a masked entry of numpy: no value, not a bad one."""
    return value is None or value is np.ma.masked or type(value).__name__ == "NAType"


def as_step(step: Any) -> tuple[int | float, str]:
    """A step as a number, and what kind of step it is; times become seconds since 1970.

    Times without a zone are read as they stand, whatever the zone of this computer. What lies
    below a microsecond is dropped. NaT becomes NaN.

    Raises
    ------
    ObserverError
        For anything else, and whole numbers from 2**62 on.

    Examples
    --------
    >>> as_step(np.int32(7)), as_step(datetime(1970, 1, 1, 0, 1))
    ((7, 'numbers'), (60.0, 'times without a time zone'))
    """
    kind, number = NUMBERS, step
    if isinstance(step, np.datetime64):
        kind, number = NAIVE, math.nan
        if not np.isnat(step):
            number = int(step.astype("datetime64[us]").astype(np.int64)) / 1e6
    elif isinstance(step, date):
        kind, number = NAIVE, math.nan
        if step == step:  # pandas' NaT is a datetime that equals nothing
            if not isinstance(step, datetime):
                step = datetime.combine(step, datetime.min.time())
            if step.tzinfo is not None:
                kind, step = AWARE, step.astimezone(UTC).replace(tzinfo=None)
            number = ((step - _EPOCH) // _MICROSECOND) / 1e6
    elif isinstance(step, bool | np.bool_ | str | bytes | timedelta | np.timedelta64):
        raise ObserverError(f"step: {_EXPECTED}, got {step!r}")
    elif type(step) is not float and type(step) is not int:
        number = _plain(step)
    if isinstance(number, int) and not -_LARGEST < number < _LARGEST:
        raise ObserverError(f"step: expected a number below 2**62, got {step!r}")
    return number, kind


def _plain(step: Any) -> int | float:
    for convert in (operator.index, float):
        try:
            return convert(step)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            continue
    raise ObserverError(f"step: {_EXPECTED}, got {step!r}")


def as_steps(steps: Any, n: int) -> NDArray[Any]:
    """`as_step` for a whole stream: increasing int64 or float64, shape (n,); None counts from 0.

    Raises
    ------
    ObserverError
        If there are not n steps of one kind, or they do not increase.

    Examples
    --------
    >>> as_steps(np.array(["1970-01-01", "1970-01-02"], "datetime64[D]"), 2).tolist()
    [0.0, 86400.0]
    """
    if steps is None:
        return np.arange(n)
    try:
        given = np.asarray(steps)
    except ValueError as error:
        raise ObserverError(f"steps: expected {n} numbers or times, one per value") from error
    if given.shape != (n,) or given.dtype.kind not in "iufMO":
        raise ObserverError(
            f"steps: expected {n} numbers or times, one per value, got shape {given.shape} of "
            f"{given.dtype}"
        )
    if given.dtype.kind == "O":
        pairs = [as_step(x) for x in given.tolist()]
        kinds = sorted({kind for _, kind in pairs})
        if len(kinds) > 1:
            raise ObserverError(f"steps: expected one kind, got {' and '.join(kinds)}; convert one")
        whole = all(isinstance(x, int) for x, _ in pairs)
        number = np.array([x for x, _ in pairs], dtype=np.int64 if whole else np.float64)
    elif given.dtype.kind == "M":
        micro = given.astype("datetime64[us]")
        number = np.where(np.isnat(given), math.nan, micro.astype(np.int64) / 1e6)
    elif given.dtype.kind == "f":
        number = given.astype(np.float64)
    else:
        for extreme in (given.min(), given.max()) if n else ():
            as_step(extreme)
        number = given.astype(np.int64)
    if not np.isfinite(number).all():
        at = int(np.flatnonzero(~np.isfinite(number))[0])
        raise ObserverError(f"steps: expected finite steps, got {given[at]} at position {at}")
    back = np.flatnonzero(number[1:] <= number[:-1])
    if len(back):
        at = int(back[0]) + 1
        raise ObserverError(
            f"steps: expected steps that increase from value to value, got {given[at]} after "
            f"{given[at - 1]} at position {at}; sort the stream, or drop repeated steps"
        )
    return number


class Pace:
    """Steps of one stream as they come: its typical step, and where it starts afresh.

    Parameters
    ----------
    window : int
        More typical steps than this without a finite value, and the stream starts afresh.

    Examples
    --------
    >>> pace = Pace(window=5)
    >>> [pace.advance(step, finite=True) for step in (0, 60, 120, 420, 721)]  # 300, then 301
    [False, False, False, False, True]
    >>> Pace(5).typical  # not known yet
    0
    """

    __slots__ = ("_ordered", "_recent", "last", "seen", "typical", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.last: float | None = None  # step of the last reading
        self.seen: float | None = None  # step of the last finite value
        self._recent: deque[float] = deque()
        self._ordered: list[float] = []
        self.typical: float = 0

    def advance(self, step: float, finite: bool) -> bool:
        """Take in the next step; returns whether counts and statistics start afresh with it."""
        last, seen = self.last, self.seen
        self.last = step
        if finite:
            self.seen = step
        if last is None:
            return False
        if finite and seen is not None and 0 < self.window * self.typical < step - seen:
            self._recent.clear()
            self._ordered.clear()
            self.typical = 0
            return True
        distance, recent, ordered = step - last, self._recent, self._ordered
        recent.append(distance)
        if len(recent) > KEPT:
            old = recent.popleft()
            if old == distance:  # the usual case: nothing changes
                return False
            del ordered[bisect_left(ordered, old)]
        insort(ordered, distance)
        self.typical = ordered[(len(ordered) - 1) // 2]
        return False


def paced(
    steps: NDArray[Any], finite: NDArray[np.bool_], window: int
) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """`Pace` for a whole stream at once: where it starts afresh, and the typical step there.

    Returns
    -------
    afresh : ndarray of bool, shape (n,)
    typical : ndarray, shape (n,)
        1 where it is not known yet.
    """
    n = len(steps)
    afresh, typical = np.zeros(n, dtype=bool), np.ones(n, dtype=steps.dtype)
    distances = np.diff(steps)
    if n < 2:
        return afresh, typical
    if (distances == distances[0]).all():
        seen = np.flatnonzero(finite)
        afresh[seen[1:]] = np.diff(steps[seen]) > window * distances[0].item()
        typical[1:] = distances[0]
        return afresh, typical
    pace = Pace(window)
    for i, (step, good) in enumerate(zip(steps.tolist(), finite.tolist(), strict=True)):
        afresh[i] = pace.advance(step, good)
        if pace.typical:
            typical[i] = pace.typical
    return afresh, typical
