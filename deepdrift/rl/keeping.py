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
from deepdrift.states.storage import read_checked, write_checked

FORMAT = "deepdrift-rl-1"
_NUMBERS = ("threshold", "false_alarms_per_episode", "n_fit", "n_calibration", "longest")


def save_monitor(
    path: str | os.PathLike[str], watch: StepWatch, calibration: RLCalibration | None
) -> None:
    """Write what `calibrate` learned; see `DeepDriftRL.save`."""
    step = watch.step
    if calibration is None or step is None:
        raise NotFittedError("monitor: call calibrate(episodes) before save")
    code = watch.code
    header = {
        "setting": _setting(watch),
        "layers": watch.policy.layers if watch.of == "hidden" else [],
        "widths": list(step.widths),
        "width": watch.width,
        "code": None if code is None else [code.discrete, code.width],
        "calibration": {name: getattr(calibration, name) for name in _NUMBERS},
        "weights": {} if watch.policy.module is None else sketch(watch.policy.module),
    }
    tensors = {f"step.{name}": value for name, value in step.to_tensors().items()}
    write_checked(path, tensors | {"maxima": calibration.maxima}, header, FORMAT)


def load_monitor(path: str | os.PathLike[str], watch: StepWatch) -> tuple[StepWatch, RLCalibration]:
    """What another monitor of such a policy has saved; see `DeepDriftRL.load`."""
    tensors, header = read_checked(path, FORMAT, what="calibrated monitor", again="calibrate")
    for name, mine in _setting(watch).items():
        if header["setting"][name] != mine:
            raise _foreign(f"{name} {header['setting'][name]!r}, here {mine!r}")
    width = header["width"]
    if watch.width not in (None, width):
        raise _foreign(f"observations of {width} numbers, here {watch.width}")
    new = copy.copy(watch)
    if watch.of == "hidden":
        _check_layers(new, width, header)
    if new.policy.module is not None and header["weights"]:
        check_weights(new.policy.module, header["weights"], tuple(header["layers"]), stacklevel=3)
    code = header["code"]
    new.width, new.code = width, None if code is None else ActionCode(*code)
    prefix = "step."
    parts = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    new.step = StepScore.from_tensors(watch.score, header["widths"], parts)
    return new, RLCalibration(**header["calibration"], maxima=tensors["maxima"])


def _setting(watch: StepWatch) -> dict[str, Any]:
    """What must agree between a monitor and a file."""
    return {"score": watch.score, "of": watch.of, "weight": watch.weight}


def _check_layers(watch: StepWatch, width: int, header: dict[str, Any]) -> None:
    """Look at one observation, so that default layers are known, and compare."""
    try:
        widths = watch.policy.widths(torch.zeros(1, width))
    except ForwardError as error:
        raise _foreign(f"observations of {width} numbers, which this policy refuses") from error
    found = dict(zip(watch.policy.layers, widths, strict=True))
    theirs = dict(zip(header["layers"], header["widths"], strict=True))
    if found != theirs:
        raise _foreign(f"layers and widths {theirs}, here {found}")


def _foreign(what: str) -> ReferenceFileError:
    return ReferenceFileError(f"path: it does not belong to this monitor: {what}")
