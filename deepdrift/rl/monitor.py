"""Watch an agent act: is this step one that the healthy agent takes?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.errors import NotFittedError, StateError
from deepdrift.evidence.calibration import conformal_threshold
from deepdrift.rl.episodes import Episode, collect_episodes
from deepdrift.rl.policies import Driver
from deepdrift.rl.results import RLCalibration, RLDiagnosis
from deepdrift.rl.signals import RAW, SCORES, StepScore, ewma
from deepdrift.rl.spaces import ActionCode, as_observations
from deepdrift.rl.split import complete_episodes, guess_code, split_episodes
from deepdrift.rl.tracker import Rows, Tracker


class DeepDriftRL:
    """Monitor for a policy, one observation at a time.

    With a fixed ``threshold`` it judges the raw velocity of the hidden states at once, as
    published for DeepDrift; a fixed number promises nothing. Without one, `calibrate` on healthy
    episodes fits the score and finds the threshold that at most a given share of healthy
    episodes ever exceeds.

    The policy is left alone: the monitor makes a forward pass of its own, in evaluation mode, and
    takes its hooks off after it; actions, modes and random numbers are as without it.

    Parameters
    ----------
    policy : nn.Module, algorithm or policy of stable-baselines3, or callable
        A module maps observations ``(N, D)`` to logits or mean actions. A callable has no hidden
        states; watch the observations.
    threshold : float, optional
        Fixed, in units of the score; for raw scores only.
    score : {"innovation", "velocity", "acceleration", "distance"}, optional
        See `StepScore`. Default: the innovation, or with a fixed threshold the velocity.
    of : {"hidden", "observation"}
        What is watched.
    layers : sequence of str, optional
        Hidden layers; default: the activations that run when the policy acts (`hidden_leaves`).
    weight : float
        In (0, 1]: weight of the newest score in an exponentially weighted mean; 1 is no mean.
        Fix it before looking at faults.

    Attributes
    ----------
    calibration : RLCalibration or None
    width : int or None
        Length of an observation, once it is known.
    code : ActionCode or None
        How actions become numbers, once it is known.

    Examples
    --------
    A policy with two hidden units that copy the observation: from (0, 0) to (3, 4) is a step of 5.

    >>> hidden, head = torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2)
    >>> _ = hidden.weight.data.copy_(torch.eye(2))
    >>> monitor = DeepDriftRL(torch.nn.Sequential(hidden, torch.nn.ReLU(), head), threshold=0.15)
    >>> print(monitor.step([0.0, 0.0]))
    STARTING at step 0: nothing to compare with yet.
    >>> diag = monitor.step([3.0, 4.0])
    >>> diag.is_anomaly, diag.peak_velocity
    (True, 5.0)
    """

    def __init__(
        self,
        policy: Any,
        threshold: float | None = None,
        *,
        score: str | None = None,
        of: str = "hidden",
        layers: Sequence[str] | None = None,
        weight: float = 1.0,
    ) -> None:
        score = score or ("innovation" if threshold is None else "velocity")
        if score not in SCORES:
            raise StateError(f"score: expected one of {', '.join(SCORES)}, got {score!r}")
        if of not in ("hidden", "observation"):
            raise StateError(f"of: expected 'hidden' or 'observation', got {of!r}")
        if layers is not None and of == "observation":
            raise StateError("layers: the observations have none; leave layers out, or of='hidden'")
        if threshold is not None and not (math.isfinite(threshold) and score in RAW):
            raise StateError(
                f"threshold: expected a finite number with one of {', '.join(RAW)}, got "
                f"{threshold!r} with {score!r}; leave it out and calibrate(episodes)"
            )
        if not 0 < weight <= 1:
            raise StateError(f"weight: expected a number in (0, 1], got {weight!r}")
        self.score, self.of, self.weight = score, of, float(weight)
        self._driver = Driver(policy, layers)
        if of == "hidden":
            self._driver.check_hidden()
        self._fixed = None if threshold is None else float(threshold)
        self.code = self._driver.code
        self.width = self._driver.width
        self._judge: StepScore | None = None
        self.calibration: RLCalibration | None = None
        self.reset()

    @property
    def layers(self) -> list[str]:
        """Watched layers of the policy; empty until they are known, or for observations."""
        return self._driver.layers if self.of == "hidden" else []

    @property
    def threshold(self) -> float:
        """What a score must exceed.

        Raises
        ------
        NotFittedError
            If there is none yet.
        """
        if self.calibration is not None:
            return self.calibration.threshold
        if self._fixed is None:
            raise NotFittedError(
                "threshold: call calibrate(episodes) first, or give a fixed one for the raw "
                "velocity, DeepDriftRL(policy, threshold=0.15)"
            )
        return self._fixed

    # ---- learn ----

    def calibrate(
        self,
        episodes: Iterable[Episode] | Any,
        *,
        false_alarms_per_episode: float = 0.05,
        n_episodes: int = 150,
        seed: int = 0,
    ) -> DeepDriftRL:
        """Learn what is normal, and the threshold.

        Episodes are exchangeable, their steps are not: the threshold is the conformal quantile of
        the largest score of an episode. Given the calibration, the realised rate scatters around
        the nominal one as a Beta distribution (`conformal_threshold`). It holds for episodes like
        these and no longer than these, whatever the step of the alarm.

        Parameters
        ----------
        episodes : sequence of Episode, or gymnasium.Env
            Healthy ones. In an environment the policy is run, see `collect_episodes`. If the
            score needs a fit, the first of every three complete episodes fits it and the other
            two give the threshold; otherwise all do. Incomplete episodes are left out.
        false_alarms_per_episode : float
            In (0, 1).
        n_episodes, seed : int
            For an environment.

        Raises
        ------
        CalibrationError
            If there are too few complete episodes for this rate, or something is not finite.
        """
        code = self.code
        if hasattr(episodes, "reset") and hasattr(episodes, "step"):
            code = ActionCode.of_space(episodes.action_space)
            episodes = collect_episodes(self._driver.policy, episodes, n_episodes, seed=seed)
        steps = 2 if self.score == "acceleration" else 1
        complete = complete_episodes(episodes, self._driver.width, steps)
        fitting, held_out = split_episodes(
            complete, false_alarms_per_episode, fit=self.score not in RAW
        )
        some = complete[0].observations
        code = code or guess_code(complete, self._driver.n_outputs(some))
        score = StepScore(self.score, self._widths(some))
        for episode in fitting:
            states, _ = self.look(episode.observations)
            score.partial_fit(states[:-1], code.encode(episode.actions), states[1:])
        maxima = torch.stack([_largest(self._scores(e, score, code)) for e in held_out])
        threshold = conformal_threshold(maxima, false_alarms_per_episode)
        self._judge, self.code, self.width = score, code, some.shape[1]
        self.calibration = RLCalibration(
            threshold=threshold,
            false_alarms_per_episode=float(false_alarms_per_episode),
            n_fit=len(fitting),
            n_calibration=len(held_out),
            maxima=maxima,
            longest=max(len(e) for e in held_out),
        )
        self.reset()
        return self

    # ---- judge ----

    def reset(self) -> None:
        """Forget the episode: the next observation comes from a reset of the environment."""
        self._tracker = Tracker(1)
        self._pending: Tensor | None = None

    def step(self, obs: Any, action: Any = None) -> RLDiagnosis:
        """Judge the next observation of the episode.

        Parameters
        ----------
        obs : array-like, shape (D,)
            As the policy sees it.
        action : optional
            What the policy does now. Without it the monitor takes what the policy would do without
            chance; give it if the policy acts by chance, or is a function. Only the innovation
            reads it, at the next step.

        Raises
        ------
        NotFittedError
            Without a threshold.
        StateError
            For an observation or an action of another shape or kind than seen before.
        """
        threshold = self.threshold
        rows = as_observations(obs, 1, self.width)
        given = None if action is None else self.encode(action, 1)
        states, own = self.look(rows, act=given is None)
        verdict = self._tracker.observe(
            states, self._pending, self._scorer(rows), threshold, self.weight
        )
        self._pending = own if given is None else given
        return verdict.diagnosis()

    def scores(self, episode: Episode) -> Tensor:
        """Scores of a whole episode, as `step` would give them one by one.

        Returns
        -------
        Tensor, shape (T,), float64
            Entry t is the score of observation t + 1: NaN while there is none (the first
            acceleration), infinite where something is not finite.
        """
        as_observations(episode.observations, None, self.width)
        return self._scores(episode, self._scorer(episode.observations), self.code)

    def _scores(self, episode: Episode, score: StepScore, code: ActionCode | None) -> Tensor:
        states, _ = self.look(episode.observations)
        actions = None if code is None else code.encode(episode.actions)
        before, now = states[:-1], states[1:]
        earlier = torch.cat([states[:1], before[:-1]])
        count = np.arange(1, len(states))
        raw = score.score(earlier, before, actions, now, count)
        return torch.from_numpy(ewma(raw, self.weight))

    # ---- the parts, for wrappers ----

    def encode(self, actions: Any, n: int) -> Tensor | None:
        """Actions of n episodes as rows of numbers; None if the score has no use for them."""
        if self.code is None or self.score != "innovation":
            return None
        return self.code.encode(actions, n)

    def look(self, obs: Tensor, act: bool = False) -> tuple[Tensor, Tensor | None]:
        """States ``(N, W)`` at observations ``(N, D)``, and with ``act`` the encoded actions."""
        code = self.code if act and self.score == "innovation" else None
        if self.of == "hidden":
            states, own = self._driver.look(obs, code)
        else:
            states, own = obs, None if code is None else self._driver.choose(obs, code)
        return states, None if code is None or own is None else code.encode(own, len(obs))

    def judge(
        self,
        tracker: Tracker,
        obs: Any,
        actions: Tensor | None = None,
        fresh: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> Rows:
        """Verdicts on observations ``(M, D)``, see `Tracker.observe`; actions from `encode`."""
        states, _ = self.look(obs)
        score = self._scorer(obs)
        return tracker.observe(states, actions, score, self.threshold, self.weight, fresh, rows)

    def _scorer(self, obs: Tensor) -> StepScore:
        """The score; a raw one is made at the first observation."""
        if self._judge is None:
            if self.score not in RAW:
                raise NotFittedError(f"score: {self.score!r} needs calibrate(episodes) first")
            self._judge, self.width = StepScore(self.score, self._widths(obs)), obs.shape[1]
        return self._judge

    def _widths(self, obs: Tensor) -> list[int]:
        return self._driver.widths(obs) if self.of == "hidden" else [obs.shape[1]]


def _largest(scores: Tensor) -> Tensor:
    return scores[~scores.isnan()].max()
