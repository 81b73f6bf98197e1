"""All permutations of a two-sample kernel test in one matrix product, and one decision rule.

Every statistic needs three sums of kernel values: inside the first group, inside the second,
across. With a 0/1 matrix ``W`` whose columns mark the first group of one split each, the inner
sums of all splits are the diagonal of ``W^T K W``. ``K`` is symmetric and is made in tiles, one at
a time: memory does not grow with the number of its entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deepdrift.baselines.kernels import squared_distances
from deepdrift.errors import CalibrationError
from deepdrift.evidence.calibration import required_samples

TILE = 256  # rows and columns of one piece of the kernel matrix: half a megabyte, fits a cache
TIE = 1e-12  # relative; statistics closer than that differ by rounding alone


@dataclass(frozen=True)
class GroupSums:
    """Sums of ``k(z_i, z_j)`` over pairs i != j for S kernels and B splits into n and m samples.

    ``inside``, ``outside``: both in the first or both in the second group, ordered pairs;
    ``across``: one in each, unordered. Shapes (S, B). ``mean``, ``square``: over all pairs, of k
    and of k^2, shape (S,).
    """

    n: int
    m: int
    inside: Tensor
    outside: Tensor
    across: Tensor
    mean: Tensor
    square: Tensor

    def unbiased(self) -> Tensor:
        """``MMD^2`` without the pairs i = j (Gretton et al. 2012, Lemma 6), shape (S, B)."""
        n, m = self.n, self.m
        own = self.inside / (n * (n - 1)) + self.outside / (m * (m - 1))
        return own - 2 * self.across / (n * m)

    def biased(self, diagonal: Tensor) -> Tensor:
        """``MMD^2`` with the pairs i = j; ``diagonal`` is k(z, z), shape (S, 1)."""
        n, m = self.n, self.m
        own = (self.inside + n * diagonal) / n**2 + (self.outside + m * diagonal) / m**2
        return own - 2 * self.across / (n * m)


def group_sums(
    pooled: Tensor, members: Tensor, kernels: Sequence[Callable[[Tensor], Tensor]]
) -> GroupSums:
    """Kernel sums of many splits of one pooled sample.

    Parameters
    ----------
    pooled : Tensor, shape (N, D), float64
        Both groups. Centred here, so that a common offset costs no digits.
    members : Tensor, shape (N, B), bool
        Column b marks the first group of split b; all columns mark equally many.
    kernels : sequence of S functions
        Squared distances to kernel values; they must not change their argument.

    Notes
    -----
    Cost O(N^2 (D + S B) / 2); memory O(N (D + S + B)) plus a few tiles.

    Examples
    --------
    The linear kernel on 0, 1 | 3 through ``-d^2 / 2``: inside once (0, 1) both ways.

    >>> z = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    >>> sums = group_sums(z, torch.tensor([[True], [True], [False]]), [lambda d: -d / 2])
    >>> sums.inside.round(decimals=12).item(), sums.across.round(decimals=12).item()
    (-1.0, -6.5)
    """
    size, columns = members.shape
    z = pooled - pooled.mean(dim=0)
    largest = float(z.square().sum(dim=1).max())
    inside = z.new_zeros(len(kernels), columns)
    rows = z.new_zeros(len(kernels), size)
    square = z.new_zeros(len(kernels))
    for a in range(0, size, TILE):
        here = slice(a, a + TILE)
        left = members[here].double()
        for b in range(a, size, TILE):
            there = slice(b, b + TILE)
            right = members[there].double()
            squared = squared_distances(z[here], z[there], largest)
            for s, kernel in enumerate(kernels):
                k = kernel(squared)
                if a == b:
                    k.fill_diagonal_(0)
                    twice = 1
                else:
                    rows[s, there] += k.sum(dim=0)
                    twice = 2  # the mirrored tile
                rows[s, here] += k.sum(dim=1)
                inside[s] += twice * (left * (k @ right)).sum(dim=0)
                square[s] += twice * k.flatten().dot(k.flatten())
    touching = sum(
        rows[:, a : a + TILE] @ members[a : a + TILE].double() for a in range(0, size, TILE)
    )
    total = rows.sum(dim=1)
    across = touching - inside
    n, pairs = int(members[:, 0].sum()), size * (size - 1)
    outside = total[:, None] - touching - across
    return GroupSums(n, size - n, inside, outside, across, total / pairs, square / pairs)


def random_splits(n: int, m: int, n_permutations: int, generator: torch.Generator) -> Tensor:
    """Columns that mark n of n + m rows: the first n, then random choices.

    Returns
    -------
    Tensor, shape (n + m, 1 + n_permutations), bool.
    """
    members = torch.zeros(n + m, 1 + n_permutations, dtype=torch.bool, device="cpu")
    members[:n, 0] = True
    for column in range(1, 1 + n_permutations):
        members[torch.randperm(n + m, generator=generator, device="cpu")[:n], column] = True
    return members


def check_permutations(n_permutations: int, alpha: float) -> None:
    """Refuse so few permutations that the test at level alpha could never reject.

    Raises
    ------
    CalibrationError
        If ``n_permutations < 1 / alpha - 1``, or alpha is no rate.
    """
    needed = required_samples(alpha)
    if int(n_permutations) != n_permutations or _allowed(n_permutations, alpha) < 1:
        raise CalibrationError(
            f"n_permutations: {n_permutations!r} permutations cannot give p <= {alpha:g}, the "
            f"smallest possible p is 1 / (n + 1); use at least {needed}"
        )


def _allowed(n_permutations: int, alpha: float) -> int:
    """Largest c with ``c / (n + 1) <= alpha``, as floats compare."""
    n = n_permutations + 1
    c = int(alpha * n)
    return c + 1 if (c + 1) / n <= alpha else c if c / n <= alpha else c - 1


def decide(values: Tensor, alpha: float, slack: float) -> tuple[float, float]:
    """p-value and threshold of a permutation test: two forms of one decision.

    ``p = (1 + #{b : T_b + slack >= T}) / (n + 1)`` (Phipson and Smyth 2010), and the smallest T
    that gives ``p <= alpha``: both inequalities hold for the same T, ties and rounding included.

    Parameters
    ----------
    values : Tensor, shape (1 + n,)
        Observed statistic, then its permuted values.
    alpha : float
    slack : float
        Differences up to this count as ties, which can only raise p.

    Examples
    --------
    The observed 9 beats 18 of 19, so two of the 20 are as large:

    >>> values = torch.cat([torch.tensor([9.0]), torch.arange(0.0, 9), torch.arange(0.0, 10)])
    >>> decide(values.double(), alpha=0.10, slack=0.0)[0]
    0.1
    """
    observed, null = values[0], values[1:] + slack
    n = len(null)
    p_value = (1 + int((null >= observed).sum())) / (n + 1)
    largest = null.sort(descending=True).values[_allowed(n, alpha) - 1]
    threshold = torch.nextafter(largest, torch.full_like(largest, torch.inf))
    return p_value, float(threshold)
