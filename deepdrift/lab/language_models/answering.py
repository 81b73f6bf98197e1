"""Answer questions greedily, many at a time, and pad what has unequal length."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["by_length", "cut", "decode", "padded", "run"]


def by_length(prompts: Sequence[Sequence[int]], size: int) -> list[list[int]]:
    """Rows in batches of at most ``size`` prompts of equal length, so that none needs padding.

    Examples
    --------
    >>> by_length([[1], [1, 2], [3], [4]], size=2)
    [[0, 2], [3], [1]]
    """
    groups: dict[int, list[int]] = {}
    for i, prompt in enumerate(prompts):
        groups.setdefault(len(prompt), []).append(i)
    rows = (groups[k] for k in sorted(groups))
    return [row[i : i + size] for row in rows for i in range(0, len(row), size)]


def run(model: nn.Module, ids: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
    """Logits and cache of one pass, of a `FactModel` or of a model of transformers."""
    if not hasattr(model, "config"):
        return model(ids, cache, use_cache=True)
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    result = model(input_ids=ids, use_cache=True, **{name: cache})
    return result.logits, getattr(result, name)


def cut(tokens: Sequence[int], stops: Collection[int]) -> list[int]:
    """An answer without its first stop and what follows; at least one token is left.

    Examples
    --------
    >>> cut([5, 6, 0, 7], {0}), cut([0, 5], {0})
    ([5, 6], [0])
    """
    end = next((i for i, token in enumerate(tokens) if token in stops), len(tokens))
    return list(tokens[: max(end, 1)])


@torch.no_grad()
def decode(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    stops: Collection[int],
    n_tokens: int,
    batch: int = 512,
) -> list[list[int]]:
    """The most probable answers, token by token, up to the first stop, which is left out.

    Parameters
    ----------
    model : nn.Module
        See `run`.
    prompts : sequence of sequence of int
    stops : collection of int
        Tokens that end an answer.
    n_tokens : int
        Tokens of the longest answer.
    """
    answers: list[list[int]] = [[] for _ in prompts]
    ends = torch.tensor(sorted(stops))
    for rows in by_length(prompts, batch):
        logits, cache = run(model, torch.tensor([list(prompts[i]) for i in rows]))
        said = [logits[:, -1].argmax(dim=1)]
        stopped = torch.isin(said[0], ends)
        while len(said) < n_tokens and not stopped.all():
            logits, cache = run(model, said[-1][:, None], cache)
            said.append(logits[:, -1].argmax(dim=1))
            stopped |= torch.isin(said[-1], ends)
        for i, row in zip(rows, torch.stack(said, dim=1).tolist(), strict=True):
            answers[i] = cut(row, stops)
    return answers


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids ``(N, T)``, zeros on the right, and the mask of what is real.

    Examples
    --------
    >>> ids, mask = padded([[7, 8], [9]])
    >>> ids.tolist(), mask.tolist()
    ([[7, 8], [9, 0]], [[True, True], [True, False]])
    """
    longest = max(map(len, rows), default=0)
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], dtype=torch.int64)
    lengths = torch.tensor([len(row) for row in rows])
    return ids.view(len(rows), longest), torch.arange(longest) < lengths[:, None]
