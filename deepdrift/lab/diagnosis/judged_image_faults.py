"""Image faults that no rule of the doctor was written on; strengths were fixed before looking.

Every function takes images (N, 1, 28, 28), the fault's parameter and a CPU generator, and returns
new images.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Generator, Tensor, nn

from deepdrift.lab import data
from deepdrift.lab.data.shifts import uniform

BLOCK = 7  # pixels: 28 is four blocks


def _cosines(n: int) -> Tensor:
    """Orthonormal discrete cosine transform (DCT-II), ``(n, n)``."""
    k = torch.arange(n, dtype=torch.float32, device="cpu")
    table = torch.cos(math.pi * (k[None] + 0.5) * k[:, None] / n) * math.sqrt(2 / n)
    table[0] /= math.sqrt(2)
    return table


def block_quantisation(images: Tensor, step: float, generator: Generator) -> Tensor:
    """Round the cosine coefficients of blocks of 7 x 7 to multiples of a step, as JPEG does."""
    n, c, h, w = images.shape
    dct = _cosines(BLOCK).to(images)
    blocks = images.view(n, c, h // BLOCK, BLOCK, w // BLOCK, BLOCK).transpose(3, 4)
    rough = (dct @ blocks @ dct.T / step).round() * step
    return (dct.T @ rough @ dct).transpose(3, 4).reshape(n, c, h, w).clamp(0, 1)


def motion_blur(images: Tensor, length: float, generator: Generator) -> Tensor:
    """Average over so many neighbours to the left and right (an odd number, rounded)."""
    size = 2 * round((length - 1) / 2) + 1
    padded = nn.functional.pad(images, (size // 2, size // 2, 0, 0), mode="replicate")
    return nn.functional.avg_pool2d(padded, (1, size), 1)


def vignetting(images: Tensor, loss: float, generator: Generator) -> Tensor:
    """Darken towards the corners, where ``1 - loss`` of the light is left."""
    h, w = images.shape[-2:]
    y, x = (torch.linspace(-1, 1, k, device=images.device).to(images) for k in (h, w))
    return images * (1 - loss * (y[:, None].square() + x.square()) / 2)


def gamma(images: Tensor, exponent: float, generator: Generator) -> Tensor:
    """Raise every pixel to a power: the grey scale of another screen."""
    return images**exponent


def scan_line_offset(images: Tensor, pixels: float, generator: Generator) -> Tensor:
    """Move every second row to the right by the rounded number of pixels; it wraps around."""
    moved = images.clone()
    moved[..., 1::2, :] = images[..., 1::2, :].roll(round(pixels), dims=-1)
    return moved


def _warped(images: Tensor, rows: list[list[float]]) -> Tensor:
    theta = torch.tensor(rows, device=images.device).to(images).expand(len(images), 2, 3)
    grid = nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False)


def zoom_out(images: Tensor, scale: float, generator: Generator) -> Tensor:
    """Show everything at a share of its size; black comes in."""
    return _warped(images, [[1 / scale, 0.0, 0.0], [0.0, 1 / scale, 0.0]])


def translation(images: Tensor, pixels: float, generator: Generator) -> Tensor:
    """Move everything to the left by the rounded number of pixels; black comes in."""
    k = round(pixels)
    return nn.functional.pad(images, (0, k))[..., k:]


def shear(images: Tensor, factor: float, generator: Generator) -> Tensor:
    """Slant everything: rows move by ``factor`` times their distance from the middle."""
    return _warped(images, [[1.0, factor, 0.0], [0.0, 1.0, 0.0]])


def mirrored(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Exchange left and right in a share of the images."""
    return torch.where(_chosen(images, share, generator), images.flip(-1), images)


def hot_pixels(images: Tensor, count: float, generator: Generator) -> Tensor:
    """Clusters of 2 x 2 white pixels, at the same places in all images."""
    h, w = images.shape[-2:]
    places = torch.randperm((h - 1) * (w - 1), generator=generator)[: round(count)]
    hot = images.clone()
    for place in places.tolist():
        y, x = divmod(place, w - 1)
        hot[..., y : y + 2, x : x + 2] = 1.0
    return hot


def stuck_bit(images: Tensor, value: float, generator: Generator) -> Tensor:
    """One bit of the eight of every pixel always reads one; its value is a power of two."""
    bit = 2 ** round(math.log2(value))
    return ((images * 255).round().to(torch.int64) | bit).to(images) / 255


def interlaced(images: Tensor, share: float, generator: Generator) -> Tensor:
    """A share of the odd rows come from the image before, as in a broken video stream."""
    rows = torch.arange(images.shape[-2], device=images.device)[:, None]
    hit = (uniform((1, 1, images.shape[-2], 1), images, generator) < share) & (rows % 2 == 1)
    return torch.where(hit, images.roll(1, dims=0), images)


def mixed_classes(images: Tensor, weight: float, generator: Generator) -> Tensor:
    """A double exposure: every image holds a share of the one before."""
    return (1 - weight) * images + weight * images.roll(1, dims=0)


@functools.cache
def _trousers() -> Tensor:
    return data.load().test.classes((1,)).images


@functools.cache
def _digits() -> Tensor:
    return data.load_ood("mnist").images


def one_class(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Put trousers, which the network knows well, in the place of a share of the images."""
    return _replaced(images, _trousers(), share, generator)


def other_set(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Put handwritten digits in the place of a share of the images."""
    return _replaced(images, _digits(), share, generator)


def _replaced(images: Tensor, others: Tensor, share: float, generator: Generator) -> Tensor:
    pick = torch.randint(len(others), (len(images),), generator=generator, device=generator.device)
    return torch.where(_chosen(images, share, generator), others[pick.cpu()].to(images), images)


def _chosen(images: Tensor, share: float, generator: Generator) -> Tensor:
    return uniform((len(images), 1, 1, 1), images, generator) < share
