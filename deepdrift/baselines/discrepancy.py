"""Maximum mean discrepancy of two samples: unbiased, biased and linear-time estimates.

``MMD^2 = E k(X, X') + E k(Y, Y') - 2 E k(X, Y)`` is zero exactly when both distributions agree,
for the kernels offered here (Gretton, Borgwardt, Rasch, Schoelkopf and Smola, JMLR 13, 2012).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from deepdrift.baselines.kernels import Kernel, as_bandwidths, find_kernel, median_heuristic
from deepdrift.baselines.permutation import GroupSums, group_sums
from deepdrift.baselines.samples import as_sample

Bandwidth = float | Sequence[float] | None


def mmd2_unbiased(
    x: Any, y: Any, sigma: Bandwidth = None, kernel: str | Kernel = "gaussian"
) -> float:
    """Unbiased estimate of ``MMD^2``: mean 0 if both distributions agree, so often negative.

    ``sum_{i != j} k(x_i, x_j) / (n (n - 1)) + the same for y - 2 mean k(x_i, y_j)``
    (Gretton et al. 2012, Lemma 6).

    Parameters
    ----------
    x, y : Tensor or array, shapes (n, D) and (m, D), at least two samples each
        Any common offset is harmless: float64, centred.
    sigma : float or sequence of float, optional
        Bandwidth in the units of the features; the kernel is averaged over several. By default
        the `median_heuristic` of both samples pooled.
    kernel : str or callable
        ``"gaussian"``, ``"laplace"`` or ``"rational-quadratic"`` (`deepdrift.baselines.kernels`),
        or a function ``(squared distances, sigma) -> values``.

    Raises
    ------
    StateError
        For fewer than two samples, different widths, NaN or infinity.

    Examples
    --------
    With d^2 = 2 sigma^2 log 2 between the groups and 0 inside them: 1 + 1 - 2 / 2.

    >>> import math
    >>> a, b = [[0.0], [0.0]], [[math.sqrt(2 * math.log(2))]] * 2
    >>> round(mmd2_unbiased(a, b, sigma=1.0), 12)
    1.0
    """
    sums, _ = _sums_of_two(x, y, sigma, kernel, minimum=2)
    return float(sums.unbiased()[0, 0])


def mmd2_biased(
    x: Any, y: Any, sigma: Bandwidth = None, kernel: str | Kernel = "gaussian"
) -> float:
    """Squared distance of the two mean embeddings: never negative, but above 0 on average.

    As `mmd2_unbiased` with the pairs i = j kept and divisors n^2, m^2; one sample each is
    enough.

    Examples
    --------
    One sample each at that distance: 1 + 1 - 2 / 2.

    >>> import math
    >>> round(mmd2_biased([[0.0]], [[math.sqrt(2 * math.log(2))]], sigma=1.0), 12)
    1.0
    """
    sums, average = _sums_of_two(x, y, sigma, kernel, minimum=1)
    return float(sums.biased(average(torch.zeros(1, 1, dtype=torch.float64, device="cpu")))[0, 0])


def mmd2_linear(
    x: Any, y: Any, sigma: Bandwidth = None, kernel: str | Kernel = "gaussian"
) -> float:
    """Estimate of ``MMD^2`` in linear time: unbiased as well, with a far larger spread.

    The mean over disjoint pairs (1, 2), (3, 4), ... of ``k(x, x') + k(y, y') - k(x, y') -
    k(x', y)`` (Gretton et al. 2012, section 6). Samples beyond the shorter even length are not
    used, and the result depends on the order of the rows.

    Examples
    --------
    >>> import math
    >>> a, b = [[0.0], [0.0]], [[math.sqrt(2 * math.log(2))]] * 2
    >>> round(mmd2_linear(a, b, sigma=1.0), 12)
    1.0
    """
    x, y = _two_samples(x, y, minimum=2)
    average = averaged_kernel(
        kernel, as_bandwidths(sigma) or (median_heuristic(torch.cat([x, y])),)
    )
    pairs = min(len(x), len(y)) // 2
    x1, x2, y1, y2 = (s[i : 2 * pairs : 2] for s in (x, y) for i in (0, 1))

    def k(a: Tensor, b: Tensor) -> Tensor:
        return average((a - b).square().sum(dim=1))

    return float((k(x1, x2) + k(y1, y2) - k(x1, y2) - k(x2, y1)).mean())


def _two_samples(x: Any, y: Any, minimum: int) -> tuple[Tensor, Tensor]:
    x = as_sample(x, "x", minimum=minimum)
    return x, as_sample(y, "y", minimum=minimum, width=x.shape[1])


def averaged_kernel(kernel: str | Kernel, sigma: tuple[float, ...]) -> Callable[[Tensor], Tensor]:
    """Mean of a kernel over bandwidths, as a function of squared distances."""
    k = find_kernel(kernel)
    if len(sigma) == 1:
        return lambda squared: k(squared, sigma[0])
    return lambda squared: sum(k(squared, s) for s in sigma) / len(sigma)


def _sums_of_two(
    x: Any, y: Any, sigma: Bandwidth, kernel: str | Kernel, minimum: int
) -> tuple[GroupSums, Callable[[Tensor], Tensor]]:
    """Kernel sums of the one split that is given, and the kernel."""
    x, y = _two_samples(x, y, minimum)
    pooled = torch.cat([x, y])
    average = averaged_kernel(kernel, as_bandwidths(sigma) or (median_heuristic(pooled),))
    members = torch.zeros(len(pooled), 1, dtype=torch.bool, device="cpu")
    members[: len(x)] = True
    return group_sums(pooled, members, [average]), average
