"""The ROC curve: what every threshold costs in false alarms, and what it catches."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepdrift.lab.bench.evaluation import as_scores
from deepdrift.lab.bench.figures.canvas import (
    BLACK,
    GREY,
    PURPLE,
    Axes,
    figure,
    halo,
    ink,
    percent_axis,
)

AUROC_MEANS = "share of pairs\nin which the strange\none scores higher"


class Roc(NamedTuple):
    """Points of a ROC curve from (0, 0) to (1, 1), and the area below it."""

    false_alarms: NDArray[np.float64]  # share of normal samples above the threshold
    caught: NDArray[np.float64]  # share of strange samples above it
    auroc: float


def roc_curve(normal: Any, strange: Any) -> Roc:
    """One point per threshold, from the strictest to the one that flags all.

    A sample is flagged if its score lies above the threshold, so samples of one score are flagged
    together: a slanted piece, and half a pair in the area.

    Parameters
    ----------
    normal, strange : array_like, shapes (N,) and (M,)
        Scores; larger means more unusual.

    Examples
    --------
    Of the 2 x 3 pairs, 4 are in the right order and 1 is tied: (4 + 0.5) / 6.

    >>> curve = roc_curve([1, 3], [2, 3, 4])
    >>> curve.false_alarms.tolist(), curve.caught.round(2).tolist(), curve.auroc
    ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.33, 0.67, 1.0, 1.0], 0.75)
    """
    normal, strange = as_scores(normal, "normal"), as_scores(strange, "strange")
    thresholds = np.unique(np.concatenate([normal, strange]))[::-1]
    x, y = (
        np.r_[0.0, 1 - np.searchsorted(np.sort(scores), thresholds, side="left") / len(scores)]
        for scores in (normal, strange)
    )
    return Roc(x, y, float(np.trapezoid(y, x)))


def thinned(curve: Roc, n: int = 400) -> Roc:
    """At most so many points of a curve, the ends among them: for drawing, the area stays."""
    keep = np.unique(np.linspace(0, len(curve.caught) - 1, n).round().astype(int))
    return Roc(curve.false_alarms[keep], curve.caught[keep], curve.auroc)


def rates_above(normal: Any, strange: Any, threshold: float) -> tuple[float, float]:
    """Share of false alarms and share caught at one threshold: a point of the curve.

    Examples
    --------
    >>> rates_above([1, 2, 3, 9], [2, 5, 8, 8], threshold=2)
    (0.5, 0.75)
    """
    normal, strange = as_scores(normal, "normal"), as_scores(strange, "strange")
    return float(np.mean(normal > threshold)), float(np.mean(strange > threshold))


def draw_roc(
    ax: Axes,
    curve: Roc,
    title: str = "",
    *,
    point: tuple[float, float] | None = None,
    mark: tuple[float, float] | None = None,
    mark_name: str = "",
    labels: tuple[str, str] = ("false alarms", "caught"),
) -> dict[str, Any]:
    """Draw `roc` on ``ax``; returns the artists ``curve``, ``area``, ``auroc``, point and mark."""
    shown = thinned(curve)
    artists: dict[str, Any] = {
        "area": ax.fill_between(
            shown.false_alarms, shown.caught, color=PURPLE, alpha=0.16, linewidth=0
        ),
        "coin": ax.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (5, 3)), linewidth=1)[0],
        "curve": ax.plot(shown.false_alarms, shown.caught, color=PURPLE)[0],
    }
    artists["auroc"] = ax.text(
        0.98, 0.05, f"AUROC {curve.auroc:.2f}: {AUROC_MEANS}", ha="right", va="bottom",
        color=ink(PURPLE), fontsize=9, fontweight="bold", linespacing=1.3,
    )  # fmt: skip
    if mark is not None:
        artists["mark"] = ax.plot(*mark, "D", color="white", mec=BLACK, markersize=11,
                                  clip_on=False)[0]  # fmt: skip
        side, by = ("left", 10) if mark[0] < 0.6 else ("right", -10)
        artists["mark_name"] = halo(
            ax.annotate(mark_name, mark, xytext=(by, -4), textcoords="offset points", ha=side,
                        va="top", fontsize=9, color=BLACK)
        )  # fmt: skip
    if point is not None:
        artists["point"] = ax.plot(
            *point, "o", color=BLACK, markersize=6.5, clip_on=False, zorder=4
        )[0]
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set(xlabel=labels[0], ylabel=labels[1])
    percent_axis(ax.xaxis, 4)
    percent_axis(ax.yaxis, 4)
    if title:
        ax.set_title(title)
    return artists


def roc(
    normal: Any,
    strange: Any,
    title: str = "",
    *,
    threshold: float | None = None,
    mark: float | None = None,
    mark_name: str = "",
) -> None:
    """False alarms against what is caught, for every threshold; the area below is the AUROC.

    Parameters
    ----------
    normal, strange : array_like, shapes (N,) and (M,)
        Scores; larger means more unusual.
    title : str
        The finding.
    threshold : float, optional
        Drawn as a black point.
    mark : float, optional
        Another threshold, drawn as an open diamond with ``mark_name`` beside it.
    """
    with figure() as fig:
        ax = fig.subplots()
        at = {
            name: rates_above(normal, strange, value)
            for name, value in (("point", threshold), ("mark", mark))
            if value is not None
        }
        draw_roc(ax, roc_curve(normal, strange), title, mark_name=mark_name, **at)
        ax.set_aspect("equal")
