"""Two sets of scores as histograms, with a threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.lab.bench.evaluation import as_scores
from deepdrift.lab.bench.figures.canvas import (
    BLACK,
    BLUE,
    VERMILLION,
    Axes,
    PlotError,
    halo,
    ink,
    matplotlib,
    percent_axis,
)

TAIL = 0.995  # what lies beyond this share of its set is counted in the outermost bin


def histogram_edges(
    *values: NDArray[np.float64], n_bins: int = 50, log: bool = False
) -> NDArray[np.float64]:
    """Common bin edges over finite values; equal ratios instead of equal steps for ``log``.

    The largest 0.5 % of a set (none, if it has 200 values or fewer) do not stretch the axis.

    Examples
    --------
    >>> histogram_edges(np.array([0.0, np.inf]), np.array([4.0]), n_bins=4)
    array([0., 1., 2., 3., 4.])
    >>> histogram_edges(np.array([1.0, 100.0]), n_bins=2, log=True)
    array([  1.,  10., 100.])
    """
    finite = [v[np.isfinite(v)] for v in values]
    pooled = np.concatenate(
        [np.minimum(v, np.quantile(v, TAIL, method="higher")) for v in finite if len(v)] or finite
    )
    if len(pooled) == 0:
        raise PlotError("scores: expected at least one finite score, got none")
    low, high = float(pooled.min()), float(pooled.max())
    if log and low <= 0:
        raise PlotError(
            f"log: a logarithmic axis needs positive scores, the smallest is {low:g}; use log=False"
        )
    if low == high:
        low, high = (low / 2, low * 2) if log else (low - 0.5, high + 0.5)
    return np.geomspace(low, high, n_bins + 1) if log else np.linspace(low, high, n_bins + 1)


def draw_two_histograms(
    ax: Axes,
    a: Any,
    b: Any,
    names: tuple[str, str] = ("normal", "shifted"),
    title: str = "",
    xlabel: str = "score (larger = more unusual)",
    threshold: float | None = None,
    log: bool = False,
    n_bins: int = 50,
    edges: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Draw `two_histograms` on ``ax``; returns the artists ``a``, ``b``, ``line`` and labels.

    ``edges`` fixes the bins, so that several figures can be compared; scores beyond them are
    counted in the outermost bin.
    """
    a, b = as_scores(a, names[0]), as_scores(b, names[1])
    if edges is None:
        edges = histogram_edges(a, b, n_bins=n_bins, log=log)
    artists: dict[str, Any] = {}
    peak = 0.0
    for key, values, colour in (("a", a, BLUE), ("b", b, VERMILLION)):
        inside = np.clip(values, edges[0], edges[-1])  # infinite scores fill the outer bins
        share = np.histogram(inside, edges)[0] / len(values)
        peak = max(peak, float(share.max()))
        artists[key] = ax.stairs(share, edges, fill=True, color=colour, alpha=0.55)
        ax.stairs(share, edges, color=colour, linewidth=1.2)
    if log:
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    at = edges[0] if threshold is None else threshold
    ax.set_xlim(min(edges[0], at), max(edges[-1], at))
    ax.set_ylim(0, 1.45 * peak)
    ax.set(xlabel=xlabel, ylabel="share of samples")
    percent_axis(ax.yaxis, 4)
    if title:
        ax.set_title(title)
    left_is_a = np.median(a) <= np.median(b)
    for key, name, values, colour in (("a", names[0], a, BLUE), ("b", names[1], b, VERMILLION)):
        at_left = left_is_a == (key == "a")
        artists[f"label_{key}"] = halo(
            ax.text(0.01 if at_left else 0.99, 0.98, _share_label(name, values, threshold),
                    color=ink(colour), ha="left" if at_left else "right", va="top",
                    transform=ax.transAxes, fontweight="bold", fontsize=10)
        )  # fmt: skip
    if threshold is not None:
        artists["line"], artists["label_line"] = draw_threshold(
            ax, threshold, f"threshold {threshold:.4g}", height=0.86
        )
    return artists


def _share_label(name: str, values: NDArray[np.float64], threshold: float | None) -> str:
    if threshold is None:
        return f"{name} (n = {len(values)})"
    return f"{name}: {100 * float(np.mean(values > threshold)):.1f} % above"


def draw_threshold(ax: Axes, at: float, label: str, height: float = 1.0) -> tuple[Any, Any]:
    """Dashed vertical line with its label beside it, on the side that has room."""
    line = ax.plot([at, at], [0, height], transform=ax.get_xaxis_transform(), color=BLACK,
                   linestyle=(0, (5, 3)), linewidth=1.6, clip_on=True)[0]  # fmt: skip
    from_left = ax.transAxes.inverted().transform(ax.transData.transform((at, 0)))[0]
    side = "left" if from_left < 0.6 else "right"
    text = ax.annotate(label, (at, height), xycoords=("data", "axes fraction"), ha=side, va="top",
                       xytext=(5 if side == "left" else -5, 0), textcoords="offset points",
                       fontsize=10, color=BLACK, annotation_clip=True)  # fmt: skip
    return line, halo(text)
