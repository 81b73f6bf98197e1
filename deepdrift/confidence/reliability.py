"""Is a stated confidence of 80 % right in 80 of 100 cases? Bins and their errors.

The confidence of a prediction is its largest probability. Bins are half open, ``(low, high]``, as
in Guo et al. 2017 (On Calibration of Modern Neural Networks, section 2); a confidence of exactly 1
belongs to the last one, and 0 to the first. A number in 32 bits is taken as it is: 0.6 is stored
as a little more than 0.6 there, and lies above an edge at 0.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deepdrift.confidence.checks import check_pair, check_whole

__all__ = [
    "Reliability",
    "adaptive_ece",
    "bin_index",
    "classwise_ece",
    "ece",
    "max_calibration_error",
    "reliability",
]


@dataclass(frozen=True, eq=False)
class Reliability:
    """What predictions of each confidence were worth.

    Attributes
    ----------
    edges : Tensor, shape (B + 1,)
        Borders of the bins, from 0 to 1 (``adaptive``: from the smallest to the largest).
    count : Tensor, shape (B,), int64
        Predictions in each bin.
    accuracy, confidence : Tensor, shape (B,), float64
        Share of right ones, and mean confidence; NaN in an empty bin.
    """

    edges: Tensor
    count: Tensor
    accuracy: Tensor
    confidence: Tensor

    @property
    def n(self) -> int:
        """Number of predictions."""
        return int(self.count.sum())

    @property
    def gaps(self) -> Tensor:
        """Confidence minus accuracy per bin, NaN in an empty one; positive: too sure."""
        return self.confidence - self.accuracy

    @property
    def ece(self) -> float:
        """Expected calibration error: mean of |gap|, weighted by count (Guo 2017, eq. 3)."""
        return float((self.gaps.abs().nan_to_num() * self.count).sum() / self.n)

    @property
    def mce(self) -> float:
        """Largest |gap| of a bin that is not empty (Guo 2017, eq. 5)."""
        return float(self.gaps.abs().nan_to_num().max())

    def __str__(self) -> str:
        over = float((self.gaps.nan_to_num() * self.count).sum() / self.n)
        whole = f"{abs(over):.3f} {'too sure' if over > 0 else 'too modest'}"
        if abs(over) < 0.0005:
            whole = "neither too sure nor too modest"
        filled = int((self.count > 0).sum())
        return (
            f"{self.n:,} predictions in {filled} of {len(self.count)} bins: ECE {self.ece:.3f}, "
            f"largest gap {self.mce:.3f}, on the whole {whole}."
        )


def _edges(n_bins: int) -> Tensor:
    """The fractions k / B, each rounded once; `torch.linspace` may miss the 0.7 that one types."""
    return torch.arange(n_bins + 1, dtype=torch.float64) / n_bins


def bin_index(values: Tensor, n_bins: int) -> Tensor:
    """Bin of each value among ``n_bins`` equal ones ``(low, high]`` over [0, 1]; 0 is in the first.

    Examples
    --------
    >>> bin_index(torch.tensor([0.0, 0.5, 0.51, 1.0]).double(), 2)
    tensor([0, 0, 1, 1])
    """
    return torch.bucketize(values.contiguous(), _edges(n_bins)[1:-1], right=False)


def _equal_mass(values: Tensor, n_bins: int) -> tuple[Tensor, Tensor]:
    """Bins of equal counts, up to one and to ties, which stay together; and their edges."""
    ordered = values.sort().values
    n = len(values)
    ends = torch.tensor([(k * n) // n_bins for k in range(1, n_bins)], dtype=torch.int64)
    inner = ordered[(ends - 1).clamp(min=0)]
    edges = torch.cat([ordered[:1], inner, ordered[-1:]])
    return torch.bucketize(values.contiguous(), inner, right=False), edges


def _binned(
    values: Tensor, hits: Tensor, n_bins: int, adaptive: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Edges, count, mean hit and mean value of each bin."""
    if adaptive:
        index, edges = _equal_mass(values, n_bins)
    else:
        index = bin_index(values, n_bins)
        edges = _edges(n_bins)
    count = torch.bincount(index, minlength=n_bins)
    mean = [torch.bincount(index, weights=w, minlength=n_bins) / count for w in (hits, values)]
    return edges, count, *mean


