"""Figures of a published study of explanations and calibration under shift, as it states them.

A ViT and a ResNet on CIFAR-10; "shift" is CIFAR-100 (and corruptions of CIFAR-10). Kept here to be
set beside what the same arithmetic gives on networks of ours, and beside the right measurement.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import fmean
from typing import Any

from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.data import shipped

PUBLISHED = {
    "ViT": {
        "accuracy": 0.7274,
        "accuracy on CIFAR-100": 0.0101,
        "ECE": 0.035,
        "ECE on CIFAR-100": 0.598,
        "confidence on CIFAR-100": 0.608,
        "IoU with CIFAR-100 image": 0.153,
    },
    "CNN": {
        "accuracy": 0.7702,
        "accuracy on CIFAR-100": 0.0090,
        "ECE on CIFAR-100": 0.662,
        "IoU with CIFAR-100 image": 0.123,
    },
}
"""What the study states for its two networks."""

PAIRED_IOU = {"contrast 1": 0.53, "brightness 1": 0.44, "noise 1": 0.23, "noise 5": 0.147}
"""Its overlap of an image's map with that of its own corrupted copy: the informative part."""

NOISE_3 = {"accuracy": 0.207, "ECE": 0.406}
"""one network under Gaussian noise of severity 3, where labels keep their meaning."""

CLAIMS = {
    "accuracy drops by 71.7 points on CIFAR-100": "1 % is chance among 100 class numbers",
    "ECE grows 17-fold": "confidence minus 1 %: an identity",
    "attribution overlap of 0.153 means 84.7 % dissimilarity": "chance is 0.111",
    "overlap below 0.2 detects shift": "clean images of one class are below as well",
}
"""Claim -> what it rests on."""

NETWORKS = {
    "ViT": ("cifar10-vit", "cifar10-vit-1"),
    "CNN": ("cifar10-cnn", "cifar10-cnn-1"),
}
"""Our two trainings of each kind."""

SHOWN = (
    "fused",
    "fused, without input",
    "fused, layers only",
    "innovation",
    "layer distance",
    "MSP",
    "energy",
    "SCALE",
    "kNN",
    "Mahalanobis",
    "ViM",
    "class Gaussians, all layers",
    "pixel statistics",
    "random",
)
"""Scores of the table, names as in notebook 08."""


def load_tables(root: str | Path | None = None) -> dict[str, Any]:
    """What ``data/build/measure_cifar.py`` measured: ``{network: table}``, its bytes checked."""
    content = shipped("cifar.json", root=root).read_text(encoding="utf-8")
    return json.loads(content)["networks"]


def _numbers(table: dict[str, Any]) -> dict[str, float]:
    new = table["cifar-100"]
    return {
        "accuracy": table["accuracy on 10,000 test images"],
        "accuracy on CIFAR-100": new["accuracy against class indices"],
        "ECE": table["clean"]["ece"],
        "confidence on CIFAR-100": new["confidence"],
        "ECE on CIFAR-100": new["confidence minus accuracy"],
        "IoU with CIFAR-100 image": table["explanations"]["ruler"]["CIFAR-100 image"]["value"],
        "IoU with CIFAR-10 image": table["explanations"]["ruler"]["another image"]["value"],
    }


