"""Some recorded episodes step by step: the true state, what was done, and what warned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.lab.data import shipped
from deepdrift.lab.reinforcement_learning.keys import danger
from deepdrift.lab.reinforcement_learning.plants import LabError
from deepdrift.lab.reinforcement_learning.simulate import Runs

TRACED = ("hidden innovation", "observation innovation", "hidden velocity")
LARGEST = 60_000.0  # float16 ends at 65,504


@dataclass(frozen=True, eq=False)
class Trace:
    """One episode of T steps.

    Attributes
    ----------
    plant, fault : str
        ``fault`` is "" for a clean episode.
    severity, onset, seed, sensor, lost : int
        See `simulate.Runs`; ``sensor`` is -1 for none in particular.
    states : array, shape (T + 1, D)
        The true state.
    actions : array, shape (T,)
    scores : dict of str to array, shape (T,)
        Smoothed signals; entry t is about observation t + 1.
    danger : array, shape (T,)
        Of what the policy saw, in the same order (`keys.danger`).
    """

    plant: str
    fault: str
    severity: int
    onset: int
    seed: int
    sensor: int
    lost: int
    states: NDArray[Any]
    actions: NDArray[Any]
    scores: Mapping[str, NDArray[Any]]
    danger: NDArray[Any]

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def margin(self) -> NDArray[Any]:
        """Room that is truly left to the limits, (T + 1,): 1 all of it, 0 none."""
        return 1 - danger(self.plant, self.states)


def traces_of(runs: Runs, scores: Mapping[str, NDArray[Any]], rows: Sequence[int]) -> list[Trace]:
    """Traces of some episodes of runs, with their smoothed scores (N, T)."""
    found = []
    for row in rows:
        length = int(runs.lengths[row])
        found.append(
            Trace(
                runs.plant, runs.fault, round(runs.severity), runs.onset, int(runs.seeds[row]),
                int(runs.sensors[row]), int(runs.lost[row]), runs.states[row, : length + 1],
                runs.actions[row, :length],
                {name: scores[name][row, :length] for name in TRACED},
                danger(runs.plant, runs.observations[row, 1 : length + 1]),
            )
        )  # fmt: skip
    return found


_NUMBERS = ("severity", "onset", "seed", "sensor", "lost")


def pack(traces: Sequence[Trace]) -> dict[str, NDArray[Any]]:
    """Traces of one plant as few arrays, one below the other; inverse of `unpack`."""
    if len({trace.plant for trace in traces}) != 1:
        raise LabError("traces: expected one or more of the same plant")
    scores = np.concatenate([np.stack([t.scores[k] for k in TRACED], axis=1) for t in traces])
    return {
        "fault": np.array([t.fault for t in traces]),
        "numbers": np.array([[getattr(t, k) for k in _NUMBERS] for t in traces], np.int32),
        "lengths": np.array([len(t) for t in traces], np.int32),
        "states": np.concatenate([t.states for t in traces]).astype(np.float16),
        "actions": np.concatenate([t.actions for t in traces]).astype(np.int8),
        "scores": np.minimum(scores, LARGEST).astype(np.float16),
        "danger": np.minimum(np.concatenate([t.danger for t in traces]), LARGEST).astype(
            np.float16
        ),
    }


def unpack(plant: str, arrays: Mapping[str, NDArray[Any]]) -> list[Trace]:
    """Traces from `pack`; states and scores have three digits."""
    lengths = arrays["lengths"]
    ends, state_ends = np.cumsum(lengths), np.cumsum(lengths + 1)
    found = []
    for row, length in enumerate(lengths.tolist()):
        steps = slice(ends[row] - length, ends[row])
        scores = arrays["scores"][steps].astype(np.float64)
        found.append(
            Trace(
                plant=plant,
                fault=str(arrays["fault"][row]),
                states=arrays["states"][state_ends[row] - length - 1 : state_ends[row]].astype(
                    np.float64
                ),
                actions=arrays["actions"][steps].astype(np.int64),
                scores=dict(zip(TRACED, scores.T, strict=True)),
                danger=arrays["danger"][steps].astype(np.float64),
                **dict(zip(_NUMBERS, arrays["numbers"][row].tolist(), strict=True)),
            )
        )
    return found


def load_traces(plant: str, *, root: Any = None) -> list[Trace]:
    """The shipped traces of a plant.

    Raises
    ------
    LabError
        If there are none of this plant.
    DataFileError
        If the file is missing or has been changed.
    """
    return read_traces(shipped("reinforcement.npz", root=root), plant)


def read_traces(path: Path, plant: str) -> list[Trace]:
    """The traces of a plant in a file."""
    with np.load(path, allow_pickle=False) as file:
        head = f"traces-{plant}/"
        arrays = {key.removeprefix(head): file[key] for key in file if key.startswith(head)}
    if not arrays:
        raise LabError(f"plant: no traces of {plant!r} are recorded; simulate(...) makes them")
    return unpack(plant, arrays)
