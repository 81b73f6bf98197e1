"""The recorded runs: what every checkpoint did, when copying began, and who warned when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.errors import DeepDriftError
from deepdrift.lab.data import shipped
from deepdrift.lab.diffusion_memorisation.measures import Rival

Array = NDArray[Any]
ONSET = 0.1
DIVERGED = 1.05


class RecordError(DeepDriftError, ValueError):
    """A run, or something of a run, that is not recorded."""


@dataclass(frozen=True, eq=False)
class Run:
    """One training run with K checkpoints.

    Attributes
    ----------
    n_images, seed : int
    steps : array, shape (K,)
    copied : array, shape (K, 4)
        Share of copies among 400 samples, its interval, and the same of held-out images.
    twins : array, shape (K, 5)
        Pairs of twins, effective number of images, its interval, radius.
    away : array, shape (K,)
        Median distance of a sample to the nearest of 2,000 held-out images.
    updates, scores : array, shape (K, 4)
        Mean over samples, and AUROC of other samples (larger) against copies, with its interval.
    mean_loss : array, shape (K, 2, L)
        Of members and of held-out images, by noise level.
    auroc : mapping of str to array, shape (K, L, S, 3)
        See `deepdrift.lab.diffusion_memorisation.measures.separations`.
    pictures, nearest : array, shape (K, 12, 16, 16), uint8
        Samples from the same noise in every run, and the nearest training images; empty where
        they do not ship.
    """

    n_images: int
    seed: int
    steps: Array
    copied: Array
    twins: Array
    away: Array
    updates: Array
    scores: Array
    mean_loss: Array
    pictures: Array
    nearest: Array
    auroc: Mapping[str, Array] = field(repr=False)

    @property
    def name(self) -> str:
        """Such as ``"32 images, seed 0"``."""
        return f"{self.n_images:,} images, seed {self.seed}"

    def place(self, step: int) -> int:
        """Which checkpoint this step is."""
        if step not in self.steps:
            raise RecordError(f"step: expected one of {self.steps.tolist()}, got {step!r}")
        return int(np.flatnonzero(self.steps == step)[0])

    def onset(self, share: float = ONSET) -> float:
        """Step at which so many samples are copies; infinite if never.

        Interpolated between checkpoints in the logarithm of the step.
        """
        return first_crossing(self.steps, self.copied[:, 0], share)

    def first(self, warned: Array) -> float:
        """First checkpoint with a warning, infinite if there is none."""
        return float(self.steps[warned.argmax()]) if warned.any() else float("inf")

    def collision_alarm(self) -> float:
        """First checkpoint at which the samples alone say that N images are drawn from."""
        return self.first(self.twins[:, 3] <= 2 * self.n_images)

    def membership_alarm(self, rival: Rival) -> float:
        """First checkpoint at which a chosen quantity tells members, interval above a coin."""
        return self.first(rival.of(self.auroc[rival.quantity])[:, 1] > 0.5)

    def divergence(self, worse: float = DIVERGED) -> float:
        """First checkpoint behind the smallest held-out loss at which it is 5 % larger."""
        loss = self.mean_loss[:, 1].mean(axis=1)
        late = np.arange(len(loss)) > loss.argmin()
        return self.first(late & (loss > worse * loss.min()))


def first_crossing(steps: Array, values: Array, level: float) -> float:
    """Where a series first reaches a level, interpolated in the logarithm of the steps.

    Examples
    --------
    >>> round(first_crossing(np.array([100, 400]), np.array([0.0, 0.2]), 0.1))
    200
    >>> first_crossing(np.array([100, 400]), np.array([0.0, 0.2]), 0.5)
    inf
    """
    above = np.flatnonzero(values >= level)
    if not len(above):
        return float("inf")
    i = int(above[0])
    if i == 0:
        return float(steps[0])
    a, b = values[i - 1], values[i]
    share = (level - a) / (b - a)
    return float(np.exp(np.log(steps[i - 1]) + share * np.log(steps[i] / steps[i - 1])))


def predict_onset(known: Mapping[int, float], n_images: int) -> float:
    """Onset for another number of images, if it grows in proportion to them.

    The mean of ``onset / n`` over the known runs, times ``n_images`` (Bonnaire et al. 2025).

    Examples
    --------
    >>> predict_onset({32: 640.0, 64: 1280.0}, 512)
    10240.0
    """
    if not known:
        raise RecordError("known: expected at least one run with its onset")
    return n_images * float(np.mean([onset / n for n, onset in known.items()]))


@dataclass(frozen=True, eq=False)
class Switched:
    """Copies when channels of the bottleneck are silenced.

    Attributes
    ----------
    seeds, counts : array of int, shapes (R,), (C,)
        Runs of 32 images, and how many of the 64 channels are silent.
    guilty : array, shape (R, C, 2)
        Share of copies and median distance to held-out images, the most guilty channels silent.
    random : array, shape (R, C, D, 2)
        The same for D random choices of as many channels.
    """

    seeds: Array
    counts: Array
    guilty: Array
    random: Array


@dataclass(frozen=True, eq=False)
class Records:
    """All runs, the agreement of pairs of runs, and the switched-off channels.

    Attributes
    ----------
    runs : dict of (n_images, seed) to Run
    agreements : dict of n_images to (steps, values)
        Between seed 0 and seed 1 at the same step.
    switched : Switched
    """

    runs: Mapping[tuple[int, int], Run]
    agreements: Mapping[int, tuple[Array, Array]]
    switched: Switched

    def run(self, n_images: int, seed: int = 0) -> Run:
        """One run."""
        if (n_images, seed) not in self.runs:
            known = ", ".join(f"{n} ({s})" for n, s in self.runs)
            raise RecordError(f"run: expected images (seed) of {known}, got {n_images} ({seed})")
        return self.runs[n_images, seed]

    def of(self, n_images: int) -> list[Run]:
        """All runs with so many images."""
        return [run for (n, _), run in self.runs.items() if n == n_images]


_PLAIN = [f.name for f in fields(Run) if f.name not in ("n_images", "seed", "auroc")]


def pack(records: Records) -> dict[str, Array]:
    """Records as named arrays; inverse of `unpack`."""
    arrays = {}
    for (n, seed), run in records.runs.items():
        arrays |= {f"run/{n}-{seed}/{name}": getattr(run, name) for name in _PLAIN}
        arrays |= {f"run/{n}-{seed}/auroc/{k}": v for k, v in run.auroc.items()}
    for n, (steps, values) in records.agreements.items():
        arrays |= {f"agreement/{n}/steps": steps, f"agreement/{n}/values": values}
    return arrays | {f"switched/{f.name}": getattr(records.switched, f.name)
                     for f in fields(Switched)}  # fmt: skip


def unpack(arrays: Mapping[str, Array]) -> Records:
    """Records from `pack`, floats in double precision."""
    wide = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in arrays.items()}
    pairs = {tuple(map(int, k.split("/")[1].split("-"))) for k in wide if k.startswith("run/")}
    runs = {}
    for n, seed in sorted(pairs):
        head = f"run/{n}-{seed}/"
        own = {k.removeprefix(head): v for k, v in wide.items() if k.startswith(head)}
        separate = {k.removeprefix("auroc/"): v for k, v in own.items() if k.startswith("auroc/")}
        runs[n, seed] = Run(n, seed, **{k: own[k] for k in _PLAIN}, auroc=separate)
    sizes = sorted({int(k.split("/")[1]) for k in wide if k.startswith("agreement/")})
    agreements = {n: (wide[f"agreement/{n}/steps"], wide[f"agreement/{n}/values"]) for n in sizes}
    switched = Switched(**{f.name: wide[f"switched/{f.name}"] for f in fields(Switched)})
    return Records(runs, agreements, switched)


def load_records(*, root: Any = None) -> Records:
    """The shipped records.

    Raises
    ------
    DataFileError
        If the file is missing or has been changed.
    """
    return read_records(shipped("diffusion.npz", root=root))


def read_records(path: Path) -> Records:
    """The records in a file."""
    with np.load(path, allow_pickle=False) as file:
        return unpack({k: file[k] for k in file})
