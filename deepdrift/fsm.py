"""The alarm state machine: from a calibrated number per step to an alarm people trust.

============ ======================================= ==========================================
state        entered when                            left when
============ ======================================= ==========================================
NORMAL       the stream starts, or recovers          -
WARNING      the early-warning statistic fires       it has let go *and* value <= theta_low, for
                                                     ``clear_after`` values running: to NORMAL
ALERT        value >= theta_high, for                value <= theta_low, for ``clear_after``
             ``raise_after`` values running          values running: to NORMAL, never to WARNING
INVALID      a value is NaN or infinite              a finite value comes: to the state that the
                                                     history of finite values implies
============ ======================================= ==========================================

In the words of Prometheus: between the first value above theta_high and the ``raise_after``-th
the alert is *pending*, then it is *firing*; ``raise_after`` is ``for``, ``clear_after`` is
``keep_firing_for``. Two thresholds (a Schmitt trigger) keep it from flapping; between them nothing
ends, so a plateau just below theta_high stays WARNING until it comes down. Every return to NORMAL
clears the window: what has been reported and is over is not reported twice.

The early-warning statistic is the least-squares slope over the last ``window_size`` values, above
theta_slope and significantly above zero; or EWMA, CUSUM or Page-Hinkley (`deepdrift.sequential`).
It fires at its level and lets go below ``warning_release`` times that level.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, fields
from enum import StrEnum

import numpy as np

from deepdrift.distributions import t_quantile
from deepdrift.errors import DeepDriftError
from deepdrift.sequential import Cusum, Ewma, PageHinkley, WindowSlope


class ObserverError(DeepDriftError, ValueError):
    """A parameter, a value or a step number that a state machine cannot work with."""


class State(StrEnum):
    """What an observer says about its series; prints and compares as its name."""

    NORMAL = "NORMAL"
    WARNING = "WARNING"
    ALERT = "ALERT"
    INVALID = "INVALID"


_STATES = tuple(State)
_NORMAL, _WARNING, _ALERT, _INVALID = range(4)  # inside the machine: positions in _STATES
_CHARTS = {  # detector: its name in a sentence, its level, how to build it
    "ewma": ("EWMA", "ewma_limit", lambda c: Ewma(c.ewma_weight)),
    "cusum": ("CUSUM", "cusum_limit", lambda c: Cusum(c.cusum_slack, c.cusum_limit)),
    "page-hinkley": ("Page-Hinkley", "ph_limit", lambda c: PageHinkley(c.ph_slack, c.ph_limit)),
}


@dataclass(frozen=True)
class ObserverConfig:
    """All parameters of a `DriftObserver`.

    The thetas are in units of the calibrated value that is watched: think of a robust z.

    Parameters
    ----------
    theta_high, theta_low : float
        ALERT at or above the one, recovered at or below the other; theta_low <= theta_high.
    theta_slope : float
        Smallest slope per step worth a WARNING, >= 0.
    window_size : int
        Values under the slope, >= 5; a longer gap between steps makes the machine start afresh.
    raise_after, clear_after : int
        Values running that it takes to raise an ALERT, and to clear an ALERT or a WARNING; >= 1.
    slope_confidence : float
        One-sided confidence in [0.5, 1) at which the slope must exceed zero, by Student's t with
        ``window_size - 2`` degrees of freedom. White noise of any size passes it in a share
        ``1 - slope_confidence`` of the steps; autocorrelated noise more often.
    detector : {"slope", "ewma", "cusum", "page-hinkley"}
        The early-warning statistic. The last three expect mean 0 and standard deviation 1.
    warning_release : float
        In (0, 1]: share of its level below which the statistic lets go.
    ewma_weight, ewma_limit : float
        Weight of the newest value in (0, 1]; level in standard deviations of the mean.
    cusum_slack, cusum_limit : float
        Slack per step (half the shift that matters) and level.
    ph_slack, ph_limit : float
        The same for Page-Hinkley, which is silent for its first ``window_size`` values.

    Raises
    ------
    ObserverError
        For a parameter out of range, with its name and the remedy.

    Examples
    --------
    >>> ObserverConfig(theta_high=3.0, theta_slope=0.05, window_size=20).theta_low
    1.5
    """

    theta_high: float = 3.0
    theta_low: float = 1.5
    theta_slope: float = 0.05
    window_size: int = 20
    raise_after: int = 1
    clear_after: int = 1
    slope_confidence: float = 0.99
    detector: str = "slope"
    warning_release: float = 0.5
    ewma_weight: float = 0.2
    ewma_limit: float = 3.0
    cusum_slack: float = 0.5
    cusum_limit: float = 5.0
    ph_slack: float = 0.5
    ph_limit: float = 5.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value, whole = getattr(self, item.name), item.type == "int"
            if item.name == "detector":
                continue
            good = isinstance(value, int | np.integer if whole else int | float | np.number)
            if not good or isinstance(value, bool) or not math.isfinite(value):
                kind = "a whole number" if whole else "a finite number"
                raise ObserverError(f"{item.name}: expected {kind}, got {value!r}")
        if self.detector != "slope" and self.detector not in _CHARTS:
            names = ", ".join(map(repr, ("slope", *_CHARTS)))
            raise ObserverError(f"detector: expected one of {names}, got {self.detector!r}")
        if self.theta_low > self.theta_high:
            raise ObserverError(
                f"theta_low: expected at most theta_high ({self.theta_high:g}), got "
                f"{self.theta_low:g}; an alert could never end above the value that raises it"
            )
        rules = [
            ("theta_slope", self.theta_slope >= 0, "a slope >= 0"),
            ("window_size", self.window_size >= 5, "at least 5 values to judge a slope by"),
            ("raise_after", self.raise_after >= 1, "at least 1 step"),
            ("clear_after", self.clear_after >= 1, "at least 1 step"),
            ("slope_confidence", 0.5 <= self.slope_confidence < 1, "a confidence in [0.5, 1)"),
            ("warning_release", 0 < self.warning_release <= 1, "a share in (0, 1]"),
            ("ewma_weight", 0 < self.ewma_weight <= 1, "a weight in (0, 1]"),
            ("cusum_slack", self.cusum_slack >= 0, "a slack >= 0"),
            ("ph_slack", self.ph_slack >= 0, "a slack >= 0"),
            *((n, getattr(self, n) > 0, "a level > 0") for _, n, _ in _CHARTS.values()),
        ]
        for name, holds, expected in rules:
            if not holds:
                raise ObserverError(f"{name}: expected {expected}, got {getattr(self, name)!r}")

    @property
    def warning_level(self) -> float:
        """Level at which the early-warning statistic fires; for the slope a ratio to its error."""
        if self.detector == "slope":
            return t_quantile(self.slope_confidence, self.window_size - 2)
        return getattr(self, _CHARTS[self.detector][1])


@dataclass(frozen=True)
class Event:
    """A change of state, with its cause and the numbers; prints as a line of an alert log.

    Attributes
    ----------
    step : int or float
    name : str
        Of the series.
    state, previous : State
        After and before the change.
    cause : str
        "threshold breach", "rapid drift" (slope), "sustained drift" (the other detectors),
        "recovered", "invalid value" or "finite again".
    value, slope, statistic : float
        As in `Step`.
    config : ObserverConfig
        The thresholds in force.
    """

    step: float
    name: str
    state: State
    previous: State
    cause: str
    value: float
    slope: float
    statistic: float
    config: ObserverConfig = field(repr=False)

    @property
    def detail(self) -> str:
        """The cause with its numbers."""
        config, number = self.config, _number(self.value)
        if self.cause == "threshold breach":
            dwell = f" for {config.raise_after} steps" if config.raise_after > 1 else ""
            return f"{self.cause} ({number} >= {_number(config.theta_high)}{dwell})"
        if self.cause == "recovered":
            return f"{self.cause} ({number} <= {_number(config.theta_low)})"
        if self.cause == "rapid drift":
            return f"{self.cause} (slope {self.slope:.2g} per step)"
        if self.cause == "sustained drift":
            level = _number(config.warning_level)
            name = _CHARTS[config.detector][0]
            return f"{self.cause} ({name} {_number(self.statistic)} >= {level})"
        if self.state == State.INVALID:
            return f"value is {self.value}"
        return f"value is finite again ({number})"

    def __str__(self) -> str:
        where = f" [{self.name}]" if self.name else ""
        return f"{self.state}{where}: {self.detail}"


@dataclass(frozen=True)
class Step:
    """What one update made of one value.

    Attributes
    ----------
    step : int or float
        Step number.
    value : float or None
        The value as given; None where it was missing.
    state, previous : State
        After and before this step.
    slope, slope_error : float
        Per step, over the window; NaN until the window is full.
    statistic : float
        Early-warning statistic: the slope's ratio to its standard error, or the chart's value.
    event : Event or None
        Set if the state changed.
    """

    step: float
    value: float | None
    state: State
    previous: State
    slope: float
    slope_error: float
    statistic: float
    event: Event | None

    def __str__(self) -> str:
        if self.event is not None:
            return f"Step {self.step}: {self.event}."
        value = "no value" if self.value is None else f"value {_number(self.value)}"
        slope = f", slope {self.slope:.2g} per step (standard error {self.slope_error:.2g})"
        if math.isnan(self.slope):
            slope = ""
        return f"Step {self.step}: {self.state}, {value}{slope}."


def _number(value: float) -> str:
    text = f"{value:.3g}"
    return f"{text}.0" if text.lstrip("-").isdigit() and abs(value) < 100 else text


class _Machine:
    """States and transitions, shared by the observer and the replay; statistics stay outside."""

    __slots__ = (
        "calm", "causes", "clear_after", "config", "fresh", "high", "high_run", "low", "need",
        "raise_after", "shown", "state",
    )  # fmt: skip

    def __init__(self, config: ObserverConfig) -> None:
        self.config = config
        self.high, self.low = float(config.theta_high), float(config.theta_low)
        self.raise_after, self.clear_after = config.raise_after, config.clear_after
        early = "rapid drift" if config.detector == "slope" else "sustained drift"
        self.causes = ("recovered", early, "threshold breach")
        # values after a clearing before the early warning counts
        self.need = 1 if config.detector in ("ewma", "cusum") else config.window_size
        self.state = self.shown = _NORMAL
        self.clear()

    def clear(self) -> None:
        self.fresh = self.high_run = self.calm = 0

    def observe(self, value: float, fires: bool, holds: bool) -> bool:
        """Take in a finite value (``fresh`` counts it already); returns whether it recovered."""
        state = self.state
        self.high_run = self.high_run + 1 if value >= self.high else 0
        if state != _ALERT and self.high_run >= self.raise_after:
            state, self.calm = _ALERT, 0
        elif state == _NORMAL:
            if fires and self.fresh >= self.need:
                state, self.calm = _WARNING, 0
        else:
            high = self.high_run > 0  # also where both thresholds are the same number
            calm = value <= self.low and not high and (state == _ALERT or not holds)
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
        if self.shown == _INVALID:
            cause = "invalid value"
        elif self.state == before[0]:
            cause = "finite again"
        else:
            cause = self.causes[self.state]
        shown, previous = _STATES[self.shown], _STATES[before[1]]
        return Event(step, name, shown, previous, cause, value, slope, statistic, self.config)


class DriftObserver:
    """Watches one series of calibrated values, one value per step.

    A missing value (``update(None)``, or a step number left out) changes nothing but the time;
    NaN and infinity are INVALID at once, enter no statistic and interrupt a recovery. After more
    than ``window_size`` steps without a finite value the statistics and counts start afresh; the
    state stays until values say otherwise. Amortised O(1) per update.

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
        "_chart", "_level", "_line", "_machine", "_release", "_seen", "_theta_slope", "_window",
        "config", "events", "last_step", "name", "__weakref__",
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
        self._machine = _Machine(config)
        self._line = WindowSlope(config.window_size)
        self._chart = None if config.detector == "slope" else _CHARTS[config.detector][2](config)
        self._level = config.warning_level
        self._release = self._level * config.warning_release
        self._theta_slope, self._window = config.theta_slope, config.window_size
        self.last_step: float | None = None
        self._seen: float | None = None  # step of the last finite value
        self.events.clear()

    @property
    def state(self) -> State:
        """Present state."""
        return _STATES[self._machine.shown]

    @property
    def pending(self) -> int:
        """Values running at or above theta_high while an ALERT is not yet raised."""
        return 0 if self._machine.state == _ALERT else self._machine.high_run

    def __repr__(self) -> str:
        return f"DriftObserver({self.name!r}, {self.state}, last step {self.last_step})"

    def update(self, value: float | None, step: float | None = None) -> Step:
        """Take in the value of one step.

        Parameters
        ----------
        value : float or None
            Calibrated value; None if there is none.
        step : int or float, optional
            Step number, larger than the last; by default the last plus one, from 0.

        Raises
        ------
        ObserverError
            If the step does not increase or is not finite, or the value is no number.
        """
        last, machine, nan = self.last_step, self._machine, math.nan
        if step is None:
            step = 0 if last is None else last + 1
        elif not math.isfinite(step) or (last is not None and step <= last):
            raise ObserverError(
                f"step: expected a finite number larger than the last step ({last}), got {step}; "
                "call reset() to start a new series"
            )
        before = (machine.state, machine.shown)
        if value is None:
            self.last_step = step
            state = _STATES[machine.shown]
            return Step(step, None, state, state, nan, nan, nan, None)
        try:
            value = float(value)
        except (TypeError, ValueError) as error:
            raise ObserverError(f"value: expected one number or None, got {value!r}") from error
        self.last_step = step
        if value - value != 0.0:  # NaN or infinite
            machine.shown, machine.calm = _INVALID, 0
            slope = slope_error = statistic = nan
        else:
            chart = self._chart
            if self._seen is not None and step - self._seen > self._window:
                machine.clear()
                self._line.reset()
                if chart is not None:
                    chart.reset()
            self._seen = step
            slope, slope_error, ratio = self._line.update(step, value)
            machine.fresh += 1
            if machine.fresh < self._window:
                slope = slope_error = ratio = nan
            if chart is None:
                statistic, floor = ratio, self._theta_slope
                fires = ratio >= self._level and slope > floor
                holds = ratio >= self._release and slope > floor * self.config.warning_release
                machine.observe(value, fires, holds)
            else:
                statistic = chart.update(value)
                if machine.observe(value, statistic >= self._level, statistic >= self._release):
                    chart.reset()
        event = None
        if machine.shown != before[1]:
            event = machine.event(step, self.name, before, value, slope, statistic)
            self.events.append(event)
        return Step(
            step, value, _STATES[machine.shown], _STATES[before[1]], slope, slope_error, statistic,
            event,
        )  # fmt: skip
