"""Alarms against failures: what became of every episode, and how much time a warning left.

An alarm is the number of the observation that raised it, a failure the number of the step in which
control was lost by the true state (`simulate.Runs.lost`); the first observation that shows it has
the next number. So ``lead = lost + 1 - alarm`` steps lie between them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from deepdrift.lab.bench.evaluation import Estimate, proportion
from deepdrift.lab.bench.tables import as_table
from deepdrift.lab.reinforcement_learning.plants import LabError
from deepdrift.lab.reinforcement_learning.simulate import Runs

OUTCOMES = (
    "caught in time", "too late", "missed", "false alarm", "benign, alarm", "benign, quiet",
)  # fmt: skip
IN_TIME = 5
Steps = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of N episodes with a fault, or of N clean ones.

    Attributes
    ----------
    kinds : array, shape (N,)
        Place in ``OUTCOMES``. An alarm before the fault is false, whatever follows. Of the others,
        those in which control was lost are caught in time (an alarm at least ``in_time`` steps
        before), too late, or missed; those that survived had a benign fault, with an alarm or
        without. Of a clean episode an alarm is false, silence "benign, quiet".
    lead : array, shape (N,)
        Steps from the alarm to the failure, or to the end of an episode that survived; 0 if there
        was a failure and no alarm, -1 for false alarms and for survivors without an alarm.
    failed : array of bool, shape (N,)
        Whether control was lost.
    allowance : array, shape (N,)
        Steps from the onset to the failure, or to the end: no alarm can leave more.
    in_time : int

    Examples
    --------
    The fault begins at step 10. Control is lost in steps 29, 29 and 29; alarms at observations
    20, 27 and 5. The fourth episode survives its 100 steps in spite of an alarm.

    >>> o = Outcomes.of(lost=[29, 29, 29, -1], lengths=[30, 30, 30, 100], alarms=[20, 27, 5, 40],
    ...                 onset=10)
    >>> [OUTCOMES[k] for k in o.kinds], o.lead.tolist()
    (['caught in time', 'too late', 'false alarm', 'benign, alarm'], [10, 3, -1, 60])
    """

    kinds: Steps
    lead: Steps
    failed: NDArray[np.bool_]
    allowance: Steps
    in_time: int

    @classmethod
    def of(
        cls,
        lost: ArrayLike,
        lengths: ArrayLike,
        alarms: ArrayLike,
        onset: int,
        *,
        clean: bool = False,
        in_time: int = IN_TIME,
    ) -> Outcomes:
        """Judge alarms (-1 for none) against losses of control (-1 for none)."""
        lost, lengths, alarms = (np.asarray(x, dtype=np.int64) for x in (lost, lengths, alarms))
        if not lost.shape == lengths.shape == alarms.shape or lost.ndim != 1:
            raise LabError(
                "lost, lengths, alarms: expected three series of one length, got shapes "
                f"{lost.shape}, {lengths.shape}, {alarms.shape}"
            )
        failed = lost >= 0
        end = np.where(failed, lost + 1, lengths)
        alarm = (alarms >= 0) & (alarms <= end)  # nothing after the loss counts
        false = alarm & (clean | (alarms < onset))
        lead = np.where(alarm, end - alarms, np.where(failed, 0, -1))
        lead = np.where(false, -1, lead)
        kinds = np.select(
            [false, failed & alarm & (lead >= in_time), failed & alarm, failed, alarm],
            [3, 0, 1, 2, 4],
            default=5,
        )
        return cls(kinds, lead, failed, np.maximum(end - onset, 0), in_time)

    @classmethod
    def of_runs(cls, runs: Runs, alarms: ArrayLike, *, in_time: int = IN_TIME) -> Outcomes:
        """Judge the alarms of one signal on runs."""
        return cls.of(runs.lost, runs.lengths, alarms, runs.onset, clean=not runs.fault,
                      in_time=in_time)  # fmt: skip

    @classmethod
    def pooled(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """Several faults or severities as one."""
        if len({part.in_time for part in parts}) != 1:
            raise LabError("parts: expected one or more outcomes with the same in_time")
        fields = ("kinds", "lead", "failed", "allowance")
        joined = {k: np.concatenate([getattr(p, k) for p in parts]) for k in fields}
        return cls(**joined, in_time=parts[0].in_time)

    def __len__(self) -> int:
        return len(self.kinds)

    def count(self, outcome: str) -> int:
        """Episodes with this outcome."""
        return int((self.kinds == OUTCOMES.index(outcome)).sum())

    def share(self, outcome: str) -> Estimate:
        """Share of all episodes with this outcome, with its exact interval."""
        return proportion(self.count(outcome), len(self))

    def of_failures(self, *outcomes: str) -> Estimate | None:
        """Share of failures that were, say, caught in time; None if none failed.

        Episodes with a false alarm are left out: what they would have become is unknown.
        """
        n = sum(self.count(o) for o in OUTCOMES[:3])
        return proportion(sum(self.count(o) for o in outcomes), n) if n else None

    @property
    def caught(self) -> Estimate | None:
        """Share of the failures with an alarm in time."""
        return self.of_failures("caught in time")

    @property
    def benign_alarms(self) -> Estimate | None:
        """Share of the survived faults that raised an alarm; None if none survived."""
        alarm, quiet = self.count("benign, alarm"), self.count("benign, quiet")
        return proportion(alarm, alarm + quiet) if alarm + quiet else None

    def lead_times(self) -> Survival | None:
        """Steps that the alarm left, false alarms aside: Kaplan-Meier, survivors censored.

        Survivors without an alarm have no lead and do not count.
        """
        known = self.lead >= 0
        return Survival.of(self.lead[known], self.failed[known]) if known.any() else None

    def allowances(self) -> Survival:
        """Steps that the plant left between the fault and the failure."""
        return Survival.of(self.allowance, self.failed)

    def sentence(self, steps: int = IN_TIME) -> str:
        """Lead time of the failures beside what the plant allows."""
        failures = self.failed & (self.kinds < 3)
        n = int(failures.sum())
        if n == 0:
            return f"Control was lost in none of {len(self)} episodes."
        enough = proportion(int((self.lead[failures] >= steps).sum()), n)
        half, most = np.median(self.allowance[failures]), self.allowance[failures].max()
        return (
            f"{enough.value:.0%} [{enough.low:.0%}, {enough.high:.0%}] of {n} failures had at "
            f"least {steps} steps; the plant itself allows {half:.0f} in half of them and "
            f"{most} at most."
        )

    def __str__(self) -> str:
        parts = [f"{self.count(o)} {o}" for o in OUTCOMES if self.count(o)]
        return f"{len(self)} episodes: " + "; ".join(parts) + "."


@dataclass(frozen=True, eq=False)
class Survival:
    """Kaplan-Meier estimate of how long something lasts.

    Attributes
    ----------
    steps, share, low, high : array, shape (K,)
        ``share`` lasts *longer* than ``steps``, with a 95 % interval (Greenwood, log-log).
    n, n_censored : int

    Examples
    --------
    Two end at 1 and 3; one is lost from sight at 2. Beyond 1 last 2/3, beyond 3 none.

    >>> s = Survival.of([1, 2, 3], [True, False, True])
    >>> round(s.beyond(1), 3), round(s.beyond(2), 3), s.beyond(3)
    (0.667, 0.667, 0.0)
    """

    steps: Steps
    share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: int
    n_censored: int

    @classmethod
    def of(cls, steps: ArrayLike, ended: ArrayLike) -> Survival:
        """Durations, and whether each really ended or was cut off."""
        steps, ended = np.asarray(steps), np.asarray(ended, dtype=bool)
        sample = stats.CensoredData(uncensored=steps[ended], right=steps[~ended])
        found = stats.ecdf(sample).sf
        if ended.any():
            # there is no interval where nobody or everybody is left
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                interval = found.confidence_interval(0.95, method="log-log")
            low, high = interval.low.probabilities, interval.high.probabilities
        else:
            low = high = np.full(len(found.quantiles), np.nan)
        return cls(found.quantiles.astype(np.int64), found.probabilities, low, high, len(steps),
                   int((~ended).sum()))  # fmt: skip

    def beyond(self, steps: float) -> float:
        """Share that lasts longer than this many steps."""
        place = int(np.searchsorted(self.steps, steps, side="right")) - 1
        return 1.0 if place < 0 else float(self.share[place])


def outcome_table(rows: Mapping[str, Outcomes]) -> str:
    """Counts of every outcome as text, one row per fault or signal."""
    return as_table(
        {
            name: {"n": len(o), **{kind: o.count(kind) for kind in OUTCOMES}}
            for name, o in rows.items()
        },
        spec="d",
    )
