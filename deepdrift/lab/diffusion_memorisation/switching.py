"""Silence channels of the bottleneck: do the copies go, and do the pictures stay?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from deepdrift.lab.diffusion_memorisation.noise import add_noise
from deepdrift.lab.diffusion_memorisation.unet import SmallUNet
from deepdrift.states.leaves import listening


@contextmanager
def silenced(layer: nn.Module, channels: Sequence[int]) -> Iterator[None]:
    """Channels of what a layer returns are zero while the block lasts.

    Examples
    --------
    >>> layer = nn.Identity()
    >>> with silenced(layer, [1]):
    ...     layer(torch.ones(1, 3, 1, 1)).flatten().tolist()
    [1.0, 0.0, 1.0]
    >>> layer(torch.ones(1, 3, 1, 1)).flatten().tolist()
    [1.0, 1.0, 1.0]
    """
    chosen = torch.as_tensor(list(channels), dtype=torch.long)

    def hook(_: nn.Module, __: object, output: Tensor) -> Tensor:
        return output.index_fill(1, chosen.to(output.device), 0.0)

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def guilt(model: SmallUNet, members: Tensor, held_out: Tensor, level: int, seed: int = 0) -> Tensor:
    """How differently each bottleneck channel answers members and held-out images, (C,).

    Difference of the mean absolute activations in pooled standard deviations over images (Cohen's
    d), with the same noise for all images.
    """
    noise = torch.randn(1, *members.shape[1:], generator=torch.Generator().manual_seed(seed))
    sizes = []
    for images in (members, held_out):
        t = torch.full((len(images),), level)
        with listening({"bottleneck": model.bottleneck}) as outputs:
            model(add_noise(images, noise.expand_as(images), t), t)
        sizes.append(outputs["bottleneck"].abs().mean(dim=(2, 3)).double())
    a, b = sizes
    spread = ((a.var(dim=0) + b.var(dim=0)) / 2).sqrt().clamp(min=1e-12)
    return (a.mean(dim=0) - b.mean(dim=0)).abs() / spread
