"""Read what a training wrote for TensorBoard: curves and pictures, without starting TensorBoard."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.errors import DeepDriftError, require

__all__ = ["TrainingLog", "TrainingLogError", "read_training_log"]


class TrainingLogError(DeepDriftError, ValueError):
    """A folder without event file, or with events that are not those of one training."""


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """Curves and pictures of one training.

    Attributes
    ----------
    steps : ndarray, shape (K,), int64
        Where the curves were written: epochs or steps, increasing.
    scalars : dict of str to ndarray, shapes (K,), float64
        Tag -> values, as precise as the float32 that TensorBoard stores.
    images : dict of str to ndarray, shapes (K', H, W, 3), float32 in [0, 1]
        Tag -> pictures in the order of their steps.
    """

    steps: NDArray[np.int64]
    scalars: dict[str, NDArray[np.float64]]
    images: dict[str, NDArray[np.float32]]


def read_training_log(folder: str | os.PathLike[str]) -> TrainingLog:
    """Read the TensorBoard event file of one training.

    Parameters
    ----------
    folder : path
        The folder that a ``torch.utils.tensorboard.SummaryWriter`` wrote into.

    Returns
    -------
    TrainingLog

    Raises
    ------
    TrainingLogError
        If the folder holds no event file, no curve, the events of several trainings, or curves
        that were written at different steps.
    MissingExtraError
        If TensorBoard is not installed.
    """
    path = Path(folder)
    files = sorted(path.glob("*tfevents*"))
    if not files:
        raise TrainingLogError(
            f"folder: {path} holds no event file (a name with 'tfevents'); pass the folder of one "
            "training, such as data/runs/cnn-augmented"
        )
    if len(files) > 1:
        raise TrainingLogError(
            f"folder: {path} holds {len(files)} event files; keep one training per folder"
        )
    module = require("tensorboard.backend.event_processing.event_accumulator", "lab")
    everything = {module.SCALARS: 0, module.IMAGES: 0, module.TENSORS: 1}
    events = module.EventAccumulator(str(files[0]), size_guidance=everything).Reload()
    tags = events.Tags()
    curves = {tag: events.Scalars(tag) for tag in tags["scalars"]}
    if not curves:
        raise TrainingLogError(f"folder: {path} holds no curve (SummaryWriter.add_scalar)")
    steps = {tag: [event.step for event in found] for tag, found in curves.items()}
    first = next(iter(steps.values()))
    other = next((tag for tag, found in steps.items() if found != first), None)
    if other is not None:
        raise TrainingLogError(
            f"folder: the curves of {path} were written at different steps: {next(iter(steps))} at "
            f"{len(first)}, {other} at {len(steps[other])}"
        )
    return TrainingLog(
        np.array(first, dtype=np.int64),
        {tag: np.array([e.value for e in found]) for tag, found in curves.items()},
        {tag: np.stack([_decoded(e) for e in events.Images(tag)]) for tag in tags["images"]},
    )


def _decoded(event: Any) -> NDArray[np.float32]:
    picture = require("PIL.Image", "lab").open(io.BytesIO(event.encoded_image_string))
    return np.asarray(picture.convert("RGB"), dtype=np.float32) / 255
