"""A table of numbers as colours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from deepdrift.lab.bench.figures.canvas import (
    HEIGHT,
    INK,
    Axes,
    PlotError,
    as_array,
    figure,
    matplotlib,
    needs_slant,
    slant,
)


def draw_heatmap(
    ax: Axes,
    table: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    middle: float | None = None,
    limits: tuple[float, float] | None = None,
    fmt: str = ".2f",
    as_shapes: bool = False,
) -> Any:
    """Draw `heatmap` on ``ax``; returns the image.

    With ``as_shapes`` the numbers are shapes of one collection and no texts: a hundred of them take
    a fifth of the time, for a picture that follows a slider.
    """
    table = as_array(table, "table", 2)
    if table.shape != (len(rows), len(columns)):
        raise PlotError(
            f"table: expected shape {(len(rows), len(columns))} for the given rows and columns, "
            f"got {table.shape}"
        )
    shown = np.ma.masked_invalid(table)
    low, high = limits or ((shown.min(), shown.max()) if shown.count() else (0.0, 1.0))
    if middle is not None:
        reach = max(high - middle, middle - low) or 1.0
        low, high = middle - reach, middle + reach
    cmap = matplotlib.colormaps["PuOr_r" if middle is not None else "cividis"].with_extremes(
        bad="#eeeeee"
    )
    image = ax.imshow(shown, cmap=cmap, vmin=low, vmax=high, aspect="auto")
    dark = image.to_rgba(shown)[..., :3] @ (0.299, 0.587, 0.114) < 0.5
    words = [format(value, fmt) if np.isfinite(value) else "–" for value in table.flat]
    places = [(j, i) for i, j in np.ndindex(table.shape)]
    colours = np.where(dark & ~np.ma.getmaskarray(shown), "white", INK).ravel().tolist()
    if as_shapes:
        _add_shapes(ax, places, words, colours)
    else:
        for (x, y), word, colour in zip(places, words, colours, strict=True):
            ax.text(x, y, word, ha="center", va="center", fontsize=9, color=colour)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(range(len(columns)), columns)
    if needs_slant(columns, 80):
        slant(ax)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    if title:
        ax.set_title(title)
    return image


@lru_cache(maxsize=1000)
def _shape(word: str) -> Any:
    """A word of 9 points as a path around its middle, as high as a digit."""
    path = matplotlib.textpath.TextPath((0, 0), word, size=9)
    box = path.get_extents()
    digit = matplotlib.textpath.TextPath((0, 0), "0", size=9).get_extents()
    middle = (box.x0 + box.width / 2, digit.y0 + digit.height / 2)
    return path.transformed(matplotlib.transforms.Affine2D().translate(-middle[0], -middle[1]))


def _add_shapes(ax: Axes, places: list, words: list[str], colours: list[str]) -> None:
    points = matplotlib.transforms.Affine2D().scale(1 / 72) + ax.figure.dpi_scale_trans
    numbers = matplotlib.collections.PathCollection(
        [_shape(word) for word in words],
        offsets=places,
        offset_transform=ax.transData,
        facecolors=colours,
        edgecolors="none",
    )
    numbers.set_transform(points)
    ax.add_collection(numbers, autolim=False)


def heatmap(
    table: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    *,
    middle: float | None = None,
    limits: tuple[float, float] | None = None,
    fmt: str = ".2f",
) -> None:
    """Show a table of numbers with its cells coloured; every number is printed.

    Parameters
    ----------
    table : array_like, shape (R, C)
        NaN cells are left blank with a dash.
    rows, columns : sequences of R and C str
        Their names.
    title : str
        The finding.
    middle : float, optional
        Value without a colour, such as 0.5 for an AUROC: orange above, purple below.
    limits : tuple of float, optional
        Range of the colours; that of the table by default.
    """
    slanted = needs_slant(columns, 80)
    height = max(HEIGHT, 0.7 + 0.26 * len(rows) + (0.5 if slanted else 0.0))
    with figure(height) as fig:
        draw_heatmap(fig.subplots(), table, rows, columns, title, middle, limits, fmt)
