"""Listen to single modules for one call, whatever it is that calls them.

A policy is often not called as a module: ``predict`` of stable-baselines3 runs some of its parts
and never the whole. These hooks go on before one call of ours and off after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.errors import LayerNotFoundError
from deepdrift.states.blocks import _ACTIVATIONS, _NORMS, is_leaf, parts
from deepdrift.states.layers import remove_hooks

Outputs = dict[str, Tensor]


@contextmanager
def listening(
    modules: Mapping[str, nn.Module],
    *,
    graph: bool = False,
    pick: Callable[[Any], Tensor | None] | None = None,
) -> Iterator[Outputs]:
    """What these modules return while the block lasts, in the order in which they ran.

    Parameters
    ----------
    modules : mapping of str to nn.Module
    graph : bool
        Keep the outputs as they are, with their graph; otherwise detached copies.
    pick : callable, optional
        The tensor that counts in what a module returned, or None to pass over it. Default: the
        output, if it is a tensor.

    Examples
    --------
    >>> model = nn.Sequential(nn.Identity(), nn.ReLU())
    >>> with listening({"relu": model[1]}) as outputs:
    ...     _ = model(torch.tensor([[1.0, -1.0]]))
    >>> outputs
    {'relu': tensor([[1., 0.]])}
    """
    outputs: Outputs = {}

    def hook(name: str) -> Callable[..., None]:
        def store(_: nn.Module, __: Any, output: Any) -> None:
            output = output if pick is None else pick(output)
            if isinstance(output, Tensor):
                outputs[name] = output if graph else output.detach().clone()

        return store

    handles = []
    try:
        for name, module in modules.items():
            handles.append(module.register_forward_hook(hook(name)))
        yield outputs
    finally:
        remove_hooks(handles)


def hidden_leaves(model: nn.Module, call: Callable[[], Any]) -> list[str]:
    """Names of the hidden layers of a small network that one call really runs.

    The activations that run before the last layer with weights, which makes the output; without
    activations the layers with weights before it. What the output does not depend on (a value
    network beside the actor) is left out where the call has a graph that tells.

    Parameters
    ----------
    model : nn.Module
    call : callable
        Runs the model on a batch, and returns what it returns: an output, or a tuple of outputs
        of which the first one counts.

    Raises
    ------
    LayerNotFoundError
        If nothing of the kind runs.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> hidden_leaves(model, lambda: model(torch.zeros(1, 4)))
    ['1']
    """
    leaves = {k: m for k, m in parts(model) if is_leaf(m) or next(m.children(), None) is None}
    with listening(leaves, graph=True) as outputs:
        result = call()
    ran = [k for k, v in outputs.items() if v.ndim == 2 and v.is_floating_point()]
    ran = _on_the_way(ran, outputs, result)
    weighted = [k for k in ran if is_leaf(leaves[k])]
    hidden = ran[: ran.index(weighted[-1])] if weighted else []
    found = [k for k in hidden if isinstance(leaves[k], _ACTIVATIONS)]
    found = found or [k for k in hidden if k in weighted and not isinstance(leaves[k], _NORMS)]
    if not found:
        raise LayerNotFoundError(
            f"policy: {type(model).__name__} has no hidden layer with an output (N, D) that runs "
            f"when it acts (these ran: {', '.join(outputs) or 'none'}); watch the observations "
            'with of="observation", or name the layers'
        )
    return found


def _on_the_way(names: list[str], outputs: Outputs, result: Any) -> list[str]:
    """Those of the leaves that the first output depends on; all of them if no graph tells."""
    first = result[0] if isinstance(result, tuple | list) and result else result
    asked = [k for k in names if outputs[k].requires_grad]
    if not asked or not isinstance(first, Tensor) or not first.requires_grad:
        return names
    try:
        found = torch.autograd.grad(first.sum(), [outputs[k] for k in asked], allow_unused=True)
    except RuntimeError:  # changed in place: no gradient, and no word on it
        return names
    unused = {k for k, gradient in zip(asked, found, strict=True) if gradient is None}
    return [k for k in names if k not in unused]
