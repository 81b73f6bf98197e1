"""Real images and trained networks: the cuts that ship, and the full sets through torchvision.

The cuts lie in the repository's ``data/`` folder, need no network, and are checked against
``data/SHA256SUMS`` when they are read. ``data/README.md`` says where each comes from.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deepdrift.lab.data.full_sets import FULL_SETS, DataFileError, default_root, read_full
from deepdrift.lab.data.images import PARTS, ImageData, ImageSet
from deepdrift.lab.networks.models import SmallResNet, SmallViT, cifar_resnet, cifar_vit

__all__ = [
    "NETWORK_LAYERS",
    "DataFileError",
    "ImageData",
    "ImageSet",
    "data_folder",
    "load",
    "load_network",
    "load_ood",
    "shipped",
]

# fmt: off
FASHION_NAMES = ["t-shirt", "trouser", "pullover", "dress", "coat",
                 "sandal", "shirt", "sneaker", "bag", "ankle-boot"]
PHOTO_NAMES = ["astronaut", "brick", "camera", "chelsea", "coffee",
               "coins", "grass", "gravel", "hubble_deep_field", "rocket"]
CIFAR_NAMES = ["airplane", "automobile", "bird", "cat", "deer",
               "dog", "frog", "horse", "ship", "truck"]
# fmt: on
DIGIT_NAMES = [str(digit) for digit in range(10)]
OOD_NAMES = {"mnist": DIGIT_NAMES, "digits": DIGIT_NAMES, "photo-patches": PHOTO_NAMES}


def _blocks(n: int) -> tuple[str, ...]:
    return tuple(f"blocks.{i}" for i in range(n))


_CNN_LAYERS, _VIT_LAYERS = ("stem", *_blocks(6)), ("patch", *_blocks(5))
NETWORK_LAYERS: dict[str, tuple[str, ...]] = {
    "cnn": _CNN_LAYERS,
    "cnn-augmented": _CNN_LAYERS,
    "cnn-cue": _CNN_LAYERS,
    **{f"cnn-holdout{seed}": _CNN_LAYERS for seed in ("", "-1", "-2", "-3")},
    "vit": _VIT_LAYERS,
    "vit-cue": _VIT_LAYERS,
    **{f"vit-holdout{seed}": _VIT_LAYERS for seed in ("", "-1", "-2", "-3")},
    **{f"cifar10-cnn{seed}": ("stem", *_blocks(5)) for seed in ("", "-1")},
    **{f"cifar10-vit{seed}": ("patch", *_blocks(6)) for seed in ("", "-1")},
}
"""Name of every shipped network -> the layers worth watching, in execution order."""


def data_folder(root: str | Path | None = None) -> Path:
    """The folder of the shipped files.

    ``root`` if given, else the environment variable ``DEEPDRIFT_DATA``, else ``data/`` beside
    the package.

    Raises
    ------
    DataFileError
        If that folder has no ``SHA256SUMS``.
    """
    beside = Path(__file__).resolve().parents[3] / "data"
    folder = Path(root or os.environ.get("DEEPDRIFT_DATA") or beside)
    if not (folder / "SHA256SUMS").is_file():
        raise DataFileError(
            f"no SHA256SUMS in {folder}, so this is not DeepDrift's data folder; work in a clone "
            "of the repository, or pass its data/ folder as root= or in DEEPDRIFT_DATA"
        )
    return folder


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, size: int, modified: int) -> str:
    """Checksum of a file, computed once per process as long as size and time stay the same."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _checked(folder: Path, name: str) -> Path:
    """Path of a shipped file whose bytes are those of the manifest."""
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    expected = {file: digest for digest, file in (line.split(maxsplit=1) for line in lines)}
    path = folder / name
    remedy = f"restore it with `git checkout -- data/{name}` or rebuild it with `make data`"
    if not path.is_file():
        raise DataFileError(f"{path} is missing; {remedy}")
    if name not in expected:
        raise DataFileError(
            f"{name} is not listed in {folder / 'SHA256SUMS'}; if you built it yourself, run "
            "`python data/build/checksums.py`"
        )
    stat = path.stat()
    found = _sha256(path, stat.st_size, stat.st_mtime_ns)
    if found != expected[name]:
        raise DataFileError(
            f"{path} is not the file that the project ships: SHA256SUMS says "
            f"{expected[name][:16]}..., the file has {found[:16]}...; {remedy}"
        )
    return path


def shipped(name: str, *, root: str | Path | None = None) -> Path:
    """Path of a shipped file, its bytes checked against the manifest.

    Parameters
    ----------
    name : str
        Relative to the data folder, such as ``"comparison.npz"``.
    root : path, optional
        See :func:`data_folder`.

    Raises
    ------
    DataFileError
        If the file is missing, unlisted, or has been changed.
    """
    return _checked(data_folder(root), name)


def _image_set(images: Any, labels: Any, names: Iterable[str]) -> ImageSet:
    """Bytes (N, H, W) or (N, C, H, W) as float32 in [0, 1] with a channel axis."""
    pixels = torch.as_tensor(images)
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels
    floats = pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    return ImageSet(floats, torch.as_tensor(labels).to(torch.int64), tuple(names))


