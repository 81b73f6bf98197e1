"""What a monitor of an agent says: a verdict for each observation, and its calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from torch import Tensor

from deepdrift.alarms.plain import plain


class RLState(IntEnum):
    """Verdict on one observation, a number so that it fits into ``info`` of any environment.

    The numbers of NORMAL, ALERT and INVALID are their places in `deepdrift.alarms.config.STATES`.
    """

    STARTING = -1  # nothing to compare with yet
    NORMAL = 0
    ALERT = 2
    INVALID = 3


@dataclass(frozen=True)
class RLDiagnosis:
    """Verdict on one observation of an agent.

    Attributes
    ----------
    is_anomaly : bool
        The score is above the threshold, or something is not finite.
    peak_velocity : float
        Length of the last step of what is watched, the largest over the layers; NaN at the start.
    score : float
        The score that decides; NaN while there is none, infinite if something is not finite.
    threshold : float
    step : int
        Steps since the reset: 0 for the first observation.
    state : RLState
    first_alarm : int or None
        Step of the first alarm of this episode.
    """

    is_anomaly: bool
    peak_velocity: float
    score: float
    threshold: float
    step: int
    state: RLState
    first_alarm: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON with the sentence as ``message``; null for what is not finite."""
        return plain(vars(self) | {"state": self.state.name, "message": str(self)})

    def to_info(self) -> dict[str, Any]:
        """Numbers only, for ``info["deepdrift"]``; ``first_alarm`` is -1 for none.

        A vector environment stacks numbers into arrays, and would make objects of the rest.
        """
        return {
            "is_anomaly": self.is_anomaly,
            "peak_velocity": self.peak_velocity,
            "score": self.score,
            "threshold": self.threshold,
            "step": self.step,
            "state": int(self.state),
            "first_alarm": -1 if self.first_alarm is None else self.first_alarm,
        }

    def __str__(self) -> str:
        if self.state is RLState.INVALID:
            return f"INVALID at step {self.step}: an observation, action or state is not finite."
        if math.isnan(self.score):
            return f"STARTING at step {self.step}: nothing to compare with yet."
        relation = "above" if self.is_anomaly else "not above"
        return (
            f"{self.state.name} at step {self.step}: score {self.score:.3g} is {relation} the "
            f"threshold {self.threshold:.3g}."
        )


@dataclass(frozen=True)
class RLCalibration:
    """On what the threshold stands.

    Attributes
    ----------
    threshold : float
        The conformal quantile of `maxima`.
    false_alarms_per_episode : float
        Largest rate of normal episodes with an alarm, on average over calibrations.
    n_fit, n_calibration : int
        Episodes that the score was fitted on, and others that gave `maxima`.
    maxima : Tensor, shape (n_calibration,)
        Largest score of each calibration episode.
    longest : int
        Steps of the longest calibration episode: the promise is for episodes of this kind.
    """

    threshold: float
    false_alarms_per_episode: float
    n_fit: int
    n_calibration: int
    maxima: Tensor
    longest: int

    def __str__(self) -> str:
        return (
            f"Threshold {self.threshold:.3g} from {self.n_calibration} episodes "
            f"({self.n_fit} others fitted): at most {self.false_alarms_per_episode:.1%} of "
            "normal episodes raise an alarm."
        )
