"""From the scores of many layers to one score and one p-value per sample.

Three steps, each a comparison with normal data (two halves of a calibration set):

1. every layer: conformal p-value against the first half;
2. every block of layers: Fisher's ``-2 sum log p``, turned into a p-value on the second half,
   because layers are dependent and the textbook chi-squared law does not hold;
3. the blocks: Fisher's statistic again, judged on the second half.

Given the first half, the final p-value of a new normal sample is valid at every level. The
argument: let the p-value of a calibration sample in step 2 count itself but not the new one
(``#{j : T_j >= T_i} / (n + 1)``). It is at most what it would be with the new one added to the
set, in which all n + 1 samples are exchangeable; so calibration statistics can only come out
larger, and the new p-value only larger, than in that exact test.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from deepdrift.calibration import (
    calibration_scores,
    fisher_statistic,
    p_values_from_sorted,
)
from deepdrift.errors import CalibrationError

Blocks = Mapping[str, Tensor]


class Fusion:
    """Combine blocks of per-layer scores, larger = more unusual, into one calibrated score.

    Parameters
    ----------
    first, second : mapping of str to Tensor
        Block name -> scores ``(n, K_block)`` of the two calibration halves, all finite.

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

    def __init__(self, first: Blocks, second: Blocks) -> None:
        if list(first) != list(second) or not first:
            raise CalibrationError(
                f"first, second: expected the same blocks, got {list(first)} and {list(second)}"
            )
        self._layers: dict[str, Tensor] = {}
        self._blocks: dict[str, Tensor] = {}
        evidence = []
        for name, scores in first.items():
            mine = calibration_scores(scores, f"first[{name!r}]")
            theirs = calibration_scores(second[name], f"second[{name!r}]")
            if mine.ndim != 2 or mine.shape[1:] != theirs.shape[1:]:
                raise CalibrationError(
                    f"first, second: expected shapes (n, K) of block {name!r}, got "
                    f"{tuple(mine.shape)} and {tuple(theirs.shape)}"
                )
            self._layers[name] = mine.T.sort(dim=1).values.T  # column by column in memory
            statistic = _statistic(self.layer_p_values(name, theirs))
            self._blocks[name] = statistic.sort().values
            own = p_values_from_sorted(self._blocks[name], statistic)
            evidence.append((own - 1 / (len(own) + 1), statistic))
        self.normal_scores = self._combine(evidence).sort().values

    def layer_p_values(self, block: str, scores: Tensor) -> Tensor:
        """Conformal p-value ``(N, K)`` of every layer of a block."""
        return p_values_from_sorted(self._layers[block], scores.double())

    def score(self, blocks: Blocks) -> Tensor:
        """Combined score ``(N,)``; infinite for samples with a non-finite layer score.

        With one block it is Fisher's statistic of its layers, with several that of the blocks.
        """
        return self.combine({k: self.layer_p_values(k, v) for k, v in blocks.items()})

    def combine(self, layer_p_values: Blocks) -> Tensor:
        """`score` for scores already turned into `layer_p_values`."""
        evidence = []
        for name, p_values in layer_p_values.items():
            statistic = _statistic(p_values)
            evidence.append((p_values_from_sorted(self._blocks[name], statistic), statistic))
        return self._combine(evidence)

    def p_values(self, scores: Tensor) -> Tensor:
        """Conformal p-value ``(N,)`` of combined scores; 0 where a score is not finite."""
        return p_values_from_sorted(self.normal_scores, scores)

    @staticmethod
    def _combine(evidence: list[tuple[Tensor, Tensor]]) -> Tensor:
        if len(evidence) == 1:
            return evidence[0][1]
        return _statistic(torch.stack([p for p, _ in evidence], dim=1))


def _statistic(p_values: Tensor) -> Tensor:
    """Fisher's, without the last digits: they depend on the batch size and would undo ties."""
    return fisher_statistic(p_values).round(decimals=9)