def load_ood(name: str, *, root: str | Path | None = None) -> ImageSet:
    """A shipped set of 1,000 images 1x28x28 that show no garments (far OOD).

    Parameters
    ----------
    name : {"mnist", "digits", "photo-patches"}
        MNIST digits; scikit-learn's 8x8 digits enlarged; grey squares cut from photographs.
    root : path, optional
        See :func:`data_folder`.

    Raises
    ------
    ValueError
        If the name is unknown.
    DataFileError
        If the file is missing or has been changed.
    """
    if name not in OOD_NAMES:
        raise ValueError(
            f"name must be one of {', '.join(OOD_NAMES)}, got {name!r}; other sets serve as OOD "
            f'through load(name).test, held-out classes through load("fashion-mnist").classes'
        )
    with np.load(_checked(data_folder(root), "ood.npz"), allow_pickle=False) as arrays:
        return _image_set(arrays[f"{name}_images"], arrays[f"{name}_labels"], OOD_NAMES[name])


def load_network(name: str, *, root: str | Path | None = None) -> nn.Module:
    """A trained network in evaluation mode, float32, on the CPU.

    Parameters
    ----------
    name : {"cnn", "vit", "cnn-augmented", "cnn-cue", "vit-cue", "cnn-holdout", ...}
        Residual CNN or vision transformer; ``-holdout`` never saw sandals (5) and bags (8), and
        ``-holdout-1`` to ``-3`` are three more trainings of it, without the images of ``fit``;
        ``-cue`` learnt a mark on the border (:mod:`deepdrift.lab.data.cue`) instead of garments;
        ``-augmented`` was trained with :func:`deepdrift.lab.data.augment.augment`.
        ``cifar10-cnn``, ``cifar10-vit``, each with ``-1`` for a second training, know CIFAR-10.
    root : path, optional
        See :func:`data_folder`.

    Returns
    -------
    nn.Module
        Images (N, 1, 28, 28) in [0, 1] -> logits (N, K); CIFAR: (N, 3, 32, 32). It carries four
        attributes: ``classes`` (tuple of int: the data set's label of each logit),
        ``class_names``, ``test_accuracy`` (on the test images of those classes, out of 10,000, as
        they are), and ``trained_without`` ("fit" if the training set left out those images, "test
        images" for CIFAR, else "").

    Raises
    ------
    ValueError
        If the name is unknown.
    DataFileError
        If the file is missing or has been changed.
    """
    if name not in NETWORK_LAYERS:
        raise ValueError(f"name must be one of {', '.join(NETWORK_LAYERS)}, got {name!r}")
    from safetensors import safe_open

    with safe_open(_checked(data_folder(root), f"models/{name}.safetensors"), "pt") as file:
        header = file.metadata()
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    classes = tuple(json.loads(header["classes"]))
    fashion = header.get("data", "fashion-mnist") == "fashion-mnist"
    kinds = (SmallResNet, SmallViT) if fashion else (cifar_resnet, cifar_vit)
    network: Any = dict(zip(("cnn", "vit"), kinds, strict=True))[header["network"]](len(classes))
    network.load_state_dict(weights)  # copies float16 into float32 parameters
    network.classes = classes
    names = FASHION_NAMES if fashion else CIFAR_NAMES
    network.class_names = tuple(names[label] for label in classes)
    network.test_accuracy = float(header["test_accuracy"])
    network.trained_without = header.get("trained_without", "")
    return network.eval()


def _full_part(name: str, root: Path, *, train: bool, download: bool) -> ImageSet:
    images, labels, names = read_full(name, root, train=train, download=download)
    given = FASHION_NAMES if name == "fashion-mnist" else DIGIT_NAMES
    return _image_set(images, labels, names or given)


def load(
    name: str = "fashion-mnist",
    *,
    full: bool = False,
    root: str | Path | None = None,
    download: bool = False,
    seed: int = 0,
) -> ImageData:
    """Load a data set as fit, calibration and test parts that share no image.

    Parameters
    ----------
    name : {"fashion-mnist", "mnist", "cifar-10", "cifar-100", "svhn"}
        "fashion-mnist" is the shipped cut (4,000 + 3,000 + 3,000 images, balanced) unless
        ``full`` is asked for. All other names are full sets.
    full : bool
        The full Fashion-MNIST instead of the cut.
    root : path, optional
        Shipped cut: see :func:`data_folder`. Full sets: the root folder in torchvision's
        layout, by default ``~/.cache/deepdrift``.
    download : bool
        Let torchvision fetch a full set into ``root`` if it is not there.
    seed : int
        Splits the test part of a full set in two random halves, calibration and test.

    Returns
    -------
    ImageData
        Full sets take four bytes per pixel and channel (CIFAR-10: 0.7 GB).

    Raises
    ------
    ValueError
        If the name is unknown, or ``download`` is asked for the shipped cut.
    DataFileError
        If files are missing, damaged, or cannot be downloaded.
    MissingExtraError
        If a full set needs a package of the extra ``lab`` that is not installed.
    """
    if name not in FULL_SETS:
        raise ValueError(
            f"name must be one of {', '.join(FULL_SETS)}, got {name!r}; "
            f"{', '.join(OOD_NAMES)} are served as OOD images by load_ood(name)"
        )
    if name == "fashion-mnist" and not full:
        if download:
            raise ValueError("the shipped cut is never downloaded: pass full=True with download")
        with np.load(_checked(data_folder(root), "fashion-mnist.npz"), allow_pickle=False) as file:
            parts = (
                _image_set(file[f"{part}_images"], file[f"{part}_labels"], FASHION_NAMES)
                for part in PARTS
            )
            return ImageData(name, *parts)
    folder = Path(root) if root is not None else default_root()
    fit, unseen = (
        _full_part(name, folder, train=train, download=download) for train in (True, False)
    )
    order = torch.randperm(len(unseen), generator=torch.Generator().manual_seed(seed))
    half = len(unseen) // 2
    return ImageData(name, fit, unseen[order[:half]], unseen[order[half:]])
