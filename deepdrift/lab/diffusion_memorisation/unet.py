"""A small U-Net in plain torch that predicts the noise in garments of 16 x 16 pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 16
WIDTHS = (16, 32, 64)
TIME = 64


class Block(nn.Module):
    """Two convolutions with a shortcut; the noise level is added between them."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.norm_1, self.conv_1 = nn.GroupNorm(8, n_in), nn.Conv2d(n_in, n_out, 3, padding=1)
        self.level = nn.Linear(TIME, n_out)
        self.norm_2, self.conv_2 = nn.GroupNorm(8, n_out), nn.Conv2d(n_out, n_out, 3, padding=1)
        self.shortcut = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Maps (N, n_in, H, W) and coded levels (N, 64) -> (N, n_out, H, W)."""
        h = self.conv_1(F.silu(self.norm_1(x))) + self.level(level)[:, :, None, None]
        return self.conv_2(F.silu(self.norm_2(h))) + self.shortcut(x)


def encode_level(t: Tensor) -> Tensor:
    """Sines and cosines of the noise level, (N,) -> (N, 64) (Vaswani et al. 2017, 3.5)."""
    speeds = torch.exp(-math.log(10_000) * torch.arange(TIME // 2, device=t.device) / (TIME // 2))
    angles = t[:, None].float() * speeds
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class SmallUNet(nn.Module):
    """Noisy images (N, 1, 16, 16) and noise levels (N,) from 0 to 999 -> their noise.

    Stages in order: ``encoder_1`` (16 x 16), ``encoder_2`` (8 x 8), ``bottleneck`` (4 x 4),
    ``decoder_2`` (8 x 8), ``decoder_1`` (16 x 16).
    """

    def __init__(self, widths: tuple[int, int, int] = WIDTHS) -> None:
        super().__init__()
        a, b, c = widths
        self.time = nn.Sequential(nn.Linear(TIME, TIME), nn.SiLU(), nn.Linear(TIME, TIME))
        self.stem = nn.Conv2d(1, a, 3, padding=1)
        self.encoder_1, self.down_1 = Block(a, a), nn.Conv2d(a, b, 3, stride=2, padding=1)
        self.encoder_2, self.down_2 = Block(b, b), nn.Conv2d(b, c, 3, stride=2, padding=1)
        self.bottleneck = Block(c, c)
        self.up_2, self.decoder_2 = nn.Conv2d(c, b, 3, padding=1), Block(2 * b, b)
        self.up_1, self.decoder_1 = nn.Conv2d(b, a, 3, padding=1), Block(2 * a, a)
        self.head = nn.Conv2d(a, 1, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """See the class."""
        level = self.time(encode_level(t).to(x))
        first = self.encoder_1(self.stem(x), level)
        second = self.encoder_2(self.down_1(first), level)
        y = self.bottleneck(self.down_2(second), level)
        y = torch.cat([F.interpolate(self.up_2(y), scale_factor=2), second], dim=1)
        y = self.decoder_2(y, level)
        y = torch.cat([F.interpolate(self.up_1(y), scale_factor=2), first], dim=1)
        return self.head(F.silu(self.decoder_1(y, level)))
