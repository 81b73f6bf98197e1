"""N plants that run in step: carts as one array, others as N environments of gymnasium."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepdrift.lab.reinforcement_learning.plants import Array, Plant

Flags = NDArray[np.bool_]


class Bodies(Protocol):
    """What `simulate.simulate` needs of N plants."""

    parts: Sequence[Any]

    def states(self) -> Array:
        """True states, shape (N, D)."""

    def push(self, pushes: Array, alive: Flags) -> None:
        """Add (N, K) pushes to the velocities."""

    def step(self, actions: NDArray[Any], alive: Flags) -> tuple[Array, Flags, Flags]:
        """One step: rewards, terminated, lost, each (N,); bodies not alive stand still."""


class Carts:
    """N of gymnasium's CartPoles (Barto, Sutton and Anderson 1983), the same numbers bit by bit.

    Attributes
    ----------
    gravity, length, polemass_length, masspole, force_mag : float
        Gymnasium's names, so that a fault can strike either; ``length`` is half the pole's.
    state : array, shape (N, 4)
        Position, speed, angle, turning.
    """

    def __init__(self, plant: Plant, seeds: Sequence[int]) -> None:
        self.gravity, self.masscart, self.masspole, self.length = 9.8, 1.0, 0.1, 0.5
        self.total_mass = self.masspole + self.masscart
        self.polemass_length = self.masspole * self.length
        self.force_mag, self.tau = 10.0, 0.02
        self.plant, self.parts = plant, (self,)
        starts = [np.random.default_rng(int(seed)) for seed in seeds]
        self.state = np.stack([g.uniform(-0.05, 0.05, 4) for g in starts])

    def states(self) -> Array:
        return self.state.copy()

    def push(self, pushes: Array, alive: Flags) -> None:
        self.plant.push(self, np.where(alive[:, None], pushes, 0.0))

    def step(self, actions: NDArray[Any], alive: Flags) -> tuple[Array, Flags, Flags]:
        """The equations of `CartPoleEnv.step`, explicit Euler."""
        x, speed, angle, turning = self.state.T
        force = np.where(actions == 1, self.force_mag, -self.force_mag)
        sine, cosine = np.sin(angle), np.cos(angle)
        pushed = (force + self.polemass_length * np.square(turning) * sine) / self.total_mass
        angular = (self.gravity * sine - cosine * pushed) / (
            self.length * (4.0 / 3.0 - self.masspole * np.square(cosine) / self.total_mass)
        )
        linear = pushed - self.polemass_length * angular * cosine / self.total_mass
        moved = np.stack(
            [
                x + self.tau * speed,
                speed + self.tau * linear,
                angle + self.tau * turning,
                turning + self.tau * angular,
            ],
            axis=1,
        )
        self.state = np.where(alive[:, None], moved, self.state)
        limit = 12 * 2 * np.pi / 360
        fallen = alive & ((abs(self.state[:, 0]) > 2.4) | (abs(self.state[:, 2]) > limit))
        return alive.astype(np.float64), fallen, fallen


class Environments:
    """N environments of gymnasium, each stepped by its own code."""

    def __init__(self, plant: Plant, seeds: Sequence[int]) -> None:
        self.plant = plant
        self.parts = [plant.make().unwrapped for _ in seeds]
        starts = [env.reset(seed=int(seed))[0] for env, seed in zip(self.parts, seeds, strict=True)]
        self._states = np.array(starts, dtype=np.float64)

    def states(self) -> Array:
        return self._states.copy()

    def push(self, pushes: Array, alive: Flags) -> None:
        for row in np.flatnonzero(alive):
            self.plant.push(self.parts[row], pushes[row])

    def step(self, actions: NDArray[Any], alive: Flags) -> tuple[Array, Flags, Flags]:
        rewards = np.zeros(len(self.parts))
        ended, lost = np.zeros((2, len(self.parts)), dtype=bool)
        for row in np.flatnonzero(alive):
            env = self.parts[row]
            action = int(actions[row]) if actions.ndim == 1 else actions[row]
            self._states[row], reward, ended[row], _, _ = env.step(action)
            rewards[row] = float(reward)
            lost[row] = self.plant.lost(self._states[row], bool(ended[row]), rewards[row])
        return rewards, ended, lost


def bodies(plant: Plant, seeds: Sequence[int]) -> Bodies:
    """As many plants as seeds, freshly reset as gymnasium's `reset(seed=...)` does."""
    return Carts(plant, seeds) if plant.name == "cartpole" else Environments(plant, seeds)
