"""Our own forward passes: they leave no trace in the model or in the random generators."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepdrift.errors import ForwardError, StateError


def unwrap(model: nn.Module) -> nn.Module:
    """The eager network behind ``torch.compile`` and DistributedDataParallel.

    Raises
    ------
    StateError
        For DataParallel, whose replicas are copies that no hook of ours reaches, and for
        something that is no module.
    """
    if not isinstance(model, nn.Module):
        raise StateError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    if any(isinstance(module, nn.DataParallel) for module in model.modules()):
        raise StateError(
            "model: nn.DataParallel runs copies of the network that cannot be watched; watch "
            "its .module on one device, or use DistributedDataParallel"
        )
    model = getattr(model, "_orig_mod", model)
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return unwrap(model.module)
    return model


def split_batch(batch: Any) -> tuple[Any, Tensor | None]:
    """Inputs and labels of a batch as loaders yield it.

    A tensor is inputs alone, ``(x, y)`` inputs and labels, ``(x,)`` inputs; a mapping goes to the
    model as keywords. Labels that are not one integer per sample (regression targets, token
    labels) are no classes and count as None.

    Examples
    --------
    >>> split_batch((torch.zeros(2, 3), torch.tensor([1, 0])))[1]
    tensor([1, 0])
    """
    labels = None
    if isinstance(batch, Mapping):
        inputs, labels = batch, batch.get("labels", batch.get("label"))
    elif isinstance(batch, tuple | list):
        if not batch:
            raise StateError("batch: expected a tensor, (inputs, labels) or a mapping, got ()")
        inputs = batch[0]
        labels = batch[1] if len(batch) == 2 else None
    else:
        inputs = batch
    if not isinstance(inputs, Tensor | Mapping):
        raise StateError(
            f"batch: expected a tensor, (inputs, labels) or a mapping, got {type(inputs).__name__}"
        )
    integer = isinstance(labels, Tensor) and labels.ndim == 1 and not labels.is_floating_point()
    return inputs, labels if integer else None


@contextmanager
def quiet(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients; mode and random state are given back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    python, numpy = random.getstate(), np.random.get_state()
    try:
        if any(training for _, training in modes):
            model.eval()
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
        random.setstate(python)
        np.random.set_state(numpy)


def run(model: nn.Module, inputs: Any, expected: tuple[int, ...] | None = None) -> Any:
    """Call the model; an error of the model says which batch it refused.

    Parameters
    ----------
    inputs : Tensor or mapping
        Positional input, or keywords.
    expected : tuple of int, optional
        Shape of one sample seen before, for the message.

    Raises
    ------
    ForwardError
        Whatever the model raises, with the batch it refused and the likely cause.
    """
    try:
        return model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    except Exception as error:
        came = tuple(inputs.shape) if isinstance(inputs, Tensor) else sorted(inputs)
        hint = _placement_hint(model, inputs)
        if expected:
            hint += f"; earlier batches had samples of shape {expected}"
        raise ForwardError(
            f"the model raised {type(error).__name__} on a batch of shape {came}{hint}: {error}"
        ) from error


def run_quietly(model: nn.Module, batch: Any) -> Any:
    """One `run` inside `quiet`, labels dropped."""
    with quiet(model):
        return run(model, split_batch(batch)[0])


def _placement_hint(model: nn.Module, inputs: Any) -> str:
    """What differs in device or type between the batch and the first parameter."""
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    values = inputs.values() if isinstance(inputs, Mapping) else (inputs,)
    for value in (v for v in values if isinstance(v, Tensor) and parameter is not None):
        if value.device != parameter.device:
            return (
                f" on {value.device}, while the model is on {parameter.device} "
                f"(move the batch with .to({str(parameter.device)!r}))"
            )
        if value.dtype not in (parameter.dtype, torch.int64, torch.int32, torch.bool):
            return (
                f" of {value.dtype}, while the model computes in {parameter.dtype} "
                f"(convert the batch with .to({parameter.dtype}))"
            )
    return ""
