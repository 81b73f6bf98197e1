"""What an observer says: state changes and readings, each a sentence, plain JSON, a log line."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import Any

from deepdrift.alarms.config import CHARTS, ObserverConfig, State
from deepdrift.alarms.plain import plain

_LOG = logging.getLogger("deepdrift")
_LOG.addHandler(logging.NullHandler())  # a library writes nowhere of its own accord
_LEVELS = {
    State.NORMAL: logging.INFO,
    State.WARNING: logging.WARNING,
    State.ALERT: logging.ERROR,
    State.INVALID: logging.ERROR,
}


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
        "threshold breach", "unusually ordinary" (the low side), "rapid drift" (slope),
        "sustained drift" (the other detectors), "recovered", "invalid value" or "finite again".
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
        if self.cause == "unusually ordinary":
            dwell = f" for {config.raise_after} steps" if config.raise_after > 1 else ""
            return f"{self.cause} ({number} <= {_number(-config.theta_high)}{dwell})"
        if self.cause == "recovered":
            if config.two_sided and self.value < 0:
                return f"{self.cause} ({number} >= {_number(-config.theta_low)})"
            return f"{self.cause} ({number} <= {_number(config.theta_low)})"
        if self.cause == "rapid drift":
            return f"{self.cause} (slope {self.slope:.2g} per step)"
        if self.cause == "sustained drift":
            level, name = config.warning_level, CHARTS[config.detector][0]
            beyond = f">= {_number(level)}" if self.statistic >= 0 else f"<= {_number(-level)}"
            return f"{self.cause} ({name} {_number(self.statistic)} {beyond})"
        if self.state == State.INVALID:
            return f"value is {self.value}"
        return f"value is finite again ({number})"

    def __str__(self) -> str:
        where = f" [{self.name}]" if self.name else ""
        return f"{self.state}{where}: {self.detail}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, with the sentence as ``message`` and the thresholds as ``config``.

        Examples
        --------
        >>> event = Event(7, "a", State.ALERT, State.NORMAL, "threshold breach", 4.0, math.nan,
        ...               math.nan, ObserverConfig())
        >>> event.to_dict()["message"], event.to_dict()["slope"], event.to_dict()["why_null"]
        ('ALERT [a]: threshold breach (4.0 >= 3.0)', None, {'slope': 'nan', 'statistic': 'nan'})
        """
        fields = {k: v for k, v in vars(self).items() if k != "config"}
        return plain(fields | {"message": str(self), "config": vars(self.config)})

    def log(self) -> None:
        """Hand this event to ``logging.getLogger("deepdrift")``.

        ERROR for ALERT and INVALID, WARNING for WARNING, INFO for a return to NORMAL; the event is
        the record's ``event``. The package sets up no output: without handlers of yours nothing
        is shown.
        """
        _LOG.log(_LEVELS[self.state], "%s", self, extra={"event": self})


@dataclass(frozen=True)
class Step:
    """What one update made of one value.

    Attributes
    ----------
    step : int or float
        Step number, or seconds since 1970 where steps are times.
    value : float or None
        The value as given; None where it was missing.
    state, previous : State
        After and before this step.
    slope, slope_error : float
        Per typical step, over the window; NaN until the window is full.
    statistic : float
        Early-warning statistic: the slope's ratio to its standard error, or the chart's value;
        negative where it speaks of the low side.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; numbers that are not known yet are null, and ``why_null`` says why."""
        fields = plain({k: v for k, v in vars(self).items() if k != "event"})
        if self.value is None:
            fields.setdefault("why_null", {})["value"] = "missing"
        return fields | {"event": None if self.event is None else self.event.to_dict()}

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
