"""The house rules for notebooks, each a function from a notebook to its violations."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from nbformat import NotebookNode
from refresh_notebooks import WIDGET
from refresh_notebooks import navigation as links_at_the_end

IGNORED = "nbval-ignore-output"
ALLOWED_TAG = re.compile(rf"{IGNORED}|raises-exception|timeout-\d+")
COMPARED = {"text/plain", "text/html", "text/latex", "image/svg+xml", "application/json"}
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.:/-])/(?:home|root|Users|tmp|private|work|workspace|mnt|opt|var)/\w|\b[A-Z]:\\\w"
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
NUMBERED = re.compile(r"^## (\d+)\b", re.MULTILINE)

MIN_COMPARED_SHARE = 0.6
MAX_IGNORED_CELLS = 3
MAX_CELL_LINES = 15
MAX_DEF_LINES = 8
MAX_KIB = 400


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def stored_texts(cell: NotebookNode) -> Iterator[str]:
    """Every piece of text in a cell's stored outputs."""
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            yield output.text
        elif output.output_type == "error":
            yield "\n".join([output.evalue, *output.traceback])
        else:
            yield from (v for k, v in output.data.items() if k in COMPARED and isinstance(v, str))


def is_compared(cell: NotebookNode) -> bool:
    """Would strict nbval compare more than a figure's size here?"""
    if IGNORED in tags(cell) or cell.execution_count is None:
        return False
    for output in cell.outputs:
        if output.output_type in ("stream", "error"):
            return True
        kinds = COMPARED & set(output.data)
        if kinds == {"text/plain"} and output.data["text/plain"].startswith("<Figure "):
            continue
        if kinds:
            return True
    return False


def has_figure(cell: NotebookNode) -> bool:
    """Does the cell show a picture? An explorer's, which comes with a sentence, does not count."""
    shown = (output.get("data", {}) for output in cell.get("outputs", []))
    return any("image/png" in x and x.get("text/plain", "<")[:1] == "<" for x in shown)


# ---- rules for every notebook ----


def title(notebook: NotebookNode, path: Path) -> Iterator[str]:
    number = path.name[:2]
    first = notebook.cells[0]
    if first.cell_type != "markdown" or not first.source.startswith(f"# {number} · "):
        yield f"the first cell must start with '# {number} · '"


def fresh_run(notebook: NotebookNode, path: Path) -> Iterator[str]:
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if not counts or counts != list(range(1, len(counts) + 1)):
        yield f"execution counts must be 1..N of one fresh run, not {counts}: make refresh"


def compared_share(notebook: NotebookNode, path: Path) -> Iterator[str]:
    cells = code_cells(notebook)
    share = sum(map(is_compared, cells)) / max(len(cells), 1)
    if share < MIN_COMPARED_SHARE:
        yield (
            f"only {share:.0%} of the code cells have text to compare, {MIN_COMPARED_SHARE:.0%} "
            "needed: print a sentence beside each figure"
        )


