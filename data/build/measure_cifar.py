"""Measure the shipped CIFAR-10 networks as a published study did, and as it should be done.

    python data/build/measure_cifar.py --images FOLDER --jobs 2

``--images`` as in ``train_cifar.py``. Writes ``data/cifar.json``, the tables of notebook 10, with
a hash of the images, of each network and of this script; what an earlier run measured of the same
three is kept. About five minutes a network on one core.

The 10,000 test images are split as ``deepdrift.lab.data.load("cifar-10")`` splits them: 5,000 to
learn and calibrate with (3,000 for the detectors, 2,000 for thresholds; all 5,000 for the
temperature), 5,000 to be judged. No choice is made on what is judged.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cifar import read_cifar
from sklearn.metrics import f1_score
from torch import Tensor, nn

from deepdrift import attribution, confidence
from deepdrift.lab.bench.evaluation import proportion
from deepdrift.lab.data.images import ImageSet
from deepdrift.lab.data.sets import NETWORK_LAYERS, load_network, shipped
from deepdrift.lab.data.shifts import apply_shift
from deepdrift.lab.fair_comparison.protocol import Protocol, ShiftedSet
from deepdrift.lab.networks.models import SmallResNet

NETWORKS = ("cifar10-cnn", "cifar10-cnn-1", "cifar10-vit", "cifar10-vit-1")
SHIFTS = ("gaussian_noise", "blur", "brightness", "contrast")
SEVERITIES = (1, 2, 3, 4, 5)
N_FIT, N_MAPS, N_NULL = 3000, 500, 1000
OURS = ("fused", "fused, without input", "fused, layers only", "innovation", "layer distance")


def floats(images: Tensor) -> Tensor:
    """Bytes as floats in [0, 1]."""
    return images.float() / 255


def read(folder: Path | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Parts of CIFAR-10's test images, CIFAR-100's, and a hash of what was read."""
    images, labels, names = read_cifar("cifar-10", "test", folder)
    strange, strange_labels, _ = read_cifar("cifar-100", "test", folder)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    half = len(images) // 2
    rows = {
        "fit": order[:N_FIT],
        "calibration": order[N_FIT:half],
        "held": order[:half],
        "test": order[half:],
    }
    parts: dict[str, Any] = {
        name: ImageSet(floats(images[row]), labels[row], names) for name, row in rows.items()
    }
    parts["strange"] = floats(strange)
    parts["strange labels"] = strange_labels
    found = {"cifar-10 test images": images, "cifar-100 test images": strange}
    return parts, {name: _hash(x.numpy().tobytes()) for name, x in found.items()}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@torch.no_grad()
def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Logits in float64, 500 images at a time."""
    return torch.cat([network(batch) for batch in images.split(500)]).double()


def performance(logits: Tensor, labels: Tensor, temperature: float) -> dict[str, float]:
    """What the network gets right and how sure it is, before and after its temperature."""
    found = {}
    for suffix, t in (("", 1.0), (" at temperature", temperature)):
        p = (logits / t).softmax(dim=1)
        test = confidence.calibration_test(p, labels, n_simulations=N_NULL)
        found |= {
            f"confidence{suffix}": float(p.amax(dim=1).mean()),
            f"ece{suffix}": test.ece,
            f"null high{suffix}": test.null_high,
            f"p value{suffix}": test.p_value,
            f"nll{suffix}": confidence.nll(p, labels),
            f"brier{suffix}": confidence.brier(p, labels).value,
        }
    guess = logits.argmax(dim=1)
    found["accuracy"] = float((guess == labels).double().mean())
    found["f1"] = float(f1_score(labels, guess, average="macro"))
    return found


def corruptions(network: nn.Module, test: ImageSet, temperature: float) -> dict[str, Any]:
    """Performance at every severity of four shifts."""
    found: dict[str, Any] = {}
    for name in SHIFTS:
        found[name] = {}
        for severity in SEVERITIES:
            shifted = apply_shift(name, test.images, severity, seed=severity)
            logits = logits_of(network, shifted)
            found[name][str(severity)] = performance(logits, test.labels, temperature)
    return found


def randomised(network: nn.Module) -> nn.Module:
    """The same architecture with the weights it was born with (Adebayo et al. 2018)."""
    generator = torch.Generator().manual_seed(0)
    other = load_network(network.name)
    with torch.no_grad():
        for parameter in other.parameters():
            if parameter.ndim > 1:
                std = parameter[0].numel() ** -0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
    return other


def mean_iou(first: Tensor, second: Tensor) -> dict[str, float]:
    """Mean top-20 % overlap with a normal 95 % interval over images."""
    values = attribution.top_iou(first, second)
    values = values[~values.isnan()].double()
    half = 1.96 * float(values.std()) / len(values) ** 0.5
    mean = float(values.mean())
    return {"value": mean, "low": mean - half, "high": mean + half, "n": len(values)}


def explanations(network: nn.Module, test: ImageSet, strange: Tensor) -> dict[str, Any]:
    """Overlap of saliency maps: the ruler, pairs under corruption, and the published pairing."""
    images, labels = test.images[:N_MAPS], test.labels[:N_MAPS]
    guess = logits_of(network, images).argmax(dim=1)
    explain = attribution.saliency
    clean = explain(network, images, guess).maps
    turned = clean.roll(1, dims=0)
    partner = torch.tensor(
        [next(j for j in (*range(i + 1, N_MAPS), *range(i)) if labels[j] == labels[i])
         for i in range(N_MAPS)]
    )  # fmt: skip
    other = explain(network, strange[:N_MAPS]).maps
    found: dict[str, Any] = {
        "chance": attribution.chance_iou(clean[0].numel()),
        "ruler": {
            "randomised network": mean_iou(clean, explain(randomised(network), images, guess).maps),
            "another image": mean_iou(clean, turned),
            "another image of the class": mean_iou(clean, clean[partner]),
            "CIFAR-100 image": mean_iou(clean, other),
        },
        "below 0.2 on clean pairs of a class": _share(
            attribution.top_iou(clean, clean[partner]) < 0.2
        ),
        "below 0.2 on CIFAR-100 pairs": _share(attribution.top_iou(clean, other) < 0.2),
        "pairs": {},
    }
    for name in SHIFTS:
        found["pairs"][name] = {}
        for severity in (1, 3, 5):
            shifted = apply_shift(name, images, severity, seed=severity)
            maps = explain(network, shifted, guess).maps
            kept = logits_of(network, shifted).argmax(dim=1) == guess
            row = {"all": mean_iou(clean, maps), "kept share": float(kept.double().mean())}
            for word, mask in (("kept", kept), ("changed", ~kept)):
                if int(mask.sum()) >= 20:
                    row[word] = mean_iou(clean[mask], maps[mask])
            found["pairs"][name][str(severity)] = row
    return found


def _share(hits: Tensor) -> dict[str, float]:
    e = proportion(int(hits.sum()), len(hits))
    return {"value": e.value, "low": e.low, "high": e.high, "n": len(hits)}


def new_classes(network: nn.Module, parts: dict[str, Any]) -> dict[str, Any]:
    """CIFAR-100 by the study's own arithmetic, and by ranking."""
    strange, indices = parts["strange"], parts["strange labels"]
    logits = logits_of(network, strange)
    p = logits.softmax(dim=1)
    hits = (logits.argmax(dim=1) == indices).double().mean()  # indices 0 to 99 beside 0 to 9
    sure = float(p.amax(dim=1).mean())
    shares = torch.bincount(logits.argmax(dim=1), minlength=10).double() / len(logits)
    entropy = float(-(shares * shares.clamp(min=1e-12).log()).sum() / np.log(10))
    return {
        "n": len(strange),
        "accuracy against class indices": float(hits),
        "confidence": sure,
        "confidence minus accuracy": sure - float(hits),
        "share of each prediction": shares.tolist(),
        "entropy of predictions": entropy,
    }


