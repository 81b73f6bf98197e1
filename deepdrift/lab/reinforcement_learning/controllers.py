"""Who can take over: simple controllers that know the plant and no network."""

from __future__ import annotations

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


def lander_controller(readings: Readings, damping: float = 0.7) -> NDArray[np.int64]:
    """Gymnasium's heuristic for LunarLander, which sinks more slowly.

    Its ``damping`` of the speed of climb is 0.5; with the noise of our plant 0.7 loses control in
    one of 150 episodes instead of eight.

    Examples
    --------
    Falling fast: fire the main engine (2). Tilted to the left: fire the left engine (1).

    >>> falling, tilted = [0, 1, 0, -2, 0, 0, 0, 0], [0, 1, 0, 0, -0.3, 0, 0, 0]
    >>> lander_controller(np.array([falling, tilted], np.float32)).tolist()
    [2, 1]
    """
    x, height, across, climb, tilt, turning, left, right = readings.astype(np.float64).T
    lean = np.clip(0.5 * x + across, -0.4, 0.4)
    turn = 0.5 * (lean - tilt) - turning
    lift = 0.5 * (0.55 * abs(x) - height) - damping * climb
    down = (left > 0.5) | (right > 0.5)
    turn, lift = np.where(down, 0.0, turn), np.where(down, -0.5 * climb, lift)
    main = (lift > abs(turn)) & (lift > 0.05)
    return np.select([main, turn < -0.05, turn > 0.05], [2, 3, 1], default=0)


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
