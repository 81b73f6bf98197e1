"""A table of numbers as colours."""

from __future__ import annotations

from collections.abc import Sequence
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
) -> Any:
    """Draw `heatmap` on ``ax``; returns the image."""
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
    for (i, j), value in np.ndenumerate(table):
        red, green, blue, _ = image.to_rgba(value)
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        ax.text(j, i, format(value, fmt) if np.isfinite(value) else "–", ha="center", va="center",
                fontsize=9, color="white" if dark and np.isfinite(value) else INK)  # fmt: skip
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
