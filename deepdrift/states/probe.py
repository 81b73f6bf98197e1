"""What one forward pass tells about a model: axes, towers, and the layer that makes the output.

A probe listens to all layers during the first pass of a recorder, and is gone after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from deepdrift.errors import StateError
from deepdrift.states.blocks import is_leaf, parts
from deepdrift.states.layout import TIME_FIRST, Leaf, leaf
from deepdrift.states.outputs import find_tensor

_MOST_OUTPUTS = 2048  # beyond that it is a vocabulary, and a covariance of it no small thing
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
        self.returned: Tensor | None = None  # what the last watched layer returned
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
        self._again.setdefault(name, []).append(first is not None and first is self.returned)
        self.enters[name] = first is not None and (
            not first.is_floating_point() or any(first is x for x in self._inputs)
        )

    def links(self, order: Sequence[str]) -> list[bool]:
        """Whether each layer goes on from the one before, in a list in execution order.

        It does not if it lies in another tower (a part that inputs of the model enter, and that
        the layer before is no part of), or is given the very tensor that an earlier layer was
        given: then they are branches side by side. The second call of a layer (``name#2``) does if
        it is given the very tensor that the layer before returned.

        Examples
        --------
        >>> probe = Probe([])
        >>> probe.enters = {"": True, "text": True, "image": True}
        >>> probe.links(["text.0", "text.1", "image.0", "head"])
        [True, False, True]
        """
        towers = [self._tower(name) for name in order]
        steps = []
        for i in range(1, len(order)):
            name, _, call = order[i].partition("#")
            if call:
                calls = self._again.get(name, [])
                steps.append(int(call) <= len(calls) and calls[int(call) - 1])
                continue
            here, before = towers[i], towers[i - 1]
            inside = here == before or here == "" or before.startswith(f"{here}.")
            mine = self.given.get(order[i])
            earlier = (self.given.get(name) for name in order[:i])
            steps.append(inside and (mine is None or all(mine is not x for x in earlier)))
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
        if 2 <= getattr(module, "out_features", 0) <= _MOST_OUTPUTS:
            self.heads = [*self.heads[1 - _HEADS_KEPT :], (name, tensor.detach())]

    def inside(self, name: str) -> list[Leaf]:
        """Leaves that ran since a module began."""
        return self.leaves[self.began.get(name, len(self.leaves)) :]

    def around_parts(self, name: str) -> list[str]:
        """Parts that ran of a module that was not called itself, or none.

        Examples
        --------
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

    def head(self, output: Any, rows: int | None) -> tuple[str, str] | None:
        """The linear layer that made the model's output ``(N, C)``, and how it is to be pooled."""
        try:
            out = find_tensor(output)
        except StateError:
            return None
        if out.is_nested or out.ndim != 2 or (rows is not None and len(out) != rows):
            return None
        out = out.detach()
        for name, made in reversed(self.heads):
            if made.is_nested or made.shape[-1] != out.shape[-1] or len(made) != len(out):
                continue
            if made.shape == out.shape and any(torch.equal(f(made), out) for f in _ENDINGS):
                return name, "mean"
            if made.ndim == 3:
                places = (made == out[:, None]).all(-1)  # (N, T): which token was taken
                if bool(places.any(1).all()):
                    return name, "cls" if bool(places[:, 0].all()) else "last"
                if torch.allclose(made.mean(1), out, atol=1e-6):
                    return name, "mean"
        return None


_ENDINGS = (
    lambda x: x,
    lambda x: x.softmax(dim=-1),
    lambda x: x.log_softmax(dim=-1),
    lambda x: x.sigmoid(),
)


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
