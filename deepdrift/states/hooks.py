"""Record hidden states with forward hooks. The only file that touches them.

A recorder stores one pooled ``(N, D)`` copy per watched layer and forward pass, in execution
order. It never breaks the pass it listens to: what goes wrong is kept and raised on reading.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deepdrift.errors import StateError
from deepdrift.states.forward import unwrap
from deepdrift.states.layers import as_names, auto_layers, find_layer, refuse_twins, remove_hooks
from deepdrift.states.pooling import (
    Pooling,
    check_layout,
    check_method,
    find_tensor,
    layout_of,
    pool,
    sequence_layout,
)


class States(Mapping[str, Tensor]):
    """Layer name -> state ``(N, D)`` of the last forward pass, float32, in execution order.

    A layer that ran twice (a shared module) is stored as ``name`` and ``name#2``.
    """

    def __init__(self, layers: Sequence[str]) -> None:
        self.layers = tuple(layers)
        self.previous: dict[str, Tensor] = {}  # of the forward pass before the last
        self._values: dict[str, Tensor] = {}
        self._error: Exception | None = None
        self._forwards = 0

    def _begin(self) -> None:
        self.previous, self._values, self._error = self._values, {}, None
        self._forwards += 1

    def forget(self) -> None:
        """Drop what was recorded, so that the next pass has no predecessor."""
        self.previous, self._values, self._error = {}, {}, None

    def check(self) -> States:
        """Return self, or raise what went wrong during the last forward pass.

        Raises
        ------
        StateError
            If a layer's output could not be pooled, or no watched layer ran.
        """
        if self._error is not None:
            raise StateError(str(self._error)) from self._error
        if not self._values:
            raise StateError(
                "no hidden state was recorded: "
                + ("run the model first" if not self._forwards else "none of the layers ran")
                + "; hooks do not fire in a model that torch.compile, torch.jit or a direct "
                ".forward() call runs without them: watch the model before its first compiled "
                "call, and call model(x)"
            )
        return self

    def __getitem__(self, layer: str) -> Tensor:
        if layer in self.check()._values:
            return self._values[layer]
        if layer in self.layers:
            raise StateError(
                f"layer {layer!r} did not run in the last forward pass; these did: "
                + ", ".join(self._values)
            )
        raise KeyError(f"{layer!r} is not watched; watched: {', '.join(self.layers)}")

    def __iter__(self) -> Iterator[str]:
        if self._error is not None:
            self.check()
        return iter(tuple(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{k}: {tuple(v.shape)}" for k, v in self._values.items())
        return f"States({shapes})"


def _inert(*_: Any) -> None:
    """What a copied or unpickled hook turns into: nothing."""


def _make_inert() -> Any:
    return _inert


class _Hook:
    """Calls one method of a recorder while that is alive; a copy of the model gets `_inert`."""

    def __init__(self, recorder: Recorder, method: str, *args: Any) -> None:
        self._recorder, self._method, self._args = weakref.ref(recorder), method, args

    def __call__(self, module: nn.Module, inputs: Any, output: Any = None) -> None:
        recorder = self._recorder()
        if recorder is not None:
            getattr(recorder, self._method)(*self._args, module, output)

    def __deepcopy__(self, memo: dict) -> Any:
        return _inert

    def __reduce__(self) -> Any:
        return _make_inert, ()


class Recorder(AbstractContextManager["States"]):
    """Hooks on some layers of one model; `record` explains the arguments."""

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str] | None = None,
        pooling: Pooling = "auto",
        *,
        layout: str = "auto",
    ) -> None:
        network = unwrap(model)
        self._pooling, self._layout = check_method(pooling), check_layout(layout)
        names = as_names(auto_layers(network) if layers is None else layers)
        modules = {name: find_layer(network, name) for name in names}
        refuse_twins(modules)
        self.states = States(names)
        self._sequence = {k: sequence_layout(network, m) for k, m in modules.items()}
        self._running: list[int] = []  # which of the roots below are in their forward pass
        self._outside = False
        self._handles: list[RemovableHandle] = []
        roots = [network] if model is network else [model, network]
        for i, root in enumerate(roots):
            self._handles += [
                root.register_forward_pre_hook(_Hook(self, "_enter", i), prepend=True),
                root.register_forward_hook(_Hook(self, "_leave", i), always_call=True),
            ]
        for name, module in modules.items():
            self._handles.append(module.register_forward_hook(_Hook(self, "_store", name)))
        self._finalizer = weakref.finalize(self, remove_hooks, self._handles)

    def __enter__(self) -> States:
        return self.states

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove every hook; the states that were read stay valid. May be called twice."""
        self._finalizer()

    @property
    def closed(self) -> bool:
        """Whether the hooks are gone."""
        return not self._finalizer.alive

    def _enter(self, root: int, *_: Any) -> None:
        if _in_backward():  # activation checkpointing runs the forward pass once more
            return
        if root in self._running:  # its last pass never left: KeyboardInterrupt
            self._running.clear()
        if not self._running:
            self.states._begin()
        self._running.append(root)

    def _leave(self, root: int, *_: Any) -> None:
        if root in self._running:
            del self._running[self._running.index(root) :]
        self._outside = False

    def _store(self, name: str, module: nn.Module, output: Any) -> None:
        if _in_backward():
            return
        states = self.states
        if not self._running:  # a submodule was called directly, not through the model
            if not self._outside or name in states._values:
                states._begin()
            self._outside = True
        key, count = name, 1
        while key in states._values:
            count += 1
            key = f"{name}#{count}"
        try:
            tensor = find_tensor(output)
            layout = self._layout
            unknown = layout == "auto" or len(layout) != tensor.ndim
            if unknown and not callable(self._pooling):
                layout = layout_of(module, tensor, self._sequence[name])
            states._values[key] = pool(tensor, layout, self._pooling)
        except Exception as error:  # the user's forward pass must go on
            states._error = states._error or StateError(f"layer {name!r}: {error}")


