"""An image and its shifted copy: how alike are the two maps of one and the same class?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from deepdrift.attribution import similarity, top_iou
from deepdrift.errors import require
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.data.shifts import SHIFTS, apply_shift
from deepdrift.lab.explanations_under_shift.explanations import (
    EXPLANATIONS,
    Explanation,
    predicted,
)
from deepdrift.lab.explanations_under_shift.ruler import mean

FAULTS = ("gaussian_noise", "blur", "contrast", "occlusion")
SEVERITIES = (1, 2, 3, 4, 5)
GROUPS = ("all", "kept", "changed")


@dataclass(frozen=True)
class Pairs:
    """One explanation of clean images and of their copies under one fault at one severity.

    Attributes
    ----------
    maps : Tensor, shape (N, H, W)
        Of the shifted copies, for the class that the clean image was given.
    alike : dict of "iou", "pearson", "spearman", "ssim" to Tensor, shape (N,)
        With the map of the clean image; NaN where either is empty.
    kept : Tensor, shape (N,), bool
        Whether the copy is given the same class.
    """

    maps: Tensor
    alike: dict[str, Tensor]
    kept: Tensor

    def of(self, group: str, measure: str = "iou") -> Tensor:
        """Likeness of ``all`` pairs, or of those whose prediction was ``kept`` or ``changed``."""
        chosen = {"all": self.kept | True, "kept": self.kept, "changed": ~self.kept}[group]
        return self.alike[measure][chosen]


class PairedDrift:
    """All explanations of some images under some faults, severities 0 to 5.

    Parameters
    ----------
    models : mapping of "CNN" and "ViT" to module
    images : Tensor, shape (N, C, H, W)
    clean : mapping of Explanation to Tensor, shape (M, H, W)
        Maps of at least these images, for the classes that the networks name.
    faults : sequence of str
    slow : int
        Images for the methods that are slow, at the severities ``slow_at``.
    """

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        images: Tensor,
        clean: Mapping[Explanation, Tensor],
        faults: Sequence[str] = FAULTS,
        slow: int = 20,
        slow_at: Sequence[int] = (1, 3),
        slow_faults: Sequence[str] = ("gaussian_noise",),
    ) -> None:
        self.images, self.faults = images, tuple(faults)
        self.classes = predicted(models, images)
        self.shifted = {
            (fault, s): apply_shift(fault, images, severity=s) if s else images
            for fault in faults
            for s in (0, *SEVERITIES)
        }
        given = {key: predicted(models, x) for key, x in self.shifted.items()}
        self._pairs: dict[tuple[Explanation, str, int], Pairs] = {}
        for one in EXPLANATIONS:
            n, at = (slow, slow_at) if one.slow else (len(images), SEVERITIES)
            model, targets = models[one.network], self.classes[one.network][:n]
            for fault in slow_faults if one.slow else faults:
                for s in (0, *at):
                    x = self.shifted[fault, s][:n]
                    maps = one(model, x, targets).maps if s else clean[one][:n]
                    kept = given[fault, s][one.network][:n] == targets
                    self._pairs[one, fault, s] = Pairs(maps, similarity(clean[one][:n], maps), kept)

    def __getitem__(self, key: tuple[Explanation, str, int]) -> Pairs:
        return self._pairs[key]

    def __contains__(self, key: tuple[Explanation, str, int]) -> bool:
        return key in self._pairs

    def severities(self, one: Explanation, fault: str) -> list[int]:
        """Severities at which an explanation was computed, 0 among them."""
        return [s for (e, f, s) in self._pairs if (e, f) == (one, fault)]


def turned_back(
    models: Mapping[str, nn.Module], images: Tensor, severity: int = 2
) -> dict[Explanation, dict[str, Estimate]]:
    """Overlap of the maps of turned images with the clean maps: as they are, and turned back.

    ``grid alone``: of the clean maps with themselves, turned there and back, which is what turning
    on a grid of pixels leaves.
    """
    functional = require("torchvision.transforms.v2.functional", "lab")
    degrees = SHIFTS["rotation"].parameter(severity)
    classes, turned = predicted(models, images), apply_shift("rotation", images, severity=severity)
    found = {}
    for one in EXPLANATIONS:
        if one.slow:
            continue
        model, targets = models[one.network], classes[one.network]
        clean, maps = (one(model, x, targets).maps for x in (images, turned))
        smooth = functional.InterpolationMode.BILINEAR
        back = functional.rotate(maps[:, None], -degrees, smooth)[:, 0]
        there = functional.rotate(clean[:, None], degrees, smooth)
        again = functional.rotate(there, -degrees, smooth)[:, 0]
        found[one] = {
            "as it is": mean(top_iou(clean, maps)),
            "turned back": mean(top_iou(clean, back)),
            "grid alone": mean(top_iou(clean, again)),
        }
    return found
