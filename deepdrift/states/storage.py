"""Fitted knowledge on disk: one safetensors file of named tensors and a JSON header, no pickle."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from deepdrift.errors import DeepDriftError, ReferenceFileError, require


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
    path = _as_path(path)
    tensors = _apart({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
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


def _as_path(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(path)
    except TypeError:
        raise ReferenceFileError(f"path: expected the name of a file, got {path!r}") from None


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, each in memory of its own: the format refuses what is shared."""
    taken: set[int] = set()
    found = {}
    for key, value in tensors.items():
        place = value.untyped_storage().data_ptr()
        found[key] = value.clone() if place in taken else value
        taken.add(place)
    return found


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
    path = _as_path(path)
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


def digest(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    """SHA-256 of names, types, shapes and bytes of tensors, and of a header.

    Examples
    --------
    >>> digest({}, {"a": 1}) == digest({}, {"a": 1}) != digest({}, {"a": 2})
    True
    """
    found = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for key in sorted(tensors):
        found.update(f"{key} {tensors[key].dtype} {tuple(tensors[key].shape)}".encode())
        found.update(tensors[key].detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def write_checked(
    path: str | os.PathLike[str], tensors: dict[str, Tensor], header: dict[str, Any], form: str
) -> None:
    """`write_tensors` with the name of a format and a checksum; `read_checked` reads it."""
    header = {"format": form} | header
    write_tensors(path, tensors, header | {"sha256": digest(tensors, header)})


def read_checked(
    path: str | os.PathLike[str], form: str, *, what: str, again: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file made by `write_checked`.

    Raises
    ------
    ReferenceFileError
        If the file is missing, damaged, of another format or not ours.
    """
    tensors, header = read_tensors(path, what=what, again=again)
    path = Path(path)
    if header is None or header.get("format") != form:
        if header is None:
            found, remedy = "no deepdrift header", ""
        else:
            found = header.get("format") or header.get("kind")
            same = str(found).rpartition("-")[0] == form.rpartition("-")[0]
            remedy = "it is of another version" if same else f"that is no {what}"
            remedy = f"; {remedy}: {again} again and save"
        raise ReferenceFileError(f"path: {path.name}: expected {form!r}, found {found!r}{remedy}")
    if header.pop("sha256", None) != digest(tensors, header):
        raise ReferenceFileError(
            f"path: {path.name} is damaged: its content does not match the stored checksum; "
            f"restore the file, or {again} and save again"
        )
    return tensors, header


@contextmanager
def parts_of(path: str | os.PathLike[str], again: str) -> Iterator[None]:
    """Say that a file is damaged if what is made of its parts inside ``with`` does not work out.

    Raises
    ------
    ReferenceFileError
        In place of the error that a missing or unusable part causes. Errors of ours pass.

    Examples
    --------
    >>> with parts_of("guard.safetensors", again="calibrate"):
    ...     {}["alpha"]
    Traceback (most recent call last):
    deepdrift.errors.ReferenceFileError: path: guard.safetensors is damaged: its parts do not fit
    one another (KeyError: 'alpha'); calibrate and save again
    """
    try:
        yield
    except DeepDriftError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ReferenceFileError(
            f"path: {Path(path).name} is damaged: its parts do not fit one another "
            f"({type(error).__name__}: {error}); {again} and save again"
        ) from error


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
