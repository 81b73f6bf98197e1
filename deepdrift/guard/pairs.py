"""Prompts and answers to learn from, read in batches of like length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from deepdrift.guard.checks import GuardError, as_rows
from deepdrift.guard.trace import GuardTrace, join

Pairs = Sequence[tuple[Any, Any]]


def as_trace(
    pairs: Pairs | GuardTrace, read: Callable[[Any, Any], GuardTrace], batch_size: int
) -> GuardTrace:
    """The trace of pairs, in their order; a trace is one already.

    Raises
    ------
    GuardError
        For something else than (prompt ids, answer ids), and for none.
    """
    if isinstance(pairs, GuardTrace):
        return pairs
    if batch_size < 1:
        raise GuardError(f"batch_size: expected 1 or more, got {batch_size!r}")
    pairs = list(pairs)
    odd = [p for p in pairs if isinstance(p, str) or not hasattr(p, "__len__") or len(p) != 2]
    if odd or not pairs:
        came = f"{len(odd)} entries that are none, such as {odd[0]!r:.60}" if odd else "no pair"
        raise GuardError(f"pairs: expected a list of (prompt ids, answer ids), got {came}")
    rows = [
        (_flat(p, "prompt ids", i), _flat(a, "answer ids", i)) for i, (p, a) in enumerate(pairs)
    ]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]) + len(rows[i][1]))
    traces = []
    for start in range(0, len(order), batch_size):
        some = [rows[i] for i in order[start : start + batch_size]]
        traces.append(read([p for p, _ in some], [a for _, a in some]))
    back = sorted(range(len(order)), key=order.__getitem__)
    return join(traces).rows(back)


def _flat(ids: Any, what: str, i: int) -> list[int]:
    rows = as_rows(ids, f"pairs: {what} of pair {i}")
    if len(rows) > 1:
        raise GuardError(
            f"pairs: expected one row of {what} in pair {i}, got {len(rows)}; a batch is a list of "
            "pairs"
        )
    return rows[0] if rows else []


def as_correct(correct: Any, n: int) -> Tensor:
    """Right answers ``(n,)`` as bool."""
    try:
        right = torch.as_tensor(correct, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise GuardError(
            f"correct: expected True or False for each of {n} pairs, got "
            f"{type(correct).__name__} that holds no numbers; compare the answers with the right "
            "ones first"
        ) from error
    if right.shape != (n,) or not bool(((right == 0) | (right == 1)).all()):
        raise GuardError(
            f"correct: expected True or False for each of {n} pairs, got shape "
            f"{tuple(right.shape)} of {right.dtype}"
        )
    return right.bool()
