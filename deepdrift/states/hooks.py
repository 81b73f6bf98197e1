"""Record hidden states with forward hooks. The only file that touches them, with `probe`.

A recorder stores one pooled ``(N, D)`` copy per watched layer and forward pass, in execution
order. It never breaks the pass it listens to: what goes wrong is kept and raised on reading.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from deepdrift.errors import LayerNotFoundError, StateError
from deepdrift.states import padding
from deepdrift.states.blocks import auto_layers, parts
from deepdrift.states.forward import unwrap
from deepdrift.states.layers import as_names, find_layer, refuse_twins, remove_hooks
from deepdrift.states.layout import Axes, axes_of, static_axes
from deepdrift.states.passes import Pass, States, ancestors
from deepdrift.states.pooling import (
    Layouts,
    Pooling,
    check_layouts,
    check_method,
    find_tensor,
    pool,
    unpack,
)
from deepdrift.states.probe import Probe, listeners, time_first


def _inert(*_: Any, **__: Any) -> None:
    """What a copied or unpickled hook turns into: nothing."""


def _make_inert() -> Any:
    return _inert


class _Hook:
    """Calls one method of a recorder while that is alive; a copy of the model gets `_inert`."""

    def __init__(self, recorder: Recorder, method: str, *args: Any) -> None:
        self._recorder, self._method, self._args = weakref.ref(recorder), method, args

    def __call__(self, module: nn.Module, *values: Any) -> None:
        recorder = self._recorder()
        if recorder is not None:
            getattr(recorder, self._method)(*self._args, module, *values)

    def __deepcopy__(self, memo: dict) -> Any:
        return _inert

    def __reduce__(self) -> Any:
        return _make_inert, ()


class Recorder(AbstractContextManager["States"]):
    """Hooks on some layers of one model; `record` explains the arguments.

    Parameters
    ----------
    output : str, optional
        Layer that makes the logits. With ``find_output`` it is a guess, which the first pass
        corrects: ``recorder.output`` then names the linear layer whose numbers the model returned.
    check_rows : bool
        Whether the inputs of a pass say how many samples there are.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str] | None = None,
        pooling: Pooling = "auto",
        *,
        layout: Layouts = "auto",
        mask: padding.MaskSource = None,
        output: str | None = None,
        find_output: bool = False,
        check_rows: bool = True,
    ) -> None:
        self._network = network = unwrap(model)
        self.automatic = layers is None
        names = as_names(auto_layers(network) if layers is None else layers)
        self.output, self._find_output = output, find_output
        watched = names if output is None else [*names, output]
        modules = {name: find_layer(network, name) for name in watched}
        refuse_twins(modules)
        self._pooling = check_method(pooling)
        self._layouts = check_layouts(layout, watched)
        self._mask, self._rows_are_known = mask, check_rows
        self.states = States(watched)
        self._own = {id(m): name for name, m in network.named_modules()}
        self._plans: dict[tuple[str, int], Axes] = {}
        self._methods: dict[str, Pooling] = {}  # of the output layer, where it is known
        self._orientation: str | None = None
        self.breaks: frozenset[str] = frozenset()  # layers that do not go on from the one before
        self._said: set[str] = set()
        self._lock = threading.Lock()
        self._time_first = any(time_first(m) for m in network.modules())
        self._handles: list[RemovableHandle] = []
        self._probes: list[RemovableHandle] = []
        self._by_layer: dict[str, RemovableHandle] = {}
        self._owners: dict[str, list[str]] = {}
        roots = [network] if model is network else [model, network]
        for i, root in enumerate(roots):
            enter, leave = _Hook(self, "_enter", i), _Hook(self, "_leave", i)
            self._handles += [
                root.register_forward_pre_hook(enter, prepend=True, with_kwargs=True),
                root.register_forward_hook(leave, always_call=True),
            ]
        own = {self._own[id(m)]: m for m in modules.values()}
        for module, note, name in listeners(network, own):
            hook = _Hook(self, "_listen", note, name)
            self._probes.append(
                module.register_forward_hook(hook)
                if note == "ran"
                else module.register_forward_pre_hook(hook, with_kwargs=True)
            )
        self._watch_masks(modules)
        for name, module in modules.items():  # after the probes: a layer has a say on itself
            self._watch(name, module)
        self._finalizer = weakref.finalize(self, _remove_all, self._handles, self._probes)

    def _watch(self, name: str, module: nn.Module) -> None:
        handle = module.register_forward_hook(_Hook(self, "_store", name))
        self._by_layer[name] = handle
        self._handles.append(handle)

    def _watch_masks(self, modules: Mapping[str, nn.Module]) -> None:
        """Listen to the masks of modules around the watched layers, and to packed sequences."""
        every = dict(parts(self._network))
        owners: dict[str, padding.Owner | None] = {}
        for name, module in modules.items():
            around = ancestors(self._own[id(module)], every)
            for other in around:
                if other not in owners:
                    owners[other] = padding.owner_of(every[other])
            self._owners[name] = [other for other in around if owners[other] is not None]
        for name, owner in owners.items():
            if owner is not None:
                hook = _Hook(self, "_take_mask", name, owner)
                self._handles.append(every[name].register_forward_pre_hook(hook, with_kwargs=True))
        for module in every.values():
            if isinstance(module, nn.RNNBase):
                hook = _Hook(self, "_take_lengths")
                self._handles.append(module.register_forward_pre_hook(hook))

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

    def drop(self, names: Sequence[str]) -> None:
        """Watch these layers no longer."""
        for name in names:
            handle = self._by_layer.pop(name)
            handle.remove()
            self._handles.remove(handle)
        self.states.layers = tuple(k for k in self.states.layers if k not in names)
        current = self.states.current()
        if current is not None:
            for held in (current.values, current.errors):
                for key in [k for k in held if k.split("#")[0] in names]:
                    del held[key]

    @property
    def may_change_output(self) -> bool:
        """Whether the output layer is still a guess."""
        return self._find_output and bool(self._probes)

    def set_output(self, name: str | None) -> None:
        """Watch this layer as the one that makes the output, instead of the one before."""
        self._find_output = False
        if name == self.output:
            return
        module = None if name is None else find_layer(self._network, name)
        if self.output is not None:
            self.drop([self.output])
        self.output = name
        if name is not None and module is not None:
            self.states.layers = (*self.states.layers, name)
            self._watch_masks({name: module})
            self._watch(name, module)

    # ---- one pass ----

    def _enter(self, root: int, _: nn.Module, args: tuple, kwargs: dict) -> None:
        if _in_backward():  # activation checkpointing runs the forward pass once more
            return
        current = self.states.current()
        if current is not None and root in current.running:
            current.running.clear()  # its last pass never left: KeyboardInterrupt
        if current is None or not current.running:
            current = self.states.begin()
            try:
                current.training = self._network.training
                current.rows, current.shape = padding.count_rows(args, kwargs)
                if self._orientation == "time":
                    current.rows = current.shape[1]
                if not torch.compiler.is_compiling() and self._probes:
                    current.probe = Probe([*args, *kwargs.values()])
                current.given = padding.given_mask(self._mask, args, kwargs)
            except Exception as error:
                current.errors[""] = error
        current.running.append(root)

    def _leave(self, root: int, _: nn.Module, __: Any, output: Any) -> None:
        current = self.states.current()
        if current is None:
            return
        if root in current.running:
            del current.running[current.running.index(root) :]
        current.outside = False
        if current.probe is not None and not current.running:
            try:
                self._learn(current, output)
            except Exception as error:
                current.errors.setdefault("", error)

    def _listen(self, note: str, name: str, module: nn.Module, *values: Any) -> None:
        """Hand what a module was given or returned to the probe of a first pass."""
        if torch.compiler.is_compiling() or _in_backward():
            return
        current = self.states.current()
        if current is not None and current.probe is not None and current.running:
            getattr(current.probe, note)(name, module, *values)

    def _take_mask(
        self, name: str, owner: padding.Owner, _: nn.Module, args: tuple, kwargs: dict
    ) -> None:
        current = self.states.current()
        if current is None or _in_backward():
            return
        place = owner.position
        mask = args[place] if place < len(args) else kwargs.get(owner.argument)
        if mask is None:
            current.masks[name] = None
        elif isinstance(mask, Tensor) and mask.ndim == 2 and not mask.is_nested:
            current.masks[name] = padding.as_keep(mask, owner.keeps)

    def _take_lengths(self, _: nn.Module, inputs: tuple) -> None:
        current = self.states.current()
        if current is not None and inputs and isinstance(inputs[0], PackedSequence):
            current.lengths = padding.packed_lengths(inputs[0])

    def _store(self, name: str, module: nn.Module, _: Any, output: Any) -> None:
        if _in_backward():
            return
        current = self.states.current()
        if current is None or not current.running:  # called directly, not through the model
            if current is None or not current.outside or name in current.values:
                current = self.states.begin()
            current.outside = True
        key, count = name, 1
        while key in current.values or key in current.errors:
            count += 1
            key = f"{name}#{count}"
        try:
            current.values[key] = self._state(current, name, key, module, output)
        except Exception as error:  # the user's forward pass must go on
            current.errors[key] = error

    def _state(self, current: Pass, name: str, key: str, module: nn.Module, output: Any) -> Tensor:
        output, keep = unpack(output)
        tensor, padded = find_tensor(output), keep is not None
        method = self._methods.get(name, self._pooling)
        if callable(method):
            state = pool(tensor, "auto", method)
        else:
            given = self._layouts.get(name, "auto")
            if given != "auto" and len(given) == tensor.ndim:
                layout = given
            elif padded:
                layout = "NTD"
            else:
                layout = self._layout(current, name, key, module, tensor)
            current.layouts[key] = layout
            if keep is None:
                keep = self._keep(current, name, layout, tensor)
            state = pool(tensor, layout, method, keep)
            both = layout == "NTD" and self._time_first and not padded and given == "auto"
            if current.probe is not None and both:
                other = self._keep(current, name, "TND", tensor)
                current.probe.both_ways[key] = pool(tensor, "TND", method, other)
        if current.probe is not None:  # the first pass must end before rows can be told
            current.shapes[key] = tuple(tensor.shape)
            return state
        self._check_rows(current, name, state, tuple(tensor.shape))
        return state

    def _check_rows(self, current: Pass, name: str, state: Tensor, shape: tuple[int, ...]) -> None:
        given = self._layouts.get(name, "auto")
        rows = current.rows if self._rows_are_known else None
        if rows is None or current.outside or len(state) == rows:
            return
        if given == "TND" and len(state) == (*current.shape, 0, 0)[1]:
            return  # the user says that time comes first
        if len(current.shape) == 1:
            raise StateError(
                f"its output of shape {shape} has {len(state)} rows for an input of shape "
                f"{current.shape}, which has no batch axis: for one sample pass x[None], for a "
                "data set a DataLoader"
            )
        if len(current.shape) == 3 and len(shape) == 3 and given == "auto":
            hint = ", or the input has no batch axis (for a data set pass a DataLoader)"
        else:
            hint = ""
        raise StateError(
            f"its output of shape {shape} has {len(state)} rows for {rows} samples (input of shape "
            f"{current.shape}): a row must be a sample, and these are windows, crops, tokens, "
            f"nodes or boxes{hint}. Watch the layer around it, name the axes with layout=, or give "
            "pooling= a function that returns (samples, D)"
        )

    def _layout(self, current: Pass, name: str, key: str, module: nn.Module, tensor: Tensor) -> str:
        shape = tuple(tensor.shape)
        plan = self._plans.get((key, tensor.ndim))
        probe = current.probe
        if probe is not None:
            inside = probe.inside(self._own[id(module)])
            if probe.leaves:
                plan = axes_of(module, shape, probe.leaves, inside)
            else:
                plan = static_axes(self._network, module, shape)
            self._plans[key, tensor.ndim] = plan
            if plan.doubtful:
                self._say(
                    name,
                    f"layer {name!r}: two axes of its output {shape} are as long as the layer is "
                    f"wide ({plan.width}); taken for {plan.layout}. Say which it is with "
                    f'layout={{"{name}": "..."}}, or show it an input of another size first',
                )
        elif plan is None:
            other = next((p for (k, n), p in self._plans.items() if k == key and n > 1), None)
            if other is not None and len(other.layout) == tensor.ndim + 1:
                raise StateError(
                    f"its output has shape {shape} and one more axis ({other.layout}) before: the "
                    "input has no batch axis; for one sample pass x[None], for a data set a "
                    "DataLoader"
                )
            plan = static_axes(self._network, module, shape)
        layout = plan.layout
        if layout == "NTD" and probe is None and self._time_first:
            layout = self._oriented(current.rows, shape, plan.time_first)
        return layout

    def _oriented(self, rows: int | None, shape: tuple[int, ...], before: bool | None) -> str:
        """``NTD`` or ``TND``, by the number of samples, else as before."""
        if rows is not None and shape[0] != shape[1]:
            if shape[0] == rows:
                return "NTD"
            if shape[1] == rows:
                return "TND"
        return "TND" if before else "NTD"

    def _keep(self, current: Pass, name: str, layout: str, tensor: Tensor) -> Tensor | None:
        """Which tokens of this output are real, or None if all are."""
        if layout not in ("NTD", "TND", "NCL"):
            return None
        n = tensor.shape[layout.index("N")]
        length = tensor.shape[layout.index("L" if "L" in layout else "T")]
        keep = current.given
        if keep is None:
            for owner in self._owners[name]:
                if owner in current.masks:
                    keep = current.masks[owner]
                    break
        if keep is None and current.lengths is not None:
            found = padding.lengths_mask(current.lengths)
            if found.shape == (n, length):
                return found.to(tensor.device)
        if keep is None:
            return None
        if len(keep) == n and keep.shape[1] > length == (*current.shape, 0, 0)[1]:
            keep = keep[:, -length:]  # what came before lies in the model's cache
        if keep.shape == (n, length):
            if keep.device.type == "cpu" and not torch.compiler.is_compiling():
                self._say_if_empty(keep)
            return keep.to(tensor.device)
        if current.given is not None:
            raise StateError(
                f"mask: expected (samples, tokens) = ({n}, {length}), got {tuple(keep.shape)}"
            )
        if current.probe is None or layout != "TND":
            self._say(
                name,
                f"layer {name!r}: the mask of shape {tuple(keep.shape)} does not fit its {length} "
                "positions, so padding is averaged into its state; give mask= a function that "
                "returns (samples, positions)",
            )
        return None

    def _say_if_empty(self, keep: Tensor) -> None:
        empty = int((~keep.any(dim=1)).sum())
        if empty:
            self._say(
                "",
                f"mask: {empty} of {len(keep)} samples have no real token; their states are NaN, "
                "and they are flagged",
            )

    def _say(self, name: str, text: str) -> None:
        if name not in self._said:
            self._said.add(name)
            warnings.warn(text, UserWarning, stacklevel=2)

    # ---- what the first pass teaches ----

    def _learn(self, current: Pass, output: Any) -> None:
        """Settle axes, towers and the output layer; then the probe has done its work."""
        probe, current.probe = current.probe, None
        if output is None or not (current.values or current.errors) or probe is None:
            return  # the pass broke off
        orientation = probe.orientation(current.shape)
        if orientation == "time":
            current.rows = current.shape[1]
        tie = self._settle(current, probe, orientation)
        with self._lock:
            if tie or not self._probes:
                return
            self._orientation = orientation
            order = [key for key in current.values if key.split("#")[0] != self.output]
            links = probe.links([self._own_name(key) for key in order])
            self.breaks = frozenset(k for k, goes in zip(order[1:], links, strict=True) if not goes)
            if self._find_output:
                self._choose_output(current, probe, output)
            remove_hooks(self._probes)

    def _settle(self, current: Pass, probe: Probe, orientation: str | None) -> bool:
        """Choose between batch first and time first; whether that could not be told."""
        tie = False
        for key, swapped in probe.both_ways.items():
            name, shape = key.split("#")[0], current.shapes[key]
            module = find_layer(self._network, name)
            sure, likely = self._is_time_first(module)
            if shape[0] != shape[1] and current.rows in shape[:2]:
                first = shape[0] == current.rows
            elif shape[0] != shape[1]:
                first = not sure
            elif sure or orientation == "time":
                first = False
            elif orientation is None or likely:
                tie = True
                current.errors[key] = StateError(
                    f"its output {shape} has as many positions as samples, and the model holds "
                    "time-first layers: there is no telling which axis is which. Run an input of "
                    "another length first, or give layout='TND' (time first) or 'NTD'"
                )
                continue
            else:
                first = True
            plan = self._plans.get((key, 3))
            if plan is not None:
                self._plans[key, 3] = plan._replace(time_first=not first)
            if not first:
                current.layouts[key], current.values[key] = "TND", swapped
        for key, shape in current.shapes.items():
            try:
                self._check_rows(current, key.split("#")[0], current.values[key], shape)
            except StateError as error:
                current.errors.setdefault(key, error)
        return tie

    def _own_name(self, key: str) -> str:
        """The network's own name of a layer, of whichever call."""
        return self._own[id(find_layer(self._network, key.split("#")[0]))]

    def _is_time_first(self, module: nn.Module) -> tuple[bool, bool]:
        """Surely (by PyTorch's own modules), and probably (it holds attention of that kind)."""
        around = [m for m in self._network.modules() if any(p is module for p in m.modules())]
        sure = any(time_first(m) for m in around)
        attention = getattr(module, "self_attn", getattr(module, "attn", None))
        likely = sure or (isinstance(attention, nn.Module) and time_first(attention))
        return sure, likely or any(time_first(m) for m in module.modules())

    def _choose_output(self, current: Pass, probe: Probe, output: Any) -> None:
        found = probe.head(output, current.rows)
        if found is None or (found[0] in self.states.layers and found[0] != self.output):
            self.set_output(None)
            return
        name, method = found
        self._methods[name] = method
        self.set_output(name)
        current.values.pop(name, None)
        current.errors.pop(name, None)
        made = next(tensor for n, tensor in reversed(probe.heads) if n == name)
        current.values[name] = self._state(
            current, name, name, find_layer(self._network, name), made
        )


