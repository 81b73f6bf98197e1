"""What two networks answer while a shift grows, how sure they are, and how unusual each image is.

Four disjoint sets of normal images: the networks' training images, `fit` for the detectors, one
half of the calibration images for their p-values, and ``held`` for every choice of this notebook:
a temperature, a threshold. ``clean`` is only judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

import deepdrift as dd
from deepdrift import confidence
from deepdrift.errors import require
from deepdrift.lab import data
from deepdrift.lab.data.images import ImageSet
from deepdrift.lab.data.shifts import apply_shift
from deepdrift.states.inputs import INPUT, input_statistics

__all__ = [
    "SCORES",
    "SHIFTS",
    "Predictions",
    "Sets",
    "along",
    "load_sets",
    "normalised_entropy",
    "predict",
]

SHIFTS = ("gaussian_noise", "blur", "contrast", "rotation")
HELD_OUT = (5, 8)  # sandals and bags, which the ``-holdout`` networks never saw
N_TEST = 1000
BATCH = 64
SCORES = ("MSP", "innovation", "fused", "gated MSP")


@dataclass(frozen=True)
class Sets:
    """Images by purpose; ``clean`` is what the shifts are applied to."""

    fit: ImageSet
    calibration: ImageSet
    held: ImageSet
    clean: ImageSet
    strange: dict[str, Tensor]

    def shifted(self, shift: str, severity: int) -> Tensor:
        """The clean images through a faulty camera."""
        return apply_shift(shift, self.clean.images, severity, seed=severity)


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a network said about a set of images.

    Attributes
    ----------
    logits : Tensor, shape (N, K), float64
    labels : Tensor, shape (N,), or None where no class is right
    scores : dict of str to Tensor, shape (N,)
        How unusual each image is, by `SCORES`; larger is more unusual. The gated MSP is infinite
        where the fused score raises its 5 % alarm, else MSP.
    drift : Tensor, shape (L,)
        Of every watched layer, for the first `BATCH` images as one batch.
    """

    logits: Tensor
    labels: Tensor | None
    scores: dict[str, Tensor]
    drift: Tensor

    def __len__(self) -> int:
        return len(self.logits)

    @cached_property
    def probabilities(self) -> Tensor:
        """Softmax of the logits."""
        return self.logits.softmax(dim=1)

    @cached_property
    def confidence(self) -> Tensor:
        """Largest probability of every image."""
        return self.probabilities.amax(dim=1)

    @cached_property
    def guess(self) -> Tensor:
        """Predicted class of every image."""
        return self.logits.argmax(dim=1)

    @property
    def correct(self) -> Tensor:
        """Whether each prediction is right."""
        if self.labels is None:
            raise confidence.ConfidenceError("labels: none of the classes is right here")
        return self.guess == self.labels

    @property
    def accuracy(self) -> float:
        """Share of right predictions."""
        return float(self.correct.double().mean())

    @property
    def f1(self) -> float:
        """Mean over classes of F1, the harmonic mean of precision and recall."""
        score = require("sklearn.metrics", "lab").f1_score
        return float(score(self.labels, self.guess, average="macro"))

    def at(self, temperature: float) -> Tensor:
        """Probabilities with the logits divided by a temperature."""
        return confidence.apply_temperature(self.logits, temperature)


def load_sets() -> Sets:
    """Clothing without sandals and bags, which serve as new classes, and digits."""
    whole = data.load()
    clothing = whole.without(HELD_OUT)
    half = len(clothing.calibration) // 2
    rest, spare = clothing.calibration[half:], clothing.test[N_TEST:]
    held = ImageSet(
        torch.cat([rest.images, spare.images]),
        torch.cat([rest.labels, spare.labels]),
        rest.class_names,
    )
    strange = {
        "sandals, bags": whole.test.classes(HELD_OUT).images,
        "digits": data.load_ood("mnist").images[:600],
    }
    calibration, clean = clothing.calibration[:half], clothing.test[:N_TEST]
    return Sets(clothing.fit, calibration, held, clean, strange)


def predict(kind: str, sets: Sets) -> dict[str, Predictions]:
    """Answers of ``"cnn"`` or ``"vit"``: ``held``, ``clean``, ``blur 3`` etc., the strange sets.

    The network (``-holdout-1``) was trained without any of these images.
    """
    name = f"{kind}-holdout-1"
    network, layers = data.load_network(name), data.NETWORK_LAYERS[name]

    def look(images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        run = dd.collect(network, images, layers)
        return run.states, run.outputs

    def fused(states: dict[str, Tensor], logits: Tensor, images: Tensor) -> dict[str, Tensor]:
        return states | {"logits": logits, INPUT: input_statistics(images)}

    steps = dd.StateScorer(score="innovation")
    whole = dd.StateScorer(score="fused", output_layer="logits", watch_input=True)
    for part, learn in ((sets.fit, "partial_fit"), (sets.calibration, "calibrate")):
        states, logits = look(part.images)
        getattr(steps, learn)(states, part.labels)
        getattr(whole, learn)(fused(states, logits, part.images), part.labels)

    def answer(images: Tensor, labels: Tensor | None) -> Predictions:
        states, logits = look(images)
        unsure = -logits.double().softmax(dim=1).amax(dim=1)
        reading = whole.read(fused(states, logits, images))
        scores = {
            "MSP": unsure,
            "innovation": steps.read(states).score,
            "fused": reading.score,
            "gated MSP": unsure.where(~reading.flagged, torch.inf),
        }
        batch = {k: v[:BATCH] for k, v in fused(states, logits, images).items()}
        return Predictions(logits.double(), labels, scores, whole.drift(batch)[0].flatten())

    found = {"held": answer(sets.held.images, sets.held.labels)}
    found["clean"] = answer(sets.clean.images, sets.clean.labels)
    for shift in SHIFTS:
        for severity in range(1, 6):
            images = sets.shifted(shift, severity)
            found[f"{shift} {severity}"] = answer(images, sets.clean.labels)
    return found | {name: answer(images, None) for name, images in sets.strange.items()}


def along(found: Mapping[str, Predictions], shift: str) -> list[Predictions]:
    """The predictions of a shift at severity 0 to 5."""
    return [found["clean"], *(found[f"{shift} {s}"] for s in range(1, 6))]


def normalised_entropy(guess: Tensor, n_classes: int) -> float:
    """Entropy of how often each class is predicted: 0 if always the same, 1 if all alike.

    Examples
    --------
    >>> normalised_entropy(torch.tensor([0, 1, 0, 1]), 2), normalised_entropy(torch.zeros(4), 2)
    (1.0, 0.0)
    """
    share = torch.bincount(guess.long(), minlength=n_classes).double() / len(guess)
    share = share[share > 0]
    return abs(float((share * share.log()).sum())) / math.log(n_classes)
