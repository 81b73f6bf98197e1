"""Memory of episodes that run side by side: the last states of each, and its first alarm."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deepdrift.rl.results import RLDiagnosis, RLState
from deepdrift.rl.signals import StepScore, blend, peak_norm


class Rows(NamedTuple):
    """Verdicts on one observation of each of M episodes.

    Attributes
    ----------
    score, peak_velocity : array, shape (M,), float64
    is_anomaly : array, shape (M,), bool
    state, step, first_alarm : array, shape (M,), int64
        ``first_alarm`` is -1 for none.
    threshold : float
    """

    score: np.ndarray
    peak_velocity: np.ndarray
    is_anomaly: np.ndarray
    state: np.ndarray
    step: np.ndarray
    first_alarm: np.ndarray
    threshold: float

    def to_info(self) -> dict[str, np.ndarray]:
        """Arrays ``(M,)``, named as the numbers of `RLDiagnosis.to_info`."""
        return self._asdict() | {"threshold": np.full(len(self.score), self.threshold)}

    def diagnosis(self, row: int = 0) -> RLDiagnosis:
        """Verdict on one of the episodes."""
        alarm = int(self.first_alarm[row])
        return RLDiagnosis(
            is_anomaly=bool(self.is_anomaly[row]),
            peak_velocity=float(self.peak_velocity[row]),
            score=float(self.score[row]),
            threshold=self.threshold,
            step=int(self.step[row]),
            state=RLState(int(self.state[row])),
            first_alarm=None if alarm < 0 else alarm,
        )


class Tracker:
    """What must be remembered of ``n`` episodes between two observations.

    Parameters
    ----------
    n : int
        Episodes that run side by side.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._before: Tensor | None = None
        self._earlier: Tensor | None = None
        self._count = np.zeros(n, dtype=np.int64)
        self._mean = np.full(n, np.nan)
        self._first = np.full(n, -1, dtype=np.int64)

    def observe(
        self,
        states: Tensor,
        actions: Tensor | None,
        score: StepScore,
        threshold: float,
        weight: float = 1.0,
        fresh: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> Rows:
        """Take one more observation of the episodes, or of some of them.

        Parameters
        ----------
        states : Tensor, shape (M, W)
        actions : Tensor, shape (M, A), or None
            Encoded actions that led here; those that led to nothing are not read.
        score : StepScore
        threshold : float
        weight : float
            Of the newest score, see `ewma`.
        fresh : array, shape (M,), bool, optional
            Where the observation comes from a reset: what was before is forgotten.
        rows : array, shape (M,), int64, optional
            Which of the n episodes these are; default all.
        """
        if self._before is None or self._earlier is None:
            self._before = torch.zeros(self.n, states.shape[1])
            self._earlier = self._before.clone()
        whole = rows is None
        rows = np.arange(self.n) if rows is None else rows
        count, mean, first = self._count[rows], self._mean[rows], self._first[rows]
        if fresh is not None:
            count, first = np.where(fresh, 0, count), np.where(fresh, -1, first)
            mean = np.where(fresh, np.nan, mean)
        before = self._before if whole else self._before[rows]
        earlier = self._earlier if whole else self._earlier[rows]
        raw = score.score(earlier, before, actions, states, count)
        if score.name == "velocity":
            velocity = raw
        else:
            velocity = peak_norm(states - before, score.widths).numpy()
            velocity = np.where(count > 0, velocity, np.nan)
        value = raw
        if weight != 1.0:
            mean = blend(mean, raw, weight)
            value = np.where(np.isfinite(raw), mean, raw)
        invalid = np.isposinf(value)
        alarm = (value > threshold) | invalid
        state = np.where(alarm, int(RLState.ALERT), int(RLState.NORMAL))
        state[np.isnan(value)] = int(RLState.STARTING)
        state[invalid] = int(RLState.INVALID)
        first = np.where(alarm & (first < 0), count, first)
        if whole:
            self._earlier, self._before = before, states
        else:
            places = torch.from_numpy(rows)
            self._earlier = self._earlier.index_copy(0, places, before)
            self._before = self._before.index_copy(0, places, states)
        self._count[rows], self._first[rows], self._mean[rows] = count + 1, first, mean
        return Rows(value, velocity, alarm, state, count, first, threshold)
