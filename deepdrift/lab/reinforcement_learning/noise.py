"""Noise that is always there: small random pushes in the plant, small errors in its sensors.

Without it a simulator is a formula, and whatever predicts the next observation looks perfect. Every
episode has its own random streams, drawn from its seed and from nothing else. So episode 7 gets the
same pushes with and without a fault: such runs can be compared in pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.errors import require
from deepdrift.lab.reinforcement_learning.plants import Array, Plant, plant

gymnasium = require("gymnasium", "rl")

PLANT, SENSOR, FAULT = 11, 12, 13  # which stream of an episode; any three distinct numbers


class Streams:
    """A random stream per episode, whatever happens to the other episodes.

    Parameters
    ----------
    seeds : sequence of int
        One per episode.
    purpose : int
        Streams of different purpose are independent.

    Examples
    --------
    >>> both, second = Streams([1, 2], PLANT), Streams([2], PLANT)
    >>> bool((both.normal(3)[1] == second.normal(3)[0]).all())
    True
    """

    def __init__(self, seeds: Sequence[int], purpose: int) -> None:
        self._generators = [np.random.default_rng([purpose, int(seed)]) for seed in seeds]

    def normal(self, width: int, alive: NDArray[np.bool_] | None = None) -> Array:
        """Standard normal numbers, shape (N, width); zeros where no episode is ``alive``."""
        out = np.zeros((len(self._generators), width))
        for row in range(len(out)) if alive is None else np.flatnonzero(alive).tolist():
            out[row] = self._generators[row].standard_normal(width)
        return out

    def uniform(self, width: int) -> Array:
        """Uniform numbers in [0, 1), shape (N, width)."""
        return np.stack([g.random(width) for g in self._generators])


class NoisyEnv(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """An environment whose velocities are pushed and whose sensors err, a little and always.

    ``info["state"]`` holds the true state, ``info["lost"]`` whether control is lost.

    Parameters
    ----------
    env : gymnasium.Env
    name : {"cartpole", "lunarlander", "pendulum"}
        Whose noise, see `plants.PLANTS`.
    strength : float
        Multiple of that noise; 0 gives gymnasium's environment.
    """

    def __init__(self, env: Any, name: str, strength: float = 1.0) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, name=name, strength=strength)
        gymnasium.Wrapper.__init__(self, env)
        self.plant: Plant = plant(name)
        self.kick = strength * np.array(self.plant.kick)
        self.noise = strength * np.array(self.plant.noise)
        self._seed = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset; without a seed the streams go on to those of the next seed."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._seed = self._seed + 1 if seed is None else int(seed)
        self._plant, self._sensor = Streams([self._seed], PLANT), Streams([self._seed], SENSOR)
        return self._seen(observation), {**info, **self._truth(observation, False, 0.0)}

    def step(self, action: Any) -> Any:
        """Push, step, and read the sensors."""
        self.plant.push(self.unwrapped, self.kick * self._plant.normal(len(self.kick))[0])
        observation, reward, terminated, truncated, info = self.env.step(action)
        info = {**info, **self._truth(observation, terminated, reward)}
        return self._seen(observation), reward, terminated, truncated, info

    def _seen(self, observation: Array) -> Array:
        error = self.noise * self._sensor.normal(len(self.noise))[0]
        return (observation.astype(np.float64) + error).astype(np.float32)

    def _truth(self, observation: Array, terminated: bool, reward: float) -> dict[str, Any]:
        state = observation.astype(np.float64)
        return {"state": state, "lost": self.plant.lost(state, terminated, float(reward))}
