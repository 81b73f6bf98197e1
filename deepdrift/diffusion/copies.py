"""Which samples are copies of training images: the ratio of the two smallest distances."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deepdrift.diffusion.inputs import (
    DiffusionError,
    check_finite,
    check_positive,
    check_whole,
    refuse_other_range,
    refuse_overlap,
)

RATIO = 1 / 3


@dataclass(frozen=True, eq=False)
class Copies:
    """Samples beside their nearest training images.

    Attributes
    ----------
    ratio : Tensor, shape (N,), float64
        Distance to the nearest training image by that to the second nearest.
    nearest : Tensor, shape (N,), int64
        Which training image is nearest.
    distance : Tensor, shape (N,), float64
        To it, root of the sum of squares.
    is_copy : Tensor, shape (N,), bool
        Ratio below a third (Yoon et al. 2023; Bonnaire et al. 2025, section 2).
    share, low, high : float
        Share of copies with a 95 % bootstrap interval over samples.
    null_share : float or None
        The same share for held-out images, which are no copies: what the rule cries wrongly.
    """

    ratio: Tensor
    nearest: Tensor
    distance: Tensor
    is_copy: Tensor
    share: float
    low: float
    high: float
    null_share: float | None = None

    def __len__(self) -> int:
        return len(self.ratio)

    def __str__(self) -> str:
        null = "" if self.null_share is None else f"; of held-out images {self.null_share:.1%}"
        return (
            f"{self.share:.0%} [{self.low:.0%}, {self.high:.0%}] of {len(self)} samples are "
            f"copies{null}."
        )


def copied(
    samples: Tensor,
    train: Tensor,
    held_out: Tensor | None = None,
    *,
    ratio: float = RATIO,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Copies:
    """Find copies of training images among samples.

    Parameters
    ----------
    samples, train : Tensor, shapes (N, C, H, W), (M, C, H, W)
        Of one size and range. A training image that stands there more than once counts as one:
        else the second nearest is the same image again, and what is copied most is never seen.
    held_out : Tensor, optional
        Images that were not trained on.
    ratio : float
        In (0, 1).
    n_bootstrap, seed : int
        Of the interval.

    Raises
    ------
    DiffusionError
        For images that cannot be compared, fewer than two different training images, or a
        held-out image that was trained on.

    Examples
    --------
    Training images at 0 and 1: a sample at 0.1 is a copy (ratio 1/9), one at 0.4 is not (2/3).

    >>> images = torch.tensor([0.0, 1.0, 0.1, 0.4]).reshape(4, 1, 1, 1)
    >>> found = copied(images[2:], images[:2])
    >>> found.ratio.round(decimals=2).tolist(), found.is_copy.tolist(), found.nearest.tolist()
    ([0.11, 0.67], [True, False], [0, 0])
    """
    check_positive(ratio, "ratio", 1.0)
    n_bootstrap = check_whole(n_bootstrap, "n_bootstrap")
    ratios, nearest, distance = _ratios(samples, train, "samples")
    refuse_other_range(samples, train, ("samples", "train"))
    is_copy = ratios < ratio
    null = None
    if held_out is not None:
        refuse_overlap(train, held_out, ("train", "held_out"))
        null = float((_ratios(held_out, train, "held_out")[0] < ratio).double().mean())
    generator = torch.Generator().manual_seed(seed)
    share = float(is_copy.double().mean())
    n = len(is_copy)
    draws = torch.binomial(
        torch.full((n_bootstrap,), float(n)), torch.full((n_bootstrap,), share), generator=generator
    )  # resampling n of n zeros and ones
    low, high = (draws.double() / n).quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    return Copies(ratios, nearest, distance, is_copy, share, low, high, null)


def _ratios(images: Tensor, train: Tensor, name: str) -> tuple[Tensor, Tensor, Tensor]:
    a = _flat(check_finite(images, name))
    b = _flat(check_finite(train, "train"))
    if a.shape[1:] != b.shape[1:] or images.shape[1:] != train.shape[1:]:
        raise DiffusionError(
            f"{name}, train: expected images of one size, got {tuple(images.shape[1:])} and "
            f"{tuple(train.shape[1:])}"
        )
    kept = _first_of_each(b)
    if len(kept) < 2:
        raise DiffusionError(
            f"train: expected at least two different images, got {len(kept)}: no second nearest"
        )
    pairs = []
    for part in a.split(512):
        pairs.append(torch.cdist(part, b[kept]).topk(2, largest=False))
    distances = torch.cat([p.values for p in pairs])
    nearest = kept[torch.cat([p.indices for p in pairs])[:, 0]]
    first, second = distances.T
    return first / second, nearest, first


def _first_of_each(rows: Tensor) -> Tensor:
    """Places of the first of every different row, rising."""
    seen: dict[bytes, int] = {}
    for i, row in enumerate(rows.numpy()):
        seen.setdefault(row.tobytes(), i)
    return torch.tensor(list(seen.values()))


def _flat(images: Tensor) -> Tensor:
    return images.detach().cpu().double().flatten(1)
