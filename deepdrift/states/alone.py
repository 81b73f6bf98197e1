"""Does the state of a sample depend on the other samples of its batch, or on chance?

A few samples of a first batch run once more, each alone; if their states differ, the whole batch
runs again, to tell company from chance. It happens once. What cannot be tried, or what others would
notice (their hooks, their own ``forward=``), is left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deepdrift.errors import StateError
from deepdrift.states.batches import Batch, Forward
from deepdrift.states.first_pass import FirstPass
from deepdrift.states.forward import Quiet, run
from deepdrift.states.gaps import gap, in_other_rows, noting_types, rounding, rounding_of
from deepdrift.states.parts import NoParts, some_of, tensors_of
from deepdrift.states.rows import NoSamples
from deepdrift.states.untouched import Untouched, version, would_be_noticed

_MOST = 8  # samples that run alone
_BY_CHANCE = 0.03  # share of samples that chance may move and nothing is said
_TRIES = 3  # batches that are looked at, until one can be taken apart
_LAYERS = "layers= (layer_names= of a monitor)"
_WHY = {
    "draws": (
        "draws random numbers in evaluation mode (dropout left on, stochastic depth, sampling)"
    ),
    "keeps": "remembers what it was given before (a hidden state, a queue, running statistics)",
    "either": "draws random numbers of its own, or remembers what it was given before",
}
_WRITES = (
    "model: it writes to its inputs, so that a second pass over the same batch is given other "
    "numbers, and its scores are others; let it work on a copy (x = x.clone(), or no x.mul_())"
)


class Again(NamedTuple):
    """Some rows of a batch, their states in another pass, and layers whose rows are no samples."""

    rows: Sequence[int]
    states: dict[str, Tensor]
    refused: dict[str, Exception]


class FirstBatch:
    """Compares samples of a first batch with the same samples alone, once.

    Parameters
    ----------
    recorder : FirstPass
        Of the network's layers.
    network : nn.Module
        Before the batch ran.
    quiet : Quiet
        Of the network; it knows whether random numbers are drawn.
    forward : callable, optional
        ``forward(model, batch)`` as the user gave it; it is called for whole batches only.

    Examples
    --------
    >>> from deepdrift.states.batches import split_batch
    >>> from deepdrift.states.hooks import Recorder
    >>> class Centred(nn.Module):
    ...     def forward(self, x):
    ...         return x - x.mean(dim=0)
    >>> net = nn.Sequential(Centred(), nn.Flatten())
    >>> x = split_batch(torch.tensor([[1.0], [3.0]]))
    >>> recorder, quiet = Recorder(net, ["0"]), Quiet(net)
    >>> look = FirstBatch(recorder, net, quiet)
    >>> look.begins(x)
    >>> _ = run(net, x)
    >>> print(look(x)[0][:64])
    layer '0': its state depends on the other samples of the batch:
    """

    def __init__(
        self, recorder: FirstPass, network: nn.Module, quiet: Quiet, forward: Forward | None = None
    ) -> None:
        self._recorder, self._network = recorder, network
        self._quiet = quiet
        self._left = _TRIES
        self._may_run = forward is None and not would_be_noticed(network)
        self._untouched = Untouched(network)
        self._inputs: list[tuple[Tensor, int]] = []
        self._limit = 0.0  # what rounding can do, relative to the size of a state

    @property
    def done(self) -> bool:
        """Whether there is nothing more to look at."""
        return self._left == 0

    def begins(self, batch: Batch) -> None:
        """Note what a batch holds before the model runs."""
        self._inputs = [] if self.done else [(x, version(x)) for x in tensors_of(batch)]

    def __call__(self, batch: Batch) -> list[str]:
        """Sentences about the batch that ran last; layers without samples become errors of it."""
        current = self._recorder.states.current()
        if self.done or self._recorder.learning or current is None or "" in current.errors:
            return []
        self._left -= 1
        states = {k: v for k, v in current.values.items() if k not in current.errors}
        n = len(next(iter(states.values()), ()))
        states = {k: v for k, v in states.items() if len(v) == n}
        if n < 2:
            return []
        if any(version(x) != before for x, before in self._inputs):
            self._left = 0
            return [_WRITES]
        if not self._may_run:
            self._left = 0
            return []
        self._limit, said, chance = rounding(self._network, tensors_of(batch)), [], {}
        if self._quiet.draws or self._untouched.keeps:
            chance = self._by_chance(batch, states)
            said = _say_chance(chance, "draws" if self._quiet.draws else "keeps")
            states = {k: v for k, v in states.items() if k not in chance}
        again = self._alone(batch, n, set(states)) if states else None
        if said or again is not None:
            self._left = 0
        if again is None:
            return said
        apart = _apart(again, states, self._limit)
        if (apart or again.refused) and not said:
            chance = self._by_chance(batch, states)
            said = _say_chance(chance, "either")
            apart = _apart(again, states, self._limit)
        for name in again.states.keys() & states.keys():
            if in_other_rows(again.states[name], states[name], again.rows, self._limit):
                again.refused[name] = StateError(
                    "its rows are the samples in another order (sorted, or shuffled), as samples "
                    "that run alone show; hand them back in order, or leave the layer out with "
                    + _LAYERS
                )
        refused = {k: error for k, error in again.refused.items() if k not in chance}
        current.errors.update(refused)
        return said + _say_company(
            {k: v for k, v in apart.items() if k not in chance and k not in refused}, n
        )

    def _by_chance(self, batch: Batch, states: dict[str, Tensor]) -> dict[str, float]:
        """Layers that another pass over the very same batch changes, and by how much."""
        kinds: set[torch.dtype] = set()
        with noting_types(kinds):
            found = self._try(batch)
        self._limit = max(self._limit, rounding_of(kinds))
        if found is None:
            return {}
        n = len(next(iter(states.values())))
        return _apart(Again(range(n), *found), states, self._limit, but=_BY_CHANCE)

    def _alone(self, batch: Batch, n: int, layers: set[str]) -> Again | None:
        """Some samples one by one; where that cannot be, together, but fewer than in the batch."""
        k = min(_MOST, n)
        rows = [i * (n - 1) // (k - 1) for i in range(k)]
        axis = self._recorder.sample_axis(n)
        try:
            parts: list[dict[str, Tensor]] = []
            for row in rows:
                found = self._try(some_of(batch, [row], n, axis))
                if found is None or not _one_row_each(found[0], layers):
                    break
                parts.append(found[0])
            else:
                return Again(rows, {k: torch.cat([p[k] for p in parts]) for k in layers}, {})
            rows = rows[::-1][: n - 1]
            for together in (rows, (rows * n)[:n]):  # fewer, or as many, some of them twice
                found = self._try(some_of(batch, together, n, axis)) if len(together) > 1 else None
                if found is not None:
                    states = {k: v for k, v in found[0].items() if len(v) == len(together)}
                    states = {k: v[: len(rows)] for k, v in states.items() if k in layers}
                    return Again(rows, states, {k: e for k, e in found[1].items() if k in layers})
        except NoParts:
            pass
        return None

    def _try(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Exception]] | None:
        """States of a pass that leaves no trace, and layers whose rows are no samples."""
        with self._recorder.aside(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with self._untouched(), self._quiet():
                    run(self._network, batch)
            except Exception:  # not every model can run these; then nothing is known
                return None
            current = self._recorder.states.current()
            if current is None or "" in current.errors:
                return None
            errors = {k: e for k, e in current.errors.items() if isinstance(e, NoSamples)}
            return {k: v for k, v in current.values.items() if k not in current.errors}, errors


def _one_row_each(states: dict[str, Tensor], layers: set[str]) -> bool:
    return layers <= states.keys() and all(len(states[k]) == 1 for k in layers)


def _apart(
    again: Again, states: dict[str, Tensor], limit: float, but: float = 0.25
) -> dict[str, float]:
    """By how much the states of some rows moved, layer by layer, where they did."""
    both = [k for k in states if k in again.states]
    moved = {k: gap(again.states[k], states[k], again.rows, limit, but) for k in both}
    return {k: moved[k] for k in states if moved.get(k, 0) > 0}


def _say_chance(moved: dict[str, float], why: str) -> list[str]:
    if not moved:
        return []
    return [
        f"{_named(moved)} other states in a second pass over the same batch{_by(moved)}: the model "
        f"{_WHY[why]}. Scores of one input then differ from pass to pass; switch that off, or "
        f"leave them out with {_LAYERS}"
    ]


def _say_company(moved: dict[str, float], n: int) -> list[str]:
    if not moved:
        return []
    one = len(moved) == 1
    return [
        f"{_named(moved, 'its state depends', 'their states depend')} on the other samples of the "
        f"batch: samples of the first batch of {n} have other states alone{_by(moved)}, so that a "
        "score changes with the company. Usual reasons are batch statistics in evaluation mode, "
        "attention or sums over the axis of samples (batch_first=, layout=), padding that no mask "
        f"names (mask=), comparisons within a batch. Mend it, or leave {'it' if one else 'them'} "
        f"out with {_LAYERS}"
    ]


def _named(moved: dict[str, float], one: str = "it has", many: str = "they have") -> str:
    names = ", ".join(map(repr, moved))
    return f"layer {names}: {one}" if len(moved) == 1 else f"layers {names}: {many}"


def _by(moved: dict[str, float]) -> str:
    finite = [v for v in moved.values() if v < float("inf")]
    return f" (by up to {max(finite):.2g} of the spread between samples)" if finite else ""
