"""Hand the notebooks out to a reader, outputs cleared, and never overwrite what the reader changed.

    python tools/workspace.py        # makes workspace/, or brings it up to date

The originals in notebooks/ keep their outputs for the checks; a reader works in workspace/, which
git ignores. Only the standard library is needed. What happens to each notebook:

- not in the workspace (new, or deleted by the reader): it is handed out;
- not changed by the reader: a newer original replaces it. "Changed" looks at the sources of the
  cells; outputs, metadata and empty cells, which JupyterLab writes by itself, do not count;
- changed, or no longer readable: it stays, and a newer original is put beside it as
  "03_thresholds (new version).ipynb";
- no longer among the originals (renamed): it stays.

The pages in `PAGES`, to which the notebooks link, are handed out by the same rules.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
# JupyterLab serves the workspace alone and cuts '..' off at its edge: the notebooks' links to
# ../data/README.md lead to data/README.md in there.
PAGES = ["data/README.md"]
MANIFEST = ".handed_out.json"  # in the workspace: what was handed out, as digests of the sources


class WorkspaceError(Exception):
    """The workspace cannot be made; the message says why and what to do."""


class Original(NamedTuple):
    """What is handed out under one name: a file's text, and the digest that is compared."""

    text: str
    digest: str


def parse(path: Path) -> dict:
    """Read a notebook file; ValueError if it is none, OSError if it cannot be read."""
    try:
        notebook = json.loads(path.read_bytes().decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise ValueError("it has no list of cells")
    return notebook


def digest(notebook: dict) -> str:
    """SHA-256 of what a person writes: type and source of every cell that is not empty."""
    written = []
    for cell in notebook["cells"]:
        source = cell.get("source", "")
        source = "".join(source) if isinstance(source, list) else str(source)
        if source.strip():
            written.append([cell.get("cell_type"), source.replace("\r\n", "\n")])
    return sha256(json.dumps(written))


def sha256(text: str) -> str:
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def cleared(notebook: dict) -> str:
    """Text of the notebook's file without outputs, execution counts, and covers on outputs."""
    cells = [uncovered(c) if c.get("cell_type") == "code" else c for c in notebook["cells"]]
    return json.dumps(notebook | {"cells": cells}, indent=1, ensure_ascii=False) + "\n"


def uncovered(cell: dict) -> dict:
    """A code cell without outputs, and without the cover over the answer to a prediction."""
    about = dict(cell.get("metadata") or {})
    covers = {k: v for k, v in (about.pop("jupyter", None) or {}).items() if k != "outputs_hidden"}
    metadata = about | ({"jupyter": covers} if covers else {})
    return cell | {"outputs": [], "execution_count": None, "metadata": metadata}


def write(path: Path, text: str) -> None:
    """Write a whole file or leave what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def originals(notebooks: Path) -> dict[str, Original]:
    """All lessons, solutions and pages by name, such as 'solutions/03_thresholds.ipynb'."""
    paths = [*notebooks.glob("[0-9]*.ipynb"), *notebooks.glob("solutions/[0-9]*.ipynb")]
    if not paths:
        raise WorkspaceError(f"no notebooks in {notebooks}")
    found = {}
    for path in sorted(paths):
        try:
            notebook = parse(path)
        except ValueError as error:
            raise WorkspaceError(f"{path} is not a readable notebook: {error}") from error
        name = path.relative_to(notebooks).as_posix()
        found[name] = Original(cleared(notebook), digest(notebook))
    for page in PAGES:
        if (notebooks.parent / page).is_file():
            text = (notebooks.parent / page).read_text(encoding="utf-8")
            found[page] = Original(text, sha256(text))
    return found


def read_manifest(path: Path) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Digests of what was handed out, in place and beside; and what to tell the reader."""
    empty = {"handed out": {}, "new versions": {}}
    if not path.exists():
        return empty, []
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if all(isinstance(manifest[kind], dict) for kind in empty):
            return {kind: manifest[kind] for kind in empty}, []
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return empty, [
        f"{MANIFEST}: not readable, so all that differs from the originals counts as yours"
    ]


def state(path: Path) -> str:
    """'missing', 'unreadable', or the digest of a reader's notebook or page."""
    if not os.path.lexists(path):
        return "missing"
    try:
        notebook = path.suffix == ".ipynb"
        return digest(parse(path)) if notebook else sha256(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return "unreadable"


def put_beside(path: Path, new: Original, handed_out: dict[str, str], folder: Path) -> Path:
    """Put a new version beside a reader's file, over nothing the reader changed."""
    for count in itertools.count(1):
        number = f" {count}" if count > 1 else ""
        beside = path.with_name(f"{path.stem} (new version{number}){path.suffix}")
        name = beside.relative_to(folder).as_posix()
        found = state(beside)
        if found not in ("missing", new.digest, handed_out.get(name)):
            continue  # the reader worked in this one
        if found != new.digest:
            write(beside, new.text)
        handed_out[name] = new.digest
        return beside
    raise AssertionError("unreachable")


def update(notebooks: Path, folder: Path) -> list[str]:
    """Make `folder` from `notebooks`, or bring it up to date; returns what to tell the reader."""
    if folder.exists() and not folder.is_dir():
        raise WorkspaceError(f"{folder} is a file, not a folder: move it away, then run this again")
    ours, place = notebooks.resolve(), folder.resolve()
    if ours == place or ours in place.parents or place in ours.parents:
        raise WorkspaceError(f"{folder} and {notebooks} lie in one another: choose another folder")
    files = originals(notebooks)
    fresh = not folder.exists() or not any(folder.iterdir())
    manifest, told = read_manifest(folder / MANIFEST)
    known, beside = manifest["handed out"], manifest["new versions"]
    for name, new in files.items():
        path, old = folder / name, known.get(name)
        mine = state(path)
        if mine == "missing":
            write(path, new.text)
            told.append(f"{name}: {'new' if old is None else 'was missing, handed out again'}")
        elif mine == "unreadable":
            there = put_beside(path, new, beside, folder)
            told.append(f"{name}: cannot be read, so it is kept; a fresh copy is '{there.name}'")
        elif mine != new.digest and mine == old:
            write(path, new.text)
            told.append(f"{name}: replaced by its new version; you had not changed it")
        elif mine != new.digest and old != new.digest:
            there = put_beside(path, new, beside, folder)
            told.append(f"{name}: kept, you changed it; its new version is '{there.name}'")
        known[name] = new.digest
    for name in sorted(known.keys() - files.keys()):
        del known[name]  # said once
        if (folder / name).exists():
            told.append(f"{name}: no longer among the notebooks; yours stays")
    write(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    count = sum(name.endswith(".ipynb") for name in files)
    return [f"{count} notebooks handed out, outputs cleared"] if fresh else told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--into",
        type=Path,
        default=ROOT / "workspace",
        help="default: workspace/ beside notebooks/",
    )
    folder = parser.parse_args().into
    try:
        told = update(ROOT / "notebooks", folder)
    except WorkspaceError as error:
        print(f"workspace: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        reason = f"{error.strerror or error}: {error.filename or folder}"
        print(f"workspace: cannot read or write here: {reason}", file=sys.stderr)
        print("It must lie where you may write; --into names another folder.", file=sys.stderr)
        return 1
    for line in told or ["up to date"]:
        print(f"{folder.name}: {line}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
