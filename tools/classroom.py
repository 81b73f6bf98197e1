"""What a class needs, made from the notebooks: copies for students and teachers, and slides.

    python tools/classroom.py            # or `make class`: writes class/, which git ignores

- class/students.zip: the lessons without outputs, solutions and guard cells, with the package, the
  data, and a README.txt that says how to start; nothing else is needed but Python packages;
- class/teachers.zip: the same with outputs, solutions, and the pages in docs/;
- class/slides/NN_x.html: slides that work without a network, see tools/make_slides.py.

Both archives have fixed times and sorted names: two runs give the same bytes. Only the slides need
more than the standard library.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
import zipfile
from pathlib import Path

import workspace

ROOT = Path(__file__).resolve().parents[1]
TOP = "deepdrift-class"  # the folder in both archives
GUARD = "guard"
# What `pip install -e .` needs, and what the notebooks load.
PROJECT = ["pyproject.toml", "README.md", "LICENSE"]
PACKAGE = ("*.py", "*.mplstyle", "py.typed")
DATA = ["data/README.md", "data/LICENSE-fashion-mnist", "data/SHA256SUMS"]
PAGES = [f"docs/{name}" for name in ("teaching.md", "polls.md", "glossary.md", "ARCHITECTURE.md")]
CPU_TORCH = "torch torchvision --index-url https://download.pytorch.org/whl/cpu"
SOLUTIONS_LINK = re.compile(r"(?P<bar> \| )?\[(?P<text>[^\]]*)\]\((?:\./)?solutions/[^)]*\)")

README = f"""DeepDrift: the notebooks of the class

You need Python 3.11 or newer. No graphics card is needed: the first pip line below fetches
PyTorch for the processor alone, which is much smaller than the usual one.

Unpack the archive, open a terminal in the folder {TOP}, and type:

Linux and macOS

    python3 -m venv .venv
    .venv/bin/python -m pip install {CPU_TORCH}
    .venv/bin/python -m pip install -e ".[lab]"
    .venv/bin/jupyter lab notebooks/00_start_here.ipynb

Windows (PowerShell)

    py -m venv .venv
    .venv\\Scripts\\python -m pip install {CPU_TORCH}
    .venv\\Scripts\\python -m pip install -e ".[lab]"
    .venv\\Scripts\\jupyter lab notebooks\\00_start_here.ipynb

The two pip lines need the network once. Afterwards only the last line is needed.
Choose Run > Run All Cells, or run cell by cell with Shift+Enter. Where a text asks you to
predict, write your guess down before you run the next cell.
"""


class ClassError(Exception):
    """The class's files cannot be made; the message says why and what to do."""


# ---- the students' copy ----


def for_students(notebook: dict) -> str:
    """Text of the notebook's file without outputs, guards, covers, and links to solutions."""
    cells = []
    for cell in notebook["cells"]:
        about = dict(cell.get("metadata") or {})
        if cell.get("cell_type") == "code":
            if GUARD in about.get("tags", []):
                continue
            about.pop("jupyter", None)  # covers over sources and outputs
            about.pop("collapsed", None)
            cell = cell | {"outputs": [], "execution_count": None, "metadata": about}
        elif cell.get("cell_type") == "markdown":
            cell = cell | {"source": without_solutions(cell.get("source", ""))}
        cells.append(cell)
    return json.dumps(notebook | {"cells": cells}, indent=1, ensure_ascii=False) + "\n"


def without_solutions(source: str | list[str]) -> str | list[str]:
    """A text without links into solutions/: out of a row of links, else only the words stay."""

    def words(link: re.Match) -> str:
        return "" if link["bar"] else link["text"]

    if isinstance(source, str):
        return SOLUTIONS_LINK.sub(words, source)
    return SOLUTIONS_LINK.sub(words, "".join(source)).splitlines(keepends=True)


# ---- the archives ----


