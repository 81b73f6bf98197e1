"""How alike two maps are, image by image: overlap of their tops, correlations, structure."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from deepdrift.attribution.result import Attribution, AttributionError, is_constant
from deepdrift.errors import require

Maps = Tensor | Attribution
_WINDOW = 7  # pixels along the side of the windows of SSIM


def read_maps(maps: Maps, name: str = "maps") -> Tensor:
    """Checked maps (N, H, W) in float64.

    Raises
    ------
    AttributionError
        ``embedding_axis`` for one row of numbers per image, as captum's Grad-CAM returns it for
        tokens; ``not_finite``; ``input`` for another form and for negative values.
    """
    given: Any = maps.maps if isinstance(maps, Attribution) else maps
    values = torch.as_tensor(given).detach()
    if values.ndim == 4 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 or (values.ndim == 3 and 1 in values.shape[1:] and values[0].numel() > 1):
        raise AttributionError(
            f"{name}: expected maps (N, H, W), got shape {tuple(torch.as_tensor(given).shape)}: "
            "one row of numbers per image, which are no places; captum's Grad-CAM returns such "
            "rows for tokens, where they are embedding dimensions: use grad_cam(model, images, "
            "layer=...)",
            "embedding_axis",
        )
    if values.ndim != 3 or 0 in values.shape:
        raise AttributionError(f"{name}: expected maps (N, H, W), got shape {tuple(values.shape)}")
    values = values.double()
    if not values.isfinite().all():
        raise AttributionError(f"{name}: has NaN or infinite values", "not_finite")
    if (values < 0).any():
        raise AttributionError(
            f"{name}: has negative values, and larger must mean that a pixel counts more; take "
            ".abs(), or .clamp(min=0) for evidence in favour only"
        )
    return values


def _pair(a: Maps, b: Maps) -> tuple[Tensor, Tensor, Tensor]:
    """Both, and which pairs have an answer: none where a map is empty or constant."""
    first, second = read_maps(a, "a"), read_maps(b, "b")
    if first.shape != second.shape:
        raise AttributionError(
            f"a, b: expected maps of one shape, got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    return first, second.to(first.device), ~(is_constant(first) | is_constant(second.to(first)))


def _top(n_pixels: int, q: float) -> int:
    if not 0 < q <= 1:
        raise AttributionError(f"q: expected a share of the pixels in (0, 1], got {q!r}")
    return max(1, round(q * n_pixels))


def top_iou(a: Maps, b: Maps, q: float = 0.2) -> Tensor:
    """Overlap of the most important pixels: intersection over union of the top ``q`` of each map.

    Parameters
    ----------
    a, b : Tensor or Attribution, shape (N, H, W)
        Not negative.
    q : float
        Share of the pixels, k = round(q H W) of them. Pixels that tie for the last places share
        them; a pixel that is zero is never at the top, so a map with fewer than k others has
        fewer.

    Returns
    -------
    Tensor, shape (N,), float64
        In [0, 1]; NaN where a map is empty or constant. By chance: `chance_iou`, or less where
        few pixels are above zero.

    Raises
    ------
    AttributionError
        ``input``, ``embedding_axis`` or ``not_finite``.

    Examples
    --------
    The top two of four pixels have one in common: 1 of 3.

    >>> a = torch.tensor([[[4.0, 3.0], [2.0, 1.0]]])
    >>> b = torch.tensor([[[4.0, 1.0], [2.0, 0.0]]])
    >>> top_iou(a, b, q=0.5)
    tensor([0.3333], dtype=torch.float64)
    """
    first, second, answered = _pair(a, b)
    k = _top(first[0].numel(), q)
    one, two = _members(first.flatten(1), k), _members(second.flatten(1), k)
    both = torch.minimum(one, two).sum(dim=1)
    either = torch.maximum(one, two).sum(dim=1)
    return torch.where(answered, both / either, math.nan)


def _members(flat: Tensor, k: int) -> Tensor:
    """1 for pixels at the top, a share for those that tie for its last places."""
    last = flat.topk(k, dim=1).values[:, -1:]
    above = flat > last
    ties = (flat == last) & (flat > 0)
    free = k - above.sum(dim=1, keepdim=True)
    return above.double() + ties.double() * free / ties.sum(dim=1, keepdim=True).clamp(min=1)


def chance_iou(n_pixels: int, q: float = 0.2) -> float:
    """Expected `top_iou` of two maps that have nothing to do with each other.

    Exact: the intersection X of two random sets of k of n pixels is hypergeometric, and the
    overlap is the mean of ``X / (2k - X)``. For many pixels it tends to ``q / (2 - q)``.

    Parameters
    ----------
    n_pixels : int
    q : float

    Examples
    --------
    One of two pixels: they are the same with probability 1/2. Then 28 x 28 pixels, and a million.

    >>> round(chance_iou(2, 0.5), 3), round(chance_iou(784), 3), round(chance_iou(10**6), 3)
    (0.5, 0.112, 0.111)
    """
    from scipy.stats import hypergeom

    if not isinstance(n_pixels, int) or isinstance(n_pixels, bool) or n_pixels < 1:
        raise AttributionError(f"n_pixels: expected an int >= 1, got {n_pixels!r}")
    k = _top(n_pixels, q)
    common = torch.arange(max(0, 2 * k - n_pixels), k + 1, dtype=torch.float64)
    weights = torch.as_tensor(hypergeom.pmf(common.numpy(), n_pixels, k, k))
    return float((weights * common / (2 * k - common)).sum())


def pearson(a: Maps, b: Maps) -> Tensor:
    """Correlation of the pixels of two maps.

    Parameters
    ----------
    a, b : Tensor or Attribution, shape (N, H, W)

    Returns
    -------
    Tensor, shape (N,), float64
        In [-1, 1]; NaN where a map is empty or constant.

    Examples
    --------
    >>> a = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    >>> round(pearson(a, 2 * a + 1).item(), 6)
    1.0
    """
    first, second, answered = _pair(a, b)
    return torch.where(answered, _correlation(first.flatten(1), second.flatten(1)), math.nan)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = (x - x.mean(dim=1, keepdim=True) for x in (a, b))
    a, b = (x / x.norm(dim=1, keepdim=True) for x in (a, b))
    return (a * b).sum(dim=1).clamp(-1, 1)


def spearman(a: Maps, b: Maps) -> Tensor:
    """Correlation of the ranks of the pixels of two maps; ties have their mean rank.

    Parameters
    ----------
    a, b : Tensor or Attribution, shape (N, H, W)

    Returns
    -------
    Tensor, shape (N,), float64
        In [-1, 1]; NaN where a map is empty or constant.

    Examples
    --------
    >>> a = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    >>> round(spearman(a, 1 / a).item(), 6)
    -1.0
    """
    first, second, answered = _pair(a, b)
    ranks = _midranks(first.flatten(1)), _midranks(second.flatten(1))
    return torch.where(answered, _correlation(*ranks), math.nan)


def _midranks(flat: Tensor) -> Tensor:
    ordered = flat.sort(dim=1).values
    below = torch.searchsorted(ordered, flat, right=False)
    upto = torch.searchsorted(ordered, flat, right=True)
    return (below + upto + 1).double() / 2


def ssim(a: Maps, b: Maps) -> Tensor:
    """Structural similarity of two maps, each scaled to a maximum of 1.

    Wang et al. (2004) in windows of 7 x 7 pixels, by scikit-image.

    Parameters
    ----------
    a, b : Tensor or Attribution, shape (N, H, W)
        H and W at least 7.

    Returns
    -------
    Tensor, shape (N,), float64
        In [-1, 1], 1 for maps that are alike up to their scale; NaN where a map is empty or
        constant.

    Raises
    ------
    MissingExtraError
        Without scikit-image.

    Examples
    --------
    >>> a = torch.arange(64.0).view(1, 8, 8)
    >>> round(ssim(a, 3 * a).item(), 6)
    1.0
    """
    metrics = require("skimage.metrics", "explain")
    first, second, answered = _pair(a, b)
    if min(first.shape[1:]) < _WINDOW:
        raise AttributionError(
            f"a, b: SSIM looks at windows of {_WINDOW} x {_WINDOW} pixels, got maps of "
            f"{tuple(first.shape[1:])}; use maps at the images' resolution"
        )
    found = torch.full((len(first),), math.nan, dtype=torch.float64)
    for i in answered.nonzero().flatten().tolist():
        pair = [(x[i] / x[i].max()).cpu().numpy() for x in (first, second)]
        found[i] = float(metrics.structural_similarity(*pair, data_range=1.0))
    return found.to(first.device)


def similarity(a: Maps, b: Maps, q: float = 0.2) -> dict[str, Tensor]:
    """The four at once, keyed ``"iou"``, ``"pearson"``, ``"spearman"`` and ``"ssim"``.

    Parameters
    ----------
    a, b : Tensor or Attribution, shape (N, H, W)
    q : float
        Of `top_iou`.

    Returns
    -------
    dict of str to Tensor, shape (N,), float64

    Examples
    --------
    >>> a = torch.arange(64.0).view(1, 8, 8)
    >>> {name: round(value.item(), 6) for name, value in similarity(a, 2 * a).items()}
    {'iou': 1.0, 'pearson': 1.0, 'spearman': 1.0, 'ssim': 1.0}
    """
    return {
        "iou": top_iou(a, b, q),
        "pearson": pearson(a, b),
        "spearman": spearman(a, b),
        "ssim": ssim(a, b),
    }