def detectors(network: nn.Module, parts: dict[str, Any]) -> dict[str, Any]:
    """AUROC of every score of notebook 08 for CIFAR-100 and shifts of severity 3."""
    shifted = [ShiftedSet("cifar-100", "near", parts["strange"])]
    shifted += [
        ShiftedSet(n, "corruption", apply_shift(n, parts["test"].images, 3, seed=3), 3)
        for n in SHIFTS
    ]
    protocol = Protocol(parts["fit"], parts["calibration"], parts["test"], shifted)
    scores = protocol.run(network, NETWORK_LAYERS[network.name])
    found: dict[str, Any] = {"auroc": {}, "false alarms": {}}
    for name in scores.detectors:
        rows = {part.key: scores.auroc(name, part.key) for part in shifted}
        found["auroc"][name] = {k: [e.value, e.low, e.high] for k, e in rows.items()}
        rates = {a: scores.false_alarms(name, a) for a in protocol.alphas}
        found["false alarms"][name] = {str(a): [e.value, e.low, e.high] for a, e in rates.items()}
    return found


def measure(name: str, folder: Path | None) -> dict[str, Any]:
    """All tables of one network."""
    torch.set_num_threads(1)
    start = time.time()
    parts, _ = read(folder)
    network = load_network(name)
    network.name = name
    held, test = parts["held"], parts["test"]
    temperature = confidence.fit_temperature(logits_of(network, held.images), held.labels)
    found = {
        "kind": "cnn" if isinstance(network, SmallResNet) else "vit",
        "accuracy on 10,000 test images": network.test_accuracy,
        "temperature": temperature,
        "clean": performance(logits_of(network, test.images), test.labels, temperature),
        "corruptions": corruptions(network, test, temperature),
        "explanations": explanations(network, test, parts["strange"]),
        "cifar-100": new_classes(network, parts),
        "detectors": detectors(network, parts),
    }
    print(f"{name} in {time.time() - start:.0f} s", flush=True)
    return found


def rounded(value: Any, digits: int = 5) -> Any:
    """Floats to so many significant digits, whatever holds them."""
    if isinstance(value, dict):
        return {key: rounded(inner, digits) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner, digits) for inner in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def still_true(path: Path, common: dict[str, str], hashes: dict[str, str]) -> dict[str, Any]:
    """Tables of an earlier run on the same images, with this script, of unchanged networks."""
    if not path.is_file():
        return {}
    earlier = json.loads(path.read_text(encoding="utf-8"))
    made_of = earlier["made of"]
    if any(made_of.get(name) != digest for name, digest in common.items()):
        return {}
    same = [name for name, digest in hashes.items() if made_of.get(name) == digest]
    return {name: earlier["networks"][name] for name in same}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=None, help="folder of the images")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--jobs", type=int, default=1, help="networks at the same time")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "cifar.json")
    args = parser.parse_args()

    _, common = read(args.images)
    common["measure_cifar.py"] = _hash(Path(__file__).read_bytes())
    hashes = {n: _hash(shipped(f"models/{n}.safetensors").read_bytes()) for n in args.networks}
    known = still_true(args.out, common, hashes)
    new = [name for name in args.networks if name not in known]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        tables = pool.map(partial(measure, folder=args.images), new)
        known |= {name: rounded(table) for name, table in zip(new, tables, strict=True)}
    result = {"made of": common | hashes, "networks": {name: known[name] for name in hashes}}
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
