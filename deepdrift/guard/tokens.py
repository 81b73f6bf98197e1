"""What raw logits say of a token, and which tokens of a row are its answer."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor


def log_probabilities(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of all tokens, and the entropy of what comes next.

    Parameters
    ----------
    logits : Tensor, shape (..., V)
        Raw, as the model gave them: before temperature, top-k and every other processor, which
        make of an answer of probability 0.2 one of probability 1. Minus infinity is an impossible
        token; NaN and plus infinity make the whole row NaN.

    Returns
    -------
    log_p : Tensor, shape (..., V), float32 or wider
    entropy : Tensor, shape (...), in nats, >= 0

    Examples
    --------
    >>> log_p, entropy = log_probabilities(torch.tensor([0.0, 0.0, -torch.inf]))
    >>> log_p.exp().tolist(), round(entropy.item(), 4)  # a coin: log 2
    ([0.5, 0.5, 0.0], 0.6931)
    """
    x = logits.detach()
    x = x if x.dtype == torch.float64 else x.float()
    log_p, p = x.log_softmax(dim=-1), x.softmax(dim=-1)  # twice as quick as exp and a sum
    entropy = -torch.linalg.vecdot(p, log_p)
    if math.isnan(entropy.sum()):  # 0 times minus infinity is nothing; NaN stays
        entropy = -torch.where(p == 0, 0.0, p * log_p).sum(dim=-1)
    return log_p, entropy


def answer_mask(tokens: Tensor, ends: Collection[int], pad: int | None) -> Tensor:
    """Which tokens belong to the answer: up to the first end token, without padding behind.

    A row that stopped goes on in a batch as padding: after its end token, or, if something else
    stopped it, as pad tokens to the end of the row.

    Parameters
    ----------
    tokens : Tensor, shape (B, T)
    ends : collection of int
        End tokens; the first counts as answer, what follows does not.
    pad : int, optional
        Pad token. If it is one of the ends it says nothing more.

    Returns
    -------
    Tensor, shape (B, T), bool

    Examples
    --------
    >>> answer_mask(torch.tensor([[5, 2, 0, 0], [5, 6, 0, 0], [5, 0, 6, 7]]), {2}, 0).int().tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]]
    """
    ended = torch.zeros_like(tokens, dtype=torch.bool)
    for end in ends:
        ended |= tokens == end
    mask = ended.long().cumsum(dim=1) - ended.long() == 0
    if pad is not None and pad not in ends:
        real = (tokens != pad).flip(1).long().cumsum(dim=1).flip(1) > 0
        mask &= real
    return mask
