"""What one forward pass tells about a model: axes, towers, and the layer that makes the output.

A probe listens to all layers during the first pass of a recorder, and is gone after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from deepdrift.errors import StateError
from deepdrift.states.blocks import is_leaf, parts
from deepdrift.states.head import MOST_OUTPUTS
from deepdrift.states.layout import CHANNEL_AXIS, TIME_FIRST, Leaf, leaf
from deepdrift.states.outputs import find_tensor

_HEADS_KEPT = 8  # the last linear layers that ran; the output comes from one of them


def time_first(module: nn.Module) -> bool:
    """Whether a module of PyTorch itself takes and returns ``(T, N, D)``.

    Examples
    --------
    >>> time_first(nn.LSTM(2, 3)), time_first(nn.LSTM(2, 3, batch_first=True))
    (True, False)
    """
    if isinstance(module, nn.Transformer):
        return not module.batch_first
    if isinstance(module, nn.TransformerEncoder | nn.TransformerDecoder):
        module = module.layers[0]
    attention = getattr(module, "self_attn", module)
    return isinstance(module, TIME_FIRST) and getattr(attention, "batch_first", True) is False


class Probe:
    """What ran in one pass: leaves with their shapes, entrances of inputs, candidates for a head.

    Attributes
    ----------
    leaves : list of Leaf
        Layers with weights, as they finished.
    began : dict of str to int
        Module -> how many leaves had run when it began.
    enters : dict of str to bool
        Module -> whether it is fed by the model's inputs or by numbers of tokens.
    heads : list of (str, Tensor)
        The last linear layers that ran, with what they returned.
    """

    def __init__(self, inputs: Sequence[Any]) -> None:
        self.leaves: list[Leaf] = []
        self.last: Tensor | None = None  # what the last of them returned
        self.named: dict[str, None] = {}  # the leaves by name
        self.began: dict[str, int] = {}
        self.enters: dict[str, bool] = {}
        self.given: dict[str, Tensor | None] = {}  # first tensor that a module was given
        self._returned: tuple[Tensor | None, str | None] = None, None  # by the last watched layer
        self._given: dict[str, tuple[int | None, tuple[int, ...]]] = {}  # channel axis and shape
        self._again: dict[str, list[bool]] = {}  # was it that, in each call of a module
        self.both_ways: dict[str, Tensor] = {}  # states with the first two axes swapped
        self.seen_by_time_first: list[tuple[int, ...]] = []
        self.packed: list[int] = []  # number of sequences that were packed
        self.heads: list[tuple[str, Tensor]] = []
        self._inputs = tuple(_tensors(inputs))

    def begins(self, name: str, _: nn.Module, args: tuple, kwargs: Mapping[str, Any]) -> None:
        """Note where a module begins, and whether the model's inputs enter there."""
        self.began[name] = len(self.leaves)
        first = next(_tensors([*args, *kwargs.values()]), None)
        self.given.setdefault(name, first)
        goes_on = first is not None and first is self._returned[0]
        self._again.setdefault(name, []).append(goes_on)
        if first is not None and not first.is_nested:
            self._given[name] = self._axis_of(first), tuple(first.shape)
        self.enters[name] = first is not None and (
            not first.is_floating_point() or any(first is x for x in self._inputs)
        )

    def _axis_of(self, given: Tensor) -> int | None:
        """The channel axis of a tensor that is just what a layer before returned."""
        if given is self.last:
            return self.leaves[-1].axis
        returned, layout = self._returned
        return CHANNEL_AXIS.get(layout or "") if given is returned else None

    def axis_given(self, name: str, shape: tuple[int, ...]) -> int | None:
        """The channel axis of what a module was given last, if that has this shape."""
        axis, was = self._given.get(name, (None, ()))
        return axis if was == shape else None

    def links(self, order: Sequence[str]) -> list[bool]:
        """Whether each layer goes on from the one before, in a list in execution order.

        It does not if it lies in another tower (a part that inputs of the model enter, and that
        the layer before is no part of), or is given the very tensor that an earlier layer was
        given: then they are branches side by side. The second call of a layer (``name#2``) does if
        it is given the very tensor that the layer before returned, or if its first call did.

        Examples
        --------
        >>> probe = Probe([])
        >>> probe.enters = {"": True, "text": True, "image": True}
        >>> probe.links(["text.0", "text.1", "image.0", "head"])
        [True, False, True]
        """
        towers = [self._tower(name) for name in order]
        steps: list[bool] = []
        first: set[tuple[str, str]] = set()  # steps of first calls, which later calls repeat
        for i in range(1, len(order)):
            name, _, call = order[i].partition("#")
            if call:
                calls, (earlier, _, other) = self._again.get(name, []), order[i - 1].partition("#")
                went = other == call and (earlier, name) in first
                steps.append(went or (int(call) <= len(calls) and calls[int(call) - 1]))
                continue
            here, before = towers[i], towers[i - 1]
            inside = here == before or here == "" or before.startswith(f"{here}.")
            mine = self.given.get(order[i])
            earlier = (self.given.get(name) for name in order[:i])
            steps.append(inside and (mine is None or all(mine is not x for x in earlier)))
            if steps[-1]:
                first.add((order[i - 1], name))
        return steps

    def _tower(self, name: str) -> str:
        """The innermost part around a layer that inputs of the model enter."""
        around = [n for n in reversed(_prefixes(name)) if self.enters.get(n)]
        return around[0] if around else ""

    def fed(self, _: str, __: nn.Module, args: tuple, kwargs: Mapping[str, Any]) -> None:
        """Note the shape of what a time-first module is given."""
        packed = next((x for x in args if isinstance(x, PackedSequence)), None)
        first = next(_tensors([*args, *kwargs.values()]), None)
        if packed is not None:
            self.packed.append(int(packed.batch_sizes[0]))
        elif first is not None and not first.is_nested:
            self.seen_by_time_first.append(tuple(first.shape))

    def ran(self, name: str, module: nn.Module, _: Any, output: Any) -> None:
        """Note a layer with weights that has finished."""
        self.named[name] = None
        try:
            tensor = find_tensor(output)
        except StateError:
            return
        if tensor.is_nested:
            return
        self.leaves.append(leaf(module, tuple(tensor.shape)))
        self.last = tensor
        if 2 <= getattr(module, "out_features", 0) <= MOST_OUTPUTS:
            self.heads = [*self.heads[1 - _HEADS_KEPT :], (name, tensor.detach())]

    def returns(self, tensor: Tensor, layout: str | None) -> None:
        """Note what a watched layer has returned, and how its axes were read."""
        self._returned = tensor, layout

    def inside(self, name: str) -> list[Leaf]:
        """Leaves that ran since a module began."""
        return self.leaves[self.began.get(name, len(self.leaves)) :]

    def around_parts(self, name: str) -> list[str]:
        """Parts that ran of a module that was not called itself, or none.

        Examples
        --------
        >>> import torch
        >>> block = nn.Sequential(nn.Linear(2, 2))
        >>> probe = Probe([])
        >>> probe.ran("block.0", block[0], None, block.forward(torch.zeros(1, 2)))
        >>> probe.around_parts("block"), probe.around_parts("other")
        (['block.0'], [])
        """
        return [] if name in self.began else [k for k in self.named if k.startswith(f"{name}.")]

    def orientation(self, shape: tuple[int, ...]) -> str | None:
        """Whether the model's input of this shape is ``batch`` or ``time`` first; None: no telling.

        Time-first layers saw ``(T, N, ...)``; a model that is fed the same two sizes in the same
        order is time-first itself.
        """
        votes = set()
        for n in self.packed:
            if len(shape) < 2 or shape[1] != n:
                votes.add("batch")
            else:
                votes.add("time" if shape[0] != n else "either")
        for seen in self.seen_by_time_first:
            if len(shape) >= 2 and seen[:2] == shape[:2]:
                votes.add("time" if seen[0] != seen[1] else "either")
            else:
                votes.add("batch")
        for verdict in ("batch", "time"):
            if verdict in votes:
                return verdict
        return None if votes else "batch"


def _tensors(values: Any) -> Any:
    """Every tensor in nested inputs, in order."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Mapping):
            yield from _tensors(value.values())
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


def listeners(
    network: nn.Module, watched: Mapping[str, nn.Module]
) -> Iterator[tuple[nn.Module, str, str]]:
    """Modules to listen to in the first pass: module, what to note, and its name.

    ``begins`` and ``fed`` are noted before a module runs, ``ran`` after it.

    Parameters
    ----------
    network : nn.Module
    watched : mapping of str to nn.Module
        Watched layers by their own names in the network.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> [(note, name) for _, note, name in listeners(net, {"1": net[1]})]
    [('begins', ''), ('ran', '0'), ('begins', '1')]
    """
    around = {name for layer in watched for name in _prefixes(layer)}
    for name, module in parts(network):
        if name in around or name in watched:
            yield module, "begins", name
        if name and is_leaf(module):
            yield module, "ran", name
        if time_first(module):
            yield module, "fed", name


def _prefixes(name: str) -> list[str]:
    pieces = name.split(".")
    return ["", *(".".join(pieces[:i]) for i in range(1, len(pieces)))]
