"""How the default score was chosen: the table that ``data/build/develop_score.py`` wrote.

Rows are combinations such as ``"innovation 1, distance 1, output 2, all"``: blocks with their
weights, and how many layers of a block speak. They were measured on seven networks and on changes
of the images that the comparison does not use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from deepdrift.lab import data
from deepdrift.lab.fair_comparison.table import Comparison
from deepdrift.lab.fair_comparison.text_table import TextTable

__all__ = [
    "BEFORE",
    "CHOSEN",
    "FORMER",
    "MAIN",
    "Candidate",
    "allowed",
    "candidates",
    "change_table",
    "load_study",
    "study_table",
]

BEFORE = "innovation 1, distance 1, output 2, all"
CHOSEN = "innovation 1, distance 1, relative 1, output 3, input 2, 2 smallest"
MAIN = {
    "input alone": "input 1, all",
    "output alone": "output 1, all",
    "layers alone": "innovation 1, distance 1, all",
    "the default before": BEFORE,
    "  two smallest p": "innovation 1, distance 1, output 2, 2 smallest",
    "  relative distance": "innovation 1, distance 1, relative 1, output 2, all",
    "  input": "innovation 1, distance 1, output 2, input 2, all",
    "all three, output 3": CHOSEN,
    "  no innovation": "distance 1, relative 1, output 2, input 2, 3 smallest",
    "  class Gaussians": CHOSEN.replace("distance", "class Gaussians"),
    "best of all": "class Gaussians 1, relative 1, output 1, input 1, 2 smallest",
}
"""Line of the table -> combination; an indented one is a change of the line above it."""

FORMER = {"CNN": (0.922, 0.904, 0.846), "ViT": (0.829, 0.829, 0.776)}
"""Network -> what the stored comparison said before: fused, fused on new classes, kNN."""


@dataclass(frozen=True)
class Candidate:
    """One combination over the networks of the study.

    Attributes
    ----------
    mean, flagged : float
        AUROC over all sets, and share flagged at 5 %, both averaged over the networks for clothing.
    new_classes : tuple of float
        AUROC on classes that a network never saw, one for each network that has such.
    deep : float
        Mean AUROC over the deep networks.
    """

    mean: float
    flagged: float
    new_classes: tuple[float, ...]
    deep: float


Study = Mapping[str, Mapping[str, Mapping[str, float]]]


def load_study() -> Study:
    """Network -> combination -> measure -> value, as shipped in ``data/development.json``."""
    return json.loads(data.shipped("development.json").read_text(encoding="utf-8"))


def candidates(study: Study) -> dict[str, Candidate]:
    """Every combination of a study, best mean first.

    Parameters
    ----------
    study : mapping
        Network -> combination -> measure -> value; networks with random weights are the deep ones.

    Examples
    --------
    >>> row = {"mean": 0.8, "flagged": 0.4}
    >>> study = {"cnn": {"a": row | {"new classes": 0.7}}, "resnet18, random": {"a": row}}
    >>> candidates(study)
    {'a': Candidate(mean=0.8, flagged=0.4, new_classes=(0.7,), deep=0.8)}
    """
    deep = [name for name in study if "random" in name]
    clothing = [name for name in study if name not in deep]

    def over(networks: list[str], name: str, measure: str) -> float:
        return sum(study[n][name][measure] for n in networks) / max(len(networks), 1)

    found = {}
    for name in study[clothing[0]]:
        rows = [study[n][name] for n in clothing]
        new = tuple(row["new classes"] for row in rows if "new classes" in row)
        means = over(clothing, name, "mean"), over(clothing, name, "flagged")
        found[name] = Candidate(*means, new, over(deep, name, "mean"))
    return dict(sorted(found.items(), key=lambda item: -item[1].mean))


def allowed(found: Mapping[str, Candidate]) -> list[str]:
    """Combinations that keep the rule, best first: see ``data/build/develop_score.py``.

    New classes no worse than `BEFORE` on any network, and no cost that grows with their number.
    """
    floor = found[BEFORE].new_classes
    return [
        name
        for name, c in found.items()
        if "Gaussians" not in name
        and all(new >= low for new, low in zip(c.new_classes, floor, strict=True))
    ]


def study_table(found: Mapping[str, Candidate]) -> TextTable:
    """The lines of `MAIN` as measured in the study; two spaces mark a change of the line above."""
    rows = []
    for line, name in MAIN.items():
        c = found[name]
        new = [f"{value:.3f}" for value in c.new_classes]
        words = line.replace("  ", "+ ")
        rows.append([words, f"{c.mean:.3f}", f"{c.flagged:.0%}", *new, f"{c.deep:.3f}"])
    header = ["combination", "mean", "flagged", "new, CNN", "new, ViT", "deep"]
    return TextTable(header, rows, bold=["all three, output 3"])


def change_table(tables: Mapping[str, Comparison]) -> TextTable:
    """`FORMER` beside what the stored comparison says today."""
    rows = []
    for network, (mean, new, neighbour) in FORMER.items():
        t = tables[network]
        now = t.auroc("fused"), t.auroc("fused", "near"), t.auroc("kNN")
        words = ("fused, all shifts", "fused, new classes", "kNN, all shifts")
        for name, old, e in zip(words, (mean, new, neighbour), now, strict=True):
            rows.append([network, name, f"{old:.3f}", str(e)])
    return TextTable(["network", "score", "before", "today"], rows)
