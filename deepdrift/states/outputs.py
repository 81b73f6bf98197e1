"""The hidden state in what a layer returned, of whatever form, by one rule.

Masks, losses, numbers of tokens and caches travel with states and are none.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from deepdrift.errors import StateError
from deepdrift.states.padding import lengths_mask
from deepdrift.states.transforms import in_transform

_NAMES = ("last_hidden_state", "logits", "sample")  # a state, wherever they stand
_NO_STATE = re.compile(r"(^|_)(mask|loss|losses)$")
_DEEPEST = 8  # nested so far; beyond that an output holds itself
_LOWEST = -1e3  # a mask to be added holds numbers below that


def find_tensor(output: Any) -> Tensor:
    """The hidden state in what a layer returned.

    1. A tensor is itself.
    2. Among parts that have names (a mapping, a ModelOutput, a named tuple, a dataclass)
       ``last_hidden_state`` counts, else ``logits``, else ``sample``.
    3. Else the first part in order that holds floating-point numbers, one row a sample; a part in
       parts is looked for in the same way. What is called a mask or a loss comes last, and so does
       a part of ones and zeros with one number for each place of another part: that is a mask.

    Raises
    ------
    StateError
        If there is none, or if it does not hold floating-point numbers.

    Examples
    --------
    >>> find_tensor((torch.zeros(2, 3), None)).shape
    torch.Size([2, 3])
    >>> find_tensor({"mask": torch.ones(2, 5), "tokens": [torch.zeros(2, 5, 8)]}).shape
    torch.Size([2, 5, 8])
    """
    found = choose(output)
    if found is None:
        raise StateError(f"the layer returned {_described(output)}; choose another layer")
    if isinstance(found, PackedSequence):
        raise StateError(
            "the layer returned a PackedSequence, whose rows are tokens and not samples; watch a "
            "layer behind pad_packed_sequence"
        )
    if found.is_quantized:
        return found.dequantize()
    if found.is_complex():
        raise StateError(
            f"the layer returned complex numbers ({found.dtype}); choose a layer behind the one "
            "that makes real numbers of them"
        )
    if not found.is_floating_point():
        raise StateError(
            f"the layer returned numbers of type {found.dtype}; expected floating point: choose "
            "a layer behind the embedding"
        )
    return found


def choose(output: Any) -> Tensor | PackedSequence | None:
    """The part of an output that `find_tensor` takes, packed or nested as it is, or None."""
    if isinstance(output, Tensor | PackedSequence):
        return output
    every = list(_parts(output, _DEEPEST))
    states = [part for part in every if _is_state(part)]
    for i, part in enumerate(states):
        if not any(_is_mask_of(part, other) for other in states[i + 1 :]):
            return part
    return next(iter(states or every), None)


def unpack(output: Any) -> tuple[Any, Tensor | None]:
    """What a layer returned, packed and nested sequences padded, and which tokens are real.

    Examples
    --------
    >>> from torch.nn.utils.rnn import pack_sequence
    >>> packed = pack_sequence([torch.ones(2, 3), torch.ones(1, 3)])
    >>> padded, keep = unpack((packed, None))
    >>> padded.shape, keep.tolist()
    (torch.Size([2, 2, 3]), [[True, True], [True, False]])
    """
    found = choose(output)
    if isinstance(found, PackedSequence):
        padded, lengths = pad_packed_sequence(found, batch_first=True)
        return padded, lengths_mask(lengths).to(padded.device)
    if isinstance(found, Tensor) and found.is_nested:
        parts = found.unbind()
        lengths = torch.tensor([len(part) for part in parts], device=found.device)
        return torch.nested.to_padded_tensor(found, 0.0), lengths_mask(lengths)
    return output if found is None else found, None


def _parts(output: Any, depth: int) -> Iterator[Tensor | PackedSequence]:
    """Tensors and packed sequences in an output, in the order of the rule."""
    if isinstance(output, Tensor | PackedSequence):
        yield output
    elif depth:
        named = _named(output)
        parts = output if isinstance(output, tuple | list) else ()
        if named is not None:
            first = [named[k] for k in _NAMES if named.get(k) is not None]
            rest = [k for k in named if k not in _NAMES]
            rest.sort(key=lambda k: bool(_NO_STATE.search(str(k).lower())))
            parts = [*first, *(named[k] for k in rest)]
        for part in parts:
            yield from _parts(part, depth - 1)


def _named(output: Any) -> Mapping[Any, Any] | None:
    """Parts of an output by name, if they have names."""
    if isinstance(output, Mapping):
        return output
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {f.name: getattr(output, f.name, None) for f in dataclasses.fields(output)}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return dict(zip(output._fields, output, strict=True))
    if isinstance(output, tuple | list):
        return None
    return {name: getattr(output, name, None) for name in _NAMES}


def _is_state(part: Tensor | PackedSequence) -> bool:
    if isinstance(part, PackedSequence) or part.is_nested:
        return True
    return part.ndim > 0 and (part.is_floating_point() or part.is_quantized)


def _is_mask_of(part: Tensor | PackedSequence, other: Tensor | PackedSequence) -> bool:
    """Whether a part of an output has one number, 1 or 0, for each place of another part."""
    if not isinstance(part, Tensor) or not isinstance(other, Tensor):
        return False
    if part.is_nested or other.is_nested or part.is_meta:
        return False
    if torch.compiler.is_compiling() or in_transform():  # a look at numbers would break the pass
        return False
    places = [len(part), *(size for size in part.shape[1:] if size > 1)]
    without_one = [[*other.shape[:i], *other.shape[i + 1 :]] for i in range(1, other.ndim)]
    if len(places) < 2 or places not in without_one:
        return False
    return bool(((part == 0) | (part == 1) | (part <= _LOWEST)).all())


def _described(output: Any) -> str:
    kind = type(output).__name__
    held = [k for k, v in getattr(output, "__dict__", {}).items() if isinstance(v, Tensor)]
    if not held:
        return f"{kind} without a tensor"
    return (
        f"an object of class {kind}, and nothing says which of its {', '.join(held)} is the state; "
        "a tuple, a mapping or a dataclass would be read"
    )
