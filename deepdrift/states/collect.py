"""Run a model over a data set once and keep states, outputs and labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deepdrift.errors import StateError
from deepdrift.states.batches import Forward, Labels, split_batch
from deepdrift.states.forward import quiet, unwrap
from deepdrift.states.hooks import Recorder, never_ran
from deepdrift.states.look import Look
from deepdrift.states.outputs import find_tensor
from deepdrift.states.padding import MaskSource
from deepdrift.states.pooling import Layouts, Pooling


class Collected(NamedTuple):
    """States ``{layer: (N, D)}``, outputs ``(N, ...)`` and labels ``(N,)`` or None, on the CPU."""

    states: dict[str, Tensor]
    outputs: Tensor
    labels: Tensor | None


def collect(
    model: nn.Module,
    loader: Iterable[Any] | Tensor,
    layers: Sequence[str] | None = None,
    pooling: Pooling = "auto",
    *,
    layout: Layouts = "auto",
    mask: MaskSource = None,
    forward: Forward | None = None,
    labels: Labels | None = None,
    batch_size: int = 256,
    max_batches: int | None = None,
) -> Collected:
    """Record the states of a whole data set, in evaluation mode and without gradients.

    The model, its mode and the random generators are left as they were. A warning names layers
    whose states depend on the other samples of the batch (a few of the first one run alone too),
    on chance, or not on the input.

    Parameters
    ----------
    model : nn.Module
    loader : iterable of batches, or Tensor
        Batches ``x``, ``(x, y)`` or mappings; a tensor ``(N, ...)`` is cut into batches.
    layers, pooling, layout, mask
        See `deepdrift.record`.
    forward, labels : callable, optional
        ``forward(model, batch)`` runs the model on batches of another form, ``labels(batch)``
        gives their class labels. With ``forward`` nothing says how many samples a batch holds, so
        rows of states are not counted.
    batch_size : int
        Only for a tensor.
    max_batches : int, optional
        Stop after so many.

    Returns
    -------
    Collected
        Memory: N x (sum of layer widths) float32, and the outputs.

    Examples
    --------
    >>> model = nn.Sequential(nn.Identity(), nn.Flatten())
    >>> got = collect(model, torch.tensor([[1.0], [2.0], [3.0]]), ["0"], batch_size=2)
    >>> got.states["0"].flatten().tolist(), got.outputs.shape
    ([1.0, 2.0, 3.0], torch.Size([3, 1]))
    """
    network = unwrap(model)
    batches = loader.split(batch_size) if isinstance(loader, Tensor) else loader
    kept: list[dict[str, Tensor]] = []
    outputs: list[Tensor] = []
    found: list[Tensor | None] = []
    recorder = Recorder(
        network, layers, pooling, layout=layout, mask=mask, check_rows=forward is None
    )
    look = Look(recorder, network, forward)
    with recorder as states, quiet(network):
        for batch in islice(batches, max_batches):
            split = split_batch(batch, network, forward=forward, labels=labels)
            output = _output(look.run(split))
            outputs.append(output if output.ndim else output[None])
            kept.append({k: v.cpu() for k, v in states.check().items()})
            look.at(kept[-1], split)
            found.append(split.labels)
            if layers is not None and len(kept) == 1:
                never_ran(layers, kept[0])
    look.end()
    if not kept:
        raise StateError("loader: it gave no batch; expected data to run the model on")
    if any(list(part) != list(kept[0]) for part in kept):
        raise StateError("loader: different layers ran for different batches")
    given = [label.cpu() for label in found if label is not None]
    return Collected(
        {k: torch.cat([part[k] for part in kept]) for k in kept[0]},
        torch.cat(outputs),
        torch.cat(given) if len(given) == len(kept) else None,
    )


def _output(returned: Any) -> Tensor:
    """The tensor among what the model, or ``forward``, returned."""
    try:
        return find_tensor(returned).detach().cpu()
    except StateError as error:
        raise StateError(
            f"model: it returned {type(returned).__name__} without a tensor of floating-point "
            "numbers, and collect keeps outputs; give forward=lambda model, batch: ... that "
            "returns one, or use record(model) for states alone"
        ) from error
