"""The house rules for notebooks, each a function from a notebook to its violations."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from nbformat import NotebookNode
from refresh_notebooks import GUARD, WIDGET, cell_metadata
from refresh_notebooks import navigation as links_at_the_end

IGNORED = "nbval-ignore-output"
ALLOWED_TAG = re.compile(rf"{IGNORED}|raises-exception|timeout-\d+|slide|{GUARD}")
COMPARED = {"text/plain", "text/html", "text/latex", "image/svg+xml", "application/json"}
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.:/-])/(?:home|root|Users|tmp|private|work|workspace|mnt|opt|var)/\w|\b[A-Z]:\\\w"
)
STYLE = re.compile(r"\x1b\[[\d;]*m")  # colours of a traceback, which may stand before a path
LINK = re.compile(r"\]\(([^)\s]+)\)")
NUMBERED = re.compile(r"^## (\d+)\b", re.MULTILINE)
SECTION = re.compile(r"^## (\d+) · \S", re.MULTILINE)
CLOSING = ("## You saw", "## Limits", "## Questions", "## References")
EXERCISE = re.compile(r"^### Exercise (\d+) · \S", re.MULTILINE)
TAKEAWAY = "**In short.**"
GUARDS_SAY = "# These lines keep the text above true; skip them."
TIME = re.compile(
    r"^\*\*Time\.\*\* (\d+) min, runs in about (\d+) s on one laptop core, "
    r"([\d.]+) GB of memory\.",
    re.MULTILINE,
)

MIN_COMPARED_SHARE = 0.6
MAX_IGNORED_CELLS = 3
MAX_CELL_LINES = 12
MAX_GUARD_LINES = 25
MEDIAN_CELL_LINES = 4
MEDIAN_WORDS = 70
MAX_PARAGRAPH_WORDS = 90
MAX_PRINTED = 100  # characters in a line; longer ones wrap inside numbers
SLIDES = range(8, 25)
MAX_DEF_LINES = 8
MAX_KIB = 400


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def is_guard(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and GUARD in tags(cell)


def readers_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Code cells that a reader reads: all but the guards."""
    return [cell for cell in code_cells(notebook) if not is_guard(cell)]


def code_lines(cell: NotebookNode) -> list[str]:
    return [x for x in cell.source.splitlines() if x.strip() and x.strip()[0] != "#"]


def syntax(cell: NotebookNode) -> ast.Module:
    lines = ("" if x.lstrip()[:1] in "%!" else x for x in cell.source.splitlines())
    return ast.parse("\n".join(lines))


def number(path: Path) -> str:
    """'02b' of '02b_innovation.ipynb'."""
    return path.name.split("_")[0]


def sections(notebook: NotebookNode) -> list[tuple[str, list[NotebookNode]]]:
    """Numbered sections by heading, each with its cells; what comes before or after is left out."""
    found: list[tuple[str, list[NotebookNode]]] = []
    inside = False
    for cell in notebook.cells:
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else []:
            if line.startswith("## "):
                inside = bool(SECTION.match(line))
                if inside:
                    found.append((line, []))
        if inside:
            found[-1][1].append(cell)
    return found


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
    first, start = notebook.cells[0], f"# {number(path)} · "
    if first.cell_type != "markdown" or not first.source.startswith(start):
        yield f"the first cell must start with {start!r}"


def fresh_run(notebook: NotebookNode, path: Path) -> Iterator[str]:
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if not counts or counts != list(range(1, len(counts) + 1)):
        yield f"execution counts must be 1..N of one fresh run, not {counts}: make refresh"


def compared_share(notebook: NotebookNode, path: Path) -> Iterator[str]:
    cells = readers_cells(notebook)
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
            text = STYLE.sub("", text)
            if found := ABSOLUTE_PATH.search(text):
                yield f"absolute path in an output: {text[found.start() : found.start() + 60]!r}"


