"""Fifteen kinds of strange images, and what two networks make of them.

The networks know eight kinds of clothing. Normal is clothing that was in no training set; strange
are the two classes that were kept out, three sets that are no clothing, and eleven faults of a
camera, on other garments than the normal ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import deepdrift as dd
from deepdrift.lab import data
from deepdrift.lab.bench.evaluation import EvaluationError
from deepdrift.lab.data import shifts
from deepdrift.lab.data.images import ImageSet
from deepdrift.states.inputs import INPUT, input_statistics
from deepdrift.states.pooling import pool

NORMAL = "clothing"
NEW_CLASSES = "sandals, bags"
GROUPS = {
    "new classes": (NEW_CLASSES,),
    "no clothing": ("mnist", "digits", "photo-patches"),
    "light": ("contrast", "brightness", "inversion", "saturated_rows"),
    "grain, blur": ("gaussian_noise", "shot_noise", "blur", "pixel_dropout", "dead_rows"),
    "shape": ("rotation", "occlusion"),
}
HELD_OUT = (5, 8)  # sandals and bags


@dataclass(frozen=True)
class StrangeSets:
    """Images by set, the normal ones first, and the normal images to learn and calibrate with."""

    images: dict[str, Tensor]
    fit: ImageSet
    calibration: ImageSet
    faulty: Tensor  # the garments that the camera faults are applied to
    spare: ImageSet  # further normal images that nothing else uses
    unseen: ImageSet  # all normal images outside of fit and calibration, these among them

    @property
    def strange(self) -> list[str]:
        """Names of the strange sets, grouped."""
        return [name for names in GROUPS.values() for name in names]

    @property
    def batches(self) -> dict[str, Tensor]:
        """All images by name, those to learn and calibrate with among them."""
        return {"fit": self.fit.images, "calibration": self.calibration.images, **self.images}


def strange_sets(severity: int = 3, n_fit: int = 2000, n_calibration: int = 1000) -> StrangeSets:
    """The fifteen sets: 500 images each (sandals, bags: 600), beside 1,000 normal ones."""
    clothing = data.load().without(HELD_OUT)
    faulty = clothing.test[1000:1500].images
    images = {NEW_CLASSES: data.load().classes(HELD_OUT).test.images}
    for name in GROUPS["no clothing"]:
        images[name] = data.load_ood(name).images[:500]
    for name in shifts.SHIFTS:
        images[name] = shifts.apply_shift(name, faulty, severity=severity)
    ordered = {name: images[name] for names in GROUPS.values() for name in names}
    return StrangeSets(
        {NORMAL: clothing.test[:1000].images, **ordered},
        clothing.fit[:n_fit],
        clothing.calibration[:n_calibration],
        faulty,
        clothing.test[1500:],
        clothing.test,
    )


@dataclass(frozen=True)
class Recorded:
    """States, logits and last features ``{set: ...}`` of one network, and its input statistics."""

    layers: tuple[str, ...]
    states: dict[str, dict[str, Tensor]]
    logits: dict[str, Tensor]
    features: dict[str, Tensor]
    inputs: dict[str, Tensor]


def record_sets(kind: str, batches: dict[str, Tensor], summary: str = "mean") -> Recorded:
    """Run ``"cnn"`` or ``"vit"`` (that never saw sandals and bags) once over every set.

    Parameters
    ----------
    summary : {"mean", "class token"}
        What stands for the 50 tokens of the ViT. Its features are always the class token behind
        the last norm, which its classifier reads.

    Raises
    ------
    EvaluationError
        For another summary.
    """
    if summary not in ("mean", "class token"):
        raise EvaluationError(f"summary: expected 'mean' or 'class token', got {summary!r}")
    network = data.load_network(f"{kind}-holdout")
    layers = tuple(data.NETWORK_LAYERS[f"{kind}-holdout"])
    if kind == "cnn":
        runs = {name: dd.collect(network, x, layers) for name, x in batches.items()}
        states = {name: run.states for name, run in runs.items()}
        features = {name: run.states[layers[-1]] for name, run in runs.items()}
    else:
        runs = {
            name: dd.collect(network, x, [*layers, "norm"], _both) for name, x in batches.items()
        }
        half = slice(64, 128) if summary == "class token" else slice(0, 64)
        states = {k: {n: run.states[n][:, half] for n in layers} for k, run in runs.items()}
        features = {name: run.states["norm"][:, 64:] for name, run in runs.items()}
    logits = {name: run.outputs for name, run in runs.items()}
    inputs = {name: input_statistics(x) for name, x in batches.items()}
    return Recorded(layers, states, logits, features, inputs)


def _both(tokens: Tensor) -> Tensor:
    """Mean of the tokens, and the class token behind it."""
    return torch.cat([pool(tokens), pool(tokens, method="cls")], dim=1)


def peak_velocity(states: dict[str, Tensor]) -> Tensor:
    """The published score: the longest step of every image, by lengths where widths differ."""
    return dd.spatial_velocity(states, across_widths="norm").amax(dim=1)


VARIANTS = {  # what is read beside the layers
    "fused": ("logits", INPUT),
    "fused, without input": ("logits",),
    "fused, layers only": (),
}


class Judge:
    """One of our scores, learnt and calibrated on the normal states of a network.

    Parameters
    ----------
    score : str
        ``innovation``, ``distance``, or one of `VARIANTS` of the fused score.
    """

    def __init__(self, recorded: Recorded, sets: StrangeSets, score: str) -> None:
        self._recorded, self._more = recorded, VARIANTS.get(score, ())
        self.scorer = dd.StateScorer(
            score="fused" if score in VARIANTS else score,
            output_layer="logits" if "logits" in self._more else None,
            watch_input=INPUT in self._more,
        )
        self.scorer.partial_fit(self.states("fit"), sets.fit.labels)
        self.scorer.calibrate(self.states("calibration"), sets.calibration.labels)

    def states(self, name: str) -> dict[str, Tensor]:
        """What it reads of a set."""
        more = {"logits": self._recorded.logits[name], INPUT: self._recorded.inputs[name]}
        return self._recorded.states[name] | {key: more[key] for key in self._more}

    def read(self, name: str) -> dd.Reading:
        """Scores and p-values of a set."""
        return self.scorer.read(self.states(name))
