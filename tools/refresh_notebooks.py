"""Run notebooks in fresh kernels and store them clean: outputs, navigation, nothing else.

    python tools/refresh_notebooks.py                            # all of them
    python tools/refresh_notebooks.py notebooks/03_thresholds.ipynb

Each notebook runs from top to bottom in its own folder and in this environment's Python. What is
stored: sources, outputs, execution counts, tags, and as last cell the links to its neighbours.
What is not: widget state, timings, the editor's metadata. Cells tagged `guard` are stored with
their source collapsed, the answer to a prediction with its output collapsed. If its run fails, a
notebook keeps its file.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from PIL import Image, UnidentifiedImageError

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
START = "00_start_here.ipynb"  # its text holds the table of contents
WIDGET = "application/vnd.jupyter.widget-view+json"
GUARD = "guard"  # tag of the cells whose asserts keep the text true
PREDICT = "**Predict.**"
ABOUT_PICTURES = ("width", "height", "alt")  # size on the page, and words for those who cannot see
CELL_TIMEOUT = 600  # seconds, against hung kernels; a tag such as `timeout-900` raises it


def title(path: Path) -> str:
    """Return the first heading, '03 · Where to put the line', or the file's name."""
    notebook = nbformat.read(path, as_version=4)
    heading = re.search(r"^# (.+)$", notebook.cells[0].source if notebook.cells else "", re.M)
    return heading[1].strip() if heading else path.stem


def navigation(path: Path) -> str:
    """Return the links at a notebook's end: previous | contents | next | solutions."""
    if path.parent.name == "solutions":
        twin = path.parent.parent / path.name
        contents = f"[Contents](../{START})"
        return f"[← {title(twin)}](../{path.name}) | {contents}" if twin.exists() else contents
    family = sorted(path.parent.glob("[0-9][0-9]*_*.ipynb"))
    place = family.index(path)
    links = ["Contents" if path.name == START else f"[Contents]({START})"]
    if place > 0:
        links.insert(0, f"[← {title(family[place - 1])}]({family[place - 1].name})")
    if place + 1 < len(family):
        links.append(f"[{title(family[place + 1])} →]({family[place + 1].name})")
    if (path.parent / "solutions" / path.name).exists():
        links.append(f"[Solutions](solutions/{path.name})")
    return " | ".join(links)


def is_navigation(cell: NotebookNode) -> bool:
    """Tell whether a cell was written by `navigation`: one line of links with 'Contents'."""
    return cell.cell_type == "markdown" and bool(
        re.fullmatch(r"(\[[^\n]*\| )?(\[Contents\]\([^)\n]*\)|Contents)( \|[^\n]*)?", cell.source)
    )


def write_navigation(notebook: NotebookNode, path: Path) -> None:
    """Make the links the last cell; a cell that held them before is replaced."""
    notebook.cells = [cell for cell in notebook.cells if not is_navigation(cell)]
    cell = new_markdown_cell(navigation(path))
    cell.id = "navigation"
    notebook.cells.append(cell)


def is_explorer(output: NotebookNode) -> bool:
    """Tell whether an output is an explorer: a picture with a sentence, or its live view."""
    data = output.get("data", {})
    return WIDGET in data or ("image/png" in data and data.get("text/plain", "<")[:1] != "<")


def cell_metadata(notebook: NotebookNode, index: int) -> dict:
    """Return what is stored about a cell: its tags, and which half of it opens collapsed.

    Guards open without their source. The code cell that answers a prediction, which stands in the
    text right before it, opens without its output, unless that is the explorer to predict with.
    """
    cell = notebook.cells[index]
    tags = cell.metadata.get("tags")
    found: dict = {"tags": list(tags)} if tags else {}
    if cell.cell_type != "code":
        return found
    before = notebook.cells[index - 1] if index else None
    if GUARD in found.get("tags", []):
        found["jupyter"] = {"source_hidden": True}
    elif (
        before is not None
        and before.cell_type == "markdown"
        and PREDICT in before.source
        and not any(map(is_explorer, cell.get("outputs", [])))
    ):
        found["jupyter"] = {"outputs_hidden": True}
    return found


