"""Which tokens are real: padding must not enter a state.

A mask is found where the model passes it on: the nearest module around a layer whose ``forward``
takes one and got one with a row per sample. So an encoder and a decoder each have their own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from deepdrift.errors import StateError

MaskSource = str | Callable[[Any], Tensor] | None

_KEEP = ("attention_mask",)  # 1 or True: a real token
_PAD = (  # True: a padding token, or minus infinity for one
    "src_key_padding_mask", "tgt_key_padding_mask", "key_padding_mask", "padding_mask",
)  # fmt: skip
_IDS = ("input_ids", "inputs_embeds", "decoder_input_ids", "pixel_values", "input_values", "x")


class Owner(NamedTuple):
    """A module that takes a mask: by which argument, at which place, and what True means."""

    argument: str
    position: int
    keeps: bool


def owner_of(module: nn.Module) -> Owner | None:
    """How this module takes a padding mask, if it does.

    Examples
    --------
    >>> layer = nn.TransformerEncoderLayer(4, 2)
    >>> owner_of(layer)
    Owner(argument='src_key_padding_mask', position=2, keeps=False)
    >>> owner_of(nn.Linear(2, 2)) is None
    True
    """
    try:
        names = list(inspect.signature(module.forward).parameters)
    except (TypeError, ValueError):
        return None
    decoder = isinstance(module, nn.TransformerDecoder | nn.TransformerDecoderLayer)
    for name in (*_KEEP, *_PAD):
        if name in names and not (decoder and name.startswith("src")):
            return Owner(name, names.index(name), name in _KEEP)
    return None


def as_keep(mask: Tensor, keeps: bool = True) -> Tensor:
    """Mask as booleans, True for a real token.

    Numbers below zero (minus infinity, or the lowest number of the type) mean padding, whatever
    the convention; else ``keeps`` says whether ones are real tokens or padding.

    Examples
    --------
    >>> as_keep(torch.tensor([[1, 1, 0]])).tolist()
    [[True, True, False]]
    >>> as_keep(torch.tensor([[0.0, -float("inf")]]), keeps=False).tolist()
    [[True, False]]
    """
    if mask.is_floating_point() and bool((mask < 0).any()):
        return mask >= 0
    return mask != 0 if keeps else mask == 0


def given_mask(source: MaskSource, args: tuple, kwargs: Mapping[str, Any]) -> Tensor | None:
    """The mask that the user named or computes, from the inputs of the model.

    Raises
    ------
    StateError
        If it is no tensor of two axes.
    """
    if source is None:
        return None
    if isinstance(source, str):
        mask, said = kwargs.get(source), f"mask: the model's argument {source!r}"
        if mask is None:
            return None
    else:
        batch = dict(kwargs) if not args else args[0] if len(args) == 1 and not kwargs else args
        mask, said = source(batch), "mask: the function"
    if not isinstance(mask, Tensor) or mask.ndim != 2:
        came = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise StateError(f"{said} must give a tensor (samples, tokens), True = real, got {came}")
    return as_keep(mask)


def lengths_mask(lengths: Tensor) -> Tensor:
    """Mask of sequences that are padded at the end.

    Examples
    --------
    >>> lengths_mask(torch.tensor([2, 1])).tolist()
    [[True, True], [True, False]]
    """
    return torch.arange(int(lengths.max()), device=lengths.device)[None] < lengths[:, None]


def packed_lengths(packed: PackedSequence) -> Tensor:
    """Length of every sequence, in the order in which they were packed."""
    sizes = packed.batch_sizes
    lengths = (sizes[None] > torch.arange(int(sizes[0]), device="cpu")[:, None]).sum(1)
    order = packed.unsorted_indices
    return lengths if order is None else lengths[order.cpu()]


def count_rows(args: tuple, kwargs: Mapping[str, Any]) -> tuple[int | None, tuple[int, ...]]:
    """Number of samples of a model's inputs, and the shape of the input that says it.

    The first tensor counts, among keywords one of a usual name; a list of tensors counts as one
    sample each, a packed sequence and a nested tensor by their parts.

    Examples
    --------
    >>> count_rows((torch.zeros(4, 3),), {}), count_rows(([torch.zeros(3, 8, 8)] * 2,), {})
    ((4, (4, 3)), (2, ()))
    """
    for value in args:
        found = _rows(value)
        if found is not None:
            return found
    named = [kwargs[k] for k in _IDS if kwargs.get(k) is not None]
    for value in (*named, *kwargs.values()):
        found = _rows(value)
        if found is not None:
            return found
    return None, ()


def _rows(value: Any) -> tuple[int, tuple[int, ...]] | None:
    if isinstance(value, Tensor):
        if value.is_nested:
            return value.size(0), ()
        return (len(value), tuple(value.shape)) if value.ndim else None
    if isinstance(value, PackedSequence):
        return int(value.batch_sizes[0]), ()
    if isinstance(value, Mapping):
        n, shape = count_rows((), value)
        return None if n is None else (n, shape)
    if isinstance(value, tuple | list) and value:
        if all(isinstance(v, Tensor) for v in value):
            return len(value), ()
        if all(isinstance(v, Mapping) for v in value):
            return len(value), ()
    return None
