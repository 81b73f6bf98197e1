"""Episodes with their trace and margin, one line per episode, outcomes, lead times, phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Axes,
    ink,
    percent_axis,
)
from deepdrift.lab.reinforcement_learning.outcomes import OUTCOMES, Outcomes, Survival
from deepdrift.lab.reinforcement_learning.signals import first_above
from deepdrift.lab.reinforcement_learning.sketches import draw_poses
from deepdrift.lab.reinforcement_learning.traces import Trace

TINTS = dict(zip(OUTCOMES, (GREEN, ORANGE, VERMILLION, PURPLE, SKY, "#dddddd"), strict=True))
COLOUR = {"hidden innovation": BLUE, "observation innovation": GREEN, "hidden velocity": ORANGE}
LOG_LIMITS = (-2.0, 2.2)
BOLD = {"fontsize": 10, "fontweight": "bold"}
DASHES = (0, (5, 3))
TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500]


def log_ratio(scores: ArrayLike, threshold: float) -> Any:
    """Logarithm of score over threshold, cut to what the axes show.

    Examples
    --------
    >>> log_ratio([5.0, 500.0, 0.0], 5.0).tolist()
    [0.0, 2.0, -1.95]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log10(np.asarray(scores, np.float64) / threshold)
    return np.clip(ratio, LOG_LIMITS[0] + 0.05, LOG_LIMITS[1] - 0.05)


def log_axis(ax: Axes) -> None:
    """Write the powers of ten on an axis of `log_ratio`."""
    ax.set_ylim(*LOG_LIMITS)
    ax.set_yticks([-2, -1, 0, 1, 2], ["0.01", "0.1", "1", "10", "100"])


def draw_score(
    ax: Axes, trace: Trace, signal: str, threshold: float, until: int | None = None
) -> int:
    """Score over threshold against the observation; returns the first alarm, -1 for none."""
    seen = np.arange(1, len(trace) + 1)[:until]
    scores = trace.scores[signal]
    ax.plot(seen, log_ratio(scores, threshold)[:until], color=COLOUR[signal], linewidth=1.5)
    ax.axhline(0, color=INK, linestyle=DASHES, linewidth=1.2)
    log_axis(ax)
    return int(first_above(scores[None], threshold)[0])


def draw_moments(ax: Axes, moments: Mapping[str, tuple[int, str]], y: float = 0.98) -> None:
    """Vertical lines with a word each: name -> (step, colour); steps below 0 are left out.

    A word stands to the right of its line, or to the left where the next line or the panel's edge
    is too near; so set the limits before. Words of later lines are written lower.
    """
    shown = sorted((step, name, tint) for name, (step, tint) in moments.items() if step >= 0)
    start, end = ax.get_xlim()
    edges = [start, *(step for step, _, _ in shown), end]
    pixels = ax.get_window_extent().width / (end - start)  # of one step
    for k, (step, name, tint) in enumerate(shown):
        ax.axvline(step, color=tint, linewidth=1.4, linestyle=(0, (2, 2)))
        text = ax.annotate(name, (step, y - 0.11 * k), xycoords=("data", "axes fraction"),
                           xytext=(3, 0), textcoords="offset points", va="top", color=ink(tint),
                           fontsize=9, annotation_clip=False)  # fmt: skip
        needs = (text.get_window_extent().width + 7 / 72 * ax.figure.dpi) / pixels
        if edges[k + 2] - step < needs <= step - edges[k]:
            text.set(ha="right", x=-3)
        figures.halo(text)


def _steps(trace: Trace, n: int) -> list[int]:
    """Steps whose poses are drawn: the last one, and others at equal distance before it."""
    return np.linspace(0, len(trace), n).round().astype(int).tolist()


