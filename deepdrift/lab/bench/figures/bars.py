"""Estimates with their intervals, a row each."""

from __future__ import annotations

from collections.abc import Mapping

from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.bench.figures.canvas import (
    GREY,
    HEIGHT,
    INK,
    Axes,
    PlotError,
    colour,
    figure,
    ink,
    matplotlib,
)


def draw_score_bars(
    ax: Axes,
    estimates: Mapping[str, Estimate | Mapping[str, Estimate]],
    title: str = "",
    xlabel: str = "AUROC",
    chance: float | None = 0.5,
    limits: tuple[float, float] = (0.0, 1.0),
    chance_name: str = "coin flip",
) -> None:
    """Draw `score_bars` on ``ax``."""
    if not estimates:
        raise PlotError("estimates: expected at least one, got none")
    rows = {name: e if isinstance(e, Mapping) else {"": e} for name, e in estimates.items()}
    series = list(dict.fromkeys(s for row in rows.values() for s in row))
    step = 0.7 / max(len(series), 2)
    for y, (_, row) in enumerate(rows.items()):
        for s, e in row.items():
            k = series.index(s)
            at = y + (k - (len(series) - 1) / 2) * step
            ax.plot([e.low, e.high], [at, at], color=colour(k), linewidth=2.4)
            ax.plot(e.value, at, "o", color=colour(k), markersize=6, clip_on=False)
            if len(series) == 1:
                ax.annotate(str(e), (1.0, at), xycoords=("axes fraction", "data"), xytext=(8, 0),
                            textcoords="offset points", va="center", fontsize=9, color=INK,
                            annotation_clip=False)  # fmt: skip
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(*limits)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")
    ax.set_xlabel(xlabel)
    if chance is not None:
        ax.axvline(chance, color=GREY, linestyle=(0, (5, 3)), linewidth=1.4, zorder=0.9)
        ax.annotate(chance_name, (chance, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
                    textcoords="offset points", ha="center", va="bottom", fontsize=9,
                    color=GREY)  # fmt: skip
    if title:
        ax.set_title(title, pad=18 if chance is not None else 8)
    if len(series) > 1:
        handles = [matplotlib.lines.Line2D([], [], color=colour(k), marker="o", linewidth=2.4)
                   for k in range(len(series))]  # fmt: skip
        ax.legend(handles, series, loc="center left", bbox_to_anchor=(1.01, 0.5),
                  labelcolor=[ink(colour(k)) for k in range(len(series))])  # fmt: skip
        for y in range(1, len(rows)):
            ax.axhline(y - 0.5, color="#eeeeee", linewidth=1, zorder=0.5)


def score_bars(
    estimates: Mapping[str, Estimate | Mapping[str, Estimate]],
    title: str = "",
    *,
    xlabel: str = "AUROC (right = separates better)",
    chance: float | None = 0.5,
    limits: tuple[float, float] = (0.0, 1.0),
    chance_name: str = "coin flip",
) -> None:
    """One row per name: the value as a dot, its interval as a line, the chance level dashed.

    Parameters
    ----------
    estimates : mapping of str to Estimate, or to a mapping of series name to Estimate
        With one estimate per row its numbers are printed at the right; with several, each series
        has a colour and a name at the right. Long lists make the figure taller.
    title : str
        The finding.
    chance : float or None
        Value of a score that knows nothing, or another one worth a dashed line.
    chance_name : str
        What that line is.
    """
    n_series = max((len(e) if isinstance(e, Mapping) else 1 for e in estimates.values()), default=1)
    height = max(HEIGHT, 1.0 + len(estimates) * max(0.23, 0.12 * n_series))
    with figure(height) as fig:
        draw_score_bars(fig.subplots(), estimates, title, xlabel, chance, limits, chance_name)
