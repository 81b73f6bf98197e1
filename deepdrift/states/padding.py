"""Which tokens are real: padding must not enter a state.

A mask is found where the model passes it on: the nearest module around a layer whose ``forward``
takes one and got one with a row per sample (`deepdrift.states.owners`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from deepdrift.errors import StateError

MaskSource = str | Callable[[Any], Tensor] | None

_MOST = 2  # in a mask that is not to be added: it marks a token that all others attend to
_IDS = ("input_ids", "inputs_embeds", "decoder_input_ids", "pixel_values", "input_values", "x")


def as_keep(mask: Tensor, keeps: bool = True, inner: bool = False) -> Tensor:
    """Mask as booleans, True for a real token.

    A mask with numbers below zero (minus infinity, or the lowest number of the type), or with
    floating-point numbers far above one, is to be added, whatever the convention: what is below
    zero is padding, zeros and tokens that all others attend to are real. Else ``keeps`` says
    whether ones, or the numbers of documents packed into a row, are real or padding.

    Parameters
    ----------
    mask : Tensor
    keeps : bool
    inner : bool
        Whether a module inside a model is given it: floating-point zeros alone are added there.

    Examples
    --------
    >>> as_keep(torch.tensor([[1, 1, 0]])).tolist()
    [[True, True, False]]
    >>> as_keep(torch.tensor([[0.0, -float("inf")]]), keeps=False).tolist()
    [[True, False]]
    >>> as_keep(torch.tensor([[3e38, 0.0, -3e38]])).tolist()
    [[True, True, False]]
    >>> as_keep(torch.tensor([[1, 2, 3, 0]])).tolist()
    [[True, True, True, False]]
    """
    if mask.dtype is torch.bool:
        return mask if keeps else ~mask
    added = (mask < 0).any()  # stays on its device: nobody waits for it
    if mask.is_floating_point():  # whole numbers may count the documents of a row
        added = added | (mask > _MOST).any()
        if inner:
            added = added | ~mask.any()
    return torch.where(added, mask >= 0, mask != 0 if keeps else mask == 0)


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


def shrunk(module: nn.Module, keep: Tensor, length: int) -> Tensor | None:
    """A mask of what a speech model was given, for so many of its frames, or None.

    Models of transformers tell it by a method of theirs, which counts the frames of a length.
    """
    rule = getattr(module, "_get_feature_vector_attention_mask", None)
    count = getattr(module, "_get_feat_extract_output_lengths", None)
    if rule is None or count is None or keep.shape[1] <= length:
        return None
    try:
        if int(count(keep.shape[1])) != length:  # a stage on the way to the frames
            return None
        found = rule(length, keep.long())
    except (TypeError, ValueError, RuntimeError, IndexError):
        return None
    return found.bool() if tuple(found.shape) == (len(keep), length) else None


def misfit(name: str, keep: Tensor, length: int) -> str:
    """What to say of a layer whose positions are not those of its mask."""
    return (
        f"layer {name!r}: the mask of shape {tuple(keep.shape)} does not fit its {length} "
        "positions, so padding is averaged into its state; give mask= a function that returns "
        "(samples, positions)"
    )


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
