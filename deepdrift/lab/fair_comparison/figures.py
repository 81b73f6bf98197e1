"""Pictures of the fair comparison: who wins on which shift, rankings, kept promises, batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from deepdrift.errors import require
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.evaluation import Array, Estimate
from deepdrift.lab.fair_comparison.detectors import DETECTORS
from deepdrift.lab.fair_comparison.table import Comparison

matplotlib = require("matplotlib", "lab")

FAMILY_COLOURS = {"ours": figures.VERMILLION, "velocity": figures.PURPLE, "trivial": figures.GREY}
PIXELS, INSIDE = "pixel statistics", "fused, without input"
_BOLD = ("fused (default)", "class Gaussians, all layers", PIXELS)  # what a reader looks for first
_LINE = 0.205  # inches per detector


def colour_of(detector: str) -> str:
    """Ours, raw velocity and scores without a network have a colour each; others are blue."""
    known = DETECTORS.get(detector)
    return FAMILY_COLOURS.get(known.family, figures.BLUE) if known else figures.BLUE


def _name_rows(ax: Any, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), names, fontsize=9)
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


# --- all numbers --------------------------------------------------------------------------------


def draw_comparison(
    ax: Any, comparison: Comparison, detectors: Sequence[str], rows: Sequence[str]
) -> Any:
    """Heat map of AUROC in hundredths, detectors down, shifts across; returns the image.

    The best of a column is bold and underlined. Detectors that do not apply have dashes.
    """
    table = np.full((len(detectors), len(rows)), np.nan)
    for i, detector in enumerate(detectors):
        if detector in comparison.detectors:
            table[i] = [100 * comparison.auroc(detector, row).value for row in rows]
    image = figures.draw_heatmap(ax, table, detectors, rows, middle=50, limits=(0, 100), fmt=".0f")
    best = np.nanargmax(table, axis=0)
    for text in ax.texts:
        column, line = (round(v) for v in text.get_position())
        text.set_fontsize(7.5 if len(text.get_text()) < 3 else 5.8)  # "100" beside "100"
        if best[column] == line:
            text.set_fontweight("bold")
            ax.plot([column - 0.36, column + 0.36], [line + 0.4] * 2, linewidth=1.4,
                    color=text.get_color())  # fmt: skip
    ax.set_xticks(range(len(rows)), [row.replace("_", " ") for row in rows], fontsize=8.5)
    for label in ax.get_xticklabels():
        label.set(rotation=90, ha="center", rotation_mode="default")
    _name_rows(ax, detectors)
    return image


def comparison_heatmap(tables: Mapping[str, Comparison], rows: Sequence[str], title: str) -> None:
    """One panel per network: `draw_comparison` of the same detectors and shifts.

    Parameters
    ----------
    tables : mapping of str to Comparison
        By network. A detector that is missing in one of them gets dashes there.
    rows : sequence of str
        Shifts, or other rows of the tables.
    title : str
        The finding.
    """
    detectors = list(dict.fromkeys(d for table in tables.values() for d in table.detectors))
    detectors.sort(key=lambda d: list(DETECTORS).index(d) if d in DETECTORS else len(DETECTORS))
    with figures.figure(1.75 + _LINE * len(detectors)) as fig:
        panels = fig.subplots(1, len(tables), squeeze=False)[0]
        for k, (ax, (name, table)) in enumerate(zip(panels, tables.items(), strict=True)):
            draw_comparison(ax, table, detectors, rows)
            ax.set_title(name, fontsize=11, fontweight="normal")
            if k:
                ax.set_yticklabels([])
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold")


# --- rankings -----------------------------------------------------------------------------------


def draw_ranking(ax: Any, comparison: Comparison, row: str) -> None:
    """Best first, with both intervals.

    Dot and thick bar: mean AUROC, interval over test images. Below, thin: every training as a
    ring, and Student's interval over trainings.
    """
    ranking = comparison.ranking(row)
    for y, (name, estimate) in enumerate(ranking):
        each = comparison.by_training(name, row)
        over = comparison.over_trainings(name, row=row) if len(each) > 1 else None
        _two_intervals(ax, y, colour_of(name), estimate, over, each)
    ax.axvline(0.5, color=figures.GREY, linestyle=(0, (5, 3)), linewidth=1.2, zorder=0.9)
    ax.grid(axis="x")
    ax.set_xlabel("AUROC")
    _name_rows(ax, [name for name, _ in ranking])


def draw_differences(ax: Any, comparison: Comparison, a: str, rivals: Sequence[str]) -> None:
    """AUROC of a minus that of each rival in the mean over all shifts, drawn as `draw_ranking`."""
    rivals = [rival for rival in rivals if rival in comparison.detectors]
    rivals.sort(key=lambda rival: comparison.difference(a, rival).value)
    for y, rival in enumerate(rivals):
        each = comparison.by_training(a) - comparison.by_training(rival)
        over = comparison.over_trainings(a, rival) if len(each) > 1 else None
        _two_intervals(ax, y, colour_of(rival), comparison.difference(a, rival), over, each)
    ax.axvline(0, color=figures.GREY, linestyle=(0, (5, 3)), linewidth=1.2, zorder=0.9)
    ax.grid(axis="x")
    ax.set_xlabel("difference of AUROC")
    _name_rows(ax, rivals)


def _two_intervals(
    ax: Any, y: float, colour: str, images: Estimate, over: Estimate | None, each: Array
) -> None:
    ax.plot([images.low, images.high], [y - 0.14] * 2, color=colour, linewidth=3)
    ax.plot(images.value, y - 0.14, "o", color=colour, markersize=4.5)
    if over is not None:
        ax.plot([over.low, over.high], [y + 0.26] * 2, color=figures.INK, linewidth=0.7)
    ax.plot(each, [y + 0.26] * len(each), "o", markersize=3.2, markerfacecolor="none",
            markeredgecolor=figures.INK, markeredgewidth=0.7)  # fmt: skip


def rankings(tables: Mapping[str, Comparison], row: str, title: str) -> None:
    """One panel per network: `draw_ranking`; dashed is the coin flip."""
    _two_panels(tables, title, lambda ax, name: draw_ranking(ax, tables[name], row))


def differences(
    tables: Mapping[str, Comparison], a: str, rivals: Sequence[str], title: str
) -> None:
    """One panel per network: `draw_differences`; dashed is a tie."""
    _two_panels(
        tables, title, lambda ax, name: draw_differences(ax, tables[name], a, rivals), len(rivals)
    )


# --- beyond the pixels --------------------------------------------------------------------------


def draw_beyond_pixels(ax: Any, comparison: Comparison) -> None:
    """Each shift: AUROC of the pixels alone (grey square) and of the network alone (dot).

    Shifts are ordered by what the pixels know, least on top.
    """
    shifts = sorted(comparison.shifts, key=lambda s: comparison.auroc(PIXELS, s).value)
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


def beyond_pixels(tables: Mapping[str, Comparison], title: str) -> None:
    """One panel per network: `draw_beyond_pixels`."""
    n = max(len(table.shifts) for table in tables.values())

    def draw(ax: Any, name: str) -> None:
        draw_beyond_pixels(ax, tables[name])
        if name == next(iter(tables)):
            ax.plot([], [], "s", color=figures.GREY, markersize=5, label="pixels alone")
            ax.plot([], [], "o", color=figures.VERMILLION, markersize=6, label="network alone")
            ax.legend(loc="lower left", fontsize=9, frameon=False)

    _two_panels(tables, title, draw, n)


# --- promises -----------------------------------------------------------------------------------


def draw_kept_rates(
    ax: Any, comparison: Comparison, alpha: float, bands: Mapping[str, tuple[float, float]]
) -> None:
    """Realised false-alarm rate of every training as a ring, where it may lie as a bar."""
    a, names = comparison.alphas.index(alpha), comparison.detectors
    for y, name in enumerate(names):
        if name in bands:
            ax.plot(bands[name], [y, y], color=colour_of(name), linewidth=6, alpha=0.25,
                    solid_capstyle="butt")  # fmt: skip
        rates = comparison.false_alarms[:, a, y]
        ax.plot(rates, [y] * len(rates), "o", markersize=4, markerfacecolor="none",
                markeredgecolor=figures.INK, markeredgewidth=0.9)  # fmt: skip
    ax.axvline(alpha, color=figures.BLACK, linestyle=(0, (5, 3)), linewidth=1.2, zorder=0.9)
    figures.percent_axis(ax.xaxis)
    ax.set_xlabel("realised false-alarm rate")
    _name_rows(ax, names)


def kept_rates(
    tables: Mapping[str, Comparison],
    alpha: float,
    bands: Mapping[str, tuple[float, float]],
    title: str,
) -> None:
    """One panel per network: the promised rate dashed, the kept ones as rings.

    Parameters
    ----------
    alpha : float
        One of the tables' ``alphas``.
    bands : mapping of str to (float, float)
        Detector -> where its rate should lie, from `false_alarm_interval`.
    """
    _two_panels(tables, title, lambda ax, name: draw_kept_rates(ax, tables[name], alpha, bands))


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
        ax.set(xlabel="images per batch, B", ylabel="AUROC over batch means", title=title)
        figures.draw_end_labels(ax, {k: float(v[-1]) for k, v in measured.items()}, colours)
