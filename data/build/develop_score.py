"""How the fused score was chosen, apart from everything it is judged on.

    FLAGS="--seed 11 --hold-out 4 7 --without-fit data/fashion-mnist.npz"
    python data/build/train_vision.py --network cnn --epochs 10 $FLAGS --out DIR/cnn.safetensors
    python data/build/train_vision.py --network vit --epochs 16 $FLAGS --out DIR/vit.safetensors
    python data/build/develop_score.py --networks DIR [--cifar cifar10-test.npz]

Two networks that never saw coats and sneakers, three shipped ones that the comparison does not
use, and 13 changes of the images, none of which occurs in the comparison of notebook 08. With
CIFAR-10's test images (an npz with ``images`` and ``labels``) also a ResNet-18 and a network of
ViT-B/16's depth and width with random weights: does a long chain drown one layer? Writes
``data/development.json``: for each network and combination the AUROC on the new classes, its mean
over all sets, and the share flagged at 5 %.

The rule: the largest mean over the five networks whose AUROC on the new classes does not fall below
that of the score before, at a cost that does not grow with the number of classes; where it cannot
tell how many p-values should speak, the two deep networks decide. The first half of the sentence
was settled before any combination was scored; the rest when a first table lay there, and before
anything was scored in the comparison.
"""

from __future__ import annotations

import argparse
import json
import lzma
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from deepdrift import Innovation, LayerDistance, auto_layers
from deepdrift.evidence.fusion import Fusion
from deepdrift.lab.bench.evaluation import auroc
from deepdrift.lab.bench.rivals import PixelStatistics
from deepdrift.lab.data.augment import augment
from deepdrift.lab.data.sets import NETWORK_LAYERS, load, load_network
from deepdrift.lab.fair_comparison.detectors import Observed, observe
from deepdrift.lab.fair_comparison.multi_layer import ClassGaussians
from deepdrift.lab.networks.models import SmallResNet, SmallViT
from deepdrift.monitor.stream import split_rows
from deepdrift.scores.distance import relative_distance
from deepdrift.states.collect import collect

HELD_OUT = (4, 7)
SHIPPED = ("cnn", "vit", "cnn-augmented")
ALPHA = 0.05
BEFORE = "innovation 1, distance 1, output 2, all"


def development_shifts(x: Tensor) -> dict[str, Tensor]:
    """Thirteen changes of images ``(N, C, S, S)``."""
    g = torch.Generator().manual_seed(5)
    n, c, side, _ = x.shape
    grid = (torch.arange(side)[:, None] + torch.arange(side)) % 2
    halves = x.reshape(-1, c, 2, side // 2, 2, side // 2)
    cut = slice(5, side - 5)
    return {
        "augmented": augment(x, 3) if c == 1 else x.flip(3).roll(2, 3),
        "off centre": x.roll((3, 3), (2, 3)),
        "gamma": x**2.5,
        "zoom": interpolate(x[:, :, cut, cut], size=side, mode="bilinear"),
        "speckle": (x * (1 + 0.5 * torch.randn(x.shape, generator=g))).clamp(0, 1),
        "upside down": x.flip(2),
        "checkerboard": x * (1 - 0.5 * grid),
        "gradient": (x + torch.linspace(0, 0.4, side)).clamp(0, 1),
        "four greys": (x * 3).round() / 3,
        "coarse": interpolate(avg_pool2d(x, 2), scale_factor=2),
        "two in one": (x + x.roll(1, 0)) / 2,
        "salt": torch.where(torch.rand(x.shape, generator=g) < 0.05, 1.0, x),
        "halves swapped": halves.flip(2).reshape(x.shape),
    }


def blocks_of(fit: Observed, sets: Mapping[str, Observed]) -> dict[str, dict[str, Tensor]]:
    """Block -> set -> scores ``(N, K)`` of every candidate block, fitted on ``fit``."""
    innovation = Innovation().fit(fit.states)
    distance = LayerDistance().fit(fit.states, fit.labels)
    gaussians = ClassGaussians(fit.states, fit.labels)
    logits = LayerDistance().fit({"logits": fit.logits}, fit.labels)
    features = LayerDistance().fit({"features": fit.features}, fit.labels)
    pixels = PixelStatistics(fit.images)
    makers = {
        "innovation": lambda x: innovation.score(x.states),
        "distance": lambda x: distance.score(x.states),
        "relative": lambda x: relative_distance(distance, x.states),
        "class Gaussians": lambda x: gaussians(x.states),
        "output": lambda x: relative_distance(logits, {"logits": x.logits}),
        "energy": lambda x: -x.logits.double().logsumexp(dim=1, keepdim=True),
        "distance of the logits": lambda x: logits.score({"logits": x.logits}),
        "relative distance of the features": lambda x: relative_distance(
            features, {"features": x.features}
        ),
        "input": lambda x: pixels(x.images)[:, None],
    }
    return {name: {k: make(x) for k, x in sets.items()} for name, make in makers.items()}


def combinations() -> Iterator[tuple[dict[str, float], int | None]]:
    """Weights of the blocks, and how many of the smallest p-values of a block count."""
    layers = {"innovation": 1.0, "distance": 1.0}
    yield layers, None
    for name in ("energy", "distance of the logits", "relative distance of the features"):
        yield layers | {name: 1.0}, None
    yield layers | {"energy": 2.0}, None
    for weight in (1.0, 2.0, 3.0, 4.0):
        yield layers | {"output": weight}, None
    yield {"output": 1.0}, None
    yield {"input": 1.0}, None
    yield {"class Gaussians": 1.0, "output": 1.0}, None
    relative = {"relative": 1.0}
    kinds = {  # what looks at the layers, and the lighter of two weights of the output
        2: (layers, layers | relative, {"innovation": 1.0, "class Gaussians": 1.0} | relative),
        1: ({"distance": 1.0} | relative, {"class Gaussians": 1.0} | relative),
    }
    for n_smallest in (None, 3, 2, 1):
        for lightest, families in kinds.items():
            for family in families:
                for output in (lightest, lightest + 1):
                    for given in (0, 1, 2, 3):
                        weights = family | {"output": float(output)}
                        yield weights | ({"input": float(given)} if given else {}), n_smallest


def measure(blocks: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, float]]:
    """AUROC and share flagged of every combination; sets "calibration" and "test" are normal."""
    n = len(blocks["output"]["calibration"])
    _, *halves = split_rows(n, ALPHA, 2)
    shifted = [k for k in blocks["output"] if k not in ("calibration", "test")]
    found = {}
    for weights, n_smallest in combinations():
        parts = [{b: blocks[b]["calibration"][rows] for b in weights} for rows in halves]
        fusion = Fusion(*parts, weights, n_smallest)
        score = {k: fusion.score({b: blocks[b][k] for b in weights}) for k in ("test", *shifted)}
        rates = {k: float((fusion.p_values(s) <= ALPHA).double().mean()) for k, s in score.items()}
        aurocs = {k: float(auroc(score["test"], score[k])) for k in shifted}
        name = ", ".join(f"{b} {w:g}" for b, w in weights.items())
        row = {"mean": sum(aurocs.values()) / len(aurocs)}
        row["flagged"] = sum(rates[k] for k in shifted) / len(shifted)
        row |= {k: aurocs[k] for k in ("new classes", "speckle") if k in aurocs}
        row |= {"speckle flagged": rates["speckle"], "false alarms": rates["test"]}
        count = "all" if n_smallest is None else f"{n_smallest} smallest"
        found[f"{name}, {count}"] = {k: round(v, 4) for k, v in row.items()}
    return found


