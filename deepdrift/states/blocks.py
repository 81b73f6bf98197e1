"""Which layers are worth watching when the user names none, from the structure of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from torch import nn

from deepdrift.errors import LayerNotFoundError
from deepdrift.states.forward import unwrap

CONTAINERS = (nn.Sequential, nn.ModuleList)

_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
    nn.Sigmoid, nn.Hardswish, nn.Softplus, nn.PReLU,
)  # fmt: skip
_NORMS = (
    nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm,
)  # fmt: skip
_QUANTISED = ("torch.ao.nn", "torch.nn.quantized", "torch.nn.intrinsic", "torchao")
_MOSTLY = 0.5  # share of a stage's weights that lies in its blocks
_ALIKE = 1.2  # and blocks of a stack differ in size by no more than this factor


def is_quantised(module: nn.Module) -> bool:
    """Whether it is a quantised layer, whose parts are packed weights and no layers."""
    return type(module).__module__.startswith(_QUANTISED)


def parts(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Named modules that compute states: without what only makes or holds weights.

    Examples
    --------
    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    >>> [name for name, _ in parts(nn.Sequential(layer))]
    ['', '0']
    """
    hidden: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(f"{h}.") for h in hidden):
            continue
        if name.endswith("parametrizations") and isinstance(module, nn.ModuleDict):
            hidden.append(name)
            continue
        if isinstance(module, torch.jit.ScriptModule):
            hidden.append(name)
            continue
        if is_quantised(module):
            hidden.append(name)
        yield name, module


def is_leaf(module: nn.Module) -> bool:
    """Whether a module has weights of its own and no layers inside.

    Examples
    --------
    >>> is_leaf(nn.Linear(2, 2)), is_leaf(nn.ReLU()), is_leaf(nn.Sequential(nn.Linear(2, 2)))
    (True, False, False)
    """
    if is_quantised(module):
        return True
    if any(name != "parametrizations" for name, _ in module.named_children()):
        return isinstance(module, nn.MultiheadAttention)
    return bool(module._parameters) or hasattr(module, "parametrizations")


def auto_layers(model: nn.Module) -> list[str]:
    """Layers worth watching when the user names none, in order of definition.

    1. Blocks: the composite parts on the outermost level on which two of them are of one kind,
       in Sequentials and ModuleLists (residual and transformer blocks); failing that, as plain
       attributes (the ``down1``, ``down2``, ... of a U-Net). Stages that hold their blocks in a
       Sequential give way to the blocks.
    2. Else the activations, if there are two or more.
    3. Else blocks that stand alone in a ModuleList and hold most weights: a model that shares its
       weights runs such a block many times.
    4. Else the layers with parameters, without normalisation and without a final linear head.

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
    modules = dict(parts(unwrap(model)))
    blocks = _outermost(_members(modules, plain=False), modules)
    plain = _outermost(_members(modules, plain=True), modules)
    if plain and all(_inside(b, plain) for b in blocks):
        kinds = Counter(type(modules[p]) for p in plain)
        alike = [p for p in plain if kinds[type(modules[p])] >= 2]  # heads may be alike, too
        stages = not blocks or any(_inside(b, alike) for b in blocks)
        if stages and not any(len(_stack(p, modules, CONTAINERS)) >= 2 for p in plain):
            blocks = plain
    if blocks:
        return _unfolded(blocks, modules)
    activations = [k for k, m in modules.items() if isinstance(m, _ACTIVATIONS)]
    if len(activations) >= 2:
        return activations
    alone = _alone(modules)
    if alone:
        return alone
    weighted = [k for k, m in modules.items() if k and is_leaf(m) and not isinstance(m, _NORMS)]
    if len(weighted) > 1 and isinstance(modules[weighted[-1]], nn.Linear):
        weighted.pop()
    if not weighted:
        raise LayerNotFoundError(
            f"layers: found nothing to watch in {type(model).__name__}; name the layers yourself, "
            "list_layers(model, example) shows them"
        )
    return weighted


def _inside(block: str, outer: list[str]) -> bool:
    return any(block.startswith(f"{o}.") for o in outer)


def _members(modules: dict[str, nn.Module], plain: bool) -> list[str]:
    """Composite parts of containers, or with ``plain`` those that are attributes of a module."""
    found = []
    for name, module in modules.items():
        container = isinstance(module, CONTAINERS) or _runs_its_parts(module)
        if container is plain or (plain and isinstance(module, nn.MultiheadAttention)):
            continue
        for key, child in module.named_children():
            full = f"{name}.{key}" if name else key
            if full in modules and not isinstance(child, CONTAINERS) and _composite(child):
                found.append(full)
    return found


def _runs_its_parts(module: nn.Module) -> bool:
    """Whether it is a ModuleDict with a ``forward`` of its own, as backbones of torchvision are."""
    return isinstance(module, nn.ModuleDict) and type(module).forward is not nn.ModuleDict.forward


def _alone(modules: dict[str, nn.Module]) -> list[str]:
    """Outermost composite parts that are the only ones of a ModuleList, if they are the model."""
    found: list[str] = []
    for name, module in modules.items():
        names = [f"{name}.{key}" if name else key for key, _ in module.named_children()]
        if isinstance(module, nn.ModuleList) and len(names) == 1 and names[0] in modules:
            if _composite(modules[names[0]]) and not _inside(name, found):
                found += names
    tables = [name for name, module in modules.items() if isinstance(module, nn.Embedding)]
    inside = [t for t in tables if _inside(t, found)]
    total = _weight([""], modules) - _weight(tables, modules)
    share = _weight(found, modules) - _weight(inside, modules)
    return found if found and share >= _MOSTLY * total else []


def _composite(module: nn.Module) -> bool:
    """Whether a module has layers inside."""
    return not is_leaf(module) and next(module.children(), None) is not None


def _outermost(blocks: list[str], modules: dict[str, nn.Module]) -> list[str]:
    """The outermost blocks of the first level on which two are of one kind."""
    while blocks:
        outer = [b for b in blocks if not _inside(b, blocks)]
        if max(Counter(type(modules[b]) for b in outer).values()) >= 2:
            return outer
        blocks = [b for b in blocks if b not in outer]
    return []


def _weight(names: list[str], modules: dict[str, nn.Module]) -> int:
    """Number of weights in these modules."""
    return sum(p.numel() for name in names for p in modules[name].parameters())


def _unfolded(blocks: list[str], modules: dict[str, nn.Module]) -> list[str]:
    """Blocks, with every stage replaced by the blocks that it runs one after the other."""
    inner = {block: _stack(block, modules, (nn.Sequential,)) for block in blocks}
    if not all(inner.values()):
        return blocks
    return [name for block in blocks for name in inner[block]]


def _stack(block: str, modules: dict[str, nn.Module], kinds: tuple[type, ...]) -> list[str]:
    """Blocks of one kind and about one size in a container that is most of a module, if any."""
    total = _weight([block], modules)
    for key, child in modules[block].named_children():
        if not isinstance(child, kinds):
            continue
        names = [f"{block}.{key}.{k}" for k, m in child.named_children() if _composite(m)]
        sizes = [_weight([name], modules) for name in names]
        alike = len({type(modules[name]) for name in names}) == 1
        if alike and max(sizes) <= _ALIKE * min(sizes) and sum(sizes) >= _MOSTLY * total:
            return names
    return []
