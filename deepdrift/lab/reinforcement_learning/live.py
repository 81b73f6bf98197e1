"""The small simulation that always runs: signals fitted here and now, traces, and a check of them.

The recorded results (`records`) hold a hundred episodes of every fault and severity. What is
simulated here has the same seeds, so it must find the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepdrift.evidence.calibration import conformal_threshold
from deepdrift.lab.reinforcement_learning.faults import DEVELOPMENT
from deepdrift.lab.reinforcement_learning.noise import NoisyEnv
from deepdrift.lab.reinforcement_learning.plants import Array, LabError, plant
from deepdrift.lab.reinforcement_learning.policies import load_policy
from deepdrift.lab.reinforcement_learning.records import Record
from deepdrift.lab.reinforcement_learning.signals import (
    Signals,
    first_above,
    fit_signals,
)
from deepdrift.lab.reinforcement_learning.simulate import Runs, simulate
from deepdrift.lab.reinforcement_learning.traces import TRACED, Trace, traces_of
from deepdrift.rl.split import ONE_IN

CLEAN, JUDGED, DEVELOPED = 10_000, 20_000, 30_000  # first seeds of recorded episodes


@dataclass(frozen=True, eq=False)
class Live:
    """A plant with its policy, its clean episodes, and the signals fitted and calibrated on them.

    Attributes
    ----------
    plant : str
    policy : Policy
    clean : Runs
    signals : Signals
    """

    plant: str
    policy: Any
    clean: Runs
    signals: Signals

    @classmethod
    def of(cls, name: str, n_clean: int) -> Live:
        """Simulate clean episodes, and fit and calibrate on those in which control was kept."""
        policy = load_policy(name)
        clean = simulate(policy, name, range(n_clean))
        kept = clean.rows(clean.lost < 0)
        return cls(name, policy, kept, fit_signals(policy, kept))

    def runs(self, fault: str, severity: float, seeds: Sequence[int]) -> Runs:
        """Episodes with a fault, or clean ones if it is empty."""
        return simulate(self.policy, self.plant, seeds, fault, severity if fault else 0.0)

    def traces(self, fault: str, severity: float, seeds: Sequence[int]) -> list[Trace]:
        """Episodes step by step, with the three signals that are traced."""
        runs = self.runs(fault, severity, seeds)
        return traces_of(runs, self.signals.smoothed(runs, TRACED), range(len(runs)))

    def all_traces(
        self, faults: Sequence[str], severities: Sequence[int], n: int, n_clean: int
    ) -> list[Trace]:
        """Traces of every fault and severity with the recorded seeds, then clean ones."""
        found = []
        for fault in faults:
            for severity in severities:
                found += self.traces(fault, severity, self.seeds(severity, n))
        return found + self.traces("", 0, range(CLEAN, CLEAN + n_clean))

    def agreement(
        self, record: Record, faults: Sequence[str], severities: Sequence[int], n: int
    ) -> dict[str, tuple[int, int]]:
        """What was simulated again -> (episodes that are as recorded, episodes).

        Compared are the step of the loss of control and the first alarm of every signal.
        """
        if record.plant != self.plant:
            raise LabError(f"record: expected that of {self.plant}, got {record.plant}")
        same: dict[str, list[bool]] = {}
        for fault in faults:
            for severity in severities:
                runs = self.runs(fault, severity, self.seeds(severity, n))
                row = list(record.faults).index(fault), severity - 1, slice(n)
                found = {"loss of control": runs.lost == record.lost[row]}
                for k, alarms in self.signals.alarms(runs).items():
                    found[k] = alarms == record.alarms[list(record.signals).index(k)][row]
                for name, equal in found.items():
                    same.setdefault(name, []).extend(equal.tolist())
        return {name: (sum(x), len(x)) for name, x in same.items()}

    @staticmethod
    def seeds(severity: int, n: int) -> range:
        """The first seeds of the recorded episodes of a severity."""
        first = DEVELOPED if severity in DEVELOPMENT else JUDGED
        return range(first, first + n)


def late_thresholds(live: Live, begin: int, names: Sequence[str]) -> dict[str, float]:
    """Conformal thresholds for a second phase: of the largest score from step ``begin`` on.

    The same clean episodes give them as the threshold of the whole episode.
    """
    rest = live.clean.rows(np.arange(len(live.clean)) % ONE_IN != 0)
    scores = live.signals.smoothed(rest, names)
    maxima = {name: np.nanmax(x[:, begin:], axis=1) for name, x in scores.items()}
    alpha = live.signals.alpha
    return {k: conformal_threshold(torch.from_numpy(v), alpha) for k, v in maxima.items()}


def late_alarms(scores: Array, threshold: float, begin: int) -> NDArray[np.int64]:
    """First alarm from step ``begin`` on, as `signals.first_above` counts.

    Examples
    --------
    >>> late_alarms(np.array([[9.0, 0.0, 2.0]]), 1.0, begin=1).tolist()
    [3]
    """
    after = np.arange(scores.shape[1]) >= begin
    return first_above(np.where(after, scores, -np.inf), threshold)


def phase_table(
    live: Live,
    begin: int,
    cases: Mapping[str, tuple[str, float]],
    seeds: Sequence[int],
    signal: str = "hidden innovation",
) -> dict[str, dict[str, int]]:
    """Episodes with an alarm between fault and loss, by one threshold and by one for late steps.

    Parameters
    ----------
    live : Live
    begin : int
        First step of the second phase.
    cases : mapping of str to (fault, severity)
        A fault "" stands for clean episodes, in which every alarm counts.
    seeds : sequence of int
    signal : str
    """
    late = late_thresholds(live, begin, [signal])[signal]
    found = {}
    for name, (fault, severity) in cases.items():
        runs = live.runs(fault, severity, seeds)
        scores = live.signals.smoothed(runs, [signal])[signal]
        end = np.where(runs.lost >= 0, runs.lost + 1, runs.lengths)
        first = plant(live.plant).onset if fault else 0
        row = {"lost": int((runs.lost >= 0).sum())}
        for rule, alarms in {
            "one line": first_above(scores, live.signals.thresholds[signal]),
            "late line": late_alarms(scores, late, begin),
        }.items():
            row[rule] = int(((alarms >= max(first, 1)) & (alarms <= end)).sum())
        found[name] = row
    return found


def noisy_env(name: str) -> NoisyEnv:
    """One environment of gymnasium with the noise that is always there."""
    return NoisyEnv(plant(name).make(), name)
