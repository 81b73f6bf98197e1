"""Controlled faults of a camera: eleven image shifts, each with severity 0 (identity) to 5.

Every shift has one parameter. Severity picks it from the table below and interpolates linearly
between the columns, so a slider moves smoothly.

================  ===================================  =====  =====  =====  =====  =====  =====
shift             parameter                                0      1      2      3      4      5
================  ===================================  =====  =====  =====  =====  =====  =====
gaussian_noise    standard deviation                    0.00   0.05   0.10   0.20   0.30   0.40
shot_noise        standard deviation of a white pixel   0.00   0.10   0.20   0.35   0.50   0.70
blur              standard deviation in pixels          0.00   0.50   0.80   1.20   1.80   2.50
contrast          factor around the image's mean        1.00   0.85   0.65   0.45   0.30   0.15
brightness        added to every pixel                  0.00   0.05   0.12   0.20   0.30   0.50
rotation          degrees counter-clockwise             0.00  10.00  20.00  30.00  60.00  90.00
occlusion         side of 3 black squares / height      0.00   0.12   0.18   0.25   0.32   0.40
inversion         weight of the negative                0.00   0.05   0.20   0.75   0.90   1.00
pixel_dropout     share of black pixels                 0.00   0.03   0.08   0.15   0.30   0.50
dead_rows         share of black sensor rows            0.00   0.05   0.10   0.20   0.30   0.45
saturated_rows    share of white sensor rows            0.00   0.05   0.10   0.20   0.30   0.45
================  ===================================  =====  =====  =====  =====  =====  =====

The functions take the parameter itself; :func:`apply_shift` and ``SHIFTS`` take a severity. The
levels follow the spirit of Hendrycks and Dietterich (2019), chosen by eye on 28x28 garments: 1 is
mild, 5 is strong. Inversion passes through flat grey between 2 and 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import torch
from torch import Generator, Tensor

from deepdrift.errors import require

__all__ = ["SHIFTS", "Shift", "apply_shift"]

_V2 = "torchvision.transforms.v2.functional"


def uniform(shape: tuple[int, ...], images: Tensor, generator: Generator) -> Tensor:
    """Uniform float32 numbers beside the images, the same for every device and float type."""
    return torch.rand(shape, generator=generator, device=generator.device).to(images.device)


def gaussian_noise(images: Tensor, std: float, generator: Generator) -> Tensor:
    """Add independent normal noise to every value."""
    noise = torch.randn(images.shape, generator=generator, device=generator.device)
    return images + std * noise.to(images)


def shot_noise(images: Tensor, std: float, generator: Generator) -> Tensor:
    """Count photons: a white pixel is ``1 / std**2`` of them on average, a black one none."""
    photons = 1 / std**2
    rates = images.to(generator.device, torch.float32) * photons
    return (torch.poisson(rates, generator=generator) / photons).to(images)


def blur(images: Tensor, std: float, generator: Generator) -> Tensor:
    """Gaussian blur; the image is mirrored at its borders, which so keep their brightness."""
    functional = require(_V2, "lab")
    radius = min(math.ceil(3 * std), min(images.shape[-2:]) - 1)
    return functional.gaussian_blur(images, [2 * radius + 1] * 2, [std, std])


def contrast(images: Tensor, factor: float, generator: Generator) -> Tensor:
    """Shrink every image towards the mean of its grey values: ``mean + factor * (x - mean)``."""
    return require(_V2, "lab").adjust_contrast(images, factor)


def brightness(images: Tensor, offset: float, generator: Generator) -> Tensor:
    """Add stray light; torchvision's brightness multiplies, which leaves black as it is."""
    return images + offset


def rotation(images: Tensor, degrees: float, generator: Generator) -> Tensor:
    """Turn counter-clockwise around the centre, bilinear, black where nothing is known."""
    functional = require(_V2, "lab")
    return functional.rotate(images, degrees, functional.InterpolationMode.BILINEAR)


def occlusion(images: Tensor, side: float, generator: Generator, n_squares: int = 3) -> Tensor:
    """Black squares at random places, others in every image (coarse dropout).

    ``side`` is a share of the height; centres are uniform, squares are cut at the border.
    """
    n, _, height, width = images.shape
    centres = uniform((n, n_squares, 2, 1), images, generator)
    y = torch.arange(height, device=images.device) + 0.5
    x = torch.arange(width, device=images.device) + 0.5
    rows = (y - centres[:, :, 0] * height).abs() < side * height / 2  # (N, squares, H)
    columns = (x - centres[:, :, 1] * width).abs() < side * height / 2
    hidden = (rows[..., :, None] & columns[..., None, :]).any(dim=1)
    return images.masked_fill(hidden[:, None], 0)


def inversion(images: Tensor, weight: float, generator: Generator) -> Tensor:
    """Mix with the negative: ``(1 - weight) * x + weight * (1 - x)``; flat grey at 1/2."""
    return images + weight * (1 - 2 * images)


