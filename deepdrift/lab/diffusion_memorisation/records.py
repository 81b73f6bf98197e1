"""The recorded runs, how alike they paint, and what silent channels do: to a file and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from deepdrift.lab.data import shipped
from deepdrift.lab.diffusion_memorisation.runs import Array, RecordError, Run


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

    def table(self) -> dict[str, dict[str, float]]:
        """Means over runs (and draws): by number of silent channels, copies and distance."""
        columns = {"guilty": self.guilty.mean(axis=0), "random": self.random.mean(axis=(0, 2))}
        return {
            f"{count} silent": {
                f"{what}, {name}": float(values[i, k])
                for k, what in enumerate(("copies", "distance"))
                for name, values in columns.items()
            }
            for i, count in enumerate(self.counts)
        }


@dataclass(frozen=True, eq=False)
class Records:
    """All runs, the agreement of pairs of runs, and the switched-off channels.

    Attributes
    ----------
    runs : dict of (n_images, seed) to Run
    agreements : dict of n_images to (steps, values)
        Between seed 0 and seed 1 at the same step.
    switched : Switched
    draws : dict of (n_images, seed) to array, shape (D, 5)
        Twins, as in `Run`, of D further draws of 400 samples from a run's last checkpoint.
    """

    runs: Mapping[tuple[int, int], Run]
    agreements: Mapping[int, tuple[Array, Array]]
    switched: Switched
    draws: Mapping[tuple[int, int], Array] = field(default_factory=dict)

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
    arrays |= {f"draws/{n}-{seed}": table for (n, seed), table in records.draws.items()}
    return arrays | {f"switched/{f.name}": getattr(records.switched, f.name)
                     for f in fields(Switched)}  # fmt: skip


def unpack(arrays: Mapping[str, Array]) -> Records:
    """Records from `pack`, floats in double precision."""
    wide = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in arrays.items()}
    runs = {}
    for n, seed in _pairs(wide, "run/"):
        head = f"run/{n}-{seed}/"
        own = {k.removeprefix(head): v for k, v in wide.items() if k.startswith(head)}
        separate = {k.removeprefix("auroc/"): v for k, v in own.items() if k.startswith("auroc/")}
        runs[n, seed] = Run(n, seed, **{k: own[k] for k in _PLAIN}, auroc=separate)
    sizes = sorted({int(k.split("/")[1]) for k in wide if k.startswith("agreement/")})
    agreements = {n: (wide[f"agreement/{n}/steps"], wide[f"agreement/{n}/values"]) for n in sizes}
    switched = Switched(**{f.name: wide[f"switched/{f.name}"] for f in fields(Switched)})
    draws = {(n, seed): wide[f"draws/{n}-{seed}"] for n, seed in _pairs(wide, "draws/")}
    return Records(runs, agreements, switched, draws)


def _pairs(names: Iterable[str], start: str) -> list[tuple[int, int]]:
    """Images and seeds that names such as ``run/32-0/steps`` speak of, in order."""
    found = {tuple(name.split("/")[1].split("-")) for name in names if name.startswith(start)}
    return sorted((int(n), int(seed)) for n, seed in found)


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
