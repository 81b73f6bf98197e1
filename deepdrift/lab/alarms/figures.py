"""Figures of streams and alarms: a trace with its states, and delay against false alarms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepdrift.alarms.config import ObserverConfig, State
from deepdrift.alarms.replay import Trace
from deepdrift.lab.alarms.races import Curve
from deepdrift.lab.bench import figures

Axes = Any

RATES = (0.3, 10)  # false alarms per 1,000 steps that a race shows

#: State -> marker of matplotlib, the same shape as a character, colour.
LOOKS = {
    State.NORMAL: ("o", "●", figures.GREEN),
    State.WARNING: ("^", "▲", figures.ORANGE),
    State.ALERT: ("s", "■", figures.VERMILLION),
    State.INVALID: ("X", "✖", figures.BLACK),
}


def draw_trace(ax: Axes, trace: Trace, config: ObserverConfig, onset: int | None = None) -> None:
    """Draw a stream with its thresholds, the states as shading, and the onset of the shift.

    The limits of the axes stay as they are.
    """
    steps, values = trace.steps, trace.values
    for state in (State.WARNING, State.ALERT, State.INVALID):
        inside = trace.states == state
        if inside.any():  # each step is shaded up to the next one
            edges, on = np.append(steps, steps[-1] + 1), np.append(inside, False)
            on[1:] |= inside
            ax.fill_between(edges, 0, 1, where=on, color=LOOKS[state][2], alpha=0.22, linewidth=0,
                            transform=ax.get_xaxis_transform())  # fmt: skip
    ax.plot(steps, values, color=figures.INK, linewidth=1.1)
    lost = ~np.isfinite(values)
    if lost.any():
        top = ax.get_ylim()[1]
        ax.plot(steps[lost], np.full(lost.sum(), top), "X", color=figures.BLACK, clip_on=False)
    for level, colour in (
        (config.theta_high, figures.VERMILLION),
        (config.theta_low, figures.GREEN),
    ):
        for side in (level, -level) if config.two_sided else (level,):
            ax.axhline(side, color=colour, linestyle=(0, (5, 3)), linewidth=1.3)
    if onset is not None:
        ax.axvline(onset, color=figures.BLUE, linestyle=(0, (1, 2)), linewidth=1.8)


def draw_names(ax: Axes, config: ObserverConfig, onset: int | None = None) -> None:
    """Write the names of the lines of `draw_trace` beside them."""
    bottom, top = ax.get_ylim()
    room = config.theta_high - config.theta_low > 0.09 * (top - bottom)
    levels = [
        (config.theta_high, "theta_high", 1),
        (config.theta_low, "theta_low", 1 if room else -1),
    ]
    if config.two_sided:
        levels += [(-value, f"-{name}", -above) for value, name, above in levels]
    for value, name, above in levels:
        colour = figures.VERMILLION if "high" in name else figures.GREEN
        figures.halo(ax.annotate(
            name, (0.01, value), xycoords=("axes fraction", "data"), xytext=(0, 2 * above),
            textcoords="offset points", va="bottom" if above > 0 else "top", fontsize=8,
            color=figures.ink(colour),
        ))  # fmt: skip
    if onset is not None:
        figures.halo(ax.annotate(
            "shift begins", (onset, 0.98), xycoords=("data", "axes fraction"), xytext=(-3, 0),
            textcoords="offset points", ha="right", va="top", fontsize=8,
            color=figures.ink(figures.BLUE),
        ))  # fmt: skip


def draw_batch(ax: Axes, pictures: Any) -> None:
    """Show the images of one batch (B, H, W), bytes, as one picture of about as many rows."""
    n, height, width = pictures.shape
    columns = math.ceil(math.sqrt(n))
    rows = -(-n // columns)
    sheet = np.zeros((rows * columns, height, width), np.uint8)
    sheet[:n] = pictures
    sheet = sheet.reshape(rows, columns, height, width).swapaxes(1, 2)
    sheet = sheet.reshape(rows * height, columns * width)
    ax.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")


def draw_latest(ax: Axes, trace: Trace, limits: tuple[float, float]) -> None:
    """Mark the last step in the shape and the colour of its state."""
    marker, _, colour = LOOKS[State(str(trace.states[-1]))]
    value = trace.values[-1]
    y = min(max(value, limits[0]), limits[1]) if np.isfinite(value) else limits[1]
    ax.plot(trace.steps[-1], y, marker, color=colour, markersize=10, clip_on=False, zorder=5)


def draw_layer_bars(
    ax: Axes,
    drifts: Sequence[float],
    states: Sequence[str],
    config: ObserverConfig,
    limits: tuple[float, float],
) -> None:
    """Draw the drift of every layer at one step, input side on top, coloured by its state.

    A bar that is below theta_high and yet in ALERT is hatched, and says so: its alert ends at
    theta_low.
    """
    values = np.asarray(drifts, np.float64)
    shown = np.clip(np.nan_to_num(values, nan=limits[1], posinf=limits[1]), *limits)
    colours = [LOOKS[State(str(s))][2] for s in states]
    bars = ax.barh(range(len(values)), shown, color=colours, height=0.7)
    ax.axvline(0, color=figures.INK, linewidth=0.8)
    for level, colour in (
        (config.theta_high, figures.VERMILLION),
        (config.theta_low, figures.GREEN),
    ):
        for side in (level, -level) if config.two_sided else (level,):
            ax.axvline(side, color=colour, linestyle=(0, (5, 3)), linewidth=1.1)
    sizes = abs(values) if config.two_sided else values
    for i, bar in enumerate(bars):
        if str(states[i]) == State.ALERT and sizes[i] < config.theta_high:
            bar.set(hatch="////", edgecolor="white")
            figures.halo(ax.annotate(
                "still ALERT", (max(shown[i], 0), i), xytext=(4, 0), textcoords="offset points",
                va="center", fontsize=8, color=figures.INK,
            ))  # fmt: skip


def draw_delay_curves(
    ax: Axes, curves: Mapping[str, Curve], title: str = "", labels: bool = True
) -> None:
    """Draw `delay_curves` for one kind of shift on ``ax``."""
    colours, ends = {}, {}
    for i, (name, curve) in enumerate(curves.items()):
        seen = curve.rate > 0
        order = np.flatnonzero(seen)[np.argsort(curve.rate[seen])]
        colours[name] = figures.COLOURS[i]
        x = curve.rate[order]
        ax.plot(x, curve.delay[order], color=colours[name], linewidth=2)
        ax.fill_between(x, curve.delay_low[order], curve.delay_high[order], color=colours[name],
                        alpha=0.15, linewidth=0)  # fmt: skip
        ends[name] = float(curve.delay[order][x <= RATES[1]][-1])
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(3, 300)
    ax.set_xlim(*RATES)
    ax.set(xlabel="false alarms per 1,000 steps", title=title)
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    ax.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    if labels:
        figures.draw_end_labels(ax, ends, colours)


def delay_curves(
    by_shift: Mapping[str, Mapping[str, Curve]], names: Sequence[str], title: str = ""
) -> None:
    """Mean detection delay against false alarms per 1,000 steps; low and to the left is good.

    Parameters
    ----------
    by_shift : mapping of str to mapping of str to Curve
        Kind of shift (one panel each) -> detector -> curve.
    names : sequence of str
        The detectors to draw; with more than four the bands hide each other.
    title : str
        The finding.
    """
    with figures.figure() as fig:
        axes = np.atleast_1d(fig.subplots(1, len(by_shift), sharex=True))
        for i, (ax, (shift, curves)) in enumerate(zip(axes, by_shift.items(), strict=True)):
            chosen = {name: curves[name] for name in names}
            draw_delay_curves(ax, chosen, "", labels=i == len(axes) - 1)
            ax.set_title(shift, fontsize=11, fontweight="normal")
        axes[0].set_ylabel("mean delay [steps]")
        if title:
            fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