def episodes(traces: Sequence[Trace], signal: str, threshold: float, title: str) -> None:
    """Episodes beside each other: poses, the signal over its threshold, and the true margin.

    The curves are drawn up to the end of the shortest episode.
    """
    with figures.figure(3.8) as fig:
        grid = fig.subplots(3, len(traces), gridspec_kw={"height_ratios": [1.2, 1.2, 0.8]},
                            squeeze=False)  # fmt: skip
        for column, trace in zip(grid.T, traces, strict=True):
            poses, score, margin = column
            steps = _steps(trace, 5)
            late = [trace.fault and step >= trace.onset for step in steps]
            tints = [ORANGE if x else INK for x in late]
            draw_poses(poses, trace.plant, trace.states, steps, tints)
            what = f"{trace.fault}, severity {trace.severity}" if trace.fault else "healthy"
            poses.set_title(what, fontsize=11)
            for ax in (score, margin):
                ax.set_xlim(0, min(map(len, traces)) + 30)
            alarm = draw_score(score, trace, signal, threshold)
            moments = {"fault": (trace.onset if trace.fault else -1, GREY),
                       "alarm": (alarm, PURPLE),
                       "lost": (trace.lost + 1 if trace.lost >= 0 else -1, VERMILLION)}  # fmt: skip
            draw_moments(score, moments)
            room = trace.margin[: trace.lost + 1] if trace.lost >= 0 else trace.margin
            each = np.arange((len(room) - 1) % 5, len(room), 5)  # every step would be a thick band
            margin.plot(each, np.maximum(room, -0.25)[each], color=GREEN, linewidth=1.5)
            draw_moments(margin, {k: (v, c) for k, (v, c) in moments.items() if k == "lost"})
            margin.set(ylim=(-0.3, 1.05), xlabel="step")
        grid[1][0].set_ylabel("score / line")
        grid[2][0].set_ylabel("true margin")
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)


def race(trace: Trace, thresholds: Mapping[str, float], title: str) -> None:
    """Several signals of one episode, each over its own threshold, a panel each."""
    with figures.figure() as fig:
        axes = fig.subplots(1, len(thresholds), sharey=True, squeeze=False)[0]
        for ax, (signal, threshold) in zip(axes, thresholds.items(), strict=True):
            ax.set_xlim(trace.onset - 40, min(len(trace), trace.onset + 80) + 2)
            alarm = draw_score(ax, trace, signal, threshold)
            end = (trace.lost + 1, VERMILLION)
            draw_moments(ax, {"fault": (trace.onset, GREY), "alarm": (alarm, PURPLE), "lost": end})
            ax.set_xlabel("observation")
            ax.set_title(signal, fontsize=11)
        axes[0].set_ylabel("score / line")
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)


def maxima(by_signal: Mapping[str, tuple[ArrayLike, float]], fixed: float, title: str) -> None:
    """Largest score of each clean episode: name -> (maxima, threshold), a panel each.

    The fixed number is drawn in the panel of the hidden velocity, where it belongs.
    """
    with figures.figure() as fig:
        axes = fig.subplots(1, len(by_signal), squeeze=False)[0]
        for ax, (signal, (values, threshold)) in zip(axes, by_signal.items(), strict=True):
            logs = np.log10(np.asarray(values, np.float64))
            ax.hist(logs, bins=30, color=COLOUR[signal], alpha=0.8)
            figures.draw_threshold(ax, np.log10(threshold), f"line {threshold:.3g}")
            if signal == "hidden velocity":
                figures.draw_threshold(ax, np.log10(fixed), f"fixed {fixed:g}")
                ax.set_xlim(np.log10(fixed) - 0.15, logs.max() + 0.15)
            ticks = [t for t in TICKS if 10 ** ax.get_xlim()[0] <= t <= 10 ** ax.get_xlim()[1]]
            ax.set_xticks(np.log10(ticks), [f"{t:g}" for t in ticks])
            ax.set_xlabel("largest score of an episode")
            ax.set_title(signal, fontsize=11)
        axes[0].set_ylabel("clean episodes")
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)


def draw_outcomes(ax: Axes, rows: Mapping[str, Outcomes]) -> None:
    """Share of every outcome as a stacked bar, a row each, the first on top."""
    for y, o in enumerate(rows.values()):
        left = 0.0
        for name in OUTCOMES:
            share = o.count(name) / len(o)
            ax.barh(y, share, left=left, color=TINTS[name], height=0.75)
            left += share
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
    ax.tick_params(axis="y", length=0)
    percent_axis(ax.xaxis, 4)


def draw_two_outcomes(ax: Axes, rows: Mapping[str, Outcomes]) -> None:
    """Stacked bars with the count of every outcome below each, in its colour."""
    for y, (name, o) in enumerate(rows.items()):
        left, kinds = 0.0, [kind for kind in OUTCOMES if o.count(kind)]
        for k, kind in enumerate(kinds):
            share = o.count(kind) / len(o)
            ax.barh(y, share, left=left, color=TINTS[kind], height=0.3)
            left += share
            ax.text(0.5 * (k % 2), y + 0.25 + 0.12 * (k // 2), f"{o.count(kind)} {kind}",
                    color=ink(TINTS[kind]), fontsize=9, fontweight="bold", va="center")  # fmt: skip
        ax.text(0, y - 0.23, f"{name}, {len(o)} episodes", fontsize=9.5, va="center", color=INK)
    ax.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.4), yticks=[])
    ax.spines["left"].set_visible(False)
    percent_axis(ax.xaxis, 4)


