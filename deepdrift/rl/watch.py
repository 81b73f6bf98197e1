"""From observations of a policy to scores: what is looked at, and how it is judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.errors import NotFittedError, StateError
from deepdrift.rl.episodes import Episode
from deepdrift.rl.hidden import HiddenPolicy
from deepdrift.rl.signals import RAW, SCORES, StepScore, ewma
from deepdrift.rl.spaces import ActionCode
from deepdrift.rl.split import guess_code
from deepdrift.rl.tracker import Rows, Tracker


class StepWatch:
    """A policy, what is watched of it, and the score of a step; no threshold.

    Parameters
    ----------
    policy, score, of, layers, weight
        See `deepdrift.rl.DeepDriftRL`.

    Attributes
    ----------
    policy : HiddenPolicy
    width : int or None
        Length of an observation, once it is known.
    code : ActionCode or None
        How actions become numbers, once it is known.
    step : StepScore or None
        The score of a step, once it is fitted; a raw one from the first observation on.
    """

    def __init__(
        self,
        policy: Any,
        score: str,
        of: str = "hidden",
        layers: Sequence[str] | None = None,
        weight: float = 1.0,
    ) -> None:
        if score not in SCORES:
            raise StateError(f"score: expected one of {', '.join(SCORES)}, got {score!r}")
        if of not in ("hidden", "observation"):
            raise StateError(f"of: expected 'hidden' or 'observation', got {of!r}")
        if layers is not None and of == "observation":
            raise StateError("layers: observations have none; leave layers out, or of='hidden'")
        if not 0 < weight <= 1:
            raise StateError(f"weight: expected a number in (0, 1], got {weight!r}")
        self.score, self.of, self.weight = score, of, float(weight)
        self.policy = HiddenPolicy(policy, layers)
        if of == "hidden":
            self.policy.check_hidden()
        self.width, self.code = self.policy.width, self.policy.code
        self.step: StepScore | None = None

    def fit(self, episodes: list[Episode], code: ActionCode | None, some: list[Episode]) -> None:
        """Learn the steps of normal episodes, none for a raw score.

        Parameters
        ----------
        episodes : list of Episode
        code : ActionCode or None
            Of an environment, where there is one.
        some : list of Episode
            All there are: they tell the width of an observation, and which actions there are.
        """
        first = some[0].observations
        code = code or self.code or guess_code(some, self.policy.n_outputs(first))
        step = StepScore(self.score, self._widths(first), self._units(episodes))
        for episode in episodes:
            states, _ = self.look(episode.observations)
            step.partial_fit(states[:-1], code.encode(episode.actions), states[1:])
        self.step, self.code, self.width = step, code, first.shape[1]

    def _units(self, episodes: list[Episode]) -> Tensor | None:
        """Standard deviations of the observations; hidden states have one unit for all."""
        if self.of == "hidden" or self.score in RAW or not episodes:
            return None
        spread = torch.cat([e.observations for e in episodes]).double().std(dim=0)
        return torch.where(spread > 0, spread, 1.0).to(episodes[0].observations.dtype)

    def encode(self, actions: Any, n: int) -> Tensor | None:
        """Actions of n episodes as rows of numbers; None if the score has no use for them."""
        if self.code is None or self.score != "innovation":
            return None
        return self.code.encode(actions, n)

    def look(self, obs: Tensor, act: bool = False) -> tuple[Tensor, Tensor | None]:
        """States ``(N, W)`` at observations ``(N, D)``, and with ``act`` the encoded actions."""
        code = self.code if act and self.score == "innovation" else None
        if self.of == "hidden":
            states, own = self.policy.look(obs, code)
        else:
            states, own = obs, None if code is None else self.policy.choose(obs, code)
        return states, None if code is None or own is None else code.encode(own, len(obs))

    def scores(self, episode: Episode) -> Tensor:
        """Scores ``(T,)`` of a whole episode, float64."""
        states, _ = self.look(episode.observations)
        actions = self.encode(episode.actions, len(episode))
        before, now = states[:-1], states[1:]
        earlier = torch.cat([states[:1], before[:-1]])
        step = self._ready(episode.observations)
        raw = step.score(earlier, before, actions, now, np.arange(1, len(states)))
        return torch.from_numpy(ewma(raw, self.weight))

    def judge(
        self,
        tracker: Tracker,
        obs: Tensor,
        states: Tensor,
        actions: Tensor | None,
        threshold: float,
        fresh: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> Rows:
        """Verdicts on states at observations, see `Tracker.observe`."""
        step = self._ready(obs)
        return tracker.observe(states, actions, step, threshold, self.weight, fresh, rows)

    def _ready(self, obs: Tensor) -> StepScore:
        """The score of a step; a raw one is made at the first observation."""
        if self.step is None:
            if self.score not in RAW:
                raise NotFittedError(f"score: {self.score!r} needs calibrate(episodes) first")
            self.step, self.width = StepScore(self.score, self._widths(obs)), obs.shape[1]
        return self.step

    def _widths(self, obs: Tensor) -> list[int]:
        return self.policy.widths(obs) if self.of == "hidden" else [obs.shape[1]]
