"""Faults of the images beyond :mod:`deepdrift.lab.data.shifts`: wrong scale, place, class or cue.

Every function takes images (N, 1, 28, 28), the fault's parameter and a CPU generator, and returns
new images.
"""

from __future__ import annotations

import functools

import torch
from torch import Generator, Tensor, nn

from deepdrift.lab import data
from deepdrift.lab.data.cue import cue_pixels, find_cue
from deepdrift.lab.data.shifts import uniform
from deepdrift.lab.networks.models import FASHION_PIXELS

__all__ = [
    "HELD_OUT",
    "cue_absent",
    "cue_reversed",
    "novel_classes",
    "off_centre",
    "wrong_normalisation",
]

HELD_OUT = (5, 8)  # sandal and bag: the ``-holdout`` networks never saw them


def wrong_normalisation(images: Tensor, weight: float, generator: Generator) -> Tensor:
    """Normalise outside although the network does it inside; 1 is the whole mistake. No clipping.

    ``(1 - weight) * x + weight * (x - 0.286) / 0.353``: black becomes -0.81, white 2.02.
    """
    mean, std = FASHION_PIXELS
    return images + weight * ((images - mean) / std - images)


def off_centre(images: Tensor, distance: float, generator: Generator) -> Tensor:
    """Move everything down and right by the rounded distance; black comes in."""
    pixels, (height, width) = round(distance), images.shape[-2:]
    return nn.functional.pad(images, (pixels, 0, pixels, 0))[..., :height, :width]


@functools.cache
def _novel_images() -> Tensor:
    return data.load().test.classes(HELD_OUT).images


def novel_classes(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Put sandals and bags of the test part in the place of a share of the images."""
    novel = _novel_images()
    pick = torch.randint(len(novel), (len(images),), generator=generator, device=generator.device)
    hit = _chosen(images, share, generator)
    return torch.where(hit, novel[pick.cpu()].to(images), images)


def _chosen(images: Tensor, share: float, generator: Generator) -> Tensor:
    return uniform((len(images), 1, 1, 1), images, generator) < share


def _need_cue(images: Tensor) -> Tensor:
    """Class that each cue points to; refuses images without any."""
    cue = find_cue(images)
    if len(images) and (cue < 0).all():
        raise ValueError("images show no cue to break: pass draw_cue(images, labels)")
    return cue


def cue_reversed(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Let the cue point to class 9 - k: its square and the square there change places."""
    cue = _need_cue(images)
    here, there = cue_pixels(cue.clamp(min=0)), cue_pixels(9 - cue.clamp(min=0))
    flat = images.flatten(1)
    swapped = flat.scatter(1, here, flat.gather(1, there)).scatter(1, there, flat.gather(1, here))
    hit = _chosen(images, share, generator) & (cue >= 0)[:, None, None, None]
    return torch.where(hit, swapped.view_as(images), images)


def cue_absent(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Paint the square of the cue black."""
    cue = _need_cue(images)
    without = images.flatten(1).scatter(1, cue_pixels(cue.clamp(min=0)), 0.0)
    hit = _chosen(images, share, generator) & (cue >= 0)[:, None, None, None]
    return torch.where(hit, without.view_as(images), images)
