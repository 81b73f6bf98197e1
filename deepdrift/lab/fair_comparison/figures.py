"""Pictures of the fair comparison: rankings, what pixels know, kept promises, batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from deepdrift.errors import require
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.evaluation import Array, Estimate
from deepdrift.lab.fair_comparison.detectors import DETECTORS, FUSED, GAUSSIANS, INSIDE, PIXELS
from deepdrift.lab.fair_comparison.measures import promise_rows
from deepdrift.lab.fair_comparison.table import Comparison

matplotlib = require("matplotlib", "lab")

FAMILY_COLOURS = {"ours": figures.VERMILLION, "velocity": figures.PURPLE, "trivial": figures.GREY}
_BOLD = (FUSED, GAUSSIANS, PIXELS)  # what a reader looks for first
_LINE = 0.205  # inches per detector


def colour_of(detector: str) -> str:
    """Ours, raw velocity and scores without a network have a colour each; others are blue."""
    known = DETECTORS.get(detector)
    return FAMILY_COLOURS.get(known.family, figures.BLUE) if known else figures.BLUE


def _name_rows(ax: Any, names: Sequence[str], size: float = 9.5) -> None:
    ax.set_yticks(range(len(names)), names, fontsize=size)
    for label, name in zip(ax.get_yticklabels(), names, strict=True):
        label.set_color(figures.ink(colour_of(name)))
        label.set_fontweight("bold" if name in _BOLD else "normal")
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _two_panels(
    tables: Mapping[str, Any],
    title: str,
    draw: Callable[[Any, str], None],
    rows: int | None = None,
) -> None:
    if rows is None:
        rows = max(len(table.detectors) for table in tables.values())
    with figures.figure(1.1 + _LINE * rows) as fig:
        panels = fig.subplots(1, len(tables), squeeze=False, sharex=True)[0]
        for ax, name in zip(panels, tables, strict=True):
            draw(ax, name)
            ax.set_title(name, fontsize=11, fontweight="normal")
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold")


# --- rankings -----------------------------------------------------------------------------------


def draw_ranking(
    ax: Any, comparison: Comparison, row: str, names: Sequence[str] | None = None
) -> None:
    """Best first, with both intervals; all scores, or those of these names.

    Dot and thick bar: mean AUROC, interval over test images. Below, thin: every training as a
    ring, and Student's interval over trainings.
    """
    ranking = [(n, e) for n, e in comparison.ranking(row) if names is None or n in names]
    for y, (name, estimate) in enumerate(ranking):
        each = comparison.by_training(name, row)
        over = comparison.over_trainings(name, row=row) if len(each) > 1 else None
        _two_intervals(ax, y, colour_of(name), estimate, over, each)
    if min(e.low for _, e in ranking) < 0.6:
        ax.axvline(0.5, color=figures.GREY, linestyle=(0, (5, 3)), linewidth=1.2, zorder=0.9)
    ax.grid(axis="x")
    ax.set_xlabel("AUROC")
    _name_rows(ax, [name for name, _ in ranking])


def _two_intervals(
    ax: Any, y: float, colour: str, images: Estimate, over: Estimate | None, each: Array
) -> None:
    ax.plot([images.low, images.high], [y - 0.14] * 2, color=colour, linewidth=3)
    ax.plot(images.value, y - 0.14, "o", color=colour, markersize=4.5)
    if over is not None:
        ax.plot([over.low, over.high], [y + 0.26] * 2, color=figures.INK, linewidth=0.7)
    ax.plot(each, [y + 0.26] * len(each), "o", markersize=3.2, markerfacecolor="none",
            markeredgecolor=figures.INK, markeredgewidth=0.7)  # fmt: skip


def rankings(
    tables: Mapping[str, Comparison], row: str, title: str, names: Sequence[str] | None = None
) -> None:
    """One panel per network: `draw_ranking`; dashed is the coin flip, if it is near."""
    rows = None if names is None else len(names)
    _two_panels(tables, title, lambda ax, name: draw_ranking(ax, tables[name], row, names), rows)


# --- beyond the pixels --------------------------------------------------------------------------


def draw_beyond_pixels(ax: Any, comparison: Comparison, shifts: Sequence[str]) -> None:
    """Each shift: AUROC of the pixels alone (grey square) and of the network alone (dot)."""
    for y, shift in enumerate(shifts):
        pixels, inside = (comparison.auroc(name, shift).value for name in (PIXELS, INSIDE))
        ax.plot([pixels, inside], [y, y], color="#bbbbbb", linewidth=1.2, zorder=1)
        ax.plot(pixels, y, "s", color=figures.GREY, markersize=5)
        ax.plot(inside, y, "o", color=figures.VERMILLION, markersize=6)
    ax.grid(axis="x")
    ax.set_xlabel("AUROC")
    ax.set_yticks(range(len(shifts)), [s.replace("_", " ") for s in shifts], fontsize=9)
    ax.set_ylim(len(shifts) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _name_first_row(ax: Any, comparison: Comparison, top: str) -> None:
    """Write the two scores at their marks in the uppermost row."""
    ax.set_ylim(ax.get_ylim()[0], -1.3)
    for name, colour, offset in (
        (PIXELS, figures.GREY, (-4, 8)),
        (INSIDE, figures.VERMILLION, (9, -3)),
    ):
        ax.annotate(name, (comparison.auroc(name, top).value, 0), xytext=offset,
                    textcoords="offset points", fontsize=9, fontweight="bold",
                    color=figures.ink(colour))  # fmt: skip


def beyond_pixels(tables: Mapping[str, Comparison], title: str) -> None:
    """One panel per network: `draw_beyond_pixels`, in the order of what the pixels know.

    Least on top; the order is that of the first network for all.
    """
    first = next(iter(tables.values()))
    shifts = sorted(first.shifts, key=lambda s: first.auroc(PIXELS, s).value)

    def draw(ax: Any, name: str) -> None:
        draw_beyond_pixels(ax, tables[name], shifts)
        if name != next(iter(tables)):
            ax.set_yticklabels([])
        _name_first_row(ax, tables[name], shifts[0])

    _two_panels(tables, title, draw, len(shifts))


# --- promises -----------------------------------------------------------------------------------


def draw_promise(
    ax: Any, rows: Mapping[str, tuple[Array, tuple[float, float]]], alpha: float
) -> None:
    """Realised false-alarm rates as dots, one row each; bars hold 95 % of a perfect rule's.

    Parameters
    ----------
    rows : mapping of str to (rates, band)
        From `deepdrift.lab.fair_comparison.measures.promise_rows`.
    alpha : float
        The promise, dashed.
    """
    for y, (name, (rates, band)) in enumerate(rows.items()):
        colour = figures.VERMILLION if name.startswith("halved") else figures.BLUE
        ax.plot(band, [y, y], color=colour, linewidth=16, alpha=0.25, solid_capstyle="butt")
        rates = np.sort(np.ravel(rates))
        heights = y + 0.12 * (np.arange(len(rates)) % 3 - 1)  # side by side, not one on another
        ax.plot(rates, heights, "o", markersize=2.6, color=figures.INK)
    ax.axvline(alpha, color=figures.BLACK, linestyle=(0, (5, 3)), linewidth=1.2, zorder=0.9)
    figures.percent_axis(ax.xaxis)
    ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.set_yticks(range(len(rows)), list(rows), fontsize=10)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_title(f"promised {100 * alpha:.0f} %", fontsize=11, fontweight="normal")


def promises(tables: Mapping[str, Comparison], halved: Sequence[str], title: str) -> None:
    """A panel for each promised rate: `draw_promise` of all scores.

    Parameters
    ----------
    halved : sequence of str
        Scores whose threshold comes from one half of the calibration images.
    """
    alphas = next(iter(tables.values())).alphas
    with figures.figure() as fig:
        panels = fig.subplots(1, len(alphas), squeeze=False, sharey=True)[0]
        for ax, alpha in zip(panels, alphas, strict=True):
            draw_promise(ax, promise_rows(tables, alpha, halved), alpha)
        panels[len(alphas) // 2].set_xlabel("realised rate of false alarms")
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold")


# --- batches ------------------------------------------------------------------------------------


def batch_curves(
    sizes: Sequence[int],
    measured: Mapping[str, Sequence[float]],
    predicted: Mapping[str, Sequence[float]],
    title: str,
) -> None:
    """AUROC over means of B images: measured as dots, ``Phi(sqrt(B) d' / sqrt(2))`` as lines.

    Parameters
    ----------
    sizes : sequence of int
        B, increasing.
    measured, predicted : mapping of str to sequence of float
        Score -> AUROC for every size.
    """
    with figures.figure() as fig:
        ax = fig.subplots()
        colours = dict(zip(measured, figures.COLOURS, strict=False))
        colours |= {name: colour_of(name) for name in measured if name in DETECTORS}
        ax.axhline(0.5, color=figures.GREY, linestyle=(0, (5, 3)), linewidth=1.2, zorder=0.9)
        for name, values in measured.items():
            ax.plot(sizes, predicted[name], color=colours[name], linewidth=1.5, alpha=0.6)
            ax.plot(sizes, values, "o", color=colours[name], markersize=5, clip_on=False)
        ax.set_xscale("log")
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.minorticks_off()
        ax.set_xlim(sizes[0] * 0.9, sizes[-1] * 1.08)
        ax.set_ylim(-0.03, 1.03)
        ax.set(xlabel="images per batch, n", ylabel="AUROC over batch means", title=title)
        figures.draw_end_labels(ax, {k: float(v[-1]) for k, v in measured.items()}, colours)
