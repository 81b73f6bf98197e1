"""Five numbers that say what a map looks like: what a shift can be seen in without a clean twin."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepdrift.attribution.compare import Maps, _top, read_maps

SUMMARIES = ("entropy", "centre down", "centre across", "spread", "top mass")


def map_summaries(maps: Maps) -> Tensor:
    """Entropy, centre of mass, spread and share of the top of each map.

    Of the map divided by its sum, so that its scale does not matter.

    Parameters
    ----------
    maps : Tensor or Attribution, shape (N, H, W)
        Not negative.

    Returns
    -------
    Tensor, shape (N, 5), float64
        Columns as in `SUMMARIES`: entropy as a share of that of a constant map, in [0, 1];
        centre of mass from the top and from the left, as a share of height and width, in (0, 1);
        standard deviation of the distance from it, in the same unit; mass in the top 20 % of
        pixels, in [0.2, 1]. NaN for empty maps.

    Raises
    ------
    AttributionError
        ``input``, ``embedding_axis`` or ``not_finite``.

    Examples
    --------
    All in one corner of 2 x 2 pixels, and half in each of the upper two.

    >>> maps = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]]])
    >>> map_summaries(maps)
    tensor([[0.0000, 0.2500, 0.2500, 0.0000, 1.0000],
            [0.5000, 0.2500, 0.5000, 0.2500, 0.5000]], dtype=torch.float64)
    """
    values = read_maps(maps)
    n, height, width = values.shape
    scaled = values / values.amax(dim=(1, 2), keepdim=True)  # 0 / 0 is NaN: an empty map
    shares = scaled / scaled.sum(dim=(1, 2), keepdim=True)
    down = (torch.arange(height, dtype=torch.float64, device=values.device) + 0.5) / height
    across = (torch.arange(width, dtype=torch.float64, device=values.device) + 0.5) / width
    rows, columns = shares.sum(dim=2), shares.sum(dim=1)
    centre_down, centre_across = rows @ down, columns @ across
    spread = (
        (rows * (down - centre_down[:, None]).square()).sum(dim=1)
        + (columns * (across - centre_across[:, None]).square()).sum(dim=1)
    ).sqrt()
    flat = shares.flatten(1)
    entropy = torch.special.entr(flat).sum(dim=1) / math.log(max(height * width, 2))
    top = flat.topk(_top(height * width, 0.2), dim=1).values.sum(dim=1)
    return torch.stack([entropy, centre_down, centre_across, spread, top], dim=1)
