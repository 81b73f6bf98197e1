"""Small random changes of images: the augmentations of the published drift exercise.

Rotation up to 5 degrees, horizontal flips, coarse dropout, brightness and contrast, each drawn for
every image on its own. Notebook 06 perturbs test images with them, and one shipped network was
trained with them: the same function makes both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from deepdrift.errors import require
from deepdrift.lab.data.shifts import check_images

__all__ = ["AUGMENTATIONS", "augment"]

AUGMENTATIONS = {
    "rotation": "up to 5 degrees either way, bilinear",
    "flip": "left to right, every second image",
    "dropout": "up to three black rectangles, each of 1 to 4 % of the image",
    "brightness": "times 0.7 to 1.3",
    "contrast": "0.7 to 1.3 times the distance from the mean grey value",
}
"""Name -> what it does, in the order in which they are applied."""


def _transforms() -> dict[str, Callable[[Tensor], Tensor]]:
    v2 = require("torchvision.transforms.v2", "lab")
    hole = v2.RandomErasing(p=0.5, scale=(0.01, 0.04), ratio=(0.5, 2.0), value=0)
    return {
        "rotation": v2.RandomRotation(5, v2.InterpolationMode.BILINEAR),
        "flip": v2.RandomHorizontalFlip(0.5),
        "dropout": v2.Compose([hole, hole, hole]),
        "brightness": v2.ColorJitter(brightness=0.3),
        "contrast": v2.ColorJitter(contrast=0.3),
    }


def augment(images: Tensor, seed: int = 0, names: Sequence[str] = tuple(AUGMENTATIONS)) -> Tensor:
    """Change every image at random, with torchvision's transforms.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W)
        Floats in [0, 1], C = 1 or 3.
    seed : int
        The same seed gives the same result; the global generator is left as it was.
    names : str or sequence of str
        Which of ``AUGMENTATIONS`` to apply; the order is fixed.

    Returns
    -------
    Tensor
        New tensor of the same shape, in [0, 1].

    Raises
    ------
    ValueError
        For an unknown name, or images of another shape or range.
    MissingExtraError
        If torchvision is missing.

    Examples
    --------
    Brightness multiplies, so black stays black; a grey value changes by at most 30 %.

    >>> image = torch.tensor([[[[0.0, 0.5]]]])
    >>> bright = augment(image, seed=1, names=["brightness"])
    >>> bright[0, 0, 0, 0].item(), 0.35 <= bright[0, 0, 0, 1].item() <= 0.65
    (0.0, True)
    """
    names = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown:
        raise ValueError(f"names: expected some of {', '.join(AUGMENTATIONS)}, got {unknown}")
    check_images(images)
    steps = [step for name, step in _transforms().items() if name in names]
    changed = images.clone()
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        for i, image in enumerate(images):
            for step in steps:
                image = step(image)
            changed[i] = image
    return changed.clamp_(0, 1)
