"""The house style: colours, the figure every picture is drawn on, and what all pictures share."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.errors import DeepDriftError, require

matplotlib = require("matplotlib", "lab")


require("matplotlib.figure", "lab")


require("matplotlib.ticker", "lab")


require("matplotlib.lines", "lab")


patheffects = require("matplotlib.patheffects", "lab")


BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
)  # fmt: skip


COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)


GREY, INK = "#767676", "#222222"


STYLE_FILE = Path(__file__).with_name("deepdrift.mplstyle")


WIDTH, HEIGHT = 8.0, 3.0  # inches, at 100 dots per inch


SHARPNESS = 2  # stored dots per dot of the page: projectors and laptop screens show them all


Axes = Any


class PlotError(DeepDriftError, ValueError):
    """Data that a figure cannot show honestly."""


@functools.cache
def style_settings() -> Any:
    """Settings of the house style, read once."""
    return matplotlib.rc_params_from_file(STYLE_FILE, use_default_template=False)


def style() -> Any:
    """Context manager: the house style for everything drawn inside, nothing outside."""
    return matplotlib.rc_context(style_settings())


@contextmanager
def figure(height: float = HEIGHT, alt: str | None = None) -> Iterator[Any]:
    """New pyplot figure in the house style; shown on leaving, closed if the drawing fails.

    A notebook gets it at twice the resolution, shown at 100 dots per inch, and with ``alt`` as
    its alternative text (by default `alternative_text`).
    """
    pyplot = require("matplotlib.pyplot", "lab")
    with style():
        fig = pyplot.figure(figsize=(WIDTH, height))
        try:
            yield fig
        except BaseException:
            pyplot.close(fig)
            raise
        backend = matplotlib.get_backend().lower()
        if "inline" in backend:
            _show_in_notebook(fig, alt)
            pyplot.close(fig)
        elif backend != "agg":  # agg has no screen: keep it for savefig
            pyplot.show()


def _show_in_notebook(fig: Any, alt: str | None) -> None:
    display = require("IPython.display", "lab")
    width, height = (round(100 * inches) for inches in fig.get_size_inches())
    data = {"image/png": as_base64(fig), "text/plain": repr(fig)}
    about = {"width": width, "height": height, "alt": alt or alternative_text(fig)}
    display.display(data, metadata={"image/png": about}, raw=True)


def as_base64(fig: Any) -> str:
    """The figure as PNG of `SHARPNESS` times 100 dots per inch, in base64."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=100 * SHARPNESS)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def alternative_text(fig: Any) -> str:
    """What a figure says to those who do not see it: titles, and what the axes show.

    Examples
    --------
    >>> fig = matplotlib.figure.Figure()
    >>> ax = fig.subplots()
    >>> _ = ax.set(title="Digits move the state less", xlabel="step", ylabel="share of images")
    >>> alternative_text(fig)
    'Digits move the state less (step; share of images)'
    """
    said = []
    for ax in fig.axes:
        title = ax.get_title(loc="left") or ax.get_title()
        shown = "; ".join(filter(None, (ax.get_xlabel(), ax.get_ylabel())))
        text = f"{title} ({shown})" if title and shown else title or shown
        if text and text not in said:
            said.append(text)
    if (above := fig.get_suptitle()) and above not in said:
        said.insert(0, above)
    return " ".join(". ".join(said).split()) or "Drawing"


def colour(index: int) -> str:
    """Colour of the series with this number."""
    return COLOURS[index % len(COLOURS)]


def as_array(values: Any, name: str, ndim: int) -> NDArray[np.float64]:
    """Values as float64 with so many axes, from a tensor, a list or an array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != ndim or values.size == 0:
        raise PlotError(f"{name}: expected {ndim} axes and some data, got shape {values.shape}")
    return values


def ink(colour: str) -> tuple[float, ...]:
    """Darker shade of a colour, for words: the light ones of the palette are hard to read."""
    return tuple(0.78 * c for c in matplotlib.colors.to_rgb(colour))


def percent_axis(axis: Any, n_ticks: int | None = None) -> None:
    """Write the ticks of an axis of shares as percent."""
    axis.set_major_formatter(lambda x, _: f"{100 * x:.3g} %")
    if n_ticks:
        axis.set_major_locator(matplotlib.ticker.MaxNLocator(n_ticks))


def slant(ax: Axes) -> None:
    """Slant the tick labels of the x axis."""
    for label in ax.get_xticklabels():
        label.set(rotation=25, ha="right", rotation_mode="anchor")


def needs_slant(labels: Sequence[str], room: int) -> bool:
    """Whether tick labels side by side would touch: ``room`` characters fit the axis."""
    return max(map(len, labels)) * len(labels) > room


def halo(text: Any) -> Any:
    """White outline, so that words stay readable on top of data."""
    text.set_path_effects([patheffects.withStroke(linewidth=3, foreground="white")])
    return text


def draw_end_labels(ax: Axes, ends: Mapping[str, float], colours: Mapping[str, str]) -> None:
    """Name each line at its right end; neighbours are moved apart instead of overlapping."""
    ax.figure.draw_without_rendering()  # settles limits, so that heights are known
    to_share = ax.transData + ax.transAxes.inverted()
    x_end = ax.get_lines()[0].get_xdata()[-1]
    share = {name: to_share.transform((x_end, y))[1] for name, y in ends.items()}
    pixels = ax.get_window_extent().height
    at = spread([share[name] for name in ends], gap=15 / pixels)
    for (name, _), y in zip(ends.items(), at, strict=True):
        ax.annotate(name, (1.0, y), xycoords="axes fraction", xytext=(6, 0),
                    textcoords="offset points", color=ink(colours[name]), va="center",
                    fontweight="bold", fontsize=10, annotation_clip=False)  # fmt: skip


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Nearest positions in the same order that keep at least ``gap`` between neighbours.

    Examples
    --------
    >>> spread([0.5, 0.0, 0.5], gap=0.2)
    [0.4, 0.0, 0.6]
    """
    order = np.argsort(np.asarray(positions, float), kind="stable")
    groups: list[tuple[list[float], float]] = []  # members of a cluster, and its lowest place
    for index in order:
        members = [float(positions[index])]
        start = members[0]
        while groups and groups[-1][1] + gap * len(groups[-1][0]) > start + 1e-12:
            members = groups.pop()[0] + members
            start = float(np.mean([p - gap * k for k, p in enumerate(members)]))
        groups.append((members, start))
    placed = [start + gap * k for members, start in groups for k in range(len(members))]
    result = [0.0] * len(placed)
    for index, place in zip(order, placed, strict=True):
        result[index] = round(place, 12)
    return result


def draw_name(ax: Axes, name: str, index: int) -> None:
    """Name of set number ``index`` in its colour, in the upper right corner, one below another."""
    ax.annotate(name, (0.99, 0.98), xycoords="axes fraction", xytext=(0, -14 * index),
                textcoords="offset points", ha="right", va="top", fontweight="bold", fontsize=10,
                color=ink(colour(index)))  # fmt: skip
