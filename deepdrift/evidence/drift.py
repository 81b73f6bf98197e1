"""Drift: the evidence of every layer on one scale, standard normal while all is well.

A *drift* of 3 means as unusual as three standard deviations of a normal distribution, in every
layer and for every batch size. That is what an alarm state machine and a diagnosis need.

1. Evidence of a layer: ``-2 log p`` of its distance plus that of the innovation of the step into
   it (`deepdrift.evidence.fusion`), tails included.
2. Its rank among the normal samples of the second calibration half, as a normal score
   ``z = Phi^-1((1 + 2 #{T_i < T} + #{T_i = T}) / (2 (n + 1)))``; beyond the largest of them the
   tail probability is ``exp(-excess / 4) / (n + 1)``, the law of two fully dependent p-values.
3. A batch of N: ``mean(z) sqrt(N / (1 + N / n))`` (Stouffer 1949). ``1 + N / n`` pays for the
   calibration set being finite: with n samples no batch can be known better than that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from deepdrift.evidence.fusion import Blocks, Fusion

_SMALLEST_LOG_P = -600.0  # a drift of about 34.6; nothing more unusual is worth a number


class NormalScore:
    """Normal scores of a statistic that is calibrated on normal samples, column by column.

    Parameters
    ----------
    normal : Tensor, shape (n, K)
        Statistic of normal samples, finite.
    decay : float
        The tail probability beyond the largest is ``exp(-decay * excess) / (n + 1)``.

    Examples
    --------
    >>> score = NormalScore(torch.arange(99.0)[:, None], decay=0.5)
    >>> score(torch.tensor([[73.0], [98.0]])).round(decimals=2).flatten().tolist()
    [0.64, 2.33]
    """

    def __init__(self, normal: Tensor, decay: float) -> None:
        self._ordered = normal.double().sort(dim=0).values.T.contiguous()
        self._decay = decay

    def __call__(self, statistic: Tensor) -> Tensor:
        """Normal scores, shape ``(N, K)``, float64; infinite where the statistic is not finite."""
        n = self._ordered.shape[1]
        queries = statistic.double().T.contiguous()
        below = torch.searchsorted(self._ordered, queries).double()
        up_to = torch.searchsorted(self._ordered, queries, right=True).double()
        upper = 1 - (1 + below + up_to) / (2 * (n + 1))
        upper = torch.where(below == n, 1 / (n + 1), upper)  # continues where the largest ends
        excess = (queries - self._ordered[:, -1:]).nan_to_num(0.0).clamp(min=0)
        z = _normal_quantile_from_log_tail(upper.log() - self._decay * excess)
        return torch.where(queries.isfinite(), z, math.inf).T


def _normal_quantile_from_log_tail(log_p: Tensor) -> Tensor:
    """The z with ``log P(Z > z) = log_p``; Newton steps on the asymptotic start for small p."""
    log_p = log_p.clamp(min=_SMALLEST_LOG_P)
    direct = -torch.special.ndtri(log_p.exp())
    z = (-2 * log_p).clamp(min=1.0).sqrt()
    for _ in range(6):
        log_tail = torch.special.log_ndtr(-z)
        hazard = torch.exp(-0.5 * z.square() - 0.5 * math.log(2 * math.pi) - log_tail)
        z = z + (log_tail - log_p) / hazard
    return torch.where(log_p > -30, direct, z)


class Drift:
    """Drift per layer and of the fused score, from the per-layer scores of a calibrated fusion.

    Parameters
    ----------
    fusion : Fusion
    second : mapping of str to Tensor
        Scores of the second calibration half, as given to the fusion.
    n_layers : int
        Watched layers L.
    targets : sequence of int, optional
        Layer that each step leads into; by default 1 to L - 1.
    """

    def __init__(
        self,
        fusion: Fusion,
        second: Blocks,
        n_layers: int,
        targets: Sequence[int] | None = None,
    ) -> None:
        self._targets = list(range(1, n_layers) if targets is None else targets)
        self._fusion, self._n_layers = fusion, n_layers
        self.n_samples = len(fusion.normal_scores)
        evidence = self._evidence(second)
        self._layers = NormalScore(evidence, decay=0.25)
        self._fused = NormalScore(fusion.normal_scores[:, None], decay=0.25)

    def per_sample(self, blocks: Blocks) -> tuple[Tensor, Tensor]:
        """Drift of every sample: layers ``(N, L)`` and fused ``(N,)``."""
        fused = self._fused(self._fusion.score(blocks)[:, None])[:, 0]
        return self._layers(self._evidence(blocks)), fused

    def of_batch(self, z: Tensor) -> Tensor:
        """One number from the drifts of N samples, along the first axis."""
        n = len(z)
        return z.mean(dim=0) * math.sqrt(n / (1 + n / self.n_samples))

    def _evidence(self, blocks: Blocks) -> Tensor:
        total = torch.zeros(
            len(next(iter(blocks.values()))), self._n_layers, dtype=torch.float64, device="cpu"
        )
        for name, scores in blocks.items():
            if name not in ("innovation", "distance"):  # count in the fused score alone
                continue
            p = self._fusion.layer_p_values(name, scores)
            part = self._fusion.layer_evidence(name, scores, p)
            total[:, self._targets if name == "innovation" else slice(None)] += part
        return total
