"""Which layers can be watched, by name and in the order in which they run."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from deepdrift.errors import LayerNotFoundError
from deepdrift.states.blocks import CONTAINERS


class LayerInfo(NamedTuple):
    """One layer that ran.

    Attributes
    ----------
    name, kind : str
        Its name, and the name of its class.
    shape : tuple of int or None
        Of its output; None if it returned no tensor.
    layout : str or None
        What the axes are taken for, with a question mark where another reading is possible; a
        question mark alone where no state can be made of it.
    width : int or None
        Length of its state, if it has one.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    layout: str | None = None
    width: int | None = None


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Module of that name; a number may index into a Sequential or ModuleList.

    Raises
    ------
    LayerNotFoundError
        Naming the nearest layers that exist.
    """
    if "parametrizations" in name.split("."):
        raise LayerNotFoundError(
            f"layers: {name!r} computes weights and no states; name the layer that has them, "
            f"{name.split('.parametrizations')[0]!r}"
        )
    module = model
    for part in name.split(".") if name else ():
        child = module._modules.get(part)
        if child is None and part.isdigit() and isinstance(module, CONTAINERS):
            children = list(module.children())
            child = children[int(part)] if int(part) < len(children) else None
        if child is None:
            known = [k for k, _ in model.named_modules() if k]
            near = difflib.get_close_matches(name, known, n=4, cutoff=0.4) or known[:4]
            raise LayerNotFoundError(
                f"layers: {type(model).__name__} has no layer {name!r}; "
                + (f"nearest names: {', '.join(near)}" if near else "it has no layers inside")
            )
        module = child
        if isinstance(module, torch.jit.ScriptModule):
            raise LayerNotFoundError(
                f"layers: {name!r} is or lies in TorchScript, which takes no hooks; watch a layer "
                "around it, or the original Python model"
            )
    return module


def as_names(layers: Sequence[str]) -> list[str]:
    """Layer names as a list, each a name, none twice."""
    names = [layers] if isinstance(layers, str) else list(layers)
    if not names:
        raise LayerNotFoundError("layers: expected at least one layer name, got none")
    for name in names:
        if not isinstance(name, str) or not name:
            raise LayerNotFoundError(f"layers: expected names (str), got {name!r}")
    if len(set(names)) < len(names):
        raise LayerNotFoundError(f"layers: a name is given twice in {names}")
    return names


def refuse_twins(modules: Mapping[str, nn.Module]) -> None:
    """Refuse two names of one module: it would be watched twice."""
    names: dict[int, str] = {}
    for name, module in modules.items():
        twin = names.setdefault(id(module), name)
        if twin != name:
            raise LayerNotFoundError(
                f"layers: {twin!r} and {name!r} are one module; name it once, its second call in a "
                f"forward pass is recorded as {twin + '#2'!r}"
            )


def remove_hooks(handles: list[RemovableHandle]) -> None:
    """Remove hooks from their modules, and forget them."""
    for handle in handles:
        handle.remove()
    handles.clear()


def is_moody(module: nn.Module) -> bool:
    """Whether a module of PyTorch gives other numbers in train mode: by chance, or by the batch.

    Examples
    --------
    >>> is_moody(nn.Dropout(0.1)), is_moody(nn.Dropout(0.0)), is_moody(nn.LayerNorm(2))
    (True, False, False)
    """
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    if isinstance(module, nn.RNNBase):
        return module.dropout > 0 and module.num_layers > 1
    if isinstance(module, nn.MultiheadAttention):
        return module.dropout > 0
    return isinstance(module, nn.modules.batchnorm._BatchNorm)
