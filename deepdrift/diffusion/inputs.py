"""What a diffusion model may be shown: images in their range, noise levels that exist.

Libraries take any number for a noise level and any range for an image, and answer nonsense; here
both are checked.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deepdrift.errors import DeepDriftError


class DiffusionError(DeepDriftError, ValueError):
    """Images, noise levels or a network that cannot be watched."""


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
    given = [float(level) for level in levels]
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
    shares = torch.as_tensor(shares, dtype=torch.float64).cpu()
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
