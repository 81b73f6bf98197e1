"""Rates: over many calibrations, by rule or class, and found at a promised rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepdrift.lab.bench.evaluation import Estimate, as_scores
from deepdrift.lab.bench.figures import (
    BLACK,
    BLUE,
    GREY,
    HEIGHT,
    VERMILLION,
    Axes,
    draw_end_labels,
    draw_name,
    draw_threshold,
    figure,
    halo,
    ink,
    matplotlib,
    percent_axis,
    rate_by_size,
)
from deepdrift.lab.bench.figures.canvas import colour

__all__ = [
    "draw_found",
    "draw_rate_histogram",
    "draw_rates",
    "found_at_rates",
    "rate_by_size",
    "rates",
]

BINS = 40
Rows = Mapping[str, Estimate | Mapping[str, Estimate]]


def draw_rate_histogram(
    ax: Axes,
    rates: Any,
    alpha: float | None,
    title: str = "",
    band: tuple[float, float] | None = None,
    draw: int = 1,
    limits: tuple[float, float] = (0.0, 0.2),
    score: str = "",
) -> None:
    """Histogram of realised rates: those above alpha in another colour, one draw named.

    Parameters
    ----------
    rates : array_like of shape (R,)
        One rate per calibration set; those beyond ``limits`` are counted in the outermost bin.
    alpha : float or None
        The promised rate as a line, or nothing promised.
    band : tuple of float, optional
        Where theory expects 90 % of the rates, shaded.
    draw : int
        Number of the draw to point at, from 1.
    score : str
        What was scored with, for the axis.
    """
    rates = as_scores(rates, "rates")
    edges = np.linspace(*limits, BINS + 1)
    shown = np.clip(rates, *limits)
    kept = shown if alpha is None else shown[rates <= alpha + 1e-12]
    counts, below = (np.histogram(x, edges)[0] for x in (shown, kept))
    ax.stairs(below, edges, fill=True, color=BLUE, alpha=0.75)
    ax.stairs(counts, edges, baseline=below, fill=True, color=VERMILLION, alpha=0.75)
    top = 1.55 * counts.max()
    ax.set(xlim=limits, ylim=(0, top))
    if band is not None:
        ax.axvspan(*band, color=GREY, alpha=0.22, linewidth=0, zorder=0.5)
        _corner(ax, 0, "grey: 90 % of the draws belong here", GREY)
    if alpha is not None:
        _corner(
            ax, 1, f"above the promise: {100 * np.mean(rates > alpha + 1e-12):.0f} %", VERMILLION
        )
        draw_threshold(ax, alpha, f"promised {100 * alpha:.3g} %", height=0.98)
    if (beyond := float(np.mean(rates > limits[1]))) > 0:
        _corner(ax, 2, f"beyond this axis: {100 * beyond:.0f} %", BLACK)
    _point_at(ax, float(rates[draw - 1]), counts, edges, f"draw {draw}", top, alpha)
    percent_axis(ax.xaxis)
    ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, integer=True))
    ax.set(xlabel=rate_label(score), ylabel="number of draws")
    if title:
        ax.set_title(title)


def rate_label(score: str = "") -> str:
    """What the axis of realised rates shows.

    Examples
    --------
    >>> rate_label("MSP")
    'realised false-alarm rate on unseen normal samples (MSP)'
    """
    return "realised false-alarm rate on unseen normal samples" + (f" ({score})" if score else "")


def _corner(ax: Axes, line: int, words: str, colour_of_words: str) -> None:
    halo(ax.text(0.99, 0.97 - 0.09 * line, words, color=ink(colour_of_words), ha="right", va="top",
                 fontweight="bold", fontsize=10, transform=ax.transAxes))  # fmt: skip


def _point_at(
    ax: Axes, rate: float, counts: Any, edges: Any, name: str, top: float, line: float | None
) -> None:
    """Arrow from the name of a draw to its place on the hill, away from the line if there is."""
    at = min(max(rate, edges[0]), edges[-1])
    place = min(int(np.searchsorted(edges, at, side="right")) - 1, len(counts) - 1)
    words = f"{name}: {100 * rate:.1f} %"
    share = (at - edges[0]) / (edges[-1] - edges[0])
    before_line = line is not None and at < line and share > 0.2
    side = "right" if before_line or share > 0.75 else "left"
    ax.plot([at, at], [counts[place], 0.8 * top], color=BLACK, linewidth=1)
    ax.plot([at], [counts[place]], marker="v", color=BLACK, markersize=7, clip_on=False)
    halo(ax.annotate(words, (at, 0.8 * top), xytext=(4 if side == "left" else -4, 0), ha=side,
                     va="center", textcoords="offset points", fontsize=10, color=BLACK,
                     fontweight="bold"))  # fmt: skip


def draw_rates(
    ax: Axes,
    rates: Rows,
    title: str = "",
    xlabel: str = "false-alarm rate",
    promised: float | None = 0.05,
    bands: Sequence[tuple[float, float]] = (),
) -> None:
    """Draw `rates` on ``ax``."""
    rows = {name: e if isinstance(e, Mapping) else {"": e} for name, e in rates.items()}
    series = list(dict.fromkeys(s for row in rows.values() for s in row))
    step = 0.7 / max(len(series), 2)
    for y, row in enumerate(rows.values()):
        for s, e in row.items():
            k = series.index(s)
            at = y + (k - (len(series) - 1) / 2) * step
            ax.plot([e.low, e.high], [at, at], color=colour(k), linewidth=2.6)
            ax.plot(e.value, at, "os^"[k % 3], color=colour(k), markersize=7)
    for y, (low, high) in enumerate(bands):
        ax.fill_betweenx([y - 0.42, y + 0.42], low, high, color=GREY, alpha=0.18, linewidth=0)
    for y in range(1, len(rows)):
        ax.axhline(y - 0.5, color="#eeeeee", linewidth=1, zorder=0.5)
    ax.set_yticks(range(len(rows)), list(rows))
    highest = max(e.high for row in rows.values() for e in row.values())
    ax.set(xlim=(0, 1.1 * highest), ylim=(len(rows) - 0.5, -0.5), xlabel=xlabel)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")
    percent_axis(ax.xaxis)
    ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, steps=[1, 2, 5, 10]))
    if promised is not None:
        ax.axvline(promised, color=BLACK, linestyle=(0, (5, 3)), linewidth=1.4, zorder=0.9)
        ax.annotate(f"promised {100 * promised:.3g} %", (promised, 1), xytext=(0, 2), ha="center",
                    xycoords=("data", "axes fraction"), textcoords="offset points", va="bottom",
                    fontsize=10)  # fmt: skip
    for k, name in enumerate(series if len(series) > 1 else ()):
        draw_name(ax, name, k)
    ax.set_title(title, pad=20 if promised is not None else 8)


def rates(
    rates: Rows,
    title: str = "",
    *,
    xlabel: str = "false-alarm rate",
    promised: float | None = 0.05,
    bands: Sequence[tuple[float, float]] = (),
) -> None:
    """One row per name, in percent: the rate as a mark, its interval as a line.

    Parameters
    ----------
    rates : mapping of str to Estimate, or to a mapping of series name to Estimate
        Series have a colour and a mark each, named in the upper right corner.
    title : str
        The finding.
    promised : float or None
        A dashed line.
    bands : sequence of pairs of float, one per row, optional
        Where luck puts each rate, in grey.
    """
    n = max((len(e) if isinstance(e, Mapping) else 1 for e in rates.values()), default=1)
    with figure(max(HEIGHT, 1.1 + len(rates) * max(0.25, 0.15 * n))) as fig:
        draw_rates(fig.subplots(), rates, title, xlabel, promised, bands)


def draw_found(
    ax: Axes, found: Mapping[str, Sequence[Estimate]], alphas: Sequence[float], title: str = ""
) -> None:
    """Draw one panel of `found_at_rates` on ``ax``."""
    x = range(len(alphas))
    for i, row in enumerate(found.values()):
        low, value, high = np.array([[e.low, e.value, e.high] for e in row]).T
        ax.vlines(x, low, high, color=colour(i), linewidth=2)
        ax.plot(x, value, "os^"[i % 3] + "-", color=colour(i))
    ax.plot(x, alphas, color=GREY, linestyle=(0, (5, 3)), linewidth=1.4)
    ax.set_xticks(x, [f"{100 * a:.3g} %" for a in alphas])
    ax.set(xlim=(-0.2, len(alphas) - 0.8), ylim=(0, 1.02), yticks=[0, 0.5, 1])
    percent_axis(ax.yaxis)
    ax.set_title(title, fontsize=11)


def found_at_rates(
    found: Mapping[str, Mapping[str, Sequence[Estimate]]], alphas: Sequence[float], title: str = ""
) -> None:
    """Share of each set that scores find, by promised false-alarm rate, a panel per set.

    Parameters
    ----------
    found : mapping of set name to mapping of score name to estimates, one per alpha
        From `deepdrift.lab.thresholds.rates.found_at`.
    alphas : sequence of float
        Promised rates. The dashed line is a coin that fires at that rate.
    title : str
        The finding.
    """
    with figure(HEIGHT + 0.3) as fig:
        fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
        axes = fig.subplots(1, len(found), sharey=True, squeeze=False)[0]
        for ax, (name, by_score) in zip(axes, found.items(), strict=True):
            draw_found(ax, by_score, alphas, name)
        axes[0].set_ylabel("share found")
        axes[len(axes) // 2].set_xlabel("promised false-alarm rate")
        last = list(found.values())[-1]
        ends = {s: row[-1].value for s, row in last.items()} | {"a coin": alphas[-1]}
        colours = {s: colour(i) for i, s in enumerate(last)} | {"a coin": GREY}
        draw_end_labels(axes[-1], ends, colours)
