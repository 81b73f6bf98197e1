"""Where hidden states do work: a format the guard was not calibrated on, a block that is broken."""

from __future__ import annotations

import numpy as np

from deepdrift.lab.bench.evaluation import Estimate, proportion
from deepdrift.lab.language_models.clustered import rate
from deepdrift.lab.language_models.records import Records

__all__ = ["FAULTS", "FAULTY_BLOCKS", "blame", "kept", "switch_rates", "withdrawn"]

ALPHA, ENOUGH = 0.05, 0.9
FAULTS = ("left out", "halved", "noise")
FAULTY_BLOCKS = (4, 9, 14, 19, 24, 28)


def switch_rates(records: Records, alpha: float = ALPHA) -> dict[str, dict[str, Estimate]]:
    """Share of prompts flagged: template of the guard -> template of the prompts."""
    found: dict[str, dict[str, Estimate]] = {}
    for i, guard in enumerate(records.templates):
        found[guard] = {}
        for template in records.templates:
            rows = records.rows(template)
            flagged = records.format_p[i, rows] <= alpha
            found[guard][template] = rate(flagged, records.country[rows])
    return found


def withdrawn(records: Records, alpha: float = ALPHA) -> tuple[int, int]:
    """Pairs of templates in which at least 90 % of the prompts are flagged, and pairs."""
    rates = switch_rates(records, alpha)
    pairs = [e.value for a, row in rates.items() for b, e in row.items() if a != b]
    return sum(value >= ENOUGH for value in pairs), len(pairs)


def kept(records: Records, alpha: float = ALPHA) -> dict[str, Estimate]:
    """Share of prompts of the guard's own format that are not flagged."""
    found = {}
    for i, template in enumerate(records.templates):
        rows = records.rows(template)
        found[template] = rate(records.format_p[i, rows] > alpha, records.country[rows])
    return found


def blame(records: Records) -> dict[str, dict[str, Estimate]]:
    """Share of prompts in which the broken block itself is named, by score and rule, by fault."""
    truth = np.array(FAULTY_BLOCKS)[None, :, None]
    found: dict[str, dict[str, Estimate]] = {}
    for score in ("innovation", "distance"):
        for rule in ("largest", "first"):
            hits = records.other[f"broken_{score}_{rule}"] == truth
            row = {f: proportion(int(hits[i].sum()), hits[i].size) for i, f in enumerate(FAULTS)}
            row["all"] = proportion(int(hits.sum()), hits.size)
            found[f"{score}, {rule}"] = row
    return found
