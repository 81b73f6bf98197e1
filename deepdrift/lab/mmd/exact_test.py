"""The permutation test with every split instead of random ones: for samples of a few numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from deepdrift.baselines.discrepancy import mmd2_unbiased
from deepdrift.errors import StateError

__all__ = ["exact_p_value", "splits", "values_of_all_splits"]

_MOST = 1000  # splits: beyond that, draw some of them at random (MMDDrift)
_TIE = 1e-12


def splits(n: int, m: int) -> list[tuple[int, ...]]:
    """Positions of the first group in every way to divide n + m values; the true one comes first.

    Examples
    --------
    >>> splits(1, 2)
    [(0,), (1,), (2,)]
    """
    return list(itertools.combinations(range(n + m), n))


def values_of_all_splits(
    x: Sequence[float], y: Sequence[float], sigma: float = 1.0
) -> NDArray[np.float64]:
    """Unbiased MMD^2 of every way to divide the numbers into groups of the same two sizes.

    Parameters
    ----------
    x, y : sequences of n and m numbers, n >= 2 and m >= 2
    sigma : float
        Bandwidth of the Gaussian kernel.

    Returns
    -------
    ndarray, shape (K,)
        K is "n + m choose n"; the groups as given come first.

    Raises
    ------
    StateError
        For more than 1,000 splits, or numbers that `deepdrift.mmd2_unbiased` refuses.

    Examples
    --------
    Two pairs of equal numbers, d^2 = 2 log 2: 1 + 1 - 2 / 2 as given, and for the mirror image.
    Mixed groups have 1/2 + 1/2 - (1 + 1 + 1/2 + 1/2) / 2.

    >>> values_of_all_splits([0, 0], [math.sqrt(2 * math.log(2))] * 2).round(9).tolist()
    [1.0, -0.5, -0.5, -0.5, -0.5, 1.0]
    """
    pooled = torch.tensor([*x, *y], dtype=torch.float64)[:, None]
    count = math.comb(len(pooled), len(x))
    if count > _MOST:
        raise StateError(f"x, y: {count:,} splits are too many to go through; use MMDDrift")
    values = []
    for members in splits(len(x), len(y)):
        first = torch.zeros(len(pooled), dtype=torch.bool)
        first[list(members)] = True
        values.append(mmd2_unbiased(pooled[first], pooled[~first], sigma=sigma))
    return np.array(values)


def exact_p_value(x: Sequence[float], y: Sequence[float], sigma: float = 1.0) -> float:
    """Share of all splits whose MMD^2 is at least that of the groups as given.

    Never 0, for the given split is one of them. Parameters and errors as for
    `values_of_all_splits`.

    Examples
    --------
    Only the groups as given and their mirror image reach it, two of six.

    >>> round(exact_p_value([0, 0], [9, 9]), 9)
    0.333333333
    """
    values = values_of_all_splits(x, y, sigma)
    return float(np.mean(values >= values[0] - _TIE))
