"""What a diffusion model may be shown: images in their range, noise levels that exist.

Libraries take any number for a noise level and any range for an image, and answer nonsense; here
both are checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from deepdrift.errors import DeepDriftError


class DiffusionError(DeepDriftError, ValueError):
    """Images, noise levels or a network that cannot be watched."""


def check_whole(value: Any, name: str, low: int = 1) -> int:
    """A whole number, of Python or numpy.

    Examples
    --------
    >>> check_whole("32", "n_train")
    Traceback (most recent call last):
    ...
    deepdrift.diffusion.inputs.DiffusionError: n_train: expected a whole number >= 1, got '32'
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        raise DiffusionError(f"{name}: expected a whole number >= {low}, got {value!r}")
    return int(value)


def check_positive(value: Any, name: str, below: float = math.inf) -> float:
    """A number above 0 and below a limit."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < below:
        wanted = "a positive number" if below == math.inf else f"a number between 0 and {below:g}"
        raise DiffusionError(f"{name}: expected {wanted}, got {value!r}")
    return float(value)


def check_range(image_range: Any) -> tuple[float, float]:
    """Smallest and largest value of an image."""
    try:
        low, high = (float(x) for x in image_range)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not -math.inf < low < high < math.inf:
        raise DiffusionError(
            f"image_range: expected the smallest and the largest value, such as (-1, 1), got "
            f"{image_range!r}"
        )
    return low, high


def check_finite(images: Tensor, name: str) -> Tensor:
    """Images (N, C, H, W), N >= 1, of finite floats of any range."""
    if not isinstance(images, Tensor) or images.ndim != 4 or not len(images):
        got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise DiffusionError(f"{name}: expected a tensor (N, C, H, W), N >= 1, got {got}")
    if not images.is_floating_point():
        raise DiffusionError(
            f"{name}: expected floats, got {images.dtype}; for bytes use images.float() / 127.5 - 1"
        )
    if not images.isfinite().all():
        bad = int((~images.isfinite()).flatten(1).any(dim=1).sum())
        raise DiffusionError(f"{name}: {bad} of {len(images)} images hold NaN or infinity")
    return images


def check_images(images: Tensor, name: str, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Images as in `check_finite`, within the range that the model was trained on.

    Raises
    ------
    DiffusionError
        Names the argument, what was expected, and how to get there.

    Examples
    --------
    >>> check_images(torch.full((1, 1, 2, 2), 200, dtype=torch.uint8), "images")
    Traceback (most recent call last):
    ...
    deepdrift.diffusion.inputs.DiffusionError: images: expected floats, got torch.uint8; \
for bytes use images.float() / 127.5 - 1
    """
    check_finite(images, name)
    wanted = f"{name}: expected floats in [{low:g}, {high:g}], got"
    least, most = float(images.min()), float(images.max())
    slack = 0.01 * (high - low)
    if least < low - slack or most > high + slack:
        raise DiffusionError(
            f"{wanted} values from {least:.3g} to {most:.3g}; bring them into the range that the "
            "model was trained on, or state it with image_range="
        )
    if low < 0 <= least and most > 0:
        raise DiffusionError(
            f"{wanted} no value below 0 (from {least:.3g} to {most:.3g}): images in [0, 1]? Use "
            "images * 2 - 1, or state the model's range with image_range="
        )
    return images


