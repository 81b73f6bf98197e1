"""The two small networks that ship: a residual CNN and a vision transformer.

Both take images in ``[0, 1]`` and normalise inside, so that a shift is always applied to what a
camera would see. As they stand they are made for Fashion-MNIST, ``(N, 1, 28, 28)``;
:func:`cifar_resnet` and :func:`cifar_vit` are larger ones for CIFAR, ``(N, 3, 32, 32)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Mean and standard deviation of a training image's values, over all channels.
FASHION_PIXELS = 0.2860, 0.3530  # 60,000 images of Fashion-MNIST
CIFAR_PIXELS = 0.4734, 0.2516  # 50,000 images of CIFAR-10 (and within .01 those of CIFAR-100)
RESNET_WIDTHS = ((16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1))


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
    """A convolution, residual blocks, average pooling, one linear layer.

    ``widths`` has (channels in, channels out, stride) of every block; ``pixels`` mean and standard
    deviation of the values that the images have.
    """

    def __init__(
        self,
        n_classes: int = 10,
        *,
        channels: int = 1,
        widths: Sequence[tuple[int, int, int]] = RESNET_WIDTHS,
        pixels: tuple[float, float] = FASHION_PIXELS,
    ) -> None:
        super().__init__()
        self.n_classes, self.pixels = n_classes, pixels
        first, last = widths[0][0], widths[-1][1]
        self.stem = nn.Sequential(
            nn.Conv2d(channels, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU()
        )
        self.blocks = nn.Sequential(*(ResidualBlock(*w) for w in widths))
        self.head = nn.Linear(last, n_classes)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features ``(N, 64)`` (CIFAR: 96): what the linear layer sees."""
        mean, std = self.pixels
        return self.blocks(self.stem((images - mean) / std)).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, n_classes)`` of images ``(N, C, H, W)`` in [0, 1]."""
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
    """Square patches and a class token, pre-norm blocks, a linear layer on the class token.

    28x28 pixels in patches of 4 give 49 tokens and the class token; 32x32 give 65 in all.
    """

    def __init__(
        self,
        n_classes: int = 10,
        width: int = 64,
        n_heads: int = 4,
        *,
        depth: int = 5,
        channels: int = 1,
        side: int = 28,
        patch: int = 4,
        pixels: tuple[float, float] = FASHION_PIXELS,
    ) -> None:
        super().__init__()
        self.n_classes, self.pixels = n_classes, pixels
        self.patch = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, (side // patch) ** 2 + 1, width) * 0.02)
        self.blocks = nn.Sequential(*(TransformerBlock(width, n_heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_classes)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features ``(N, width)``: the normalised class token."""
        mean, std = self.pixels
        x = self.patch((images - mean) / std).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.position
        return self.norm(self.blocks(x))[:, 0]

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, n_classes)`` of images ``(N, C, side, side)`` in [0, 1]."""
        return self.head(self.features(images))


def cifar_resnet(n_classes: int = 10) -> SmallResNet:
    """Five residual blocks with 24 to 96 channels, 382,000 parameters."""
    widths = ((24, 24, 1), (24, 48, 2), (48, 48, 1), (48, 96, 2), (96, 96, 1))
    return SmallResNet(n_classes, channels=3, widths=widths, pixels=CIFAR_PIXELS)


def cifar_vit(n_classes: int = 10) -> SmallViT:
    """Six blocks of width 96 with four heads, 461,000 parameters."""
    return SmallViT(n_classes, 96, 4, depth=6, channels=3, side=32, pixels=CIFAR_PIXELS)
