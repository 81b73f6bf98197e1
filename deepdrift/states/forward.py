"""Our own forward passes: they leave no trace in the model or in the random generators."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepdrift.errors import ForwardError, StateError
from deepdrift.states.batches import Batch, Forward, split_batch

_EXPORTED = (
    "an exported program has one flat graph and no layers to watch: watch the original Python "
    "model that it was exported from"
)


def unwrap(model: nn.Module) -> nn.Module:
    """The eager network behind ``torch.compile`` and DistributedDataParallel.

    Raises
    ------
    StateError
        For DataParallel, whose replicas are copies that no hook of ours reaches, for TorchScript
        and exported programs, and for something that is no module.
    """
    if not isinstance(model, nn.Module):
        exported = type(model).__name__ == "ExportedProgram"
        raise StateError(
            f"model: expected a torch.nn.Module, got {type(model).__name__}"
            + (f"; {_EXPORTED}" if exported else "")
        )
    for name, module in model.named_modules():
        where = f"its part {name!r}" if name else "it"
        if isinstance(module, nn.DataParallel):
            raise StateError(
                "model: nn.DataParallel runs copies of the network that cannot be watched; watch "
                "its .module on one device, or use DistributedDataParallel"
            )
        if not name and isinstance(module, torch.jit.ScriptModule):
            raise StateError(
                f"model: {where} is TorchScript, whose layers take no hooks; watch the original "
                "Python model that it was made from, with the same weights"
            )
        if "eval" in vars(module) and isinstance(module, torch.fx.GraphModule):
            raise StateError(f"model: {where} comes from torch.export; {_EXPORTED}")
    model = getattr(model, "_orig_mod", model)
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return unwrap(model.module)
    return model


class Quiet:
    """Evaluation mode and no gradients for our own passes; `quiet` is the same for one pass.

    Nothing is touched that need not be: a model in evaluation mode keeps it, and random
    generators are given back only if the model draws from them. What is shared by all threads
    (modes, generators) is changed under one lock, and given back.

    Parameters
    ----------
    model : nn.Module
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.draws: bool | None = None  # random numbers in evaluation mode; the next pass tells

    @contextmanager
    def __call__(self, draw_on: bool = False) -> Iterator[None]:
        """Run what is inside quietly.

        With ``draw_on`` the random generators stay where the model left them, so that the next
        pass draws other numbers; who asks for it gives them back in the end.
        """
        training = [module for module in self._model.modules() if module.training]
        if not training and self.draws is False:
            with torch.no_grad():
                yield
            return
        with _SHARED:
            training = [module for module in self._model.modules() if module.training]
            before = None if self.draws is False else _random_states(self._model)
            try:
                for module in training:
                    module.training = False
                with torch.no_grad():
                    yield
                if self.draws is None and before is not None:
                    self.draws = not _same(before, _random_states(self._model))
            finally:
                for module in training:
                    module.training = True
                if before is not None and not draw_on:
                    _restore(before)


_SHARED = threading.RLock()


def _random_states(model: nn.Module) -> tuple[Any, ...]:
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    cuda = [(d, torch.cuda.get_rng_state(d)) for d in devices]
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def _restore(states: tuple[Any, ...]) -> None:
    python, numpy, cpu, cuda = states
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    for device, state in cuda:
        torch.cuda.set_rng_state(state, device)


def _same(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    numpy = all(np.array_equal(x, y) for x, y in zip(a[1], b[1], strict=True))
    cuda = all(torch.equal(x, y) for (_, x), (_, y) in zip(a[3], b[3], strict=True))
    return a[0] == b[0] and numpy and torch.equal(a[2], b[2]) and cuda


@contextmanager
def quiet(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients; mode and random state are given back afterwards."""
    with Quiet(model)():
        yield


def run(
    model: nn.Module, batch: Batch, forward: Forward | None = None, expected: Any = None
) -> Any:
    """Call the model; an error of the model says which batch it refused.

    Parameters
    ----------
    batch : Batch
        From `deepdrift.states.batches.split_batch`.
    forward : callable, optional
        ``forward(model, batch)`` calls the model with the batch as the loader gave it.
    expected : tuple of int, optional
        Shape of one sample seen before, for the message.

    Raises
    ------
    ForwardError
        Whatever the model raises, with the batch it refused and the likely cause.
    """
    try:
        if forward is not None:
            return forward(model, batch.raw)
        return model(*batch.args, **batch.kwargs)
    except Exception as error:
        values = [*batch.args, *batch.kwargs.values()]
        shapes = [_shape(value) for value in values]
        came = sorted(batch.kwargs) or (shapes[0] if len(shapes) == 1 else shapes)
        hint = _placement_hint(model, values)
        if expected:
            hint += f"; earlier batches had samples of shape {expected}"
        if isinstance(error, TypeError) and forward is None:
            hint += "; for another call give forward=lambda model, batch: ..."
        raise ForwardError(
            f"the model raised {type(error).__name__} on a batch of shape {came}{hint}: {error}"
        ) from error


def _shape(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    return sorted(value) if isinstance(value, Mapping) else type(value).__name__


def run_quietly(model: nn.Module, batch: Any, forward: Forward | None = None) -> Any:
    """One `run` inside `quiet`, labels dropped."""
    with quiet(model):
        return run(model, split_batch(batch, model, forward=forward), forward)


def _placement_hint(model: nn.Module, values: list[Any]) -> str:
    """What differs in device or type between the batch and the first parameter."""
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
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
