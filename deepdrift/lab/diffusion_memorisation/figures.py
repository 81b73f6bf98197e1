"""Samples beside what they may be copies of, and every statistic over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepdrift.diffusion.copies import RATIO
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    VERMILLION,
    Axes,
    draw_end_labels,
    ink,
    matplotlib,
    percent_axis,
)
from deepdrift.lab.diffusion_memorisation.measures import Rival
from deepdrift.lab.diffusion_memorisation.runs import ONSET, Array, Run
from deepdrift.lab.diffusion_memorisation.trial import level_name

SIZES = {32: VERMILLION, 64: ORANGE, 512: PURPLE, 4000: BLUE}  # colour of a number of images
TEXT = {"fontsize": 10, "fontweight": "bold"}
NEVER = "never"


def shade(n_images: int) -> str:
    """Colour of a number of images."""
    return SIZES.get(n_images, BLACK)


def as_shares(pictures: Any) -> Array:
    """Bytes (N, H, W), or floats (N, 1, H, W) in [-1, 1], as (N, H, W) in [0, 1]."""
    if hasattr(pictures, "detach"):
        pictures = pictures.detach().cpu().numpy()
    pictures = np.asarray(pictures)
    if pictures.dtype == np.uint8:
        return pictures / 255.0
    return ((pictures.reshape(len(pictures), *pictures.shape[-2:]) + 1) / 2).clip(0, 1)


def draw_rows(
    ax: Axes, rows: Mapping[str, Any], framed: Sequence[bool] | None = None, gap: int = 2
) -> None:
    """Rows of pictures with their names, one axes for all; columns in frames where asked for."""
    grids = [as_shares(pictures) for pictures in rows.values()]
    n, size = len(grids[0]), grids[0].shape[-1]
    step = size + gap
    wall = np.ones((len(grids) * step + gap, n * step + gap))
    for i, pictures in enumerate(grids):
        for j, picture in enumerate(pictures):
            top, left = i * step + gap, j * step + gap
            wall[top : top + size, left : left + size] = picture
    ax.imshow(wall, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for j, copy in enumerate(framed if framed is not None else ()):
        if copy:
            box = (j * step + gap / 2 - 0.5, gap / 2 - 0.5)
            ax.add_patch(
                matplotlib.patches.Rectangle(
                    box, step, len(grids) * step, fill=False, edgecolor=VERMILLION, linewidth=2.5
                )
            )
    ax.set_yticks([i * step + gap + size / 2 for i in range(len(grids))], list(rows))
    ax.set_xticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def rows(pictures: Mapping[str, Any], title: str, framed: Sequence[bool] | None = None) -> None:
    """`draw_rows` as a figure."""
    n = len(next(iter(pictures.values())))
    height = 0.55 + min(6.6 / n, 0.85) * len(pictures)  # eight or more fill the width
    with figures.figure(height) as fig:
        ax = fig.subplots()
        draw_rows(ax, pictures, framed)
        ax.set_anchor("W")
        ax.set_title(title)


def draw_steps(ax: Axes, steps: Array, beyond: bool = False) -> None:
    """A logarithmic axis of training steps; with room for ``never`` at its right end."""
    ax.set_xscale("log")
    low, high = float(min(steps)), float(max(steps))
    ax.set_xlim(low * 0.9, high * (2.2 if beyond else 1.1))
    ticks = [t for t in (25, 100, 400, 1600, 6400, 25600) if low <= t <= high]
    ax.set_xticks(ticks, [f"{t:,}" for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel("training step")


def copies(runs: Sequence[Run], title: str) -> None:
    """Share of copies over training, a line for each run in the colour of its size."""
    with figures.figure() as fig:
        ax = fig.subplots()
        for run in runs:
            style = "-" if run.seed == 0 else (0, (4, 2)) if run.seed == 1 else ":"
            ax.plot(run.steps, run.copied[:, 0], color=shade(run.n_images), linewidth=2,
                    linestyle=style)  # fmt: skip
        ax.axhline(ONSET, color=GREY, linestyle=(0, (5, 3)), linewidth=1.2)
        draw_steps(ax, np.concatenate([run.steps for run in runs]))
        for i, n in enumerate(sorted({run.n_images for run in runs})):
            ax.text(0.02, 0.9 - 0.1 * i, f"{n:,} images", color=ink(shade(n)),
                    transform=ax.transAxes, **TEXT)  # fmt: skip
        ax.set(ylabel="samples that are copies", ylim=(-0.02, 1.02))
        percent_axis(ax.yaxis, 5)
        ax.set_title(title)


def draw_map(ax: Axes, run: Run, quantity: str, stage: int, title: str = "") -> None:
    """AUROC by noise level and training step, in hundredths; framed where members are told early.

    Above 50 (orange) a quantity is larger for held-out images, below (violet) for members. In a
    full frame it is beyond 90 either way and no sample is a copy, in a dashed one fewer than
    10 % are.
    """
    table = run.auroc[quantity][:, :, stage, 0].T
    names = [level_name(quantity, k) for k in range(len(table))]
    steps, n = [f"{s}" if s < 1000 else f"{s / 1000:.3g}k" for s in run.steps], len(run.steps)
    args = (100 * table, names, [""] * n, title, 50, (0.0, 100.0), ".0f")
    figures.draw_heatmap(ax, *args, as_shapes=True)
    named = range((n - 1) % 2, n, 2)
    ax.set_xticks(named, [steps[j] for j in named])
    before, none = told_before(run, table, ONSET), told_before(run, table)
    for k, j in zip(*np.nonzero(before), strict=True):
        ax.add_patch(
            matplotlib.patches.Rectangle(
                (j - 0.46, k - 0.44), 0.92, 0.88, fill=False, edgecolor=BLACK, linewidth=2,
                linestyle="-" if none[k, j] else (0, (2, 2)),
            )
        )  # fmt: skip
    ax.set(ylabel="noise level", xlabel="training step")


def told_before(run: Run, table: Array, share: float = 0.0, least: float = 0.9) -> Array:
    """Cells of an AUROC table (L, K) beyond 0.9 either way where no more samples are copies."""
    return (np.abs(table - 0.5) > least - 0.5) & (run.copied[:, 0] <= share)


def memory_map(run: Run, quantity: str, stage: int, title: str) -> None:
    """`draw_map` as a figure."""
    with figures.figure(3.2) as fig:
        draw_map(fig.subplots(), run, quantity, stage, title)


def time_axis(run: Run, rivals: Mapping[str, Rival], title: str) -> None:
    """Copies, membership by some rivals, and held-out loss, on one axis of training steps."""
    colours = dict(zip(rivals, (BLUE, GREEN, PURPLE, ORANGE), strict=False))
    loss = run.mean_loss[:, 1].mean(axis=1)
    with figures.figure() as fig:
        ax = fig.subplots()
        share, low, high, _ = run.copied.T
        ax.fill_between(run.steps, 0, share, color=VERMILLION, alpha=0.2, linewidth=0)
        ax.plot(run.steps, share, color=VERMILLION, linewidth=2.5)
        ends, shades = {"share of copies": share[-1]}, {"share of copies": VERMILLION}
        for name, rival in rivals.items():
            value, low, high = rival.of(run.auroc[rival.quantity]).T
            ax.vlines(run.steps, low, high, color=colours[name], linewidth=1)
            ax.plot(run.steps, value, color=colours[name], linewidth=2)
            ends[name], shades[name] = value[-1], colours[name]
        ax.plot(run.steps, np.minimum(loss, 1), color=GREY, linewidth=2, linestyle=(0, (2, 2)))
        ends["held-out loss"], shades["held-out loss"] = min(loss[-1], 1), GREY
        ax.axhline(0.5, color=GREY, linewidth=0.8)
        draw_steps(ax, run.steps)
        ax.set(ylim=(0, 1.03), ylabel="AUROC; share; loss")
        ax.set_title(title)
        draw_end_labels(ax, ends, shades)


def leads(table: Mapping[str, Mapping[str, float]], title: str) -> None:
    """Steps of warnings by copying's onset, one point for each run, from a `warning_table`."""
    onset = table["copying begins"]
    others = {name: row for name, row in table.items() if name != "copying begins"}
    with figures.figure(0.9 + 0.25 * len(others)) as fig:
        ax = fig.subplots()
        ax.axvline(1, color=INK, linewidth=1.4)
        finite = [row[r] / onset[r] for row in others.values() for r in row]
        finite = [x for x in finite if np.isfinite(x)]
        low, high = min([0.5, *finite]) / 1.5, max([2.0, *finite]) * 1.5
        for y, (name, row) in enumerate(others.items()):
            colour = ORANGE if "bottleneck" in name else GREY if "held-out" in name else BLUE
            late = 0
            for run, step in row.items():
                x = step / onset[run]
                late += not np.isfinite(x)
                if np.isfinite(x):
                    ax.plot(x, y, "o", color=colour, markersize=8)
            if late:
                ax.text(high * 1.6, y, f"{late} {NEVER}", ha="center", va="center",
                        color=ink(colour), fontsize=9)  # fmt: skip
        ax.set_xscale("log")
        ax.set_xlim(low, high * 2.4)
        ticks = [t for t in (1 / 27, 1 / 9, 1 / 3, 1, 3, 9, 27) if low <= t <= high]
        ax.set_xticks(ticks, [f"{t:.3g} x" if t >= 1 else f"1/{1 / t:.0f}" for t in ticks])
        ax.minorticks_off()
        ax.set_yticks(range(len(others)), list(others))
        ax.set_ylim(len(others) - 0.4, -0.6)
        ax.set_xlabel("step of the warning / step of copying (left: earlier)")
        ax.set_title(title)


