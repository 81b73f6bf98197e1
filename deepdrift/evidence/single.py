"""`Fusion` for one sample in plain Python: a few dozen numbers are sooner looked up than prepared.

Digit for digit the same: what may differ in the last place of a logarithm or a sum is rounded
away, as there (`deepdrift.evidence.fusion`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from torch import Tensor

from deepdrift.evidence.calibration import steps
from deepdrift.evidence.exchange import ExchangeableRanks


class SingleSample:
    """Judge one sample against sorted normal scores.

    Parameters
    ----------
    layers : Tensor, shape (K, n), float64
        Sorted scores of every layer.
    largest, exponent : Tensor, shape (K,)
        Where the tail of a layer begins, and its power law.
    ends : sequence of int
        Column behind the last one of every block.
    blocks : Tensor, shape (B, m)
        Sorted statistics of every block.
    weights : Tensor, shape (B,)
    normal : Tensor, shape (m,)
        Sorted combined scores.
    n_smallest : int, optional
        How many layers of a block speak; ``None`` for all.
    exact : ExchangeableRanks, optional
        Gives the p-value; without it the place among ``normal`` does.

    Examples
    --------
    >>> import torch
    >>> half = torch.arange(1.0, 10.0, dtype=torch.float64)
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> single = SingleSample(half[None], 9 * one, one, [1], half[None], one, half)
    >>> score, p, layers = single.judge([8.5])
    >>> round(score, 3), layers  # -2 log 0.2
    (3.219, [0.2])
    """

    def __init__(
        self,
        layers: Tensor,
        largest: Tensor,
        exponent: Tensor,
        ends: Sequence[int],
        blocks: Tensor,
        weights: Tensor,
        normal: Tensor,
        n_smallest: int | None = None,
        exact: ExchangeableRanks | None = None,
    ) -> None:
        self._layers, self._blocks = _rows(layers), _rows(blocks)
        self._normal = _rows(normal[None])[0]
        self._tails = list(zip(largest.tolist(), exponent.tolist(), strict=True))
        self._n, self._m = layers.shape[1], len(normal)
        self._layer_bits, self._block_bits = (_bits(n) for n in (self._n, self._m))
        self._ends, self._weights = list(ends), weights.tolist()
        self._n_smallest, self._exact = n_smallest, exact
        top = blocks[:, -1].tolist()
        self._top = top if self._m > 1 else [math.inf] * len(top)

    def judge(self, scores: Sequence[float]) -> tuple[float, float, list[float]]:
        """Combined score, its p-value, and the p-values of the layers.

        Parameters
        ----------
        scores : sequence of K finite float
        """
        n, m = self._n, self._m
        places = [bisect_left(row, s) for row, s in zip(self._layers, scores, strict=True)]
        p_values = [(1 + n - place) / (n + 1) for place in places]
        evidence = [self._layer_bits[place] for place in places]
        for k, place in enumerate(places):
            largest, exponent = self._tails[k]
            if place == n and scores[k] > largest:
                evidence[k] += 2 * exponent * math.log(scores[k] / largest)
        statistics, start = [], 0
        for end in self._ends:
            block = evidence[start:end]
            if self._n_smallest is not None:
                block = sorted(block, reverse=True)[: self._n_smallest]
            statistics.append(_rounded(sum(block)))
            start = end
        score = statistics[0]
        if len(statistics) > 1:
            total = 0.0
            for row, t, top, weight in zip(
                self._blocks, statistics, self._top, self._weights, strict=True
            ):
                total += weight * (max(t - top, 0.0) + self._block_bits[bisect_left(row, t)])
            score = _rounded(total)
        if self._exact is None:
            p = (1 + m - bisect_left(self._normal, score)) / (m + 1)
        else:
            p = self._exact.p_value(statistics, score) if math.isfinite(score) else 0.0
        return score, p, p_values


def _rows(values: Tensor) -> list[memoryview]:
    """Every row as something `bisect` can read, without a copy."""
    return [memoryview(row) for row in values.contiguous().numpy()]


def _bits(n: int) -> list[float]:
    """``-2 log p`` after 0, 1, ... n of n normal scores that are smaller."""
    return (-2 * steps(n).log()).tolist()


def _rounded(value: float) -> float:
    """As ``Tensor.round(decimals=9)``."""
    scaled = value * 1e9
    return round(scaled) / 1e9 if math.isfinite(scaled) else scaled
