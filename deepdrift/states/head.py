"""Which layer of a model makes its decision: the last linear layer of a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.errors import StateError
from deepdrift.states.outputs import find_tensor

MOST_OUTPUTS = 2048  # beyond that it is a vocabulary, and a covariance of it no small thing


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
    return name if 2 <= last.out_features <= MOST_OUTPUTS else None


def head_of(
    heads: Sequence[tuple[str, Tensor]], output: Any, rows: int | None
) -> tuple[str, str] | None:
    """The linear layer that made a model's output ``(N, C)``, and how it is to be pooled.

    Parameters
    ----------
    heads : sequence of (str, Tensor)
        The last linear layers that ran, with what they returned.
    output : Any
        What the model returned.
    rows : int or None
        Number of samples.

    Examples
    --------
    >>> made = torch.tensor([[1.0, 2.0]])
    >>> head_of([("a", 2 * made), ("b", made), ("c", made + 1)], made.softmax(1), 1)
    ('c', 'mean')
    """
    try:
        out = find_tensor(output)
    except StateError:
        return None
    if out.is_nested or out.ndim != 2 or (rows is not None and len(out) != rows):
        return None
    out = out.detach()
    for name, made in reversed(heads):
        if made.is_nested or made.shape[-1] != out.shape[-1] or len(made) != len(out):
            continue
        if made.shape == out.shape and any(torch.equal(f(made), out) for f in _ENDINGS):
            return name, "mean"
        if made.ndim == 3:
            places = (made == out[:, None]).all(-1)  # (N, T): which token was taken
            if bool(places.any(1).all()):
                return name, "cls" if bool(places[:, 0].all()) else "last"
            if torch.allclose(made.mean(1), out, atol=1e-6):
                return name, "mean"
    return None


_ENDINGS = (
    lambda x: x,
    lambda x: x.softmax(dim=-1),
    lambda x: x.log_softmax(dim=-1),
    lambda x: x.sigmoid(),
)


def blocks_of_output(
    layers: Sequence[str], output: str | None, values: Mapping[str, Tensor]
) -> list[str]:
    """Layers around the output layer that hand on just what it returns: the logits once more.

    Examples
    --------
    >>> logits, features = torch.ones(2, 3), torch.zeros(2, 8)
    >>> values = {"body": features, "head": logits, "head.fc": logits}
    >>> blocks_of_output(["body", "head"], "head.fc", values)
    ['head']
    """
    if output is None or output not in values:
        return []
    around = [k for k in layers if k in values and output.startswith(f"{k}.")]
    return [k for k in around if torch.equal(values[k].cpu(), values[output].cpu())]
