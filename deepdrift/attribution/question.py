"""A model, images and the classes to explain: checked once, before any gradient is taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepdrift.attribution.result import AttributionError
from deepdrift.states.batches import Batch
from deepdrift.states.forward import quiet, run, unwrap

Targets = int | Tensor | None


@dataclass(frozen=True, eq=False)
class Question:
    """What `ask` has checked.

    Attributes
    ----------
    network : nn.Module
        In evaluation mode.
    images : Tensor, shape (N, C, H, W)
        A copy that no graph knows.
    logits : Tensor, shape (N, K)
    targets : Tensor, shape (N,), int64
    batch_size : int
    """

    network: nn.Module
    images: Tensor
    logits: Tensor
    targets: Tensor
    batch_size: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return tuple(self.images.shape[-2:])

    def answer(self, x: Tensor) -> Tensor:
        """Logits tied to ``x``: where the network cuts the graph the gradient is zero, no error."""
        return self.network(x) + 0 * x.flatten(1)[:, :1]

    def chunks(self, n: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Images that take part in a graph, and their targets, ``n`` at a time."""
        for x, t in zip(
            self.images.split(n or self.batch_size),
            self.targets.split(n or self.batch_size),
            strict=True,
        ):
            yield x.clone().requires_grad_(), t


@contextmanager
def gradients(network: nn.Module) -> Iterator[None]:
    """Gradients, also inside ``no_grad`` and ``inference_mode``; random generators given back."""
    with quiet(network), torch.inference_mode(False), torch.enable_grad():
        yield


def network_of(model: nn.Module) -> nn.Module:
    """The eager network in evaluation mode.

    Raises
    ------
    AttributionError
        ``training_mode``: a pass would move the statistics of batch normalisation.
    """
    network = unwrap(model)
    training = [name for name, module in network.named_modules() if module.training]
    if training:
        which = "the model" if not training[0] else f"its part {training[0]!r}"
        raise AttributionError(
            f"model: {which} is in training mode, where dropout changes the answer and a pass "
            "moves the statistics of batch normalisation; call model.eval() first",
            "training_mode",
        )
    return network


def copy_of(images: Tensor, batch_size: int) -> Tensor:
    """A checked copy of the images.

    Raises
    ------
    AttributionError
        ``input`` for another form, ``not_finite`` for NaN and infinity.
    """
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise AttributionError(f"batch_size: expected an int >= 1, got {batch_size!r}")
    if not isinstance(images, Tensor):
        raise AttributionError(
            f"images: expected a float tensor (N, C, H, W), got {type(images).__name__}; "
            "make one with torch.as_tensor"
        )
    if images.ndim != 4 or 0 in images.shape:
        hint = "; for one image pass images[None]" if images.ndim == 3 else ""
        raise AttributionError(
            f"images: expected at least one, as (N, C, H, W), got shape {tuple(images.shape)}{hint}"
        )
    if not images.is_floating_point():
        raise AttributionError(
            f"images: expected floating-point numbers, got {images.dtype}, which has no gradient; "
            "scale them as the model was trained on them, bytes for example with "
            "images.float() / 255"
        )
    bad = ~images.detach().flatten(1).isfinite().all(dim=1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise AttributionError(
            f"images: {int(bad.sum())} of {len(bad)} have NaN or infinite pixels, the first is "
            f"number {first}; repair them or leave them out",
            "not_finite",
        )
    with torch.inference_mode(False):
        return images.detach().clone()


def ask(model: nn.Module, images: Tensor, targets: Targets, batch_size: int) -> Question:
    """Check everything, and run the model once for its answers.

    Parameters
    ----------
    model : nn.Module
        Images (N, C, H, W) -> logits (N, K), in evaluation mode.
    images : Tensor, shape (N, C, H, W)
    targets : int, Tensor of shape (N,), or None
        None: the predicted class of each image.
    batch_size : int
        Images in one pass.

    Raises
    ------
    AttributionError
        ``training_mode``, ``input`` or ``not_finite``.
    ForwardError
        What the model raises, with the batch that it refused.
    """
    network = network_of(model)
    copy = copy_of(images, batch_size)
    with quiet(network), torch.inference_mode(False), torch.no_grad():
        answers = [_checked(run(network, Batch((x,), raw=x)), x) for x in copy.split(batch_size)]
        logits = torch.cat(answers)
        bad = ~logits.isfinite().all(dim=1)
        if bad.any():
            raise AttributionError(
                f"model: the logits of {int(bad.sum())} of {len(bad)} images are NaN or infinite; "
                "an answer that is no number has no explanation",
                "not_finite",
            )
        return Question(network, copy, logits, _targets(targets, logits), batch_size)


def _checked(answer: object, x: Tensor) -> Tensor:
    if isinstance(answer, Tensor) and answer.ndim == 2 and len(answer) == len(x):
        if answer.is_floating_point() and answer.shape[1]:
            return answer
    came = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
    raise AttributionError(
        f"model: expected logits of shape ({len(x)}, K) for {len(x)} images, got {came}; wrap the "
        "model in an nn.Module whose forward returns the logits"
    )


def _targets(targets: Targets, logits: Tensor) -> Tensor:
    n, k = logits.shape
    if targets is None:
        return logits.argmax(dim=1)
    if isinstance(targets, int) and not isinstance(targets, bool):
        targets = torch.full((n,), targets)
    if not isinstance(targets, Tensor):
        try:
            targets = torch.as_tensor(targets)
        except (TypeError, ValueError, RuntimeError):
            targets = torch.empty(0)
    if targets.ndim == 0 and targets.dtype in _INTEGERS:
        targets = targets.expand(n)
    if targets.shape != (n,) or targets.dtype not in _INTEGERS:
        raise AttributionError(
            f"targets: expected a class number, or one for each of the {n} images, as integers; "
            f"got {targets.dtype} of shape {tuple(targets.shape)}"
        )
    chosen = targets.to(logits.device, torch.int64, copy=True)
    outside = (chosen < 0) | (chosen >= k)
    if outside.any():
        raise AttributionError(
            f"targets: the model has the classes 0 to {k - 1}, got {int(chosen[outside][0])}"
        )
    return chosen


_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
