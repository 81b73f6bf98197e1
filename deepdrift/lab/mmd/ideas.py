"""Drawings of two ideas: MMD as a difference of hills, and a p-value as a place among deals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.figures import BLACK, BLUE, GREY, VERMILLION, ink
from deepdrift.lab.mmd.exact_test import splits, values_of_all_splits

__all__ = ["deals", "draw_all_deals", "draw_deals", "draw_difference", "draw_hills", "hill_mean",
           "hills"]  # fmt: skip

Axes = Any
GROUPS = (("yesterday", BLUE), ("today", VERMILLION))


def hill_mean(at: Any, points: Sequence[float], sigma: float) -> NDArray[np.float64]:
    """Mean height at ``at`` of Gaussian hills of width sigma, one on every point.

    Examples
    --------
    >>> hill_mean([0.0, 1.0], [0.0], sigma=1.0).round(4).tolist()
    [1.0, 0.6065]
    """
    apart = np.asarray(at, dtype=float)[:, None] - np.asarray(points, dtype=float)
    return np.exp(-0.5 * (apart / sigma) ** 2).mean(axis=1)


def draw_hills(ax: Axes, x: Sequence[float], y: Sequence[float], sigma: float) -> None:
    """A thin hill on every value, and the mean hill of each group."""
    at = _places(x, y, sigma)
    for points, (name, colour) in zip((x, y), GROUPS, strict=True):
        for point in points:
            hill = hill_mean(at, [point], sigma)
            hill[hill < 0.01] = np.nan  # what lies on the ground needs no ink
            ax.plot(at, hill, color=colour, linewidth=0.8, antialiased=False)  # a smaller picture
        mean = hill_mean(at, points, sigma)
        ax.plot(at, mean, color=colour, linewidth=3)
        ax.plot(points, np.zeros(len(points)), "o", color=colour, markersize=9, clip_on=False)
        ax.annotate(name, (float(np.mean(points)), 1.08), ha="center", color=ink(colour),
                    fontweight="bold")  # fmt: skip
    peak = x[0]
    ax.plot([peak - sigma, peak], [np.exp(-0.5)] * 2, "|-", color=BLACK, markersize=7)
    ax.annotate("σ", (peak - sigma / 2, np.exp(-0.5)), xytext=(0, 3), ha="center",
                textcoords="offset points")  # fmt: skip
    ax.set(xlabel="value", ylabel="likeness", ylim=(0, 1.25))
    ax.set_title("a hill on every value; thick: their mean", fontsize=11, fontweight="normal")


def draw_difference(ax: Axes, x: Sequence[float], y: Sequence[float], sigma: float) -> float:
    """Mean hill of the first group minus that of the second; returns the biased MMD².

    It is the mean height of the curve at the first group's values minus that at the second's.
    """
    at = _places(x, y, sigma)

    def difference(where: Any) -> NDArray[np.float64]:
        return hill_mean(where, x, sigma) - hill_mean(where, y, sigma)

    curve = difference(at)
    ax.axhline(0, color=GREY, linewidth=1)
    ax.plot(at, curve, color=BLACK, linewidth=1.6, antialiased=False)
    heights = [float(difference(points).mean()) for points in (x, y)]
    for points, height, (_, colour) in zip((x, y), heights, GROUPS, strict=True):
        ax.plot(points, difference(points), "o", color=colour, markersize=9)
        ax.plot(at[[0, -1]], [height] * 2, color=colour, linestyle=(0, (5, 3)), linewidth=1.5)
    found, right = heights[0] - heights[1], float(at[-1])
    ax.plot([right, right], heights, "_-", color=BLACK, markersize=9)
    ax.annotate(
        f"MMD² {found:.3f}\n(biased)",
        (right, 0.25 * heights[0]),
        xytext=(-6, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontweight="bold",
    )
    ax.annotate("their mean", (right, heights[0]), xytext=(0, 4), ha="right",
                textcoords="offset points", color=ink(BLUE), fontsize=10)  # fmt: skip
    ax.annotate("their mean", (float(at[0]), heights[1]), xytext=(0, -4), ha="left",
                va="top", textcoords="offset points", color=ink(VERMILLION),
                fontsize=10)  # fmt: skip
    ax.set(xlabel="value", ylabel="difference")
    ax.set_title("yesterday's mean hill minus today's", fontsize=11, fontweight="normal")
    return found


def hills(x: Sequence[float], y: Sequence[float], sigma: float, title: str) -> None:
    """Left the kernels as hills, right their difference, whose heights at the values give MMD²."""
    with figures.figure() as fig:
        left, right = fig.subplots(1, 2)
        draw_hills(left, x, y, sigma)
        draw_difference(right, x, y, sigma)
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold")


def draw_deals(ax: Axes, x: Sequence[float], y: Sequence[float], shown: Sequence[int]) -> None:
    """Some ways to deal the pooled values into two groups, a row each, with their MMD² (σ = 1)."""
    pooled, values = [*x, *y], values_of_all_splits(x, y)
    every = splits(len(x), len(y))
    for row, which in enumerate(shown):
        for k, value in enumerate(pooled):
            colour = GROUPS[0 if k in every[which] else 1][1]
            ax.plot(value, -row, "o", color=colour, markersize=13)
        words = "as it was" if which == 0 else "dealt"
        ax.annotate(words, (min(pooled) - 0.6, -row), ha="right", va="center")
        ax.annotate(f"{values[which]:.2f}", (max(pooled) + 1.5, -row), ha="right", va="center",
                    fontweight="bold" if which == 0 else "normal")  # fmt: skip
    ax.set(xlim=(min(pooled) - 2.2, max(pooled) + 1.7), ylim=(0.6 - len(shown), 0.6))
    ax.set_xticks(pooled)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("value")
    ax.set_title(f"{len(shown)} of {len(every)} deals, and MMD²", fontsize=11, fontweight="normal")


def draw_all_deals(ax: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """One dot for every deal, stacked along MMD²; those that reach the true value are filled."""
    values = values_of_all_splits(x, y)
    seen: dict[float, int] = {}
    for value in values:
        key = round(float(value), 6)
        seen[key] = seen.get(key, 0) + 1
        reaches = value >= values[0] - 1e-12
        ax.plot(value, seen[key], "o", color=VERMILLION if reaches else GREY, markersize=11,
                markeredgecolor="white")  # fmt: skip
    figures.draw_threshold(ax, float(values[0]), "observed", height=0.98)
    ax.set(xlabel="MMD²", ylabel="number of deals", ylim=(0, max(seen.values()) + 2.2))
    ax.set_xlim(min(values) - 0.15, max(values) + 0.2)
    ax.yaxis.set_major_locator(figures.matplotlib.ticker.MaxNLocator(4, integer=True))
    ax.set_title(f"all {len(values)} deals", fontsize=11, fontweight="normal")


def deals(x: Sequence[float], y: Sequence[float], shown: Sequence[int], title: str) -> None:
    """Left a few ways to deal the values, right the MMD² of every way."""
    with figures.figure() as fig:
        left, right = fig.subplots(1, 2)
        draw_deals(left, x, y, shown)
        draw_all_deals(right, x, y)
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold")


def _places(x: Sequence[float], y: Sequence[float], sigma: float) -> NDArray[np.float64]:
    low, high = min(*x, *y), max(*x, *y)
    return np.linspace(low - 2.5 * sigma, high + 2.5 * sigma, 301)
