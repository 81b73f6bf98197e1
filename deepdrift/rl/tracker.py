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
    score, peak_velocity : Tensor, shape (M,), float64
    is_anomaly : Tensor, shape (M,), bool
    state, step, first_alarm : Tensor, shape (M,), int64
        ``first_alarm`` is -1 for none.
    threshold : float
    """

    score: Tensor
    peak_velocity: Tensor
    is_anomaly: Tensor
    state: Tensor
    step: Tensor
    first_alarm: Tensor
    threshold: float

    def to_info(self) -> dict[str, np.ndarray]:
        """Arrays ``(M,)``, named as the numbers of `RLDiagnosis.to_info`."""
        arrays = {k: v.numpy() for k, v in self._asdict().items() if isinstance(v, Tensor)}
        return arrays | {"threshold": np.full(len(self.score), self.threshold)}

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
        self._count = torch.zeros(n, dtype=torch.int64)
        self._mean = torch.full((n,), torch.nan, dtype=torch.float64)
        self._first = torch.full((n,), -1, dtype=torch.int64)

    def observe(
        self,
        states: Tensor,
        actions: Tensor | None,
        score: StepScore,
        threshold: float,
        weight: float = 1.0,
        fresh: Tensor | None = None,
        rows: Tensor | None = None,
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
        fresh : Tensor, shape (M,), bool, optional
            Where the observation comes from a reset: what was before is forgotten.
        rows : Tensor, shape (M,), int64, optional
            Which of the n episodes these are; default all.
        """
        if self._before is None or self._earlier is None:
            self._before = torch.zeros(self.n, states.shape[1])
            self._earlier = self._before.clone()
        rows = torch.arange(self.n) if rows is None else rows
        fresh = torch.zeros(len(states), dtype=torch.bool) if fresh is None else fresh
        count = torch.where(fresh, 0, self._count[rows])
        before, earlier = self._before[rows], self._earlier[rows]
        raw = score.score(earlier, before, actions, states, count)
        velocity = torch.where(count > 0, peak_norm(states - before, score.widths), torch.nan)
        value = raw
        if weight != 1.0:
            mean = blend(torch.where(fresh, torch.nan, self._mean[rows]), raw, weight)
            value = torch.where(raw.isfinite(), mean, raw)
            self._mean[rows] = mean
        invalid = value.isposinf()
        alarm = (value > threshold) | invalid
        state = torch.where(alarm, int(RLState.ALERT), int(RLState.NORMAL))
        state = torch.where(value.isnan(), int(RLState.STARTING), state)
        state = torch.where(invalid, int(RLState.INVALID), state)
        first = torch.where(fresh, -1, self._first[rows])
        first = torch.where(alarm & (first < 0), count, first)
        self._earlier[rows], self._before[rows] = before, states
        self._count[rows], self._first[rows] = count + 1, first
        return Rows(value, velocity, alarm, state, count, first, threshold)