def clothing_blocks(network: nn.Module, layers: tuple[str, ...], held_out: tuple[int, ...]) -> dict:
    """Blocks of a network for clothing; without the classes that it never saw."""
    clothing = load()
    parts = [getattr(clothing, k) for k in ("fit", "calibration", "test")]
    images = {}
    if held_out:
        images["new classes"] = clothing.test.classes(held_out).images
        parts = [part.without(held_out) for part in parts]
    images |= development_shifts(parts[2].images)
    fit, held, test = (observe(network, p.images, layers, p.labels) for p in parts)
    shifted = {name: observe(network, x, layers) for name, x in images.items()}
    return blocks_of(fit, {"calibration": held, "test": test} | shifted)


def deep_blocks(network: nn.Module, images: Tensor, labels: Tensor) -> dict:
    """Blocks of a deep network with random weights, for 5,300 photographs."""
    layers = auto_layers(network)

    def seen(x: Tensor, y: Tensor | None = None) -> Observed:
        found = [collect(network, part, layers) for part in x.split(200)]
        states = {k: torch.cat([f.states[k] for f in found]) for k in found[0].states}
        logits = torch.cat([f.outputs for f in found])
        return Observed(x, states, logits, logits, y)

    sets = {"calibration": seen(images[2400:4000]), "test": seen(images[4000:5000])}
    sets |= {k: seen(x) for k, x in development_shifts(images[5000:5300]).items()}
    return blocks_of(seen(images[:2400], labels[:2400]), sets)


class Larger(nn.Module):
    """A network behind an enlargement to 64 x 64."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(interpolate(x, size=64, mode="bilinear"))


def deep_networks() -> dict[str, nn.Module]:
    """ResNet-18, and a transformer as deep and wide as ViT-B/16 on images of 32 x 32."""
    torch.manual_seed(0)
    resnet = Larger(torchvision.models.resnet18(num_classes=10))
    vit = torchvision.models.VisionTransformer(32, 16, 12, 12, 768, 3072, num_classes=10)
    return {"resnet18, random": resnet.eval(), "vit-b/16, random": vit.eval()}


def table(found: Mapping[str, Mapping[str, object]]) -> str:
    """As JSON, a line for each network and combination."""
    parts = []
    for name, rows in found.items():
        lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(row)}" for k, row in rows.items())
        parts.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=Path, required=True, help="folder of the two weights")
    parser.add_argument("--cifar", type=Path, default=None, help="test images, npz or npz.xz")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "development.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for kind, make in {"cnn": SmallResNet, "vit": SmallViT}.items():
        network = make(10 - len(HELD_OUT))
        network.load_state_dict(load_file(args.networks / f"{kind}.safetensors"))
        blocks = clothing_blocks(network.float().eval(), NETWORK_LAYERS[kind], HELD_OUT)
        found[f"{kind}, two classes held out"] = measure(blocks)
    for name in SHIPPED:
        blocks = clothing_blocks(load_network(name), NETWORK_LAYERS[name], ())
        found[name] = measure(blocks)
    if args.cifar:
        raw = args.cifar.read_bytes()
        raw = lzma.decompress(raw) if args.cifar.suffix == ".xz" else raw
        with np.load(BytesIO(raw)) as arrays:
            images = torch.from_numpy(arrays["images"][:5300]).permute(0, 3, 1, 2).float() / 255
            labels = torch.from_numpy(arrays["labels"][:5300].astype(np.int64))
        for name, network in deep_networks().items():
            found[name] = measure(deep_blocks(network, images, labels))
    args.out.write_text(table(found), encoding="utf-8")
    for name, rows in found.items():
        best = sorted(rows, key=lambda k: -rows[k]["mean"])[:3]
        for k in (BEFORE, *best):
            print(f"{name:28s} {k:70s} {rows[k]}", flush=True)


if __name__ == "__main__":
    main()
