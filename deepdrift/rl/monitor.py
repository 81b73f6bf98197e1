"""Watch an agent act: is this step one that the healthy agent takes?"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from deepdrift.errors import NotFittedError, StateError
from deepdrift.evidence.calibration import conformal_threshold
from deepdrift.rl.episodes import Episode, collect_episodes
from deepdrift.rl.keeping import load_monitor, save_monitor
from deepdrift.rl.results import RLCalibration, RLDiagnosis
from deepdrift.rl.signals import RAW
from deepdrift.rl.spaces import ActionCode, as_observations
from deepdrift.rl.split import complete_episodes, split_episodes
from deepdrift.rl.tracker import Tracker
from deepdrift.rl.watch import StepWatch


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
        self.watch = StepWatch(policy, score, of, layers, weight)
        if isinstance(threshold, str) or (
            threshold is not None and not (math.isfinite(threshold) and score in RAW)
        ):
            raise StateError(
                f"threshold: expected a finite number with one of {', '.join(RAW)}, got "
                f"{threshold!r} with {score!r}; leave it out and calibrate(episodes)"
            )
        self._fixed = None if threshold is None else float(threshold)
        self.calibration: RLCalibration | None = None
        self.reset()

    @property
    def layers(self) -> list[str]:
        """Watched layers of the policy; empty until they are known, or for observations."""
        return self.watch.policy.layers if self.watch.of == "hidden" else []

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
        watch, code = self.watch, None
        if hasattr(episodes, "reset") and hasattr(episodes, "step"):
            code = ActionCode.of_space(episodes.action_space)
            policy = watch.policy.source
            episodes = collect_episodes(policy, episodes, n_episodes, seed=seed)
        steps = 2 if watch.score == "acceleration" else 1
        complete = complete_episodes(episodes, watch.policy.width, steps)
        fitting, held_out = split_episodes(
            complete, false_alarms_per_episode, fit=watch.score not in RAW
        )
        new = copy.copy(watch)  # a calibration that fails leaves the one before
        new.fit(fitting, code, complete)
        maxima = torch.stack([_largest(new.scores(episode)) for episode in held_out])
        threshold = conformal_threshold(maxima, false_alarms_per_episode)
        self.watch = new
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

    # ---- keep ----

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what `calibrate` learned as one safetensors file.

        Raises
        ------
        NotFittedError
            Before it; a fixed threshold is no calibration.
        ReferenceFileError
            If it cannot be written; a file that was there is left as it was.

        Examples
        --------
        >>> DeepDriftRL(torch.nn.Linear(2, 2), of="observation").save("agent.safetensors")
        Traceback (most recent call last):
        deepdrift.errors.NotFittedError: monitor: call calibrate(episodes) before save
        """
        save_monitor(path, self.watch, self.calibration)

    def load(self, path: str | os.PathLike[str]) -> Self:
        """Take over what another monitor of such a policy has saved, and begin an episode.

        As after `calibrate`, the threshold of the file replaces a fixed one.

        Raises
        ------
        ReferenceFileError
            For a damaged file, and for that of another score, weight, policy or layers, or other
            observations or actions. The monitor then stays as it was. Of a policy that is a
            function nothing is known, so that nothing is compared.

        Warns
        -----
        UserWarning
            If the policy has other weights than that of the file.

        Examples
        --------
        Two episodes, at most one of three with an alarm: the longer step is the threshold.

        >>> import tempfile
        >>> policy = torch.nn.Linear(2, 2)
        >>> ends = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0], [0.0, 1.0]])
        >>> some = [Episode(x, torch.tensor([0]), torch.ones(1), True, False) for x in ends]
        >>> setting = {"score": "velocity", "of": "observation"}
        >>> monitor = DeepDriftRL(policy, **setting)
        >>> _ = monitor.calibrate(some, false_alarms_per_episode=1 / 3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     monitor.save(f"{folder}/agent.safetensors")
        ...     other = DeepDriftRL(policy, **setting).load(f"{folder}/agent.safetensors")
        >>> other.threshold
        5.0
        """
        self.watch, self.calibration = load_monitor(path, self.watch)
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
        threshold, watch = self.threshold, self.watch
        rows = as_observations(obs, 1, watch.width)
        given = None if action is None else watch.encode(action, 1)
        states, own = watch.look(rows, act=given is None)
        verdict = watch.judge(self._tracker, rows, states, self._pending, threshold)
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
        as_observations(episode.observations, None, self.watch.width)
        return self.watch.scores(episode)


def _largest(scores: Tensor) -> Tensor:
    return scores[~scores.isnan()].max()
