"""A calibrated monitor of an agent on disk: one safetensors file, no pickle."""

from __future__ import annotations

import copy
import os
from typing import Any

import torch

from deepdrift.errors import ForwardError, NotFittedError, ReferenceFileError
from deepdrift.monitor.weights import check_weights, sketch
from deepdrift.rl.results import RLCalibration
from deepdrift.rl.signals import StepScore
from deepdrift.rl.spaces import ActionCode
from deepdrift.rl.watch import StepWatch
from deepdrift.states.storage import parts_of, read_checked, write_checked

FORMAT = "deepdrift-rl-1"
_NUMBERS = ("threshold", "false_alarms_per_episode", "n_fit", "n_calibration", "longest")


def save_monitor(
    path: str | os.PathLike[str], watch: StepWatch, calibration: RLCalibration | None
) -> None:
    """Write what `calibrate` learned; see `DeepDriftRL.save`."""
    step = watch.step
    if calibration is None or step is None:
        raise NotFittedError("monitor: call calibrate(episodes) before save")
    assert watch.code is not None  # known since the fit
    header = {
        "setting": _setting(watch),
        "layers": _layers(watch, step.widths),
        "widths": list(step.widths),
        "width": watch.width,
        "code": [watch.code.discrete, watch.code.width],
        "calibration": {name: getattr(calibration, name) for name in _NUMBERS},
        "weights": {} if watch.policy.module is None else sketch(watch.policy.module),
    }
    tensors = {f"step.{name}": value for name, value in step.to_tensors().items()}
    write_checked(path, tensors | {"maxima": calibration.maxima}, header, FORMAT)


def load_monitor(path: str | os.PathLike[str], watch: StepWatch) -> tuple[StepWatch, RLCalibration]:
    """What another monitor of such a policy has saved; see `DeepDriftRL.load`."""
    tensors, header = read_checked(path, FORMAT, what="calibrated monitor", again="calibrate")
    with parts_of(path, again="calibrate"):
        new = _checked(watch, header)
        new.width, new.code = header["width"], ActionCode(*header["code"])
        prefix = "step."
        parts = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        new.step = StepScore.from_tensors(watch.score, header["widths"], parts)
        return new, RLCalibration(**header["calibration"], maxima=tensors["maxima"])


def _checked(watch: StepWatch, header: dict[str, Any]) -> StepWatch:
    """A copy of what is watched, if the file belongs to it; its layers are known."""
    for name, mine in _setting(watch).items():
        if header["setting"][name] != mine:
            raise _foreign(f"{name} {header['setting'][name]!r}, here {mine!r}")
    width, code = header["width"], ActionCode(*header["code"])
    if watch.width not in (None, width):
        raise _foreign(f"observations of {width} numbers, here {watch.width}")
    if watch.code not in (None, code):
        raise _foreign(f"{code}, here {watch.code}")
    new = copy.copy(watch)
    new.policy = copy.copy(watch.policy)  # a file that is refused leaves no layers behind
    if watch.of == "hidden":
        _check_layers(new, width, header)
    network = new.policy.module
    if network is not None and header["weights"]:
        check_weights(network, header["weights"], None, stacklevel=4, argument="path")
    return new


def _setting(watch: StepWatch) -> dict[str, Any]:
    """What must agree between a monitor and a file."""
    return {"score": watch.score, "of": watch.of, "weight": watch.weight}


def _check_layers(watch: StepWatch, width: int, header: dict[str, Any]) -> None:
    """Look at one observation, so that default layers are known, and compare."""
    try:
        widths = watch.policy.widths(torch.zeros(1, width))
    except ForwardError as error:
        raise _foreign(f"observations of {width} numbers, which this policy refuses") from error
    found = _layers(watch, widths)
    if found != header["layers"]:
        raise _foreign(f"layers {_said(header['layers'])}, here {_said(found)}")


def _layers(watch: StepWatch, widths: list[int]) -> list[list[Any]]:
    """Name, kind and width of every watched layer, in the order of the state."""
    if watch.of != "hidden":
        return []
    kinds = watch.policy.kinds
    return [[*both, width] for both, width in zip(kinds.items(), widths, strict=True)]


def _said(layers: list[list[Any]]) -> str:
    return ", ".join(f"{name} ({kind}, {width})" for name, kind, width in layers)


def _foreign(what: str) -> ReferenceFileError:
    return ReferenceFileError(f"path: it does not belong to this monitor: {what}")
