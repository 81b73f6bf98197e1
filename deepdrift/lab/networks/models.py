"""The two small networks that ship: a residual CNN and a vision transformer.

Both take images in ``[0, 1]`` of shape ``(N, 1, 28, 28)`` and normalise inside, so that
a shift is always applied to what a camera would see.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

PIXEL_MEAN, PIXEL_STD = 0.2860, 0.3530  # of the 60,000 Fashion-MNIST training images


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a shortcut (He et al. 2016)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class SmallResNet(nn.Module):
    """Six residual blocks with 16 to 64 channels, average pooling, one linear layer."""

    def __init__(self, n_classes: int = 10) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        widths = [(16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
        self.blocks = nn.Sequential(*(ResidualBlock(*w) for w in widths))
        self.head = nn.Linear(64, n_classes)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features ``(N, 64)``: what the linear layer sees."""
        x = self.stem((images - PIXEL_MEAN) / PIXEL_STD)
        return self.blocks(x).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, n_classes)`` of images ``(N, 1, 28, 28)`` in [0, 1]."""
        return self.head(self.features(images))


class Attention(nn.Module):
    """Multi-head self-attention; ``weights`` is a module so that a hook can read the maps."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.weights = nn.Softmax(dim=-1)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.n_heads, d // self.n_heads).permute(2, 0, 3, 1, 4)
        maps = self.weights(q @ k.transpose(-2, -1) * (d // self.n_heads) ** -0.5)
        return self.out((maps @ v).transpose(1, 2).reshape(n, t, d))


class TransformerBlock(nn.Module):
    """Pre-norm transformer block: attention, then a two-layer perceptron, both residual."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, n_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class SmallViT(nn.Module):
    """Patches of 4x4 pixels, 49 tokens and a class token of width 64, five blocks."""

    def __init__(self, n_classes: int = 10, width: int = 64, n_heads: int = 4) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.patch = nn.Conv2d(1, width, kernel_size=4, stride=4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 50, width) * 0.02)
        self.blocks = nn.Sequential(*(TransformerBlock(width, n_heads) for _ in range(5)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_classes)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features ``(N, 64)``: the normalised class token."""
        x = self.patch((images - PIXEL_MEAN) / PIXEL_STD).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.position
        return self.norm(self.blocks(x))[:, 0]

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, n_classes)`` of images ``(N, 1, 28, 28)`` in [0, 1]."""
        return self.head(self.features(images))
