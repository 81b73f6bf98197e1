"""Some samples of a batch, in a batch of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, ValuesView
from dataclasses import replace
from typing import Any

from torch import Tensor

from deepdrift.states.batches import Batch


class NoParts(Exception):
    """There is no telling which part of a batch belongs to which sample."""


def some_of(batch: Batch, rows: Sequence[int], n: int, axis: int = 0) -> Batch:
    """A batch of these samples only.

    Tensors and lists are cut where they have one entry for each sample. What has none is handed
    on as it is (a mask for all, a number), except for whole numbers, which may point at samples.

    Parameters
    ----------
    batch : Batch
        From `deepdrift.states.batches.split_batch`.
    rows : sequence of int
    n : int
        Samples of the batch.
    axis : int
        Where the samples stand: 1 in inputs ``(T, N, ...)``.

    Raises
    ------
    NoParts
        If it cannot be known what belongs to which sample.

    Examples
    --------
    >>> import torch
    >>> batch = Batch((torch.arange(6).view(3, 2), torch.tensor(0.5)))
    >>> some_of(batch, [2], 3).args
    (tensor([[4, 5]]), tensor(0.5000))
    """
    values = [*batch.args, *batch.kwargs.values()]
    tensors = [v for v in values if isinstance(v, Tensor) and v.ndim]
    square = [tuple(v.shape[:2]) == (n, n) for v in tensors]
    if len(tensors) > 1 and any(square):
        raise NoParts("as many positions as samples")
    args = tuple(_cut(v, rows, n, axis) for v in batch.args)
    return replace(
        batch, args=args, kwargs={k: _cut(v, rows, n, axis) for k, v in batch.kwargs.items()}
    )


def tensors_of(batch: Batch) -> list[Tensor]:
    """Tensors of a batch, those in lists of lists left out."""
    raw = batch.raw.values() if isinstance(batch.raw, Mapping) else batch.raw
    raw = raw if isinstance(raw, tuple | list | ValuesView) else [raw]
    values = (*batch.args, *batch.kwargs.values(), *raw)
    return [x for x in values if isinstance(x, Tensor)]


def _cut(value: Any, rows: Sequence[int], n: int, axis: int) -> Any:
    if isinstance(value, Tensor):
        return _cut_tensor(value, rows, n, axis)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if type(value) is list or isinstance(value, tuple):
        if len(value) == n and not any(_has_rows(v, n, axis) for v in value):  # one for each sample
            picked = [value[i] for i in rows]
        else:
            picked = [_cut(v, rows, n, axis) for v in value]
        return type(value)(*picked) if hasattr(value, "_fields") else type(value)(picked)
    if isinstance(value, Mapping):
        return {k: _cut(v, rows, n, axis) for k, v in value.items()}
    raise NoParts(f"a {type(value).__name__}")


def _cut_tensor(value: Tensor, rows: Sequence[int], n: int, axis: int) -> Tensor:
    if value.is_nested:
        raise NoParts("a nested tensor")
    if value.ndim == 0:
        return value
    if _has_rows(value, n, axis):
        return value[rows] if axis == 0 else value[:, rows]
    points = not value.is_floating_point() and not value.is_complex() and value.element_size() > 1
    if axis == 0 and len(value) != 1 and points:
        raise NoParts(f"a tensor {tuple(value.shape)}")
    return value


def _has_rows(value: Any, n: int, axis: int) -> bool:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return any(_has_rows(v, n, axis) for v in value)
    return isinstance(value, Tensor) and value.ndim > axis and value.shape[axis] == n
