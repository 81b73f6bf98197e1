"""What a loader yields: what goes into the model, and what are class labels.

Nothing is dropped in silence. What a model cannot take and what is no label is refused by name,
or said in a warning; ``forward=`` and ``labels=`` are the way out for every other form.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.errors import StateError

Forward = Callable[[nn.Module, Any], Any]
Labels = Callable[[Any], Any]

_LABELS = ("labels", "label", "targets", "target", "y")
_REMEDY = (
    "say how with forward=lambda model, batch: ..., and where the class labels are with "
    "labels=lambda batch: ..."
)


@dataclass(frozen=True)
class Batch:
    """One batch: arguments of the model, class labels, and the batch as it came."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    labels: Tensor | None = None
    raw: Any = None

    @property
    def sample_shape(self) -> tuple[int, ...] | None:
        """Shape of one sample where the input is one tensor."""
        only = self.args[0] if len(self.args) == 1 and not self.kwargs else None
        return tuple(only.shape[1:]) if isinstance(only, Tensor) else None


@dataclass(frozen=True)
class Signature:
    """What a model's ``forward`` takes: needed and possible positional arguments, and names."""

    needed: int
    possible: float
    names: tuple[str, ...]
    any_name: bool

    @classmethod
    def of(cls, model: nn.Module | None) -> Signature:
        """Signature of a model; one positional argument where it cannot be known."""
        try:
            parameters = inspect.signature(model.forward).parameters.values()  # type: ignore[union-attr]
        except (AttributeError, TypeError, ValueError):
            return cls(1, 1, (), True)
        places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        rest = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        needed = sum(p.default is p.empty for p in places)
        names = tuple(p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
        keywords = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if rest and keywords and not places:  # a wrapper that hands everything on
            return cls(1, 1, (), True)
        return cls(needed, float("inf") if rest else len(places), names, keywords)


def split_batch(
    batch: Any,
    model: nn.Module | None = None,
    *,
    forward: Forward | None = None,
    labels: Labels | None = None,
) -> Batch:
    """Inputs and labels of a batch as loaders yield it.

    - a tensor: the input; an object of another class: the input, as it is;
    - a mapping: keywords, without labels if the model takes none; if the model knows none of the
      keys and takes one argument, that argument;
    - ``(x,)``, ``(x, y)``, ``(x1, x2)``, ``(x, y, more)``: by what ``forward`` takes. The last
      item that can be class labels is; a list of images is one input.

    Class labels are integers ``(N,)`` or ``(N, 1)``, whole numbers as floats, one-hot rows, as
    tensor, array or list.

    Parameters
    ----------
    forward, labels : callable, optional
        ``forward(model, batch)`` runs the model, ``labels(batch)`` gives the labels or None.

    Raises
    ------
    StateError
        For what is neither, with the remedy.

    Examples
    --------
    >>> split_batch((torch.zeros(2, 3), torch.tensor([1, 0]))).labels
    tensor([1, 0])
    >>> two = split_batch((torch.zeros(2, 3), torch.ones(2, 4)), nn.Bilinear(3, 4, 1))
    >>> len(two.args), two.labels
    (2, None)
    """
    if labels is not None:
        given = labels(batch)
        found = None if given is None else as_labels(given)
        if given is not None and found is None:
            raise StateError(f"labels: the function must give class numbers, got {_what(given)}")
        if forward is not None:
            return Batch(labels=found, raw=batch)
        inner = split_batch(batch, model)
        return Batch(inner.args, inner.kwargs, found, batch)
    if forward is not None:
        return Batch(labels=_find_labels(batch), raw=batch)
    if isinstance(batch, Tensor):
        return Batch((batch,), raw=batch)
    signature = Signature.of(model)
    if isinstance(batch, Mapping):
        return _mapping(batch, signature)
    if isinstance(batch, tuple | list):
        return _items(list(batch), batch, signature)
    if isinstance(batch, str | bytes | int | float | complex | type(None)) or _is_array(batch):
        raise StateError(
            f"batch: expected a tensor, (inputs, labels) or a mapping, got {_what(batch)}; make "
            "it a tensor, or " + _REMEDY
        )
    return Batch((batch,), raw=batch)


def _mapping(batch: Mapping[str, Any], signature: Signature) -> Batch:
    found = _find_labels(batch)
    known = [k for k in batch if k in signature.names]
    if not known and not signature.any_name and signature.possible >= 1:
        return Batch((batch,), labels=found, raw=batch)
    if signature.any_name:
        extra = [k for k in batch if signature.names and k not in signature.names and k in _LABELS]
    else:
        extra = [k for k in batch if k not in signature.names]
    unknown = [k for k in extra if k not in _LABELS]
    if unknown:
        warnings.warn(
            f"batch: the model takes no {', '.join(map(repr, unknown))}, left out; {_REMEDY}",
            UserWarning,
            stacklevel=2,
        )
    return Batch((), {k: v for k, v in batch.items() if k not in extra}, found, batch)


def _items(items: list[Any], batch: Any, signature: Signature) -> Batch:
    if not items:
        raise StateError("batch: expected a tensor, (inputs, labels) or a mapping, got ()")
    if _are_images(items, signature):
        return Batch((items,), raw=batch)
    first = items[0]
    if isinstance(first, tuple | list) and first and all(isinstance(x, Tensor) for x in first):
        items[0] = first = list(first)
    if _is_array(first) or isinstance(first, str | int | float | type(None)):
        raise StateError(
            "batch: expected a tensor, (inputs, labels) or a mapping, got a "
            f"{type(batch).__name__} that begins with {_what(first)}; make it a tensor, or "
            + _REMEDY
        )
    last = as_labels(items[-1]) if len(items) > 1 else None
    if isinstance(first, Mapping):
        inner = _mapping(first, signature)
        labels = last if last is not None else inner.labels
        _leave_out(items[1:] if last is None else items[1:-1], 2)
        return Batch(inner.args, inner.kwargs, labels, batch)
    if len(items) == 1:
        return Batch((first,), raw=batch)
    if signature.needed >= len(items):
        return Batch(tuple(items), raw=batch)
    rows = len(first) if isinstance(first, list | Tensor) and _sized(first) else None
    if signature.needed > 1 or signature.possible == 1:
        n = max(signature.needed, 1)
        inputs, rest = items[:n], items[n:]
        labels = _one_of(rest, rows)
        _leave_out([r for r in rest if as_labels(r) is None or len(rest) > 1], n + 1, labels)
        return Batch(tuple(inputs), labels=labels, raw=batch)
    takes = signature.names[1] if len(signature.names) > 1 else ""
    if last is not None and (rows is None or len(last) == rows) and not _as_wide(items[-1], first):
        return Batch(tuple(items[:-1]), labels=last, raw=batch)
    if takes in _LABELS:
        _leave_out(items[1:], 2)
        return Batch((first,), raw=batch)
    if len(items) <= signature.possible and all(isinstance(x, Tensor) for x in items):
        return Batch(tuple(items), raw=batch)
    raise StateError(
        f"batch: got {len(items)} items ({', '.join(map(_what, items))}) and the model takes "
        f"{', '.join(signature.names)}; {_REMEDY}"
    )


def _one_of(rest: list[Any], rows: int | None) -> Tensor | None:
    """The first of the remaining items that can be labels, if possible of so many samples."""
    found = [labels for labels in map(as_labels, rest) if labels is not None]
    fitting = [labels for labels in found if rows is None or len(labels) == rows]
    return next(iter(fitting or found), None)  # a wrong number of labels is refused later


def _leave_out(items: list[Any], place: int, labels: Tensor | None = None) -> None:
    """Say what is used neither as input nor as labels."""
    if items and labels is not None:
        items = items[1:] if len(items) > 1 else []
    if items:
        said = ", ".join(map(_what, items))
        warnings.warn(
            f"batch: {said} (item {place} and on) is no input of the model and no class label, "
            f"and is left out; {_REMEDY}",
            UserWarning,
            stacklevel=2,
        )


def _find_labels(batch: Any) -> Tensor | None:
    if isinstance(batch, Mapping):
        named = (batch[k] for k in ("labels", "label") if k in batch)
        return next((f for f in map(as_labels, named) if f is not None), None)
    if isinstance(batch, tuple | list) and len(batch) > 1:
        return as_labels(batch[-1])
    return None


def as_labels(labels: Any) -> Tensor | None:
    """Class numbers ``(N,)`` as int64, or None if these are none.

    Examples
    --------
    >>> as_labels([2, 0]), as_labels(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    (tensor([2, 0]), tensor([1, 0]))
    >>> as_labels(torch.tensor([0.3, 1.7])) is None
    True
    """
    if _is_array(labels) or (
        isinstance(labels, list | tuple) and labels and all(_is_number(x) for x in labels)
    ):
        try:
            labels = torch.as_tensor(getattr(labels, "to_numpy", lambda: labels)(), device="cpu")
        except (TypeError, ValueError, RuntimeError):
            return None
    if not isinstance(labels, Tensor) or labels.is_complex() or labels.is_nested:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.shape[1] >= 2:
        one_hot = ((labels == 0) | (labels == 1)).all() and (labels.sum(dim=1) == 1).all()
        return labels.to(torch.float32).argmax(dim=1) if bool(one_hot) else None
    if labels.ndim != 1:
        return None
    if labels.is_floating_point() and not bool((labels == labels.round()).all()):
        return None
    return labels.to(torch.int64)


def _are_images(items: list[Any], signature: Signature) -> bool:
    """Whether a list is one input of a detection model: images (C, H, W), not a batch."""
    named = "images" in signature.names[:1]
    if signature.needed > 1 or (len(items) == 1 and not named):
        return False
    return all(
        isinstance(x, Tensor) and x.ndim == 3 and x.is_floating_point() and x.shape[0] in (1, 3, 4)
        for x in items
    )


def _as_wide(item: Any, first: Any) -> bool:
    """Whether an item has the shape of the tokens before it: a mask, no labels."""
    return (
        isinstance(item, Tensor)
        and isinstance(first, Tensor)
        and item.ndim == 2
        and item.shape == first.shape
    )


def _sized(value: Any) -> bool:
    return isinstance(value, list) or value.ndim > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, Tensor) and value.ndim == 0)


def _is_array(value: Any) -> bool:
    """Whether it is a numpy array, a pandas table or column."""
    return not isinstance(value, Tensor) and (
        hasattr(value, "__array__") or hasattr(value, "to_numpy")
    )


def _what(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__
