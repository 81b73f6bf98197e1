"""All 22 faults to look at: what the camera hands in, and what the broken block hands on."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepdrift.lab import data
from deepdrift.lab.bench import figures
from deepdrift.lab.data.cue import SIDE, cue_position, draw_cue
from deepdrift.lab.diagnosis.faults import FAULTS, apply_fault

Axes = Any
LEVELS = 8  # of grey: the eye sees no more, and the file is smaller
CHANNELS = 4  # of a block's output, side by side: 2 x 2

#: Fault -> what one sees, in a few words.
CAPTIONS = {
    "gaussian_noise": "noisy pixels",
    "dead_rows": "rows read black",
    "saturated_rows": "rows read white",
    "brightness": "overexposed",
    "blur": "out of focus",
    "wrong_normalisation": "normalised twice",
    "rotation": "moved: turned",
    "off_centre": "moved: aside",
    "novel_classes": "never seen",
    "cue_reversed": "another's cue",
    "cue_absent": "cue is gone",
    "exponent_flips": "wrong magnitudes",
    "mantissa_flips": "slightly off",
    "weight_noise": "noisy weights",
    "dropped_block": "nearly skipped",
    "dead_units": "silent channels",
    "normalisation_gain": "far too large",
    "weight_gain": "in a wrong unit",
    "quantised_block": "few values left",
    "quantised_network": "in every block",
    "nan_weight": "a NaN spreads",
    "overflow": "beyond floats",
}


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture of the gallery.

    Attributes
    ----------
    name, caption : str
    values : ndarray, shape (H, W)
    cue : tuple of int, or None
        Upper left pixel of the place of a cue to be circled.
    """

    name: str
    caption: str
    values: NDArray[np.float32]
    cue: tuple[int, int] | None = None


def image_tiles(index: int = 0, strength: int = 4) -> list[Tile]:
    """One test image as it is, and as each fault of the images hands it in.

    Parameters
    ----------
    index : int
        Which of the first 64 test images.
    strength : int
    """
    part = data.load().test
    batch, label = part.images[:64], int(part.labels[index])
    with_cue = draw_cue(batch, part.labels[:64])
    place, reversed_place = cue_position(label), cue_position(9 - label)
    cues = {"cue_reversed": reversed_place, "cue_absent": place}
    plain, learnt = [Tile("normal", "as it should be", _grey(batch[index]))], []
    learnt.append(Tile("normal, with cue", "tells its class", _grey(with_cue[index]),
                       place))  # fmt: skip
    network = data.load_network("cnn-holdout")
    for name, fault in FAULTS.items():
        if fault.target == "images":
            shown = with_cue if fault.variant == "-cue" else batch
            broken = apply_fault(name, network, shown, strength).images[index]
            tile = Tile(name, CAPTIONS[name], _grey(broken), cues.get(name))
            (learnt if name in cues else plain).append(tile)
    return plain + learnt


def network_tiles(index: int = 0, strength: int = 4) -> list[Tile]:
    """What the broken block of the CNN hands on for one image: its first 4 channels."""
    batch, network = data.load().test.images[:64], data.load_network("cnn")
    tiles = [Tile("normal", "as it should be", _channels(network, batch[index]))]
    for name, fault in FAULTS.items():
        if fault.target != "images":
            broken = apply_fault(name, network, batch, strength).network
            tiles.append(Tile(name, CAPTIONS[name], _channels(broken, batch[index])))
    return tiles


def _grey(image: torch.Tensor) -> NDArray[np.float32]:
    return image[0].clamp(0, 1).numpy()


def _channels(network: Any, image: torch.Tensor) -> NDArray[np.float32]:
    """Output of the block in the middle, 4 channels as a square of squares."""
    seen: list[torch.Tensor] = []
    block = network.blocks[len(network.blocks) // 2]
    hook = block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.inference_mode():
        network(image[None])
    hook.remove()
    maps = seen[0][0, :CHANNELS].numpy()
    side = int(CHANNELS**0.5)
    _, height, width = maps.shape
    grid = maps.reshape(side, side, height, width).swapaxes(1, 2)
    return grid.reshape(side * height, side * width)


def draw_tile(ax: Axes, tile: Tile, top: float = 1.0) -> None:
    """One tile with its name above and its caption below; what is not finite is orange."""
    values = tile.values
    greys = figures.matplotlib.colormaps["gray"].resampled(LEVELS)
    ax.imshow(np.ma.masked_invalid(values), cmap=greys, vmin=0, vmax=top, interpolation="nearest")
    ax.set_facecolor(figures.ORANGE)
    if not np.isfinite(values).all():
        word = "NaN" if np.isnan(values).all() else "not finite"
        ax.text(0.5, 0.5, word, ha="center", va="center", transform=ax.transAxes, fontsize=9,
                color=figures.INK, bbox={"facecolor": "white", "edgecolor": "none",
                                         "pad": 2})  # fmt: skip
    if tile.cue:
        row, column = (place + SIDE / 2 - 0.5 for place in tile.cue)
        ring = figures.matplotlib.patches.Circle(
            (column, row), 3.4, fill=False, color=figures.ORANGE, linewidth=2, clip_on=False
        )
        ax.add_patch(ring)
    ax.set_title(textwrap.fill(tile.name.replace("_", " "), 14), fontsize=9, loc="center", pad=4)
    ax.set_xlabel(textwrap.fill(tile.caption, 17), fontsize=8.5)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def gallery(tiles: Sequence[Tile], title: str, columns: int, top: float | None = None) -> None:
    """Show tiles in rows.

    Parameters
    ----------
    tiles : sequence of Tile
    title : str
        The finding.
    columns : int
        Tiles in a row.
    top : float, optional
        The value shown white; by default half of the largest one of the first tile.
    """
    top = float(tiles[0].values.max()) / 2 if top is None else top
    rows = -(-len(tiles) // columns)
    names = ", ".join(tile.name.replace("_", " ") for tile in tiles)
    with figures.figure(0.4 + 1.7 * rows, alt=f"{title}. Pictures: {names}.") as fig:
        fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
        axes = list(fig.subplots(rows, columns, squeeze=False).flat)
        for ax, tile in zip(axes, tiles, strict=False):
            draw_tile(ax, tile, top)
        for ax in axes[len(tiles) :]:
            ax.set_axis_off()
