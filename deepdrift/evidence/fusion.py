"""From the scores of many layers to one score and one p-value per sample.

Three steps, each a comparison with normal data (two halves of a calibration set):

1. every layer: conformal p-value against the first half;
2. every block of layers: Fisher's ``-2 sum log p``, turned into a p-value on the second half,
   because layers are dependent and the textbook chi-squared law does not hold;
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
so the rank of the new one is a valid p-value. Here the calibration samples do not see the new
one. For each of them that leaves out one sample from the count and from the maximum: their
evidence can only come out larger, and the p-value of the new sample only larger, than in that
exact test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from deepdrift.errors import CalibrationError
from deepdrift.evidence.calibration import (
    calibration_scores,
    fisher_statistic,
    p_values_from_sorted,
)

Blocks = Mapping[str, Tensor]


class Fusion:
    """Combine blocks of per-layer scores, larger = more unusual, into one calibrated score.

    Parameters
    ----------
    first, second : mapping of str to Tensor
        Block name -> scores ``(n, K_block)`` of the two calibration halves, all finite.
    weights : mapping of str to float, optional
        How much a block counts; 1 where nothing is said.

    Raises
    ------
    CalibrationError
        If a half is empty or not finite, or if the halves name different blocks.

    Examples
    --------
    One block of one layer: the p-value is the conformal p-value of that layer.

    >>> half = {"layer": torch.arange(1.0, 10.0)[:, None]}
    >>> fusion = Fusion(half, half)
    >>> fusion.p_values(fusion.score({"layer": torch.tensor([[0.0], [8.5], [99.0]])})).tolist()
    [1.0, 0.2, 0.1]
    """

    def __init__(
        self, first: Blocks, second: Blocks, weights: Mapping[str, float] | None = None
    ) -> None:
        self._weights = dict(weights or {})
        if list(first) != list(second) or not first:
            raise CalibrationError(
                f"first, second: expected the same blocks, got {list(first)} and {list(second)}"
            )
        self._layers: dict[str, Tensor] = {}
        self._tails: dict[str, tuple[Tensor, Tensor]] = {}
        self._blocks: dict[str, Tensor] = {}
        evidence = {}
        for name in first:
            mine = calibration_scores(first[name], f"first[{name!r}]")
            theirs = calibration_scores(second[name], f"second[{name!r}]")
            if mine.ndim != 2 or mine.shape[1:] != theirs.shape[1:]:
                raise CalibrationError(
                    f"first, second: expected shapes (n, K) of block {name!r}, got "
                    f"{tuple(mine.shape)} and {tuple(theirs.shape)}"
                )
            self._layers[name] = mine.T.sort(dim=1).values.T  # column by column in memory
            self._tails[name] = _tail(self._layers[name])
            statistic = self._statistic(name, theirs, self.layer_p_values(name, theirs))
            ordered = self._blocks[name] = statistic.sort().values
            n = len(ordered)
            p = p_values_from_sorted(ordered, statistic) - 1 / (n + 1)  # counts itself once
            rival = torch.where(statistic < ordered[-1], ordered[-1], ordered[max(n - 2, 0)])
            evidence[name] = statistic, p, (statistic - rival).clamp(min=0)
        self.normal_scores = self._combine(evidence).sort().values

    def layer_p_values(self, block: str, scores: Tensor) -> Tensor:
        """Conformal p-value ``(N, K)`` of every layer of a block."""
        return p_values_from_sorted(self._layers[block], scores.double())

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
        evidence = {}
        for name, scores in blocks.items():
            known = layer_p_values is not None
            p = layer_p_values[name] if known else self.layer_p_values(name, scores)
            statistic, ordered = self._statistic(name, scores, p), self._blocks[name]
            largest = ordered[-1] if len(ordered) > 1 else math.inf
            excess = (statistic - largest).clamp(min=0)
            evidence[name] = statistic, p_values_from_sorted(ordered, statistic), excess
        return self._combine(evidence)

    def p_values(self, scores: Tensor) -> Tensor:
        """Conformal p-value ``(N,)`` of combined scores; 0 where a score is not finite."""
        return p_values_from_sorted(self.normal_scores, scores)

    def layer_evidence(self, block: str, scores: Tensor, p_values: Tensor) -> Tensor:
        """``-2 log p`` ``(N, K)`` of every layer, following the power law beyond the largest."""
        largest, exponent = self._tails[block]
        ratio = scores.double().nan_to_num(0.0, 0.0, 0.0) / largest
        return -2 * p_values.log() + 2 * exponent * ratio.clamp(min=1).log()

    def _statistic(self, block: str, scores: Tensor, p_values: Tensor) -> Tensor:
        """Sum of the evidence of the layers."""
        return _rounded(self.layer_evidence(block, scores, p_values).sum(dim=1))

    def _combine(self, evidence: dict[str, tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """From statistic, p-value and excess of every block."""
        if len(evidence) == 1:
            return next(iter(evidence.values()))[0]
        parts = (
            self._weights.get(name, 1.0) * (fisher_statistic(p[:, None]) + excess)
            for name, (_, p, excess) in evidence.items()
        )
        return _rounded(sum(parts))


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