def side_by_side(tables: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Rows of the study's table beside the same arithmetic on ours; NaN where it says nothing."""
    rows: dict[str, dict[str, float]] = {}
    for kind, names in NETWORKS.items():
        columns = {f"{kind}, study": PUBLISHED[kind]}
        columns |= {short(name): _numbers(tables[name]) for name in names}
        for measure in _numbers(tables[names[0]]):
            row = {head: numbers.get(measure, math.nan) for head, numbers in columns.items()}
            rows.setdefault(measure, {}).update(row)
    return rows


def overlaps(tables: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Top-20 % overlap of saliency maps from chance to an image and its own corrupted copy.

    The column of the study is that of one of its networks; NaN where it says nothing.
    """
    rows: dict[str, dict[str, float]] = {}
    for names in NETWORKS.values():
        for name in names:
            found = tables[name]["explanations"]
            rows.setdefault("chance", {})[short(name)] = found["chance"]
            for what, e in found["ruler"].items():
                rows.setdefault(what, {})[short(name)] = e["value"]
            for shift, severity in (
                ("gaussian_noise", "5"),
                ("gaussian_noise", "1"),
                ("brightness", "1"),
                ("contrast", "1"),
            ):
                what = f"own copy, {shift.removeprefix('gaussian_')} {severity}"
                mean = found["pairs"][shift][severity]["all"]["value"]
                rows.setdefault(what, {})[short(name)] = mean
    for what, row in rows.items():
        row["study"] = PAIRED_IOU.get(what.removeprefix("own copy, "), math.nan)
    return rows


def rule_of_overlap(tables: dict[str, Any]) -> dict[str, dict[str, Estimate]]:
    """How often the rule "overlap below 0.2 means shift" rings, without and with a shift."""
    return {
        f"{short(name)}": {
            "two clean images of a class": _estimate(
                tables[name]["explanations"]["below 0.2 on clean pairs of a class"]
            ),
            "with a CIFAR-100 image": _estimate(
                tables[name]["explanations"]["below 0.2 on CIFAR-100 pairs"]
            ),
        }
        for names in NETWORKS.values()
        for name in names
    }


def ranking(tables: dict[str, Any], key: str = "cifar-100") -> dict[str, dict[str, Estimate]]:
    """AUROC of the scores of `SHOWN` for CIFAR-100 (or ``blur 3`` etc.) where they apply."""
    return {
        score: {
            short(name): Estimate(*tables[name]["detectors"]["auroc"][score][key], 0, 0)
            for names in NETWORKS.values()
            for name in names
            if score in tables[name]["detectors"]["auroc"]
        }
        for score in SHOWN
    }


def ranking_table(tables: dict[str, Any], key: str = "cifar-100") -> dict[str, dict[str, float]]:
    """`ranking` as numbers, best mean first; NaN where a score does not apply to a network."""
    rows = ranking(tables, key)
    networks = max((list(row) for row in rows.values()), key=len)
    found = {
        score: {n: float(row[n]) if n in row else math.nan for n in networks}
        for score, row in rows.items()
    }
    mean = {s: fmean(float(e) for e in rows[s].values()) for s in rows}
    return dict(sorted(found.items(), key=lambda item: -mean[item[0]]))


def false_alarms(tables: dict[str, Any], alpha: str = "0.05") -> dict[str, dict[str, float]]:
    """Realised share of flagged clean test images at a nominal rate."""
    return {
        score: {
            short(name): tables[name]["detectors"]["false alarms"][score][alpha][0]
            for names in NETWORKS.values()
            for name in names
        }
        for score in ("fused", "innovation", "layer distance", "MSP")
    }


def short(name: str) -> str:
    """'ViT 1' of 'cifar10-vit', 'ViT 2' of 'cifar10-vit-1'.

    Examples
    --------
    >>> short("cifar10-vit"), short("cifar10-cnn-1")
    ('ViT 1', 'CNN 2')
    """
    kind = "ViT" if "vit" in name else "CNN"
    return f"{kind} {2 if name.endswith('-1') else 1}"


def _estimate(numbers: dict[str, float]) -> Estimate:
    return Estimate(numbers["value"], numbers["low"], numbers["high"], int(numbers["n"]), 0)


def performance(tables: dict[str, Any], shift: str) -> dict[str, dict[str, float]]:
    """Accuracy, ECE and ECE at the network's temperature at severity 1, 3 and 5 of a shift."""
    rows: dict[str, dict[str, float]] = {}
    for names in NETWORKS.values():
        for name in names:
            by_severity = tables[name]["corruptions"][shift]
            rows[short(name)] = {
                f"{what} {s}": by_severity[s][key]
                for what, key in (
                    ("acc", "accuracy"),
                    ("ECE", "ece"),
                    ("ECE/T", "ece at temperature"),
                )
                for s in ("1", "3", "5")
            }
    study = dict.fromkeys(next(iter(rows.values())), math.nan)
    study |= {"acc 3": NOISE_3["accuracy"], "ECE 3": NOISE_3["ECE"]}
    return {"study": study} | rows
