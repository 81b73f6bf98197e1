"""Drawings of two ideas: a paired difference, and what a mean over many images does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.evaluation import Estimate, as_scores, auroc
from deepdrift.lab.fair_comparison.batch_trap import auroc_of_gap

__all__ = ["draw_intervals", "draw_means", "draw_two_rankings", "paired", "shrinking"]

NORMAL, STRANGE = figures.BLUE, figures.VERMILLION


# --- a paired difference ------------------------------------------------------------------------


def draw_two_rankings(
    ax: Any, a: tuple[Any, Any], b: tuple[Any, Any], names: tuple[str, str]
) -> None:
    """The same images ranked by two scores, a line for each image; high = more unusual.

    Parameters
    ----------
    a, b : (normal, strange)
        Scores A and B of the same normal and of the same strange images.
    names : (str, str)
        Of the two scores.
    """
    sides = [np.concatenate([as_scores(part) for part in pair]) for pair in (a, b)]
    ranks = [np.argsort(np.argsort(side, kind="stable"), kind="stable") for side in sides]
    n = len(as_scores(a[0]))
    for i, (left, right) in enumerate(zip(*ranks, strict=True)):
        colour = NORMAL if i < n else STRANGE
        ax.plot([0, 1], [left, right], "o-", color=colour, markersize=8, linewidth=1.8)
    total = len(ranks[0])
    for which, colour, word in ((0, NORMAL, "normal"), (n, STRANGE, "strange")):
        group = slice(which, n if which == 0 else total)
        ax.annotate(word, (1.06, float(ranks[1][group].mean())), color=figures.ink(colour),
                    fontweight="bold", va="center", annotation_clip=False)  # fmt: skip
    pairs = n * (total - n)
    right = [round(auroc(*pair).value * pairs) for pair in (a, b)]
    words = [f"{name}\n{k} of {pairs} pairs" for name, k in zip(names, right, strict=True)]
    ax.set_xlim(-0.2, 1.45)
    ax.set_ylim(-0.7, total - 0.3)
    ax.set_xticks([0, 1], words)
    ax.set_yticks([0, total - 1], ["least", "most\nunusual"])
    ax.tick_params(length=0)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    ax.set_title("The same images, two rankings", fontsize=11, fontweight="normal")


def draw_intervals(
    ax: Any, estimates: Mapping[str, Estimate], width: float, colours: Sequence[str]
) -> None:
    """Estimates with intervals, a row each, on an axis of the given width around their middle."""
    for y, ((name, e), colour) in enumerate(zip(estimates.items(), colours, strict=True)):
        ax.plot([e.low, e.high], [y, y], color=colour, linewidth=5, solid_capstyle="butt")
        ax.plot(e.value, y, "o", color=colour, markersize=9, markeredgecolor="white")
        ax.annotate(name, (e.value, y), xytext=(0, 8), textcoords="offset points", ha="center",
                    color=figures.ink(colour), fontweight="bold", fontsize=10)  # fmt: skip
    ends = [v for e in estimates.values() for v in (e.low, e.high)]
    middle = (min(ends) + max(ends)) / 2
    ax.set_xlim(middle - width / 2, middle + width / 2)
    ax.set_ylim(len(estimates) - 0.6, -1.0)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")


def paired(
    a: tuple[Any, Any],
    b: tuple[Any, Any],
    estimates: Mapping[str, Estimate],
    difference: Estimate,
    title: str,
    width: float = 0.07,
) -> None:
    """Left: `draw_two_rankings` of a few images. Right: two intervals above the paired one.

    Parameters
    ----------
    a, b : (normal, strange)
        Scores of a few images, to be drawn.
    estimates : mapping of str to Estimate
        The AUROCs of two real scores.
    difference : Estimate
        Their difference on the same images.
    title : str
        The finding.
    width : float
        Of the two axes at the right, so that lengths can be compared by eye.
    """
    with figures.figure(3.4) as fig:
        grid = fig.add_gridspec(2, 2, width_ratios=[0.8, 1], height_ratios=[1.25, 1])
        left = fig.add_subplot(grid[:, 0])
        draw_two_rankings(left, a, b, ("score A", "score B"))
        above, below = fig.add_subplot(grid[0, 1]), fig.add_subplot(grid[1, 1])
        draw_intervals(above, estimates, width, [figures.PURPLE, figures.GREEN])
        above.set_xlabel("AUROC")
        first, second = estimates
        draw_intervals(below, {f"{first} − {second}": difference}, width, [figures.BLACK])
        below.axvline(0, color=figures.GREY, linestyle=(0, (5, 3)), linewidth=1.4)
        below.set_xlabel("difference of AUROC (dashed: a tie)")
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold")


# --- means of many images -----------------------------------------------------------------------


def draw_means(ax: Any, gap: float, size: int) -> None:
    """Two normal laws a ``gap`` apart, as means over ``size`` images spread, of height 1."""
    x = np.linspace(-3.2, 3.2 + gap, 601)
    for centre, colour in ((0.0, NORMAL), (gap, STRANGE)):
        ax.plot(x, np.exp(-0.5 * size * (x - centre) ** 2), color=colour, linewidth=2.2)
    ax.set_xlim(-2.9, 2.9 + gap)
    ax.set_ylim(0, 1.12)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def shrinking(gap: float, sizes: Sequence[int], title: str) -> None:
    """How the means of n scores spread, normal and strange, a panel for each n on one axis.

    Parameters
    ----------
    gap : float
        Between the two kinds, in standard deviations of one image.
    sizes : sequence of int
        Images per mean.
    title : str
        The finding.
    """
    with figures.figure() as fig:
        panels = fig.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
        for ax, n in zip(panels, sizes, strict=True):
            draw_means(ax, gap, n)
            value = auroc_of_gap(gap, n)
            said = "> 0.99" if value > 0.99 else f"{value:.2f}"
            ax.set_title(f"n = {n}: AUROC {said}", fontsize=11, fontweight="normal")
            ax.set_xticks([-2, 0, 2])
        panels[len(sizes) // 2].set_xlabel("mean of n scores, in spreads of one image")
        panels[0].annotate("normal", (-1.2, 0.72), ha="right", fontweight="bold",
                           color=figures.ink(NORMAL))  # fmt: skip
        panels[0].annotate("strange", (1.35, 0.72), ha="left", fontweight="bold",
                           color=figures.ink(STRANGE))  # fmt: skip
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold")
