"""How far the states of the same samples in two passes lie apart: more than rounding can make?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

_SHARE = 0.02  # of the spread between samples; less than that changes no score
_ROUNDING = 1e-4  # of the size of a state, after a deep network in float32
_TENSOR_CORES = 4e-3  # the same on a GPU that may compute with shorter factors
_EIGHT_BITS = 2**-7  # quantised layers may take their scale from the whole batch
_STEPS = 8  # roundings of a short type that add up


def rounding(network: nn.Module, inputs: Iterable[Any] = ()) -> float:
    """Difference relative to the size of a state that rounding can make, by types and device.

    Examples
    --------
    >>> rounding(nn.Linear(2, 2)), rounding(nn.Linear(2, 2).bfloat16())
    (0.0001, 0.0625)
    """
    tensors = [x for x in (*network.parameters(), *inputs) if isinstance(x, Tensor)]
    kinds = {x.dtype for x in tensors if x.is_floating_point()}
    devices = {x.device.type for x in tensors}
    kinds |= {torch.get_autocast_dtype(d) for d in devices if _autocast(d)}
    limits = [_ROUNDING, rounding_of(kinds)]
    if devices - {"cpu", "meta"}:
        limits.append(_TENSOR_CORES)
    if any("quantized" in type(m).__module__ for m in network.modules()):
        limits.append(_STEPS * _EIGHT_BITS)
    return max(limits)


def rounding_of(kinds: Iterable[torch.dtype]) -> float:
    """The same by the types of numbers alone; 0 without any."""
    return max((_STEPS * torch.finfo(kind).eps for kind in kinds), default=0.0)


@contextmanager
def noting_types(found: set[torch.dtype]) -> Iterator[None]:
    """Collect the types in which modules hand on floating-point numbers.

    A model may compute in a shorter type than that of its weights, by an autocast of its own.

    Examples
    --------
    >>> found = set()
    >>> with noting_types(found), torch.autocast("cpu", torch.bfloat16):
    ...     _ = nn.Linear(2, 2)(torch.zeros(1, 2))
    >>> found
    {torch.bfloat16}
    """

    def note(_: nn.Module, __: Any, output: Any) -> None:
        parts = output if isinstance(output, tuple | list) else [output]
        found.update(x.dtype for x in parts if isinstance(x, Tensor) and x.is_floating_point())

    handle = register_module_forward_hook(note)
    try:
        yield
    finally:
        handle.remove()


def _autocast(device: str) -> bool:
    try:
        return torch.is_autocast_enabled(device)
    except RuntimeError:  # a device that knows none
        return False


def gap(
    again: Tensor, states: Tensor, rows: Sequence[int], limit: float, but: float = 0.25
) -> float:
    """How far some samples moved, in spreads between samples; 0 if rounding can do that.

    Parameters
    ----------
    again : Tensor, shape (K, D)
        Their states in another pass.
    states : Tensor, shape (N, D)
        States of all samples.
    rows : sequence of int
        Where the K samples stand among them.
    limit : float
        See `rounding`.
    but : float
        Share of the samples that may move further: a choice that falls another way in a tie moves
        one or two.

    Returns
    -------
    float
        Distance per channel over the standard deviation of a channel between samples. Infinite
        for another width, and where samples do not differ.

    Examples
    --------
    >>> states = torch.tensor([[1.0], [3.0]])
    >>> gap(states + 0.5, states, [0, 1], 1e-4), gap(states + 1e-5, states, [0, 1], 1e-4)
    (0.5, 0.0)
    """
    if again.shape[1] != states.shape[1]:
        return float("inf")
    again, states = again.double().cpu(), states.double().cpu()
    distances = _distances(again, states[rows]).sort(descending=True).values
    moved = float(distances[min(math.ceil(len(distances) * but), len(distances) - 1)])
    spread, least = _scale(states, limit)
    if moved <= max(_SHARE * spread, least):
        return 0.0
    return moved / spread if spread > 0 else float("inf")


def in_other_rows(again: Tensor, states: Tensor, rows: Sequence[int], limit: float) -> bool:
    """Whether states that moved stand in other rows: the samples in another order.

    Parameters as for `gap`.

    Examples
    --------
    >>> states = torch.tensor([[1.0], [3.0], [8.0]])
    >>> in_other_rows(states.flip(0), states, [0, 1, 2], 1e-4)
    True
    >>> in_other_rows(states + 0.5, states, [0, 1, 2], 1e-4)
    False
    """
    if again.shape[1] != states.shape[1]:
        return False
    again, states = again.double().cpu(), states.double().cpu()
    spread, least = _scale(states, limit)
    noise = max(_SHARE * spread, least)
    moved = _distances(again, states[rows]) > noise
    nearest = torch.stack([_distances(one, states).amin() for one in again])
    found = int((moved & (nearest <= noise)).sum())
    return found >= 2 and found >= 0.75 * int(moved.sum())


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Per channel, row by row; none where neither row is finite."""
    distances = (a - b).square().mean(dim=-1).sqrt()
    both = ~a.isfinite().all(dim=-1) & ~b.isfinite().all(dim=-1)
    return distances.masked_fill(both, 0.0).nan_to_num(nan=torch.inf)


def _scale(states: Tensor, limit: float) -> tuple[float, float]:
    """Standard deviation of a channel between samples, and what rounding can make of its size."""
    whole = states[states.isfinite().all(dim=1)]
    if len(whole) < 2:
        return torch.inf, 0.0  # no telling
    spread = float((whole - whole.mean(dim=0)).square().mean().sqrt())
    return spread, limit * float(whole.square().mean().sqrt())
