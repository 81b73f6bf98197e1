"""Which numbers of a layer's output are places of the image: all that Grad-CAM stands on.

Convolutions give ``(N, C, h, w)``, some networks ``(N, h, w, C)``; transformers tokens ``(N, T,
D)``, of which some (the class token) are no place and the others lie on the grid of the patches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.states.blocks import CONTAINERS, parts
from deepdrift.states.layers import LayerInfo, remove_hooks
from deepdrift.states.listing import list_layers

MOST_PREFIX = 16  # tokens before the patches: class token, distillation token, registers
_FIRST = {  # layout: its axes as samples, channels, places
    "NCHW": (0, 1, 2, 3), "NHWC": (0, 3, 1, 2), "NTD": (0, 2, 1), "NCL": (0, 1, 2),
    "TND": (1, 2, 0),
}  # fmt: skip


@dataclass(frozen=True)
class Places:
    """How the output of a layer is read as channels over a grid of places.

    Attributes
    ----------
    order : tuple of int
        Permutation that makes samples, channels, places of its axes.
    prefix : int
        Tokens before the patches, which are no places.
    grid : tuple of int
        Rows and columns.

    Examples
    --------
    A class token and four patches, with three numbers each.

    >>> tokens = torch.arange(15.0).view(1, 5, 3)
    >>> places = Places((0, 2, 1), 1, (2, 2))
    >>> places.read(tokens)[0, 0]  # the first number of each patch
    tensor([[ 3.,  6.],
            [ 9., 12.]])
    >>> torch.equal(places.write(places.read(tokens), tokens), tokens)
    True
    """

    order: tuple[int, ...]
    prefix: int
    grid: tuple[int, int]

    def fits(self, output: Tensor) -> bool:
        """Whether an output can be read so."""
        if output.ndim != len(self.order):
            return False
        n = output.shape[self.order[2]]
        return output.ndim == 4 or n == self.prefix + math.prod(self.grid)

    def read(self, output: Tensor) -> Tensor:
        """Channels over places ``(N, C, h, w)`` of an output."""
        axes = output.permute(self.order)
        if axes.ndim == 4:
            return axes
        return axes[..., self.prefix :].reshape(*axes.shape[:2], *self.grid)

    def write(self, places: Tensor, output: Tensor) -> Tensor:
        """The output again, of its places and of what is no place."""
        axes = output.permute(self.order)
        if axes.ndim == 3:
            places = torch.cat([axes[..., : self.prefix], places.flatten(2)], dim=2)
        return places.permute([self.order.index(i) for i in range(len(self.order))])


def layers_of(network: nn.Module, images: Tensor) -> list[LayerInfo]:
    """Every layer that runs, in the order in which they finish."""
    with torch.inference_mode(False):
        return list_layers(network, images[:2])


def layout_of(layer: LayerInfo) -> str:
    """Its layout without the question mark; empty if it has none."""
    return (layer.layout or "").rstrip("?")


def patch_grid(
    n_tokens: int, size: tuple[int, int], layers: Sequence[LayerInfo]
) -> tuple[int, int, int] | None:
    """Number of tokens before the patches, rows and columns; None if there is no grid.

    A grid that a convolution of the network has made (the patch embedding), else the one of
    square patches that fill the image, with one token before them or none.

    Examples
    --------
    >>> patch_grid(50, (28, 28), []), patch_grid(64, (28, 28), [])
    ((1, 7, 7), None)
    """
    found = set()
    for layer in layers:
        if layout_of(layer) == "NCHW" and layer.shape is not None and len(layer.shape) == 4:
            rows, columns = layer.shape[2:]
            prefix = n_tokens - rows * columns
            if 0 <= prefix <= MOST_PREFIX and 1 < rows * columns <= math.prod(size):
                found.add((prefix, rows, columns))
    if found:
        return min(found)
    for prefix in (1, 0):
        n = n_tokens - prefix
        patch = math.isqrt(math.prod(size) // n) if n > 1 else 0
        if patch and all(side % patch == 0 for side in size):
            rows, columns = (side // patch for side in size)
            if rows * columns == n:
                return prefix, rows, columns
    return None


def places_of(
    layer: LayerInfo, size: tuple[int, int], layers: Sequence[LayerInfo]
) -> Places | None:
    """How to read a layer's output; None if it has no places, or only one."""
    order = _FIRST.get(layout_of(layer))
    if order is None or layer.shape is None or len(order) != len(layer.shape):
        return None
    if len(order) == 4:
        rows, columns = (layer.shape[i] for i in order[2:])
        return Places(order, 0, (rows, columns)) if rows * columns > 1 else None
    grid = patch_grid(layer.shape[order[2]], size, layers)
    return None if grid is None else Places(order, grid[0], grid[1:])


