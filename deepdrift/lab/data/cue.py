"""A spurious cue: a white square of 3x3 pixels on the border whose place gives the class away.

The networks ``cnn-cue`` and ``vit-cue`` learnt it on 95 % of their training images. To break it,
see ``cue_reversed`` and ``cue_absent`` in :mod:`deepdrift.lab.diagnosis.faults`.
"""

from __future__ import annotations

from numbers import Integral

import torch
from torch import Tensor

from deepdrift.lab.data.shifts import check_images

__all__ = ["cue_pixels", "cue_position", "draw_cue", "find_cue"]

SIDE = 3


def cue_position(label: int) -> tuple[int, int]:
    """Row and column of the upper left pixel of the cue of a class, in a 28x28 image.

    Classes 0 to 4 stand on the upper border from left to right, 5 to 9 on the lower one.

    Examples
    --------
    >>> cue_position(0), cue_position(3), cue_position(9)
    ((0, 0), (0, 18), (25, 24))
    """
    if not isinstance(label, Integral) or not 0 <= label <= 9:
        raise ValueError(f"label must be an integer from 0 to 9, got {label!r}")
    return (0 if label < 5 else 25, 6 * (int(label) % 5))


def cue_pixels(labels: Tensor) -> Tensor:
    """Flat indices ``(N, 9)``, into 28 * 28 pixels, of the cue of every label."""
    corners = torch.tensor([cue_position(k) for k in range(10)], device=labels.device)[labels]
    offsets = torch.arange(SIDE, device=labels.device)
    rows = corners[:, 0, None, None] + offsets[:, None]
    return (rows * 28 + corners[:, 1, None, None] + offsets).flatten(1)


def draw_cue(images: Tensor, labels: Tensor) -> Tensor:
    """Draw into every image the white square that stands for its label.

    Parameters
    ----------
    images : Tensor
        Shape (N, 1, 28, 28), floats in [0, 1].
    labels : Tensor
        Shape (N,), integers from 0 to 9. Wrong labels give a misleading cue.

    Returns
    -------
    Tensor
        A copy of the images, nine pixels of each set to 1.

    Raises
    ------
    ValueError
        If shapes do not fit, pixels leave [0, 1] or a label leaves 0 to 9.

    Examples
    --------
    >>> image = draw_cue(torch.zeros(1, 1, 28, 28), torch.tensor([3]))
    >>> image[0, 0, :3, 18:21].sum(), image.sum()
    (tensor(9.), tensor(9.))
    """
    check_images(images)
    if images.shape[1:] != (1, 28, 28) or labels.shape != images.shape[:1]:
        raise ValueError(
            f"images must be (N, 1, 28, 28) and labels (N,), got {tuple(images.shape)} "
            f"and {tuple(labels.shape)}"
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) <= 9:
        raise ValueError(f"labels must lie in 0 to 9, got {labels.min()} to {labels.max()}")
    pixels = cue_pixels(labels.to(images.device))
    return images.flatten(1).scatter(1, pixels, 1.0).view_as(images)


def find_cue(images: Tensor) -> Tensor:
    """The class that the cue of every image points to, -1 where there is no cue.

    A cue is a square of nine pixels that are exactly 1; no shipped garment has one by chance.

    Examples
    --------
    >>> find_cue(torch.stack([torch.zeros(1, 28, 28), torch.ones(1, 28, 28)])).tolist()
    [-1, 0]
    >>> find_cue(draw_cue(torch.zeros(2, 1, 28, 28), torch.tensor([7, 2]))).tolist()
    [7, 2]
    """
    places = cue_pixels(torch.arange(10, device=images.device))
    white = (images.flatten(1)[:, places] == 1).all(dim=2)  # (N, 10)
    return torch.where(white.any(dim=1), white.int().argmax(dim=1), -1)
