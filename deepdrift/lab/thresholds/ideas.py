"""Drawings of the ideas: ten scores with a line, and what moves a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deepdrift.evidence.calibration import conformal_threshold
from deepdrift.lab.bench.evaluation import as_scores
from deepdrift.lab.bench.figures import (
    BLACK,
    BLUE,
    COLOURS,
    GREY,
    VERMILLION,
    Axes,
    draw_threshold,
    draw_two_histograms,
    figure,
    halo,
    ink,
    percent_axis,
)


def draw_ten_scores(
    ax: Axes, normal: Any, new: float, alpha: float | None = None, title: str = ""
) -> None:
    """Draw `ten_scores` on ``ax``."""
    normal = np.sort(as_scores(normal, "normal"))
    for rank, score in enumerate(normal, start=1):
        above = score >= new
        ax.plot([score], [0], "o", color=BLUE, markersize=15,
                markerfacecolor=BLUE if above else "white", markeredgewidth=2)  # fmt: skip
        ax.annotate(str(rank), (score, 0), ha="center", va="center", fontsize=10,
                    fontweight="bold", color="white" if above else BLUE)  # fmt: skip
    ax.plot([new], [0], "D", color=VERMILLION, markersize=11)
    ax.annotate(f"the new one, {new:.1f}", (new, 0), xytext=(0, -26), va="center", ha="center",
                textcoords="offset points", color=ink(VERMILLION), fontweight="bold",
                fontsize=11)  # fmt: skip
    n_above = int((normal >= new).sum())
    low, high = float(min(normal[0], new)), float(max(normal[-1], new))
    pad = 0.12 * (high - low)
    ax.set(xlim=(low - pad, high + pad), ylim=(-1, 1), yticks=[], xlabel="score")
    ax.spines["left"].set_visible(False)
    if alpha is None:
        ax.annotate("", (new - 0.06, 0.45), (high + pad, 0.45),
                    arrowprops={"arrowstyle": "-", "color": BLACK})  # fmt: skip
        words = f"{n_above} normal scores at or above, and the new one: {n_above + 1} of 10"
        ax.annotate(words.replace("10", str(len(normal) + 1)), (high + pad, 0.5), ha="right",
                    va="bottom", fontsize=11)  # fmt: skip
    else:
        line = conformal_threshold(_tensor(normal), alpha)
        ax.axvspan(line, high + pad, color=GREY, alpha=0.15, linewidth=0, zorder=0.5)
        ax.axvline(line, color=BLACK, linestyle=(0, (5, 3)), linewidth=1.6, zorder=0.9)
        rank = int(np.searchsorted(normal, line)) + 1
        halo(ax.annotate(f"the line: score {rank} of {len(normal)}", (line, 0.62), ha="right",
                         xytext=(-6, 0), textcoords="offset points", fontsize=11))  # fmt: skip
        ax.annotate("alarm", (high + pad, 0.62), ha="right", xytext=(-6, 0), fontsize=11,
                    textcoords="offset points", fontweight="bold")  # fmt: skip
    if title:
        ax.set_title(title)


def _tensor(values: Any) -> Any:
    import torch

    return torch.as_tensor(values)


def ten_scores(normal: Any, new: float, alpha: float | None = None, title: str = "") -> None:
    """Normal scores as numbered dots and a new one: its rank, or the conformal line.

    Parameters
    ----------
    normal : array_like, shape (n,)
        Calibration scores; those at or above the new one are filled.
    new : float
        The score to judge.
    alpha : float, optional
        Draws the line that promises this rate, and where it alarms.
    title : str
        The finding.
    """
    with figure() as fig:
        draw_ten_scores(fig.subplots(), normal, new, alpha, title)


def own_and_new(own: Any, new: Any, line: float, title: str = "") -> None:
    """Scores of the images that drew a line, and of new ones that it judges."""
    with figure() as fig:
        draw_two_histograms(fig.subplots(), own, new, ("the images of the fit", "new images"),
                            title, threshold=line)  # fmt: skip


def draw_units(
    ax: Axes, single: Any, means: Any, image_line: float, batch_line: float, title: str = ""
) -> None:
    """Draw `units` on ``ax``."""
    single, means = as_scores(single, "single"), as_scores(means, "means")
    edges = np.linspace(single.min(), np.quantile(single, 0.995), 60)
    for values, colour, name, place in (
        (means, VERMILLION, "means of 64 images", 0.98),
        (single, BLUE, "single images", 0.88),
    ):
        shown = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
        ax.stairs(shown, edges, fill=True, color=colour, alpha=0.55)
        ax.text(0.99, place, name, color=ink(colour), ha="right", va="top", fontweight="bold",
                transform=ax.transAxes, fontsize=10)  # fmt: skip
    draw_threshold(ax, batch_line, "line from batches", height=0.98)
    draw_threshold(ax, image_line, "line from images", height=0.6)
    ax.set(xlim=(edges[0], edges[-1]), xlabel="score", ylabel="share")
    percent_axis(ax.yaxis, 4)
    if title:
        ax.set_title(title)


def units(single: Any, means: Any, image_line: float, batch_line: float, title: str = "") -> None:
    """Scores of images and of batch means, each with the line drawn from it."""
    with figure() as fig:
        draw_units(fig.subplots(), single, means, image_line, batch_line, title)


def draw_tuned_lines(ax: Axes, normal: Any, lines: Mapping[str, float], title: str = "") -> None:
    """Draw `tuned_lines` on ``ax``."""
    normal = as_scores(normal, "normal")
    edges = np.linspace(0, np.quantile(normal, 0.99), 70)
    shown = np.histogram(np.clip(normal, edges[0], edges[-1]), edges)[0] / len(normal)
    ax.stairs(shown, edges, fill=True, color=BLUE, alpha=0.4)
    ax.text(0.01, 0.98, "normal images", color=ink(BLUE), va="top", fontweight="bold",
            transform=ax.transAxes, fontsize=10)  # fmt: skip
    for i, (name, line) in enumerate(sorted(lines.items(), key=lambda item: item[1])):
        high = 0.98 - 0.13 * i
        colour = COLOURS[1 + i]
        above = float(np.mean(normal > line))
        ax.plot([line, line], [0, high], transform=ax.get_xaxis_transform(), color=colour,
                linewidth=2)  # fmt: skip
        halo(ax.annotate(f"tuned on {name}: {above:.0%} above", (line, high), va="top",
                         xycoords=("data", "axes fraction"), xytext=(5, 0), fontsize=10,
                         textcoords="offset points", color=ink(colour),
                         fontweight="bold"))  # fmt: skip
    ax.set(xlim=(edges[0], edges[-1]), xlabel="score (larger = more unusual)", ylabel="share")
    ax.set_ylim(0, 1.5 * shown.max())
    percent_axis(ax.yaxis, 4)
    if title:
        ax.set_title(title)


def tuned_lines(normal: Any, lines: Mapping[str, float], title: str = "") -> None:
    """Normal scores, and lines that other images have put there, with the normal share above."""
    with figure() as fig:
        draw_tuned_lines(fig.subplots(), normal, lines, title)
