"""The alarm as a drawing: two states, two thresholds, and a few values that go through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepdrift.alarms.config import ObserverConfig, State
from deepdrift.alarms.replay import replay
from deepdrift.lab.alarms.figures import LOOKS
from deepdrift.lab.bench import figures

Axes = Any
ALERT, NORMAL = LOOKS[State.ALERT][2], LOOKS[State.NORMAL][2]


def draw_states(ax: Axes, config: ObserverConfig) -> None:
    """Two states as boxes and the two ways between them, each with its condition."""
    places = {State.ALERT: 0.74, State.NORMAL: 0.14}
    for state, y in places.items():
        colour = LOOKS[state][2]
        ax.text(0.5, y, str(state), ha="center", va="center", fontsize=13, fontweight="bold",
                color="white", transform=ax.transAxes,
                bbox={"boxstyle": "round,pad=0.55", "facecolor": figures.ink(colour),
                      "edgecolor": "none"})  # fmt: skip
    ways = (
        (0.40, 0.27, 0.61, ALERT, f"up at {config.theta_high:g}\nor more", "right"),
        (0.60, 0.61, 0.27, NORMAL, f"down at {config.theta_low:g}\nor less", "left"),
    )
    for x, start, end, colour, words, side in ways:
        arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 2.2}
        ax.annotate("", (x, end), (x, start), xycoords="axes fraction", arrowprops=arrow)
        gap = -0.05 if side == "right" else 0.05
        ax.text(x + gap, 0.44, words, ha=side, va="center", fontsize=10,
                color=figures.ink(colour), transform=ax.transAxes)  # fmt: skip
    ax.set_axis_off()


def draw_walk(ax: Axes, values: Sequence[float], config: ObserverConfig) -> list[str]:
    """Values with both thresholds, the band between them, and the state after each by word."""
    states = [str(state) for state in replay(list(values), config).states]
    high, low, n = config.theta_high, config.theta_low, len(values)
    ax.axhspan(low, high, color=figures.GREY, alpha=0.16, linewidth=0)
    for level, name, colour in ((high, "theta_high", ALERT), (low, "theta_low", NORMAL)):
        ax.axhline(level, color=colour, linestyle=(0, (5, 3)), linewidth=1.5)
        ax.annotate(f"{name} = {level:g}", (1, level), xycoords=("axes fraction", "data"),
                    xytext=(6, 0), textcoords="offset points", va="center", fontsize=10,
                    color=figures.ink(colour), annotation_clip=False)  # fmt: skip
    ax.annotate("in between:\nas before", (1, (high + low) / 2), xytext=(6, 0),
                xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
                fontsize=9, color=figures.INK, annotation_clip=False)  # fmt: skip
    ax.plot(range(n), values, color=figures.GREY, linewidth=1, zorder=1)
    for i, (value, state) in enumerate(zip(values, states, strict=True)):
        marker, _, colour = LOOKS[State(state)]
        ax.plot(i, value, marker, color=colour, markersize=10)
        figures.halo(ax.annotate(f"{value:g}", (i, value), xytext=(0, 9), ha="center", fontsize=10,
                                 textcoords="offset points", color=figures.INK))  # fmt: skip
        ax.annotate(state, (i, 0), xycoords=("data", "axes fraction"), xytext=(0, 6), ha="center",
                    textcoords="offset points", fontsize=8.5, fontweight="bold",
                    color=figures.ink(colour))  # fmt: skip
    top = max([*values, high])
    ax.set(xlim=(-0.6, n - 0.4), ylim=(-0.32 * top, 1.25 * top), xlabel="step", ylabel="value")
    ax.set_xticks(range(n))
    return states


def state_machine(values: Sequence[float], config: ObserverConfig, title: str = "") -> None:
    """The state machine beside the values that go through it.

    Parameters
    ----------
    values : sequence of float
        About six of them, not below zero.
    config : ObserverConfig
        Its two thresholds are drawn.
    title : str
        The finding.
    """
    alt = f"{title}. Two states, NORMAL and ALERT, and {len(values)} values with their states."
    with figures.figure(alt=alt) as fig:
        left, right = fig.subplots(1, 2, width_ratios=[1, 2.2])
        draw_states(left, config)
        draw_walk(right, values, config)
        fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
