"""Weight faults that no rule of the doctor was written on; strengths were fixed before looking.

Every function takes a part of a *copied* network, the fault's parameter and a CPU generator,
changes the part in place and returns what stands in its place.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from deepdrift.lab.networks.models import ResidualBlock, TransformerBlock


def _weights(part: nn.Module) -> list[Tensor]:
    """The convolution and linear weights of a part, without biases and normalisation."""
    return [p.data for p in part.parameters() if p.ndim in (2, 4)]


def _some(n: int, share: float, generator: Generator) -> Tensor:
    return torch.randperm(n, generator=generator)[: round(share * n)]


def stale_statistics(part: nn.Module, share: float, generator: Generator) -> nn.Module:
    """Normalisation a share of the way back to where training began: mean 0, variance and gain 1.

    BatchNorm: its running statistics. LayerNorm keeps none: its gain and bias.
    """
    for module in part.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean *= 1 - share
            module.running_var += share * (1 - module.running_var)
        elif isinstance(module, nn.LayerNorm):
            module.weight.data += share * (1 - module.weight.data)
            module.bias.data *= 1 - share
    return part


def permuted_channels(part: nn.Module, share: float, generator: Generator) -> nn.Module:
    """Hand a share of the output channels of the first weights on in another order."""
    first = _weights(part)[0]
    chosen = _some(len(first), share, generator)
    first[chosen] = first[chosen.roll(1)].clone()
    return part


def sign_flips(part: nn.Module, share: float, generator: Generator) -> nn.Module:
    """Change the sign of a share of the filters (rows) of every weight tensor."""
    for weight in _weights(part):
        weight[_some(len(weight), share, generator)] *= -1
    return part


def silenced_heads(part: nn.Module, share: float, generator: Generator) -> nn.Module:
    """Attention heads that say nothing; in a CNN channels between the two convolutions."""
    if isinstance(part, TransformerBlock):
        weight, n = part.attention.out.weight.data, part.attention.n_heads
        for head in _some(n, share, generator).tolist():
            weight[:, head * weight.shape[1] // n : (head + 1) * weight.shape[1] // n] = 0
    else:
        weight = part.conv2.weight.data
        weight[:, _some(weight.shape[1], share, generator)] = 0
    return part


class _Faded(nn.Module):
    """A shortcut, or a block, of which a share of the identity is lost."""

    def __init__(self, inner: nn.Module, lost: float) -> None:
        super().__init__()
        self.inner, self.lost = inner, lost
        self.training = inner.training

    def forward(self, x: Tensor) -> Tensor:
        """What is inside, less a share of x."""
        return self.inner(x) - self.lost * x


def lost_shortcut(part: nn.Module, lost: float, generator: Generator) -> nn.Module:
    """A share of what goes around the block, its shortcut, is lost."""
    if isinstance(part, TransformerBlock):
        return _Faded(part, lost)
    if isinstance(part.shortcut, nn.Conv2d):
        part.shortcut.weight.data *= 1 - lost
    else:
        part.shortcut = _Faded(part.shortcut, lost)
    return part


def stuck_bias(part: nn.Module, value: float, generator: Generator) -> nn.Module:
    """Add a number to the last bias of the block, in a tenth of its channels."""
    bias = part.bn2.bias.data if isinstance(part, ResidualBlock) else part.mlp[2].bias.data
    bias[_some(len(bias), 0.1, generator)] += value
    return part


def swapped_layers(part: nn.Module, share: float, generator: Generator) -> nn.Module:
    """Two layers of the block a share of the way to each other's numbers; at 1 they are swapped.

    The two normalisations; in a CNN also the two convolutions where they have one shape, in a
    transformer queries and values.
    """
    if isinstance(part, ResidualBlock):
        pairs = [(part.bn1, part.bn2)]
        tensors = [(a, b) for m, n in pairs for a, b in zip(_numbers(m), _numbers(n), strict=True)]
        if part.conv1.weight.shape == part.conv2.weight.shape:
            tensors.append((part.conv1.weight.data, part.conv2.weight.data))
    else:
        norms = zip(_numbers(part.norm1), _numbers(part.norm2), strict=True)
        q, _, v = part.attention.qkv.weight.data.chunk(3)
        tensors = [*norms, (q, v)]
    for a, b in tensors:
        gap = share * (b - a)
        a += gap
        b -= gap
    return part


def _numbers(norm: nn.Module) -> list[Tensor]:
    named = [norm.weight.data, norm.bias.data]
    return [*named, *(b for b in norm.buffers() if b.is_floating_point())]


def gain_noise(part: nn.Module, spread: float, generator: Generator) -> nn.Module:
    """Multiply every weight by ``1 + spread * e``, e normal: analogue hardware out of tune."""
    for weight in _weights(part):
        weight *= 1 + spread * torch.randn(weight.shape, generator=generator).to(weight)
    return part


def pruned(part: nn.Module, share: float, generator: Generator) -> nn.Module:
    """Set the smallest weights of every tensor, a share of them, to zero."""
    for weight in _weights(part):
        border = weight.abs().flatten().sort().values[round(share * (weight.numel() - 1))]
        weight[weight.abs() <= border] = 0
    return part


def output_bias(network: nn.Module, value: float, generator: Generator) -> nn.Module:
    """The bias of one class in the last layer is too large: no hidden state shows it."""
    network.head.bias.data[3] += value
    return network
