"""The token microscope, AUROCs and gains with intervals, a dial, and answers token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.bench.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    VERMILLION,
    Axes,
    ink,
    matplotlib,
    percent_axis,
)
from deepdrift.lab.language_models.doubt import INSIDE, OUTPUT
from deepdrift.lab.language_models.microscope import Slide

TEXT = {"fontsize": 10, "fontweight": "bold"}
DASHED = (0, (5, 3))
LEVELS = 13  # few enough to be told apart, and odd: what is usual has a colour of its own
UNIT = "velocity (mean = 1)"
RANGES = {False: (0.4, 1.6), True: (-0.6, 0.6)}  # colours of velocity; of its unexplained part
SINK = 2  # the first token collects attention: steps to and from it dwarf all others
KINDS = {"at the output": BLUE, "inside": VERMILLION, "control": GREY}


def kind_of(score: str) -> str:
    """Where a score looks: "at the output", "inside", or "control" for neither.

    Examples
    --------
    >>> kind_of("nll"), kind_of("raw velocity"), kind_of("length")
    ('at the output', 'inside', 'control')
    """
    if score in INSIDE:
        return "inside"
    return "at the output" if score in (*OUTPUT, "sample entropy") else "control"


def piece(text: str) -> str:
    r"""A token as a label: blanks in front are dropped, line breaks shown.

    Examples
    --------
    >>> piece(" Paris"), piece("\n"), piece(" ")
    ('Paris', '↵', '_')
    """
    return text.strip(" ").replace("\n", "↵") or "_"


def units(slide: Slide, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Velocity and its unexplained part ``(L, T)``, in units of each block's mean velocity."""
    return (slide.velocity / scale).T, (slide.unexplained / scale).T


def draw_microscope(
    ax: Axes, slide: Slide, scale: np.ndarray, unexplained: bool, label: bool = True
) -> Any:
    """Blocks x tokens as colours: velocity, or what is left of it without the token's own mean.

    The first `SINK` tokens are left out. A bar beside the axes says what the colours mean.
    """
    values = units(slide, scale)[int(unexplained)][:, SINK:]
    name = "PuOr_r" if unexplained else "cividis"
    cmap = matplotlib.colormaps[name].resampled(LEVELS).with_extremes(bad="#dddddd")
    limits = RANGES[unexplained]
    image = ax.imshow(
        np.ma.masked_invalid(values), cmap=cmap, vmin=limits[0], vmax=limits[1],
        aspect="auto", origin="lower", interpolation="nearest",
    )  # fmt: skip
    words = [piece(p) for p in slide.pieces[SINK:]]
    ax.set_xticks(range(len(words)), words, rotation=30, ha="right", rotation_mode="anchor")
    for tick, place in zip(ax.get_xticklabels(), range(SINK, len(slide.pieces)), strict=True):
        tick.set(fontsize=9, color=ink(VERMILLION) if place >= slide.first else INK)
        tick.set_fontweight("bold" if place >= slide.first else "normal")
    ax.set_xlim(-0.5, len(words) - 0.5)
    ax.set_ylim(-0.5, len(values) - 0.5)
    ax.axvline(slide.first - SINK - 0.5, color=VERMILLION, linewidth=2)
    ax.set_yticks([0, 9, 19, 29], ["1", "10", "20", "30"])
    draw_scale(ax, image)
    ax.set_ylabel("block" if label else "")
    ax.tick_params(length=0, labelleft=label)
    return image


def draw_scale(ax: Axes, image: Any) -> None:
    """A narrow bar at the right of ``ax``: which colour is which value.

    No `matplotlib.colorbar`, which cannot be removed from axes inside of others.
    """
    low, high = image.get_clim()
    bar = ax.inset_axes([1.012, 0.0, 0.016, 1.0])
    bar.imshow(
        np.linspace(low, high, LEVELS)[:, None], cmap=image.cmap, norm=image.norm,
        aspect="auto", origin="lower", extent=(0, 1, low, high),
    )  # fmt: skip
    bar.set_xticks([])
    bar.yaxis.tick_right()
    bar.set_yticks([low, (low + high) / 2, high])
    bar.tick_params(length=0, labelsize=8, pad=2)
    bar.spines[:].set_visible(False)


def microscope(shown: Sequence[Slide], scale: np.ndarray, title: str) -> None:
    """One row for each slide: raw velocity, and what the token does not explain."""
    with figures.figure(0.6 + 1.9 * len(shown)) as fig:
        grid = fig.subplots(len(shown), 2, squeeze=False)
        for line, slide in zip(grid, shown, strict=True):
            for ax, rest in zip(line, (False, True), strict=True):
                draw_microscope(ax, slide, scale, rest, label=not rest)
                what = "not explained by the token" if rest else f"{UNIT}, {slide.answer} answer"
                ax.set_title(what, fontsize=10, fontweight="normal")
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)


