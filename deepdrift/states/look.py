"""What is said of the states of a data set while a model runs over it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from deepdrift.states.alone import FirstBatch
from deepdrift.states.batches import Batch, Forward
from deepdrift.states.first_pass import FirstPass
from deepdrift.states.forward import Quiet, run
from deepdrift.states.rows import say_answer
from deepdrift.states.shared import SharedStates, say_shared

_PACKAGE = __name__.split(".")[0]


class Look:
    """Runs a model batch by batch, and warns of states that are not of one sample each.

    Parameters
    ----------
    recorder : FirstPass
        Of the network's layers.
    network : nn.Module
    forward : callable, optional
        ``forward(model, batch)`` as the user gave it.
    say : bool
        False only runs the model.

    Examples
    --------
    >>> import torch
    >>> from deepdrift.states.batches import split_batch
    >>> from deepdrift.states.hooks import Recorder
    >>> net = nn.Sequential(nn.Identity(), nn.Flatten())
    >>> recorder = Recorder(net, ["0"])
    >>> look, batch = Look(recorder, net), split_batch(torch.tensor([[1.0], [2.0]]))
    >>> look.run(batch).tolist()
    [[1.0], [2.0]]
    >>> look.at(recorder.states, batch)
    >>> look.end()
    """

    def __init__(
        self,
        recorder: FirstPass,
        network: nn.Module,
        forward: Forward | None = None,
        say: bool = True,
    ) -> None:
        self._recorder, self._network, self._forward = recorder, network, forward
        self._quiet, self._say = Quiet(network), say
        self._first = FirstBatch(recorder, network, self._quiet, forward)
        self._shared = SharedStates()

    def run(self, batch: Batch) -> Any:
        """What the model returns; random numbers are given back by whoever is around."""
        self._first.begins(batch)
        with self._quiet(draw_on=True):
            output = run(self._network, batch, self._forward)
        for sentence in self._first(batch) if self._say else ():
            warn(sentence)
        return output

    def at(self, states: Mapping[str, Tensor], batch: Batch) -> None:
        """Look at the states of the batch that ran."""
        if not self._say:
            return
        if self._shared.n == 0 and self._recorder.answer is not None:
            warn(say_answer(self._recorder.answer, len(next(iter(states.values())))))
        self._shared.add(states, [*batch.args, *batch.kwargs.values()])

    def end(self) -> None:
        """Say what only all batches together tell."""
        sentence = say_shared(self._shared.names, self._shared.n)
        if sentence:
            warn(sentence)


def warn(sentence: str) -> None:
    """Warn where the package was called from."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and _is_ours(frame.f_globals):
        frame, level = frame.f_back, level + 1
    warnings.warn(sentence, UserWarning, stacklevel=level)


def _is_ours(names: Mapping[str, Any]) -> bool:
    return (names.get("__package__") or "").split(".")[0] == _PACKAGE
