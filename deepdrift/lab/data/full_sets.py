"""The full image sets of the published claims, read by torchvision.

torchvision is imported here and nowhere else in the data code, and only when a set is read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from deepdrift.errors import DeepDriftError, require

__all__ = ["FULL_SETS", "DataFileError", "FullSet", "default_root", "read_full"]


class DataFileError(DeepDriftError, FileNotFoundError):
    """A data file is missing, damaged or not the one that the project ships."""


@dataclass(frozen=True)
class FullSet:
    """How torchvision calls a set, and the files it wants below its root."""

    cls: str
    folder: str
    files: tuple[str, ...]


_IDX = tuple(
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
FULL_SETS = {
    "fashion-mnist": FullSet("FashionMNIST", "FashionMNIST/raw", _IDX),
    "mnist": FullSet("MNIST", "MNIST/raw", _IDX),
    "cifar-10": FullSet("CIFAR10", "cifar-10-batches-py", _BATCHES),
    "cifar-100": FullSet("CIFAR100", "cifar-100-python", ("train", "test", "meta")),
    "svhn": FullSet("SVHN", ".", ("train_32x32.mat", "test_32x32.mat")),
}


def default_root() -> Path:
    """``deepdrift`` in the user's cache folder: ``~/.cache`` unless XDG_CACHE_HOME says else."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepdrift"


def read_full(
    name: str, root: Path, *, train: bool, download: bool = False
) -> tuple[Tensor, Tensor, tuple[str, ...] | None]:
    """The training or the test part of a full set.

    Parameters
    ----------
    name : str
        A key of ``FULL_SETS``.
    root : path
        Folder in torchvision's layout, for instance ``root/MNIST/raw``.
    train : bool
        Training part, else test part.
    download : bool
        Let torchvision fetch what is not there.

    Returns
    -------
    images : Tensor
        Shape (N, C, H, W), uint8.
    labels : Tensor
        Shape (N,), int64.
    class_names : tuple of str, or None
        As stored in the set's own files (CIFAR only).

    Raises
    ------
    DataFileError
        If files are missing, damaged, or cannot be downloaded.
    MissingExtraError
        If torchvision is not installed (for SVHN: scipy).
    """
    spec = FULL_SETS[name]
    datasets = require("torchvision.datasets", "lab")
    if name == "svhn":
        require("scipy.io", "lab")
    folder = root / spec.folder
    advice = (
        f"put {', '.join(spec.files)} into {folder}, or pass download=True where there is a "
        f'connection; the cut behind load("fashion-mnist") needs neither'
    )
    missing = [file for file in spec.files if not (folder / file).is_file()]
    if missing and not download:
        raise DataFileError(f"{name} is not complete: no {', '.join(missing)}; {advice}")
    part = {"split": "train" if train else "test"} if name == "svhn" else {"train": train}
    try:
        found = getattr(datasets, spec.cls)(root, download=download, **part)
    except Exception as error:  # of many kinds, and none of them says what to do
        raise DataFileError(
            f"torchvision could not {'download or ' if download else ''}read {name} in {folder} "
            f"({type(error).__name__}: {error}); {advice}"
        ) from error
    images = torch.as_tensor(found.data)
    if images.ndim == 3:
        images = images[:, None]
    elif name.startswith("cifar"):
        images = images.permute(0, 3, 1, 2)  # torchvision keeps CIFAR as (N, H, W, C)
    labels = torch.as_tensor(found.labels if name == "svhn" else found.targets)
    return images, labels.long(), tuple(found.classes) if name.startswith("cifar") else None
