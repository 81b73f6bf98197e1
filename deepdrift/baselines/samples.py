"""From what people have (arrays, images, loaders) to a checked sample ``(N, D)`` in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepdrift.errors import CalibrationError, DeepDriftError, StateError
from deepdrift.states.forward import quiet, run, split_batch
from deepdrift.states.hooks import record

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
    x : Tensor or array, shape (N, D)
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
        x = x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))
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

    Examples
    --------
    >>> Features(lambda images: images.flatten(1))(torch.ones(2, 1, 2, 2), "x").shape
    torch.Size([2, 4])
    """

    def __init__(
        self, feature_map: Callable[[Any], Any] | None = None, layer: str | None = None
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

    def __call__(self, inputs: Any, name: str, **checks: Any) -> Tensor:
        """Sample ``(N, D)`` of a tensor, an array, or a loader of batches (labels dropped)."""
        if not isinstance(inputs, Tensor | np.ndarray | list | tuple):
            if not isinstance(inputs, Iterable):
                kind = type(inputs).__name__
                raise StateError(f"{name}: expected a tensor, an array or a loader, got {kind}")
            parts = [split_batch(batch)[0] for batch in inputs]
            if not parts:
                raise checks.get("error", StateError)(f"{name}: the loader yielded no batch")
            return as_sample(torch.cat([self._map(part) for part in parts]), name, **checks)
        if self.feature_map is not None:
            inputs = self._map(torch.as_tensor(inputs))
        return as_sample(inputs, name, **checks)

    def _map(self, inputs: Tensor) -> Tensor:
        if self.feature_map is None:
            return inputs
        if not isinstance(self.feature_map, nn.Module):
            with torch.no_grad():
                return torch.as_tensor(self.feature_map(inputs))
        model, found = self.feature_map, []
        device = next((p.device for p in model.parameters()), inputs.device)
        with quiet(model), record(model, [self.layer] if self.layer else None) as states:
            for part in inputs.split(_BATCH):
                output = run(model, part.to(device))
                found.append((states[self.layer] if self.layer else output).cpu())
        return torch.cat(found)
