"""States of all layers at one place of a text, and how far they moved since the place before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

States = Tensor | Sequence[Tensor]  # (L, N, D), or a list of (N, D_l) where widths differ


def states_at(states: Sequence[Tensor], position: int) -> States:
    """Of each layer's states ``(B, T, D)`` those at one position, float32.

    Examples
    --------
    >>> layers = [torch.arange(6.0).reshape(1, 3, 2), torch.zeros(1, 3, 2)]
    >>> states_at(layers, 1).tolist()
    [[[2.0, 3.0]], [[0.0, 0.0]]]
    """
    if len({state.shape[2] for state in states}) > 1:
        return [state[:, position].float() for state in states]
    if states[0].shape[1] == 1:  # a pass of one token: nothing to pick out, one copy for all
        return torch.stack(list(states))[:, :, 0].float()
    return torch.stack([state[:, position] for state in states]).float()


def moved(now: States, before: States | None) -> Tensor:
    """Euclidean length of the change of every layer's state; NaN without a state before.

    Returns
    -------
    Tensor, shape (N, L)

    Examples
    --------
    >>> moved(torch.tensor([[[3.0, 4.0]], [[1.0, 1.0]]]), torch.zeros(2, 1, 2)).tolist()
    [[5.0, 1.4142135381698608]]
    """
    if before is None:
        return torch.full((len(now[0]), len(now)), torch.nan, device=now[0].device)
    if isinstance(now, Tensor) and isinstance(before, Tensor):
        return torch.linalg.vector_norm(now - before, dim=2).T
    gaps = [torch.linalg.vector_norm(a - b, dim=1) for a, b in zip(now, before, strict=True)]
    return torch.stack(gaps, dim=1)
