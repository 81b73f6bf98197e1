"""A guard on disk: what `fit` and `calibrate` learned, as one safetensors file, no pickle."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from deepdrift.errors import NotFittedError, ReferenceFileError
from deepdrift.guard.checks import GuardError
from deepdrift.guard.decoder import Decoder
from deepdrift.guard.doubt import Template
from deepdrift.guard.familiar import Familiar, GroupedRanks
from deepdrift.guard.normal import Normal
from deepdrift.guard.trace import GuardTrace
from deepdrift.monitor.weights import check_weights, sketch
from deepdrift.states.storage import parts_of, read_checked, write_checked

FORMAT = "deepdrift-guard-1"
# of the answers of a calibration; their sketches, the largest part, are not asked for any more
_PLAIN = (str, int, float, bool, type(None))  # of a template's name; no subclass of these
_TRACE = ("tokens", "mask", "log_prob", "entropy", "velocity", "innovation", "p_value", "state")


def save_guard(path: str | os.PathLike[str], normal: Normal, decoder: Decoder, rank: int) -> None:
    """Write what was learned; see `DeepDriftGuard.save`."""
    tensors, templates = to_tensors(normal)
    header = {
        "model": type(decoder.network).__name__,
        "layers": list(decoder.layers),
        "rank": rank,
        "alpha": normal.alpha,
        "weights": sketch(decoder.network),
        "templates": templates,
    }
    write_checked(path, tensors, header, FORMAT)


def load_guard(
    path: str | os.PathLike[str], decoder: Decoder, rank: int, alpha: float | None
) -> Normal:
    """What another guard of the same kind of model has saved; see `DeepDriftGuard.load`."""
    tensors, header = read_checked(path, FORMAT, what="calibrated guard", again="calibrate")
    network = decoder.network
    mine = {"model": type(network).__name__, "layers": list(decoder.layers), "rank": rank}
    with parts_of(path, again="calibrate"):
        for name, value in mine.items():
            if header[name] != value:
                raise ReferenceFileError(
                    f"path: it does not belong to this guard: {name} {_short(header[name])}, here "
                    f"{_short(value)}"
                )
        # the likelihood of an answer depends on every part, whichever layers are watched
        check_weights(network, header["weights"], None, stacklevel=3, argument="path")
        alpha = header["alpha"] if alpha is None else alpha
        return from_tensors(tensors, header["templates"], decoder.layers, alpha)


def to_tensors(normal: Normal) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What was learned as named tensors, and what is no tensor as plain JSON.

    Raises
    ------
    NotFittedError
        If nothing was.
    GuardError
        For a template's name that `encode_name` refuses.
    """
    if normal.tokens is None and not normal.templates:
        raise NotFittedError("guard: call fit(pairs) or calibrate(pairs) before save")
    tensors: dict[str, Tensor] = {}
    header: dict[str, Any] = {"fitted": [], "calibrated": []}
    if normal.tokens is not None:
        tensors |= _under("tokens", normal.tokens.to_tensors())
        tensors |= {"reference": normal.reference} | _flat("seen", sorted(normal.seen))
    for i, (name, familiar) in enumerate(normal.prompts.items()):
        tensors |= _under(f"prompts.{i}", familiar.to_tensors())
        header["fitted"].append(encode_name(name))
    if normal.ranks is not None:
        tensors |= dict(zip(("ranks.scores", "ranks.groups"), normal.ranks.given, strict=True))
    for i, (name, template) in enumerate(normal.templates.items()):
        trace, head = template.trace, f"template.{i}"
        tensors |= {f"{head}.{key}": getattr(trace, key) for key in (*_TRACE, "prompt_sketch")}
        tensors |= {f"{head}.correct": template.correct} | _flat(f"{head}.prompts", trace.prompts)
        kept = {"has_wrong": template.has_wrong, "method": template.method}
        kept |= {"name": encode_name(name), "confidence": float(template.confidence)}
        header["calibrated"].append(kept)
    return tensors, header


def from_tensors(
    tensors: Mapping[str, Tensor], header: Mapping[str, Any], layers: tuple[str, ...], alpha: float
) -> Normal:
    """Inverse of `to_tensors`, with thresholds for this alpha.

    Raises
    ------
    GuardError
        If the answers that were calibrated are too few for this alpha.
    """
    normal = Normal(alpha)
    if "reference" in tensors:
        normal.tokens = Familiar.from_tensors(_of("tokens", tensors))
        normal.reference, normal.seen = tensors["reference"], set(_rows("seen", tensors))
    for i, name in enumerate(header["fitted"]):
        normal.prompts[decode_name(name)] = Familiar.from_tensors(_of(f"prompts.{i}", tensors))
    if "ranks.scores" in tensors:
        normal.ranks = GroupedRanks(tensors["ranks.scores"], tensors["ranks.groups"])
    for i, kept in enumerate(header["calibrated"]):
        part, name = _of(f"template.{i}", tensors), decode_name(kept["name"])
        trace = GuardTrace(
            **{key: part[key] for key in (*_TRACE, "prompt_sketch")},
            layers=layers,
            sketch=part["velocity"].new_empty((*part["velocity"].shape, 0)),
            prompts=tuple(_rows("prompts", part)),
        )
        how = kept["has_wrong"], alpha, kept["method"], kept["confidence"]
        fitted = normal.familiar(name), normal.reference
        normal.templates[name] = Template(name, trace, part["correct"], *how, *fitted)
    return normal


def encode_name(name: Hashable) -> Any:
    """A template's name as JSON, from which `decode_name` makes the same, of the same type.

    Raises
    ------
    GuardError
        For anything but a string, a number, None, or a tuple of these. Of NumPy's numbers, enums
        and the like a file could keep the value only.

    Examples
    --------
    >>> encode_name(("capital", 2, None))
    {'tuple': ['capital', 2, None]}
    >>> decode_name(encode_name(("capital", 2, None)))
    ('capital', 2, None)
    """
    if type(name) is tuple:
        return {"tuple": [encode_name(part) for part in name]}
    if type(name) in _PLAIN:
        return name
    raise GuardError(
        f"templates: expected names that a file keeps as they are (str, int, float, bool, None, "
        f"tuples of these), got {name!r} of type {type(name).__name__}; calibrate with such names, "
        "for example str(name)"
    )


def decode_name(name: Any) -> Hashable:
    """Inverse of `encode_name`."""
    return tuple(map(decode_name, name["tuple"])) if isinstance(name, dict) else name


def _under(head: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{head}.{key}": value for key, value in tensors.items()}


def _of(head: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{head}."
    return {key[len(start) :]: v for key, v in tensors.items() if key.startswith(start)}


def _flat(name: str, rows: Sequence[tuple[int, ...]]) -> dict[str, Tensor]:
    """Rows of different lengths as two tensors."""
    parts = {"ids": [x for row in rows for x in row], "lengths": [len(row) for row in rows]}
    kind = {"dtype": torch.int64, "device": "cpu"}
    return {f"{name}.{key}": torch.tensor(values, **kind) for key, values in parts.items()}


def _rows(name: str, tensors: Mapping[str, Tensor]) -> list[tuple[int, ...]]:
    lengths = tensors[f"{name}.lengths"].tolist()
    return [tuple(part.tolist()) for part in tensors[f"{name}.ids"].split(lengths)]


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) > 3:
        return f"{len(value)} from {value[0]!r} to {value[-1]!r}"
    return repr(value)
