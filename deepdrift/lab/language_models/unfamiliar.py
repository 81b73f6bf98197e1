"""Where hidden states do work: a format the guard was not calibrated on, a block that is broken."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deepdrift.evidence.calibration import conformal_p_values
from deepdrift.lab.bench.evaluation import Estimate, proportion
from deepdrift.lab.language_models.clustered import rate
from deepdrift.lab.language_models.faults import FAULTS, FAULTY_BLOCKS
from deepdrift.lab.language_models.records import N_QUARTERS, Records, folds
from deepdrift.scores.innovation import Innovation

__all__ = ["blame", "blame_together", "format_p_values", "kept", "switch_rates", "withdrawn"]

ALPHA, ENOUGH = 0.05, 0.9


def format_p_values(sketch: Tensor, template: Tensor, country: Tensor) -> tuple[Tensor, Tensor]:
    """P-value, and innovation by step, of every prompt under a guard of each template.

    A guard is fitted on two quarters of the countries (or people), calibrated on a third, and
    judges the last one; the quarters rotate, so that every prompt is judged once.

    Parameters
    ----------
    sketch : Tensor, shape (N, L, r)
        At the last token of the prompts.
    template, country : Tensor, shape (N,), int64, counted from 0

    Returns
    -------
    p : Tensor, shape (templates, N), float64
    steps : Tensor, shape (templates, N, L - 1), float64
        Squared standardised residuals; the p-value is that of their mean.
    """
    n, k = int(country.max()) + 1, int(template.max()) + 1
    quarter = torch.from_numpy(folds(n, N_QUARTERS, seed=1))[country]
    layers = {str(i): sketch[:, i] for i in range(sketch.shape[1])}
    p = torch.zeros(k, len(sketch), dtype=torch.float64)
    steps = torch.zeros(k, len(sketch), sketch.shape[1] - 1, dtype=torch.float64)
    for i in range(k):
        for held in range(N_QUARTERS):
            judged, tuning = quarter == held, quarter == (held + 1) % N_QUARTERS
            fit = (template == i) & ~judged & ~tuning
            guard = Innovation().fit({name: x[fit] for name, x in layers.items()})
            q = guard.score(layers)
            normal = q[(template == i) & tuning].mean(dim=1)
            p[i, judged] = conformal_p_values(normal, q[judged].mean(dim=1))
            steps[i, judged] = q[judged]
    return p, steps


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


def blame_together(records: Records, score: str, rule: str) -> dict[str, dict[int, int]]:
    """The block that most prompts name, 0 if most name none: fault -> broken block -> named one.

    A fault stays, so prompts may vote. Not among the measures that were named beforehand.
    """
    votes = records.other[f"broken_{score}_{rule}"].astype(int)
    return {
        fault: {
            block: int(np.bincount(votes[i, k]).argmax()) for k, block in enumerate(FAULTY_BLOCKS)
        }
        for i, fault in enumerate(FAULTS)
    }
