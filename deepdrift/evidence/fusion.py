"""From the scores of many layers to one score and one p-value per sample.

Three steps, each a comparison with normal data (two halves of a calibration set):

1. every layer: conformal p-value against the first half;
2. every block of layers: Fisher's ``-2 sum log p``, over all its layers or over those of the
   smallest p-values only (rank truncated product; Dudbridge and Koeleman, Genetic Epidemiology 25,
   2003), turned into a p-value on the second half, because layers are dependent and no textbook
   law of these sums holds;
3. the blocks: Fisher's statistic again, weighted (Good, Journal of the Royal Statistical Society
   B 17, 1955), judged on the second half.

A conformal p-value cannot be smaller than ``1 / (n + 1)``: a layer a million times out of range
would count as much as one just outside, and a single broken layer could hide among healthy ones.
So evidence goes on growing beyond the largest normal value. In step 1 it follows a power law, the
exponent estimated from the upper tenth of the first half (Hill, Annals of Statistics 3, 1975);
in step 3 it grows by what the statistic exceeds the largest normal one.

Given the first half, the final p-value of a new normal sample is valid at every level, whatever
the extrapolation is worth. The argument: treat the n calibration samples of the second half and
the new one alike. The evidence of each is ``-2 log(#{j : T_j >= T_i} / (n + 1))``, j over all
n + 1, plus the excess of T_i over the largest of the others. These n + 1 values are exchangeable,
so the rank of the new one is a valid p-value.

With several blocks and up to `EXACT_UP_TO` samples in the second half `Fusion.judge` runs this
exact test (`deepdrift.evidence.exchange`). `Fusion.normal_scores`, and with more samples the
p-values too, are those of calibration samples that do not see the new one. For each of them that
leaves out one sample from the count and from the maximum: their evidence can only come out larger,
and the p-value of the new sample only larger, than in the exact test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from deepdrift.errors import CalibrationError
from deepdrift.evidence.calibration import calibration_scores, steps
from deepdrift.evidence.exchange import EXACT_UP_TO, ExchangeableRanks
from deepdrift.evidence.single import SingleSample

Blocks = Mapping[str, Tensor]


class Fusion:
    """Combine blocks of per-layer scores, larger = more unusual, into one calibrated score.

    Parameters
    ----------
    first, second : mapping of str to Tensor
        Block name -> scores ``(n, K_block)`` of the two calibration halves, all finite.
    weights : mapping of str to float, optional
        How much a block counts; 1 where nothing is said.
    n_smallest : int, optional
        How many layers of a block speak: those with the most evidence, that is the smallest
        p-values. A block of fewer layers uses all. ``None``: all layers of every block. Few find
        what shows in one layer only, and healthy layers then do not outvote it; many find what
        shows a little everywhere.

    Raises
    ------
    CalibrationError
        If a half is empty or not finite, if the halves name different blocks, or if
        ``n_smallest`` is no whole number from 1 on.

    Examples
    --------
    One block of one layer: the p-value is the conformal p-value of that layer.

    >>> half = {"layer": torch.arange(1.0, 10.0)[:, None]}
    >>> fusion = Fusion(half, half)
    >>> fusion.p_values(fusion.score({"layer": torch.tensor([[0.0], [8.5], [99.0]])})).tolist()
    [1.0, 0.2, 0.1]

    Two layers: 8.5 has one normal score of nine above it, p = 2 / 10; 0 has all, p = 1. Then 5.5,
    p = 5 / 10, beside 8.5: two layers add up ``-2 log 0.2 - 2 log 0.5``, the smallest says no more.

    >>> half = {"layers": torch.arange(1.0, 10.0)[:, None].expand(9, 2)}
    >>> new = {"layers": torch.tensor([[8.5, 0.0], [8.5, 5.5]])}
    >>> Fusion(half, half).score(new).round(decimals=3).tolist()
    [3.219, 4.605]
    >>> Fusion(half, half, n_smallest=1).score(new).round(decimals=3).tolist()
    [3.219, 3.219]
    """

    def __init__(
        self,
        first: Blocks,
        second: Blocks,
        weights: Mapping[str, float] | None = None,
        n_smallest: int | None = None,
    ) -> None:
        if list(first) != list(second) or not first:
            raise CalibrationError(
                f"first, second: expected the same blocks, got {list(first)} and {list(second)}"
            )
        halves: tuple[list[Tensor], list[Tensor]] = ([], [])
        for name in first:
            mine = calibration_scores(first[name], f"first[{name!r}]")
            theirs = calibration_scores(second[name], f"second[{name!r}]")
            if mine.ndim != 2 or mine.shape[1:] != theirs.shape[1:]:
                raise CalibrationError(
                    f"first, second: expected shapes (n, K) of block {name!r}, got "
                    f"{tuple(mine.shape)} and {tuple(theirs.shape)}"
                )
            halves[0].append(mine), halves[1].append(theirs)
        sizes = [sorted({len(block) for block in half}) for half in halves]
        if sizes != [[len(half[0])] for half in halves]:
            raise CalibrationError(
                f"first, second: expected as many samples in every block, got {sizes[0]} in the "
                f"first half and {sizes[1]} in the second"
            )
        if n_smallest is not None and not (isinstance(n_smallest, int) and n_smallest >= 1):
            raise CalibrationError(
                f"n_smallest: expected a whole number of layers, 1 or more, or None for all, got "
                f"{n_smallest!r}"
            )
        widths = [block.shape[1] for block in halves[0]]
        self._n_smallest = None
        if n_smallest is not None and n_smallest < max(widths):
            self._n_smallest = int(n_smallest)
        ends = torch.tensor(widths, device="cpu").cumsum(0).tolist()
        self._columns = {
            name: slice(end - width, end)
            for name, end, width in zip(first, ends, widths, strict=True)
        }
        self._membership = torch.block_diag(
            *(torch.ones(width, 1, device="cpu") for width in widths)
        ).double()
        self._weights = torch.tensor(
            [(weights or {}).get(k, 1.0) for k in first], device="cpu"
        ).double()
        self._layers = torch.cat(halves[0], dim=1).T.contiguous().sort(dim=1).values  # (K, n)
        self._largest, self._exponent = _tail(self._layers.T)
        self._layer_steps = steps(self._layers.shape[1])
        # The second half: its own statistics, each left out where it judges itself.
        scores = torch.cat(halves[1], dim=1)
        statistics = self._statistics(scores, self._layer_p(scores, True), True)
        n = len(statistics)
        self._blocks = statistics.T.contiguous().sort(dim=1).values  # (B, n)
        self._block_steps = steps(n)
        self._top = (
            self._blocks[:, -1]
            if n > 1
            else torch.full((len(widths),), math.inf, device="cpu").double()
        )
        p = self._block_p(statistics, True) - 1 / (n + 1)  # counts itself once
        largest, next_one = self._blocks[:, -1], self._blocks[:, max(n - 2, 0)]
        rival = torch.where(statistics < largest, largest, next_one)
        normal = self._combine(statistics, p, (statistics - rival).clamp(min=0))
        self.scores_of_second = normal  # (n,), in the order of the samples
        self.normal_scores = normal.sort().values
        exact = len(widths) > 1 and n <= EXACT_UP_TO  # one block is ranked exactly anyway
        self._exact = ExchangeableRanks(statistics, self._weights) if exact else None
        self._prepare_single()

    def _prepare_single(self) -> None:
        self._single = SingleSample(
            self._layers,
            self._largest,
            self._exponent,
            [columns.stop for columns in self._columns.values()],
            self._blocks,
            self._weights,
            self.normal_scores,
            self._n_smallest,
            self._exact,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "_single"}  # it looks into the others

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._prepare_single()

    def layer_p_values(self, block: str, scores: Tensor) -> Tensor:
        """Conformal p-value ``(N, K)`` of every layer of a block."""
        return self._layer_p(scores.double(), False, self._columns[block])

    def score(self, blocks: Blocks, layer_p_values: Blocks | None = None) -> Tensor:
        """Combined score ``(N,)``; infinite for samples with a non-finite layer score.

        With one block it is the statistic of its layers, with several that of the blocks.

        Parameters
        ----------
        blocks : mapping of str to Tensor
            Block name -> scores ``(N, K_block)``.
        layer_p_values : mapping of str to Tensor, optional
            Their `layer_p_values`, where they are known already.
        """
        scores = torch.cat([blocks[name].double() for name in self._columns], dim=1)
        if layer_p_values is None:
            p = self._layer_p(scores, False)
        else:
            p = torch.cat([layer_p_values[name] for name in self._columns], dim=1)
        return self._score(self._statistics(scores, p, False), False)

    def contributions(self, blocks: Blocks) -> dict[str, Tensor]:
        """What every block adds to `score`, ``(N,)``: its weight times its evidence.

        Examples
        --------
        Two blocks of one layer, the second of double weight. 8.5 has one normal score of nine
        above it in each half: p = 0.2, twice.

        >>> half = {name: torch.arange(1.0, 10.0)[:, None] for name in "ab"}
        >>> fusion = Fusion(half, half, weights={"b": 2.0})
        >>> new = {name: torch.tensor([[8.5]]) for name in "ab"}
        >>> {k: round(v.item(), 3) for k, v in fusion.contributions(new).items()}
        {'a': 3.219, 'b': 6.438}
        >>> round(fusion.score(new).item(), 3)
        9.657
        """
        scores = torch.cat([blocks[name].double() for name in self._columns], dim=1)
        statistics = self._statistics(scores, self._layer_p(scores, False), False)
        if len(self._columns) == 1:
            return dict(zip(self._columns, statistics.T, strict=True))
        excess = (statistics - self._top).clamp(min=0)
        evidence = (excess - 2 * self._block_p(statistics, False).log()) * self._weights
        return dict(zip(self._columns, evidence.T, strict=True))

    def judge(self, scores: Tensor, finite: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """All at once: combined scores ``(N,)``, their p-values, and p-values ``(N, K)`` of layers.

        The p-values are exact with one block, and up to `EXACT_UP_TO` samples in the second half;
        with more they are `p_values` of the scores.

        Parameters
        ----------
        scores : Tensor, shape (N, K), float64
            The columns of all blocks, in their order.
        finite : bool
            Whether all are known to be finite: the same numbers, sooner.
        """
        if finite and len(scores) == 1:
            return self._judge_one(scores)
        layers = self._layer_p(scores, finite)
        statistics = self._statistics(scores, layers, finite)
        combined = self._score(statistics, finite)
        if self._exact is None:
            return combined, self.p_values(combined), layers
        return combined, self._exact.p_values(statistics, combined), layers

    def _judge_one(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`judge` for one sample, without an operation per step: they are all that costs then."""
        score, p, layers = self._single.judge(scores.tolist()[0])
        found = torch.tensor([[score, p, *layers]], dtype=torch.float64, device="cpu")
        score, p, layers = found.split_with_sizes((1, 1, len(layers)), 1)
        return score.squeeze(1), p.squeeze(1), layers

    def p_values(self, scores: Tensor) -> Tensor:
        """Conformal p-value ``(N,)`` of combined scores; 0 where a score is not finite.

        Valid from the scores alone, and never below the p-value of `judge`: equal to it with one
        block or more than `EXACT_UP_TO` samples, else on the safe side.
        """
        places = torch.searchsorted(self.normal_scores, scores.contiguous())
        return torch.where(scores.isfinite(), self._block_steps[places], 0.0)

    def layer_evidence(self, block: str, scores: Tensor, p_values: Tensor) -> Tensor:
        """``-2 log p`` ``(N, K)`` of every layer, following the power law beyond the largest."""
        return self._evidence(scores.double(), p_values, False, self._columns[block])

    def _layer_p(self, scores: Tensor, finite: bool, columns: slice = slice(None)) -> Tensor:
        places = torch.searchsorted(self._layers[columns], scores.T.contiguous())
        p = self._layer_steps[places].T
        return p if finite else torch.where(scores.isfinite(), p, 0.0)

    def _evidence(
        self, scores: Tensor, p: Tensor, finite: bool, columns: slice = slice(None)
    ) -> Tensor:
        ratio = (scores if finite else scores.nan_to_num(0.0, 0.0, 0.0)) / self._largest[columns]
        return -2 * p.log() + 2 * self._exponent[columns] * ratio.clamp(min=1).log()

    def _statistics(self, scores: Tensor, p: Tensor, finite: bool) -> Tensor:
        """Sum of the evidence of the layers that speak for each block, ``(N, B)``."""
        evidence = self._evidence(scores, p, finite)
        if finite and self._n_smallest is None:
            return _rounded(evidence @ self._membership)
        sums = [self._loudest(evidence[:, columns]) for columns in self._columns.values()]
        return _rounded(torch.stack(sums, dim=1))  # where zero times infinity is no number

    def _loudest(self, evidence: Tensor) -> Tensor:
        """Sum of the largest `n_smallest` of the layers of one block, ``(N,)``."""
        if self._n_smallest is not None and self._n_smallest < evidence.shape[1]:
            evidence = evidence.topk(self._n_smallest, dim=1).values
        return evidence.sum(dim=1)

    def _block_p(self, statistics: Tensor, finite: bool) -> Tensor:
        p = self._block_steps[torch.searchsorted(self._blocks, statistics.T.contiguous())].T
        return p if finite else torch.where(statistics.isfinite(), p, 0.0)

    def _score(self, statistics: Tensor, finite: bool) -> Tensor:
        if len(self._columns) == 1:
            return statistics[:, 0]
        excess = (statistics - self._top).clamp(min=0)
        return self._combine(statistics, self._block_p(statistics, finite), excess)

    def _combine(self, statistics: Tensor, p: Tensor, excess: Tensor) -> Tensor:
        """From statistic, p-value and excess ``(N, B)`` of the blocks."""
        if len(self._columns) == 1:
            return statistics[:, 0]
        return _rounded(((excess - 2 * p.log()) * self._weights).sum(dim=1))


def _tail(ordered: Tensor) -> tuple[Tensor, Tensor]:
    """Largest score and Hill's exponent, between 1 and 50, of every column ``(n, K)``.

    Where no score is positive there is no tail to go by: 1 and 1.
    """
    n = len(ordered)
    k = min(max(n // 10, 5), n)
    logs = ordered[n - k :].clamp(min=1e-300).log()
    exponent = (1 / (logs - logs[0]).mean(dim=0)).clamp(1.0, 50.0)
    positive = ordered[-1] > 0
    return torch.where(positive, ordered[-1], 1.0), torch.where(positive, exponent, 1.0)


def _rounded(statistic: Tensor) -> Tensor:
    """Without the last digits: they depend on the batch size and would undo ties."""
    return statistic.round(decimals=9)