def check_levels(levels: Sequence[int] | Tensor, n_levels: int) -> list[int]:
    """Noise levels: different whole numbers from 0 to ``n_levels - 1``, sorted.

    Examples
    --------
    >>> check_levels([200, 50], 1000)
    [50, 200]
    >>> check_levels([5000], 1000)
    Traceback (most recent call last):
    ...
    deepdrift.diffusion.inputs.DiffusionError: levels: expected whole numbers from 0 to 999, got \
5000; a model answers for any number, but was trained on these alone
    """
    if isinstance(levels, str) or not isinstance(levels, Iterable):
        raise DiffusionError(f"levels: expected a list such as [50, 200], got {levels!r}")
    try:
        given = [float(level) for level in levels]
    except (TypeError, ValueError):
        raise DiffusionError(f"levels: expected whole numbers, got {levels!r}") from None
    if any(isinstance(level, bool) for level in levels):
        raise DiffusionError(f"levels: expected whole numbers, got {levels!r}")
    bad = [x for x in given if not 0 <= x < n_levels or x != int(x)]
    if bad or not given:
        raise DiffusionError(
            f"levels: expected whole numbers from 0 to {n_levels - 1}, got "
            f"{', '.join(f'{x:g}' for x in bad) or 'none'}; a model answers for any number, but "
            "was trained on these alone"
        )
    if len(set(given)) < len(given):
        raise DiffusionError("levels: expected different levels, got one twice")
    return sorted(int(x) for x in given)


def check_shares(shares: Tensor) -> Tensor:
    """Share of the variance that is still image at each level: falling, between 0 and 1."""
    try:
        shares = torch.as_tensor(shares, dtype=torch.float64).cpu()
    except (TypeError, ValueError, RuntimeError):
        raise DiffusionError(
            f"shares: expected one number per level, got {type(shares).__name__}; diffusers has "
            "them as scheduler.alphas_cumprod"
        ) from None
    if shares.ndim != 1 or len(shares) < 2 or not shares.isfinite().all():
        raise DiffusionError(
            f"shares: expected at least two finite numbers, one per level, got shape "
            f"{tuple(shares.shape)}; diffusers has them as scheduler.alphas_cumprod"
        )
    if (shares < 0).any() or (shares > 1).any() or (shares.diff() > 0).any():
        raise DiffusionError(
            "shares: expected numbers from 1 down to 0 (scheduler.alphas_cumprod, not betas)"
        )
    return shares


def refuse_overlap(a: Tensor, b: Tensor, names: tuple[str, str]) -> None:
    """Refuse two sets that share an image: members cannot be told from others then.

    Examples
    --------
    >>> refuse_overlap(torch.zeros(1, 1, 2, 2), torch.zeros(3, 1, 2, 2), ("train", "held_out"))
    Traceback (most recent call last):
    ...
    deepdrift.diffusion.inputs.DiffusionError: train, held_out: 1 image stands in both sets; a \
held-out image must not have been trained on
    """
    known = {row.tobytes() for row in a.detach().float().cpu().flatten(1).numpy()}
    twice = {row.tobytes() for row in b.detach().float().cpu().flatten(1).numpy()} & known
    if twice:
        image = "1 image stands" if len(twice) == 1 else f"{len(twice)} images stand"
        raise DiffusionError(
            f"{names[0]}, {names[1]}: {image} in both sets; a held-out image must not have been "
            "trained on"
        )


def refuse_other_range(a: Tensor, b: Tensor, names: tuple[str, str]) -> None:
    """Refuse two sets whose values cannot be of one range: every distance would be meaningless.

    Found are [0, 1] beside [-1, 1], and bytes beside either; fewer than 256 numbers say nothing.

    Examples
    --------
    >>> images = torch.linspace(-1, 1, 512).reshape(2, 1, 16, 16)
    >>> refuse_other_range(images / 2 + 0.5, images, ("samples", "train"))
    Traceback (most recent call last):
    ...
    deepdrift.diffusion.inputs.DiffusionError: samples, train: expected values of one range, got 0 \
to 1 and -1 to 1
    """
    if min(a.numel(), b.numel()) < 256:
        return
    ends = [(float(x.min()), float(x.max())) for x in (a, b)]
    sizes = [max(abs(low), abs(high)) for low, high in ends]
    signed = [low < -0.5 * size for (low, _), size in zip(ends, sizes, strict=True)]
    unsigned = [low >= 0 for low, _ in ends]
    halved = (unsigned[0] and signed[1]) or (unsigned[1] and signed[0])
    if halved or max(sizes) > 50 * min(sizes):
        shown = " and ".join(f"{low:.3g} to {high:.3g}" for low, high in ends)
        raise DiffusionError(f"{names[0]}, {names[1]}: expected values of one range, got {shown}")