def short_code(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for cell in code_cells(notebook):
        lines, start = code_lines(cell), cell.source[:50]
        most = MAX_GUARD_LINES if is_guard(cell) else MAX_CELL_LINES
        if not lines:
            yield "a code cell without code"
        if len(lines) > most:
            yield f"{len(lines)} lines of code in one cell, at most {most}: {start!r}"
        if lines and lines[-1].rstrip().endswith(";"):
            yield f"trailing ';' (nbval sees the value it hides), write '_ = ...': {start!r}"
        if "fmt: skip" in cell.source or "fmt: off" in cell.source:
            yield f"code that does not fit its formatter belongs into the library: {start!r}"
        for node in ast.walk(syntax(cell)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                length = node.end_lineno - node.lineno + 1
                if length > MAX_DEF_LINES:
                    yield f"{node.name} has {length} lines, at most {MAX_DEF_LINES}: library code"


def asserts_in_guards(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Asserts stand in collapsed cells that say what they are and show nothing."""
    for cell in code_cells(notebook):
        start = cell.source[:50]
        asserts = any(isinstance(node, ast.Assert) for node in ast.walk(syntax(cell)))
        if asserts and not is_guard(cell):
            yield f"an assert outside of a cell tagged {GUARD!r}: {start!r}"
        if is_guard(cell) and not asserts:
            yield f"a guard without an assert: {start!r}"
        if is_guard(cell) and cell.source.splitlines()[0] != GUARDS_SAY:
            yield f"a guard begins with {GUARDS_SAY!r}: {start!r}"
        if is_guard(cell) and cell.outputs:
            yield f"a guard shows nothing: {start!r}"


def text_between(notebook: NotebookNode, path: Path) -> Iterator[str]:
    cells = [cell for cell in notebook.cells if not is_guard(cell)]
    for before, after in zip(cells, cells[1:], strict=False):
        if before.cell_type == after.cell_type == "code":
            yield f"two code cells in a row, the second: {after.source[:50]!r}"


def plain_metadata(notebook: NotebookNode, path: Path) -> Iterator[str]:
    if "widgets" in notebook.metadata:
        yield "metadata.widgets is stored: make refresh"
    name = notebook.metadata.get("kernelspec", {}).get("name")
    if name != "python3":
        yield f"the kernel must be 'python3', not {name!r}"
    for index, cell in enumerate(notebook.cells):
        if cell.metadata != cell_metadata(notebook, index):
            yield f"cell metadata {dict(cell.metadata)}: make refresh: {cell.source[:50]!r}"
        if any(WIDGET in output.get("data", {}) for output in cell.get("outputs", [])):
            yield f"a widget without picture or sentence, or make refresh: {cell.source[:50]!r}"


def pictures_for_all(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """A figure has words for those who cannot see it, and a size on the page of its own."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data and data.get("text/plain", "<")[:1] == "<":
                about = output.metadata.get("image/png", {})
                if not about.get("alt") or not about.get("width"):
                    start = cell.source[:50]
                    yield f"a picture without 'alt' or 'width', see figures.figure: {start!r}"


def printed_lines(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "stream":
                for line in output.text.splitlines():
                    if len(line) > MAX_PRINTED:
                        start = line[:50]
                        yield f"{len(line)} characters in a line, at most {MAX_PRINTED}: {start!r}"


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
    first = notebook.cells[0].source
    for start in ("**You will**\n- ", "**Before.** ", "**Time.** ", "**Data.** "):
        if f"\n\n{start}" not in first:
            yield f"the first cell must have a paragraph {start!r}"
    if not TIME.search(first):
        yield f"the time must be said like this: {TIME.pattern}"


def numbered_headings(notebook: NotebookNode, path: Path) -> Iterator[str]:
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    numbers = [int(n) for text in texts for n in NUMBERED.findall(text)]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"headings '## 1', '## 2', ... must be numbered without gaps, not {numbers}"
    if len(numbers) != sum(len(SECTION.findall(text)) for text in texts):
        yield "numbered headings are written '## 1 · Title'"


def closing(notebook: NotebookNode, path: Path) -> Iterator[str]:
    cells = [cell for cell in notebook.cells[:-1] if not is_guard(cell)][-len(CLOSING) :]
    heads = tuple(cell.source.split("\n")[0] for cell in cells)
    if heads != CLOSING:
        yield f"before the links the last cells must begin with {CLOSING}, not {heads}"


def one_takeaway(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for heading, cells in sections(notebook):
        texts = (cell.source for cell in cells if cell.cell_type == "markdown")
        count = sum(text.count(TAKEAWAY) for text in texts)
        if count != 1:
            yield f"{heading!r} has {count} times {TAKEAWAY!r}, it must be one"


def guarded_sections(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for heading, cells in sections(notebook):
        if not any(map(is_guard, cells)):
            yield f"{heading!r} has no cell tagged {GUARD!r} that keeps its numbers and titles true"


def light_code(notebook: NotebookNode, path: Path) -> Iterator[str]:
    median = statistics.median([len(code_lines(cell)) for cell in readers_cells(notebook)] or [0])
    if median > MEDIAN_CELL_LINES:
        yield f"the median code cell has {median:g} lines, at most {MEDIAN_CELL_LINES}"


def light_text(notebook: NotebookNode, path: Path) -> Iterator[str]:
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    median = statistics.median([len(text.split()) for text in texts] or [0])
    if median > MEDIAN_WORDS:
        yield f"the median text cell has {median:g} words, at most {MEDIAN_WORDS}"
    for paragraph in (part for text in texts for part in re.split(r"\n\s*\n|\n(?=[-|])", text)):
        words = len(paragraph.split())
        if words > MAX_PARAGRAPH_WORDS:
            yield f"{words} words in a paragraph, at most {MAX_PARAGRAPH_WORDS}: {paragraph[:50]!r}"


def exercises(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """At least three, numbered, each followed by its starter cell."""
    numbers = []
    for cell, after in zip(notebook.cells, notebook.cells[1:], strict=False):
        found = EXERCISE.findall(cell.source) if cell.cell_type == "markdown" else []
        numbers += map(int, found)
        if found and f"check.ex_{number(path)}_" not in after.source:
            yield f"no check.ex_{number(path)}_... right after {cell.source[:40]!r}"
    if numbers != list(range(1, len(numbers) + 1)) or len(numbers) < 3:
        yield f"exercises '### Exercise 1 · Title', at least three, not {numbers}"


def slides(notebook: NotebookNode, path: Path) -> Iterator[str]:
    count = sum("slide" in tags(cell) for cell in notebook.cells)
    if count not in SLIDES:
        yield f"{count} cells are tagged 'slide', a lecture takes {SLIDES[0]} to {SLIDES[-1]}"


def reading_after_figure(notebook: NotebookNode, path: Path) -> Iterator[str]:
    cells = [cell for cell in notebook.cells if not is_guard(cell)]
    following = [*cells[1:], NotebookNode(cell_type="nothing", source="")]
    for cell, after in zip(cells, following, strict=True):
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
    asserts_in_guards,
    text_between,
    plain_metadata,
    pictures_for_all,
    printed_lines,
    small_file,
    navigation,
    links_exist,
    named_before_printed,
)
LESSONS = (
    opening,
    numbered_headings,
    closing,
    one_takeaway,
    guarded_sections,
    light_code,
    light_text,
    exercises,
    slides,
    reading_after_figure,
    solutions_twin,
)