def record(
    model: nn.Module,
    layers: Sequence[str] | None = None,
    pooling: Pooling = "auto",
    *,
    layout: str = "auto",
) -> Recorder:
    """Record hidden states of a model while a ``with`` block lasts.

    Parameters
    ----------
    model : nn.Module
        Stays as it is: device, mode, parameters and outputs are not touched.
    layers : sequence of str, optional
        Names as in ``model.named_modules()``; a number may index into a Sequential or ModuleList
        (``encoder.layers.5``). Default: `auto_layers`.
    pooling : str or callable
        How positions are reduced, see `deepdrift.states.pooling.pool`.
    layout : str
        Meaning of the axes where it cannot be known, for example ``"TND"`` or ``"NHWC"``; it
        applies to outputs with that many axes.

    Returns
    -------
    Recorder
        Entering it gives `States`: layer -> ``(N, D)`` float32 copy, detached, in execution
        order, replaced by every forward pass. Hooks go on leaving the block, also by an error.

    Raises
    ------
    LayerNotFoundError
        For unknown names (the nearest real ones are listed), or if there is nothing to watch.
    StateError
        On reading, if a layer's output could not be pooled or no layer ran.

    Examples
    --------
    >>> double = nn.Linear(2, 2, bias=False)
    >>> _ = double.weight.data.copy_(2 * torch.eye(2))
    >>> model = nn.Sequential(nn.Identity(), double)
    >>> with record(model, ["0", "1"]) as states:
    ...     _ = model(torch.tensor([[1.0, -3.0]]))
    >>> dict(states)
    {'0': tensor([[ 1., -3.]]), '1': tensor([[ 2., -6.]])}
    """
    return Recorder(model, layers, pooling, layout=layout)


def _in_backward() -> bool:
    # a recomputed pass has gradients on; what follows would break a compiled graph
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    task = getattr(torch._C, "_current_graph_task_id", None)
    return task is not None and task() != -1
