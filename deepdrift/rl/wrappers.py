"""Environments that watch the agent in them: numbers in ``info["deepdrift"]`` at every step."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from deepdrift.errors import StateError, require
from deepdrift.rl.monitor import DeepDriftRL
from deepdrift.rl.results import RLDiagnosis
from deepdrift.rl.spaces import ActionCode, as_observations, observation_width
from deepdrift.rl.tracker import Rows, Tracker

gymnasium = require("gymnasium", "rl")

KEY = "deepdrift"
_NOT_RESET = "step: the environment was not reset; call env.reset() first"


class MonitorWrapper(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):  # type: ignore
    """Watch the agent of one environment.

    What ``env`` returns is passed on as it is, but for ``info["deepdrift"]``: the numbers of
    `RLDiagnosis` for the newest observation (`RLDiagnosis.to_info`). Put it where the policy's
    observations come from, outside of wrappers that change them. After an episode has ended the
    next observation starts another one, also where the environment resets itself. Several
    environments may share a monitor, each remembers its own episode.

    Parameters
    ----------
    env : gymnasium.Env
    monitor : DeepDriftRL
        Calibrated, or with a fixed threshold.

    Raises
    ------
    NotFittedError
        If the monitor has no threshold.
    StateError
        If the spaces of the environment are not those of the monitor.

    Examples
    --------
    >>> import torch
    >>> env = gymnasium.make("CartPole-v1")
    >>> policy = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    >>> env = MonitorWrapper(env, DeepDriftRL(policy, threshold=0.15))
    >>> obs, info = env.reset(seed=0)
    >>> info["deepdrift"]["state"], info["deepdrift"]["step"]  # starting
    (-1, 0)
    >>> *_, info = env.step(0)
    >>> info["deepdrift"]["step"]
    1
    """

    def __init__(self, env: Any, monitor: DeepDriftRL) -> None:
        # the monitor is shared, not copied: gym.make(env.spec) watches the same policy
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, monitor=monitor, _disable_deepcopy=True
        )
        gymnasium.Wrapper.__init__(self, env)
        check_spaces(monitor, env.observation_space, env.action_space)
        self.monitor = monitor
        self.diagnosis: RLDiagnosis | None = None
        self._tracker: Tracker | None = None
        self._over = False

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the environment, and forget the episode."""
        obs, info = self.env.reset(**kwargs)
        self._tracker = Tracker(1)
        return obs, self._with(info, obs, None, fresh=True)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Do one step, and judge where it led."""
        if self._tracker is None:
            raise StateError(_NOT_RESET)
        encoded = self.monitor.watch.encode(action, 1)
        obs, reward, terminated, truncated, info = self.env.step(action)
        info = self._with(info, obs, encoded, fresh=self._over)
        self._over = bool(terminated or truncated)
        return obs, reward, terminated, truncated, info

    def _with(
        self, info: dict[str, Any], obs: Any, actions: Tensor | None, fresh: bool
    ) -> dict[str, Any]:
        assert self._tracker is not None
        rows = as_observations(obs, 1, self.monitor.watch.width)
        verdict = judged(self.monitor, self._tracker, rows, actions, np.array([fresh]))
        self._over = False
        self.diagnosis = verdict.diagnosis()
        return {**info, KEY: self.diagnosis.to_info()}


class MonitorVectorWrapper(  # type: ignore
    gymnasium.vector.VectorWrapper, gymnasium.utils.RecordConstructorArgs
):
    """Watch the agent of many environments at once, with one pass of the policy for all.

    ``infos["deepdrift"]`` holds arrays with one entry for each environment, with masks under
    ``_name``, as vector environments do. Of an environment that ends and starts again in the same
    step (autoreset mode SAME_STEP) it is the verdict on the last observation of the old episode,
    ``infos["final_obs"]``. No step leads from one episode into the next, in any autoreset mode.

    Parameters
    ----------
    env : gymnasium.vector.VectorEnv
    monitor : DeepDriftRL
        As for `MonitorWrapper`.
    """

    def __init__(self, env: Any, monitor: DeepDriftRL) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, monitor=monitor, _disable_deepcopy=True
        )
        gymnasium.vector.VectorWrapper.__init__(self, env)
        check_spaces(monitor, env.single_observation_space, env.single_action_space)
        self.monitor = monitor
        mode = env.metadata.get("autoreset_mode")
        self._same_step = getattr(mode, "name", mode) == "SAME_STEP"
        self._tracker: Tracker | None = None
        self._over = np.zeros(env.num_envs, dtype=bool)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all environments, or those of ``options["reset_mask"]``."""
        n = self.env.num_envs
        mask = (options or {}).get("reset_mask")
        which = np.ones(n, dtype=bool) if mask is None else np.array(mask, dtype=bool)
        obs, infos = self.env.reset(seed=seed, options=options)
        if self._tracker is None or which.all():
            self._tracker = Tracker(n)
        self._over = self._over & ~which
        rows = np.flatnonzero(which)
        given = as_observations(obs, n, self.monitor.watch.width)[rows]
        verdict = judged(self.monitor, self._tracker, given, None, np.ones(len(rows), bool), rows)
        return obs, self._with(infos, verdict, which)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Do one step in all environments, and judge where it led."""
        if self._tracker is None:
            raise StateError(_NOT_RESET)
        n = self.env.num_envs
        encoded = self.monitor.watch.encode(actions, n)
        obs, rewards, terminated, truncated, infos = self.env.step(actions)
        reached = as_observations(obs, n, self.monitor.watch.width)
        over = np.asarray(terminated, dtype=bool) | np.asarray(truncated, dtype=bool)
        started = reached[over] if self._same_step else reached[:0]
        if len(started):
            reached = reached.clone()
            for i in np.flatnonzero(over):
                reached[i] = as_observations(infos["final_obs"][i], 1, self.monitor.watch.width)[0]
        verdict = judged(self.monitor, self._tracker, reached, encoded, self._over)
        if len(started):
            rows = np.flatnonzero(over)
            judged(self.monitor, self._tracker, started, None, np.ones(len(rows), bool), rows)
        self._over = np.zeros_like(over) if self._same_step else over
        return obs, rewards, terminated, truncated, self._with(infos, verdict, np.ones(n, bool))

    def _with(self, infos: dict[str, Any], verdict: Rows, which: np.ndarray) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in verdict.to_info().items():
            found[name] = np.zeros(len(which), dtype=value.dtype)
            found[name][which] = value
            found[f"_{name}"] = which.copy()
        return {**infos, KEY: found, f"_{KEY}": which.copy()}


def judged(
    monitor: DeepDriftRL,
    tracker: Tracker,
    obs: Tensor,
    actions: Tensor | None,
    fresh: np.ndarray,
    rows: np.ndarray | None = None,
) -> Rows:
    """Verdicts on observations of some of the episodes of a tracker."""
    states, _ = monitor.watch.look(obs)
    return monitor.watch.judge(tracker, obs, states, actions, monitor.threshold, fresh, rows)


def check_spaces(monitor: DeepDriftRL, observation_space: Any, action_space: Any) -> None:
    """Refuse an environment that the monitor cannot judge.

    Raises
    ------
    NotFittedError, StateError
        If the monitor has no threshold; if the spaces are no vectors, or others than its own.
    """
    if not isinstance(monitor, DeepDriftRL):
        raise StateError(f"monitor: expected a DeepDriftRL, got {type(monitor).__name__}")
    monitor.threshold  # noqa: B018, raises without one
    width, code = observation_width(observation_space), ActionCode.of_space(action_space)
    known = monitor.watch.width, monitor.watch.code
    if known[0] not in (None, width) or known[1] not in (None, code):
        raise StateError(
            f"env: expected observations of width {known[0]} and {known[1]}, as the monitor knows "
            f"them, got width {width} and {code}; calibrate a monitor on this environment"
        )
