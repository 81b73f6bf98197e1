"""The alarm state machine: from a calibrated number per step to an alarm people trust.

============ ======================================= ==========================================
state        entered when                            left when
============ ======================================= ==========================================
NORMAL       the stream starts, or recovers          -
WARNING      the early-warning statistic fires       it has let go *and* |value| <= theta_low, for
                                                     ``clear_after`` values running: to NORMAL
ALERT        |value| >= theta_high, for              |value| <= theta_low, for ``clear_after``
             ``raise_after`` values running          values running: to NORMAL, never to WARNING
INVALID      a value is NaN or infinite              a finite value comes: to the state that the
                                                     history of finite values implies
============ ======================================= ==========================================

In the words of Prometheus: between the first value above theta_high and the ``raise_after``-th
the alert is *pending*, then it is *firing*; ``raise_after`` is ``for``, ``clear_after`` is
``keep_firing_for``. Two thresholds (a Schmitt trigger) keep it from flapping; between them nothing
ends, so a plateau just below theta_high stays WARNING until it comes down. A value can be too
ordinary: at -theta_high as at theta_high; with ``two_sided=False`` the value itself stands for
|value|. Every return to NORMAL clears the window: what has been reported and is over is not
reported twice.

Readings may be numbered 0, 1, 2, ... or by iteration or by time: gaps and slopes count in typical
steps of the stream (`deepdrift.alarms.steps`).

The early-warning statistic is the least-squares slope over the last ``window_size`` values, steeper
than theta_slope and significant, that leads away from zero: up while the newest value is positive,
down while it is negative (a way back is no warning). One-sided it must go up. Or it is EWMA, CUSUM
or Page-Hinkley (`deepdrift.alarms.sequential`), for either side. It fires at its level and lets go
below ``warning_release`` times that level.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from deepdrift.alarms.config import (
    _ALERT,
    _NORMAL,
    _WARNING,
    INVALID,
    STATES,
    ObserverConfig,
    ObserverError,
    State,
)
from deepdrift.alarms.events import Event, Step
from deepdrift.alarms.sequential import WindowSlope
from deepdrift.alarms.steps import NUMBERS, Pace, as_step, is_missing


class Machine:
    """States and transitions, shared by the observer and the replay; statistics stay outside."""

    __slots__ = (
        "bottom", "calm", "causes", "clear_after", "config", "floor", "fresh", "high", "high_run",
        "low", "need", "raise_after", "shown", "state",
    )  # fmt: skip

    def __init__(self, config: ObserverConfig) -> None:
        self.config = config
        self.high, self.low = float(config.theta_high), float(config.theta_low)
        both = config.two_sided
        self.floor, self.bottom = (-self.high, -self.low) if both else (-math.inf, -math.inf)
        self.raise_after, self.clear_after = config.raise_after, config.clear_after
        early = "rapid drift" if config.detector == "slope" else "sustained drift"
        self.causes = ("recovered", early, "threshold breach")
        # values after a clearing before the early warning counts
        self.need = 1 if config.detector in ("ewma", "cusum") else config.window_size
        self.state = self.shown = _NORMAL
        self.clear()

    def clear(self) -> None:
        """Forget what was counted, as after a recovery."""
        self.fresh = self.high_run = self.calm = 0

    def observe(self, value: float, fires: bool, holds: bool) -> bool:
        """Take in a finite value (``fresh`` counts it already); returns whether it recovered."""
        state = self.state
        self.high_run = self.high_run + 1 if value >= self.high or value <= self.floor else 0
        if state != _ALERT and self.high_run >= self.raise_after:
            state, self.calm = _ALERT, 0
        elif state == _NORMAL:
            if fires and self.fresh >= self.need:
                state, self.calm = _WARNING, 0
        else:
            high = self.high_run > 0  # also where both thresholds are the same number
            calm = self.bottom <= value <= self.low and not high and (state == _ALERT or not holds)
            self.calm = self.calm + 1 if calm else 0
            if self.calm >= self.clear_after:
                self.state = self.shown = _NORMAL
                self.clear()
                return True
        self.state = self.shown = state
        return False

    def event(
        self,
        step: float,
        name: str,
        before: tuple[int, int],
        value: float,
        slope: float,
        statistic: float,
    ) -> Event:
        """Describe the change from ``before`` (state, shown) to now."""
        if self.shown == INVALID:
            cause = "invalid value"
        elif self.state == before[0]:
            cause = "finite again"
        else:
            cause = self.causes[self.state]
            if self.state == _ALERT and value <= self.floor:
                cause = "unusually ordinary"
        shown, previous = STATES[self.shown], STATES[before[1]]
        return Event(step, name, shown, previous, cause, value, slope, statistic, self.config)


class DriftObserver:
    """Watches one series of calibrated values, one value per step; logs its events.

    A missing value (``update(None)``, or a step number left out) changes nothing but the time;
    NaN and infinity are INVALID at once, enter no statistic and interrupt a recovery. After more
    than ``window_size`` typical steps (`deepdrift.alarms.steps`) without a finite value the
    statistics and counts start afresh; the state stays until values say otherwise. Amortised O(1)
    per update. One observer belongs to one thread at a time.

    Parameters
    ----------
    config : ObserverConfig, optional
    name : str
        Of the series, for the events.
    max_events : int
        How many of the latest events to keep.

    Examples
    --------
    >>> observer = DriftObserver(ObserverConfig(theta_high=3.0, theta_low=1.5), name="layer4")
    >>> for value in (0.5, 3.2, 2.0, 1.2, float("nan")):
    ...     _ = observer.update(value)
    >>> for event in observer.events:
    ...     print(event.step, event)
    1 ALERT [layer4]: threshold breach (3.2 >= 3.0)
    3 NORMAL [layer4]: recovered (1.2 <= 1.5)
    4 INVALID [layer4]: value is nan
    """

    __slots__ = (
        "_both", "_chart", "_kind", "_level", "_line", "_machine", "_pace", "_release",
        "_theta_slope", "_window", "config", "events", "name", "__weakref__",
    )  # fmt: skip

    def __init__(
        self, config: ObserverConfig | None = None, name: str = "", max_events: int = 1000
    ) -> None:
        self.config = ObserverConfig() if config is None else config
        self.name = name
        self.events: deque[Event] = deque(maxlen=max_events)
        self.reset()

    def reset(self) -> None:
        """Start anew: NORMAL, no history, no events."""
        config = self.config
        self._machine = Machine(config)
        self._line = WindowSlope(config.window_size)
        self._chart, self._both = config.chart(), config.two_sided
        self._level = config.warning_level
        self._release = self._level * config.warning_release
        self._theta_slope, self._window = config.theta_slope, config.window_size
        self._pace = Pace(config.window_size)
        self._kind = ""  # of the steps: numbers, or times with or without a zone
        self.events.clear()

    @property
    def state(self) -> State:
        """Present state."""
        return STATES[self._machine.shown]

    @property
    def last_step(self) -> float | None:
        """Step of the last update; None before the first."""
        return self._pace.last

    @property
    def typical_step(self) -> float:
        """Typical distance of two updates, in the unit of the steps; 0 if not known yet."""
        return self._pace.typical

    @property
    def pending(self) -> int:
        """Values running beyond theta_high, on either side, while an ALERT is not raised yet."""
        return 0 if self._machine.state == _ALERT else self._machine.high_run

    def __repr__(self) -> str:
        return f"DriftObserver({self.name!r}, {self.state}, last step {self.last_step})"

    def update(self, value: float | None, step: Any = None) -> Step:
        """Take in the value of one step.

        Parameters
        ----------
        value : float or None
            Calibrated value; None (or pandas' NA) if there is none.
        step : int, float, datetime, pandas Timestamp or numpy datetime64, optional
            Larger than the last and of the same kind; by default the last number plus one, from
            0. Times count in seconds since 1970.

        Raises
        ------
        ObserverError
            If the step does not increase or is not finite, or the value is no number. Nothing has
            moved then.
        """
        pace, machine, nan = self._pace, self._machine, math.nan
        step, kind = self._next_step(step)
        before = (machine.state, machine.shown)
        if value is None or is_missing(value):
            self._kind = kind
            pace.advance(step, False)
            state = STATES[machine.shown]
            return Step(step, None, state, state, nan, nan, nan, None)
        try:
            value = float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ObserverError(f"value: expected one number or None, got {value!r}") from error
        self._kind = kind
        if value - value != 0.0:  # NaN or infinite
            pace.advance(step, False)
            machine.shown, machine.calm = INVALID, 0
            slope = slope_error = statistic = nan
        else:
            chart = self._chart
            if pace.advance(step, True):
                machine.clear()
                self._line.reset()
                if chart is not None:
                    chart.reset()
            slope, slope_error, ratio = self._line.update(step, value)
            machine.fresh += 1
            if machine.fresh < self._window:
                slope = slope_error = ratio = nan
            elif pace.typical != 1:
                slope, slope_error = slope * pace.typical, slope_error * pace.typical
            if chart is None:
                statistic, floor = ratio, self._theta_slope
                away, outward = ratio, slope  # from zero
                if value < 0.0 and self._both:
                    away, outward = -ratio, -slope
                fires = away >= self._level and outward > floor
                holds = away >= self._release and outward > floor * self.config.warning_release
                machine.observe(value, fires, holds)
            else:
                statistic = chart.update(value)
                size = abs(statistic) if self._both else statistic
                if machine.observe(value, size >= self._level, size >= self._release):
                    chart.reset()
        event = None
        if machine.shown != before[1]:
            event = machine.event(step, self.name, before, value, slope, statistic)
            self.events.append(event)
            event.log()
        return Step(
            step, value, STATES[machine.shown], STATES[before[1]], slope, slope_error, statistic,
            event,
        )  # fmt: skip

    def _next_step(self, given: Any) -> tuple[int | float, str]:
        """The step of an update, checked, and its kind."""
        last, known = self._pace.last, self._kind
        if given is None:
            if known and known != NUMBERS:
                raise ObserverError(f"step: this stream counts in {known}, so pass one each time")
            step, kind = (0 if last is None else last + 1), NUMBERS
        else:
            step, kind = as_step(given)
            if known and kind != known:
                raise ObserverError(
                    f"step: expected {known}, as before in this stream, got {kind}; convert them "
                    "to one kind, or call reset() to start a new series"
                )
        if not math.isfinite(step) or (last is not None and step <= last):
            raise ObserverError(
                f"step: expected a finite number larger than the last step ({last}), got "
                f"{step if given is None else given}; call reset() to start a new series"
            )
        return step, kind
