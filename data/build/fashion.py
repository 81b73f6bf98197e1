"""Read Fashion-MNIST from its four idx files, wherever they are."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

HELD_OUT = (5, 8)  # sandal and bag: the near-OOD classes
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # Debian: dataset-fashion-mnist
PREFIX = {"train": "train", "test": "t10k"}


def read_idx(path: Path) -> Tensor:
    """One idx file of unsigned bytes, gzipped or not (http://yann.lecun.com/exdb/mnist)."""
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    n_axes = raw[3]
    shape = np.frombuffer(raw, ">i4", n_axes, 4)
    return torch.from_numpy(
        np.frombuffer(raw, np.uint8, offset=4 + 4 * n_axes).reshape(shape).copy()
    )


def read_fashion_mnist(part: str, folder: Path | None = None) -> tuple[Tensor, Tensor]:
    """Images ``(N, 1, 28, 28)`` uint8 and labels ``(N,)`` int64 of part ``train`` or ``test``."""
    folder = folder or SYSTEM_FOLDER
    if not folder.exists():
        raise FileNotFoundError(
            f"no Fashion-MNIST in {folder}: install Debian's package dataset-fashion-mnist, or "
            "download it with torchvision.datasets.FashionMNIST(ROOT, download=True) and pass "
            "--fashion ROOT/FashionMNIST/raw"
        )
    found = []
    for kind in ("images-idx3", "labels-idx1"):
        stem = f"{PREFIX[part]}-{kind}-ubyte"
        path = folder / f"{stem}.gz"
        found.append(read_idx(path if path.exists() else folder / stem))
    images, labels = found
    return images[:, None], labels.long()
