"""Images side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepdrift.lab.bench.figures.canvas import HEIGHT, WIDTH, PlotError, figure


def image_grid(
    images: Any,
    titles: Sequence[str] | None = None,
    title: str = "",
    columns: int | None = None,
) -> None:
    """Show images side by side, each with an optional line of text above.

    Parameters
    ----------
    images : array_like, shape (N, H, W), (N, 1, H, W) or (N, 3, H, W)
        Pixel values in [0, 1]; values outside are clipped.
    titles : sequence of str, optional
        One line per image; long ones are wrapped.
    title : str
        The finding.
    columns : int, optional
        Images per row; by default all in one row up to 10, then rows of equal length.

    Raises
    ------
    PlotError
        For another shape, no image, or a number of titles that differs from N.
    """
    if hasattr(images, "detach"):
        images = images.detach().cpu().float().numpy()
    images = np.asarray(images, dtype=np.float64)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise PlotError(
            "images: expected shape (N, H, W), (N, 1, H, W) or (N, 3, H, W) with N >= 1, "
            f"got {images.shape}"
        )
    if titles is not None and len(titles) != len(images):
        raise PlotError(f"titles: expected {len(images)}, one per image, got {len(titles)}")
    room = 100 * HEIGHT - (30 if title else 0)
    line = 0 if titles is None else 18
    columns = columns or _best_columns(len(images), 100 * WIDTH, room, line)
    rows = -(-len(images) // columns)
    height = HEIGHT + max(0.0, rows * (60 + line) - room) / 100  # at least 60 pixels an image
    with figure(height) as fig:
        if title:
            fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
        grid = fig.subplots(rows, columns, squeeze=False)
        per_line = max(8, 125 // columns)
        for i, ax in enumerate(grid.flat):
            ax.set_axis_off()
            if i < len(images):
                picture = np.clip(np.moveaxis(images[i], 0, -1), 0, 1)
                ax.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture,
                          cmap="gray", vmin=0, vmax=1, interpolation="nearest")  # fmt: skip
            if titles is not None and i < len(images):
                ax.set_title(_wrapped(str(titles[i]), per_line), fontsize=9, fontweight="normal",
                             loc="center", pad=3)  # fmt: skip


def _best_columns(n: int, width: float, height: float, line: float) -> int:
    """Columns that make n square images largest, with a line of text above each."""

    def side(columns: int) -> float:
        return min(width / columns, height / -(-n // columns) - line)

    return max(range(1, n + 1), key=lambda c: (side(c), -(-(-n // c) * c - n)))


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width)) or text
