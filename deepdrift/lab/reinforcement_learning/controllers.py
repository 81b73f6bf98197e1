"""Who can take over: simple controllers that know the plant and no network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.lab.reinforcement_learning.plants import LabError

Readings = NDArray[np.float32]

# Linear-quadratic regulator of the cart upright, Q = diag(1, 1, 10, 1), R = 0.01, 0.02 s a step:
# what a force in newtons would be; the cart only knows left and right, so its sign acts.
CART_GAINS = np.array([-7.9, -13.8, -90.3, -23.9])


def cart_controller(readings: Readings) -> NDArray[np.int64]:
    """Push to the side that a linear-quadratic regulator asks for.

    Examples
    --------
    A pole that leans to the right (0.1 rad) needs a push to the right.

    >>> cart_controller(np.array([[0, 0, 0.1, 0], [0, 0, -0.1, 0]], np.float32)).tolist()
    [1, 0]
    """
    return (readings @ -CART_GAINS > 0).astype(np.int64)


def lander_controller(readings: Readings) -> NDArray[np.int64]:
    """Gymnasium's own heuristic for LunarLander."""
    from gymnasium.envs.box2d.lunar_lander import heuristic

    env = SimpleNamespace(unwrapped=SimpleNamespace(continuous=False))
    return np.array([heuristic(env, row) for row in readings.tolist()], dtype=np.int64)


def pendulum_controller(readings: Readings) -> NDArray[np.float32]:
    """Pump energy until the pendulum is near the top, then hold it there (Astrom, Furuta 2000)."""
    cosine, sine, turning = readings.astype(np.float64).T
    angle = np.arctan2(sine, cosine)
    missing = 15 * (1 - cosine) - turning**2 / 2  # of a rod with 3 g / 2 l = 15, at the top 0
    pump = 2 * np.sign(turning) * np.sign(missing)
    hold = -(12 * angle + 3 * turning)
    near = (cosine > 0.85) & (abs(turning) < 4)
    return np.clip(np.where(near, hold, pump), -2, 2).astype(np.float32)[:, None]


def controller(name: str) -> Any:
    """The controller of a plant.

    Raises
    ------
    LabError
        If the name is unknown.
    """
    found = {
        "cartpole": cart_controller,
        "lunarlander": lander_controller,
        "pendulum": pendulum_controller,
    }
    if name not in found:
        raise LabError(f"name must be one of {', '.join(found)}, got {name!r}")
    return found[name]
