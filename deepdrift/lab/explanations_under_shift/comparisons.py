"""Which network is steadier, and does a map move more when the prediction changes?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.explanations_under_shift.drift import PairedDrift
from deepdrift.lab.explanations_under_shift.explanations import Explanation
from deepdrift.lab.explanations_under_shift.ruler import SAME, Ruler, mean, way


def steadier(
    drift: PairedDrift,
    method: str,
    fault: str,
    rulers: Mapping[Explanation, Ruler] | None = None,
) -> Estimate:
    """Overlap of the ViT's pairs minus that of the CNN's on the same images, over severities.

    Each image gives one number, the mean over its severities; the interval is Student's over
    images. With ``rulers`` in shares of the way from `SAME` to identical, whose rungs are taken as
    known. Above 0 the ViT is steadier. An image with an empty map on either side is left out.
    """
    moved = {}
    for name in ("CNN", "ViT"):
        one = Explanation(name, method)
        overlap = torch.stack(
            [drift[one, fault, s].of("all") for s in drift.severities(one, fault) if s]
        ).nanmean(dim=0)
        moved[name] = overlap if rulers is None else _way(overlap, rulers[one])
    return mean(moved["ViT"] - moved["CNN"])


def _way(overlap: Tensor, ruler: Ruler) -> Tensor:
    start = ruler.rung(SAME).value
    return (overlap - start) / (1 - start)


def on_the_way(drift: PairedDrift, one: Explanation, fault: str, ruler: Ruler) -> dict[int, float]:
    """Mean overlap by severity, as share of the way from `SAME` to identical."""
    start = ruler.rung(SAME).value
    return {
        s: way(mean(drift[one, fault, s].of("all")).value, start)
        for s in drift.severities(one, fault)
    }


def kept_minus_changed(
    drift: PairedDrift,
    one: Explanation,
    fault: str,
    matched: bool = True,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Mean overlap of pairs whose prediction was kept minus that of pairs where it changed.

    Parameters
    ----------
    matched : bool
        Compare within each severity, and average the differences with weights
        ``n_kept n_changed / (n_kept + n_changed)``. False throws all severities together, so that
        mild shifts, which keep the prediction, meet strong ones, which change it.
    n_bootstrap, seed : int
        Images are drawn anew, each with all its severities; 95 % percentile interval.

    Returns
    -------
    Estimate
        ``n_in`` pairs kept, ``n_out`` changed.

    Raises
    ------
    ValueError
        If either group is empty.
    """
    pairs = [drift[one, fault, s] for s in drift.severities(one, fault) if s]
    overlap = torch.stack([p.of("all") for p in pairs]).double()
    kept = torch.stack([p.kept for p in pairs])
    known = ~overlap.isnan()
    n_kept, n_changed = int((kept & known).sum()), int((~kept & known).sum())
    if not n_kept or not n_changed:
        raise ValueError(f"{one}, {fault}: {n_kept} pairs kept and {n_changed} changed")
    n = overlap.shape[1]
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_bootstrap)
    weights = torch.as_tensor(np.concatenate([np.ones((1, n)), counts])).double()
    values = overlap.nan_to_num(0.0)
    sums = {}
    for name, chosen in (("kept", kept & known), ("changed", ~kept & known)):
        mask = chosen.double()
        sums[name] = (weights @ mask.T, weights @ (mask * values).T)  # (1 + B, severities)
    difference = _matched(**sums) if matched else _mixed(**sums)
    drawn = difference[1:][~difference[1:].isnan()]
    low, high = drawn.quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    return Estimate(float(difference[0]), low, high, n_kept, n_changed)


def _mixed(kept: tuple[Tensor, Tensor], changed: tuple[Tensor, Tensor]) -> Tensor:
    (n, a), (m, b) = kept, changed
    return a.sum(dim=1) / n.sum(dim=1) - b.sum(dim=1) / m.sum(dim=1)


def _matched(kept: tuple[Tensor, Tensor], changed: tuple[Tensor, Tensor]) -> Tensor:
    (n, a), (m, b) = kept, changed
    weight = n * m / (n + m).clamp(min=1)
    gap = a / n.clamp(min=1) - b / m.clamp(min=1)
    return (weight * gap).sum(dim=1) / weight.sum(dim=1)
