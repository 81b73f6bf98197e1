"""Images, maps and their tops as coloured tiles, and tiles as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepdrift.lab.bench import figures

Tile = NDArray[np.float64]  # (H, W, 3) in [0, 1]
GAP = 2  # white pixels between tiles
BRIGHTEST = 0.99  # share of a map's pixels below the brightest colour
GREYS, HEATS = 8, 6  # levels of brightness: files stay small, and the eye misses little


def grey(image: Tensor) -> Tile:
    """An image (1, H, W) in [0, 1]."""
    return _stepped(image.squeeze(0), GREYS).double().numpy()[..., None].repeat(3, axis=-1)


def heat(values: Tensor) -> Tile:
    """A map (H, W) in its own scale: dark blue is zero, yellow the largest hundredth."""
    bright = max(float(values.flatten().quantile(BRIGHTEST)), float(values.max()) / 10, 1e-30)
    scaled = _stepped(values / bright, HEATS).numpy()
    return figures.matplotlib.colormaps["cividis"](scaled)[..., :3]


def _stepped(values: Tensor, levels: int) -> Tensor:
    return (values.clamp(0, 1) * (levels - 1)).round() / (levels - 1)


def top(values: Tensor, q: float = 0.2) -> NDArray[np.bool_]:
    """The most important pixels of a map, round(q H W) of them.

    Examples
    --------
    >>> top(torch.tensor([[4.0, 1.0], [2.0, 3.0]]), q=0.5).tolist()
    [[True, False], [False, True]]
    """
    flat = values.flatten()
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen[flat.topk(max(1, round(q * len(flat)))).indices] = True
    return (chosen & (flat > 0)).view(values.shape).numpy()


def tops(clean: Tensor, shifted: Tensor) -> Tile:
    """Pixels at the top of both maps dark, of the clean one blue, of the shifted one red."""
    a, b = top(clean), top(shifted)
    picture = np.full((*a.shape, 3), 0.94)
    for chosen, colour in ((a & b, figures.INK), (a & ~b, figures.BLUE), (b & ~a, _RED)):
        picture[chosen] = figures.matplotlib.colors.to_rgb(colour)
    return picture


_RED = figures.VERMILLION


def framed(tile: Tile, colour: str = figures.VERMILLION) -> Tile:
    """A tile with a coloured edge of one pixel."""
    edge = tile.copy()
    edge[[0, -1], :] = edge[:, [0, -1]] = figures.matplotlib.colors.to_rgb(colour)
    return edge


def sheet(rows: Sequence[Sequence[Tile]], gap: int = GAP) -> Tile:
    """Rows of tiles of one size as one picture on white.

    Examples
    --------
    >>> dark = np.zeros((2, 2, 3))
    >>> sheet([[dark, dark, dark]], gap=1).shape
    (2, 8, 3)
    """
    height, width = rows[0][0].shape[:2]
    n, m = len(rows), max(map(len, rows))
    picture = np.ones((n * (height + gap) - gap, m * (width + gap) - gap, 3))
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            y, x = i * (height + gap), j * (width + gap)
            picture[y : y + height, x : x + width] = tile
    return picture
