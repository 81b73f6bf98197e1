"""Passes inside the transforms of `torch.func`: one call of a model may stand for many."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch as functorch
from torch.utils._pytree import tree_leaves

from deepdrift.errors import StateError


def in_transform() -> bool:
    """Whether a transform of `torch.func` (``vmap``, ``grad``, ``jvp``) runs around the caller.

    Examples
    --------
    >>> in_transform(), torch.func.vmap(lambda x: x + in_transform())(torch.zeros(2)).tolist()
    (False, [1.0, 1.0])
    """
    return not torch.compiler.is_compiling() and functorch.peek_interpreter_stack() is not None


def is_mapped(value: Any) -> bool:
    """Whether a tensor is the slice that ``vmap`` shows of another tensor.

    Examples
    --------
    >>> _ = torch.func.vmap(lambda x: print(is_mapped(x)) or x)(torch.zeros(2))
    True
    """
    while isinstance(value, Tensor) and functorch.is_functorch_wrapped_tensor(value):
        if functorch.is_batchedtensor(value):
            return True
        value = functorch.get_unwrapped(value)
    return False


def refuse_mapped(values: Iterable[Any]) -> None:
    """Raise as `bare` if a tensor among nested values is a slice that ``vmap`` shows."""
    for value in tree_leaves(list(values)):
        bare(value)


def bare(value: Any) -> Any:
    """The numbers of a tensor inside a transform; what is no tensor is itself.

    Raises
    ------
    StateError
        Inside ``vmap``, if the tensor is a slice of another one.
    """
    if is_mapped(value):
        raise StateError(
            "the model ran inside torch.func.vmap (or a Jacobian or gradients per sample that use "
            "it), where one call holds many and a row is no sample; to read states call the model "
            "on a batch itself, model(x), outside of vmap"
        )
    while isinstance(value, Tensor) and functorch.is_functorch_wrapped_tensor(value):
        value = functorch.get_unwrapped(value)
    return value
