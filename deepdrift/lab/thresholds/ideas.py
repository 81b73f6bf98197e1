"""Drawings of the ideas: ten scores with a line, and what moves a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from deepdrift.evidence.calibration import conformal_threshold
from deepdrift.lab.bench.evaluation import Estimate, as_scores
from deepdrift.lab.bench.figures import (
    BLACK,
    BLUE,
    GREY,
    VERMILLION,
    Axes,
    draw_threshold,
    figure,
    halo,
    ink,
    percent_axis,
)

SCORE = "fused, layers only"  # what notebook 03 looks at


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
    ax.set(xlim=(low - pad, high + pad), ylim=(-0.7, 1), yticks=[], xlabel="score")
    ax.spines["left"].set_visible(False)
    if alpha is None:
        ax.plot([new, new, high, high], [0.3, 0.42, 0.42, 0.3], color=BLACK, linewidth=1.4)
        words = f"at or above, the new one counted in: {n_above + 1} of {len(normal) + 1}"
        ax.annotate(words, ((new + high) / 2, 0.5), ha="center", va="bottom",
                    fontsize=11)  # fmt: skip
    else:
        line = conformal_threshold(torch.from_numpy(normal), alpha)
        ax.axvspan(line, high + pad, color=GREY, alpha=0.15, linewidth=0, zorder=0.5)
        ax.axvline(line, color=BLACK, linestyle=(0, (5, 3)), linewidth=1.6, zorder=0.9)
        rank = int(np.searchsorted(normal, line)) + 1
        halo(ax.annotate(f"the line: score {rank} of {len(normal)}", (line, 0.62), ha="right",
                         xytext=(-6, 0), textcoords="offset points", fontsize=11))  # fmt: skip
        ax.annotate("alarm", (high + pad, 0.62), ha="right", xytext=(-6, 0), fontsize=11,
                    textcoords="offset points", fontweight="bold")  # fmt: skip
    if title:
        ax.set_title(title)


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


def draw_own_and_new(ax: Axes, own: Any, new: Any, line: float, title: str = "") -> None:
    """Draw `own_and_new` on ``ax``."""
    own, new = as_scores(own, "own"), as_scores(new, "new")
    edges = np.linspace(0, np.quantile(np.r_[own, new], 0.995), 40)
    ax.set(xlim=(edges[0], edges[-1]), xlabel=f"score ({SCORE})", ylabel="share")
    for i, (values, colour, name) in enumerate(
        ((own, BLUE, "images of the fit"), (new, VERMILLION, "new images"))
    ):
        _hill(ax, values, edges, colour)
        _corner(ax, i, f"{name}: {100 * np.mean(values > line):.0f} % above", colour)
    draw_threshold(ax, line, "the line", height=0.98)
    percent_axis(ax.yaxis, 3)
    ax.set_title(title)


def own_and_new(own: Any, new: Any, line: float, title: str = "") -> None:
    """Scores of the images that drew a line, and of new ones that it judges."""
    with figure() as fig:
        draw_own_and_new(fig.subplots(), own, new, line, title)


def _hill(ax: Axes, values: Any, edges: Any, colour: str) -> float:
    """Histogram of shares; what lies beyond the axis is left out. Returns its height."""
    shown = np.histogram(values, edges)[0] / len(values)
    ax.stairs(shown, edges, fill=True, color=colour, alpha=0.55)
    return float(shown.max())


def _corner(ax: Axes, line: int, words: str, colour: str) -> None:
    ax.text(0.99, 0.98 - 0.11 * line, words, color=ink(colour), ha="right", va="top",
            fontweight="bold", transform=ax.transAxes, fontsize=10)  # fmt: skip


def draw_units(
    ax: Axes, single: Any, means: Any, image_line: float, batch_line: float, title: str = ""
) -> None:
    """Draw `units` on ``ax``."""
    single, means = as_scores(single, "single"), as_scores(means, "means")
    edges = np.linspace(0, np.quantile(single, 0.99), 60)
    ax.set(xlim=(edges[0], edges[-1]), xlabel=f"score ({SCORE})", ylabel="share")
    for i, (values, colour, name) in enumerate(
        ((means, VERMILLION, "means of 64 images"), (single, BLUE, "single images"))
    ):
        _hill(ax, values, edges, colour)
        _corner(ax, i, name, colour)
    draw_threshold(ax, batch_line, "line from batches", height=0.98)
    ax.plot([image_line, image_line], [0, 0.6], transform=ax.get_xaxis_transform(), color=BLACK,
            linestyle=(0, (5, 3)), linewidth=1.6)  # fmt: skip
    ax.annotate("line from images", (image_line, 0.6), xycoords=("data", "axes fraction"),
                xytext=(5, 0), textcoords="offset points", va="top", fontsize=10)  # fmt: skip
    percent_axis(ax.yaxis, 3)
    ax.set_title(title)


def units(single: Any, means: Any, image_line: float, batch_line: float, title: str = "") -> None:
    """Scores of images and of batch means, each with the line drawn from it."""
    with figure() as fig:
        draw_units(fig.subplots(), single, means, image_line, batch_line, title)


def draw_tuned_lines(ax: Axes, normal: Any, lines: Mapping[str, float], title: str = "") -> None:
    """Draw `tuned_lines` on ``ax``."""
    normal = as_scores(normal, "normal")
    edges = np.linspace(0, np.quantile(normal, 0.99), 60)
    peak = _hill(ax, normal, edges, BLUE)
    ax.text(0.01, 0.98, "normal images", color=ink(BLUE), va="top", fontweight="bold",
            transform=ax.transAxes, fontsize=10)  # fmt: skip
    for i, (name, line) in enumerate(sorted(lines.items(), key=lambda item: item[1])):
        high = 0.98 - 0.13 * i
        words = f"tuned on {name}: {100 * np.mean(normal > line):.0f} % above"
        ax.plot([line, line], [0, high], transform=ax.get_xaxis_transform(), color=BLACK,
                linewidth=2)  # fmt: skip
        ax.annotate(words, (line, high), va="top", xycoords=("data", "axes fraction"),
                    xytext=(5, 0), textcoords="offset points", fontsize=10)  # fmt: skip
    ax.set(xlim=(edges[0], edges[-1]), xlabel=f"score ({SCORE})", ylabel="share")
    ax.set_ylim(0, 1.5 * peak)
    percent_axis(ax.yaxis, 3)
    ax.set_title(title)


def tuned_lines(normal: Any, lines: Mapping[str, float], title: str = "") -> None:
    """Normal scores, and lines that other images have put there, with the normal share above."""
    with figure() as fig:
        draw_tuned_lines(fig.subplots(), normal, lines, title)


def draw_unequal(
    ax: Axes, by_class: Mapping[str, Estimate], overall: float, title: str = ""
) -> None:
    """Draw `unequal` on ``ax``."""
    ordered = sorted(by_class.items(), key=lambda item: item[1].value)
    named = [name for name, _ in (ordered[0], *ordered[-2:])]
    for name, e in ordered:
        shade = BLUE if name in named else GREY
        ax.plot([e.value], [0], "o", color=shade, markersize=12, markeredgecolor="white")
        if name in named:
            words = f"{name}\n{100 * e.value:.1f} %"
            ax.annotate(words, (e.value, 0.25), ha="center", va="bottom", fontsize=11)
    ax.axvline(overall, color=BLACK, linestyle=(0, (5, 3)), linewidth=1.6, zorder=0.9)
    ax.annotate(f"all images, {100 * overall:.1f} %", (overall, 1.5), xytext=(5, 0),
                textcoords="offset points", fontsize=11, va="top")  # fmt: skip
    ax.set(xlim=(-0.008, 1.12 * ordered[-1][1].value), ylim=(-0.4, 1.6), yticks=[])
    ax.set_xlabel(f"rate by predicted class ({SCORE})")
    ax.spines["left"].set_visible(False)
    percent_axis(ax.xaxis, 5)
    ax.set_title(title)


def unequal(by_class: Mapping[str, Estimate], overall: float, title: str = "") -> None:
    """The rate of every class as a dot, three of them named, and that of all as a line."""
    with figure() as fig:
        draw_unequal(fig.subplots(), by_class, overall, title)
