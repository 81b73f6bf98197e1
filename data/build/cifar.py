"""Read CIFAR-10 and CIFAR-100, wherever they are: torchvision's folders or packed arrays.

The packed form is one file per part, ``cifar10-train.npz.xz``, ``cifar10-test.npz.xz`` and
``cifar100-test.npz.xz``: an xz-compressed npz of ``images`` (N, 32, 32, 3) uint8, ``labels`` (N,)
and ``class_names``. A folder that holds none of them is taken for torchvision's root.
"""

from __future__ import annotations

import io
import lzma
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deepdrift.lab.data.full_sets import default_root, read_full


def read_cifar(
    name: str, part: str, folder: Path | None = None
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Images ``(N, 3, 32, 32)`` uint8, labels ``(N,)`` int64, class names.

    ``name`` is ``cifar-10`` or ``cifar-100``, ``part`` is ``train`` or ``test``.
    """
    folder = folder or default_root()
    packed = folder / f"{name.replace('-', '')}-{part}.npz.xz"
    if not packed.is_file():
        images, labels, names = read_full(name, folder, train=part == "train")
        return images, labels, names or ()
    with np.load(io.BytesIO(lzma.decompress(packed.read_bytes()))) as arrays:
        images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2).contiguous()
        names = tuple(str(name) for name in arrays["class_names"])
        return images, torch.from_numpy(arrays["labels"].astype(np.int64)), names
