"""What notebook 02 measures of raw velocity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import torch
from scipy.stats import spearmanr
from torch import Tensor

import deepdrift as dd
from deepdrift.lab import data
from deepdrift.lab.bench import tables
from deepdrift.lab.bench.evaluation import Estimate, auroc
from deepdrift.lab.bench.score_table import ScoreTable
from deepdrift.lab.bench.strange_sets import NORMAL, Recorded, StrangeSets, peak_velocity


def velocity_aurocs(recorded: Recorded, sets: StrangeSets) -> dict[str, Estimate]:
    """AUROC of "fast means strange" on every strange set."""
    normal = peak_velocity(recorded.states[NORMAL])
    return {name: auroc(normal, peak_velocity(recorded.states[name])) for name in sets.strange}


def sides(estimates: Mapping[str, Estimate]) -> tuple[int, int]:
    """On how many sets a score is surely below the coin, and surely above it.

    Examples
    --------
    >>> low, high = Estimate(0.2, 0.1, 0.3, 9, 9), Estimate(0.6, 0.4, 0.8, 9, 9)
    >>> sides({"a": low, "b": high, "c": low})
    (2, 0)
    """
    below = sum(e.high < 0.5 for e in estimates.values())
    return below, sum(e.low > 0.5 for e in estimates.values())


def share_of_peaks(recorded: Recorded) -> list[float]:
    """Share of the normal images whose longest step is the first, the second, ..."""
    velocity = dd.spatial_velocity(recorded.states[NORMAL], across_widths="norm")
    places = velocity.argmax(dim=1)
    return [float((places == k).float().mean()) for k in range(velocity.shape[1])]


def state_lengths(recorded: Recorded, names: Iterable[str]) -> dict[str, Tensor]:
    """Length of the state in every layer, ``(N, L)``, by set."""
    return {
        name: torch.stack([z.norm(dim=1) for z in recorded.states[name].values()], dim=1)
        for name in names
    }


def median_speed(kind: str, scenes: Mapping[str, Tensor]) -> dict[str, float]:
    """Median peak velocity of images in the network ``"cnn"`` or ``"vit"``, by scene."""
    network, layers = data.load_network(f"{kind}-holdout"), data.NETWORK_LAYERS[f"{kind}-holdout"]
    runs = {name: dd.collect(network, images, layers) for name, images in scenes.items()}
    return {name: peak_velocity(run.states).median().item() for name, run in runs.items()}


def what_velocity_follows(recorded: Recorded, images: Tensor) -> tuple[float, float]:
    """Rank correlation of the peak velocity of normal images with loudness and with light.

    Loudness is the largest logit, light the length of the image.
    """
    speed = peak_velocity(recorded.states[NORMAL])
    others = recorded.logits[NORMAL].amax(dim=1), images.flatten(1).norm(dim=1)
    loud, light = (float(spearmanr(speed, other)[0]) for other in others)
    return loud, light


def random_aurocs(n_images: int, n_sets: int = 15, seed: int = 0) -> list[float]:
    """AUROCs of a score that draws random numbers, with so many images on each side."""
    generator = torch.Generator().manual_seed(seed)
    luck = torch.rand(2, n_sets, n_images, generator=generator)
    return [float(auroc(a, b)) for a, b in zip(*luck, strict=True)]


def flip(values: Iterable[float | Estimate]) -> list[float]:
    """``max(AUROC, 1 - AUROC)``: the sign chosen after the fact.

    Examples
    --------
    >>> flip([0.25, 0.5, 0.75])
    [0.75, 0.5, 0.75]
    """
    return [max(float(v), 1 - float(v)) for v in values]


RULES = ("fast = strange", "slow = strange", "flipped", "two-sided")


def four_rules(recorded: Recorded, sets: StrangeSets) -> dict[str, float]:
    """Mean AUROC over the strange sets of four rules on the same peak velocity."""
    judge = dd.StateScorer(score="velocity", across_widths="norm")
    judge.calibrate(recorded.states["calibration"])
    p = {name: judge.read(recorded.states[name]).p_values for name in [NORMAL, *sets.strange]}
    two_sided = [auroc(-p[NORMAL], -p[name]) for name in sets.strange]
    fast = list(map(float, velocity_aurocs(recorded, sets).values()))
    means = fmean(fast), 1 - fmean(fast), fmean(flip(fast)), fmean(map(float, two_sided))
    return dict(zip(RULES, means, strict=True))


def as_table(rows: Mapping[str, Mapping[str, float | Estimate]], corner: str = "") -> str:
    """`deepdrift.lab.bench.tables.as_table` of values alone, without intervals."""
    values = {name: {k: float(v) for k, v in row.items()} for name, row in rows.items()}
    return tables.as_table(values, corner, width=16)


def leads(table: ScoreTable, one: str, others: Sequence[str], names: Sequence[str]) -> str:
    """AUROC of one score minus that of others, paired, with 95 % intervals, a line for each set."""
    lines = [f"AUROC of {one} minus that of"]
    for other in others:
        for name in names:
            lines.append(f"  {other:<17} {name:<15} {table.lead(one, other, name):+.3f}")
    return "\n".join(lines)
