"""What notebook 04 counts over many streams: changes of state, false alarms, leads, wealth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from deepdrift.alarms.config import ObserverConfig
from deepdrift.alarms.replay import replay
from deepdrift.alarms.run_length import false_alarms_per_1000, threshold_for_rate
from deepdrift.evidence.calibration import conformal_p_values
from deepdrift.evidence.e_process import e_process
from deepdrift.lab.alarms.races import Array, Curve, delay_difference
from deepdrift.lab.alarms.streams import DriftPool
from deepdrift.lab.bench.evaluation import Estimate


def changes_per_1000(streams: ArrayLike, config: ObserverConfig) -> float:
    """Changes of state per 1,000 steps, over all streams (N, T).

    Examples
    --------
    >>> changes_per_1000([[0, 4, 1, 4]], ObserverConfig(theta_high=3.0, theta_low=1.5))
    750.0
    """
    values = np.atleast_2d(np.asarray(streams, np.float64))
    return 1000 * sum(len(replay(row, config).events) for row in values) / values.size


class Realised(NamedTuple):
    """A threshold chosen on one half of the images, and its false alarms on the other."""

    memory: float
    half: int
    theta_high: float
    rate: float


def realised_rates(
    halves: Sequence[DriftPool],
    per_1000: float = 1.0,
    memories: Sequence[float] = (0.0, 0.6),
    n_choose: int = 20_000,
    n_judge: int = 100_000,
    batch_size: int = 4,
) -> list[Realised]:
    """Choose theta_high on a stream of one half for a rate, and count on the other; both ways.

    Parameters
    ----------
    halves : two pools of different images
    per_1000 : float
        The rate of false alerts per 1,000 steps that is asked for.
    memories : sequence of float
        Streams without and with memory, see `DriftPool.draw`.
    n_choose, n_judge : int
        Steps.
    """
    rows = []
    for memory in memories:
        for first in (0, 1):
            how = {"batch_size": batch_size, "memory": memory}
            chosen = halves[first].draw_fused(1, n_steps=n_choose, seed=1, **how)[0]
            judged = halves[1 - first].draw_fused(1, n_steps=n_judge, seed=2, **how)[0]
            rule = threshold_for_rate(chosen, per_1000, ObserverConfig(theta_slope=9.0)).config
            rate = false_alarms_per_1000(rule, judged)
            rows.append(Realised(memory, first + 1, rule.theta_high, rate))
    return rows


def rates_table(rows: Sequence[Realised]) -> str:
    """`realised_rates` as text, a line each.

    Examples
    --------
    >>> print(rates_table([Realised(0.6, 1, 3.284, 0.87)]))
    memory   chosen on   theta_high   realised per 1,000
       0.6      half 1         3.28                 0.87
    """
    lines = ["memory   chosen on   theta_high   realised per 1,000"]
    lines += [f"{m:6.1f}{f'half {h}':>12}{theta:13.2f}{rate:21.2f}" for m, h, theta, rate in rows]
    return "\n".join(lines)


def leads(
    result: Mapping[str, Mapping[str, Curve]],
    streams: Mapping[str, Array],
    names: Sequence[str],
    rival: str = "threshold",
    per_1000: float = 5.0,
    onset: int = 60,
) -> dict[str, dict[str, Estimate]]:
    """Detector -> kind of shift -> steps after the rival, stream by stream (`delay_difference`)."""
    return {
        name: {
            kind: delay_difference(result[kind], changed, onset, name, rival, per_1000)
            for kind, changed in streams.items()
        }
        for name in names
    }


def verdict(lead: Estimate) -> str:
    """What an interval of differences in delay decides.

    Examples
    --------
    >>> verdict(Estimate(-7, -9, -5, 300, 300)), verdict(Estimate(-4, -8, 1, 300, 300))
    ('faster', 'tie')
    """
    return "faster" if lead.high < 0 else "slower" if lead.low > 0 else "tie"


def leads_table(table: Mapping[str, Mapping[str, Estimate]]) -> str:
    """`leads` as text: detectors below, shifts across; negative is earlier than the rival.

    Examples
    --------
    >>> print(leads_table({"EWMA 0.2": {"abrupt": Estimate(-7, -9, -5, 300, 300)}}))
                                     abrupt
    EWMA 0.2             -7 [-9, -5] faster
    """
    kinds = list(next(iter(table.values())))
    lines = [" " * 15 + "".join(f"{kind:>24}" for kind in kinds)]
    for name, row in table.items():
        cells = (f"{e.value:.0f} [{e.low:.0f}, {e.high:.0f}] {verdict(e)}" for e in row.values())
        lines.append(f"{name:<15}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


def share_that_win(
    n_calibration: int, rng: np.random.Generator, n_streams: int = 300, n_steps: int = 1000
) -> float:
    """Share of normal streams whose e-process ever exceeds 20, with a fixed calibration set.

    The bound for exact p-values is 5 %. Values are standard normal.
    """
    rich = 0
    for _ in range(n_streams):
        line = torch.from_numpy(rng.normal(size=n_calibration))
        p = conformal_p_values(line, torch.from_numpy(rng.normal(size=n_steps)))
        rich += bool(e_process(p.numpy()).max() >= np.log(20))  # it returns the logarithm
    return rich / n_streams
