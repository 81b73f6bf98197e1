"""The three plants: what their numbers mean, how they are pushed, and when they have failed.

A plant's *true state* is what gymnasium's environment returns. What a policy sees of it has passed
sensors (:mod:`~deepdrift.lab.reinforcement_learning.noise`,
:mod:`~deepdrift.lab.reinforcement_learning.faults`), so failure is judged here, never there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.errors import DeepDriftError, require

Array = NDArray[np.float64]


class LabError(DeepDriftError, ValueError):
    """A plant, fault, severity or run that does not exist or does not fit."""


@dataclass(frozen=True)
class Plant:
    """What an environment's numbers mean.

    Attributes
    ----------
    name, env_id : str
        Ours and gymnasium's.
    n_steps : int
        Time limit of an episode.
    onset : int
        Step at which a fault begins unless told otherwise.
    sensors : tuple of str
        Name of every entry of the observation.
    scale : tuple of float
        Typical size of each physical sensor (the first ones of ``sensors``), the unit of a
        fault's severity. Contact switches have none and stay whole.
    kick : tuple of float
        Standard deviation of the random push that every velocity gets in every step.
    noise : tuple of float
        Standard deviation of every sensor's own noise.
    n_actions : int or None
        None where the action is a number.
    push : callable
        (environment, pushes) -> None; adds the pushes to the velocities.
    lost : callable
        (true state, terminated, reward) -> bool, control is lost.
    grace : int
        Steps at the start in which that does not count: a pendulum first has to swing up.
    """

    name: str
    env_id: str
    n_steps: int
    onset: int
    sensors: tuple[str, ...]
    scale: tuple[float, ...]
    kick: tuple[float, ...]
    noise: tuple[float, ...]
    n_actions: int | None
    push: Callable[[Any, Array], None] = field(repr=False)
    lost: Callable[[Array, bool, float], bool] = field(repr=False)
    grace: int = 0

    @property
    def n_physical(self) -> int:
        """Sensors that measure something continuous."""
        return len(self.scale)

    def make(self) -> Any:
        """The environment of gymnasium, as it is.

        Raises
        ------
        MissingExtraError
            If gymnasium is not installed, or for the lander Box2D.
        """
        if self.name == "lunarlander":
            require("Box2D", "rl")
        return require("gymnasium", "rl").make(self.env_id)


def _push_state(env: Any, pushes: Array, places: list[int]) -> None:
    state = np.array(env.state, dtype=np.float64)
    state[..., places] += pushes
    env.state = state


def _push_lander(env: Any, pushes: Array) -> None:
    """Nothing near the ground: a pushed lander would never come to rest.

    Height is asked too (a third of a metre), since gymnasium's contact switches sometimes miss a
    leg that rests.
    """
    lander = env.lander
    if lander.position.y - env.helipad_y < 0.93 or any(leg.ground_contact for leg in env.legs):
        return
    velocity = lander.linearVelocity
    lander.linearVelocity = (velocity.x + float(pushes[0]), velocity.y + float(pushes[1]))
    lander.angularVelocity = lander.angularVelocity + float(pushes[2])


PLANTS: dict[str, Plant] = {
    plant.name: plant
    for plant in [
        Plant(
            name="cartpole",
            env_id="CartPole-v1",
            n_steps=500,
            onset=100,
            sensors=("position", "speed", "angle", "turning"),
            scale=(0.1, 0.2, 0.03, 0.2),
            kick=(0.02, 0.02),
            noise=(0.005, 0.02, 0.002, 0.02),
            n_actions=2,
            push=lambda env, pushes: _push_state(env, pushes, [1, 3]),
            lost=lambda state, terminated, reward: terminated,
        ),
        Plant(
            name="lunarlander",
            env_id="LunarLander-v3",
            n_steps=1000,
            onset=80,
            sensors=("across", "height", "speed across", "speed of climb", "tilt", "turning",
                     "left leg", "right leg"),
            scale=(0.1, 0.2, 0.1, 0.15, 0.1, 0.1),
            kick=(0.03, 0.03, 0.01),
            noise=(0.003, 0.003, 0.005, 0.005, 0.003, 0.005, 0.0, 0.0),
            n_actions=4,
            push=_push_lander,
            lost=lambda state, terminated, reward: terminated and reward <= -100,
        ),
        Plant(
            name="pendulum",
            env_id="Pendulum-v1",
            n_steps=200,
            onset=120,
            sensors=("cosine", "sine", "turning"),
            scale=(0.1, 0.1, 0.5),
            kick=(0.05,),
            noise=(0.005, 0.005, 0.02),
            n_actions=None,
            push=lambda env, pushes: _push_state(env, pushes, [1]),
            lost=lambda state, terminated, reward: bool(state[0] < 0.5),  # 60 degrees from upright
            grace=100,
        ),
    ]
}  # fmt: skip


def plant(name: str) -> Plant:
    """A plant by name.

    Raises
    ------
    LabError
        If there is none.

    Examples
    --------
    >>> plant("cartpole").sensors[2], plant("lunarlander").n_physical
    ('angle', 6)
    """
    if name not in PLANTS:
        raise LabError(f"name must be one of {', '.join(PLANTS)}, got {name!r}")
    return PLANTS[name]
