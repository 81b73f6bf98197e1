"""Figures of permutation tests: what chance gives, what was observed, and how often it is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepdrift.baselines import DriftTest
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.evaluation import Estimate, as_scores

Axes = Any
MARKERS = "os^Dv"


def draw_permutations(
    ax: Axes, null: Any, observed: float, threshold: float, title: str = "", xlabel: str = "MMD²"
) -> None:
    """Histogram of the permuted values, the threshold dashed, the observed value as an arrow."""
    null = as_scores(null, "null")
    low, high = (f([*null, observed, threshold]) for f in (min, max))
    margin = 0.06 * (high - low) or 1.0
    counts, edges = np.histogram(null, np.linspace(low, high, 41) if high > low else 3)
    found, top = observed >= threshold, 1.5 * counts.max()
    colour = figures.VERMILLION if found else figures.BLUE
    ax.stairs(counts, edges, fill=True, color=figures.GREY, alpha=0.55)
    ax.set_xlim(low - margin, high + margin)
    ax.set_ylim(0, top)
    figures.draw_threshold(ax, threshold, "threshold", height=0.98)
    ax.plot([observed] * 2, [0, 0.7 * top], color=colour, linewidth=2.6)
    right = observed > (low + high) / 2
    text = ax.annotate("observed", (observed, 0.7 * top), xytext=(-5 if right else 5, 0),
                       textcoords="offset points", ha="right" if right else "left", va="top",
                       color=colour, fontweight="bold")  # fmt: skip
    figures.halo(text)
    ax.yaxis.set_major_locator(figures.matplotlib.ticker.MaxNLocator(4, integer=True))
    ax.xaxis.set_major_locator(figures.matplotlib.ticker.MaxNLocator(6))
    ax.set(xlabel=xlabel, ylabel="number of deals", title=title)


def permutations(tests: Mapping[str, DriftTest], title: str = "") -> None:
    """One panel per test: its permuted values, its threshold, its observed value.

    Parameters
    ----------
    tests : mapping of str to DriftTest
        Name of the panel -> outcome, which carries its permuted values.
    title : str
        The finding.
    """
    with figures.figure() as fig:
        axes = fig.subplots(1, len(tests), squeeze=False)[0]
        for ax, (name, test) in zip(axes, tests.items(), strict=True):
            draw_permutations(ax, test.null, test.distance, test.distance_threshold,
                              xlabel=test.statistic)  # fmt: skip
            ax.set_title(f"{name}: p = {test.p_value:.2g}", fontsize=11, fontweight="normal")
        for ax in axes[1:]:
            ax.set_ylabel("")
        _headline(fig, title)


def draw_effects(
    ax: Axes,
    bandwidths: Sequence[float],
    effects: Mapping[str, Sequence[float]],
    marks: Mapping[str, float],
    *,
    xlabel: str = "bandwidth σ",
) -> None:
    """Effect size against the bandwidth, and named bandwidths as vertical lines."""
    for i, (name, values) in enumerate(effects.items()):
        ax.plot(bandwidths, values, marker=MARKERS[i % 5], markersize=4, color=figures.COLOURS[i])
        if len(effects) > 1:
            figures.draw_name(ax, name, i)
    ax.axhline(0, color=figures.GREY, linewidth=1)
    if ax.get_xscale() != "log":  # slow, and an explorer comes here with every move
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        ax.xaxis.set_minor_locator(figures.matplotlib.ticker.NullLocator())
    top = max(max(values) for values in effects.values())
    ax.set_ylim(top=1.3 * max(top, 2.0))
    for name, at in marks.items():
        figures.draw_threshold(ax, at, name, height=0.98)
    ax.set(xlabel=xlabel, ylabel="effect size [sd]")


def bandwidths(
    samples: Mapping[str, Any],
    sigmas: Sequence[float],
    effects: Sequence[float],
    marks: Mapping[str, float],
    title: str = "",
) -> None:
    """Two one-dimensional samples, and what each bandwidth sees of their difference.

    Parameters
    ----------
    samples : mapping of str to array_like, shapes (N,)
        The two samples, drawn as histograms with narrow bins.
    sigmas, effects : sequences of K floats
        Bandwidths, and the effect size of the test with each.
    marks : mapping of str to float
        Bandwidths worth a name.
    title : str
        The finding.
    """
    with figures.figure() as fig:
        left, right = fig.subplots(1, 2)
        arrays = {name: as_scores(x, name) for name, x in samples.items()}
        edges = figures.histogram_edges(*arrays.values(), n_bins=90)
        for i, (name, x) in enumerate(arrays.items()):
            counts, _ = np.histogram(x, edges)
            left.stairs(counts, edges, fill=True, color=figures.COLOURS[i], alpha=0.6)
            figures.draw_name(left, name, i)
        left.set_ylim(top=1.45 * left.get_ylim()[1])
        left.set(xlabel="value", ylabel="number of samples")
        draw_effects(right, sigmas, {"": effects}, marks)
        _headline(fig, title)


def power_curves(
    sizes: Sequence[int],
    panels: Mapping[str, Mapping[str, Sequence[Estimate]]],
    alpha: float,
    title: str = "",
) -> None:
    """How often tests call drift against the number of samples, with intervals.

    Parameters
    ----------
    sizes : sequence of K int
        Samples on either side.
    panels : mapping of str to mapping of str to sequence of K Estimate
        Panel -> test -> share of repetitions that called drift.
    alpha : float
        Level, dashed: what a test gives that sees nothing.
    title : str
        The finding.
    """
    with figures.figure() as fig:
        axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for ax, (panel, by_test) in zip(axes, panels.items(), strict=True):
            draw_power(ax, sizes, by_test, alpha)
            ax.set_title(panel, fontsize=11, fontweight="normal")
        axes[0].set_ylabel("calls drift")
        _headline(fig, title)


def draw_power(
    ax: Axes, sizes: Sequence[int], by_test: Mapping[str, Sequence[Estimate]], alpha: float
) -> None:
    """Draw one panel of `power_curves` on ``ax``."""
    ax.axhline(alpha, color=figures.BLACK, linestyle=(0, (5, 3)), linewidth=1.4)
    for i, (name, estimates) in enumerate(by_test.items()):
        if len(estimates) != len(sizes):
            raise figures.PlotError(
                f"{name}: expected {len(sizes)} estimates, one per size, got {len(estimates)}"
            )
        at = np.arange(len(sizes)) + 0.07 * (i - (len(by_test) - 1) / 2)
        colour = figures.COLOURS[i % 7]
        for x, e in zip(at, estimates, strict=True):
            ax.plot([x, x], [e.low, e.high], color=colour, linewidth=1.6, alpha=0.6)
        ax.plot(at, [e.value for e in estimates], marker=MARKERS[i % 5], markersize=5,
                color=colour, linewidth=1.6, label=name)  # fmt: skip
    ax.set_xticks(range(len(sizes)), [f"{n:,}" for n in sizes])
    ax.set_ylim(-0.03, 1.05)
    ax.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.3g} %")
    ax.set_xlabel("samples on either side, n")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9.5, handlelength=1.4)


def _headline(fig: Any, title: str) -> None:
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
