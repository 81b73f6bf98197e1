"""What a first pass settles: axes, breaks in the chain, and the layer that makes the output."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from deepdrift.errors import StateError
from deepdrift.states.head import head_of
from deepdrift.states.layers import find_layer, remove_hooks
from deepdrift.states.passes import NotCalledError, Pass, States
from deepdrift.states.probe import Probe, time_first
from deepdrift.states.reader import StateReader
from deepdrift.states.rows import answer_for_many, run_one_by_one


class FirstPass(StateReader):
    """A reader that learns from the probe of a first pass."""

    states: States
    output: str | None
    _find_output: bool

    def __init__(self, *how: Any) -> None:
        super().__init__(*how)
        self.breaks: frozenset[str] = frozenset()  # layers that do not go on from the one before
        self._probes: list[RemovableHandle] = []
        self._lock = threading.Lock()

    def set_output(self, name: str | None) -> None:
        """Watch this layer as the one that makes the output, instead of the one before."""
        raise NotImplementedError

    @property
    def learning(self) -> bool:
        """Whether the next pass is a first pass still."""
        return bool(self._probes)

    def sample_axis(self, n: int) -> int:
        """Axis of the model's inputs on which n samples stand, after a pass."""
        current = self.states.current()
        shape = () if current is None else current.shape
        return 1 if self._orientation == "time" and shape[1:2] == (n,) else 0

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Passes inside leave neither states nor anything said."""
        said = set(self._said)
        try:
            with self.states.aside():
                yield
        finally:
            self._said = said

    def _learn(self, current: Pass, output: Any) -> None:
        """Settle axes, towers and the output layer; then the probe has done its work."""
        probe, current.probe = current.probe, None
        if output is None or probe is None or (current.transformed and current.errors):
            return  # the pass broke off, or was none of samples
        recorded = bool(current.values or current.errors)
        ran = {key.split("#")[0] for key in (*current.values, *current.errors)}
        for name in self.states.layers:
            parts = [] if name in ran else probe.around_parts(self._own_name(name))
            if parts:
                self.states.not_called[name] = current.errors[name] = NotCalledError(parts)
        if not recorded:
            return
        orientation = probe.orientation(current.shape)
        if orientation == "time":
            current.rows, current.input = current.shape[1], None
        if self._rows_are_known and len(current.shape) != 1:
            self.answer = answer_for_many(output, current.rows)
        tie = self._settle(current, probe, orientation)
        with self._lock:
            if tie or not self._probes:
                return
            self._orientation = orientation
            order = [key for key in current.values if key.split("#")[0] != self.output]
            calls = [(self._own_name(key), key.partition("#")) for key in order]
            links = probe.links([f"{own}{mark}{n}" for own, (_, mark, n) in calls])
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
        self._name_loops(current)
        return tie

    def _name_loops(self, current: Pass) -> None:
        """Say of layers that ran once for each sample that this is why they have no rows."""
        calls = Counter(key.split("#")[0] for key in {*current.values, *current.errors} if key)
        for key, error in current.errors.items():
            n = calls[key.split("#")[0]]
            one = current.shapes.get(key, (1,))[:1] == (1,)
            if one and n > 1 and n == current.rows and isinstance(error, StateError):
                current.errors[key] = run_one_by_one(n)

    def _is_time_first(self, module: nn.Module) -> tuple[bool, bool]:
        """Surely (by PyTorch's own modules), and probably (it holds attention of that kind)."""
        around = [m for m in self._network.modules() if any(p is module for p in m.modules())]
        sure = any(time_first(m) for m in around)
        attention = getattr(module, "self_attn", getattr(module, "attn", None))
        likely = sure or (isinstance(attention, nn.Module) and time_first(attention))
        return sure, likely or any(time_first(m) for m in module.modules())

    def _choose_output(self, current: Pass, probe: Probe, output: Any) -> None:
        rows = current.rows if self._rows_are_known else None
        found = head_of(probe.heads, output, rows)
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