def reliability(
    probabilities: Any, labels: Any, n_bins: int = 15, *, adaptive: bool = False
) -> Reliability:
    """Sort predictions by confidence into bins, and compare with how many were right.

    Parameters
    ----------
    probabilities : array_like, shape (N, K)
        Rows sum to 1.
    labels : array_like, shape (N,)
        Right classes, 0 to K-1.
    n_bins : int
        Bins of equal width over [0, 1].
    adaptive : bool
        Bins of equal count instead (Nixon et al. 2019); equal confidences share a bin.

    Raises
    ------
    ConfidenceError
        For logits, NaN, rows that do not sum to 1, labels out of range, no predictions.

    Examples
    --------
    Two predictions with confidence 0.6, one right; two with 0.9, both right.

    >>> p = [[0.6, 0.4], [0.4, 0.6], [0.9, 0.1], [0.1, 0.9]]
    >>> found = reliability(p, [0, 0, 0, 1], n_bins=5)
    >>> found.count.tolist(), round(found.ece, 3), round(found.mce, 3)
    ([0, 0, 2, 0, 2], 0.1, 0.1)
    """
    p, y = check_pair(probabilities, labels)
    n_bins = check_whole("n_bins", n_bins, 1)
    top, guess = p.max(dim=1)
    return Reliability(*_binned(top, (guess == y).double(), n_bins, adaptive))


def ece(probabilities: Any, labels: Any, n_bins: int = 15) -> float:
    """Expected calibration error, 0 to 1: see :class:`Reliability` and :func:`reliability`.

    It is never 0 for a finite sample of a perfectly calibrated model: see `calibration_test`.

    Examples
    --------
    >>> round(ece([[0.6, 0.4], [0.4, 0.6]], [0, 0]), 3)  # says 0.6, is right in one of two
    0.1
    """
    return reliability(probabilities, labels, n_bins).ece


def adaptive_ece(probabilities: Any, labels: Any, n_bins: int = 15) -> float:
    """The same over bins of equal count (Nixon et al. 2019, Measuring Calibration, ACE for top 1).

    Equal confidences are not torn apart, so that the order of the predictions does not matter.
    With fewer predictions than bins each stands alone, and chance gives very much.

    Examples
    --------
    >>> p = [[0.6, 0.4], [0.7, 0.3], [0.8, 0.2], [0.9, 0.1]]
    >>> round(adaptive_ece(p, [0, 1, 0, 0], n_bins=2), 3)  # |0.65 - 0.5| and |0.85 - 1|
    0.15
    """
    return reliability(probabilities, labels, n_bins, adaptive=True).ece


def max_calibration_error(probabilities: Any, labels: Any, n_bins: int = 15) -> float:
    """Largest |confidence - accuracy| of a bin that holds predictions (Guo 2017, eq. 5).

    Examples
    --------
    >>> round(max_calibration_error([[0.6, 0.4], [0.1, 0.9]], [1, 1]), 3)
    0.6
    """
    return reliability(probabilities, labels, n_bins).mce


def classwise_ece(probabilities: Any, labels: Any, n_bins: int = 15) -> float:
    """Mean over classes of the error of that class's own probability.

    The classwise-ECE of Kull et al. 2019 (Beyond temperature scaling), called static calibration
    error by Nixon et al. 2019: ``1/K sum_k sum_b n_bk / n |share of class k - mean p_k|``. Every
    prediction counts for every class, so that a class which is never predicted counts too; with
    many classes most p_k are near 0, and so is the mean.

    Examples
    --------
    One prediction (0.75, 0.25), and class 0 is right: both columns are wrong by 0.25.

    >>> classwise_ece([[0.75, 0.25]], [0])
    0.25
    """
    p, y = check_pair(probabilities, labels)
    n_bins = check_whole("n_bins", n_bins, 1)
    errors = [
        Reliability(*_binned(p[:, k], (y == k).double(), n_bins, False)).ece
        for k in range(p.shape[1])
    ]
    return sum(errors) / len(errors)
