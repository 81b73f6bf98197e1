"""Four kinds of pictures, and what a network and its monitor say to each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deepdrift.lab.bench.evaluation import Estimate, proportion
from deepdrift.lab.data import sets, shifts
from deepdrift.lab.data.images import ImageData
from deepdrift.monitor import DeepDriftMonitor
from deepdrift.monitor.results import Reading

SURE = 0.9  # a network is called sure of an answer above this confidence
UNKNOWN = (5, 8)  # sandals and bags, which the holdout networks have never seen
NO_ANSWER_FITS = -1


class Answers(NamedTuple):
    """What a network answers to a set of pictures, and which answer would be right."""

    confidence: Tensor  # (N,) probability of the answer, by the network itself
    label: Tensor  # (N,) the class it names
    truth: Tensor  # (N,) the class shown, -1 where it knows none that fits

    @property
    def sure(self) -> Tensor:
        """Which answers come with more than 90 % confidence."""
        return self.confidence > SURE

    @property
    def wrong(self) -> Tensor:
        """Which answers are wrong."""
        return self.label != self.truth


def four_kinds(images: ImageData) -> dict[str, Tensor]:
    """Unseen clothing, and three kinds that a holdout network was not trained on.

    The noisy pictures are the first 1,000 of the clothing, with Gaussian noise of severity 3.
    """
    clothing = images.without(UNKNOWN).test.images
    return {
        "clothing": clothing,
        "sandals, bags": images.test.classes(UNKNOWN).images,
        "digits": sets.load_ood("mnist").images,
        "noisy pictures": shifts.apply_shift("gaussian_noise", clothing[:1000], severity=3, seed=0),
    }


def truths(images: ImageData, kinds: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The right answers to `four_kinds`: garments, where they are known ones."""
    labels = images.without(UNKNOWN).test.labels
    right = {"clothing": labels, "noisy pictures": labels}
    none = torch.full((max(map(len, kinds.values())),), NO_ANSWER_FITS)
    return {name: right.get(name, none)[: len(pictures)] for name, pictures in kinds.items()}


def run_once(
    network: nn.Module,
    monitor: DeepDriftMonitor,
    kinds: Mapping[str, Tensor],
    right: Mapping[str, Tensor],
    batch_size: int = 250,
) -> tuple[dict[str, Answers], dict[str, Reading]]:
    """Run the network once over all pictures, while the monitor looks on.

    Returns the network's answers and the monitor's readings, by kind of picture.
    """
    answers, readings = {}, {}
    for name, pictures in kinds.items():
        parts, logits = [], []
        for batch in pictures.split(batch_size):
            with torch.no_grad():
                logits.append(network(batch))
            parts.append(monitor.read())  # what the layers held just now
        confidence, label = torch.cat(logits).softmax(dim=1).max(dim=1)
        answers[name], readings[name] = Answers(confidence, label, right[name]), joined(parts)
    return answers, readings


def joined(parts: list[Reading]) -> Reading:
    """Readings of several batches as one."""
    first = parts[0]

    def tables(name: str) -> dict[str, Tensor]:
        return {k: torch.cat([getattr(part, name)[k] for part in parts]) for k in first.blocks}

    return Reading(
        *(torch.cat([getattr(p, x) for p in parts]) for x in ("score", "p_values", "flagged")),
        blocks=tables("blocks"),
        layer_p_values=tables("layer_p_values"),
        invalid_layers=tuple(dict.fromkeys(x for part in parts for x in part.invalid_layers)),
        layers=first.layers,
        targets=first.targets,
    )


def confidence_table(answers: Mapping[str, Answers]) -> str:
    """How many pictures of each kind there are, how many answers are sure, and sure and wrong.

    Examples
    --------
    >>> confidence, label = torch.tensor([0.95, 0.99, 0.5]), torch.tensor([1, 2, 3])
    >>> print(confidence_table({"bags": Answers(confidence, label, torch.tensor([1, 0, 0]))}))
                      pictures  over 90 % sure  sure and wrong
    bags                     3               2               1
    """
    lines = [f"{'':16s}  pictures  over 90 % sure  sure and wrong"]
    for name, a in answers.items():
        sure, wrong = int(a.sure.sum()), int((a.sure & a.wrong).sum())
        lines.append(f"{name:16s}  {len(a.sure):8d}  {sure:14d}  {wrong:14d}")
    return "\n".join(lines)


def flagged(reading: Reading) -> Estimate:
    """Share of pictures that a monitor flags, with its 95 % interval."""
    return proportion(int(reading.flagged.sum()), len(reading.flagged))


def flagged_by_layer(reading: Reading, alpha: float = 0.05) -> dict[str, Estimate]:
    """Share of pictures whose state a layer alone finds among its outermost ``alpha``."""
    hits = (reading.layer_p_values["distance"] <= alpha).sum(dim=0).tolist()
    n = len(reading.score)
    return {k: proportion(hit, n) for k, hit in zip(reading.layers, hits, strict=True)}


def layer_table(shares: Mapping[str, Mapping[str, Estimate]]) -> str:
    """What `flagged_by_layer` found, a row per kind of picture, in percent.

    Examples
    --------
    >>> print(layer_table({"bags": {"patch": proportion(1, 4), "blocks.0": proportion(3, 4)}}))
                       patch  blocks.0
    bags                25 %      75 %
    """
    layers = list(next(iter(shares.values())))
    lines = ["  ".join([f"{'':14s}", *(f"{layer:>8s}" for layer in layers)])]
    for name, by_layer in shares.items():
        cells = (f"{100 * by_layer[layer].value:6.0f} %" for layer in layers)
        lines.append("  ".join([f"{name:14s}", *cells]))
    return "\n".join(lines)
