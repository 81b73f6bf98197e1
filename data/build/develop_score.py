"""How the output term of the fused score was chosen, apart from everything it is judged on.

    FLAGS="--seed 11 --hold-out 4 7 --without-fit data/fashion-mnist.npz"
    python data/build/train_vision.py --network cnn --epochs 10 $FLAGS --out DIR/cnn.safetensors
    python data/build/train_vision.py --network vit --epochs 16 $FLAGS --out DIR/vit.safetensors
    python data/build/develop_score.py --networks DIR

Two networks that never saw coats and sneakers, and 13 changes of the images, none of which occurs
in the comparison of notebook 08. Writes ``data/development.json``: for each combination the AUROC
on the new classes and its mean over all 14 sets.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from deepdrift import Innovation, LayerDistance
from deepdrift.evidence.fusion import Fusion
from deepdrift.lab.bench.evaluation import auroc
from deepdrift.lab.data.augment import augment
from deepdrift.lab.data.sets import NETWORK_LAYERS, load
from deepdrift.lab.fair_comparison.detectors import Observed, observe
from deepdrift.lab.networks.models import SmallResNet, SmallViT
from deepdrift.monitor.scorer import split_rows
from deepdrift.scores.distance import relative_distance

HELD_OUT = (4, 7)
Block = Callable[[Observed], Tensor]


def development_shifts(x: Tensor) -> dict[str, Tensor]:
    """Thirteen changes of images ``(N, 1, 28, 28)``."""
    g = torch.Generator().manual_seed(5)
    grid = (torch.arange(28)[:, None] + torch.arange(28)) % 2
    quarters = x.reshape(-1, 1, 2, 14, 2, 14)
    return {
        "augmented": augment(x, 3),
        "off centre": x.roll((3, 3), (2, 3)),
        "gamma": x**2.5,
        "zoom": interpolate(x[:, :, 5:23, 5:23], size=28, mode="bilinear"),
        "speckle": (x * (1 + 0.5 * torch.randn(x.shape, generator=g))).clamp(0, 1),
        "upside down": x.flip(2),
        "checkerboard": x * (1 - 0.5 * grid),
        "gradient": (x + torch.linspace(0, 0.4, 28)).clamp(0, 1),
        "four greys": (x * 3).round() / 3,
        "coarse": interpolate(avg_pool2d(x, 2), scale_factor=2),
        "two in one": (x + x.roll(1, 0)) / 2,
        "salt": torch.where(torch.rand(x.shape, generator=g) < 0.05, 1.0, x),
        "halves swapped": quarters.flip(2).reshape(-1, 1, 28, 28),
    }


def combinations(fit: Observed) -> dict[str, tuple[dict[str, Block], float]]:
    """Name -> blocks of scores, and the weight of the block "output"."""
    innovation = Innovation().fit(fit.states)
    distance = LayerDistance().fit(fit.states, fit.labels)
    logits = LayerDistance().fit({"logits": fit.logits}, fit.labels)
    features = LayerDistance().fit({"features": fit.features}, fit.labels)
    layers = {
        "innovation": lambda x: innovation.score(x.states),
        "distance": lambda x: distance.score(x.states),
    }
    energy = {"output": lambda x: -x.logits.double().logsumexp(dim=1, keepdim=True)}
    nearest = {"output": lambda x: logits.score({"logits": x.logits})}
    relative = {"output": lambda x: relative_distance(logits, {"logits": x.logits})}
    inside = {"output": lambda x: relative_distance(features, {"features": x.features})}
    return {
        "layers only": (layers, 1),
        "with energy": (layers | energy, 1),
        "with energy, weight 2": (layers | energy, 2),
        "with distance of the logits": (layers | nearest, 1),
        "with relative distance of the features": (layers | inside, 1),
        "with relative distance of the logits": (layers | relative, 1),
        "with relative distance of the logits, weight 2": (layers | relative, 2),
        "with relative distance of the logits, weight 3": (layers | relative, 3),
        "with relative distance of the logits, weight 4": (layers | relative, 4),
        "relative distance of the logits alone": (relative, 1),
    }


def measure(network: torch.nn.Module, layers: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """AUROC of every combination on the new classes, and the mean over all sets."""
    clothing = load()
    parts = [getattr(clothing, k).without(HELD_OUT) for k in ("fit", "calibration", "test")]
    fit, held, test = (observe(network, p.images, layers, p.labels) for p in parts)
    images = {"new classes": clothing.test.classes(HELD_OUT).images}
    images |= development_shifts(parts[2].images)
    shifted = {name: observe(network, x, layers) for name, x in images.items()}
    _, first, second = split_rows(len(held), 0.05, 2)
    found = {}
    for name, (blocks, weight) in combinations(fit).items():
        scores = {k: block(held) for k, block in blocks.items()}
        halves = [{k: s[rows] for k, s in scores.items()} for rows in (first, second)]
        fusion = Fusion(*halves, weights={"output": weight})

        def score(x: Observed, fusion: Fusion = fusion, blocks: dict = blocks) -> Tensor:
            return fusion.score({k: block(x) for k, block in blocks.items()})

        normal = score(test)
        aurocs = {k: float(auroc(normal, score(x))) for k, x in shifted.items()}
        found[name] = {
            "new classes": round(aurocs["new classes"], 4),
            "mean": round(sum(aurocs.values()) / len(aurocs), 4),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=Path, required=True, help="folder of the two weights")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "development.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for kind, make in {"cnn": SmallResNet, "vit": SmallViT}.items():
        network = make(10 - len(HELD_OUT))
        network.load_state_dict(load_file(args.networks / f"{kind}.safetensors"))
        found[kind] = measure(network.float().eval(), NETWORK_LAYERS[kind])
        for name, row in found[kind].items():
            print(f"{kind} {name:48s} new {row['new classes']:.3f} mean {row['mean']:.4f}")
    args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
