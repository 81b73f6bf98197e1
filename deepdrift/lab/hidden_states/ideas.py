"""The idea of notebook 01 as a drawing: a chain of layers, a step, its prediction, its residual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.figures.canvas import as_array

STATE, PREDICTION, RESIDUAL = figures.BLUE, figures.ORANGE, figures.VERMILLION
BOX, GAP, LEFT = 1.35, 0.62, 0.95  # width of a layer, of the room between two, where they begin
FLOOR, TOP = 0.34, 1.98  # lower and upper edge of the boxes
BAR = 0.24  # width of a bar


def draw_chain(
    ax: figures.Axes,
    states: Mapping[str, Any] | Sequence[Any],
    predicted: Any | None = None,
    title: str = "",
) -> dict[str, Any]:
    """Draw `chain` on ``ax``; returns bars by layer, and ``step``, ``predicted``, ``residual``."""
    rows = _rows(states)
    expected = None if predicted is None else as_array(predicted, "predicted", 1)
    everything = [*rows.values()] + ([] if expected is None else [expected])
    widths = {len(row) for row in everything}
    if len(rows) < 2 or len(widths) != 1:
        raise figures.PlotError(
            "states: expected two layers or more, all states and the prediction of one length, "
            f"got {len(rows)} layers and the lengths {sorted(widths)}"
        )
    peak = max(float(np.abs(row).max()) for row in everything) or 1.0
    scale, middle = 0.46 * (TOP - FLOOR) / peak, (TOP + FLOOR) / 2
    artists: dict[str, Any] = {}
    ax.set_axis_off()
    ax.set_xlim(0, 8)
    ax.set_ylim(0, 2.3)
    ax.text(0.02, middle, "input", va="center", color=figures.GREY)
    _arrow(ax, 0.5, LEFT - 0.06, middle, figures.GREY)
    for i, (name, row) in enumerate(rows.items()):
        x0 = LEFT + i * (BOX + GAP)
        at = _places(x0, len(row))
        _box(ax, x0)
        ax.text(x0 + BOX / 2, TOP + 0.1, name, ha="center", fontweight="bold", color=figures.INK)
        ax.plot([x0 + 0.1, x0 + BOX - 0.1], [middle, middle], color=figures.GREY, linewidth=0.8)
        artists[name] = ax.bar(at, scale * row, BAR, bottom=middle, color=STATE, alpha=0.85)
        ax.text(x0 + BOX / 2, FLOOR - 0.1, _numbers(row), ha="center", va="top", fontsize=9.5,
                color=figures.ink(STATE))  # fmt: skip
        if i:
            last = i == len(rows) - 1
            colour = figures.BLACK if last else figures.GREY
            artists["step"] = _arrow(ax, x0 - GAP + 0.06, x0 - 0.06, middle, colour)
    before, after = list(rows.values())[-2:]
    said = [("state", after, STATE), ("step", after - before, figures.BLACK)]
    ax.text(x0 - GAP / 2, middle + 0.1, "step", ha="center", fontweight="bold")
    if expected is not None:
        artists["predicted"] = ax.bar(
            at, scale * expected, BAR + 0.08, bottom=middle, fill=False, edgecolor=PREDICTION,
            linewidth=2, linestyle=(0, (3, 1.5)),
        )  # fmt: skip
        artists["residual"] = [
            ax.annotate("", (x, middle + scale * a), xytext=(x, middle + scale * e),
                        arrowprops={"arrowstyle": "-|>", "color": RESIDUAL, "linewidth": 2.4,
                                    "shrinkA": 0, "shrinkB": 0})
            for x, a, e in zip(at, after, expected, strict=True) if a != e
        ]  # fmt: skip
        said += [("predicted", expected, PREDICTION), ("residual", after - expected, RESIDUAL)]
    for k, (word, row, colour) in enumerate(said):
        ax.text(x0 + BOX + 0.16, TOP - 0.12 - 0.42 * k, f"{word} {_numbers(row)}", va="center",
                fontsize=9.5, fontweight="bold", color=figures.ink(colour))  # fmt: skip
    if title:
        ax.set_title(title)
    return artists


def chain(
    states: Mapping[str, Any] | Sequence[Any], predicted: Any | None = None, title: str = ""
) -> None:
    """Layers as a chain of boxes, their states as bars, the last step as an arrow.

    Parameters
    ----------
    states : array_like, shape (L, D), or mapping of str to array_like, shape (D,)
        The state of every layer for one input, in the order in which the layers run; or by name
        of the layer, else they are numbered.
    predicted : array_like, shape (D,), optional
        What was expected of the last state: dashed, with the residual as an arrow from there to
        the state.
    title : str
        The finding.
    """
    said = "; ".join(f"{name} {_numbers(row)}" for name, row in _rows(states).items())
    with figures.figure(alt=f"{title}. A chain of layers: {said}") as fig:
        draw_chain(fig.subplots(), states, predicted, title)


def _rows(states: Mapping[str, Any] | Sequence[Any]) -> dict[str, np.ndarray]:
    if not isinstance(states, Mapping):
        states = {f"layer {i}": state for i, state in enumerate(states, 1)}
    return {name: as_array(state, f"state of {name!r}", 1) for name, state in states.items()}


def _places(x0: float, n: int) -> np.ndarray:
    return x0 + BOX / 2 + (np.arange(n) - (n - 1) / 2) * min(0.42, (BOX - 0.2) / n)


def _arrow(ax: figures.Axes, start: float, end: float, y: float, colour: str) -> Any:
    width = 2.2 if colour == figures.BLACK else 1.2
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0}
    return ax.annotate("", (end, y), xytext=(start, y), arrowprops=style)


def _box(ax: figures.Axes, x0: float) -> None:
    ax.add_patch(
        figures.matplotlib.patches.FancyBboxPatch(
            (x0, FLOOR),
            BOX,
            TOP - FLOOR,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor="#f4f4f4",
            edgecolor="#999999",
            linewidth=1,
        )  # fmt: skip
    )


def _numbers(row: Sequence[float]) -> str:
    """``(4, -7, 8)``, with a true minus."""
    return "(" + ", ".join(f"{value:g}".replace("-", "−") for value in row) + ")"
