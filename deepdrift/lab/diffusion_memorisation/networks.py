"""The networks that ship, and garments of their size that no network has seen."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open
from torch import Tensor
from torch.nn import functional

from deepdrift.lab.data import load, shipped
from deepdrift.lab.diffusion_memorisation.runs import RecordError
from deepdrift.lab.diffusion_memorisation.unet import SIZE, SmallUNet

SHIPPED = ((32, 0), (512, 0), (4000, 0), (4000, 1))


class ShippedUNet(SmallUNet):
    """A trained network.

    Attributes
    ----------
    n_images, seed, step : int
        On how many images it was trained, in which run, for how many steps.
    images : Tensor, shape (n_images, 1, 16, 16), or None
        What it was trained on, in [-1, 1]; ships for the run of 32 images alone.
    """

    n_images: int
    seed: int
    step: int
    images: Tensor | None


def load_unet(n_images: int, seed: int = 0, *, root: str | Path | None = None) -> ShippedUNet:
    """A trained network in evaluation mode, float32, on the CPU, at its last checkpoint.

    Parameters
    ----------
    n_images : {32, 512, 4000}
    seed : int
        0, or 1 for another network on 4,000 other images.
    root : path, optional
        See `deepdrift.lab.data.data_folder`.

    Raises
    ------
    RecordError
        If no such network ships.
    DataFileError
        If the file is missing or has been changed.
    """
    if (n_images, seed) not in SHIPPED:
        known = ", ".join(f"{n} ({s})" for n, s in SHIPPED)
        raise RecordError(
            f"load_unet: expected images (seed) of {known}, got {n_images!r} ({seed!r}); the "
            "others are recorded (load_records) and do not ship"
        )
    with safe_open(
        shipped(f"models/diffusion-{n_images}-{seed}.safetensors", root=root), "pt"
    ) as f:
        header, weights = f.metadata(), {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
    images = weights.pop("images", None)
    network = ShippedUNet()
    network.load_state_dict(weights)  # copies float16 into float32 parameters
    for name in ("n_images", "seed", "step"):
        setattr(network, name, int(json.loads(header[name])))
    network.images = None if images is None else images[:, None].float() / 127.5 - 1
    return network.eval()


def shrink(images: Tensor) -> Tensor:
    """Images (N, 1, 28, 28) in [0, 1] -> (N, 1, 16, 16) in [-1, 1], by averages of areas.

    Examples
    --------
    >>> import torch
    >>> small = shrink(torch.full((1, 1, 28, 28), 0.75))
    >>> tuple(small.shape), round(float(small.mean()), 6)
    ((1, 1, 16, 16), 0.5)
    """
    return functional.interpolate(images, size=(SIZE, SIZE), mode="area") * 2 - 1


def unseen_garments(n: int, *, root: str | Path | None = None) -> Tensor:
    """Garments (n, 1, 16, 16) that no shipped network was trained on; n is at most 3,000."""
    return shrink(load(root=root).test.images[:n])