def draw_collisions(ax: Axes, run: Run) -> None:
    """Number of images that the samples seem drawn from, with its interval, over training."""
    colour = shade(run.n_images)
    _, effective, low, high, _ = run.twins.T
    for step, e, a, b in zip(run.steps, effective, low, high, strict=True):
        top = b if np.isfinite(b) else a * 3
        ax.plot([step, step], [a, top], color=colour, linewidth=2, alpha=0.6)
        if np.isfinite(e):
            ax.plot(step, e, "o", color=colour, markersize=6)
        else:
            ax.plot(step, top, "^", color=colour, markersize=6, alpha=0.6)
    ax.axhline(2 * run.n_images, color=colour, linestyle=(0, (5, 3)), linewidth=1.4)


def twins(runs: Sequence[Run], title: str) -> None:
    """`draw_collisions`, a panel for each run; dashed the line of the alarm."""
    with figures.figure() as fig:
        axes = fig.subplots(1, len(runs), sharey=True, squeeze=False)[0]
        for ax, run in zip(axes, runs, strict=True):
            draw_collisions(ax, run)
            ax.set_yscale("log")
            draw_steps(ax, run.steps)
            ax.text(0.04, 0.06, f"{run.n_images:,} images", color=ink(shade(run.n_images)),
                    transform=ax.transAxes, **TEXT)  # fmt: skip
        axes[0].set_ylabel("as if drawn from (images)")
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)


def is_copy(run: Run, place: int) -> Array:
    """Which of the shown samples are copies at a checkpoint, (12,)."""
    return run.ratios[place] < RATIO
