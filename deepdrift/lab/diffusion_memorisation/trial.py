"""The trial: rivals fixed on one run and spent on others, who warns when, who cries wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deepdrift.diffusion.watch import LEVELS
from deepdrift.lab.bench.evaluation import Estimate, proportion
from deepdrift.lab.diffusion_memorisation.measures import N_MEMBERS, N_SAMPLES, Rival, choose
from deepdrift.lab.diffusion_memorisation.runs import ONSET, Array, RecordError, Run

STAGES = ("encoder 1", "encoder 2", "bottleneck", "decoder 2", "decoder 1")
MIDDLE = STAGES.index("bottleneck")
EVERY = range(len(STAGES))
CANDIDATES: Mapping[str, tuple[str, Sequence[int]]] = {
    "bottleneck norm": ("norm", [MIDDLE]),
    "bottleneck velocity": ("depth_velocity", [MIDDLE - 1]),
    "bottleneck level velocity": ("level_velocity", [MIDDLE]),
    "bottleneck innovation": ("depth_innovation", [MIDDLE - 1]),
    "bottleneck level innovation": ("level_innovation", [MIDDLE]),
    "norm, best stage": ("norm", EVERY),
    "velocity, best stage": ("depth_velocity", EVERY[:-1]),
    "innovation, best stage": ("depth_innovation", EVERY[:-1]),
    "loss gap": ("loss", [0]),
}
"""Rival -> its quantity and the stages (or steps between stages) that it may choose from."""


def level_name(quantity: str, level: int) -> str:
    """Noise level of a place in a table; of a step between levels both.

    Examples
    --------
    >>> level_name("norm", 1), level_name("level_velocity", 1)
    ('100', '100 to 200')
    """
    if quantity.startswith("level"):
        return f"{LEVELS[level]} to {LEVELS[level + 1]}"
    return str(LEVELS[level])


def stage_names(quantity: str) -> tuple[str, ...]:
    """What the last axis of a table of `separations` stands for.

    Examples
    --------
    >>> stage_names("depth_velocity")[1], stage_names("loss")
    ('into bottleneck', ('output',))
    """
    if quantity == "loss":
        return ("output",)
    if quantity.startswith("depth"):
        return tuple(f"into {name}" for name in STAGES[1:])
    return STAGES


def describe(rival: Rival) -> str:
    """A chosen rival in words.

    Examples
    --------
    >>> describe(Rival("norm", 0, 2, True))
    'bottleneck, level 50, larger for members'
    """
    sign = "members" if rival.larger_for_members else "held-out images"
    stage = stage_names(rival.quantity)[rival.stage]
    return f"{stage}, level {level_name(rival.quantity, rival.level)}, larger for {sign}"


def first_copies(run: Run, share: float = ONSET) -> int:
    """Place of the first checkpoint with at least so many copies.

    Raises
    ------
    RecordError
        If there is none.
    """
    enough = run.copied[:, 0] >= share
    if not enough.any():
        raise RecordError(f"run: expected one with {share:.0%} copies, got {run.name}")
    return int(enough.argmax())


def fix_rivals(run: Run) -> dict[str, Rival]:
    """Noise level, stage and sign of every rival, at the first checkpoint with 10 % copies."""
    k = first_copies(run)
    return {name: choose(run.auroc[q][k], q, stages) for name, (q, stages) in CANDIDATES.items()}


def membership(rival: Rival, run: Run, place: int) -> Estimate:
    """AUROC of a rival for members of a run at one checkpoint."""
    value, low, high = rival.of(run.auroc[rival.quantity][place])
    return Estimate(float(value), float(low), float(high), min(run.n_images, N_MEMBERS), N_MEMBERS)


def copies_told(run: Run, fixed_on: Run, statistic: str) -> Estimate:
    """AUROC of a statistic of the sampler for copies among a run's own samples.

    At the first checkpoint with 10 % copies, with the sign that the other run gives it there.

    Parameters
    ----------
    run, fixed_on : Run
    statistic : {"updates", "scores"}
        Mean length of the changes of the estimated image, or of the predicted noise.
    """
    larger = getattr(fixed_on, statistic)[first_copies(fixed_on), 1] >= 0.5
    k = first_copies(run)
    value, low, high = getattr(run, statistic)[k, 1:]
    if not larger:
        value, low, high = 1 - value, 1 - high, 1 - low
    copies = round(float(run.copied[k, 0]) * N_SAMPLES)
    return Estimate(float(value), float(low), float(high), copies, N_SAMPLES - copies)


def rings(rival: Rival, run: Run) -> Array:
    """At which checkpoints a rival's interval lies above a coin, (K,)."""
    return rival.of(run.auroc[rival.quantity])[:, 1] > 0.5


def for_good(steps: Array, warned: Array) -> float:
    """First checkpoint from which on all warn; infinite if the last does not.

    Examples
    --------
    >>> for_good(np.array([1, 2, 3, 4]), np.array([True, False, True, True]))
    3.0
    """
    quiet = np.flatnonzero(~warned)
    behind = int(quiet[-1]) + 1 if len(quiet) else 0
    return float(steps[behind]) if behind < len(steps) else float("inf")


def column(run: Run) -> str:
    """Short name of a run, for the head of a table."""
    return f"{run.n_images:,} ({run.seed})"


def auroc_table(
    rivals: Mapping[str, Rival], fixed_on: Run, runs: Sequence[Run]
) -> dict[str, dict[str, Estimate]]:
    """AUROC for membership at the first checkpoint with 10 % copies, rival by run."""
    return {
        name: {column(run): membership(rival, run, first_copies(run)) for run in (fixed_on, *runs)}
        for name, rival in rivals.items()
    }


def warning_table(
    rivals: Mapping[str, Rival], runs: Sequence[Run], *, lasting: bool = True
) -> dict[str, dict[str, float]]:
    """Step of every warning and of what it should warn of, rival by run; infinite: never.

    Parameters
    ----------
    rivals, runs
    lasting : bool
        The first checkpoint from which on it never falls silent, or the first at all.
    """

    def when(run: Run, warned: Array) -> float:
        return for_good(run.steps, warned) if lasting else run.first(warned)

    table = {n: {column(r): when(r, rings(x, r)) for r in runs} for n, x in rivals.items()}
    table["twins"] = {column(r): when(r, r.collision_rings()) for r in runs}
    table["held-out loss rises"] = {column(r): r.divergence() for r in runs}
    table["copying begins"] = {column(r): r.onset() for r in runs}
    return table


def cry_table(rivals: Mapping[str, Rival], runs: Sequence[Run]) -> dict[str, dict[str, Estimate]]:
    """Share of checkpoints at which each rings, in runs that copy nothing."""

    def share(rung: Array) -> Estimate:
        return proportion(int(rung.sum()), len(rung))

    table = {n: {column(r): share(rings(x, r)) for r in runs} for n, x in rivals.items()}
    return table | {"twins": {column(r): share(r.collision_rings()) for r in runs}}
