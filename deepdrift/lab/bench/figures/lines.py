"""A quantity by layer, and a rate by sample size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from deepdrift.lab.bench.evaluation import Estimate, as_scores
from deepdrift.lab.bench.figures.canvas import (
    BLACK,
    GREY,
    Axes,
    PlotError,
    colour,
    draw_end_labels,
    draw_name,
    figure,
    percent_axis,
)


def layer_lines(
    series: Mapping[str, Mapping[str, Estimate]],
    title: str = "",
    *,
    ylabel: str = "AUROC",
    level: tuple[float, str] | None = (0.5, "a coin"),
    xlabel: str = "layer",
) -> None:
    """One measured value per layer with its interval, for several series.

    Parameters
    ----------
    series : mapping of str to mapping of layer name to Estimate
        From the input side to the output side. Different names at one place are both shown.
    title : str
        The finding.
    level : (float, str) or None
        A labelled dashed level to compare with.
    """
    if not series or not all(series.values()):
        raise PlotError("series: expected at least one set of estimates with one layer, got none")
    columns = zip_longest(*series.values())  # names that stand at the same place share a tick
    names = [" / ".join(dict.fromkeys(filter(None, column))) for column in columns]
    with figure() as fig:
        ax = fig.subplots()
        for i, estimates in enumerate(series.values()):
            low, value, high = np.array([[e.low, e.value, e.high] for e in estimates.values()]).T
            ax.fill_between(range(len(value)), low, high, alpha=0.2, color=colour(i))
            ax.plot(range(len(value)), value, color=colour(i), marker="o")
        ax.set(xticks=range(len(names)), xticklabels=names, ylabel=ylabel, xlabel=xlabel)
        ax.set_xlim(-0.15, len(names) - 0.85)
        ax.set_ylim(0.0, 1.0)
        if level is not None:
            ax.axhline(level[0], color=GREY, linestyle="--", linewidth=1)
            ax.annotate(level[1], (len(names) - 1, level[0]), xytext=(0, 3), ha="right",
                        textcoords="offset points", fontsize=9, color=GREY)  # fmt: skip
        ax.set_title(title)
        ends = {name: list(e.values())[-1].value for name, e in series.items()}
        draw_end_labels(ax, ends, {name: colour(i) for i, name in enumerate(series)})


def draw_rate_by_size(
    ax: Axes,
    sizes: Sequence[int],
    rates: Mapping[str, Sequence[Any]],
    alpha: float,
    title: str = "",
    bands: Sequence[tuple[float, float]] | None = None,
) -> None:
    """Draw `rate_by_size` on ``ax``."""
    for name, draws in rates.items():
        if len(draws) != len(sizes):
            raise PlotError(
                f"rates of {name!r}: expected {len(sizes)} sets of draws, one per calibration "
                f"size, got {len(draws)}"
            )
    width = 0.8 / max(len(rates), 1)
    for i, (name, draws) in enumerate(rates.items()):
        at = np.arange(len(sizes)) + (i - (len(rates) - 1) / 2) * width
        for x, drawn in zip(at, draws, strict=True):
            ax.plot([x, x], np.quantile(as_scores(drawn, name), [0.05, 0.95]), color=colour(i),
                    linewidth=3, alpha=0.6, solid_capstyle="butt")  # fmt: skip
        ax.plot(at, [float(np.mean(drawn)) for drawn in draws], "os^Dv"[i % 5], color=colour(i))
        draw_name(ax, name, i)
    for x, (low, high) in enumerate(bands or ()):
        ax.fill_between([x - 0.45, x + 0.45], low, high, color=GREY, alpha=0.18, linewidth=0)
    ax.axhline(alpha, color=BLACK, linestyle=(0, (5, 3)), linewidth=1.6)
    percent_axis(ax.yaxis, 5)
    ax.set_xticks(range(len(sizes)), [f"{n:,}" for n in sizes])
    ax.set_xlim(-0.6, len(sizes) - 0.4)
    ax.set_ylim(bottom=0)
    ax.set(xlabel="calibration size n", ylabel="realised rate")
    if title:
        ax.set_title(title)


def rate_by_size(
    sizes: Sequence[int],
    rates: Mapping[str, Sequence[Any]],
    alpha: float,
    title: str = "",
    *,
    bands: Sequence[tuple[float, float]] | None = None,
) -> None:
    """Realised false-alarm rate of several rules as the calibration set grows.

    Parameters
    ----------
    sizes : sequence of K int
        Calibration sizes.
    rates : mapping of str to K arrays, each of shape (R,)
        Rule -> for each size, the rates of R calibration draws: the mean as a marker, 5 to 95 % of
        the draws as a bar.
    alpha : float
        Promised rate, dashed.
    title : str
        The finding.
    bands : K pairs of float, optional
        Where theory expects the rates (`false_alarm_interval`), shaded.
    """
    with figure() as fig:
        draw_rate_by_size(fig.subplots(), sizes, rates, alpha, title, bands)
