"""What can be watched in a model: every layer that runs, with its shape, layout and width."""

from __future__ import annotations

from typing import Any

from torch import nn

from deepdrift.errors import StateError
from deepdrift.states.blocks import parts
from deepdrift.states.forward import Forward, run_quietly, unwrap
from deepdrift.states.hooks import Recorder
from deepdrift.states.layers import LayerInfo, remove_hooks
from deepdrift.states.outputs import find_tensor, unpack


def list_layers(
    model: nn.Module, example: Any, *, forward: Forward | None = None
) -> list[LayerInfo]:
    """What can be watched: every layer that runs on ``example``, in execution order.

    A layer is listed when it has finished, so a block follows its parts. Where two readings of its
    axes are possible, a warning says so and a question mark follows the layout. One forward pass in
    evaluation mode; the model and the random generators are left as they were.

    Parameters
    ----------
    model : nn.Module
    example : Tensor, tuple or dict
        A batch the model accepts, as a loader yields it.
    forward : callable, optional
        ``forward(model, batch)`` runs the model on a batch of another form.

    Examples
    --------
    >>> import torch
    >>> model = nn.Sequential(nn.Linear(3, 5), nn.ReLU())
    >>> for layer in list_layers(model, torch.zeros(2, 3)):
    ...     print(*layer)
    0 Linear (2, 5) ND 5
    1 ReLU (2, 5) ND 5
    """
    network, found = unwrap(model), []
    named = {name: module for name, module in parts(network) if name}
    if not named:
        return []

    def note(name: str, module: nn.Module, output: Any) -> None:
        shape = None
        try:
            tensor = find_tensor(unpack(output)[0])
            shape = tuple(tensor.shape)
        except (StateError, RuntimeError):
            pass  # listed without a shape; the pass goes on
        found.append((name, type(module).__name__, shape))

    recorder = Recorder(network, list(named))
    with recorder:
        handles = [
            module.register_forward_hook(lambda m, _, out, name=name: note(name, m, out))
            for name, module in named.items()
        ]
        try:
            run_quietly(network, example, forward)
        finally:
            remove_hooks(handles)
        return [_info(recorder, *entry) for entry in _numbered(found)]


def _numbered(found: list[tuple[str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Entries with the key under which a recorder keeps them: a second call is ``name#2``."""
    count: dict[str, int] = {}
    keyed = []
    for name, kind, shape in found:
        count[name] = count.get(name, 0) + 1
        keyed.append((name if count[name] == 1 else f"{name}#{count[name]}", name, kind, shape))
    return keyed


def _info(recorder: Recorder, key: str, name: str, kind: str, shape: Any) -> LayerInfo:
    current = recorder.states.current()
    state = None if current is None else current.values.get(key)
    if current is None or state is None or key in current.errors:
        return LayerInfo(name, kind, shape, None if shape is None else "?")
    layout = current.layouts.get(key)
    doubt = "?" if layout is not None and recorder.doubts_axes(key, len(layout)) else ""
    return LayerInfo(name, kind, shape, layout and layout + doubt, state.shape[1])
