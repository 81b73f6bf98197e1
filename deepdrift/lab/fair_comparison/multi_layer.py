"""A rival that no package offers: Gaussians per class in every layer, calibrated as ours.

It is what our own score would be with one block exchanged, and so tells how much of a lead is
innovation and how much is *many layers, calibrated*.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from deepdrift.evidence.fusion import Fusion
from deepdrift.monitor.stream import split_rows
from deepdrift.scores.distance import LayerDistance

__all__ = ["ClassGaussians", "MultiLayer"]


class ClassGaussians:
    """A Gaussian of its own for every class in every layer; the score is that of the nearest.

    ``min_c (z - m_c)^T C_c^-1 (z - m_c) + log det C_c``, a generative classifier per layer.

    Parameters
    ----------
    states : mapping of str to Tensor, each (n, D_l)
    labels : Tensor, shape (n,)

    Examples
    --------
    A narrow class at 0 and a wide one at 10: 5 is nearer to the wide one.

    >>> g = torch.Generator().manual_seed(0)
    >>> labels = torch.arange(4000) % 2
    >>> z = torch.randn(4000, 1, generator=g) * (0.1 + 4.9 * labels[:, None]) + 10 * labels[:, None]
    >>> far, near = ClassGaussians({"layer": z}, labels)({"layer": torch.tensor([[-5.0], [5.0]])})
    >>> bool(far > near)
    True
    """

    def __init__(self, states: Mapping[str, Tensor], labels: Tensor) -> None:
        self._parts = []
        for label in labels.unique():
            rows = labels == label
            part = LayerDistance().fit({name: z[rows] for name, z in states.items()})
            self._parts.append((part, torch.stack([_log_det(m.white) for m in part.maps()])))

    def __call__(self, states: Mapping[str, Tensor]) -> Tensor:
        """Score ``(N, L)``, float64."""
        return torch.stack([p.score(states) + log_det for p, log_det in self._parts]).amin(dim=0)


class MultiLayer:
    """A score per layer, calibrated layer by layer and combined by Fisher's sum, as ours are.

    Parameters
    ----------
    calibration : Tensor, shape (n, L)
        Scores of normal samples.
    """

    def __init__(self, calibration: Tensor) -> None:
        _, first, second = split_rows(len(calibration), 0.05, 2)
        self._fusion = Fusion({"layers": calibration[first]}, {"layers": calibration[second]})
        self.normal_scores = self._fusion.normal_scores

    def __call__(self, scores: Tensor) -> Tensor:
        """Combined score ``(N,)`` of scores per layer ``(N, L)``."""
        return self._fusion.score({"layers": scores})


def _log_det(white: Tensor) -> Tensor:
    """Log determinant of the covariance, from its triangular whitening of up to 320 rows."""
    return -2 * white.diagonal().double().log().sum()