def pixel_dropout(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Set random pixels to black in all channels, others in every image."""
    n, _, height, width = images.shape
    return images.masked_fill(uniform((n, 1, height, width), images, generator) < share, 0)


def _set_rows(images: Tensor, share: float, generator: Generator, value: float) -> Tensor:
    height = images.shape[-2]
    order = torch.randperm(height, generator=generator, device=generator.device)
    shifted = images.clone()
    shifted[..., order[: round(share * height)].to(images.device), :] = value
    return shifted


def dead_rows(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Read random rows as 0: the same rows in all images, for it is one sensor."""
    return _set_rows(images, share, generator, 0.0)


def saturated_rows(images: Tensor, share: float, generator: Generator) -> Tensor:
    """Read random rows as 1: the same rows in all images, for it is one sensor."""
    return _set_rows(images, share, generator, 1.0)


@dataclass(frozen=True)
class Shift:
    """A fault with its severity scale.

    Attributes
    ----------
    name : str
        Key in ``SHIFTS``.
    function : callable
        ``function(images, parameter, generator)``; most shifts ignore the generator.
    levels : tuple of six floats
        Parameter at severity 0 to 5; the first one changes nothing.
    unit : str
        What the parameter is.

    Examples
    --------
    >>> SHIFTS["rotation"].parameter(3)
    30.0
    >>> SHIFTS["rotation"].parameter(3.5)
    45.0
    >>> SHIFTS["inversion"](torch.tensor([[[[0.0, 0.25, 1.0]]]]), severity=5)
    tensor([[[[1.0000, 0.7500, 0.0000]]]])
    """

    name: str
    function: Callable[[Tensor, float, Generator], Tensor]
    levels: tuple[float, float, float, float, float, float]
    unit: str

    def parameter(self, severity: float) -> float:
        """The parameter at a severity, 0 to 5, linear between the whole ones.

        Raises
        ------
        ValueError
            If the severity is not a number from 0 to 5.
        """
        if not isinstance(severity, Real) or not 0 <= severity <= 5:  # refuses NaN as well
            raise ValueError(f"severity must be a number from 0 to 5, got {severity!r}")
        return float(np.interp(severity, range(6), self.levels))

    def __call__(self, images: Tensor, severity: float = 3, seed: int | Generator = 0) -> Tensor:
        """See :func:`apply_shift`."""
        parameter = self.parameter(severity)
        check_images(images)
        if isinstance(seed, Integral):
            seed = torch.Generator().manual_seed(int(seed))
        elif not isinstance(seed, Generator):
            raise TypeError(f"seed must be an int or a torch.Generator, got {seed!r}")
        if severity == 0 or len(images) == 0:
            return images.clone()
        return self.function(images, parameter, seed).clamp(0, 1)


def check_images(images: Tensor) -> None:
    """Refuse what is not a finite float batch ``(N, C, H, W)`` in [0, 1]."""
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"images must be a float tensor (divide bytes by 255), got {kind}")
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"images must be (N, C, H, W) with 1 or 3 channels, got {tuple(images.shape)}"
        )
    if not images.isfinite().all():
        raise ValueError("images contain NaN or infinity: shift clean images only")
    if len(images) and (images.min() < 0 or images.max() > 1):
        raise ValueError(
            f"images must lie in [0, 1], got {images.min():.3g} to {images.max():.3g}; "
            "shift first, normalise afterwards"
        )


SHIFTS: dict[str, Shift] = {
    function.__name__: Shift(function.__name__, function, levels, unit)
    for function, levels, unit in [
        (gaussian_noise, (0, 0.05, 0.1, 0.2, 0.3, 0.4), "standard deviation"),
        (shot_noise, (0, 0.1, 0.2, 0.35, 0.5, 0.7), "standard deviation of a white pixel"),
        (blur, (0, 0.5, 0.8, 1.2, 1.8, 2.5), "standard deviation in pixels"),
        (contrast, (1, 0.85, 0.65, 0.45, 0.3, 0.15), "factor around the image's mean"),
        (brightness, (0, 0.05, 0.12, 0.2, 0.3, 0.5), "added to every pixel"),
        (rotation, (0, 10, 20, 30, 60, 90), "degrees counter-clockwise"),
        (occlusion, (0, 0.12, 0.18, 0.25, 0.32, 0.4), "side of 3 black squares / height"),
        (inversion, (0, 0.05, 0.2, 0.75, 0.9, 1), "weight of the negative"),
        (pixel_dropout, (0, 0.03, 0.08, 0.15, 0.3, 0.5), "share of black pixels"),
        (dead_rows, (0, 0.05, 0.1, 0.2, 0.3, 0.45), "share of black sensor rows"),
        (saturated_rows, (0, 0.05, 0.1, 0.2, 0.3, 0.45), "share of white sensor rows"),
    ]
}
"""Name -> :class:`Shift`, in the order of the table above."""


def apply_shift(
    name: str, images: Tensor, severity: float = 3, seed: int | Generator = 0
) -> Tensor:
    """Shift images by a named fault.

    Parameters
    ----------
    name : str
        A key of ``SHIFTS``.
    images : Tensor
        Shape (N, C, H, W) with 1 or 3 channels, floats in [0, 1].
    severity : float
        0 (unchanged) to 5 (strong).
    seed : int or torch.Generator
        The same integer gives the same result; a generator is used and moves on. The draw for
        an image depends on its position in the batch. The same seed at another severity draws
        the same noise, places and rows, only more of it (shot noise excepted).

    Returns
    -------
    Tensor
        New tensor of the same shape, type and device, in [0, 1].

    Raises
    ------
    ValueError
        If the name, the severity, the shape or the range is wrong.
    TypeError
        If the images are not floats.
    MissingExtraError
        If torchvision is missing (blur, contrast, rotation).

    Examples
    --------
    >>> image = torch.tensor([[[[0.0, 0.5], [0.75, 1.0]]]])
    >>> apply_shift("brightness", image, severity=3)
    tensor([[[[0.2000, 0.7000],
              [0.9500, 1.0000]]]])
    """
    if name not in SHIFTS:
        raise ValueError(f"name must be one of {', '.join(SHIFTS)}, got {name!r}")
    return SHIFTS[name](images, severity, seed)
