"""Episodes: what a policy saw and did from one reset to its end, and how to collect them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.errors import StateError
from deepdrift.rl.policies import Policy
from deepdrift.rl.spaces import ActionCode, as_observations, observation_width

MAX_STEPS = 100_000  # an episode longer than this has no end


@dataclass(frozen=True)
class Episode:
    """One episode of T steps.

    Attributes
    ----------
    observations : Tensor, shape (T + 1, D), float32
        What the policy saw, from the reset to the last one, on which it did not act any more.
    actions : Tensor, shape (T,), int64, or (T, A), float32
    rewards : Tensor, shape (T,), float32
    terminated, truncated : bool
        How it ended; an episode with neither is incomplete.
    states : Tensor, shape (T + 1, S), optional
        The true state of a simulator, for those who judge alarms. No monitor reads it.

    Raises
    ------
    StateError
        If lengths or shapes do not fit.

    Examples
    --------
    >>> e = Episode([[0.0], [1.0], [3.0]], [0, 1], [1.0, 1.0], terminated=True, truncated=False)
    >>> len(e), e.total_reward, e.complete
    (2, 2.0, True)
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: bool
    truncated: bool
    states: Tensor | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        observations = torch.as_tensor(self.observations, dtype=torch.float32)
        if observations.ndim != 2 or len(observations) < 2:
            raise StateError(
                "observations: expected shape (T + 1, D) with T >= 1, got "
                f"{tuple(observations.shape)}"
            )
        t = len(observations) - 1
        actions = torch.as_tensor(self.actions)
        discrete = not actions.is_floating_point()
        if actions.shape[:1] != (t,) or actions.ndim != (1 if discrete else 2):
            raise StateError(
                f"actions: expected ({t},) integers or ({t}, A) numbers for "
                f"{t + 1} observations, got {actions.dtype} of shape {tuple(actions.shape)}"
            )
        rewards = torch.as_tensor(self.rewards, dtype=torch.float32)
        if rewards.shape != (t,):
            raise StateError(f"rewards: expected shape ({t},), got {tuple(rewards.shape)}")
        if self.states is not None:
            states = torch.as_tensor(self.states)
            if states.ndim != 2 or len(states) != t + 1:
                raise StateError(f"states: expected shape ({t + 1}, S), got {tuple(states.shape)}")
            put(self, "states", states)
        put(self, "observations", observations)
        put(self, "actions", actions.long() if discrete else actions.float())
        put(self, "rewards", rewards)
        put(self, "terminated", bool(self.terminated))
        put(self, "truncated", bool(self.truncated))

    def __len__(self) -> int:
        """Number of steps T."""
        return len(self.rewards)

    @property
    def complete(self) -> bool:
        """Whether it ran to an end."""
        return self.terminated or self.truncated

    @property
    def total_reward(self) -> float:
        """Sum of the rewards, undiscounted."""
        return float(self.rewards.double().sum())

    def __str__(self) -> str:
        end = "terminated" if self.terminated else "truncated" if self.truncated else "incomplete"
        return f"Episode of {len(self)} steps, return {self.total_reward:.3g}, {end}."


def collect_episodes(
    policy: Any, env: Any, n_episodes: int, *, seed: int = 0, deterministic: bool = True
) -> list[Episode]:
    """Let a policy act in an environment, from reset to end.

    Parameters
    ----------
    policy : nn.Module, algorithm or policy of stable-baselines3, or callable
        A module maps observations ``(N, D)`` to logits (the largest one is taken) or, for a Box
        of actions, to the mean action; ``predict`` is used where there is one; a callable maps one
        observation ``(D,)`` to an action.
    env : gymnasium.Env
        One environment with observations ``(D,)`` and actions that are numbers or vectors.
    n_episodes : int
    seed : int
        Every episode is reset with a seed of its own, derived from this one: two calls with
        different seeds share no episode. Global random states are as before.
    deterministic : bool
        Whether the policy acts without chance.

    Returns
    -------
    list of Episode

    Raises
    ------
    StateError
        For spaces that are not made of vectors, or an episode without an end.
    """
    if not isinstance(n_episodes, int) or n_episodes < 1:
        raise StateError(f"n_episodes: expected an integer >= 1, got {n_episodes!r}")
    if not hasattr(env, "step") or not hasattr(env, "reset") or hasattr(env, "num_envs"):
        raise StateError(
            f"env: expected one gymnasium.Env, got {type(env).__name__}; of a vector environment "
            "give one part"
        )
    width = observation_width(env.observation_space)
    code = ActionCode.of_space(env.action_space)
    asked = Policy(policy)
    seeds = np.random.SeedSequence(seed).generate_state(n_episodes + 1)
    with _drawing(int(seeds[-1])):
        return [_episode(asked, env, code, width, int(one), deterministic) for one in seeds[:-1]]


@contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """Global generators, from which policies draw, at a seed; given back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            random.setstate(random.Random(seed).getstate())
            np.random.set_state(np.random.RandomState(seed).get_state())
            torch.random.default_generator.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _episode(
    policy: Policy, env: Any, code: ActionCode, width: int, seed: int, deterministic: bool
) -> Episode:
    obs, _ = env.reset(seed=seed)
    observations, actions, rewards = [as_observations(obs, 1, width)[0]], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        action = policy.act(
            observations[-1], code, deterministic=deterministic, space=env.action_space
        )
        code.encode(action, 1)
        obs, reward, terminated, truncated, _ = env.step(int(action) if code.discrete else action)
        observations.append(as_observations(obs, 1, width)[0])
        actions.append(torch.as_tensor(action))
        rewards.append(float(reward))
        if len(rewards) > MAX_STEPS:
            raise StateError(
                f"env: no end after {MAX_STEPS} steps; wrap it in gymnasium.wrappers.TimeLimit"
            )
    stacked = torch.stack(actions).reshape(len(actions), *(() if code.discrete else (code.width,)))
    return Episode(torch.stack(observations), stacked, torch.tensor(rewards), terminated, truncated)
