"""Pictures of planes through normal features: a plane of rank one by hand, and all ranks."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepdrift.baselines import DIME
from deepdrift.lab.bench import figures


def draw_rank_curves(
    ax: Any,
    curves: Mapping[str, Sequence[float]],
    shares: Sequence[float],
    rank: int | None = None,
    chosen: str | None = None,
) -> None:
    """AUROC curves ``(R,)`` by name against the rank, beside the share of the variance (grey)."""
    ranks = np.arange(1, len(shares) + 1)
    ax.plot([0, len(shares)], [0.5, 0.5], color=figures.GREY, linestyle=(0, (5, 3)), linewidth=1.2)
    lines = {"variance": shares, **curves}
    colours = dict(zip(lines, (figures.GREY, figures.GREEN, figures.PURPLE), strict=False))
    for name, line in lines.items():
        ax.plot(ranks, line, color=colours[name], linewidth=2.6 if name == chosen else 1.6,
                linestyle=":" if name == "variance" else "-")  # fmt: skip
    if rank is not None:
        ax.axvline(rank, color=figures.BLACK, linewidth=1, alpha=0.4)
        for name in [chosen] if chosen else curves:
            ax.plot(rank, lines[name][rank - 1], "o", markersize=9, color=colours[name])
    top = len(shares)
    ax.set_xlim(0, 1.45 * top)  # the names stand in the last quarter
    ax.set_ylim(-0.03, 1.05)
    ax.set_xticks([1, *range(20, top + 1, 20)] if top > 12 else range(1, top + 1))
    ax.set_yticks([0, 0.5, 1])
    ax.set(xlabel="rank of the plane", ylabel="AUROC, share of variance")
    # at full rank every outside distance is 0: name the lines where all are alive
    ends = [float(line[max(0, top - 2)]) for line in lines.values()]
    for name, y in zip([*lines, "coin"], figures.spread([*ends, 0.5], gap=0.1), strict=True):
        ax.text(1.03 * top, y, name, va="center", fontsize=10,
                color=colours.get(name, figures.GREY), fontweight="bold")  # fmt: skip


def rank_curves(
    panels: Mapping[str, tuple[Mapping[str, Sequence[float]], Sequence[float], int]],
    title: str = "",
) -> None:
    """One panel per name: its AUROC curves, its shares of the variance and a marked rank."""
    with figures.figure(figures.HEIGHT + 0.3) as fig:
        for ax, (name, (curves, shares, rank)) in zip(
            fig.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            draw_rank_curves(ax, curves, shares, rank)
            ax.set_title(name, fontsize=11, fontweight="normal")
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold")


def plane_by_hand(x: Any, queries: Mapping[str, Sequence[float]], dime: DIME, title: str) -> None:
    """Points of two features, the line of rank one through them, and queries with their feet.

    Parameters
    ----------
    x : array_like, shape (N, 2)
        The normal samples.
    queries : mapping of str to two numbers
        Named new samples.
    dime : DIME
        Fitted with rank one.
    """
    known = np.asarray(x, dtype=np.float64)
    new = np.asarray(list(queries.values()), dtype=np.float64)
    feet = dime.inverse_transform(dime.transform(new)).numpy()
    reach = float(np.abs(dime.transform(np.concatenate([known, new])).numpy()).max()) * 1.25
    ends = dime.inverse_transform([[-reach], [reach]]).numpy()
    with figures.figure(figures.HEIGHT + 0.6) as fig:
        ax = fig.subplots()
        ax.plot(*ends.T, color=figures.BLUE, linewidth=1.6)
        ax.plot(*known.T, "o", color=figures.BLUE, markersize=7)
        for (name, query), foot in zip(queries.items(), feet, strict=True):
            ax.plot(*np.stack([query, foot]).T, color=figures.VERMILLION, linestyle=(0, (4, 2)))
            ax.plot(*query, "s", color=figures.VERMILLION, markersize=8)
            ax.annotate(name, query, xytext=(9, -4), textcoords="offset points",
                        color=figures.VERMILLION, fontweight="bold")  # fmt: skip
        ax.annotate(
            "normal",
            known[0],
            xytext=(-9, 4),
            textcoords="offset points",
            ha="right",
            color=figures.ink(figures.BLUE),
            fontweight="bold",
        )
        ax.set_aspect("equal", adjustable="box")
        ax.set(xlabel="feature 1", ylabel="feature 2", title=title)


def draw_choices(
    ax: Any, shares: Sequence[float], wanted: float, choices: Mapping[str, int]
) -> None:
    """Cumulative share of the variance against the rank, and the ranks that functions choose."""
    total = np.cumsum(np.asarray(shares, dtype=float))
    ranks = np.arange(1, len(total) + 1)
    ax.bar(ranks, total, width=0.62, color="#cfdfea")
    ax.axhline(wanted, color=figures.BLACK, linestyle=(0, (5, 3)), linewidth=1.4)
    ax.annotate(f"wanted {wanted:g}", (len(total) + 0.45, wanted), xytext=(0, 4), ha="right",
                textcoords="offset points", fontsize=9.5)  # fmt: skip
    for level, (name, rank) in enumerate(choices.items()):
        colour = figures.BLUE if name == "right" else figures.VERMILLION
        ax.plot(rank, 0.015 + 0.13 * level, "v", color=colour, markersize=5)
        # each on a line of its own, within the panel
        side = "left" if rank == 1 else "right" if rank == len(total) else "center"
        ax.annotate(
            name,
            (rank - 0.3 * (rank == 1), 0.04 + 0.13 * level),
            ha=side,
            fontsize=9.5,
            fontweight="bold",
            color=figures.ink(colour),
        )
    ax.set_xticks(ranks)
    ax.set(xlabel="rank", ylabel="share of the variance", ylim=(0, 1.08))


def draw_kills(ax: Any, alive: Mapping[str, Sequence[str]], mutants: Sequence[str]) -> None:
    """Which test (rows) lets which mutant (columns) live: a word in each cell."""
    for y, living in enumerate(alive.values()):
        for x, name in enumerate(mutants):
            lives = name in living
            colour = "#f6d7c3" if lives else "#cfe8df"
            ax.add_patch(figures.matplotlib.patches.Rectangle((x, y), 0.96, 0.9, color=colour))
            ax.text(x + 0.48, y + 0.45, "lives" if lives else "found", ha="center", va="center",
                    fontsize=9.5, fontweight="normal" if lives else "bold")  # fmt: skip
    ax.set_xlim(0, len(mutants))
    ax.set_ylim(len(alive), 0)
    ax.set_xticks(np.arange(len(mutants)) + 0.48, [textwrap.fill(name, 9) for name in mutants])
    ax.set_yticks(np.arange(len(alive)) + 0.45, list(alive))
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def mutants_at_work(
    shares: Sequence[float],
    wanted: float,
    choices: Mapping[str, int],
    alive: Mapping[str, Sequence[str]],
    title: str,
) -> None:
    """Left what every wrong function answers, right which test finds it."""
    with figures.figure(figures.HEIGHT + 0.3) as fig:
        left, right = fig.subplots(1, 2, gridspec_kw={"width_ratios": (1, 1.25)})
        draw_choices(left, shares, wanted, choices)
        draw_kills(right, alive, [name for name in choices if name != "right"])
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold")
