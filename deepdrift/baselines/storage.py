"""Fitted baselines on disk: one safetensors file of named tensors and a small JSON header."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from deepdrift.errors import ReferenceFileError, require


def write_tensors(
    path: str | os.PathLike[str], kind: str, tensors: dict[str, Tensor], header: dict[str, Any]
) -> None:
    """Write one file; an existing file is replaced only when all is written.

    Parameters
    ----------
    kind : str
        What the file holds; `read_tensors` asks for the same word.
    header : dict
        Anything JSON can hold.
    """
    io = require("safetensors.torch", "lab")
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    path = Path(path)
    partial = path.with_name(path.name + ".part")
    io.save_file(tensors, partial, metadata={"deepdrift": json.dumps({"kind": kind} | header)})
    os.replace(partial, path)


def read_tensors(
    path: str | os.PathLike[str], kind: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file made by `write_tensors`.

    Raises
    ------
    ReferenceFileError
        If the file is missing, damaged, or of another kind.
    """
    io = require("safetensors", "lab")
    path = Path(path)
    if not path.is_file():
        raise ReferenceFileError(f"path: no file {str(path)!r}; save a fitted {kind} first")
    try:
        with io.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("deepdrift", "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as error:  # the reader's own exceptions are not public
        raise ReferenceFileError(
            f"path: {path.name} is damaged or no safetensors file ({error}); fit and save again"
        ) from error
    found = header.get("kind") if isinstance(header, dict) else None
    if found != kind:
        raise ReferenceFileError(
            f"path: {path.name}: expected a saved {kind}, found {found or 'no such header'}"
        )
    return tensors, header
