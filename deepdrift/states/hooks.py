"""Record hidden states with forward hooks, pooled to one vector a sample.

A recorder stores one pooled ``(N, D)`` copy per watched layer and forward pass, in execution
order. It never breaks the pass it listens to: what goes wrong is kept and raised on reading.
"""

from __future__ import annotations

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
from deepdrift.states.first_pass import FirstPass
from deepdrift.states.forward import unwrap
from deepdrift.states.inputs import INPUT, find_input, statistics_of
from deepdrift.states.layers import as_names, find_layer, is_moody, refuse_twins, remove_hooks
from deepdrift.states.owners import (
    DECODER,
    Owner,
    decoders_of,
    is_padded,
    owner_of,
    take,
    without_mask,
)
from deepdrift.states.passes import States, ancestors
from deepdrift.states.pooling import Layouts, Pooling
from deepdrift.states.probe import Probe, listeners
from deepdrift.states.transforms import bare, in_transform, refuse_mapped


def _inert(*_: Any, **__: Any) -> None:
    """What a copied or unpickled hook turns into: nothing."""


def _make_inert() -> Any:
    return _inert


class Uncopied:
    """A hook that stays behind: a copied or unpickled model has `_inert` in its place."""

    def __deepcopy__(self, memo: dict) -> Any:
        return _inert

    def __reduce__(self) -> Any:
        return _make_inert, ()


class _Hook(Uncopied):
    """Calls one method of a recorder while that is alive."""

    def __init__(self, recorder: Recorder, method: str, *args: Any) -> None:
        self._recorder, self._method, self._args = weakref.ref(recorder), method, args

    def __call__(self, module: nn.Module, *values: Any) -> None:
        recorder = self._recorder()
        if len(values) == 1 and self._method != "_take_lengths":
            return  # without keywords: another thread is removing this hook right now
        if recorder is not None:
            getattr(recorder, self._method)(*self._args, module, *values)


class Recorder(FirstPass, AbstractContextManager["States"]):
    """Hooks on some layers of one model; `record` explains the arguments.

    Parameters
    ----------
    output : str, optional
        Layer that makes the logits. With ``find_output`` it is a guess, which the first pass
        corrects: ``recorder.output`` then names the linear layer whose numbers the model returned.
    check_rows : bool
        Whether the inputs of a pass say how many samples there are.
    inputs : bool
        Whether `input_statistics` of what the model is given are kept; see `with_input`.
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
        inputs: bool = False,
    ) -> None:
        network = unwrap(model)
        names = as_names(auto_layers(network) if layers is None else layers)
        self.output, self._find_output = output, find_output
        watched = names if output is None else [*names, output]
        modules = {name: find_layer(network, name) for name in watched}
        refuse_twins(modules)
        super().__init__(network, watched, pooling, layout, check_rows)
        self._mask, self.inputs = mask, inputs
        self._moody = [m for m in network.modules() if is_moody(m)]
        self.states = States(watched)
        self._handles: list[RemovableHandle] = []
        self._by_layer: dict[str, RemovableHandle] = {}
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
        owners: dict[str, Owner | None] = {}
        for name, module in modules.items():
            around = ancestors(self._own[id(module)], every)
            for other in around:
                if other not in owners:
                    owners[other] = owner_of(every[other])
            self._owners[name] = [other for other in around if owners[other] is not None]
        if any(owner is not None and owner.two_sided for owner in owners.values()):
            owners |= decoders_of(every)
        self._takes_masks |= any(o is not None and (o.own or o.decoder) for o in owners.values())
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

    def with_input(self) -> dict[str, Tensor]:
        """The states of the last pass, the output's last, and `INPUT`: statistics of what went in.

        Without the latter if they are not wanted or not defined, if the model turns its inputs into
        another number of samples, or if the inputs may be sequences that are padded.

        Raises
        ------
        StateError
            As `States.check`.
        """
        current = self.states.checked()
        for name, error in current.errors.items():
            raise StateError(f"layer {name!r}: {error}") from error
        states, given = dict(current.values), current.input
        if self.output in states:  # inside a watched block it comes last in a first pass only
            states[self.output] = states.pop(self.output)
        if given is not None and current.lengths is None:
            first = next(iter(states.values()))
            if len(given) == len(first):
                if isinstance(given, list):
                    given = current.input = torch.tensor(given, dtype=torch.float32, device="cpu")
                states[INPUT] = given
        return states

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
            current = self.states.begin(current)
            try:
                current.training = self._network.training or self._trains_in_part()
                current.transformed = in_transform()
                current.rows, current.shape = padding.count_rows(args, kwargs)
                if self._orientation == "time":
                    current.rows = current.shape[1]
                if current.transformed:
                    refuse_mapped([*args, *kwargs.values()])
                if self.inputs and self._orientation != "time":
                    given = find_input(args, kwargs, current.rows)
                    if given is not None and not self._may_be_padded(given):
                        current.input = bare(statistics_of(given))
                if not torch.compiler.is_compiling() and self._probes:
                    current.probe = Probe([*args, *kwargs.values()])
                if self._mask is not None:
                    current.given = padding.given_mask(self._mask, args, kwargs)
            except Exception as error:
                current.errors[""] = error
        current.running.append(root)

    def _trains_in_part(self) -> bool:
        """Whether dropout or batch statistics are on in a model that is in evaluation mode."""
        if torch.compiler.is_compiling():
            return False
        return any(module.training for module in self._moody)

    def _may_be_padded(self, given: Tensor) -> bool:
        """Sequences of a model that takes masks; images are never padded."""
        return given.ndim < 4 and (self._mask is not None or self._takes_masks)

    def _leave(self, root: int, _: nn.Module, __: Any, output: Any) -> None:
        current = self.states.current()
        if current is None:
            return
        if root in current.running:
            current.running = current.running[: current.running.index(root)]
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
        self, name: str, owner: Owner, module: nn.Module, args: tuple, kwargs: dict
    ) -> None:
        current = self.states.current()
        if current is None or _in_backward():
            return
        taken = current.masks[name] = take(owner, args, kwargs, inner=name != "")
        current.decoding |= taken.decodes
        unmasked = taken.decodes and taken.known and taken.mask is None and current.given is None
        if unmasked and DECODER not in self.states.said:
            padded = is_padded(owner, module, args, kwargs)
            if padded is not None:
                current.doubt(DECODER, without_mask(name), padded)

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
                current = self.states.begin(current)
                current.transformed = in_transform()
            current.outside = True
        key, count = name, 1
        while key in current.values or key in current.errors:
            count += 1
            key = f"{name}#{count}"
        try:
            state = self._settled_state(current, key, output)
            if state is None:
                state = self._state(current, name, key, module, output)
            current.values[key] = bare(state) if current.transformed else state
        except Exception as error:  # the user's forward pass must go on
            current.errors[key] = error


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
            f"layers: {', '.join(map(repr, missing))} did not run in the forward pass (or the "
            "model runs them by .forward() or by their weights, where hooks do not run); leave "
            f"them out, or see list_layers(model, example). These ran: {', '.join(recorded)}"
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
