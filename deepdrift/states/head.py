"""Which layer of a model makes its decision: the last linear layer of a classifier."""

from __future__ import annotations

from torch import nn

_MOST_OUTPUTS = 2048  # beyond that it is a vocabulary, and a covariance of it no small thing


def find_head(model: nn.Module) -> str | None:
    """Name of the final linear layer, in order of definition, or None.

    The layer counts as the head of a classifier if it is the last module with parameters, gives
    2 to 2,048 numbers, and is not the only such module.

    Examples
    --------
    >>> find_head(nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 10)))
    '3'
    >>> find_head(nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4))) is None
    True
    """
    weighted = [
        (name, module)
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    if len(weighted) < 2 or not isinstance(weighted[-1][1], nn.Linear):
        return None
    name, last = weighted[-1]
    return name if 2 <= last.out_features <= _MOST_OUTPUTS else None
