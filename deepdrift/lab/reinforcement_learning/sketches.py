"""Stick figures of a cart and a lander from their true state: kilobytes in place of video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepdrift.lab.bench.figures import GREY, INK, Axes
from deepdrift.lab.reinforcement_learning.plants import LabError

Lines = list[NDArray[np.float64]]
METRES = {"cartpole": (1.0, 1.0), "lunarlander": (10.0, 6.667)}  # of one unit across and up
CART = np.array([[-0.3, 0.0], [0.3, 0.0], [0.3, 0.22], [-0.3, 0.22], [-0.3, 0.0]])
HULL = np.array(
    [[-0.57, -0.33], [-0.57, 0.0], [-0.47, 0.57], [0.47, 0.57], [0.57, 0.0], [0.57, -0.33],
     [-0.57, -0.33]]
)  # fmt: skip
LEGS = np.array([[[-0.45, -0.33], [-0.95, -0.75]], [[0.45, -0.33], [0.95, -0.75]]])


def place(plant: str, state: ArrayLike) -> tuple[float, float]:
    """Where a body is, metres across and up from the middle of the ground.

    Examples
    --------
    >>> place("cartpole", [1.5, 0, 0, 0]), place("lunarlander", [0.5, 0, 0, 0, 0, 0, 0, 0])
    ((1.5, 0.0), (5.0, 0.0))
    """
    _known(plant)
    x, second = np.asarray(state, np.float64)[:2]
    across, up = METRES[plant]
    return float(across * x), float(up * second) if plant == "lunarlander" else 0.0


def outline(plant: str, state: ArrayLike) -> Lines:
    """Lines of a body around its own place, in metres, each (points, 2).

    Cart: the cart and its pole, one metre long and 1 rad to the right where the angle is 1.
    Lander: hull and two legs, tilted to the left where the tilt is above 0.

    Examples
    --------
    A pole that has fallen to the right lies one metre beside the cart's top.

    >>> outline("cartpole", [0, 0, np.pi / 2, 0])[1].round(2).tolist()
    [[0.0, 0.22], [1.0, 0.22]]
    """
    _known(plant)
    values = np.asarray(state, np.float64)
    if plant == "cartpole":
        tip = np.array([np.sin(values[2]), np.cos(values[2])])
        top = np.array([0.0, 0.22])
        return [CART, np.stack([top, top + tip])]
    cos, sin = np.cos(values[4]), np.sin(values[4])
    turn = np.array([[cos, sin], [-sin, cos]])  # of rows, counterclockwise
    return [line @ turn for line in (HULL, *LEGS)]


def draw_body(
    ax: Axes,
    plant: str,
    state: ArrayLike,
    at: tuple[float, float],
    size: float = 1.0,
    colour: str = INK,
    alpha: float = 1.0,
) -> None:
    """One stick figure at a point of the axes, ``size`` times as large as in nature."""
    for line in outline(plant, state):
        x, y = (size * line + np.array(at)).T
        ax.plot(x, y, color=colour, alpha=alpha, linewidth=1.6, solid_capstyle="round")


def draw_poses(
    ax: Axes, plant: str, states: NDArray[Any], steps: Sequence[int], colours: Sequence[str]
) -> None:
    """Poses at some steps beside each other, on axes without ticks; the step below each.

    A cart is shown with its pole, a lander at its height; both where they are, across.
    """
    _known(plant)
    wide, high = {"cartpole": (1.7, 1.6), "lunarlander": (4.0, 5.6)}[plant]
    reach = 2.4 if plant == "cartpole" else 10.0
    for k, (step, colour) in enumerate(zip(steps, colours, strict=True)):
        x, y = place(plant, states[step])
        across = (k + 0.5) * wide + 0.35 * wide * np.clip(x / reach, -1, 1)
        up = 0.0 if plant == "cartpole" else 0.9 + 0.28 * max(y, 0.0)
        ax.plot([(k + 0.06) * wide, (k + 0.94) * wide], [0, 0], color=GREY, linewidth=1)
        draw_body(ax, plant, states[step], (across, up), 1.2, colour)
        ax.text((k + 0.5) * wide, -0.12 * high, f"{step}", ha="center", va="top", fontsize=8.5,
                color=GREY)  # fmt: skip
    ax.set(xlim=(0, wide * len(steps)), ylim=(-0.35 * high, high), aspect="equal")
    ax.set_axis_off()


def draw_scene(ax: Axes, plant: str, states: NDArray[Any], step: int, colour: str = INK) -> None:
    """The plant at a step, in metres, with the way that it came.

    The limits suit a panel that is 1.2 times as wide as high.
    """
    _known(plant)
    x, y = place(plant, states[step])
    if plant == "lunarlander":
        way = states[: step + 1, :2] * np.array(METRES[plant])
        ax.plot([-10, 10], [-1.1, -1.1], color=GREY, linewidth=1.2)
        for flag in (-2.0, 2.0):
            ax.plot([flag, flag], [-1.1, 0.3], color=GREY, linewidth=1.2)
        ax.plot(way[:, 0], way[:, 1], color=GREY, linewidth=1, alpha=0.7)
        draw_body(ax, plant, states[step], (x, y), 1.4, colour)
        ax.set(xlim=(-10, 10), ylim=(-2.4, 14.3))
    else:
        ax.plot([-2.4, 2.4], [0, 0], color=GREY, linewidth=1.2)
        for edge in (-2.4, 2.4):
            ax.plot([edge, edge], [0, 0.25], color=GREY, linewidth=1.2)
        for ago, alpha in ((20, 0.15), (10, 0.3)):
            if step >= ago:
                before = states[step - ago]
                draw_body(ax, plant, before, place(plant, before), colour=GREY, alpha=alpha)
        draw_body(ax, plant, states[step], (x, y), colour=colour)
        ax.set(xlim=(-2.9, 2.9), ylim=(-1.6, 3.2))


def _known(plant: str) -> None:
    if plant not in METRES:
        raise LabError(f"plant: drawn are {', '.join(METRES)}, got {plant!r}")