def outcome_bars(panels: Mapping[str, Mapping[str, Outcomes]], title: str) -> None:
    """`draw_outcomes` for every plant, with what the colours mean below."""
    with figures.figure(3.9) as fig:
        axes = fig.subplots(1, len(panels), squeeze=False)[0]
        for ax, (name, rows) in zip(axes, panels.items(), strict=True):
            draw_outcomes(ax, rows)
            ax.set_title(name, fontsize=11)
        handles = [figures.matplotlib.lines.Line2D([], [], color=c, linewidth=7)
                   for c in TINTS.values()]  # fmt: skip
        fig.legend(handles, OUTCOMES, loc="outside lower center", ncol=6, fontsize=9,
                   handlelength=1, columnspacing=1.2)  # fmt: skip
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)


def draw_survival(ax: Axes, curve: Survival, tint: str, most: int) -> None:
    """Share that lasts longer than so many steps, with its band."""
    n = int(np.searchsorted(curve.steps, most))  # what lies within the axes
    x = np.concatenate([[0], curve.steps[:n], [most]])
    y = np.concatenate([[1.0], curve.share[:n], [curve.beyond(most)]])
    ax.step(x, y, where="post", color=tint, linewidth=2)
    low, high = curve.low, curve.high
    known = np.isfinite(low) & np.isfinite(high) & (curve.steps <= most)
    ax.fill_between(curve.steps[known], low[known], high[known], step="post", color=tint,
                    alpha=0.22, linewidth=0)  # fmt: skip


def lead_times(cases: Mapping[str, Outcomes], title: str, most: int = 150) -> None:
    """Steps that the alarm left, and that the plant allows, a panel for each case."""
    with figures.figure() as fig:
        axes = fig.subplots(1, len(cases), sharey=True, squeeze=False)[0]
        for ax, (name, o) in zip(axes, cases.items(), strict=True):
            draw_survival(ax, o.allowances(), GREY, most)
            lead = o.lead_times()
            if lead is not None:
                draw_survival(ax, lead, BLUE, most)
            ax.set(xlim=(0, most), ylim=(0, 1.02), xlabel="steps before the loss", title=name)
            ax.title.set_fontsize(11)
            percent_axis(ax.yaxis, 5)
        axes[0].set_ylabel("episodes with more")
        for y, words, tint in ((0.2, "the plant allows", GREY), (0.06, "the alarm leaves", BLUE)):
            axes[0].text(0.04, y, words, color=ink(tint), transform=axes[0].transAxes, **BOLD)
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)


def phases(
    clean: ArrayLike, faulty: ArrayLike, thresholds: Mapping[str, tuple[float, int]], title: str
) -> None:
    """A score along clean and faulty episodes, and the lines: name -> (threshold, first step)."""
    with figures.figure() as fig:
        ax = fig.subplots()
        for scores, tint in ((clean, GREY), (faulty, VERMILLION)):
            values = np.log10(np.maximum(np.asarray(scores, np.float64), 1e-3))[:, ::8]
            steps = np.arange(1, 8 * values.shape[1] + 1, 8)
            ax.fill_between(steps, *np.nanquantile(values, [0.05, 0.95], axis=0), color=tint,
                            alpha=0.25, linewidth=0)  # fmt: skip
            ax.plot(steps, np.nanmedian(values, axis=0), color=tint)
        end = np.shape(clean)[1]
        for name, (threshold, begin) in thresholds.items():
            y = np.log10(threshold)
            ax.plot([begin, end], [y, y], color=INK, linestyle=DASHES, linewidth=1.4)
            ax.text(end, y + 0.08, name, ha="right", va="bottom", color=INK, fontsize=10)
        ax.yaxis.set_major_locator(figures.matplotlib.ticker.MultipleLocator(1))
        ax.yaxis.set_major_formatter(lambda y, _: f"{10**y:g}")
        ax.set(xlim=(0, end), xlabel="observation", ylabel="hidden innovation", title=title)
        for x, words, tint in ((0.36, "clean", GREY), (0.67, "with the fault", VERMILLION)):
            ax.text(x, 0.72, words, ha="right", color=ink(tint), transform=ax.transAxes, **BOLD)
