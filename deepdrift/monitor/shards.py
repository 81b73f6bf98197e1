"""One reference from many: files of independent jobs, or the ranks of one distributed run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepdrift.errors import CalibrationError
from deepdrift.monitor.reference import Reference, delivered_twice, say_if_labels_are_lost


def merge(references: Iterable[Reference | str | os.PathLike[str]]) -> Reference:
    """The reference of all data, from references or files fitted on disjoint shards.

    Sums add up exactly, so that the result is that of one fit on everything. Calibration scores
    belong to one fit: they are pooled if all parts share their sums (one fit, calibrated by many),
    else dropped; then calibrate the result on held-out data.

    Parameters
    ----------
    references : iterable of Reference or path
        Of monitors of the same model and settings, in any order.

    Returns
    -------
    Reference
        Assign it to ``monitor.reference``, or ``save`` it.

    Raises
    ------
    ReferenceFileError
        For parts of another model or setting, and for a shard that is delivered twice, by name.
        A shard is known again if it was read in the same batches.
    CalibrationError
        For an empty sequence.

    Warns
    -----
    UserWarning
        If some shards have labels and others do not: then all data form one class.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from deepdrift import DeepDriftMonitor
    >>> model, parts = nn.Sequential(nn.Linear(2, 3), nn.ReLU()), []
    >>> for shard in torch.randn(2, 5, 40, 2, generator=torch.Generator().manual_seed(0)):
    ...     with DeepDriftMonitor(model, ["1"]) as job:
    ...         parts.append(job.fit(shard.unbind()).reference)
    >>> merge(parts).sums.n
    400
    """
    if isinstance(references, Reference | str | os.PathLike):
        raise CalibrationError(
            f"references: expected several, got one {type(references).__name__}; give a list"
        )
    return merge_named(_named(part, i) for i, part in enumerate(references))


def merge_named(parts: Iterable[tuple[str, Reference]]) -> Reference:
    """`merge` of parts with the names that messages call them by; one is held at a time."""
    merged, of_one_fit, labelled = None, [], []
    for name, part in parts:
        labelled.append((name, part.labelled))
        if merged is None:
            merged, of_one_fit = part, [name]
            continue
        alike = merged.has_sums_of(part)
        if not alike and len(of_one_fit) > 1:
            raise delivered_twice(of_one_fit[-1])
        merged = merged.plus(part, name)
        of_one_fit = [*of_one_fit, name] if alike else []
    if merged is None:
        raise CalibrationError("references: expected at least one, got none")
    say_if_labels_are_lost(labelled, stacklevel=3)
    return merged


def _named(part: Any, i: int) -> tuple[str, Reference]:
    if isinstance(part, Reference):
        return f"references[{i}]", part
    return str(Path(part)), Reference.load(part)[0]


def world() -> int:
    """Number of processes of a distributed run that has begun, else 1."""
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def from_all_ranks(mine: Any) -> list[Any]:
    """What every process of the run gives, in order of rank.

    Raises
    ------
    CalibrationError
        If another process failed in `all_or_none` and has nothing to give.
    """
    given = _exchange((mine, None))
    for rank, (_, error) in enumerate(given):
        if error is not None:
            raise CalibrationError(f"rank {rank} failed, so nothing was learned: {error}")
    return [value for value, _ in given]


@contextmanager
def all_or_none() -> Iterator[None]:
    """Before `from_all_ranks`: who fails in here says so there, and nobody waits for it."""
    try:
        yield
    except Exception as error:
        if world() > 1:
            _exchange((None, f"{type(error).__name__}: {error}"))
        raise


def _exchange(mine: Any) -> list[Any]:
    import torch.distributed as dist

    shared: list[Any] = [None] * world()
    dist.all_gather_object(shared, mine)
    return shared