def strip_metadata(notebook: NotebookNode) -> None:
    """Keep the kernel's name, `cell_metadata`, and size and words of pictures; drop the rest.

    An explorer keeps its picture and its sentence. Its widget view is a random id that means
    nothing without a kernel: JupyterLab would show an error in place of the picture.
    """
    notebook.metadata = NotebookNode(kernelspec=KERNEL, language_info={"name": "python"})
    for index, cell in enumerate(notebook.cells):
        cell.metadata = nbformat.from_dict(cell_metadata(notebook, index))
        for output in cell.get("outputs", []):
            if "metadata" in output:
                about = output.metadata.get("image/png", {})
                kept = {name: about[name] for name in ABOUT_PICTURES if name in about}
                output.metadata = nbformat.from_dict({"image/png": kept} if kept else {})
            if len(output.get("data", {})) > 1:
                output.data.pop(WIDGET, None)


def shorten_errors(notebook: NotebookNode) -> None:
    """Keep of an expected error what it says; a whole traceback names this machine's files."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                output.traceback = output.traceback[-1:]


def with_palette(png: str) -> str:
    """Return a base64 PNG in the 256 colours that fit it best: a quarter of the bytes.

    Figures differ by less than one grey level on average. What is not a full-colour PNG, or would
    not shrink, is returned as it is.
    """
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(png)))
    except UnidentifiedImageError:
        return png
    if picture.mode not in ("RGB", "RGBA"):
        return png
    buffer = io.BytesIO()
    opaque = Image.new("RGB", picture.size, "white")
    opaque.paste(picture, mask=picture.getchannel("A") if picture.mode == "RGBA" else None)
    colours = opaque.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    colours.save(buffer, "PNG", optimize=True)
    smaller = base64.b64encode(buffer.getvalue()).decode("ascii")
    return min(png, smaller, key=len)


def shrink_pictures(notebook: NotebookNode) -> None:
    """Store every picture in an output with a palette."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = with_palette(output.data["image/png"])


def cell_timeout(cell: NotebookNode) -> float:
    """Return the seconds a cell may take: the default, or a `timeout-N` tag that is larger."""
    tags = cell.metadata.get("tags", [])
    wanted = [float(m[1]) for tag in tags if (m := re.fullmatch(r"timeout-(\d+)", tag))]
    return max([CELL_TIMEOUT, *wanted])


def refresh(path: Path, execute: bool = True) -> None:
    """Run one notebook and replace its file by the clean result."""
    notebook = nbformat.read(path, as_version=4)
    notebook.nbformat_minor = max(notebook.nbformat_minor, 5)  # cells have ids
    write_navigation(notebook, path)
    if execute:
        notebook.cells = [c for c in notebook.cells if c.source.strip()]
        NotebookClient(
            notebook,
            kernel_name=KERNEL["name"],
            timeout_func=cell_timeout,
            startup_timeout=CELL_TIMEOUT,
            resources={"metadata": {"path": str(path.parent)}},
            coalesce_streams=True,
            store_widget_state=False,
            record_timing=False,
            extra_arguments=["--log-level=ERROR"],
        ).execute()
    strip_metadata(notebook)
    shorten_errors(notebook)
    shrink_pictures(notebook)
    _, notebook = nbformat.validator.normalize(notebook)
    nbformat.validate(notebook)
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8", newline="\n")
    new.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of them")
    parser.add_argument(
        "--no-execute", action="store_true", help="only strip metadata and write the links"
    )
    args = parser.parse_args()
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # the kernel of this environment, not the user's
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in the checks
    paths = [path.resolve() for path in args.notebooks] or sorted(
        [*FOLDER.glob("[0-9]*.ipynb"), *FOLDER.glob("solutions/[0-9]*.ipynb")]
    )
    if not paths:
        print(f"No notebooks in {FOLDER.name}/.", file=sys.stderr)
        return 1
    failed = 0
    for path in paths:
        start, name = time.perf_counter(), os.path.relpath(path)
        try:
            refresh(path, execute=not args.no_execute)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed += 1
            print(f"{name}: NOT stored, its run failed\n{error}", file=sys.stderr)
        else:
            size = path.stat().st_size / 1024
            seconds = time.perf_counter() - start
            print(f"{name}: {seconds:.0f} s, {size:.0f} KiB", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
