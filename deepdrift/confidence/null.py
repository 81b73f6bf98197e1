"""What a perfectly calibrated model would show: the null of the calibration error.

With n predictions no bin's accuracy equals its confidence exactly, so ECE is positive for a model
whose every confidence is true. Its distribution follows by drawing each hit from the confidence
that was stated: consistency resampling (Broecker and Smith 2007; Vaicenavicius et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.confidence.checks import check_pair, check_probabilities, check_share, check_whole
from deepdrift.confidence.reliability import bin_index, reliability

__all__ = ["CalibrationTest", "calibration_test", "ece_null", "reliability_band"]

BLOCK = 2**21  # hits drawn at a time


@dataclass(frozen=True)
class CalibrationTest:
    """An ECE beside what a perfectly calibrated model of this size would show.

    Attributes
    ----------
    ece : float
        Of the predictions.
    null_mean, null_high : float
        Mean and 95 % quantile of the ECE if every stated confidence were true.
    p_value : float
        Probability of an ECE this large, or larger, from a calibrated model.
    n, n_bins : int
        Predictions and bins.
    """

    ece: float
    null_mean: float
    null_high: float
    p_value: float
    n: int
    n_bins: int

    def __str__(self) -> str:
        return (
            f"ECE {self.ece:.3f} with n = {self.n:,}; a calibrated model: mean "
            f"{self.null_mean:.3f}, 95 % below {self.null_high:.3f}; p = {self.p_value:.3f}."
        )


def _bins_of_hits(top: Tensor, n_bins: int, n_simulations: int, seed: int) -> tuple[Tensor, Tensor]:
    """Hits ``(n_simulations, B)`` in each bin of a calibrated model, and the counts ``(B,)``."""
    index = bin_index(top, n_bins)
    count = torch.bincount(index, minlength=n_bins)
    order = index.argsort(stable=True)
    ends = count.cumsum(0)
    generator = np.random.default_rng(check_whole("seed", seed, 0))
    values = top[order].numpy()
    hits = torch.empty(n_simulations, n_bins, dtype=torch.float64)
    step = max(1, BLOCK // len(values))
    for start in range(0, n_simulations, step):
        size = min(step, n_simulations - start)
        drawn = generator.random((size, len(values))) < values
        sums = np.zeros((size, len(values) + 1), dtype=np.int32)
        np.cumsum(drawn, axis=1, out=sums[:, 1:])
        at_ends = sums[:, torch.cat([torch.zeros(1, dtype=torch.int64), ends]).numpy()]
        hits[start : start + size] = torch.from_numpy(np.diff(at_ends, axis=1).astype(np.float64))
    return hits, count


def ece_null(
    probabilities: Any, n_bins: int = 15, *, n_simulations: int = 1000, seed: int = 0
) -> Tensor:
    """ECE of these predictions if the model were perfectly calibrated, many times.

    Parameters
    ----------
    probabilities : array_like, shape (N, K)
        Only the confidence of each row, its largest probability, is used.
    n_bins : int
        As in `reliability`.
    n_simulations : int
        Draws of all N hits; about 30 MB, or 14 bytes per prediction, time O(N n_simulations).
    seed : int
        The same gives the same draws.

    Returns
    -------
    Tensor, shape (n_simulations,), float64

    Examples
    --------
    A model that is sure and right has nothing left to chance.

    >>> ece_null([[1.0, 0.0]], n_simulations=3)
    tensor([0., 0., 0.], dtype=torch.float64)
    """
    top = check_probabilities(probabilities).amax(dim=1)
    n_bins = check_whole("n_bins", n_bins, 1)
    n_simulations = check_whole("n_simulations", n_simulations, 1)
    hits, _ = _bins_of_hits(top, n_bins, n_simulations, seed)
    sums = torch.bincount(bin_index(top, n_bins), weights=top, minlength=n_bins)
    return (sums - hits).abs().sum(dim=1) / len(top)


def calibration_test(
    probabilities: Any,
    labels: Any,
    n_bins: int = 15,
    *,
    n_simulations: int = 1000,
    seed: int = 0,
) -> CalibrationTest:
    """Is this ECE larger than chance allows?

    The p-value is ``(1 + number of simulated ECE >= the observed) / (n_simulations + 1)``; for a
    calibrated model it is at most alpha in a share alpha of cases.

    Parameters
    ----------
    probabilities, labels, n_bins
        As in `reliability`.
    n_simulations, seed
        As in `ece_null`.

    Examples
    --------
    Says 0.9 and is always wrong.

    >>> found = calibration_test([[0.9, 0.1]] * 20, [1] * 20, n_simulations=99)
    >>> round(found.ece, 3), found.p_value
    (0.9, 0.01)
    """
    p, y = check_pair(probabilities, labels)
    null = ece_null(p, n_bins, n_simulations=n_simulations, seed=seed)
    observed = reliability(p, y, n_bins).ece
    reached = int((null >= observed - 1e-12).sum())
    return CalibrationTest(
        observed,
        float(null.mean()),
        float(null.quantile(0.95)),
        (1 + reached) / (n_simulations + 1),
        len(p),
        n_bins,
    )


def reliability_band(
    probabilities: Any,
    n_bins: int = 15,
    *,
    coverage: float = 0.95,
    n_simulations: int = 1000,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Where a calibrated model's accuracy lies in each bin: lower and upper end, ``(B,)`` each.

    The band holds for each bin by itself; among 15 bins one is outside now and then. Empty bins
    are NaN.

    Examples
    --------
    >>> low, high = reliability_band([[0.5, 0.5]] * 100, n_bins=2)
    >>> 0.38 < float(low[0]) < 0.42, 0.58 < float(high[0]) < 0.62, bool(low[1].isnan())
    (True, True, True)
    """
    tail = (1 - check_share("coverage", coverage)) / 2
    top = check_probabilities(probabilities).amax(dim=1)
    n_bins = check_whole("n_bins", n_bins, 1)
    n_simulations = check_whole("n_simulations", n_simulations, 1)
    hits, count = _bins_of_hits(top, n_bins, n_simulations, seed)
    ends = (hits / count).nanquantile(torch.tensor([tail, 1 - tail], dtype=torch.float64), dim=0)
    return ends[0], ends[1]
