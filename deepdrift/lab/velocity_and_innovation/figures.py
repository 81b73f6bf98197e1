"""Velocity by step, normal beside shifted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepdrift.lab.bench.figures.canvas import (
    GREY,
    VERMILLION,
    Axes,
    PlotError,
    as_array,
    colour,
    draw_end_labels,
    figure,
    ink,
    needs_slant,
    slant,
    spread,
)


def draw_layer_profile(
    ax: Axes,
    profile_by_name: Mapping[str, Any],
    layers: Sequence[str],
    title: str = "",
    ylabel: str = "velocity",
    xlabel: str = "layer",
    log: bool = False,
) -> dict[str, Any]:
    """Draw `layer_profile` on ``ax``; returns the median line of each set."""
    if not profile_by_name:
        raise PlotError("profile_by_name: expected at least one set, got none")
    x = np.arange(len(layers))
    lines, ends = {}, {}
    for i, (name, profile) in enumerate(profile_by_name.items()):
        profile = as_array(profile, f"profile of {name!r}", 2)
        if profile.shape[1] != len(layers):
            raise PlotError(
                f"profile of {name!r}: expected {len(layers)} columns, one per entry of layers, "
                f"got shape {profile.shape}"
            )
        low, median, high = np.nanquantile(profile, [0.1, 0.5, 0.9], axis=0)
        ax.fill_between(x, low, high, color=colour(i), alpha=0.16)
        lines[name] = ax.plot(x, median, color=colour(i), marker="o", label=name)[0]
        ends[name] = float(median[-1])
    if log:
        ax.set_yscale("log")
    ax.set_xlim(-0.15, len(layers) - 1 + 0.15)
    ax.set_xticks(x, layers)
    if needs_slant(layers, 62):
        slant(ax)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if title:
        ax.set_title(title)
    draw_end_labels(ax, ends, {name: line.get_color() for name, line in lines.items()})
    return lines


def layer_profile(
    profile_by_name: Mapping[str, Any],
    layers: Sequence[str],
    title: str = "",
    *,
    ylabel: str = "velocity",
    xlabel: str = "layer",
    log: bool = False,
) -> None:
    """Median and 10 to 90 % band per layer (or per step between layers), for several sets.

    Parameters
    ----------
    profile_by_name : mapping of str to array_like, each of shape (N, K)
        One profile per sample: K numbers from the input side to the output side.
    layers : sequence of K str
        Names on the axis.
    title : str
        The finding.
    log : bool
        Logarithmic value axis.
    """
    with figure() as fig:
        draw_layer_profile(fig.subplots(), profile_by_name, layers, title, ylabel, xlabel, log)


def draw_growth(
    ax: Axes, values: Mapping[str, Sequence[float]], chosen: str, at: int, title: str = ""
) -> None:
    """AUROC of each score against severity; the chosen score in colour, the point at ``at``."""
    top = len(next(iter(values.values()))) - 1
    ax.plot([0, top], [0.5, 0.5], color=GREY, linestyle=(0, (5, 3)), linewidth=1.2)
    for name, line in values.items():
        is_chosen = name == chosen
        ax.plot(line, marker="o", markersize=4, color=VERMILLION if is_chosen else "#999999",
                linewidth=2.4 if is_chosen else 1.4, zorder=3 if is_chosen else 2)  # fmt: skip
    ax.plot(at, values[chosen][at], "o", markersize=11, color=VERMILLION, zorder=4)
    ax.set_xlim(-0.15 * top / 5, 1.62 * top)
    ax.set_ylim(-0.03, 1.03)
    ax.set_xticks(range(top + 1))
    ax.set(xlabel="severity", ylabel="AUROC")
    heights = spread([*(line[-1] for line in values.values()), 0.5], gap=0.085)
    for name, y in zip([*values, "coin flip"], heights, strict=True):
        ax.text(1.05 * top, y, name, va="center", fontsize=10,
                color=ink(VERMILLION) if name == chosen else GREY,
                fontweight="bold" if name == chosen else "normal")  # fmt: skip
    if title:
        ax.set_title(title)
