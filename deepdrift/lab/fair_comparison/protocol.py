"""The rules of a fair comparison, enforced: who may see what, and what is measured.

1. Four disjoint sets of normal images. *Train* made the network, *fit* the statistics of the
   detectors, *calibration* their thresholds, *test* is only judged. Shared images are an error.
2. No shifted image takes part in any choice: not of a layer, a sign, a constant or a threshold.
3. A larger score means more unusual, for every detector, before anything is measured.
4. Scores are per image. An AUROC over batch means answers another question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from deepdrift.evidence.calibration import conformal_threshold
from deepdrift.lab import data
from deepdrift.lab.bench.evaluation import Array, Estimate, EvaluationError, auroc, proportion
from deepdrift.lab.data.images import ImageSet
from deepdrift.lab.data.shifts import SHIFTS, apply_shift
from deepdrift.lab.fair_comparison.detectors import (
    DETECTORS,
    FittedDetector,
    fit_detectors,
    observe,
)

__all__ = [
    "HELD_OUT",
    "KINDS",
    "Protocol",
    "Scores",
    "ShiftedSet",
    "fashion_protocol",
    "refusal",
]

HELD_OUT = (5, 8)  # sandal and bag, which the ``-holdout`` networks never saw
KINDS = ("near", "far", "corruption")


@dataclass(frozen=True, eq=False)
class ShiftedSet:
    """Images that should look unusual.

    Attributes
    ----------
    name : str
        Of the shift.
    kind : {"near", "far", "corruption"}
        New classes of the same sort, something else, or the test images through a bad camera.
    images : Tensor, shape (M, C, H, W)
        For a corruption: the test images in their order.
    severity : int
        1 to 5 for a corruption, else 0.
    clusters : Tensor or None, shape (M,)
        Which images belong together, such as patches of one photograph; None: each by itself.
    """

    name: str
    kind: str
    images: Tensor
    severity: int = 0
    clusters: Tensor | None = None

    @property
    def key(self) -> str:
        """Name with the severity of a corruption: ``blur 3``."""
        return f"{self.name} {self.severity}" if self.kind == "corruption" else self.name


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one network, per detector and set; ``"test"`` are the normal images.

    Attributes
    ----------
    values : dict of str to dict of str to Array
        Detector -> set key -> scores ``(N,)``.
    thresholds : dict of str to dict of float to float
        Detector -> alpha -> conformal threshold from calibration scores.
    kinds : dict of str to str
        Set key -> kind.
    clusters : dict of str to Array
        Set key -> which images belong together ``(N,)``, where some do.
    """

    values: dict[str, dict[str, Array]]
    thresholds: dict[str, dict[float, float]]
    kinds: dict[str, str]
    clusters: dict[str, Array] = field(default_factory=dict)

    @property
    def detectors(self) -> tuple[str, ...]:
        """Names in the order of the tables."""
        return tuple(self.values)

    def auroc(self, detector: str, key: str) -> Estimate:
        """AUROC of one detector on one set.

        For a corruption the interval is a little too wide: DeLong does not know that the same
        images were seen clean. `deepdrift.lab.fair_comparison.table` counts images, not rows.
        """
        return auroc(self._scores(detector, "test"), self._scores(detector, key))

    def false_alarms(self, detector: str, alpha: float = 0.05) -> Estimate:
        """Share of normal test images above the threshold, with its exact interval."""
        scores = self._scores(detector, "test")
        if alpha not in self.thresholds[detector]:
            known = ", ".join(f"{a:g}" for a in self.thresholds[detector])
            raise EvaluationError(f"alpha: expected one of the protocol's {known}, got {alpha!r}")
        return proportion(int((scores > self.thresholds[detector][alpha]).sum()), len(scores))

    def _scores(self, detector: str, key: str) -> Array:
        known = self.values.get(detector)
        for what, name, names in (
            ("detector", detector, self.values),
            ("key", key, known if known is not None else [key]),
        ):
            if name not in names:
                raise EvaluationError(f"{what}: expected one of {', '.join(names)}, got {name!r}")
        return known[key]


