"""Layers whose state is the same for all samples: they do not look at the input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

_ROUNDING = 1e-6  # of the largest number of a state


class SharedStates:
    """Finds, batch by batch, the layers that give every sample the same state.

    It costs a comparison of two rows for each layer that depends on the input.

    Examples
    --------
    >>> shared = SharedStates()
    >>> shared.add({"at": torch.ones(2, 3), "mix": torch.eye(2)})
    >>> shared.names, shared.n
    (['at'], 2)
    """

    def __init__(self) -> None:
        self.n = 0
        self._first: dict[str, Tensor] | None = None
        self._varied = False

    def add(self, states: Mapping[str, Tensor], inputs: Iterable[Any] = ()) -> None:
        """Look at the states of a batch; ``inputs`` tell whether its samples differ at all."""
        n = len(next(iter(states.values())))
        if n == 0:
            return
        known = {k: v[:1] for k, v in states.items()} if self._first is None else self._first
        same = {k: first for k, first in known.items() if k in states and _same(states[k], first)}
        self._varied = self._varied or len(same) < len(states)
        if same and not self._varied:
            tensors = [x for x in inputs if isinstance(x, Tensor) and x.ndim and len(x) == n]
            self._varied = any(not torch.equal(x, x[:1].expand_as(x)) for x in tensors)
        self._first, self.n = same, self.n + n

    @property
    def names(self) -> list[str]:
        """Layers with one state for all samples, if the samples differ."""
        return list(self._first or {}) if self._varied and self.n > 1 else []


def say_shared(names: Iterable[str], n: int) -> str:
    """The sentence about layers that share one state; empty without such layers.

    Examples
    --------
    >>> say_shared(["at"], 40)[:53]
    "layer 'at': all 40 samples share one state, whatever "
    >>> say_shared([], 40)
    ''
    """
    listed = ", ".join(map(repr, names))
    if not listed:
        return ""
    many = "," in listed
    them = "them" if many else "it"
    return (
        f"layer{'s' * many} {listed}: all {n} samples share one state, whatever the input: "
        "position embeddings, learned queries, prompts, or a layer that is dead. That says "
        f"nothing of a sample; leave {them} out with layers= (layer_names= of a monitor)"
    )


def _same(state: Tensor, first: Tensor) -> bool:
    """Whether all rows are the first one, up to rounding."""
    if state.shape[1:] != first.shape[1:]:
        return False
    first = first.to(state.device)
    limit = float(_ROUNDING * first.abs().max()) if first.numel() else 0.0
    some = state[-1:] - first  # most layers are told by one row
    return bool((some.abs() <= limit).all()) and bool(((state - first).abs() <= limit).all())
