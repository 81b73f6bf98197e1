"""Labelled images, and a data set as three parts that share no image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

__all__ = ["PARTS", "ImageData", "ImageSet"]

PARTS = ("fit", "calibration", "test")


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Images with labels; the order is random, so a slice is a random sample.

    Attributes
    ----------
    images : Tensor
        Shape (N, C, H, W), float32, values in [0, 1].
    labels : Tensor
        Shape (N,), int64, values 0 to ``len(class_names) - 1``.
    class_names : tuple of str
        What each label means.

    Examples
    --------
    >>> images = torch.arange(4.0).view(4, 1, 1, 1) / 4
    >>> pets = ImageSet(images, torch.tensor([0, 1, 2, 1]), ("ant", "bee", "cat"))
    >>> pets
    ImageSet(4 images 1x1x1 of 3 classes)
    >>> pets[:2].labels
    tensor([0, 1])
    >>> rest = pets.without([0])
    >>> rest.labels, rest.class_names
    (tensor([0, 1, 0]), ('bee', 'cat'))
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"images must be (N, C, H, W) with labels (N,), got "
                f"{tuple(self.images.shape)} and {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __str__(self) -> str:
        n, *shape = self.images.shape
        return f"{n:,} images {'x'.join(map(str, shape))} of {len(self.class_names)} classes"

    def __repr__(self) -> str:
        return f"ImageSet({self})"

    def __getitem__(self, index: slice | Tensor | list[int]) -> ImageSet:
        """The images at a slice, a boolean mask or a list of positions, as an ImageSet."""
        if isinstance(index, int):
            raise TypeError(f"use a slice such as [{index}:{index + 1}], or .images[{index}]")
        return ImageSet(self.images[index], self.labels[index], self.class_names)

    def classes(self, keep: Iterable[int]) -> ImageSet:
        """Only these classes, relabelled 0 to K-1 in ascending order of the old label.

        Parameters
        ----------
        keep : iterable of int
            Labels to keep, each in 0 to ``len(class_names) - 1``.
        """
        kept = sorted(set(keep))
        n = len(self.class_names)
        if not kept or not all(0 <= label < n for label in kept):
            raise ValueError(f"classes must be labels from 0 to {n - 1}, at least one; got {kept}")
        table = torch.full((n,), -1)
        table[kept] = torch.arange(len(kept))
        labels = table[self.labels]
        names = tuple(self.class_names[label] for label in kept)
        return ImageSet(self.images[labels >= 0], labels[labels >= 0], names)

    def without(self, drop: Iterable[int]) -> ImageSet:
        """All classes but these, relabelled 0 to K-1; the labels of a ``-holdout`` network."""
        dropped = set(drop)
        unknown = sorted(dropped - set(range(len(self.class_names))))
        if unknown:
            raise ValueError(f"no classes {unknown}: labels go to {len(self.class_names) - 1}")
        return self.classes(set(range(len(self.class_names))) - dropped)

    def loader(
        self,
        batch_size: int = 64,
        *,
        shuffle: bool = False,
        generator: torch.Generator | None = None,
    ) -> DataLoader:
        """A DataLoader of ``(images, labels)`` batches, in stored order unless shuffled."""
        pairs = TensorDataset(self.images, self.labels)
        return DataLoader(pairs, batch_size, shuffle=shuffle, generator=generator)


@dataclass(frozen=True, eq=False, repr=False)
class ImageData:
    """One data set as three disjoint parts.

    Attributes
    ----------
    name : str
        Name that :func:`load` knows it by.
    fit : ImageSet
        Training images: to learn what normal states look like.
    calibration, test : ImageSet
        Unseen by the shipped networks: to set thresholds, and to judge them.
    """

    name: str
    fit: ImageSet
    calibration: ImageSet
    test: ImageSet

    @property
    def class_names(self) -> tuple[str, ...]:
        """What each label means."""
        return self.fit.class_names

    def __str__(self) -> str:
        parts = "; ".join(f"{part}: {getattr(self, part)}" for part in PARTS)
        return f"{self.name} ({parts})"

    def __repr__(self) -> str:
        return f"ImageData({self})"

    def classes(self, keep: Iterable[int]) -> ImageData:
        """:meth:`ImageSet.classes` on every part."""
        kept = list(keep)
        return ImageData(self.name, *(getattr(self, part).classes(kept) for part in PARTS))

    def without(self, drop: Iterable[int]) -> ImageData:
        """:meth:`ImageSet.without` on every part."""
        dropped = list(drop)
        return ImageData(self.name, *(getattr(self, part).without(dropped) for part in PARTS))