def draw_intervals(
    ax: Axes, rows: Mapping[str, Estimate], middle: float, names: Sequence[str] = ()
) -> None:
    """Values with intervals, one below another, coloured by where the score looks.

    ``names`` gives the rows their places; a row that is missing stays empty.
    """
    names = list(names or rows)
    for k, name in enumerate(names):
        if name not in rows:
            continue
        e, colour = rows[name], KINDS[kind_of(name)]
        ax.plot([e.low, e.high], [k, k], color=colour, linewidth=2)
        ax.plot(e.value, k, "o", color=colour, markersize=6, clip_on=False)
    ax.axvline(middle, color=INK, linestyle=DASHED, linewidth=1.2)
    ax.set_yticks(range(len(names)), names, fontsize=9)
    for tick, name in zip(ax.get_yticklabels(), names, strict=False):  # shared axes have none
        tick.set_color(ink(KINDS[kind_of(name)]))
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)


def intervals(
    panels: Mapping[str, Mapping[str, Estimate]],
    title: str,
    xlabel: str = "AUROC",
    middle: float = 0.5,
    limits: tuple[float, float] | None = (0.0, 1.0),
) -> None:
    """One panel for each name; blue at the output, orange inside, grey for controls."""
    names = list(next(iter(panels.values())))
    with figures.figure(1.1 + 0.175 * len(names)) as fig:
        axes = fig.subplots(1, len(panels), sharey=True, sharex=True, squeeze=False)[0]
        for ax, (name, rows) in zip(axes, panels.items(), strict=True):
            draw_intervals(ax, rows, middle, names)
            ax.set_xlabel(xlabel)
            ax.set_title(name, fontsize=11, fontweight="normal")
            if limits:
                ax.set_xlim(*limits)
            ax.locator_params(axis="x", nbins=3)
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)


def dial(
    lines: Mapping[str, Sequence[Estimate]],
    sure: Sequence[float],
    places: Sequence[float],
    title: str,
) -> None:
    """AUROC of some scores against the place of the dial, above how sure the model is."""
    colours = dict(zip(lines, (BLUE, VERMILLION, GREEN, PURPLE, ORANGE), strict=False))
    with figures.figure(3.3) as fig:
        top, below = fig.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
        for score, row in lines.items():
            top.plot(places, [e.value for e in row], "o-", color=colours[score], linewidth=2)
            low, high = [e.low for e in row], [e.high for e in row]
            top.fill_between(places, low, high, color=colours[score], alpha=0.2, linewidth=0)
        top.axhline(0.5, color=INK, linestyle=DASHED, linewidth=1.2)
        top.set(ylim=(0, 1.04), ylabel="AUROC", yticks=[0, 0.5, 1])
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)
        below.plot(places, sure, "s-", color=INK, linewidth=2)
        below.set(xlabel="taught to be confident", ylim=(0, 1.05), yticks=[0, 0.5, 1])
        below.set_ylabel("made up,\np > .9")
        below.set_xticks(list(places))
        percent_axis(below.yaxis)
        ends = {score: row[-1].value for score, row in lines.items()}
        figures.draw_end_labels(top, ends, colours)


def draw_coverage(
    ax: Axes, shares: Sequence[float], promised: Sequence[float], realised: Sequence[float]
) -> None:
    """Wrong answers among those given, on the countries that chose and on the others."""
    ax.plot(shares, promised, color=GREY, linewidth=2, linestyle=DASHED)
    ax.plot(shares, realised, color=BLUE, linewidth=2)
    ax.set(xlabel="share answered", ylabel="wrong among the answers", xlim=(0, 1.02), ylim=(0, 1))
    for axis in (ax.xaxis, ax.yaxis):
        percent_axis(axis)
        axis.set_ticks([0, 0.5, 1])
    for y, words, colour in ((0.93, "held out", BLUE), (0.83, "promised", GREY)):
        ax.text(0.03, y, words, transform=ax.transAxes, color=ink(colour), va="top", **TEXT)


def steps(cases: Mapping[str, tuple[Sequence[str], Any, Any]], title: str) -> None:
    """Answers token by token: surprise above, velocity below; one column for each answer.

    Parameters
    ----------
    cases : mapping of str to (words, surprise in nats, velocity)
    """
    with figures.figure(3.2) as fig:
        grid = fig.subplots(2, len(cases), sharey="row", squeeze=False)
        for (above, below), (name, (words, surprise, velocity)) in zip(
            grid.T, cases.items(), strict=True
        ):
            place = range(len(words))
            above.bar(place, surprise, color=BLUE, width=0.6)
            below.bar(place, velocity, color=VERMILLION, width=0.6)
            above.set_xticks([])
            above.locator_params(axis="y", nbins=3)
            below.locator_params(axis="y", nbins=2)
            below.set_xticks(list(place), list(words), fontsize=9)
            above.set_title(name, fontsize=10, fontweight="normal")
        grid[0][0].set_ylabel("-log p (nats)")
        grid[1][0].set_ylabel("velocity")
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)
