"""Fitted knowledge on disk: one safetensors file of named tensors and a JSON header, no pickle."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from deepdrift.errors import ReferenceFileError, require


def write_tensors(
    path: str | os.PathLike[str], tensors: dict[str, Tensor], header: dict[str, Any]
) -> None:
    """Write one file; an existing file is replaced only when all is written.

    Parameters
    ----------
    header : dict
        Anything JSON can hold.

    Raises
    ------
    ReferenceFileError
        If it cannot be written; a file that was there is left as it was.
    """
    io = require("safetensors.torch", "lab")
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    path = Path(path)
    metadata = {"deepdrift": json.dumps(header)}
    try:
        # a name of its own: several processes may write the same file
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            partial = Path(folder) / path.name
            io.save_file(tensors, partial, metadata=metadata)
            os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        raise ReferenceFileError(
            f"path: cannot write {str(path)!r} ({error}); is there such a folder, may you write "
            "there, and is there room?"
        ) from error


def read_tensors(
    path: str | os.PathLike[str], *, what: str, again: str
) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Tensors and header of a file made by `write_tensors`; None for another's file.

    Parameters
    ----------
    what, again : str
        For the messages: "save a {what} first", "{again} and save again".

    Raises
    ------
    ReferenceFileError
        If the file is missing or damaged.
    """
    io = require("safetensors", "lab")
    path = Path(path)
    if not path.is_file():
        raise ReferenceFileError(f"path: no file {str(path)!r}; save a {what} first")
    try:
        with io.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("deepdrift", "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as error:  # the reader's own exceptions are not public
        raise ReferenceFileError(
            f"path: {path.name} is damaged or no safetensors file ({error}); {again} and save again"
        ) from error
    return tensors, header if isinstance(header, dict) else None


def read_kind(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a saved object whose header says ``kind``.

    Raises
    ------
    ReferenceFileError
        If the file is missing, damaged, or of another kind.
    """
    tensors, header = read_tensors(path, what=f"fitted {kind}", again="fit")
    found = (header or {}).get("kind")
    if found != kind:
        raise ReferenceFileError(
            f"path: {Path(path).name}: expected a saved {kind}, found {found or 'no such header'}"
        )
    return tensors, header
