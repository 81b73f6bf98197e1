"""What became of every recorded episode: the shipped results of ``data/build``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.data import shipped
from deepdrift.lab.reinforcement_learning.faults import JUDGED
from deepdrift.lab.reinforcement_learning.naming import confusion
from deepdrift.lab.reinforcement_learning.outcomes import IN_TIME, Outcomes
from deepdrift.lab.reinforcement_learning.plants import LabError, plant

SEVERITIES = (1, 2, 3, 4, 5)
SENSES = ("same sensors", "own sensors")
MULTIPLES = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)
SWEPT = ("hidden innovation", "observation innovation", "hidden velocity")


@dataclass(frozen=True, eq=False)
class Record:
    """All recorded episodes of one plant: F faults, five severities, N episodes each.

    Attributes
    ----------
    plant : str
    faults, signals, names : array of str, shapes (F,), (K,), (names,)
    thresholds : array, shape (K,)
        Of the smoothed signals, 5 % false alarms per episode; of the published rule 0.15.
    lost, lengths, sensors : array of int16, shape (F, 5, N)
        See `simulate.Runs`.
    returns : array, shape (F, 5, N)
    alarms : array of int16, shape (K, F, 5, N)
        First alarm of each signal, -1 for none.
    key_alarms : array of int16, shape (F, 5, N)
        First alarm with two keys, of which the first is ``signals[main]``.
    keys : array, shape (4,)
        Threshold of the first key, level and threshold of the second, memory.
    main : int
        The signal whose alarms are named and lead to a hand-over.
    sweep : array of int16, shape (3, M, F, 5, N)
        First alarm of each signal in ``SWEPT`` with its threshold times each of ``MULTIPLES``.
    named : array of int8, shape (F, 5, N)
        Place in ``names`` for the alarm of the main signal, -1 without one.
    taken_returns, taken_lost : array, shape (2, F, 5, N)
        With a hand-over at the alarm, by ``SENSES``; NaN and -2 for severities that are not judged.
    clean_lost, clean_lengths, clean_returns : array, shape (C,)
        Clean episodes that nothing was fitted or calibrated on.
    clean_alarms, clean_key_alarms : array of int16, shapes (K, C), (C,)
    clean_taken_returns, clean_taken_lost : array, shape (C,)
        With a hand-over at every (false) alarm of the main signal.
    paired_returns : array, shape (N,)
        Clean episodes with the seeds of the judged severities.
    calibration : array of int64, shape (3,)
        Clean episodes simulated for the fit and the calibration, those of them in which control
        was lost (left out), and those that gave the thresholds.
    """

    plant: str
    faults: NDArray[Any]
    signals: NDArray[Any]
    names: NDArray[Any]
    thresholds: NDArray[np.float64]
    lost: NDArray[np.int16]
    lengths: NDArray[np.int16]
    sensors: NDArray[np.int16]
    returns: NDArray[np.float32]
    alarms: NDArray[np.int16]
    key_alarms: NDArray[np.int16]
    keys: NDArray[np.float64]
    main: NDArray[np.int64]
    sweep: NDArray[np.int16]
    named: NDArray[np.int8]
    taken_returns: NDArray[np.float32]
    taken_lost: NDArray[np.int16]
    clean_lost: NDArray[np.int16]
    clean_lengths: NDArray[np.int16]
    clean_returns: NDArray[np.float32]
    clean_alarms: NDArray[np.int16]
    clean_key_alarms: NDArray[np.int16]
    clean_taken_returns: NDArray[np.float32]
    clean_taken_lost: NDArray[np.int16]
    paired_returns: NDArray[np.float32]
    calibration: NDArray[np.int64]

    @property
    def main_signal(self) -> str:
        """Name of the signal whose alarms are acted on."""
        return str(self.signals[int(self.main)])

    def _fault(self, fault: str) -> int:
        if fault not in self.faults:
            raise LabError(f"fault: expected one of {', '.join(self.faults)}, got {fault!r}")
        return int(np.flatnonzero(self.faults == fault)[0])

    @staticmethod
    def _levels(severities: Sequence[int]) -> list[int]:
        """Places of severities on their axis."""
        unknown = [s for s in severities if s not in SEVERITIES]
        if unknown or not len(severities):
            raise LabError(
                f"severities: expected one or more of {SEVERITIES}, got {tuple(severities)}"
            )
        return [int(s) - 1 for s in severities]

    def _alarms(self, signal: str, multiple: float) -> NDArray[np.int16]:
        if signal == "two keys":
            return self.key_alarms
        if signal not in self.signals:
            raise LabError(
                f"signal: expected one of {', '.join(self.signals)}, two keys, got {signal!r}"
            )
        if multiple == 1.0:
            return self.alarms[int(np.flatnonzero(self.signals == signal)[0])]
        if multiple not in MULTIPLES or signal not in SWEPT:
            raise LabError(
                f"multiple: expected one of {MULTIPLES} with one of {', '.join(SWEPT)}, "
                f"got {multiple!r} with {signal!r}"
            )
        return self.sweep[SWEPT.index(signal), MULTIPLES.index(multiple)]

    def outcomes(
        self,
        fault: str,
        signal: str = "",
        severities: Sequence[int] = JUDGED,
        *,
        multiple: float = 1.0,
        in_time: int = IN_TIME,
    ) -> Outcomes:
        """What became of the episodes of one fault.

        Parameters
        ----------
        fault : str
        signal : str
            Of ``signals``, or "two keys"; the main one if empty.
        severities : sequence of int
        multiple : float
            Of the threshold, one of ``MULTIPLES``.
        in_time : int
        """
        row, alarms = self._fault(fault), self._alarms(signal or self.main_signal, multiple)
        onset = plant(self.plant).onset
        return Outcomes.pooled(
            [
                Outcomes.of(self.lost[row, s], self.lengths[row, s], alarms[row, s], onset,
                            in_time=in_time)
                for s in self._levels(severities)
            ]
        )  # fmt: skip

    def all_outcomes(self, signal: str = "", severities: Sequence[int] = JUDGED) -> Outcomes:
        """The episodes of all faults together."""
        return Outcomes.pooled([self.outcomes(f, signal, severities) for f in self.faults])

    def clean_outcomes(self, signal: str = "") -> Outcomes:
        """What became of the clean episodes."""
        name = signal or self.main_signal
        alarms = (
            self.clean_key_alarms
            if name == "two keys"
            else self.clean_alarms[int(np.flatnonzero(self.signals == name)[0])]
        )
        return Outcomes.of(self.clean_lost, self.clean_lengths, alarms, 0, clean=True)

    def gain(self, fault: str, senses: str, severities: Sequence[int] = JUDGED) -> Estimate:
        """Mean return with a hand-over minus without, same seeds, 95 % interval."""
        if senses not in SENSES:
            raise LabError(f"senses: expected one of {', '.join(SENSES)}, got {senses!r}")
        chosen, place = self._levels(severities), SENSES.index(senses)
        row = self._fault(fault)
        return paired(self.taken_returns[place, row][chosen], self.returns[row][chosen])

    def clean_cost(self) -> Estimate:
        """Mean return of clean episodes with a hand-over at false alarms, minus without."""
        return paired(self.clean_taken_returns, self.clean_returns)

    def confusion(
        self, faults: Sequence[str] = (), severities: Sequence[int] = JUDGED
    ) -> dict[str, dict[str, int]]:
        """True name -> given name -> count, of episodes with an alarm after the onset."""
        from deepdrift.lab.reinforcement_learning.faults import find_fault

        truth, given = [], []
        for fault in faults or self.faults:
            row, kind = self._fault(fault), find_fault(fault).kind
            for s in self._levels(severities):
                for sensor, name in zip(self.sensors[row, s], self.named[row, s], strict=True):
                    own = f"sensor: {plant(self.plant).sensors[sensor]}"
                    truth.append(own if kind == "one sensor" else kind)
                    given.append("" if name < 0 else str(self.names[name]))
        return confusion(truth, given)


def paired(with_: NDArray[Any], without: NDArray[Any]) -> Estimate:
    """Mean difference of pairs with a normal 95 % interval.

    Examples
    --------
    >>> print(f"{paired(np.array([3.0, 5.0]), np.array([1.0, 1.0])):.2f}")
    3.00 [1.04, 4.96]
    """
    gaps = np.asarray(with_, np.float64).ravel() - np.asarray(without, np.float64).ravel()
    if len(gaps) < 2 or not np.isfinite(gaps).all():
        raise LabError("with_, without: expected at least two pairs of finite returns")
    half = 1.96 * gaps.std(ddof=1) / np.sqrt(len(gaps))
    return Estimate(gaps.mean(), gaps.mean() - half, gaps.mean() + half, len(gaps), len(gaps))


def arrays_of(record: Record) -> dict[str, NDArray[Any]]:
    """A record as named arrays; `read_records` finds them in a file again."""
    names = (f.name for f in fields(record) if f.name != "plant")
    return {f"{record.plant}/{name}": getattr(record, name) for name in names}


def load_records(*, root: Any = None) -> dict[str, Record]:
    """The shipped records: plant -> `Record`.

    Raises
    ------
    DataFileError
        If the file is missing or has been changed.
    """
    return read_records(shipped("reinforcement.npz", root=root))


def read_records(path: Path) -> dict[str, Record]:
    """The records in a file."""
    with np.load(path, allow_pickle=False) as file:
        plants = sorted({key.split("/")[0] for key in file})
        return {
            name: Record(
                name,
                **{f.name: file[f"{name}/{f.name}"] for f in fields(Record) if f.name != "plant"},
            )
            for name in plants
            if f"{name}/faults" in file
        }
