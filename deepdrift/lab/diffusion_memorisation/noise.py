"""Adding noise and taking it away: the linear schedule of DDPM and the steps of DDIM."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LEVELS = 1000


def signal_shares(levels: int = LEVELS) -> Tensor:
    """Share of the variance that is still image at each level, (1000,), float64.

    The schedule of Ho et al. (2020, section 4): beta rises linearly from 0.0001 to 0.02; the share
    is the product of ``1 - beta`` so far.

    Examples
    --------
    >>> shares = signal_shares()
    >>> round(float(shares[0]), 4), f"{float(shares[999]):.1e}"
    (0.9999, '4.0e-05')
    """
    return (1 - torch.linspace(1e-4, 0.02, levels, dtype=torch.float64)).cumprod(dim=0)


def add_noise(images: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Images (N, C, H, W) at noise levels t (N,): sqrt(share) image + sqrt(1 - share) noise."""
    share = signal_shares()[t.cpu()].to(images)[:, None, None, None]
    return share.sqrt() * images + (1 - share).sqrt() * noise


def sampling_levels(n_steps: int) -> list[int]:
    """Levels that a sampler with n steps visits, largest first (diffusers' "leading" spacing).

    Examples
    --------
    >>> sampling_levels(4)
    [750, 500, 250, 0]
    """
    if not 1 <= n_steps <= LEVELS or LEVELS % n_steps:
        raise ValueError(f"n_steps: expected a divisor of {LEVELS}, got {n_steps!r}")
    stride = LEVELS // n_steps
    return list(range(LEVELS - stride, -1, -stride))


@torch.no_grad()
def sample(
    model: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    n_steps: int = 50,
    watch: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Images from noise, (N, C, H, W), by DDIM without fresh noise (Song et al. 2021, eq. 12).

    Every estimate of the image is cut to [-1, 1], the last one is the result. The same noise gives
    the same images.

    Parameters
    ----------
    model : callable
        Noisy images and levels to the noise in them.
    noise : Tensor, shape (N, C, H, W)
    n_steps : int
        A divisor of 1,000.
    watch : callable, optional
        Called with the level, the noisy images and the estimated images of every step.
    """
    shares, x = signal_shares(), noise
    levels = sampling_levels(n_steps)
    for now, then in zip(levels, [*levels[1:], None], strict=True):
        share = float(shares[now])
        rest = float(shares[then]) if then is not None else 1.0
        said = model(x, torch.full((len(x),), now, device=x.device))
        image = ((x - (1 - share) ** 0.5 * said) / share**0.5).clamp(-1, 1)
        if watch is not None:
            watch(now, x, image)
        said = (x - share**0.5 * image) / (1 - share) ** 0.5
        x = rest**0.5 * image + (1 - rest) ** 0.5 * said
    return x
