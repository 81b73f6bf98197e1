"""Settings and states of the alarm state machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np

from deepdrift.alarms.sequential import Cusum, Ewma, PageHinkley, TwoSided
from deepdrift.errors import DeepDriftError


class ObserverError(DeepDriftError, ValueError):
    """A parameter, a value or a step number that a state machine cannot work with."""


class State(StrEnum):
    """What an observer says about its series; prints and compares as its name."""

    NORMAL = "NORMAL"
    WARNING = "WARNING"
    ALERT = "ALERT"
    INVALID = "INVALID"


STATES = tuple(State)


_NORMAL, _WARNING, _ALERT, INVALID = range(4)  # inside the machine: positions in STATES


CHARTS = {  # detector: its name in a sentence, its level, how to build it
    "ewma": ("EWMA", "ewma_limit", lambda c: Ewma(c.ewma_weight)),
    "cusum": ("CUSUM", "cusum_limit", lambda c: Cusum(c.cusum_slack, c.cusum_limit)),
    "page-hinkley": ("Page-Hinkley", "ph_limit", lambda c: PageHinkley(c.ph_slack, c.ph_limit)),
}


@dataclass(frozen=True)
class ObserverConfig:
    """All parameters of a `DriftObserver`.

    The thetas are in units of the calibrated value that is watched: think of a robust z. By default
    both sides count: a drift of -6 is as unusual as +6. States more ordinary than normal data ever
    are come from a blurred image, a frozen or a covered sensor.

    Parameters
    ----------
    theta_high, theta_low : float
        ALERT where |value| is at or above the one, recovered where it is at or below the other;
        0 < theta_low <= theta_high. One-sided: the value itself, of any sign.
    theta_slope : float
        Smallest slope per typical step (`deepdrift.alarms.steps`) worth a WARNING, >= 0. It must
        lead away from zero: up where the newest value is above it, down where it is below.
    window_size : int
        Values under the slope, >= 5; a gap of more typical steps makes the machine start afresh.
    raise_after, clear_after : int
        Values running that it takes to raise an ALERT, and to clear an ALERT or a WARNING; >= 1.
    slope_confidence : float
        Confidence in [0.5, 1) at which the slope must differ from zero (one-sided: exceed it), by
        Student's t with ``window_size - 2`` degrees of freedom. White noise of any size passes it
        in at most a share ``1 - slope_confidence`` of the steps; autocorrelated noise more often.
    detector : {"slope", "ewma", "cusum", "page-hinkley"}
        The early-warning statistic. The last three expect mean 0 and standard deviation 1; two of
        each run, one upside down, and the larger speaks.
    warning_release : float
        In (0, 1]: share of its level below which the statistic lets go.
    ewma_weight, ewma_limit : float
        Weight of the newest value in (0, 1]; level in standard deviations of the mean.
    cusum_slack, cusum_limit : float
        Slack per step (half the shift that matters) and level.
    ph_slack, ph_limit : float
        The same for Page-Hinkley, which is silent for its first ``window_size`` values.
    two_sided : bool
        False: only large values count. For a value that cannot be too small, and where calm batches
        are normal (a camera at night, one request many times over).

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
    two_sided: bool = True

    def __post_init__(self) -> None:
        for item in fields(self):
            value, whole = getattr(self, item.name), item.type == "int"
            if item.name in ("detector", "two_sided"):
                continue
            good = isinstance(value, int | np.integer if whole else int | float | np.number)
            if not good or isinstance(value, bool) or not math.isfinite(value):
                kind = "a whole number" if whole else "a finite number"
                raise ObserverError(f"{item.name}: expected {kind}, got {value!r}")
        if self.detector != "slope" and self.detector not in CHARTS:
            names = ", ".join(map(repr, ("slope", *CHARTS)))
            raise ObserverError(f"detector: expected one of {names}, got {self.detector!r}")
        if self.theta_low > self.theta_high:
            raise ObserverError(
                f"theta_low: expected at most theta_high ({self.theta_high:g}), got "
                f"{self.theta_low:g}; an alert could never end above the value that raises it"
            )
        if not isinstance(self.two_sided, bool):
            raise ObserverError(f"two_sided: expected True or False, got {self.two_sided!r}")
        if self.two_sided and self.theta_low <= 0:
            raise ObserverError(
                f"theta_low: expected more than 0, got {self.theta_low:g}; an alert ends where "
                "|value| <= theta_low, so it would never end. Choose a larger one, or "
                "two_sided=False"
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
            *((n, getattr(self, n) > 0, "a level > 0") for _, n, _ in CHARTS.values()),
        ]
        for name, holds, expected in rules:
            if not holds:
                raise ObserverError(f"{name}: expected {expected}, got {getattr(self, name)!r}")

    @property
    def warning_level(self) -> float:
        """Level at which the early-warning statistic fires; for the slope a ratio to its error."""
        if self.detector == "slope":
            from scipy import special

            share = (1 - self.slope_confidence) / (2 if self.two_sided else 1)
            return -float(special.stdtrit(self.window_size - 2, share))
        return getattr(self, CHARTS[self.detector][1])

    def chart(self) -> Ewma | Cusum | PageHinkley | TwoSided | None:
        """A new chart of the detector, None for the slope."""
        if self.detector == "slope":
            return None
        build = CHARTS[self.detector][2]
        return TwoSided(build(self), build(self)) if self.two_sided else build(self)