def never_ran(layers: Sequence[str] | str, recorded: Mapping[str, Tensor]) -> None:
    """Refuse layers that were named and did not run.

    Raises
    ------
    LayerNotFoundError
        Naming them, and what did run.
    """
    names = [layers] if isinstance(layers, str) else list(layers)
    ran = {key.split("#")[0] for key in recorded}
    missing = [name for name in names if name not in ran]
    if missing:
        raise LayerNotFoundError(
            f"layers: {', '.join(map(repr, missing))} did not run in the forward pass; leave them "
            f"out, or see list_layers(model, example). These ran: {', '.join(recorded)}"
        )


def _remove_all(*handles: list[RemovableHandle]) -> None:
    for some in handles:
        remove_hooks(some)


def record(
    model: nn.Module,
    layers: Sequence[str] | None = None,
    pooling: Pooling = "auto",
    *,
    layout: Layouts = "auto",
    mask: padding.MaskSource = None,
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
    layout : str or mapping of str to str
        Meaning of the axes where it cannot be known, for example ``"TND"`` or ``"NHWC"``, for
        all layers or by name; it applies to outputs with that many axes.
    mask : str or callable, optional
        Which tokens are real, where the model does not say so itself (``attention_mask``,
        ``src_key_padding_mask``, ``key_padding_mask`` and packed sequences are found): the name
        of an argument of the model, or a function of its inputs that returns ``(N, T)``
        booleans, True = real.

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
    return Recorder(model, layers, pooling, layout=layout, mask=mask)


def _in_backward() -> bool:
    # a recomputed pass has gradients on; what follows would break a compiled graph
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    task = getattr(torch._C, "_current_graph_task_id", None)
    return task is not None and task() != -1
