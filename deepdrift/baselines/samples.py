"""From what people have (arrays, images, loaders) to a checked sample ``(N, D)`` in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepdrift.errors import CalibrationError, DeepDriftError, StateError
from deepdrift.states.batches import Batch, Forward, split_batch
from deepdrift.states.forward import quiet, run, unwrap
from deepdrift.states.hooks import Recorder
from deepdrift.states.look import Look
from deepdrift.states.outputs import find_tensor
from deepdrift.states.padding import MaskSource
from deepdrift.states.pooling import Layouts

_BATCH = 256  # images per forward pass


def as_sample(
    x: Any,
    name: str,
    *,
    minimum: int = 1,
    width: int | None = None,
    finite: bool = True,
    error: type[DeepDriftError] = StateError,
) -> Tensor:
    """Checked copy of a sample as float64 on the CPU.

    Parameters
    ----------
    x : Tensor, array or table, shape (N, D); or a list or loader of batches of that kind
    name : str
        For the messages.
    minimum : int
        Fewest samples that make sense.
    width : int, optional
        Expected D.
    finite : bool
        Refuse NaN and infinity.
    error : class
        What to raise.

    Examples
    --------
    >>> as_sample([[1, 2], [3, 4]], "x").dtype
    torch.float64
    """
    try:
        x = join(x, name)
        sample = x.detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError) as cause:
        raise error(f"{name}: expected an array of shape (N, D): {cause}") from cause
    if sample.ndim != 2 or sample.shape[1] == 0:
        hint = {
            1: "; write x[:, None] for one feature, x[None] for one sample",
            4: "; images need a feature map, or flatten(1)",
        }.get(sample.ndim, "")
        raise error(f"{name}: expected shape (N, D), got {tuple(sample.shape)}{hint}")
    if width is not None and sample.shape[1] != width:
        raise error(f"{name}: expected {width} features like the reference, got {sample.shape[1]}")
    if len(sample) < minimum:
        raise error(
            f"{name}: expected at least {minimum} samples, got {len(sample)}; a distribution cannot"
            " be judged from fewer"
        )
    if finite:
        bad = int((~torch.isfinite((4 * sample).square().sum(dim=1))).sum())
        if bad:
            raise error(
                f"{name}: {bad} of {len(sample)} samples hold NaN, infinity or numbers too large to"
                " square, which no distance can measure; look at them first (that is a finding of "
                "its own), then drop them"
            )
    return sample


def join(x: Any, name: str) -> Tensor:
    """One tensor from an array or table, or from a list or loader of batches of that kind."""
    if isinstance(x, Tensor):
        return x
    if hasattr(x, "to_numpy"):
        x = numbers_of(x, name)
    elif isinstance(x, list | tuple):
        if x and all(getattr(part, "ndim", 0) == 2 for part in x):
            return torch.cat([join(part, name) for part in x])
    elif not hasattr(x, "__array__"):
        return torch.cat([split_batch(batch).args[0] for batch in x])
    return torch.as_tensor(np.array(x), device="cpu")


def numbers_of(table: Any, name: str) -> np.ndarray:
    """Values of a table or column of numbers.

    Raises
    ------
    StateError
        Naming the columns that hold something else.
    """
    kinds = getattr(table, "dtypes", None)
    if hasattr(table, "columns") and kinds is not None:
        other = [str(k) for k, kind in kinds.items() if getattr(kind, "kind", "O") not in "biuf"]
        if other:
            raise StateError(
                f"{name}: columns {', '.join(other)} hold no numbers; encode or leave them out"
            )
    return table.to_numpy()


class Features:
    """What turns inputs into a sample: nothing, a function, or (a layer of) a network.

    Parameters
    ----------
    feature_map : callable or nn.Module, optional
        Inputs ``(N, ...)`` to features ``(N, D)``. A network runs in evaluation mode, without
        gradients, in batches; mode and random state are given back afterwards. Without one, the
        inputs are the features.
    layer : str, optional
        Watch this layer of the network (pooled as in `deepdrift.record`) instead of its output.
    layout, mask
        How its axes and its padding are read, see `deepdrift.record`.
    forward : callable, optional
        ``forward(model, batch)`` runs the network on batches of another form.

    Examples
    --------
    >>> Features(lambda images: images.flatten(1))(torch.ones(2, 1, 2, 2), "x").shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        feature_map: Callable[[Any], Any] | None = None,
        layer: str | None = None,
        *,
        layout: Layouts = "auto",
        mask: MaskSource = None,
        forward: Forward | None = None,
    ) -> None:
        if layer is not None and not isinstance(feature_map, nn.Module):
            raise CalibrationError(
                f"layer: {layer!r} needs the network it belongs to; pass feature_map=model"
            )
        if feature_map is not None and not callable(feature_map):
            raise CalibrationError(
                f"feature_map: expected a function or a network, got {type(feature_map).__name__}"
            )
        self.feature_map, self.layer = feature_map, layer
        self._how = {"layout": layout, "mask": mask}
        self._forward, self._said = forward, False

    def __call__(self, inputs: Any, name: str, **checks: Any) -> Tensor:
        """Sample ``(N, D)`` of a tensor, an array, a table, or batches (labels dropped)."""
        if hasattr(inputs, "to_numpy"):  # a table, or one of its columns
            inputs = numbers_of(inputs, name)
        error = checks.get("error", StateError)
        if isinstance(inputs, Mapping | str | bytes):
            raise error(
                f"{name}: expected a tensor, an array or a loader of batches, got one "
                f"{type(inputs).__name__}; pass a list of batches"
            )
        if _is_one(inputs):
            if self.feature_map is not None:
                inputs = self._map([self._batch(torch.as_tensor(inputs, device="cpu"))], name)
            return as_sample(inputs, name, **checks)
        if not isinstance(inputs, Iterable):
            kind = type(inputs).__name__
            raise StateError(f"{name}: expected a tensor, an array or a loader, got {kind}")
        parts = [self._batch(batch) for batch in inputs]
        if not parts:
            raise error(f"{name}: the loader yielded no batch")
        return as_sample(self._map(parts, name), name, **checks)

    def _batch(self, batch: Any) -> Batch:
        model = self.feature_map if isinstance(self.feature_map, nn.Module) else None
        if hasattr(batch, "to_numpy"):
            batch = numbers_of(batch, "batch")
        if isinstance(batch, np.ndarray):
            batch = torch.as_tensor(batch, device="cpu")
        return split_batch(batch, model, forward=self._forward)

    def _map(self, batches: list[Batch], name: str) -> Tensor:
        if not isinstance(self.feature_map, nn.Module):
            with torch.no_grad():
                return torch.cat([self._plain(batch, name) for batch in batches])
        model = self.feature_map
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        parts = (_to(part, device) for batch in batches for part in _cut(batch))
        with quiet(model):
            found = list(self._states(parts) if self.layer else self._outputs(parts, name))
        return torch.cat(found)

    def _states(self, parts: Iterable[Batch]) -> Iterator[Tensor]:
        """States of the layer; what is odd about the first ones is said."""
        network = unwrap(self.feature_map)
        recorder = Recorder(
            self.feature_map, [self.layer], **self._how, check_rows=self._forward is None
        )
        look = Look(recorder, network, self._forward, say=not self._said)
        with recorder as states:
            for part in parts:
                look.run(part)
                state = states[self.layer].cpu()
                look.at({self.layer: state}, part)
                yield state
        look.end()
        self._said = True

    def _outputs(self, parts: Iterable[Batch], name: str) -> Iterator[Tensor]:
        for part in parts:
            output = find_tensor(run(self.feature_map, part, self._forward))
            if output.ndim != 2:
                raise StateError(
                    f"{name}: the network returned {tuple(output.shape)}, expected (N, D); name a "
                    "layer=, whose state is pooled"
                )
            yield output.cpu()

    def _plain(self, batch: Batch, name: str) -> Tensor:
        """Features of a batch by a function, or the batch itself."""
        if len(batch.args) != 1:
            raise StateError(
                f"{name}: expected batches of one tensor, got {type(batch.raw).__name__}; pass "
                "feature_map=model, which takes them"
            )
        inputs = batch.args[0]
        return torch.as_tensor(
            self.feature_map(inputs) if self.feature_map else inputs, device="cpu"
        )


