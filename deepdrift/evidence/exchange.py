"""The exact test behind `deepdrift.evidence.fusion`, for few calibration samples.

The evidence of a sample in a block is ``-2 log(#{j : T_j >= T_i} / (n + 1))`` plus the excess of
T_i over the largest of the others, where all n + 1 samples count: the n of the second half and the
new one. The p-value is the rank of the new one among all n + 1 weighted sums of evidence. Nobody is
treated apart, so the rank of a normal sample is uniform: this is full conformal prediction (Vovk,
Gammerman and Shafer 2005).

The evidence of the calibration samples depends on the new one, hence the cost of O(n B) for each
new sample; a new one can only lower it, between two ends that are known beforehand, and most
samples lie outside for good.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepdrift.evidence.calibration import steps

EXACT_UP_TO = 200  # calibration samples; with more it would raise a rate of .048 by .002 or less
_CELLS = 2**20  # numbers of one array at one time: 8 megabytes


class ExchangeableRanks:
    """Rank of a new sample among the calibration samples that see it.

    Parameters
    ----------
    statistics : Tensor, shape (n, B), float64
        Of the calibration samples, finite; larger = more unusual.
    weights : Tensor, shape (B,), float64
        How much a block counts.

    Examples
    --------
    Two blocks; calibration samples a = (2, 4) and b = (1, 5), and a new one (3, 3). At least as
    large as the new one are 1 and 3 of the three, as a 2 and 2, as b 3 and 1. The new one exceeds
    the others by 1 in the first block, b in the second. Evidence: new ``2 log 3 + 1``, a
    ``4 log 1.5``, b ``2 log 3 + 1``, so that two of three are as unusual as the new one. (If a and
    b did not see it, a would be the largest of the first block, and the p-value 1.)

    >>> ranks = ExchangeableRanks(torch.tensor([[2.0, 4.0], [1.0, 5.0]]), torch.ones(2))
    >>> score = round(2 * math.log(3) + 1, 9)
    >>> round(ranks.p_value([3.0, 3.0], score), 3)
    0.667
    """

    def __init__(self, statistics: Tensor, weights: Tensor) -> None:
        values = statistics.double().contiguous()
        ordered = values.sort(dim=0).values.T.contiguous()
        places = torch.searchsorted(ordered, values.T.contiguous()).T
        bits = -2 * steps(len(values)).log()  # after 0, 1, ... n smaller ones
        self._n, self._weights, self._values = len(values), weights.double().numpy(), values.numpy()
        # A new one that is at least as large makes one more.
        self._with, self._without = bits[places].numpy(), bits[places + 1].numpy()
        # Where two share the largest value the next one is as large, and nothing exceeds it.
        is_top = torch.arange(len(values), device="cpu")[:, None] == values.argmax(dim=0)
        self._top = torch.where(is_top, values, -math.inf).numpy()
        self._next = ordered[:, -2].numpy() if len(values) > 1 else math.inf
        each, ends = np.arange(len(values)), np.full((2, len(values), values.shape[1]), math.inf)
        ends[1] *= -1
        self._least, self._most = (self._sums(each, end) for end in ends)
        self._prepare_single()

    def _prepare_single(self) -> None:
        """The same numbers as `p_value` reads them."""
        self._ordered_least, self._ordered_most = (
            np.sort(end).tolist() for end in (self._least, self._most)
        )
        self._ends = list(zip(self._least.tolist(), self._most.tolist(), strict=True))
        parts = (self._values, self._with, self._without, self._top, self._next, self._weights)
        whole = (np.broadcast_to(part, self._values.shape) for part in parts)
        self._cells = [list(map(tuple, rows)) for rows in np.stack(list(whole), axis=2).tolist()]

    def p_values(self, statistics: Tensor, scores: Tensor) -> Tensor:
        """The p-values ``(N,)``, float64, in [1 / (n + 1), 1]; 0 where a score is not finite.

        Parameters
        ----------
        statistics : Tensor, shape (N, B), float64
        scores : Tensor, shape (N,), float64
            Their weighted sums of evidence, rounded to nine decimals.
        """
        new, sums = statistics.numpy(), scores.numpy()
        size = max(1, _CELLS // self._values.size)
        parts = [
            self._ranks(new[i : i + size], sums[i : i + size]) for i in range(0, len(new), size)
        ]
        ranks = np.concatenate(parts) if parts else np.empty(0)
        p = torch.from_numpy(ranks / (self._n + 1))
        return torch.where(scores.isfinite(), p, 0.0)

    def p_value(self, statistics: Sequence[float], score: float) -> float:
        """The same for one sample of finite statistics, in plain Python: it is sooner done."""
        n = self._n
        rank = 1 + n - bisect_left(self._ordered_least, score)
        if n - bisect_left(self._ordered_most, score) >= rank:  # it depends on the new one
            for k, (least, most) in enumerate(self._ends):
                if least < score <= most and self._sum(k, statistics) >= score:
                    rank += 1
        return rank / (n + 1)

    def _sum(self, k: int, new: Sequence[float]) -> float:
        """Weighted evidence of calibration sample k beside a new one, as `_sums`."""
        total = 0.0
        for t, (value, with_it, without, top, next_one, weight) in zip(
            new, self._cells[k], strict=True
        ):
            evidence = with_it if t >= value else without
            total += (evidence + max(top - max(t, next_one), 0.0)) * weight
        return round(total * 1e9) / 1e9

    def _ranks(self, new: NDArray[np.float64], sums: NDArray[np.float64]) -> NDArray[np.int64]:
        """Number of samples ``(N,)``, the new one among them, that are as unusual as it is."""
        above = sums[:, None] <= self._least
        which, samples = np.nonzero(above ^ (sums[:, None] <= self._most))  # it depends on the new
        close = self._sums(samples, new[which]) >= sums[which]
        return 1 + above.sum(axis=1) + np.bincount(which[close], minlength=len(new))

    def _sums(self, samples: NDArray[np.int64], new: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weighted evidence ``(M,)`` of calibration samples, each beside a new one ``(M, B)``."""
        seen = new >= self._values[samples]
        excess = np.maximum(self._top[samples] - np.maximum(new, self._next), 0.0)
        evidence = np.where(seen, self._with[samples], self._without[samples]) + excess
        return np.rint((evidence * self._weights).sum(axis=1) * 1e9) / 1e9
