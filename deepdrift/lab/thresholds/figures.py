"""Realised false-alarm rates of many calibrations."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepdrift.lab.bench.evaluation import as_scores
from deepdrift.lab.bench.figures.canvas import (
    BLUE,
    ORANGE,
    Axes,
    ink,
    matplotlib,
    percent_axis,
)
from deepdrift.lab.bench.figures.histograms import draw_threshold


def draw_rate_histogram(
    ax: Axes,
    rates: Any,
    alpha: float,
    title: str = "",
    band: tuple[float, float] | None = None,
    alpha_name: str = "promised",
) -> None:
    """Histogram of realised false-alarm rates, alpha as a line, its expected band shaded."""
    rates = as_scores(rates, "rates")
    right = max(1.05 * float(rates.max()), 2 * alpha, 0.01)
    counts, edges = np.histogram(rates, np.linspace(0, right, 41))
    ax.stairs(counts, edges, fill=True, color=BLUE, alpha=0.75)
    ax.set_xlim(0, right)
    ax.set_ylim(0, 1.4 * counts.max())
    if band is not None:
        ax.axvspan(*band, color=ORANGE, alpha=0.22, linewidth=0, zorder=0.5)
        ax.text(0.99, 0.86, "shaded: 90 % of draws belong here", color=ink(ORANGE), ha="right",
                va="top", fontweight="bold", fontsize=10, transform=ax.transAxes)  # fmt: skip
    draw_threshold(ax, alpha, f"{alpha_name} {100 * alpha:.3g} %", height=0.97)
    percent_axis(ax.xaxis)
    ax.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, integer=True))
    ax.set(xlabel="realised false-alarm rate on unseen normal samples", ylabel="number of draws")
    if title:
        ax.set_title(title)
