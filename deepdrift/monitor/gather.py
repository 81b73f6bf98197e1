"""All states of a loader in memory, where they are needed at once: said before it is taken."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sized

import torch
from torch import Tensor

from deepdrift.errors import CalibrationError

States = dict[str, Tensor]
LIMIT = 1e9  # bytes that are taken without a word


def gather(
    batches: Iterable[tuple[States, Tensor | None]], n_batches: int | None = None
) -> tuple[States, Tensor | None]:
    """States ``(N, D_l)`` of every layer and labels ``(N,)``, or None if a batch has none.

    Warns before the states of all batches, as far as the first one tells, exceed `LIMIT` bytes;
    at the latest when they do. A batch is freed layer by layer as it is copied to its place.

    Parameters
    ----------
    batches : iterable of (states, labels)
    n_batches : int, optional
        How many there are.

    Examples
    --------
    >>> batches = [({"a": torch.zeros(2, 3)}, None), ({"a": torch.ones(1, 3)}, None)]
    >>> gather(batches, 2)[0]["a"].shape
    torch.Size([3, 3])
    """
    kept: list[States] = []
    labels: list[Tensor | None] = []
    taken, warned = 0, False
    for states, given in batches:
        kept.append(dict(states))
        labels.append(given)
        taken += sum(v.numel() * v.element_size() for v in states.values())
        expected = max(taken, taken * n_batches / len(kept)) if n_batches else taken
        if expected > LIMIT and not warned:
            warned = True
            warnings.warn(
                f"calibrate: the states of all samples take {expected / 1e9:.1f} GB of memory, at "
                f"{taken / 1e6:.0f} MB in {len(kept)} batches; call fit(loader) on other normal "
                "data first, then nothing but scores is kept, or use fewer with max_batches (a few "
                "thousand samples are plenty)",
                stacklevel=4,
            )
    names = list(kept[0])
    whole = {name: torch.cat([part.pop(name) for part in kept]) for name in names}
    given = [part for part in labels if part is not None]
    return whole, torch.cat(given) if len(given) == len(labels) else None


def number_of_batches(loader: object, max_batches: int | None = None) -> int | None:
    """How many batches a loader will give, if it says so.

    Examples
    --------
    >>> number_of_batches([1, 2, 3], max_batches=2), number_of_batches(iter([1, 2, 3]))
    (2, None)
    """
    if isinstance(loader, Tensor):
        length = 1
    else:
        try:
            length = len(loader) if isinstance(loader, Sized) else None
        except TypeError:  # a DataLoader of an iterable data set
            length = None
    known = [n for n in (length, max_batches) if n is not None]
    return None if length is None else min(known)


def same_widths(
    states: Mapping[str, Tensor], before: Mapping[str, int], batch: int
) -> dict[str, int]:
    """Widths of the layers, which every batch of a loader must share.

    Examples
    --------
    >>> same_widths({"a": torch.zeros(2, 3)}, {}, 1)
    {'a': 3}
    """
    found = {k: v.shape[1] for k, v in states.items()}
    if before and list(found.items()) != list(before.items()):
        raise CalibrationError(
            f"loader: expected layers of widths {before} as in the first batch, got {found} in "
            f"batch {batch}; watch layers that run for every input, and use a pooling that does "
            "not depend on the input's size"
        )
    return found
