"""Encoder, bottleneck and decoder of a U-Net, found by what the network does with an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.diffusion.inputs import DiffusionError
from deepdrift.states.layers import as_names, find_layer
from deepdrift.states.leaves import listening
from deepdrift.states.outputs import find_tensor

NAMES = ("mid", "middle", "bottleneck")


@dataclass(frozen=True)
class Stages:
    """Stages in the order in which they run.

    Attributes
    ----------
    names : tuple of str
        Module names.
    bottleneck : str
        One of them: before it the encoder, behind it the decoder.

    Examples
    --------
    >>> stages = Stages(("down", "mid", "up"), "mid")
    >>> stages.encoder, stages.decoder
    (('down',), ('up',))
    """

    names: tuple[str, ...]
    bottleneck: str

    @property
    def middle(self) -> int:
        """Place of the bottleneck."""
        return self.names.index(self.bottleneck)

    @property
    def encoder(self) -> tuple[str, ...]:
        """Stages before the bottleneck."""
        return self.names[: self.middle]

    @property
    def decoder(self) -> tuple[str, ...]:
        """Stages behind the bottleneck."""
        return self.names[self.middle + 1 :]


def find_stages(
    model: nn.Module,
    call: Callable[[], Any],
    *,
    stages: Sequence[str] | None = None,
    bottleneck: str | None = None,
) -> Stages:
    """The stages of a U-Net.

    Without ``stages``: every block that is a direct child of the network, or a member of a list
    that is one, and returns feature maps; of a wrapper that holds one block alone, the children
    of that. The bottleneck is the one that is called so (``mid``, ``middle``, ``bottleneck``),
    else the only one with the smallest maps.

    Parameters
    ----------
    model : nn.Module
    call : callable
        Runs the model on some images.
    stages : sequence of str, optional
        Module names, in any order.
    bottleneck : str, optional

    Raises
    ------
    LayerNotFoundError
        If a given name matches nothing.
    DiffusionError
        If there is no clear middle, or nothing on one side of it.

    Examples
    --------
    >>> model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1)),
    ...                       nn.Sequential(nn.Conv2d(2, 2, 3, 2, 1)),
    ...                       nn.Sequential(nn.Upsample(scale_factor=4)))
    >>> find_stages(model, lambda: model(torch.zeros(1, 1, 8, 8)))
    Stages(names=('0', '1', '2'), bottleneck='1')
    """
    if stages is None:
        watched = dict(_blocks(model))
    else:
        watched = {name: find_layer(model, name) for name in as_names(stages)}
    if bottleneck is not None:
        watched.setdefault(bottleneck, find_layer(model, bottleneck))
    with torch.no_grad(), listening(watched, pick=_maps) as outputs:
        call()
    sizes = {name: tuple(out.shape[2:]) for name, out in outputs.items()}
    silent = sorted(set(watched) - set(sizes))
    if stages is not None and silent:
        raise DiffusionError(
            f"stages: {', '.join(silent)} did not run or returned no maps (N, C, H, W)"
        )
    names = tuple(sizes)
    middle = bottleneck if bottleneck in sizes else _middle(sizes)
    found = Stages(names, middle)
    if not found.encoder or not found.decoder:
        raise DiffusionError(
            f"model: a U-Net has stages on both sides of its bottleneck, got {', '.join(names)} "
            f"with {middle!r} as bottleneck; name them with stages= and bottleneck="
        )
    return found


def _blocks(model: nn.Module, head: str = "") -> list[tuple[str, nn.Module]]:
    """Children with children of their own, behind wrappers that hold one block alone."""
    found: list[tuple[str, nn.Module]] = []
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleList):
            found += [(f"{head}{name}.{i}", member) for i, member in enumerate(child)]
        else:
            found.append((f"{head}{name}", child))
    found = [(name, block) for name, block in found if next(block.children(), None) is not None]
    if len(found) == 1:
        name, block = found[0]
        return _blocks(block, f"{name}.") or found
    return found


def _maps(output: Any) -> Tensor | None:
    if not isinstance(output, Tensor):
        parts = output if isinstance(output, (tuple, list)) else ()
        if not any(isinstance(x, Tensor) for x in parts):
            return None
        output = find_tensor(output)
    return output if output.ndim == 4 else None


def _middle(sizes: dict[str, tuple[int, ...]]) -> str:
    called = [
        name for name in sizes if any(part.startswith(NAMES) for part in name.lower().split("."))
    ]
    if len(called) == 1:
        return called[0]
    areas = {name: size[0] * size[1] for name, size in sizes.items()}
    smallest = [name for name, area in areas.items() if area == min(areas.values())]
    if len(smallest) != 1 or len(set(areas.values())) < 2:
        shown = ", ".join(f"{n} {s[0]}x{s[1]}" for n, s in sizes.items()) or "no block with maps"
        raise DiffusionError(
            f"model: no clear middle ({shown}); name it with bottleneck=, and the other stages "
            "with stages="
        )
    return smallest[0]
