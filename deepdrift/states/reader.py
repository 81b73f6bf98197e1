"""From what a layer returned to its state: axes, padding, rows.

The axes are settled in a first pass (`deepdrift.states.first_pass`) and kept; later passes look
them up.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deepdrift.errors import StateError
from deepdrift.states import padding
from deepdrift.states.layers import find_layer
from deepdrift.states.layout import Axes, axes_of, said_of, static_axes
from deepdrift.states.outputs import find_tensor, unpack
from deepdrift.states.owners import mask_of
from deepdrift.states.passes import Pass
from deepdrift.states.pooling import (
    IMAGES,
    Layouts,
    Pooling,
    check_layouts,
    check_method,
    pool,
)
from deepdrift.states.probe import time_first
from deepdrift.states.rows import check_rows
from deepdrift.states.transforms import bare


class Settled(NamedTuple):
    """How the state of one layer is made: of so many axes, the mean over some or a copy."""

    ndim: int
    layout: str
    positions: tuple[int, ...] | None


class StateReader:
    """How the outputs of the watched layers of one network are read."""

    def __init__(
        self,
        network: nn.Module,
        watched: list[str],
        pooling: Pooling,
        layout: Layouts,
        check_rows: bool,
    ) -> None:
        self._network = network
        self._pooling = check_method(pooling)
        self._layouts = check_layouts(layout, watched)
        self._rows_are_known = check_rows
        self._own = {id(m): name for name, m in network.named_modules()}
        self._plans: dict[tuple[str, int], Axes] = {}
        self._settled: dict[str, Settled] = {}  # what `_state` need not work out again
        self._methods: dict[str, Pooling] = {}  # of the output layer, where it is known
        self._orientation: str | None = None  # of the model's inputs: batch or time first
        self._time_first = any(time_first(m) for m in network.modules())
        self._owners: dict[str, list[str]] = {}  # layer -> modules around it that take masks
        self._takes_masks = False  # whether the model can be told of padding
        self._said: set[str] = set()
        self.answer: tuple[int, ...] | None = None  # of the model, for all rows of a batch

    def _settled_state(self, current: Pass, key: str, output: Any) -> Tensor | None:
        """`_state` where nothing is left to decide; None if something may be."""
        known = self._settled.get(key)
        if (
            known is None
            or type(output) is not Tensor
            or output.dtype is not torch.float32
            or output.ndim != known.ndim
            or output.is_nested
            or current.probe is not None
            or current.compiled
            or current.transformed
        ):
            return None
        if output.requires_grad:
            output = output.detach()
        state = output.clone() if known.positions is None else output.mean(known.positions)
        if current.rows != state.shape[0] and self._rows_are_known:
            return None
        current.layouts[key] = known.layout
        return state

    def _state(self, current: Pass, name: str, key: str, module: nn.Module, output: Any) -> Tensor:
        output, keep = unpack(output)
        tensor, padded = find_tensor(output), keep is not None
        if current.transformed:
            tensor = bare(tensor)
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
            current.probe.returns(tensor, current.layouts.get(key))
            current.shapes[key] = tuple(tensor.shape)
            return state
        self._check_rows(current, name, state, tuple(tensor.shape))
        if not callable(method) and not torch.compiler.is_compiling():
            self._remember(key, layout, method, tensor)
        return state

    def _remember(self, key: str, layout: str, method: Pooling, tensor: Tensor) -> None:
        """Keep what the state was made of, if no mask and no size of the input can change it."""
        averaged = layout in IMAGES and method != "flatten"
        named = self._layouts.get(key.split("#")[0], "auto") == layout
        if (averaged or layout == "ND") and (named or (key, tensor.ndim) in self._plans):
            if tensor.ndim == len(layout):
                self._settled[key] = Settled(tensor.ndim, layout, IMAGES.get(layout))

    def _check_rows(self, current: Pass, name: str, state: Tensor, shape: tuple[int, ...]) -> None:
        given = self._layouts.get(name, "auto")
        rows = current.rows if self._rows_are_known else None
        if rows is None or current.outside or len(state) == rows:
            return
        if given == "TND" and len(state) == (*current.shape, 0, 0)[1]:
            return  # the user says that time comes first
        if given == "NTD" and current.shape[:1] == (len(state),):
            return  # or samples, in a model that takes them for time
        unnamed = "" if given != "auto" else name
        check_rows(len(state), shape, rows, current.shape, self.answer, unnamed)

    def _layout(self, current: Pass, name: str, key: str, module: nn.Module, tensor: Tensor) -> str:
        shape = tuple(tensor.shape)
        plan = self._plans.get((key, tensor.ndim))
        probe = current.probe
        if probe is not None:
            own = self._own[id(module)]
            if any(leaf.axis is not None or leaf.fault for leaf in probe.leaves):
                as_it_was, given = tensor is probe.last, probe.axis_given(own, shape)
                plan = axes_of(module, shape, probe.leaves, probe.inside(own), as_it_was, given)
            else:
                plan = static_axes(self._network, module, shape)
            self._plans[key, tensor.ndim] = plan
            self._settled.pop(key, None)
            if plan.doubtful:
                self._say(name, said_of(plan, name, shape))
        elif plan is None:
            others = [p for (k, n), p in self._plans.items() if k == key and n > 1]
            if others and len(others[0].layout) == tensor.ndim + 1:
                other = others[0]
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

    def doubts_axes(self, key: str, ndim: int) -> bool:
        """Whether the axes of a layer's output could be read in another way as well."""
        plan = self._plans.get((key, ndim))
        return plan is not None and plan.doubtful

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
        keep, owner = current.given, None
        if keep is None:
            keep, owner = mask_of(self._owners[name], current.masks, current.decoding)
        if keep is None and current.lengths is not None:
            found = padding.lengths_mask(current.lengths)
            if found.shape == (n, length):
                return found.to(tensor.device)
        if keep is None:
            return None
        if len(keep) == n and keep.shape[1] > length == (*current.shape, 0, 0)[1]:
            keep = keep[:, -length:]  # what came before lies in the model's cache
        if owner is not None and keep.shape[1] > length:
            fewer = padding.shrunk(self._network.get_submodule(owner), keep, length)
            keep = keep if fewer is None else fewer
        if keep.shape == (n, length):
            if keep.device.type == "cpu" and not torch.compiler.is_compiling():
                self._say_if_empty(keep)
            return keep.to(tensor.device)
        if current.given is not None:
            raise StateError(
                f"mask: expected (samples, tokens) = ({n}, {length}), got {tuple(keep.shape)}"
            )
        other_way = current.probe is not None and layout == "TND"
        if length > 1 and not other_way and current.rows in (None, n):  # other rows are refused
            current.doubt(name, padding.misfit(name, keep, length), ~keep.all())
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

    def _own_name(self, key: str) -> str:
        """The network's own name of a layer, of whichever call."""
        return self._own[id(find_layer(self._network, key.split("#")[0]))]
