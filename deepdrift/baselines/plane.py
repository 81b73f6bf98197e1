"""Numerics of a plane through data: its directions, its rank, and ranks among known distances."""

from __future__ import annotations

import torch
from torch import Tensor

from deepdrift.errors import CalibrationError


def principal_directions(x: Tensor, origin: Tensor) -> tuple[Tensor, Tensor]:
    """Right singular vectors of ``x - origin`` and their singular values, largest first.

    Only values above rounding are kept. Tall data are reduced to a triangle first (QR), which
    loses no digits, unlike the covariance.

    Parameters
    ----------
    x : Tensor, shape (N, P), float64
    origin : Tensor, shape (P,)

    Returns
    -------
    directions : Tensor, shape (P, R), orthonormal; the largest entry of each column is positive
    sizes : Tensor, shape (R,), > 0

    Raises
    ------
    CalibrationError
        If all samples equal the origin.

    Examples
    --------
    >>> x = torch.tensor([[0.0, 3.0], [0.0, -3.0]], dtype=torch.float64)
    >>> directions, sizes = principal_directions(x, torch.zeros(2).double())
    >>> directions.T.round(decimals=9).tolist(), round(sizes.item() ** 2, 9)
    ([[0.0, 1.0]], 18.0)
    """
    n, width = x.shape
    centred = x - origin
    triangle = torch.linalg.qr(centred, mode="r").R if n > width else centred
    _, sizes, rows = torch.linalg.svd(triangle, full_matrices=False)
    # Rounding of the decomposition, and of numbers that share a large offset.
    rounding = max(n, width) * sizes[0] + 4 * n**0.5 * origin.norm()
    spanned = int((sizes > torch.finfo(x.dtype).eps * rounding).sum())
    if spanned == 0:
        raise CalibrationError("x: the samples are all equal, they span no plane")
    directions = rows[:spanned].T
    largest = directions.abs().argmax(dim=0)
    signs = directions[largest, torch.arange(spanned, device="cpu")].sign()
    return directions * signs, sizes[:spanned]


def choose_rank(shares: Tensor, wanted: float | int) -> int:
    """Smallest rank whose cumulative share reaches ``wanted``; an integer is the rank itself.

    Raises
    ------
    CalibrationError
        If the data span fewer directions than that.

    Examples
    --------
    >>> shares = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    >>> choose_rank(shares, 0.7), choose_rank(shares, 0.71), choose_rank(shares, 1.0)
    (1, 2, 3)
    """
    if isinstance(wanted, int):
        if wanted > len(shares):
            raise CalibrationError(
                f"explained_variance_threshold: rank {wanted} asked for, but the samples span "
                f"{len(shares)} directions; ask for at most {len(shares)}, or give more varied "
                "samples"
            )
        return wanted
    short = shares.cumsum(dim=0) < wanted - 1e-12  # rounding of the sum
    return min(int(short.sum()) + 1, len(shares))


def percentile_levels(ordered: Tensor, distances: Tensor, n_percentiles: int) -> Tensor:
    """Highest of ``n_percentiles`` equally spaced levels whose percentile a distance reaches.

    Parameters
    ----------
    ordered : Tensor, shape (n,), sorted
        Known distances; percentiles interpolate linearly between them.
    distances : Tensor, shape (m,), not NaN
    n_percentiles : int, >= 2

    Returns
    -------
    Tensor, shape (m,), in [0, 1]
        1 at and beyond the largest known distance. Cost: O((n_percentiles + m) log).

    Examples
    --------
    >>> known = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    >>> percentile_levels(known, torch.tensor([0.0, 1.9, 2.0, 9.0]), n_percentiles=5).tolist()
    [0.0, 0.25, 0.5, 1.0]
    """
    levels = torch.linspace(0, 1, n_percentiles, dtype=torch.float64, device="cpu")
    at = levels * (len(ordered) - 1)
    below = at.floor().long()
    above = (below + 1).clamp(max=len(ordered) - 1)
    ordered = ordered.double()
    percentiles = torch.lerp(ordered[below], ordered[above], at - below)
    index = torch.searchsorted(percentiles, distances.double().contiguous(), right=True) - 1
    return torch.where(index < 0, 0.0, levels[index.clamp(min=0)])
