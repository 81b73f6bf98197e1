"""Tables of notebook 12: what the dial did, and the claim beside what was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.data import shipped
from deepdrift.lab.language_models.dial import PLACES, Verdict, recorded
from deepdrift.lab.language_models.records import Records
from deepdrift.lab.language_models.world import KINDS

__all__ = [
    "CLAIM",
    "SEEDS",
    "Turned",
    "beside_the_claim",
    "first_velocity",
    "load_turned",
    "recorded_verdicts",
]

CLAIM = {"AUROC": 0.891, "tokens ahead": 7.2}
"""Of semantic velocity between tokens for hallucination, as stated."""

SEEDS = (0, 1)


class Turned:
    """What was measured of one seed at every place of the dial.

    Parameters
    ----------
    places : dict of float to dict
        As `deepdrift.lab.language_models.dial.recorded` gives them.
    """

    def __init__(self, places: dict[float, dict[str, Any]]) -> None:
        self._places = places

    def at(self, place: float, kind: str = KINDS[1]) -> dict[str, Estimate]:
        """AUROC of every score at one place."""
        return {score: by[kind] for score, by in self._places[place]["auroc"].items()}

    def along(self, score: str, kind: str = KINDS[1]) -> list[Estimate]:
        """AUROC of a score from place to place."""
        return [self.at(place, kind)[score] for place in PLACES]

    def answers(self, what: str, kind: str = KINDS[1]) -> list[float]:
        """Share of answers that are "right", "customary" or "above .9", from place to place."""
        return [self._places[place]["answers"][kind][what] for place in PLACES]

    def by_popularity(self, score: str, place: float = 0.0) -> dict[str, Estimate]:
        """AUROC for unknown people against known ones of one popularity, by popularity."""
        return self._places[place]["by popularity"][score]

    def probes(self, place: float = 1.0) -> list[Estimate]:
        """AUROC of a probe of every block; these were not named beforehand."""
        return self._places[place]["probe by block"]


def load_turned(seeds: Sequence[int] = SEEDS) -> dict[int, Turned]:
    """The recorded dial of each seed."""
    return {seed: Turned(recorded(seed)) for seed in seeds}


def recorded_verdicts() -> list[Verdict]:
    """The verdict on every hidden score at dial 1, by the rule written down beforehand."""
    content = json.loads(shipped("facts.json").read_text(encoding="utf-8"))["verdicts"]
    return [
        Verdict(
            name,
            [Estimate(*e, 0, 0) for e in one["auroc"]],
            [Estimate(*e, 0, 0) for e in one["gain over nll"]],
        )
        for name, one in content.items()
    ]


def first_velocity(records: Records, block: int = -1) -> np.ndarray:
    """Velocity of a block at the position that predicts the answer's first token: nothing is said.

    Returns
    -------
    array, shape (N,)
    """
    return records.velocity[:, 0, block].astype(float)


def beside_the_claim(records: Records, turned: Sequence[Turned]) -> dict[str, dict[str, Estimate]]:
    """AUROC of velocity, and of two things that cost nothing, in both data sets."""
    layout = records.layout()
    rows = {}
    for name in ("raw velocity", "first", "nll"):
        rows[name] = {"SmolLM2, capitals": layout.auroc(records.scores[name])}
        for seed, one in enumerate(turned):
            rows[name][f"exact world {seed}"] = one.at(0.0)[name]
    return rows