def lessons(root: Path) -> list[Path]:
    found = sorted((root / "notebooks").glob("[0-9]*.ipynb"))
    if not found:
        raise ClassError(f"no notebooks in {root / 'notebooks'}")
    return found


def read_notebook(path: Path) -> dict:
    try:
        return workspace.parse(path)
    except ValueError as error:
        raise ClassError(f"{path} is not a readable notebook: {error}") from error


def read_all(root: Path, names: list[str]) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in names}


def common(root: Path) -> dict[str, bytes]:
    """What both archives hold: the package, and the data that its list of checksums names."""
    package = {p for kind in PACKAGE for p in (root / "deepdrift").rglob(kind)}
    names = [path.relative_to(root).as_posix() for path in package]
    sums = (root / "data" / "SHA256SUMS").read_text(encoding="utf-8")
    data = [f"data/{line.split(maxsplit=1)[1].lstrip('*')}" for line in sums.splitlines() if line]
    return read_all(root, PROJECT + names + DATA + data)


def students(root: Path) -> dict[str, bytes]:
    """Files of the students' archive by name."""
    copies = {f"notebooks/{p.name}": for_students(read_notebook(p)).encode() for p in lessons(root)}
    return common(root) | copies | {"README.txt": README.encode()}


def teachers(root: Path) -> dict[str, bytes]:
    """Files of the teachers' archive by name: the originals, the solutions, and the pages."""
    originals = [*lessons(root), *sorted((root / "notebooks" / "solutions").glob("[0-9]*.ipynb"))]
    for path in originals:
        read_notebook(path)  # a broken one is named before anything is written
    names = [path.relative_to(root).as_posix() for path in originals]
    pages = [name for name in PAGES if (root / name).is_file()]
    return common(root) | read_all(root, names + pages) | {"README.txt": README.encode()}


def zipped(files: dict[str, bytes]) -> bytes:
    """An archive that depends on names and contents alone: sorted, with one fixed time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{TOP}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # also on Windows
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name], compresslevel=9)
    return buffer.getvalue()


# ---- the folder ----


def write(path: Path, content: bytes) -> str:
    """Write a whole file or leave what was there; returns its name and size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return f"{path.name}, {len(content) / 1e6:.1f} MB"


def make(root: Path, folder: Path) -> list[str]:
    """Write archives and slides into `folder`; returns what to tell the teacher."""
    for place in (folder, folder / "slides"):
        if place.exists() and not place.is_dir():
            raise ClassError(f"{place} is a file, not a folder: move it away, then run this again")
    place, ours = folder.resolve(), root.resolve()
    if place in (ours, *ours.parents) or (ours / "notebooks") in (place, *place.parents):
        raise ClassError(f"{folder} holds the originals: choose another folder")
    archives = {"students.zip": zipped(students(root)), "teachers.zip": zipped(teachers(root))}
    told = [write(folder / name, content) for name, content in archives.items()]
    try:
        import make_slides
    except ImportError as error:
        raise ClassError(
            f"{' and '.join(told)}, but no slides: they need {error.name}. "
            'Type: python -m pip install -e ".[class]"'
        ) from error
    made = {f"{path.stem}.html": path for path in lessons(root)}
    try:
        for name, path in made.items():
            told.append(write(folder / "slides" / name, make_slides.deck(path).encode()))
    except make_slides.SlideError as error:
        raise ClassError(str(error)) from error
    for old in sorted((folder / "slides").glob("[0-9]*.html")):
        if old.name not in made:  # of a notebook that was renamed
            old.unlink()
            told.append(f"{old.name}: removed, no notebook has this name")
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=ROOT / "class", help="default: class/")
    folder = parser.parse_args().into
    try:
        told = make(ROOT, folder)
    except ClassError as error:
        print(f"class: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        reason = f"{error.strerror or error}: {error.filename or folder}"
        print(f"class: cannot read or write here: {reason}", file=sys.stderr)
        print("--into names another folder, one where you may write.", file=sys.stderr)
        return 1
    for line in told:
        print(f"{folder.name}: {line}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
