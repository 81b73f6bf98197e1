"""A prediction with its residuals, what Fisher adds up, and AUROC while a shift grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.figures import BLUE, GREY, INK, VERMILLION, Axes, ink
from deepdrift.lab.bench.figures import spread as spread_apart
from deepdrift.lab.bench.score_table import ScoreTable
from deepdrift.lab.bench.strange_sets import GROUPS


def draw_prediction(
    ax: Axes,
    normal: Sequence[tuple[float, float]],
    new: Sequence[tuple[float, float]],
    slope: float,
) -> None:
    """Normal pairs, the line they predict with, new pairs and how far they are from it."""
    x = np.array([pair[0] for pair in (*normal, *new)])
    ends = np.array([x.min() - 0.5, x.max() + 0.5])
    ax.plot(ends, slope * ends, color=GREY, linewidth=1.6)
    place = new[0][0] - 1
    ax.annotate(
        f"y = {slope:.3g} x",
        (place, slope * place),
        xytext=(10, -12),
        textcoords="offset points",
        color=GREY,
        fontweight="bold",
    )
    ax.plot(*np.array(normal).T, "o", color=BLUE, markersize=8)
    ax.annotate(
        "normal pairs",
        normal[-1],
        xytext=(-10, 4),
        textcoords="offset points",
        ha="right",
        color=ink(BLUE),
        fontweight="bold",
    )
    for source, target in new:
        predicted = slope * source
        ax.plot([source, source], [predicted, target], color=VERMILLION, linewidth=2.2)
        ax.plot(source, target, "D", color=VERMILLION, markersize=8)
        said = f"({source:.3g}, {target:.3g})  residual {target - predicted:+.3g}"
        ax.annotate(
            said,
            (source, target),
            xytext=(11, -4),
            textcoords="offset points",
            color=ink(VERMILLION),
            fontweight="bold",
            fontsize=9.5,
        )
    ax.set(xlabel="source (one layer)", ylabel="target (the next layer)")
    ax.set_xlim(ends[0], ends[1] + 2.6)


def prediction(
    normal: Sequence[tuple[float, float]],
    new: Sequence[tuple[float, float]],
    slope: float,
    title: str,
) -> None:
    """`draw_prediction` as a figure."""
    with figures.figure(3.4) as fig:
        ax = fig.subplots()
        draw_prediction(ax, normal, new, slope)
        ax.set_title(title)


def draw_logits(
    ax: Axes, logits: Tensor, labels: Tensor, new: Mapping[str, tuple[float, float]]
) -> None:
    """Normal logits by class, their means, and new ones with what is said of them."""
    for k in labels.unique().tolist():
        cloud = logits[labels == k]
        ax.plot(*cloud.T.tolist(), "o", color=BLUE, markersize=6)
        centre = cloud.mean(dim=0).tolist()
        ax.plot(*centre, "+", color=BLUE, markersize=12, markeredgewidth=2)
        ax.annotate(
            f"class {k}",
            centre,
            xytext=(0, -36),
            textcoords="offset points",
            ha="center",
            color=ink(BLUE),
            fontweight="bold",
        )
    ax.plot(0, 0, "+", color=GREY, markersize=14, markeredgewidth=2)
    for said, place in new.items():
        ax.plot(*place, "D", color=VERMILLION, markersize=8)
        ax.annotate(
            said,
            place,
            xytext=(9, 7),
            textcoords="offset points",
            color=ink(VERMILLION),
            fontweight="bold",
            fontsize=9.5,
        )
    ax.set(xlabel="first logit", ylabel="second logit")
    ax.margins(0.12, 0.25)
    ax.set_xlim(right=max(x for x, _ in new.values()) + 5)


def logit_plane(
    logits: Tensor, labels: Tensor, new: Mapping[str, tuple[float, float]], title: str
) -> None:
    """`draw_logits` as a figure."""
    with figures.figure(3.4) as fig:
        ax = fig.subplots()
        draw_logits(ax, logits, labels, new)
        ax.set_title(title)


BLOCK_COLOURS = dict(
    zip(("innovation", "distance", "relative", "output", "input"), figures.COLOURS, strict=False)
)


def draw_sums(ax: Axes, rows: Mapping[str, Mapping[str, float]], threshold: float) -> None:
    """What each block adds to the score, side by side in one bar for every image."""
    blocks = list(next(iter(rows.values())))
    for y, row in enumerate(rows.values()):
        left = 0.0
        for block, value in row.items():
            ax.barh(y, value, left=left, color=BLOCK_COLOURS[block], height=0.62)
            left += value
        ax.annotate(
            f"{left:.0f}",
            (left, y),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            fontweight="bold",
        )
    ax.axvline(threshold, color=INK, linestyle=(0, (5, 3)), linewidth=1.4)
    ax.annotate(
        f"5 % of clothing lies beyond {threshold:.1f}",
        (threshold, -0.52),
        xytext=(4, 0),
        textcoords="offset points",
        fontsize=9,
        color=INK,
        va="bottom",
    )
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.85)
    ax.set_xlabel("what the blocks add: weight x (-2 log p)")
    ax.margins(x=0.08)
    handles = [figures.matplotlib.patches.Patch(color=BLOCK_COLOURS[b], label=b) for b in blocks]
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5))


def sums(rows: Mapping[str, Mapping[str, float]], threshold: float, title: str) -> None:
    """`draw_sums` as a figure."""
    with figures.figure() as fig:
        ax = fig.subplots()
        draw_sums(ax, rows, threshold)
        ax.set_title(title)


def group_map(table: ScoreTable, scores: Sequence[str], title: str) -> None:
    """Mean AUROC of scores (rows) over groups of sets and over all fifteen (columns)."""
    columns = [*GROUPS, "all fifteen"]
    rows = table.by_group(GROUPS, scores)
    figures.heatmap(rows, scores, columns, title, middle=0.5, limits=(0, 1))


def draw_picture(ax: Axes, image: Tensor) -> None:
    """One grey image without axes."""
    ax.set_axis_off()
    ax.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def keep_sides(artists: Mapping[str, Any], names: tuple[str, str]) -> None:
    """Name two histograms, the normal one always left, the shifted one always right."""
    for key, name, place in (("label_a", names[0], 0.01), ("label_b", names[1], 0.99)):
        artists[key].set(text=name, x=place, ha="left" if place < 0.5 else "right")


def draw_growth(
    ax: Axes, values: Mapping[str, Sequence[float]], chosen: str, at: int, title: str = ""
) -> None:
    """AUROC of each score against severity; the chosen score in ink, the point at ``at``."""
    top = len(next(iter(values.values()))) - 1
    ax.plot([0, top], [0.5, 0.5], color=GREY, linestyle=(0, (5, 3)), linewidth=1.2)
    for name, line in values.items():
        is_chosen = name == chosen
        ax.plot(line, marker="o", markersize=4, color=INK if is_chosen else "#999999",
                linewidth=2.4 if is_chosen else 1.4, zorder=3 if is_chosen else 2)  # fmt: skip
    ax.plot(at, values[chosen][at], "o", markersize=11, color=INK, zorder=4)
    ax.set_xlim(-0.15 * top / 5, 1.9 * top)  # room for the names
    ax.set_ylim(-0.03, 1.03)
    ax.set_xticks(range(top + 1))
    ax.set(xlabel="severity", ylabel="AUROC")
    heights = spread_apart([*(line[-1] for line in values.values()), 0.5], gap=0.085)
    for name, y in zip([*values, "coin flip"], heights, strict=True):
        ax.text(1.05 * top, y, name, va="center", fontsize=10,
                color=INK if name == chosen else GREY,
                fontweight="bold" if name == chosen else "normal")  # fmt: skip
    if title:
        ax.set_title(title)