class Protocol:
    """Sets of images, checked to be disjoint, and the run of all detectors over them.

    Parameters
    ----------
    fit, calibration, test : ImageSet
        Normal images with labels 0 to K-1; none of them in the training set of the networks.
    shifted : sequence of ShiftedSet
    alphas : sequence of float
        False-alarm rates to set thresholds for.

    Raises
    ------
    EvaluationError
        If two of the sets share an image, if a corruption does not keep the number of test
        images, or if a name occurs twice.

    Examples
    --------
    >>> from deepdrift.lab.data.images import ImageSet
    >>> pixels = torch.arange(60.0).view(60, 1, 1, 1) / 60
    >>> part = [ImageSet(p, torch.zeros(20, dtype=int), ("a",)) for p in pixels.split(20)]
    >>> print(Protocol(*part, shifted=[ShiftedSet("dark", "far", pixels[:5] / 100 + 0.999)]))
    fit 20, calibration 20, test 20 images; 1 shifted set
    >>> Protocol(part[0], part[1], part[1], shifted=[])
    Traceback (most recent call last):
    deepdrift...EvaluationError: calibration, test: 20 images are in both; draw...
    """

    def __init__(
        self,
        fit: ImageSet,
        calibration: ImageSet,
        test: ImageSet,
        shifted: Sequence[ShiftedSet],
        alphas: Sequence[float] = (0.01, 0.05, 0.1),
    ) -> None:
        self.fit, self.calibration, self.test = fit, calibration, test
        self.shifted, self.alphas = tuple(shifted), tuple(float(a) for a in alphas)
        keys = [part.key for part in self.shifted]
        twice = sorted({key for key in keys if keys.count(key) > 1 or key == "test"})
        if twice:
            raise EvaluationError(f"shifted: expected every name once and none 'test': {twice}")
        for part in self.shifted:
            if part.kind not in KINDS:
                raise EvaluationError(f"kind: expected one of {', '.join(KINDS)}: {part.kind!r}")
            if part.clusters is not None and part.clusters.shape != (len(part.images),):
                raise EvaluationError(
                    f"{part.key}: expected {len(part.images)} cluster numbers, got shape "
                    f"{tuple(part.clusters.shape)}"
                )
            if part.kind == "corruption" and len(part.images) != len(test):
                raise EvaluationError(
                    f"{part.key}: expected the {len(test)} test images, got {len(part.images)}"
                )
        images = {"fit": fit.images, "calibration": calibration.images, "test": test.images}
        images |= {part.key: part.images for part in self.shifted if part.kind != "corruption"}
        _check_disjoint(images)

    def __str__(self) -> str:
        n = len(self.shifted)
        return (
            f"fit {len(self.fit):,}, calibration {len(self.calibration):,}, test "
            f"{len(self.test):,} images; {n} shifted set{'s' if n != 1 else ''}"
        )

    def run(
        self,
        network: nn.Module,
        layers: Iterable[str],
        detectors: Iterable[str] = tuple(DETECTORS),
    ) -> Scores:
        """Fit every detector on normal data and score all sets.

        Parameters
        ----------
        network : nn.Module
            With a last linear layer ``head``, as in `deepdrift.lab.networks.models`.
        layers : iterable of str
            What the hidden-state scores watch.
        detectors : iterable of str
            Keys of `DETECTORS` in `deepdrift.lab.fair_comparison.detectors`; those that do not
            apply are left out.

        Raises
        ------
        EvaluationError
            If a shipped network was trained with the images of ``fit``.
        """
        if getattr(network, "trained_without", None) == "":
            raise EvaluationError(
                "network: its training set holds the images of fit; four disjoint sets need one "
                "that was trained without them, such as cnn-holdout-1"
            )
        layers = list(layers)
        normal = observe(network, self.fit.images, layers, self.fit.labels)
        held = observe(network, self.calibration.images, layers, self.calibration.labels)
        fitted = fit_detectors(network, normal, held, detectors)
        values: dict[str, dict[str, Array]] = {name: {} for name in fitted}
        for key, images in [("test", self.test.images), *((s.key, s.images) for s in self.shifted)]:
            seen = observe(network, images, layers)
            for name, detector in fitted.items():
                values[name][key] = detector.score(seen).numpy()
        kinds = {s.key: s.kind for s in self.shifted}
        clusters = {s.key: s.clusters.numpy() for s in self.shifted if s.clusters is not None}
        return Scores(values, self._thresholds(fitted), kinds, clusters)

    def _thresholds(self, fitted: Mapping[str, FittedDetector]) -> dict[str, dict[float, float]]:
        return {
            name: {alpha: conformal_threshold(d.normal_scores, alpha) for alpha in self.alphas}
            for name, d in fitted.items()
        }


def refusal(shortcut: Callable[[], object]) -> str:
    """What the rules say to a shortcut; "allowed" if they have nothing against it.

    Examples
    --------
    >>> refusal(lambda: 1 + 1)
    'allowed'
    """
    try:
        shortcut()
    except EvaluationError as error:
        return str(error)
    return "allowed"


def fashion_protocol(
    severities: Iterable[int] = (1, 2, 3, 4, 5), shifts: Iterable[str] = tuple(SHIFTS)
) -> Protocol:
    """The shipped data as a protocol for the ``-holdout-1`` to ``-3`` networks.

    Near: sandals and bags, which these networks never saw. Far: MNIST, digits, photo patches and
    uniform noise. Corruptions: the test images through every fault of a camera.

    Parameters
    ----------
    severities : iterable of int
        Of the corruptions, 1 to 5.
    shifts : iterable of str
        Which corruptions.

    Examples
    --------
    >>> print(fashion_protocol(severities=[3], shifts=["contrast"]))
    fit 3,200, calibration 2,400, test 2,400 images; 6 shifted sets
    """
    clothing = data.load()
    parts = [part.without(HELD_OUT) for part in (clothing.fit, clothing.calibration, clothing.test)]
    noise = torch.rand(1000, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    patches = data.load_ood("photo-patches")  # the label is the photograph
    shifted = [
        ShiftedSet("new classes", "near", clothing.test.classes(HELD_OUT).images),
        *(ShiftedSet(n, "far", data.load_ood(n).images) for n in ("mnist", "digits")),
        ShiftedSet("photo-patches", "far", patches.images, clusters=patches.labels),
        ShiftedSet("uniform noise", "far", noise),
    ]
    shifted += [
        ShiftedSet(name, "corruption", apply_shift(name, parts[2].images, s, seed=s), s)
        for name in shifts
        for s in severities
    ]
    return Protocol(*parts, shifted=shifted)


def _check_disjoint(images: Mapping[str, Tensor]) -> None:
    """Refuse sets that share an image, byte for byte."""
    seen: dict[bytes, str] = {}
    shared: dict[tuple[str, str], int] = {}
    for name, batch in images.items():
        for image in np.ascontiguousarray(batch.numpy()):
            digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
            owner = seen.setdefault(digest, name)
            if owner != name:
                shared[owner, name] = shared.get((owner, name), 0) + 1
    for (first, second), n in shared.items():
        raise EvaluationError(
            f"{first}, {second}: {n} images are in both; draw the sets without a common image"
        )
