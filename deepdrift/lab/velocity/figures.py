"""What a step is, fifteen kinds of strange, and lengths beside those of normal images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.bench.figures import GREY, INK, Axes
from deepdrift.lab.bench.score_table import ScoreTable
from deepdrift.lab.bench.strange_sets import StrangeSets


def show_sets(sets: StrangeSets, index: int = 3) -> None:
    """One picture of every set, and the garment that the camera faults are applied to."""
    shown = {"clothing": sets.images["clothing"][index], "before the faults": sets.faulty[index]}
    shown |= {name: sets.images[name][index] for name in sets.strange}
    names = [name.replace("_", " ") for name in shown]
    title = "Clothing, four sets that are none of the eight kinds, eleven camera faults"
    figures.image_grid(torch.stack(list(shown.values())), names, title, columns=9)


def draw_steps(ax: Axes, trajectories: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """States of two numbers as points, steps as arrows with their lengths."""
    for i, (name, points) in enumerate(trajectories.items()):
        colour = figures.COLOURS[i]
        for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
            length = float(np.hypot(x1 - x0, y1 - y0))
            if length == 0:
                continue
            ax.annotate(
                "",
                (x1, y1),
                (x0, y0),
                arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2},
            )
            middle = (0.5 * (x0 + x1), 0.5 * (y0 + y1))
            aside = 13 * np.array([y0 - y1, x1 - x0]) / length  # to the left of the arrow
            ax.annotate(
                f"{length:.3g}",
                middle,
                xytext=tuple(aside),
                textcoords="offset points",
                ha="center",
                va="center",
                color=figures.ink(colour),
                fontweight="bold",
            )
        x, y = np.array(points).T
        ax.plot(x, y, "o", color=colour, markersize=8)
        left = points[-1][0] < points[0][0]  # the name stands beyond the end of the last arrow
        ax.annotate(
            name,
            points[-1],
            xytext=(-9 if left else 9, -4),
            textcoords="offset points",
            ha="right" if left else "left",
            color=figures.ink(colour),
            fontweight="bold",
        )
    ax.set(xlabel="first number of the state", ylabel="second number")
    ax.margins(0.16, 0.18)


def steps_of(trajectories: Mapping[str, Sequence[tuple[float, float]]], title: str) -> None:
    """`draw_steps` as a figure."""
    with figures.figure() as fig:
        ax = fig.subplots()
        draw_steps(ax, trajectories)
        ax.set_title(title)


def draw_length_ratios(ax: Axes, lengths: Mapping[str, Tensor], layers: Sequence[str]) -> None:
    """Median length of every set's states by layer, as a multiple of the first set's."""
    usual, *others = lengths
    base = lengths[usual].median(dim=0).values
    ax.axhline(1.0, color=GREY, linestyle=(0, (5, 3)), linewidth=1.4)
    ax.annotate(
        usual, (0, 1.0), xytext=(4, -13), textcoords="offset points", color=GREY, fontsize=9
    )
    ends = {}
    for i, name in enumerate(others):
        ratio = (lengths[name].median(dim=0).values / base).tolist()
        ax.plot(range(len(layers)), ratio, marker="o", color=figures.COLOURS[i])
        ends[name] = ratio[-1]
    ax.set_xticks(range(len(layers)), layers)
    ax.set_xlim(-0.15, len(layers) - 0.85)
    ax.set(ylabel=f"length, {usual} = 1", xlabel="layer")
    figures.draw_end_labels(ax, ends, {k: figures.COLOURS[i] for i, k in enumerate(others)})


def length_ratios(lengths: Mapping[str, Tensor], layers: Sequence[str], title: str) -> None:
    """`draw_length_ratios` as a figure."""
    with figures.figure() as fig:
        ax = fig.subplots()
        ax.set_title(title)
        draw_length_ratios(ax, lengths, layers)


def sign_map(rows: Mapping[str, Mapping[str, float]], title: str) -> None:
    """AUROC of one score on every set (columns) for several views (rows)."""
    columns = [name.replace("_", " ") for name in next(iter(rows.values()))]
    values = [list(row.values()) for row in rows.values()]
    figures.heatmap(values, list(rows), columns, title, middle=0.5, limits=(0, 1))


def draw_pair(ax: Axes, estimates: Mapping[str, Estimate]) -> None:
    """Two AUROCs with an interval each, and in grey what both intervals hold."""
    low, high = max(e.low for e in estimates.values()), min(e.high for e in estimates.values())
    if low < high:
        ax.axvspan(low, high, color="#dddddd", zorder=0)
        ax.text((low + high) / 2, 1.5, "both", ha="center", color=GREY, fontsize=10)
    for y, (name, e) in enumerate(estimates.items()):
        colour = figures.COLOURS[y]
        ax.plot([e.low, e.high], [y, y], color=colour, linewidth=4, solid_capstyle="butt")
        ax.plot(e.value, y, "o", color=colour, markersize=9)
        ax.annotate(name, (e.value, y), xytext=(0, 9), textcoords="offset points", ha="center",
                    color=figures.ink(colour), fontweight="bold")  # fmt: skip
    ax.set(ylim=(1.6, -0.7), yticks=[], xlabel="AUROC")
    ax.spines["left"].set_visible(False)


def draw_gap(ax: Axes, gap: Estimate) -> None:
    """A difference of two AUROCs with its interval, beside no difference."""
    ax.plot([gap.low, gap.high], [0.5, 0.5], color=INK, linewidth=4, solid_capstyle="butt")
    ax.plot(gap.value, 0.5, "o", color=INK, markersize=9)
    ax.axvline(0, color=GREY, linestyle=(0, (5, 3)), linewidth=1.4)
    ax.annotate("no difference", (0, 1.5), xytext=(5, 0), textcoords="offset points", color=GREY,
                fontsize=10)  # fmt: skip
    reach = 1.35 * max(abs(gap.low), abs(gap.high))
    low = -reach if gap.low < 0 else -reach / 2
    ax.set(ylim=(1.6, -0.7), xlim=(low, reach), yticks=[])
    ax.spines["left"].set_visible(False)


def paired(table: ScoreTable, one: str, other: str, name: str, title: str) -> None:
    """Two scores on one set: left an interval each, right that of their difference."""
    with figures.figure() as fig:
        left, right = fig.subplots(1, 2)
        draw_pair(left, {score: table.auroc(score, name) for score in (one, other)})
        draw_gap(right, table.lead(one, other, name))
        left.set_title("Each by itself")
        right.set_title("In pairs")
        right.set_xlabel(f"AUROC of {one} minus that of {other}")
        fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
