"""What a guard refuses, and token ids in any dress as rows of whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.errors import DeepDriftError

Rows = list[list[int]]
_MANY = (Sequence, Tensor, np.ndarray)


class GuardError(DeepDriftError, ValueError):
    """A model, tokens or calibration data that a guard cannot work with."""


def as_rows(ids: Any, name: str, mask: Any = None) -> Rows:
    """Token ids as one list per row, without padding.

    Parameters
    ----------
    ids : Tensor (T,) or (B, T), list of int, or list of lists of int
        A flat list is one row. In a tensor negative ids stand for no token.
    name : str
        Name of the argument, for messages.
    mask : Tensor (B, T) or nested list, optional
        1 where a token stands.

    Examples
    --------
    >>> as_rows(torch.tensor([[0, 5, 7], [1, 2, 3]]), "prompt_ids", [[0, 1, 1], [1, 1, 1]])
    [[5, 7], [1, 2, 3]]
    >>> as_rows([5, 7], "prompt_ids")
    [[5, 7]]
    """
    if isinstance(ids, np.ndarray):
        ids = torch.from_numpy(ids)
    if isinstance(ids, Tensor):
        if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
            raise GuardError(f"{name}: expected token ids (whole numbers), got {ids.dtype}")
        if ids.ndim not in (1, 2):
            raise GuardError(
                f"{name}: expected shape (T,) or (B, T), got {tuple(ids.shape)}; a tokenizer gives "
                'it with return_tensors="pt"'
            )
        rows = (ids[None] if ids.ndim == 1 else ids).tolist()
    else:
        rows = _lists(ids, name)
    if mask is None:
        return [[t for t in row if t >= 0] for row in rows] if isinstance(ids, Tensor) else rows
    keep = _lists(mask.tolist() if isinstance(mask, Tensor) else mask, "attention_mask")
    if [len(row) for row in keep] != [len(row) for row in rows]:
        raise GuardError(
            f"attention_mask: expected one entry per token of {name}, rows of "
            f"{[len(row) for row in rows]}, got rows of {[len(row) for row in keep]}"
        )
    return [[t for t, k in zip(*both, strict=True) if k] for both in zip(rows, keep, strict=True)]


def _lists(ids: Any, name: str) -> list[list[int]]:
    if isinstance(ids, str) or not isinstance(ids, Sequence) or hasattr(ids, "keys"):
        raise GuardError(
            f"{name}: expected token ids as a tensor or lists of whole numbers, got "
            f"{type(ids).__name__}; turn text into ids with the model's tokenizer"
        )
    flat = all(isinstance(t, str) or not isinstance(t, _MANY) for t in ids)
    rows = [list(ids)] if flat and len(ids) else [_row(row) for row in ids]
    for row in rows:
        for token in row:
            if isinstance(token, float | str | bytes) or not hasattr(token, "__index__"):
                raise GuardError(
                    f"{name}: expected token ids (whole numbers), got {token!r} of type "
                    f"{type(token).__name__}; turn text into ids with the model's tokenizer"
                )
    return [[int(token) for token in row] for row in rows]


def _row(row: Any) -> list:
    return row.tolist() if isinstance(row, Tensor | np.ndarray) else list(row)


def check_rows(rows: Rows, name: str, vocabulary: int | None) -> Rows:
    """Refuse rows without tokens, and tokens the model has no embedding for."""
    if not rows:
        raise GuardError(f"{name}: expected at least one row of token ids, got none")
    for i, row in enumerate(rows):
        if not row:
            raise GuardError(
                f"{name}: row {i} is empty; the first token needs one before it that predicts it, "
                "for example the model's bos token"
            )
    check_vocabulary(rows, name, vocabulary)
    return rows


def check_vocabulary(rows: Rows, name: str, vocabulary: int | None) -> None:
    """Refuse ids outside of 0 to ``vocabulary - 1``."""
    for i, row in enumerate(rows):
        bad = [t for t in row if t < 0 or (vocabulary is not None and t >= vocabulary)]
        if bad:
            raise GuardError(
                f"{name}: expected ids from 0 to {(vocabulary or 0) - 1}, got {bad[0]} in row {i} "
                f"({len(bad)} such); were they made by the tokenizer of another model?"
            )


def check_context(lengths: Sequence[int], name: str, context: int | None) -> None:
    """Refuse sequences longer than the model can place."""
    if context is not None and lengths and max(lengths) > context:
        raise GuardError(
            f"{name}: expected at most {context} tokens, the context of this model, got "
            f"{max(lengths)} in row {max(range(len(lengths)), key=lambda i: lengths[i])}; shorten "
            "the prompt from the left, or the answer"
        )


def check_legacy(cache: Any) -> None:
    """Refuse a cache made of tuples, which the models of transformers no longer take."""
    if isinstance(cache, tuple | list):
        raise GuardError(
            "cache: expected a Cache object, got a legacy tuple of keys and values; pass the cache "
            "that the last call returned, or build one with "
            "transformers.DynamicCache.from_legacy_cache or DynamicCache()"
        )
