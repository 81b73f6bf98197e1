"""What notebook 02b measures of innovation and of the default score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import torch
from torch import Tensor

import deepdrift as dd
from deepdrift.evidence.fusion import Fusion
from deepdrift.lab import data
from deepdrift.lab.bench.evaluation import Estimate, auroc
from deepdrift.lab.bench.score_table import ScoreTable, all_scores
from deepdrift.lab.bench.strange_sets import (
    NORMAL,
    Judge,
    Recorded,
    StrangeSets,
    peak_velocity,
)
from deepdrift.lab.bench.tables import as_table
from deepdrift.lab.data import shifts
from deepdrift.monitor.scorer import BLOCK_WEIGHTS, N_SMALLEST


def tables(networks: Mapping[str, Recorded], sets: StrangeSets) -> dict[str, ScoreTable]:
    """All scores of every network."""
    return {name: ScoreTable(all_scores(network, sets)) for name, network in networks.items()}


def verdicts(tables: Mapping[str, ScoreTable], ours: Sequence[str], rivals: Sequence[str]) -> str:
    """Wins, ties and losses of scores beside the best of several rivals, a line for each."""
    lines = [f"against {' / '.join(rivals)}"]
    for network, table in tables.items():
        lines += [f"  {network}, {one}: {table.against(one, rivals)}" for one in ours]
    return "\n".join(lines)


def auroc_by_step(judge: Judge, names: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    """AUROC of the innovation of every single step, by set and step."""
    q = {name: judge.read(name).blocks["innovation"] for name in [NORMAL, *names]}
    steps = [_short(step) for step in judge.scorer.sums.innovation().steps]
    return {
        name: {step: auroc(q[NORMAL][:, k], q[name][:, k]) for k, step in enumerate(steps)}
        for name in names
    }


def _short(step: str) -> str:
    """'1 to 2' of 'blocks.1 -> blocks.2'."""
    first, last = (name.strip().removeprefix("blocks.") for name in step.split("->"))
    return f"{first} to {last}"


def distance_by_layer(judge: Judge, sets: StrangeSets) -> dict[str, float]:
    """Mean AUROC of the distance in one layer alone, by layer."""
    d = {name: judge.read(name).blocks["distance"] for name in [NORMAL, *sets.strange]}
    return {
        layer: fmean(float(auroc(d[NORMAL][:, k], d[name][:, k])) for name in sets.strange)
        for k, layer in enumerate(judge.scorer.widths)
    }


def start_and_steps(
    recorded: Recorded, names: Sequence[str], tail: str = "upper"
) -> dict[str, dict[str, Estimate]]:
    """AUROC of the first state's distance, of the steps, and of both, by set.

    Every column becomes a conformal p-value; all columns speak (Fisher's sum).
    """
    fit = recorded.states["fit"]
    first = recorded.layers[0]
    start = dd.LayerDistance().fit({first: fit[first]})
    steps = dd.Innovation().fit(fit)

    def columns(name: str) -> Tensor:
        states = recorded.states[name]
        return torch.cat([start.score({first: states[first]}), steps.score(states)], dim=1)

    usual = columns("calibration")
    parts = {"start": slice(0, 1), "steps": slice(1, None), "both": slice(None)}
    evidence = {
        name: -2 * dd.conformal_p_values(usual, columns(name), tail).log()
        for name in [NORMAL, *names]
    }
    return {
        name: {
            part: auroc(evidence[NORMAL][:, kept].sum(dim=1), evidence[name][:, kept].sum(dim=1))
            for part, kept in parts.items()
        }
        for name in names
    }


def average_garments(sets: StrangeSets, n: int = 50, each: int = 40) -> Tensor:
    """Averages of so many garments of one class, class after class: nobody sells such a thing."""
    generator = torch.Generator().manual_seed(0)
    piles = [sets.spare.images[sets.spare.labels == k] for k in range(8)]
    drawn = (pile[torch.randperm(len(pile), generator=generator)[:n]] for pile in piles * each)
    return torch.stack([garments.mean(dim=0) for garments in drawn])


def fusion_of(judge: Judge) -> Fusion:
    """The last steps of a calibrated fused score, from the calibration scores it keeps."""
    halves: list[dict[str, Tensor]] = []
    for half in ("first.", "second."):
        kept = judge.scorer.calibration_scores.items()
        blocks = {k.removeprefix(half): v for k, v in kept if k.startswith(half)}
        halves.append({k: v for k, v in blocks.items() if k in judge.read(NORMAL).blocks})
    return Fusion(*halves, BLOCK_WEIGHTS, N_SMALLEST)


def contributions(
    judge: Judge, name: str, index: int | None = None
) -> tuple[dict[str, float], float]:
    """What every block adds to the fused score of one image, and the score.

    By default the image of a set whose score is the median of the set's.
    """
    index = typical(judge, name) if index is None else index
    reading = judge.read(name)
    blocks = {k: v[index : index + 1] for k, v in reading.blocks.items()}
    added = {k: float(v) for k, v in fusion_of(judge).contributions(blocks).items()}
    return added, float(reading.score[index])


def typical(judge: Judge, name: str) -> int:
    """Index of the image of a set whose score is the median of the set's."""
    score = judge.read(name).score
    return int((score - score.median()).abs().argmin())


def growth(
    kind: str, judge: Judge, sets: StrangeSets, names: Sequence[str], n: int = 300
) -> dict[str, dict[str, dict[int, Tensor]]]:
    """Raw velocity and innovation while a fault grows: ``{fault: {score: {severity: (n,)}}}``.

    Severity 0 is normal clothing; ``judge`` reads layers only.
    """
    network, layers = data.load_network(f"{kind}-holdout"), data.NETWORK_LAYERS[f"{kind}-holdout"]
    found = {}
    for name in names:
        images = {
            s: shifts.apply_shift(name, sets.faulty[:n], severity=s) if s else sets.images[NORMAL]
            for s in range(6)
        }
        states = {s: dd.collect(network, x, layers).states for s, x in images.items()}
        found[name] = {
            "raw velocity": {s: peak_velocity(z) for s, z in states.items()},
            "innovation": {s: judge.scorer.read(z).score for s, z in states.items()},
        }
    return found


def pictures(sets: StrangeSets, names: Sequence[str], index: int = 3) -> dict[str, list[Tensor]]:
    """One garment under each fault at the severities 0 to 5."""
    garment = sets.faulty[index : index + 1]
    return {
        name: [garment[0], *(shifts.apply_shift(name, garment, severity=s)[0] for s in range(1, 6))]
        for name in names
    }


def largest_fall(values: Mapping[int, Tensor]) -> float:
    """How much AUROC falls at most from one severity to the next.

    Examples
    --------
    >>> normal = torch.arange(4.0)
    >>> largest_fall({0: normal, 1: normal + 9, 2: normal - 9, 3: normal})
    1.0
    """
    known = [float(auroc(values[0], values[s])) for s in list(values)[1:]]
    return max(a - b for a, b in zip(known, known[1:], strict=False))


def as_lines(rows: Mapping[str, Mapping[str, object]], spec: str = ".2f") -> str:
    """`deepdrift.lab.bench.tables.as_table`, as wide as its cells."""
    return as_table(rows, spec=spec)
