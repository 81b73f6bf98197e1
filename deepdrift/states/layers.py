"""Which layers can be watched, by name and in the order in which they run."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn
from torch.utils.hooks import RemovableHandle

from deepdrift.errors import LayerNotFoundError, StateError
from deepdrift.states.forward import run_quietly, unwrap
from deepdrift.states.pooling import find_tensor

CONTAINERS = (nn.Sequential, nn.ModuleList)


_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
    nn.Sigmoid, nn.Hardswish, nn.Softplus, nn.PReLU,
)  # fmt: skip


_NORMS = (
    nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm,
)  # fmt: skip


class LayerInfo(NamedTuple):
    """One layer that ran: its name, class and output shape (None if it returned no tensor)."""

    name: str
    kind: str
    shape: tuple[int, ...] | None


def list_layers(model: nn.Module, example: Any) -> list[LayerInfo]:
    """What can be watched: every layer that runs on ``example``, in execution order.

    A layer is listed when it has finished, so a block follows its parts. One forward pass in
    evaluation mode; the model and the random generators are left as they were.

    Parameters
    ----------
    model : nn.Module
    example : Tensor, tuple or dict
        A batch the model accepts: positional, or as keywords for a dict.

    Examples
    --------
    >>> import torch
    >>> model = nn.Sequential(nn.Linear(3, 5), nn.ReLU())
    >>> for layer in list_layers(model, torch.zeros(1, 3)):
    ...     print(*layer)
    0 Linear (1, 5)
    1 ReLU (1, 5)
    """
    network, found = unwrap(model), []

    def note(name: str, module: nn.Module, output: Any) -> None:
        try:
            shape: tuple[int, ...] | None = tuple(find_tensor(output).shape)
        except StateError:
            shape = None
        found.append(LayerInfo(name, type(module).__name__, shape))

    handles = [
        module.register_forward_hook(lambda m, _, out, name=name: note(name, m, out))
        for name, module in network.named_modules()
        if name
    ]
    try:
        run_quietly(network, example)
    finally:
        remove_hooks(handles)
    return found


def auto_layers(model: nn.Module) -> list[str]:
    """Layers worth watching when the user names none, in order of definition.

    1. The composite members of Sequentials and ModuleLists (residual blocks, transformer blocks):
       the outermost level on which two of them are of one kind.
    2. Else the activations, if there are two or more.
    3. Else the layers with parameters, without normalisation and without a final linear head.

    Raises
    ------
    LayerNotFoundError
        If there is nothing of the kind.

    Examples
    --------
    >>> auto_layers(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(),
    ...                           nn.Linear(4, 2)))
    ['1', '3']
    """
    modules = dict(unwrap(model).named_modules())
    blocks: list[str] = []
    for name, module in modules.items():
        if not isinstance(module, CONTAINERS):
            continue
        members = {
            f"{name}.{key}" if name else key: child
            for key, child in module.named_children()
            if next(child.children(), None) is not None and not isinstance(child, CONTAINERS)
        }
        blocks += [k for k in members if k in modules]
    while blocks:
        outer = [b for b in blocks if not any(b.startswith(f"{o}.") for o in blocks)]
        if max(Counter(type(modules[b]) for b in outer).values()) >= 2:
            return outer
        blocks = [b for b in blocks if b not in outer]
    leaves = {k: m for k, m in modules.items() if k and next(m.children(), None) is None}
    activations = [k for k, m in leaves.items() if isinstance(m, _ACTIVATIONS)]
    if len(activations) >= 2:
        return activations
    weighted = [
        k
        for k, m in leaves.items()
        if next(m.parameters(recurse=False), None) is not None and not isinstance(m, _NORMS)
    ]
    if len(weighted) > 1 and isinstance(leaves[weighted[-1]], nn.Linear):
        weighted.pop()
    if not weighted:
        raise LayerNotFoundError(
            f"layers: found nothing to watch in {type(model).__name__}; name the layers yourself, "
            "list_layers(model, example) shows them"
        )
    return weighted


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Module of that name; a number may index into a Sequential or ModuleList.

    Raises
    ------
    LayerNotFoundError
        Naming the nearest layers that exist.
    """
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