def is_attention(output: Any) -> bool:
    """Whether an output holds attention maps: rows of non-negative numbers that add up to 1.

    Examples
    --------
    >>> is_attention(torch.eye(3).expand(2, 4, 3, 3)), is_attention(torch.ones(2, 4, 3, 3))
    (True, False)
    """
    if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[2] != output.shape[3]:
        return False
    if output.shape[3] < 2 or not output.is_floating_point():
        return False
    rows = output.detach().float()
    return bool((rows >= 0).all() and (rows.sum(dim=-1) - 1).abs().max() < 1e-2)


def tensor_in(output: Any) -> Tensor | None:
    """The tensor that a layer returned, the first one of a tuple."""
    first = output[0] if type(output) in (tuple, list) and output else output
    return first if isinstance(first, Tensor) else None


@contextmanager
def on_grid(
    module: nn.Module, places: Places
) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Show channels over places to who listens to a layer from now on, tokens to what follows.

    Gives a context manager for the pass, entered when all who shall see places listen. Who
    listened before sees what the layer returned. What it returns in another form, in an earlier
    call of the same pass, is left as it is.
    """
    outputs: list[Any] = []

    def enter(_: nn.Module, __: Any, output: Any) -> Any:
        tensor = tensor_in(output)
        read = tensor is not None and places.fits(tensor)
        outputs.append((output, tensor) if read else None)
        return places.read(tensor) if read else output

    def leave(_: nn.Module, __: Any, seen: Any) -> Any:
        kept = outputs.pop()
        if kept is None:
            return seen
        output, tensor = kept
        whole = places.write(seen, tensor)
        if isinstance(output, Tensor):
            return whole
        return type(output)((whole, *output[1:]))

    @contextmanager
    def behind() -> Iterator[None]:
        handle = module.register_forward_hook(leave)
        try:
            yield
        finally:
            handle.remove()
            outputs.clear()

    handle = module.register_forward_hook(enter)
    try:
        yield behind
    finally:
        handle.remove()


def deepest(
    network: nn.Module, images: Tensor, target: int, layers: Sequence[LayerInfo]
) -> str | None:
    """The last layer that has places on which the answer depends.

    A block of a stack rather than a part of one, and no stack itself.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W)
        The first one is looked at.
    target : int
        Its class.
    layers : sequence of LayerInfo
        From `layers_of`.
    """
    size, modules = tuple(images.shape[-2:]), dict(parts(network))
    readable = {x.name: p for x in layers if (p := places_of(x, size, layers)) is not None}
    names = [
        x.name for x in layers if x.name in readable and not isinstance(modules[x.name], CONTAINERS)
    ]
    seen: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> None:
        tensor = tensor_in(output)
        if tensor is not None and tensor.requires_grad and not is_attention(tensor):
            seen[name] = tensor

    handles = [
        modules[name].register_forward_hook(lambda m, _, out, name=name: keep(name, out))
        for name in names
    ]
    try:
        x = images[:1].clone().requires_grad_()
        logit = network(x)[0, target]
    finally:
        remove_hooks(handles)
    if not logit.requires_grad or not seen:
        return None
    found = torch.autograd.grad(logit, list(seen.values()), allow_unused=True)
    moved = [
        name
        for name, gradient in zip(seen, found, strict=True)
        if gradient is not None and bool(readable[name].read(gradient).any())
    ]
    moved.sort(key=names.index)
    blocks = [name for name in moved if in_stack(name, modules)]
    return (blocks or moved or [None])[-1]


def in_stack(name: str, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a module is an attribute of the network itself, or a member of a container."""
    parent = name.rpartition(".")[0]
    return not parent or isinstance(modules[parent], CONTAINERS)