def _is_one(inputs: Any) -> bool:
    """Whether it is one array, also as nested lists of numbers, and not a sequence of batches."""
    if isinstance(inputs, Tensor | np.ndarray):
        return True
    if not isinstance(inputs, list | tuple):
        return False
    first = inputs[0] if inputs else None
    if isinstance(first, Tensor | np.ndarray):
        return first.ndim <= 1
    if isinstance(first, list | tuple):
        return not (first and isinstance(first[0], Tensor | np.ndarray) and first[0].ndim)
    return not isinstance(first, Mapping) and not hasattr(first, "to_numpy")


def _cut(batch: Batch) -> list[Batch]:
    """A large tensor in pieces that a forward pass can hold; other batches as they are."""
    only = batch.args[0] if len(batch.args) == 1 and not batch.kwargs else None
    if not isinstance(only, Tensor) or only.ndim == 0 or len(only) <= _BATCH:
        return [batch]
    return [Batch((part,), raw=part) for part in only.split(_BATCH)]


def _to(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on the device of the network."""

    def moved(value: Any) -> Any:
        return value.to(device) if isinstance(value, Tensor) else value

    args = tuple(map(moved, batch.args))
    return replace(batch, args=args, kwargs={k: moved(v) for k, v in batch.kwargs.items()})
