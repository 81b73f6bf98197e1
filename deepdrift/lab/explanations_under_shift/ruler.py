"""A ruler for the likeness of two maps: from chance to identical, with rungs between."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from deepdrift.attribution import chance_iou, similarity, top_iou
from deepdrift.lab.bench.evaluation import Estimate, proportion
from deepdrift.lab.explanations_under_shift.explanations import (
    EXPLANATIONS,
    Explanation,
    predicted,
    untrained,
)

CHANCE, UNTRAINED, RANDOM, SAME, IDENTICAL = (
    "chance", "random weights", "random pair", "same class", "identical",
)  # fmt: skip
RUNGS = (CHANCE, UNTRAINED, RANDOM, SAME, IDENTICAL)
PUBLISHED = 0.2  # a published rule calls an overlap below this a shift


def mean(values: Tensor, confidence: float = 0.95) -> Estimate:
    """Mean of one value per image with Student's interval; NaN (an empty map) is left out.

    Examples
    --------
    >>> import torch
    >>> print(mean(torch.tensor([0.1, 0.3, float("nan")])))
    0.200 [-1.071, 1.471]
    """
    from scipy import stats

    kept = values[~values.isnan()].double()
    n = len(kept)
    if n < 2:
        raise ValueError(f"values: expected at least two that are not NaN, got {n}")
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1) * kept.std() / math.sqrt(n))
    value = float(kept.mean())
    return Estimate(value, value - half, value + half, n, 0, confidence)


def way(value: float, start: float, end: float = 1.0) -> float:
    """How far a value is on the way from ``start`` (0) to ``end`` (1).

    Examples
    --------
    Half of the way from 0.2 to 1, and below the start.

    >>> round(way(0.6, 0.2), 3), round(way(0.1, 0.2), 3)
    (0.5, -0.125)
    """
    return (value - start) / (end - start)


@dataclass(frozen=True)
class Ruler:
    """Overlaps (top 20 %) of one explanation on clean images, an array for each rung.

    Attributes
    ----------
    overlaps : dict of rung to Tensor, shape (pairs,)
        `UNTRAINED`: the map and that of a network with random weights, same image and class;
        `RANDOM`: the maps of two images of different classes; `SAME`: of two of one class. No
        image is in two pairs of a rung. NaN where a map is empty.
    same : dict of "iou", "pearson", "spearman", "ssim" to Tensor, shape (pairs,)
        Every likeness of the pairs of `SAME`.
    chance : float
        Exact, of the overlap.
    """

    overlaps: dict[str, Tensor]
    same: dict[str, Tensor]
    chance: float

    def rung(self, name: str) -> Estimate:
        """Mean overlap at a rung; the ends are exact."""
        if name in (CHANCE, IDENTICAL):
            value = self.chance if name == CHANCE else 1.0
            return Estimate(value, value, value, 0, 0)
        return mean(self.overlaps[name])

    @property
    def rungs(self) -> dict[str, Estimate]:
        """All of `RUNGS`, in their order."""
        return {name: self.rung(name) for name in RUNGS}

    def false_alarms(self, name: str = SAME, below: float = PUBLISHED) -> Estimate:
        """Share of clean pairs whose overlap lies below a line, with its exact interval."""
        kept = self.overlaps[name][~self.overlaps[name].isnan()]
        return proportion(int((kept < below).sum()), len(kept))

    def line(self, alpha: float = 0.05, name: str = SAME) -> float:
        """Conformal: at most a share ``alpha`` of new clean pairs has an overlap below it."""
        from deepdrift import conformal_threshold

        kept = self.overlaps[name][~self.overlaps[name].isnan()]
        return -float(conformal_threshold(-kept, alpha))


def clean_maps(
    models: Mapping[str, nn.Module], images: Tensor, slow: int = 40
) -> dict[Explanation, Tensor]:
    """Maps of every explanation for the predicted class; slow methods get ``slow`` images."""
    classes = predicted(models, images)
    found = {}
    for one in EXPLANATIONS:
        n = slow if one.slow else len(images)
        found[one] = one(models[one.network], images[:n], classes[one.network][:n]).maps
    return found


def rulers(
    models: Mapping[str, nn.Module], images: Tensor, maps: Mapping[Explanation, Tensor]
) -> dict[Explanation, Ruler]:
    """The ruler of every explanation, from `clean_maps` of these images.

    Image i has class i modulo 10 (`garments`), so i and i + 10 are of one class.
    """
    classes = predicted(models, images)
    found = {}
    for one, clean in maps.items():
        n = len(clean) // 2
        random = one(untrained(one.network), images[:n], classes[one.network][:n]).maps
        blocks = clean.view(-1, 2, 10, *clean.shape[1:])
        first, second = blocks[:, 0].flatten(0, 1), blocks[:, 1].flatten(0, 1)
        other = blocks[:, 1].roll(3, dims=1).flatten(0, 1)
        same = similarity(first, second)
        overlaps = {
            UNTRAINED: top_iou(clean[:n], random),
            RANDOM: top_iou(first, other),
            SAME: same["iou"],
        }
        found[one] = Ruler(overlaps, same, chance_iou(clean[0].numel()))
    return found


def agreement(maps: Mapping[Explanation, Tensor], network: str) -> dict[str, Estimate]:
    """Mean overlap of the maps of two methods for the same images, pair of methods by pair."""
    own = [one for one in maps if one.network == network]
    found = {}
    for k, one in enumerate(own):
        for other in own[k + 1 :]:
            n = min(len(maps[one]), len(maps[other]))
            overlap = top_iou(maps[one][:n], maps[other][:n])
            found[f"{one.method} and {other.method}"] = mean(overlap)
    return found
