"""A sketch of a model's weights: enough to say whether a reference belongs to them.

Per layer with weights their number and two sums over at most 64 of them per tensor, with fixed
signs. Rounding to half precision moves these by less than a part in a hundred; another training
moves them by far more.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import nn

from deepdrift.errors import ReferenceFileError
from deepdrift.states.blocks import is_leaf, parts

Sketch = dict[str, tuple[int, float, float]]

_PER_TENSOR = 64
_TOLERANCE = 0.02


def sketch(network: nn.Module) -> Sketch:
    """Layer with weights -> number of weights, their length, and a sum with alternating signs.

    Examples
    --------
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> sketch(nn.Sequential(layer))
    {'0': (2, 5.0, -1.0)}
    """
    found: Sketch = {}
    for name, module in parts(network):
        tensors = [p for p in module.parameters() if p.is_floating_point()]
        if not is_leaf(module) or not tensors:
            continue
        kept = torch.cat([_some(p) for p in tensors])
        signs = torch.ones_like(kept)
        signs[1::2] = -1
        total = sum(p.numel() for p in tensors)
        # nine digits, so that no damage to a stored digit is rounded away
        length, balance = (float(f"{float(x):.9g}") for x in (kept.norm(), kept @ signs))
        found[name] = (total, length, balance)
    return found


def _some(weights: torch.Tensor) -> torch.Tensor:
    flat = weights.detach().flatten()
    step = max(1, len(flat) // _PER_TENSOR)
    return flat[::step][:_PER_TENSOR].to("cpu", torch.float64)


def other_sizes(mine: Mapping, theirs: Mapping, layers: tuple[str, ...]) -> list[str]:
    """Layers with weights that have another number of them, up to the last watched layer."""
    last = max((i for i, name in enumerate(mine) if _inside(name, layers)), default=len(mine) - 1)
    before = list(mine)[: last + 1]
    return [name for name in before if name in theirs and theirs[name][0] != mine[name][0]]


def other_weights(mine: Mapping, theirs: Mapping) -> list[str]:
    """Layers that have other weights than those that the sketch was made of.

    Examples
    --------
    >>> other_weights({"a": (2, 5.0, -1.0)}, {"a": (2, 5.0, -1.001)})
    []
    >>> other_weights({"a": (2, 5.0, -1.0)}, {"a": (2, 5.0, 1.0)})
    ['a']
    """

    def differ(name: str) -> bool:
        (n, length, total), (m, other, other_total) = mine[name], theirs[name]
        room = _TOLERANCE * max(length, other)
        return n != m or abs(length - other) > room or abs(total - other_total) > room

    return [name for name in mine if name in theirs and differ(name)]


def check_weights(
    network: nn.Module,
    theirs: Mapping,
    layers: tuple[str, ...] | None,
    name: str | None = None,
    stacklevel: int = 2,
    argument: str = "reference",
) -> None:
    """Refuse a reference of a network of other sizes; warn where its weights are others.

    Parameters
    ----------
    network : nn.Module
    theirs : mapping
        `sketch` of the network that the reference was made with.
    layers : tuple of str or None
        Watched layers; sizes after the last of them do not matter. None: the whole network does,
        also whether it has the same parts.
    name : str, optional
        Of the network, for messages.
    stacklevel : int
        Of the warning.
    argument : str
        Where the reference comes from, for messages.

    Raises
    ------
    ReferenceFileError
        For another number of weights, or other parts.

    Examples
    --------
    >>> small, large = (nn.Sequential(nn.Linear(2, n)) for n in (3, 4))
    >>> check_weights(small, sketch(large), None, argument="path")
    Traceback (most recent call last):
    deepdrift.errors.ReferenceFileError: path: it does not belong to this Sequential: '0' have
    another number of weights
    """
    mine = sketch(network)
    foreign = f"{argument}: it does not belong to this {name or type(network).__name__}: "
    apart = [] if layers is not None else sorted(set(mine) ^ set(theirs))
    if apart:
        raise ReferenceFileError(
            f"{foreign}{', '.join(map(repr, apart[:4]))} have weights in one of the two only"
        )
    sizes = other_sizes(mine, theirs, layers or ())
    if sizes:
        raise ReferenceFileError(
            f"{foreign}{', '.join(map(repr, sizes[:4]))} have another number of weights"
        )
    changed = other_weights(mine, theirs)
    if changed:
        more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
        warnings.warn(
            f"{argument}: it was made with other weights of this model, in "
            f"{', '.join(map(repr, changed[:4]))}{more}; what is normal for them may not be for "
            "these: calibrate again",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def _inside(name: str, layers: tuple[str, ...]) -> bool:
    return any(name == k or name.startswith(f"{k}.") for k in (x.split("#")[0] for x in layers))
