"""One reference from many: files of independent jobs, or the ranks of one distributed run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepdrift.errors import CalibrationError
from deepdrift.monitor.reference import Reference


def merge(references: Sequence[Reference | str | os.PathLike[str]]) -> Reference:
    """The reference of all data, from references or files fitted on disjoint shards.

    Sums add up exactly, so that the result is that of one fit on everything. Calibration scores
    belong to one fit: they are pooled if all parts share their sums (one fit, calibrated by many),
    else dropped; then calibrate the result on held-out data.

    Parameters
    ----------
    references : sequence of Reference or path
        Of monitors of the same model and settings, in any order.

    Returns
    -------
    Reference
        Assign it to ``monitor.reference``, or ``save`` it.

    Raises
    ------
    ReferenceFileError
        For parts of another model or setting, and for a shard that is delivered twice, by name.
    CalibrationError
        For an empty sequence.

    Warns
    -----
    UserWarning
        If some shards have labels and others do not: then all data form one class.
    """
    named = [_named(part, i) for i, part in enumerate(references)]
    if not named:
        raise CalibrationError("references: expected at least one, got none")
    (_, merged), *others = named
    for name, part in others:
        merged = merged.merge(part, name)
    return merged


def _named(part: Any, i: int) -> tuple[str, Reference]:
    if isinstance(part, Reference):
        return f"references[{i}]", part
    return Path(part).name, Reference.load(part)[0]


def world() -> int:
    """Number of processes of a distributed run that has begun, else 1."""
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def from_all_ranks(mine: Any) -> list[Any]:
    """What every process of the run gives, in order of rank."""
    import torch.distributed as dist

    shared: list[Any] = [None] * world()
    dist.all_gather_object(shared, mine)
    return shared