def allowed_tags(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for cell in notebook.cells:
        for tag in tags(cell):
            if not ALLOWED_TAG.fullmatch(tag):
                yield f"tag {tag!r} is not one of ours"
    ignored = [cell for cell in notebook.cells if IGNORED in tags(cell)]
    if len(ignored) > MAX_IGNORED_CELLS:
        yield f"{len(ignored)} cells are tagged {IGNORED}, at most {MAX_IGNORED_CELLS}"
    for cell in ignored:
        if "#" not in cell.source:
            yield f"a cell tagged {IGNORED} needs a comment that says why: {cell.source[:40]!r}"
    if any("NBVAL_" in cell.source for cell in code_cells(notebook)):
        yield "use tags, not NBVAL_ comments"


def clean_outputs(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                yield f"stderr: {output.text[:80]!r}"
            if output.output_type == "error" and "raises-exception" not in tags(cell):
                yield f"stored error {output.ename}: {output.evalue[:80]}"
        for text in stored_texts(cell):
            if found := ABSOLUTE_PATH.search(text):
                yield f"absolute path in an output: {text[found.start() : found.start() + 60]!r}"


def short_code(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for cell in code_cells(notebook):
        lines = [x for x in cell.source.splitlines() if x.strip() and x.strip()[0] != "#"]
        start = cell.source[:50]
        if not lines:
            yield "a code cell without code"
        if len(lines) > MAX_CELL_LINES:
            yield f"{len(lines)} lines of code in one cell, at most {MAX_CELL_LINES}: {start!r}"
        if lines and lines[-1].rstrip().endswith(";"):
            yield f"trailing ';' (nbval sees the value it hides), write '_ = ...': {start!r}"
        python = "\n".join("" if x.lstrip()[:1] in "%!" else x for x in cell.source.splitlines())
        for node in ast.walk(ast.parse(python)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                length = node.end_lineno - node.lineno + 1
                if length > MAX_DEF_LINES:
                    yield f"{node.name} has {length} lines, at most {MAX_DEF_LINES}: library code"


def text_between(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for before, after in zip(notebook.cells, notebook.cells[1:], strict=False):
        if before.cell_type == after.cell_type == "code":
            yield f"two code cells in a row, the second: {after.source[:50]!r}"


def plain_metadata(notebook: NotebookNode, path: Path) -> Iterator[str]:
    if "widgets" in notebook.metadata:
        yield "metadata.widgets is stored: make refresh"
    name = notebook.metadata.get("kernelspec", {}).get("name")
    if name != "python3":
        yield f"the kernel must be 'python3', not {name!r}"
    for cell in notebook.cells:
        if extra := set(cell.metadata) - {"tags"}:
            yield f"cell metadata {sorted(extra)}: make refresh"
        if any(WIDGET in output.get("data", {}) for output in cell.get("outputs", [])):
            yield f"a widget without picture or sentence, or make refresh: {cell.source[:50]!r}"


def small_file(notebook: NotebookNode, path: Path) -> Iterator[str]:
    kib = path.stat().st_size / 1024
    if kib > MAX_KIB:
        yield f"{kib:.0f} KiB, at most {MAX_KIB}"


def navigation(notebook: NotebookNode, path: Path) -> Iterator[str]:
    expected = links_at_the_end(path)
    if notebook.cells[-1].source != expected:
        yield f"the last cell must be {expected!r}: make refresh"


def links_exist(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for target in LINK.findall(cell.source):
                file = target.split("#")[0]
                if ":" not in file and file and not (path.parent / file).exists():
                    yield f"link to {target!r}: no such file"


@cache
def detector_names() -> tuple[str, ...]:
    """Names under which the race of alarms and the fair comparison print their detectors."""
    from deepdrift.lab.alarms.races import detectors
    from deepdrift.lab.fair_comparison.detectors import DETECTORS

    return (*detectors(), *DETECTORS)


def named_before_printed(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """A detector's name in an output stands in a text cell before it, in whatever case."""
    read, told = "", set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            read += "\n" + cell.source.casefold()
        for text in stored_texts(cell):
            for name in detector_names():
                word = rf"(?<!\w){re.escape(name)}(?!\w)"
                known = name in told or re.search(word.casefold(), read)
                if not known and re.search(word, text):
                    told.add(name)
                    yield f"{name!r} is printed and stands in no text before: {cell.source[:50]!r}"


# ---- rules for the lessons only ----


def opening(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for word in ("You will", "Before", "Time", "Data"):
        if f"**{word}" not in notebook.cells[0].source:
            yield f"the first cell must have **{word}**"


def numbered_headings(notebook: NotebookNode, path: Path) -> Iterator[str]:
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    numbers = [int(number) for text in texts for number in NUMBERED.findall(text)]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"headings '## 1', '## 2', ... must be numbered without gaps, not {numbers}"


def reading_after_figure(notebook: NotebookNode, path: Path) -> Iterator[str]:
    following = [*notebook.cells[1:], NotebookNode(cell_type="nothing", source="")]
    for cell, after in zip(notebook.cells, following, strict=True):
        if has_figure(cell) and not (after.cell_type == "markdown" and "Reading" in after.source):
            yield f"a figure needs a 'Reading' in the next cell: {cell.source[:50]!r}"


def solutions_twin(notebook: NotebookNode, path: Path) -> Iterator[str]:
    if not (path.parent / "solutions" / path.name).exists():
        yield f"solutions/{path.name} is missing"


EVERYWHERE = (
    title,
    fresh_run,
    compared_share,
    allowed_tags,
    clean_outputs,
    short_code,
    text_between,
    plain_metadata,
    small_file,
    navigation,
    links_exist,
    named_before_printed,
)
LESSONS = (opening, numbered_headings, reading_after_figure, solutions_twin)
