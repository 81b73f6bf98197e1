"""Every score of the fair comparison behind one call: what it may look at, and how it is fitted.

Ours, DIME and the trivial scores are computed here; all others come from ``pytorch-ood`` with that
package's default settings, except that kNN's k follows the number of normal samples. Nothing is
tuned on what is judged: not a layer, not a sign, not a constant. A larger score always means more
unusual.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from deepdrift.baselines import DIME
from deepdrift.errors import StateError, require
from deepdrift.lab.bench.rivals import PixelStatistics, neighbour_for
from deepdrift.lab.fair_comparison.cards import CARDS, Card
from deepdrift.lab.fair_comparison.multi_layer import ClassGaussians, MultiLayer
from deepdrift.monitor.scorer import StateScorer
from deepdrift.scores.velocity import spatial_velocity
from deepdrift.states.collect import collect
from deepdrift.states.inputs import INPUT, input_statistics

__all__ = [
    "DETECTORS",
    "FUSED",
    "GAUSSIANS",
    "INSIDE",
    "LAYERS_ONLY",
    "PIXELS",
    "Detector",
    "FittedDetector",
    "Observed",
    "fit_detectors",
    "observe",
]

FUSED, INSIDE, LAYERS_ONLY = "fused", "fused, without input", "fused, layers only"
GAUSSIANS, PIXELS = "class Gaussians, all layers", "pixel statistics"


@dataclass(frozen=True, eq=False)
class Observed:
    """What one forward pass over N images shows.

    Attributes
    ----------
    images : Tensor, shape (N, C, H, W)
    states : dict of str to Tensor, shapes (N, D_l)
        Pooled hidden states, in execution order.
    features : Tensor, shape (N, D)
        Input of the last linear layer.
    logits : Tensor, shape (N, K)
    labels : Tensor or None, shape (N,)
    """

    images: Tensor
    states: dict[str, Tensor]
    features: Tensor
    logits: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor) -> Observed:
        """The same of some images: a slice, a mask or row numbers."""
        states = {name: state[rows] for name, state in self.states.items()}
        labels = None if self.labels is None else self.labels[rows]
        parts = (self.images[rows], states, self.features[rows], self.logits[rows], labels)
        return Observed(*parts)

    def finite(self) -> Tensor:
        """Which images hold, and lead to, finite numbers only, shape (N,)."""
        parts = (self.images, *self.states.values(), self.features, self.logits)
        return torch.stack([p.flatten(1).isfinite().all(dim=1) for p in parts]).all(dim=0)


def observe(
    network: nn.Module, images: Tensor, layers: Iterable[str], labels: Tensor | None = None
) -> Observed:
    """Run a network with a linear layer ``head`` over images, once.

    Parameters
    ----------
    network : nn.Module
        ``network.head`` is an ``nn.Linear`` and comes last, as in `deepdrift.lab.networks.models`.
    images : Tensor, shape (N, C, H, W)
    layers : iterable of str
        To record; see `deepdrift.record`.
    labels : Tensor, shape (N,), optional

    Returns
    -------
    Observed
    """
    if not isinstance(getattr(network, "head", None), nn.Linear):
        raise StateError(
            f"network: expected a linear layer named head, {type(network).__name__} has none; its "
            "input are the features that most rivals need"
        )
    kept: list[Tensor] = []
    hook = network.head.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].clone()))
    try:
        found = collect(network, images, list(layers))
    finally:
        hook.remove()
    return Observed(images, found.states, torch.cat(kept), found.outputs, labels)


Score = Callable[[Observed], Tensor]


@dataclass(frozen=True)
class FittedDetector:
    """A detector after it has seen normal data.

    Attributes
    ----------
    score : callable
        `Observed` of N images to scores ``(N,)``, larger = more unusual.
    normal_scores : Tensor, shape (n,)
        Scores of calibration images, from which a threshold may be taken.
    """

    score: Score
    normal_scores: Tensor


@dataclass(frozen=True)
class Detector:
    """A way to score images.

    Attributes
    ----------
    name : str
        With a card in `deepdrift.lab.fair_comparison.cards`.
    family : {"ours", "multi-layer", "velocity", "DIME", "logits", "features", "shaping", "trivial"}
    fit : callable
        ``fit(fit_set, calibration_set, head)`` returns a score function, or a `FittedDetector`
        where the calibration scores are not those of the whole calibration set.
    needs : {"", "activations"}
        "activations": only for non-negative features, such as those behind a ReLU.
    """

    name: str
    family: str
    fit: Callable[[Observed, Observed, nn.Linear], Score | FittedDetector]
    needs: str = ""

    def __post_init__(self) -> None:
        if self.name not in CARDS:
            raise StateError(f"name: write a card for {self.name!r} in fair_comparison/cards.py")

    @property
    def card(self) -> Card:
        """What it looks at, its formula, and what it is for."""
        return CARDS[self.name]

    def applies_to(self, observed: Observed) -> bool:
        """Whether the score is defined for these features."""
        return self.needs != "activations" or bool((observed.features >= 0).all())


def _ours(score: str, output: bool = False, given: bool = False) -> Callable[..., FittedDetector]:
    def states(x: Observed) -> dict[str, Tensor]:
        more = {"logits": x.logits} if output else {}
        return x.states | more | ({INPUT: input_statistics(x.images)} if given else {})

    def fit(normal: Observed, calibration: Observed, head: nn.Linear) -> FittedDetector:
        scorer = StateScorer(score, output_layer="logits" if output else None, watch_input=given)
        scorer.partial_fit(states(normal), normal.labels).calibrate(states(calibration))
        return FittedDetector(lambda x: scorer.read(states(x)).score, scorer.normal_scores)

    return fit


def _velocity(kind: str) -> Callable[..., Score]:
    def score(x: Observed) -> Tensor:
        velocity = spatial_velocity(x.states, "norm").double()
        if kind == "sum":
            return velocity.sum(dim=1)
        if kind == "relative":
            before = [state.double().norm(dim=1) for state in list(x.states.values())[:-1]]
            velocity = velocity / torch.stack(before, dim=1).clamp(min=1e-12)
        return velocity.amax(dim=1)

    return lambda normal, calibration, head: score


def _dime(inside: bool) -> Callable[..., Score]:
    def fit(normal: Observed, calibration: Observed, head: nn.Linear) -> Score:
        dime = DIME().fit(normal.features)
        distance = dime.distance_within_hyperplane if inside else dime.distance_to_hyperplane
        return lambda x: distance(x.features)

    return fit


def _on_logits(name: str) -> Callable[..., Score]:
    def fit(normal: Observed, calibration: Observed, head: nn.Linear) -> Score:
        detector = getattr(_library(), name)
        return lambda x: detector.score(x.logits.double())

    return fit


def _on_features(name: str) -> Callable[..., Score]:
    def fit(normal: Observed, calibration: Observed, head: nn.Linear) -> Score:
        settings = {}
        if name == "ViM":  # half of the width, as its authors choose for narrow networks
            settings = {"d": normal.features.shape[1] // 2, "w": head.weight, "b": head.bias}
        if name == "KNN":
            settings = {"k": neighbour_for(len(normal))}
        detector = getattr(_library(), name)(None, **settings)
        detector.fit_features(normal.features, normal.labels)
        return lambda x: detector.predict_features(x.features)

    return fit


def _on_whitened(name: str) -> Callable[..., Score]:
    """Mahalanobis distances do not depend on linear maps of the features; float32 does.

    The library inverts a float32 scatter matrix with a fixed ridge. In whitened coordinates that
    matrix is as well conditioned as can be, so the rival loses nothing to rounding.
    """

    def fit(normal: Observed, calibration: Observed, head: nn.Linear) -> Score:
        z = normal.features.double()
        mean = z.mean(dim=0)
        values, vectors = torch.linalg.eigh(torch.cov((z - mean).T))
        kept = values > 1e-10 * values[-1]
        matrix = vectors[:, kept] / values[kept].sqrt()

        def whiten(x: Observed) -> Tensor:
            return ((x.features.double() - mean) @ matrix).float()

        detector = getattr(_library(), name)(None)
        detector.fit_features(whiten(normal), normal.labels)
        return lambda x: detector.predict_features(whiten(x))

    return fit


def _shaped(name: str) -> Callable[..., Score]:
    """Change the features, then the energy of the logits they give."""

    def fit(normal: Observed, calibration: Observed, head: nn.Linear) -> Score:
        def end(maps: Tensor) -> Tensor:
            with torch.no_grad():
                return head(maps.flatten(1))

        detector = getattr(_library(), name)(backbone=None, head=end)
        if name == "ReAct":
            detector.fit_feature_maps(normal.features[:, :, None, None], normal.labels)
        return lambda x: detector.predict_feature_maps(x.features[:, :, None, None])

    return fit


def _pixel_statistics(normal: Observed, calibration: Observed, head: nn.Linear) -> Score:
    score = PixelStatistics(normal.images)
    return lambda x: score(x.images)


def _class_gaussians(
    normal: Observed, calibration: Observed, head: nn.Linear
) -> Score | FittedDetector:
    layers = ClassGaussians(normal.states, normal.labels)
    combined = MultiLayer(layers(calibration.states))
    return FittedDetector(lambda x: combined(layers(x.states)), combined.normal_scores)


def _input_norm(x: Observed) -> Tensor:
    return x.images.flatten(1).double().norm(dim=1)


def _gradient_energy(x: Observed) -> Tensor:
    """Sum of squared differences between neighbouring pixels: how rough an image is."""
    images = x.images.double()
    down = images.diff(dim=2).square().flatten(1).sum(dim=1)
    return down + images.diff(dim=3).square().flatten(1).sum(dim=1)


def _random(x: Observed) -> Tensor:
    """Uniform numbers: for each image its own, so that no two sets share their luck."""
    images = np.ascontiguousarray(x.images.cpu().numpy())
    digests = (hashlib.blake2b(image.tobytes(), digest_size=6).digest() for image in images)
    numbers = [int.from_bytes(digest, "big") / 2**48 for digest in digests]
    return torch.tensor(numbers, dtype=torch.float64)


def _library() -> object:
    logging.getLogger("pytorch_ood").setLevel(logging.ERROR)
    return require("pytorch_ood.detector", "lab")


DETECTORS: dict[str, Detector] = {
    detector.name: detector
    for detector in (
        Detector(FUSED, "ours", _ours("fused", output=True, given=True)),
        Detector(INSIDE, "ours", _ours("fused", output=True)),
        Detector(LAYERS_ONLY, "ours", _ours("fused")),
        Detector("innovation", "ours", _ours("innovation")),
        Detector("layer distance", "ours", _ours("distance")),
        Detector("velocity, peak", "velocity", _velocity("peak")),
        Detector("velocity, sum", "velocity", _velocity("sum")),
        Detector("velocity, relative", "velocity", _velocity("relative")),
        Detector("DIME, outside", "DIME", _dime(inside=False)),
        Detector("DIME, within", "DIME", _dime(inside=True)),
        Detector("MSP", "logits", _on_logits("MaxSoftmax")),
        Detector("max logit", "logits", _on_logits("MaxLogit")),
        Detector("energy", "logits", _on_logits("EnergyBased")),
        Detector("kNN", "features", _on_features("KNN")),
        Detector("Mahalanobis", "features", _on_whitened("Mahalanobis")),
        Detector("RMD", "features", _on_whitened("RMD")),
        Detector("GMM", "features", _on_features("GMM")),
        Detector("ViM", "features", _on_features("ViM")),
        Detector("ReAct", "shaping", _shaped("ReAct")),
        Detector("ASH-S", "shaping", _shaped("ASH"), needs="activations"),
        Detector("SCALE", "shaping", _shaped("SCALE"), needs="activations"),
        Detector(GAUSSIANS, "multi-layer", _class_gaussians),
        Detector(PIXELS, "trivial", _pixel_statistics),
        Detector("input norm", "trivial", lambda *_: _input_norm),
        Detector("gradient energy", "trivial", lambda *_: _gradient_energy),
        Detector("random", "trivial", lambda *_: _random),
    )
}
"""Name -> `Detector`, in the order of the tables."""


def fit_detectors(
    network: nn.Module,
    fit: Observed,
    calibration: Observed,
    names: Iterable[str] = tuple(DETECTORS),
) -> dict[str, FittedDetector]:
    """Fit detectors on normal data; those that do not apply to the network are left out.

    Parameters
    ----------
    network : nn.Module
        With the linear layer ``head``.
    fit, calibration : Observed
        Two disjoint sets of normal images; ``fit`` with labels 0 to K-1.
    names : iterable of str
        Keys of ``DETECTORS``.

    Raises
    ------
    StateError
        For an unknown name, or a fit set without labels.
    """
    names = list(names)
    unknown = [name for name in names if name not in DETECTORS]
    if unknown:
        raise StateError(f"names: expected some of {', '.join(DETECTORS)}, got {unknown}")
    if fit.labels is None:
        raise StateError("fit: expected labels, got none; Mahalanobis and GMM need the classes")
    fitted = {}
    for name in names:
        if not DETECTORS[name].applies_to(fit):
            continue
        made = DETECTORS[name].fit(fit, calibration, network.head)
        if not isinstance(made, FittedDetector):
            made = FittedDetector(_as_scores(made), _as_scores(made)(calibration))
        fitted[name] = FittedDetector(_as_scores(made.score), made.normal_scores)
    return fitted


def _as_scores(score: Score) -> Score:
    """float64 on the CPU; what is not a finite number gets infinity, the most unusual score."""

    def checked(x: Observed) -> Tensor:
        scores, good = torch.full((len(x),), torch.inf, dtype=torch.float64), x.finite().cpu()
        if good.any():
            scores[good] = score(x if good.all() else x[good]).detach().cpu().double()
        return torch.where(scores.isnan(), torch.inf, scores)

    return checked
