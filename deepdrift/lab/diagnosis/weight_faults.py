"""Faults inside a network: what goes wrong in the weights of one block, or of all.

Every function takes a part of a *copied* network, the fault's parameter and a CPU generator,
changes the part in place and returns what stands in its place (nearly always the part itself).
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from deepdrift.lab.networks.models import ResidualBlock, TransformerBlock

__all__ = [
    "DeadUnits",
    "dead_units",
    "dropped_block",
    "exponent_flips",
    "flip_bits",
    "mantissa_flips",
    "nan_weight",
    "normalisation_gain",
    "quantised",
    "scaled",
    "weight_noise",
]


def _weights(part: nn.Module) -> list[Tensor]:
    """The convolution and linear weights of a part, without biases and normalisation."""
    return [p.data for p in part.parameters() if p.ndim in (2, 4)]


def _block(part: nn.Module) -> ResidualBlock | TransformerBlock:
    """The block itself, also where an earlier fault silenced some of its channels."""
    return _block(part.block) if isinstance(part, DeadUnits) else part


def flip_bits(values: Tensor, positions: Tensor, bits: Tensor) -> Tensor:
    """A copy in which one bit of each of the chosen numbers is flipped.

    Parameters
    ----------
    values : Tensor
        Floats of any shape and of 16, 32 or 64 bits.
    positions : Tensor
        Shape (K,), distinct flat indices.
    bits : Tensor
        Shape (K,), the bit to flip, 0 is the last one of the mantissa. In float32 the mantissa is
        bits 0 to 22, the exponent 23 to 30, the sign 31.

    Examples
    --------
    1.0 has exponent 127 = 0b01111111. Flipping its bits 23, 29 and 30 makes 126, 63 and 255
    (infinity); bit 22 is worth one half.

    >>> flip_bits(torch.ones(4), torch.arange(4), torch.tensor([23, 29, 30, 22])).tolist()
    [0.5, 5.421010862427522e-20, inf, 1.5]
    """
    width = torch.finfo(values.dtype).bits
    flipped = values.detach().clone(memory_format=torch.contiguous_format)
    whole = {16: torch.int16, 32: torch.int32, 64: torch.int64}[width]
    integers = flipped.view(-1).view(whole)
    integers[positions] ^= torch.ones_like(integers[positions]) << bits.to(integers)
    return flipped


def _flip(part: nn.Module, count: float, generator: Generator, exponent: bool) -> nn.Module:
    weights = _weights(part)
    places = torch.randperm(sum(w.numel() for w in weights), generator=generator)
    chosen = places[: math.ceil(count)].sort().values
    mantissa = -round(math.log2(torch.finfo(weights[0].dtype).eps))
    low, high = (mantissa, torch.finfo(weights[0].dtype).bits - 1) if exponent else (0, mantissa)
    bits = torch.randint(low, high, (len(places),), generator=generator)[chosen]
    start = 0
    for weight in weights:
        own = (chosen >= start) & (chosen < start + weight.numel())
        weight.copy_(flip_bits(weight, (chosen[own] - start).to(weight.device), bits[own]))
        start += weight.numel()
    return part


def exponent_flips(part: nn.Module, count: float, generator: Generator) -> nn.Module:
    """Flip a random exponent bit in so many random weights.

    All shipped weights are below 1. Of the eight bits the highest one makes a weight about 1e37 and
    the next three make it nearly zero, so that a single flip is mostly harmless: the numbers
    overflow when one in eight strikes, and even then a ReLU may swallow what became negative.
    """
    return _flip(part, count, generator, exponent=True)


def mantissa_flips(part: nn.Module, count: float, generator: Generator) -> nn.Module:
    """Flip a random mantissa bit in so many random weights: none changes by more than half."""
    return _flip(part, count, generator, exponent=False)


def weight_noise(part: nn.Module, ratio: float, generator: Generator) -> nn.Module:
    """Add normal noise; its standard deviation is ``ratio`` times that of each weight tensor."""
    for weight in _weights(part):
        noise = torch.randn(weight.shape, generator=generator).to(weight)
        weight += ratio * weight.std() * noise
    return part


def dropped_block(part: nn.Module, lost: float, generator: Generator) -> nn.Module:
    """Scale what the block adds to its shortcut by ``1 - lost``; at 1 only the shortcut is left."""
    block = _block(part)
    last = [block.bn2] if isinstance(block, ResidualBlock) else [block.attention.out, block.mlp[2]]
    for layer in last:
        layer.weight.data *= 1 - lost
        layer.bias.data *= 1 - lost
    return part


class DeadUnits(nn.Module):
    """A block some of whose output channels are always zero."""

    def __init__(self, block: nn.Module, alive: Tensor) -> None:
        super().__init__()
        self.block = block
        self.training = block.training
        self.register_buffer("alive", alive)

    def forward(self, x: Tensor) -> Tensor:
        """Output of the block times the mask of channels that are alive."""
        return self.block(x) * self.alive


def dead_units(part: nn.Module, share: float, generator: Generator) -> nn.Module:
    """Silence a share of the block's output channels (CNN) or features of all tokens (ViT)."""
    block = _block(part)
    last = block.conv2.weight if isinstance(block, ResidualBlock) else block.mlp[2].weight
    width = len(last)
    alive = torch.ones(width)
    alive[torch.randperm(width, generator=generator)[: round(share * width)]] = 0
    shape = (width, 1, 1) if isinstance(block, ResidualBlock) else (width,)
    return DeadUnits(part, alive.view(shape).to(last))


def normalisation_gain(part: nn.Module, factor: float, generator: Generator) -> nn.Module:
    """Corrupt normalisation so that it hands on values ``factor`` times too large.

    BatchNorm: the running variance is divided by ``factor**2``. LayerNorm keeps no statistics:
    its gain is multiplied.
    """
    for module in part.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var /= factor**2
        elif isinstance(module, nn.LayerNorm):
            module.weight.data *= factor
    return part


def quantised(part: nn.Module, bits: float, generator: Generator) -> nn.Module:
    """Round every weight tensor to ``2**bits`` equally spaced values around zero.

    The values are the midpoints of as many equal cells between minus and plus the largest
    magnitude: one bit keeps the signs, two bits make -3/4, -1/4, 1/4, 3/4 of that magnitude, and
    1.585 bits (three values) -2/3, 0, 2/3.
    """
    n_values = round(2**bits)
    for weight in _weights(part):
        largest = weight.abs().max()
        if largest > 0:
            cell = 2 * largest / n_values
            index = ((weight + largest) / cell).floor().clamp(0, n_values - 1)
            weight.copy_((index + 0.5) * cell - largest)
    return part


def nan_weight(part: nn.Module, count: float, generator: Generator) -> nn.Module:
    """Set so many random weights of the block's first weight tensor to NaN."""
    first = _weights(part)[0]
    places = torch.randperm(first.numel(), generator=generator)[: math.ceil(count)]
    flat = first.flatten()
    flat[places.to(first.device)] = math.nan
    first.copy_(flat.view_as(first))
    return part


def scaled(part: nn.Module, power: float, generator: Generator) -> nn.Module:
    """Multiply the weights by ``10**power``; at 20 two such layers in a row leave float32."""
    for weight in _weights(part):
        weight *= 10.0**power
    return part
