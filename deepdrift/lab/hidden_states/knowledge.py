"""What the states of a layer know: the class of an image, and that an image is strange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from deepdrift.lab.bench.evaluation import Estimate, auroc, proportion
from deepdrift.lab.data import sets, shifts
from deepdrift.lab.data.images import ImageData
from deepdrift.scores.distance import LayerDistance
from deepdrift.states.collect import collect
from deepdrift.states.pooling import pool

UNKNOWN = (5, 8)  # sandals and bags, which the holdout networks have never seen

States = dict[str, Tensor]  # layer -> (N, D)


def nearest_mean(fit: Tensor, labels: Tensor, test: Tensor) -> Tensor:
    """Class of the nearest class mean for each row of ``test``.

    Examples
    --------
    >>> fit, labels = torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([0, 0, 1])
    >>> nearest_mean(fit, labels, torch.tensor([[4.0], [6.0]]))  # means 1 and 9
    tensor([0, 1])
    """
    means = torch.stack([fit[labels == c].mean(dim=0) for c in range(int(labels.max()) + 1)])
    return torch.cdist(test, means).argmin(dim=1)


def knowledge(network: nn.Module, layers: Sequence[str], images: ImageData) -> dict[str, Estimate]:
    """Share of test images that the nearest class mean gets right, layer by layer."""
    fit = collect(network, images.fit.images, layers).states
    test = collect(network, images.test.images, layers).states
    hits = {
        layer: int(
            (nearest_mean(fit[layer], images.fit.labels, test[layer]) == images.test.labels).sum()
        )
        for layer in layers
    }
    return {layer: proportion(n, len(images.test.labels)) for layer, n in hits.items()}


def three_strange_kinds(images: ImageData) -> dict[str, Tensor]:
    """Unseen clothing, and three kinds that a holdout network does not know."""
    clothing = images.without(UNKNOWN).test.images
    return {
        "clothing": clothing,
        "sandals, bags": images.test.classes(UNKNOWN).images,
        "digits": sets.load_ood("mnist").images,
        "dead rows": shifts.apply_shift("dead_rows", clothing, severity=3, seed=0),
    }


def _mean_and_largest(output: Tensor) -> Tensor:
    maps = output.flatten(2)  # (N, C, positions)
    return torch.cat([pool(output), maps.amax(dim=2)], dim=1)


def mean_and_largest(
    network: nn.Module, images: Tensor, layers: Sequence[str]
) -> dict[str, States]:
    """States under two poolings from one pass: the mean over positions, and the largest value.

    Only for networks whose layers return maps ``(N, C, H, W)``.
    """
    both = collect(network, images, layers, pooling=_mean_and_largest).states
    halves = {layer: state.chunk(2, dim=1) for layer, state in both.items()}
    return {
        "mean": {layer: half[0] for layer, half in halves.items()},
        "largest": {layer: half[1] for layer, half in halves.items()},
    }


def under_two_poolings(
    network: nn.Module, kinds: Mapping[str, Tensor], layers: Sequence[str]
) -> dict[str, dict[str, States]]:
    """`mean_and_largest` of several sets of images: pooling -> set -> layer -> states."""
    found = {name: mean_and_largest(network, images, layers) for name, images in kinds.items()}
    return {how: {name: both[how] for name, both in found.items()} for how in ("mean", "largest")}


def image_lengths(kinds: Mapping[str, Tensor]) -> dict[str, States]:
    """Euclidean length of each image: a score that needs no network, in one column.

    Examples
    --------
    >>> image_lengths({"bags": torch.tensor([[[[3.0, 4.0]]]])})
    {'bags': {'image': tensor([5.])}}
    """
    return {name: {"image": images.flatten(1).norm(dim=1)} for name, images in kinds.items()}


def distances(
    fit: Mapping[str, Tensor], labels: Tensor, states: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, States]:
    """Distance to the nearest class mean, by set of images and layer."""
    judge = LayerDistance().fit(dict(fit), labels)
    found = {}
    for name, by_layer in states.items():
        scores = judge.score(dict(by_layer))
        found[name] = {layer: scores[:, i] for i, layer in enumerate(by_layer)}
    return found


def seen_by_layer(scores: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Estimate]]:
    """AUROC of every set but the first, the normal one, in every layer."""
    normal, *strange = scores
    return {
        name: {layer: auroc(scores[normal][layer], x) for layer, x in scores[name].items()}
        for name in strange
    }


def table(rows: Mapping[str, Mapping[str, Estimate]], percent: bool = False) -> str:
    """One row per name, one column per layer: the values without their intervals.

    Examples
    --------
    >>> print(table({"CNN": {"stem": proportion(1, 4), "blocks.0": proportion(3, 4)}}, True))
                      stem  blocks.0
    CNN               25 %      75 %
    >>> print(table({"bags": {"stem": proportion(1, 4)}}))
                      stem
    bags              0.25
    """
    lines = []
    for name, row in rows.items():
        head = "  ".join([f"{'':13s}", *(f"{layer:>8s}" for layer in row)])
        if not lines or head not in lines:
            lines.append(head)
        cells = (f"{100 * e.value:6.0f} %" if percent else f"{e.value:8.2f}" for e in row.values())
        lines.append("  ".join([f"{name:13s}", *cells]))
    return "\n".join(lines)
