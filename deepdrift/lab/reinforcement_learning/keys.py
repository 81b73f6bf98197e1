"""Two keys to one alarm: the agent is somewhere unfamiliar *and* is losing its margin.

The first key is a calibrated signal. The second is *danger*: how much of the room to the plant's
limits is used up, where things go on as they do for a moment. It is computed from what the policy
sees, because that is all a monitor has: a broken sensor can lie to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepdrift.lab.reinforcement_learning.outcomes import Outcomes
from deepdrift.lab.reinforcement_learning.plants import Array, LabError

LEVELS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75)
MEMORIES = (25, 10_000)
MOST_LOST = 0.1


def danger(name: str, observations: ArrayLike) -> Array:
    """Used-up share of the room to the limits, largest over the limits; 1 is at one of them.

    Parameters
    ----------
    name : {"cartpole", "lunarlander"}
        Cart: position and angle a tenth of a second ahead, of 2.4 m and 12 degrees. Lander:
        position and tilt half a second ahead, of the screen's edge and one radian; and the
        height that a full brake takes, of the height that is left.
    observations : array, shape (..., D)

    Returns
    -------
    array, shape (...), NaN where the observations are

    Examples
    --------
    A cart at 1.2 m, at rest and upright; a lander that sinks fast near the ground.

    >>> float(danger("cartpole", [1.2, 0.0, 0.0, 0.0]))
    0.5
    >>> float(danger("lunarlander", [0, 0.1, 0, -0.4, 0, 0, 0, 0]).round(2))
    0.9
    """
    seen = np.moveaxis(np.asarray(observations, dtype=np.float64), -1, 0)
    if name == "cartpole":
        x, speed, angle, turning = seen
        used = [(x + 0.1 * speed) / 2.4, (angle + 0.1 * turning) / (12 * 2 * np.pi / 360)]
        return np.max(np.abs(used), axis=0)
    if name == "lunarlander":
        x, height, across, climb, tilt, turning = seen[:6]
        # 50 steps a second; gymnasium's units make 5, 7.5 and 2.5 of the three speeds; the main
        # engine leaves 7.5 m/s2 against gravity, so v2 / 15 metres of 6.67 for each unit of height
        brake = np.where(climb < 0, (7.5 * climb) ** 2 / 15 / 6.667, 0) / np.maximum(height, 0.05)
        edge, tipped = np.abs(x + 0.25 * across), np.abs(tilt + 1.25 * turning)
        return np.max([edge, tipped, np.where(np.isnan(climb), np.nan, brake)], axis=0)
    raise LabError(f"danger: known for cartpole and lunarlander, got {name!r}")


@dataclass(frozen=True)
class TwoKeys:
    """An alarm that needs both keys.

    Attributes
    ----------
    unfamiliar : float
        Threshold of the first key, a smoothed signal.
    level : float
        Share of clean episodes in which the second key turns at some step.
    losing : float
        Its threshold, the conformal one at that level.
    memory : int
        Steps that the first key stays turned.

    Examples
    --------
    The first key turns at entry 1 and stays for one more step; the second turns at entry 2.

    >>> keys = TwoKeys(unfamiliar=1.0, level=0.5, losing=0.5, memory=1)
    >>> keys.alarms([[0.0, 2.0, 0.0, 0.0]], [[0.1, 0.1, 0.9, 0.9]]).tolist()
    [3]
    """

    unfamiliar: float
    level: float
    losing: float
    memory: int

    def alarms(self, scores: ArrayLike, dangers: ArrayLike) -> NDArray[np.int64]:
        """First observation at which both are turned, (N,); -1 for none.

        Parameters
        ----------
        scores : array, shape (N, T)
            Smoothed; entry t is about observation t + 1.
        dangers : array, shape (N, T)
            In the same order; not smoothed, since the limits are near when it counts.
        """
        scores, dangers = np.asarray(scores), np.asarray(dangers)
        with np.errstate(invalid="ignore"):
            first, second = scores > self.unfamiliar, dangers > self.losing
        steps = np.arange(scores.shape[1])
        last = np.maximum.accumulate(np.where(first, steps, -self.memory - 1), axis=1)
        both = second & (steps - last <= self.memory)
        return np.where(both.any(axis=1), both.argmax(axis=1) + 1, -1)


@dataclass(frozen=True)
class Choice:
    """One setting of the second key and what it did to the outcomes.

    Attributes
    ----------
    keys : TwoKeys
    caught, benign : float
        Shares with both keys: of failures caught in time, of survived faults with an alarm.
    caught_one, benign_one : float
        The same with the first key alone.
    """

    keys: TwoKeys
    caught: float
    benign: float
    caught_one: float
    benign_one: float

    @property
    def worth_it(self) -> bool:
        """Benign alarms at most half, at a loss of at most ten points of the caught failures."""
        lost = self.caught_one - self.caught
        return self.benign <= self.benign_one / 2 and lost <= MOST_LOST + 1e-9


def compare_keys(keys: TwoKeys, one: Sequence[Outcomes], two: Sequence[Outcomes]) -> Choice:
    """The outcomes of the same episodes with the first key alone and with both."""
    shares = []
    for parts in (two, one):
        pooled = Outcomes.pooled(parts)
        caught, benign = pooled.caught, pooled.benign_alarms
        if caught is None or benign is None:
            raise LabError("outcomes: expected failures and survived faults, got one kind only")
        shares += [caught.value, benign.value]
    return Choice(keys, *shares)


def choose(choices: Sequence[Choice]) -> Choice:
    """Fewest benign alarms among those that lose at most ten points; else the smallest loss."""
    fair = [c for c in choices if c.caught_one - c.caught <= MOST_LOST + 1e-9]
    return min(fair, key=lambda c: c.benign) if fair else max(choices, key=lambda c: c.caught)
