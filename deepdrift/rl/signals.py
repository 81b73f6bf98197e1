"""Scores of one step in time: how far a state moved, or how far beyond what is normal.

A *state* is what is watched at one observation: the hidden layers side by side, or the observation
itself. A score judges the step to the newest state; larger means more unusual.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from deepdrift.errors import NotFittedError, StateError
from deepdrift.scores.distance import LayerDistance
from deepdrift.scores.innovation import StepPredictor

SCORES = ("innovation", "velocity", "acceleration", "distance")
RAW = ("velocity", "acceleration")  # defined without normal data
RIDGE = 1e-5  # of the mean variance: metres stand beside radians, whose variance is far below
_STATE = "state"


def peak_norm(steps: Tensor, widths: Sequence[int]) -> Tensor:
    """Largest length over the layers of rows that hold layers side by side.

    Parameters
    ----------
    steps : Tensor, shape (N, W)
    widths : sequence of int
        Widths of the layers, with sum W.

    Returns
    -------
    Tensor, shape (N,), float64

    Examples
    --------
    >>> peak_norm(torch.tensor([[3.0, 4.0, 1.0]]), [2, 1])
    tensor([5.], dtype=torch.float64)
    """
    squares = np.square(steps.detach().cpu().numpy(), dtype=np.float64)
    starts = [sum(widths[:i]) for i in range(len(widths))]
    return torch.from_numpy(np.sqrt(np.add.reduceat(squares, starts, axis=1).max(axis=1)))


def blend(previous: np.ndarray, score: np.ndarray, weight: float) -> np.ndarray:
    """One step of an exponentially weighted mean, ``(1 - w) previous + w score``.

    It starts with the first score (``previous`` NaN), and keeps what it has where the new score is
    not finite.

    Examples
    --------
    >>> blend(np.array([np.nan, 0.0, 2.0]), np.array([4.0, 4.0, np.inf]), 0.25).tolist()
    [4.0, 1.0, 2.0]
    """
    usable = np.isfinite(score)
    shown = np.where(usable, score, 0.0)
    mixed = np.where(np.isnan(previous), shown, (1 - weight) * previous + weight * shown)
    return np.where(usable, mixed, previous)


def ewma(scores: np.ndarray, weight: float) -> np.ndarray:
    """`blend` along a series ``(T,)``; scores that are not finite stay as they are.

    Examples
    --------
    >>> ewma(np.array([0.0, 4.0, np.inf, 4.0]), 0.25).tolist()
    [0.0, 1.0, inf, 1.75]
    """
    if weight == 1.0:
        return scores
    out, mean = scores.copy(), np.nan
    for t, score in enumerate(scores.tolist()):
        if math.isfinite(score):
            out[t] = mean = score if math.isnan(mean) else (1 - weight) * mean + weight * score
    return out


class StepScore:
    """One score of steps, fitted where it needs normal steps.

    ============ ================================================================ ==============
    name         score of the step from z_{t-1} to z_t                            needs normal
    ============ ================================================================ ==============
    innovation   `StepPredictor` from ``[z_{t-1}, a_{t-1}]`` to ``z_t``           steps
    velocity     ``||z_t - z_{t-1}||``, the largest over the layers               nothing
    acceleration ``||z_t - 2 z_{t-1} + z_{t-2}||``, the largest over the layers   nothing
    distance     Mahalanobis distance of z_t from the mean, squared               states
    ============ ================================================================ ==============

    Parameters
    ----------
    name : str
    widths : sequence of int
        Widths of the layers in a state.
    scale : Tensor, shape (W,), optional
        Units that innovation and distance measure a state in, such as its standard deviations:
        a ridge and shrinkage depend on them where metres stand beside radians.
    """

    def __init__(self, name: str, widths: Sequence[int], scale: Tensor | None = None) -> None:
        if name not in SCORES:
            raise StateError(f"score: expected one of {', '.join(SCORES)}, got {name!r}")
        self.name, self.widths, self._scale = name, list(widths), scale
        self.needs = 2 if name == "acceleration" else 1  # states before the newest
        self.source_width = 0
        self._predictor: StepPredictor | None = None
        self._distance: LayerDistance | None = None

    def partial_fit(self, before: Tensor, actions: Tensor, now: Tensor) -> StepScore:
        """Learn from more normal steps ``(M, W), (M, A), (M, W)``."""
        before, now = self._in_units(before), self._in_units(now)
        if self.name == "innovation":
            self._predictor = self._predictor or StepPredictor(RIDGE)
            self.source_width = before.shape[1] + actions.shape[1]
            self._predictor.partial_fit(torch.cat([before, actions], dim=1), now)
        elif self.name == "distance":
            self._distance = self._distance or LayerDistance()
            self._distance.partial_fit({_STATE: now})
        return self

    def to_tensors(self) -> dict[str, Tensor]:
        """What was learnt, as named tensors; `from_tensors` restores it."""
        found = {"source_width": torch.tensor(self.source_width, device="cpu")}
        if self._scale is not None:
            found["scale"] = self._scale
        for head, part in (("predictor", self._predictor), ("distance", self._distance)):
            if part is not None:
                found |= {f"{head}.{key}": value for key, value in part.to_tensors().items()}
        return found

    @classmethod
    def from_tensors(
        cls, name: str, widths: Sequence[int], tensors: Mapping[str, Tensor]
    ) -> StepScore:
        """Inverse of `to_tensors`, for the same score and widths."""
        new = cls(name, widths, tensors.get("scale"))
        new.source_width = int(tensors["source_width"])
        parts: dict[str, dict[str, Tensor]] = {"predictor": {}, "distance": {}}
        for key, value in tensors.items():
            head, _, rest = key.partition(".")
            if rest:
                parts[head][rest] = value
        if parts["predictor"]:
            new._predictor = StepPredictor.from_tensors(parts["predictor"])
        if parts["distance"]:
            new._distance = LayerDistance.from_tensors(parts["distance"], [_STATE])
        return new

    def _in_units(self, states: Tensor) -> Tensor:
        return states if self._scale is None or self.name in RAW else states / self._scale

    def score(
        self,
        earlier: Tensor,
        before: Tensor,
        actions: Tensor | None,
        now: Tensor,
        count: np.ndarray,
    ) -> np.ndarray:
        """Score of M steps.

        Parameters
        ----------
        earlier, before, now : Tensor, shape (M, W)
            States at t - 2, t - 1 and t.
        actions : Tensor, shape (M, A), or None
            Encoded actions at t - 1; only the innovation reads them.
        count : array, shape (M,), int
            States of the same episode before the newest one.

        Returns
        -------
        array, shape (M,), float64
            NaN where the episode is too young; infinite where a state that is used is not finite.
        """
        before, now = self._in_units(before), self._in_units(now)
        used = [before]
        if self.name == "velocity":
            score = peak_norm(now - before, self.widths)
        elif self.name == "acceleration":
            used, score = [before, earlier], peak_norm(now - 2 * before + earlier, self.widths)
        elif self.name == "distance" and self._distance is not None:
            used, score = [], self._distance.score({_STATE: now})[:, 0]
        elif self.name == "innovation" and self._predictor is not None:
            if actions is None:
                actions = now.new_zeros(len(now), self.source_width - now.shape[1])
            used = [before, actions]
            score = self._predictor.score(torch.cat([before, actions], dim=1), now)
        else:
            raise NotFittedError(f"score: {self.name!r} needs calibrate(episodes) first")
        values = score.numpy()
        if count.min() >= self.needs and np.isfinite(values).all():
            return values  # what is not finite in a state is not finite in its score
        known, sound = count >= self.needs, np.isfinite(values)
        for part in used:
            sound &= part.isfinite().all(dim=1).numpy()
        # a young episode has nothing before; what it does have must be finite
        sound = now.isfinite().all(dim=1).numpy() & (sound | ~known)
        return np.where(sound, np.where(known, values, np.nan), np.inf)
