"""Replay a recorded stream through the state machine: the same states, much faster."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.alarms.config import INVALID, STATES, ObserverConfig, ObserverError, State
from deepdrift.alarms.events import Event
from deepdrift.alarms.fsm import Machine
from deepdrift.alarms.sequential import window_slopes
from deepdrift.alarms.steps import as_steps, is_missing, paced


@dataclass(frozen=True, eq=False)
class Trace:
    """A recorded stream as the state machine saw it; arrays have one entry per step.

    Attributes
    ----------
    steps, values : ndarray, shape (n,)
        Step numbers (times in seconds); values as float64, NaN where missing.
    states : ndarray of str, shape (n,)
        Names of the states; ``trace.states == State.ALERT`` is a mask.
    slopes, slope_errors, statistics : ndarray, shape (n,)
        As in `Step`.
    events : tuple of Event
    """

    steps: NDArray[Any]
    values: NDArray[np.float64]
    states: NDArray[np.str_]
    slopes: NDArray[np.float64]
    slope_errors: NDArray[np.float64]
    statistics: NDArray[np.float64]
    events: tuple[Event, ...]

    def share(self, state: State | str) -> float:
        """Share of the steps spent in a state."""
        return float((self.states == State(state)).mean())

    def onsets(self, state: State | str) -> NDArray[Any]:
        """Steps at which a state was entered; coming back from INVALID does not count."""
        again = "finite again"
        return np.array([e.step for e in self.events if e.state == state and e.cause != again])

    def __str__(self) -> str:
        counts = ", ".join(f"{len(self.onsets(s))} x {s}" for s in STATES[1:])
        return f"{len(self.values)} steps: {counts}; ends {self.states[-1]}."


def _stream(values: Iterable[Any], steps: Any) -> tuple[NDArray, NDArray, NDArray]:
    """Values as float64, which of them are missing, and checked step numbers."""
    missing = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    if not isinstance(values, np.ndarray) or values.dtype == object or missing is not None:
        values = list(values)
        missing = np.array([is_missing(v) for v in values], dtype=bool)
        numbers = np.full(len(values), math.nan)
        for i, value in enumerate(values):
            try:
                numbers[i] = math.nan if missing[i] else float(value)
            except (TypeError, ValueError, RuntimeError) as error:
                raise ObserverError(
                    f"values: expected numbers or None, got {value!r} at position {i}"
                ) from error
        values = numbers
    elif values.dtype.kind in "biuf":
        missing = np.zeros(len(values) if values.ndim else 0, dtype=bool)
        values = values.astype(np.float64)
    else:
        raise ObserverError(f"values: expected numbers or None, got an array of {values.dtype}")
    if values.ndim != 1 or len(values) == 0:
        raise ObserverError(
            f"values: expected one series with at least 1 value, got shape {values.shape}"
        )
    return values, missing, as_steps(steps, len(values))


def replay(
    values: Iterable[float | None] | NDArray[Any],
    config: ObserverConfig | None = None,
    steps: Any = None,
    name: str = "",
) -> Trace:
    """Run a recorded stream through the state machine: what `DriftObserver` would have said.

    States, numbers and events are exactly those of step-by-step updates; slopes are computed for
    all windows at once, so that a slider can re-run thousands of steps while it moves.

    Parameters
    ----------
    values : sequence of float or None, length n
        None (also pandas' NA, or a masked entry) is a missing value, NaN and infinity are invalid
        ones.
    steps : array of int, float, datetime64, datetime or pandas Timestamp, shape (n,), optional
        Increasing, of one kind; 0, 1, ... by default. Times count in seconds since 1970.

    Raises
    ------
    ObserverError
        For an empty stream, a value that is no number, or steps that do not increase or do not
        match.

    Examples
    --------
    >>> trace = replay([0.5, 3.2, 2.0, 1.2], ObserverConfig(theta_high=3.0, theta_low=1.5))
    >>> trace.states.tolist()
    ['NORMAL', 'ALERT', 'ALERT', 'NORMAL']
    >>> print(trace)
    4 steps: 0 x WARNING, 1 x ALERT, 0 x INVALID; ends NORMAL.
    """
    config = ObserverConfig() if config is None else config
    values, missing, number = _stream(values, steps)
    window, n = config.window_size, len(values)
    finite = np.isfinite(values)
    seen = np.flatnonzero(finite)
    afresh, typical = paced(number, finite, window)
    lines = np.full((3, n), math.nan)
    for part in np.split(seen, np.flatnonzero(afresh[seen])):  # a new window after a long gap
        lines[:, part] = window_slopes(number[part], values[part], window)
    lines[:2] *= typical

    machine = Machine(config)
    level, share = config.warning_level, config.warning_release
    chart = config.chart()
    with np.errstate(invalid="ignore"):
        floor = config.theta_slope
        away = (
            np.where(values < 0, -1.0, 1.0) * lines[[0, 2]] if config.two_sided else lines[[0, 2]]
        )
        fires = ((away[1] >= level) & (away[0] > floor)).tolist()
        holds = ((away[1] >= level * share) & (away[0] > floor * share)).tolist()
    release = level * share
    codes, fresh, chart_values = [0] * n, [0] * n, [math.nan] * n
    changes = []
    columns = zip(values.tolist(), finite.tolist(), missing.tolist(), afresh.tolist(), strict=True)
    for i, (value, good, absent, new) in enumerate(columns):
        before = machine.state, machine.shown
        if good:
            if new:
                machine.clear()
                if chart is not None:
                    chart.reset()
            machine.fresh += 1
            fresh[i] = machine.fresh
            if chart is None:
                # until the window is full again, the slope neither fires nor holds
                ready = machine.fresh >= window
                machine.observe(value, ready and fires[i], ready and holds[i])
            else:
                statistic = chart_values[i] = chart.update(value)
                size = abs(statistic) if config.two_sided else statistic
                if machine.observe(value, size >= level, size >= release):
                    chart.reset()
        elif not absent:
            machine.shown, machine.calm = INVALID, 0
        codes[i] = machine.shown
        if machine.shown != before[1]:
            slope, _, statistic = lines[:, i].tolist() if fresh[i] >= window else (math.nan,) * 3
            if chart is not None:
                statistic = chart_values[i]
            changes.append(machine.event(number[i].item(), name, before, value, slope, statistic))
    lines[:, np.array(fresh) < window] = math.nan
    return Trace(
        steps=number,
        values=values,
        states=np.array(STATES, dtype="U7")[codes],
        slopes=lines[0],
        slope_errors=lines[1],
        statistics=lines[2] if chart is None else np.array(chart_values),
        events=tuple(changes),
    )
