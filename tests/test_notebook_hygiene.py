"""Every notebook follows the house rules, and every rule catches what it is for."""

from __future__ import annotations

import copy
from pathlib import Path

import nbformat
import notebook_rules as rules
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))


def violations(path: Path) -> list[str]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    applied = rules.EVERYWHERE + (() if path.parent.name == "solutions" else rules.LESSONS)
    return [f"{rule.__name__}: {found}" for rule in applied for found in rule(notebook, path)]


def test_there_are_notebooks():
    assert [path.name for path in LESSONS][:1] == ["00_start_here.ipynb"]
    assert [path.name for path in SOLUTIONS] == [path.name for path in LESSONS]
    numbers = [rules.number(path) for path in LESSONS]
    assert numbers == sorted(numbers) and len(set(numbers)) == len(numbers)
    whole = sorted({int(number[:2]) for number in numbers})  # 02 and 02b are one step
    assert whole == list(range(len(whole)))


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_house_rules(path):
    assert not violations(path)


# ---- the rules themselves: a clean notebook passes, each fault is named ----

PICTURE = {"image/png": "iVBORw0=", "text/plain": "<Figure size 800x300 with 1 Axes>"}
ABOUT = {"image/png": {"alt": "It is two", "width": 800, "height": 300}}
GUARD = rules.GUARDS_SAY + "\nassert 2 == 1 + 1"


def stdout(text: str) -> dict:
    return new_output("stream", name="stdout", text=text)


def display(data: dict, metadata: dict | None = None) -> dict:
    return new_output("display_data", data=data, metadata=metadata or {})


def text(source: str, slide: bool = False) -> dict:
    return new_markdown_cell(source, metadata={"tags": ["slide"]} if slide else {})


def code(source: str, outputs: list, **metadata) -> dict:
    return new_code_cell(source, outputs=outputs, metadata=metadata)


HEAD = """# 00 · A topic

A promise.

**You will**
- see.

**Before.** Nothing.

**Time.** 5 min, runs in about 2 s on one laptop core, 0.5 GB of memory.

**Data.** None."""


def lesson() -> list[dict]:
    """Cells of a small lesson that follows all rules."""
    cells = [
        text(HEAD, slide=True),
        code("print(1)", [stdout("1\n")]),
        text("## 1 · One\n\n**Predict.** What comes next?", slide=True),
        code(
            "plot()\nprint(2)",
            [stdout("2\n"), display(PICTURE, ABOUT)],
            jupyter={"outputs_hidden": True},
        ),
        text("**Reading.** It is two.\n\n**In short.** Two.", slide=True),
        code(GUARD, [], tags=["guard"], jupyter={"source_hidden": True}),
    ]
    for k in (1, 2, 3):
        cells.append(text(f"### Exercise {k} · Count\n\nWhat is {k}?", slide=True))
        cells.append(code(f"answer = None\ncheck.ex_00_{k}(answer)", [stdout("Not yet\n")]))
    cells += [text(f"{heading}\n\n- Two.", slide=True) for heading in rules.CLOSING]
    cells.append(text("Contents | [Solutions](solutions/00_start_here.ipynb)"))
    counts = iter(range(1, 99))
    for cell in cells:
        if cell.cell_type == "code":
            cell.execution_count = next(counts)
    return cells


@pytest.fixture
def clean(tmp_path):
    """A small lesson that follows all rules, and its path with a solutions twin beside it."""
    notebook = new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}},
        cells=lesson(),
    )
    path = tmp_path / "notebooks" / "00_start_here.ipynb"
    (path.parent / "solutions").mkdir(parents=True)
    nbformat.write(notebook, path)
    nbformat.write(notebook, path.parent / "solutions" / path.name)
    return notebook, path


def test_a_clean_notebook_passes(clean):
    assert violations(clean[1]) == []


FAULTS = {
    "title": [lambda nb: nb.cells[0].update(source=nb.cells[0].source.replace("00", "08"))],
    "fresh_run": [
        lambda nb: nb.cells[3].update(execution_count=5),
        lambda nb: nb.cells[1].update(execution_count=None, outputs=[]),
        lambda nb: nb.update(cells=[c for c in nb.cells if c.cell_type != "code"]),
    ],
    "compared_share": [
        lambda nb: [  # 2 of 5, and a figure's size only
            nb.cells[3].update(outputs=[display(PICTURE, ABOUT)]),
            *(nb.cells[i].update(outputs=[]) for i in (7, 9)),
        ],
        lambda nb: [nb.cells[i].update(outputs=[]) for i in (1, 7, 9)],
        lambda nb: [nb.cells[i].metadata.update(tags=["nbval-ignore-output"]) for i in (1, 7, 9)],
    ],
    "allowed_tags": [
        lambda nb: nb.cells[1].metadata.update(tags=["nbval-skip"]),
        lambda nb: nb.cells[2].metadata.update(tags=["hide-input"]),
        lambda nb: nb.cells[1].metadata.update(tags=["nbval-ignore-output"]),  # without a reason
        lambda nb: nb.cells[1].update(source="# NBVAL_IGNORE_OUTPUT\nprint(1)"),
    ],
    "clean_outputs": [
        lambda nb: nb.cells[1].outputs.append(new_output("stream", name="stderr", text="warn")),
        lambda nb: nb.cells[1].outputs.append(
            new_output("error", ename="ValueError", evalue="no", traceback=[])
        ),
        lambda nb: nb.cells[1].outputs.append(stdout("read /" + "home/ann/data.npz\n")),
        lambda nb: nb.cells[1].outputs.append(display({"text/plain": "PosixPath('/" + "tmp/x')"})),
        lambda nb: nb.cells[1].outputs.append(stdout("read C:" + "\\Users\\ann\n")),
        lambda nb: nb.cells[1].update(
            metadata={"tags": ["raises-exception"]},
            outputs=[
                new_output(
                    "error",
                    ename="ValueError",
                    evalue="no",
                    traceback=["File \x1b[32m/" + "home/ann/x.py:3\x1b[39m", "ValueError: no"],
                )
            ],
        ),
    ],
    "short_code": [
        lambda nb: nb.cells[1].update(source="x = 1;"),
        lambda nb: nb.cells[1].update(source="\n".join(f"x{i} = {i}" for i in range(13))),
        lambda nb: nb.cells[5].update(source=GUARD + "\nassert 1" * 25),
        lambda nb: nb.cells[1].update(source="x = 1  # fmt: skip"),
        lambda nb: nb.cells[1].update(
            source="def f():\n" + "\n".join(f"    x{i} = {i}" for i in range(8))
        ),
        lambda nb: nb.cells[1].update(source="# only a comment"),
    ],
    "asserts_in_guards": [
        lambda nb: nb.cells[1].update(source="assert 1"),
        lambda nb: nb.cells[1].update(source="for x in [1]:\n    assert x, 'deep'"),
        lambda nb: nb.cells[5].update(source=rules.GUARDS_SAY + "\nx = 1"),
        lambda nb: nb.cells[5].update(source="assert 1"),
        lambda nb: nb.cells[5].update(outputs=[stdout("1\n")]),
    ],
    "text_between": [
        lambda nb: nb.cells.pop(2),
        lambda nb: (nb.cells.pop(6), nb.cells.pop(4)),  # a guard between is no text
    ],
    "pictures_for_all": [
        lambda nb: nb.cells[3].outputs[1].update(metadata={}),
        lambda nb: nb.cells[3].outputs[1].metadata["image/png"].update(alt=""),
    ],
    "printed_lines": [lambda nb: nb.cells[1].update(outputs=[stdout("short\n" + "x" * 101)])],
    "plain_metadata": [
        lambda nb: nb.cells[3].metadata.update(jupyter={}),
        lambda nb: nb.cells[5].metadata.update(jupyter={"source_hidden": False}),
        lambda nb: nb.cells[1].metadata.update(jupyter={"outputs_hidden": True}),
        lambda nb: nb.metadata.update(widgets={"state": {}}),
        lambda nb: nb.metadata.kernelspec.update(name="my-env"),
        lambda nb: nb.cells[1].metadata.update(execution={"iopub.status.busy": "now"}),
        lambda nb: nb.cells[3].outputs.append(display({"text/plain": "app", rules.WIDGET: {}})),
    ],
    "small_file": [lambda nb: nb.cells[1].outputs.append(stdout("long line\n" * 45_000))],
    "navigation": [
        lambda nb: nb.cells.pop(),
        lambda nb: nb.cells[-1].update(source="Contents | [Solutions](none.ipynb)"),
    ],
    "links_exist": [lambda nb: nb.cells[2].update(source="see [next](08_none.ipynb)")],
    "opening": [
        lambda nb, word=word: nb.cells[0].update(source=nb.cells[0].source.replace(word, "Well"))
        for word in ("You will", "Before", "Time", "Data", "2 s", "0.5 GB", "\n- see")
    ],
    "closing": [
        lambda nb: nb.cells.pop(-2),
        lambda nb: nb.cells.insert(-3, text("More.")),
    ],
    "one_takeaway": [
        lambda nb: nb.cells[4].update(source="**Reading.** It is two."),
        lambda nb: nb.cells[4].update(source=nb.cells[4].source + "\n\n**In short.** Three."),
        lambda nb: nb.cells[6].update(source="## 2 · Two\n\n" + nb.cells[6].source),
    ],
    "guarded_sections": [
        lambda nb: nb.cells.pop(5),
        lambda nb: nb.cells[6].update(source="## 2 · Two\n\n" + nb.cells[6].source),
    ],
    "light_code": [
        lambda nb: [nb.cells[i].update(source="x = 1\n" * 5) for i in (1, 3, 7)],
    ],
    "light_text": [
        lambda nb: [nb.cells[i].update(source="word " * 71) for i in range(2, 15) if i % 2 == 0],
        lambda nb: nb.cells[4].update(source=nb.cells[4].source + "\n\n" + "word " * 91),
    ],
    "exercises": [
        lambda nb: nb.cells[6].update(source="### Exercise 1: Count"),
        lambda nb: nb.cells[8].update(source="### Exercise 3 · Count"),
        lambda nb: nb.cells[7].update(source="check.ex_01_1(1)"),
    ],
    "slides": [
        lambda nb: [cell.metadata.pop("tags", 0) for cell in nb.cells[:5]],
        lambda nb: [nb.cells.insert(1, text("More.", slide=True)) for _ in range(20)],
    ],
    "named_before_printed": [
        lambda nb: nb.cells[1].outputs.append(stdout("CUSUM 0.5: 6 steps\n")),
        lambda nb: nb.cells[3].outputs.append(display({"text/plain": "Best: layer distance."})),
        lambda nb: (  # too late, and only a part of the name
            nb.cells[1].outputs.append(stdout("river ADWIN 3")),
            nb.cells[2].update(source="ADWIN and river ADWIN"),
        ),
        lambda nb: nb.cells[1].outputs.append(stdout("  SCALE 0.9")),
    ],
    "numbered_headings": [
        lambda nb: nb.cells[2].update(source="## 2 · Begin with two"),
        lambda nb: nb.cells[2].update(source="## 1. Not as we write it"),
        lambda nb: nb.cells[2].update(source="## 1 · One\n\n## 3. Three\n\n### 2 · Within"),
        lambda nb: (
            nb.cells[2].update(source="## 1. One"),
            nb.cells[4].update(source="**Reading.**\n\n## 1. One"),
        ),
    ],
    "reading_after_figure": [
        lambda nb: nb.cells[4].update(source="It is two."),
        lambda nb: nb.update(cells=nb.cells[:4]),
        lambda nb: nb.cells.pop(4),
    ],
}


@pytest.mark.parametrize(
    ("rule", "fault"), [(rule, fault) for rule, faults in FAULTS.items() for fault in faults]
)
def test_a_fault_is_named(clean, rule, fault):
    notebook, path = copy.deepcopy(clean[0]), clean[1]
    fault(notebook)
    nbformat.write(notebook, path)
    assert rule in {line.split(":")[0] for line in violations(path)}


def test_a_missing_twin_is_named(clean):
    (clean[1].parent / "solutions" / clean[1].name).unlink()
    assert any(line.startswith("solutions_twin") for line in violations(clean[1]))


def test_every_rule_is_tested():
    named = {rule.__name__ for rule in rules.EVERYWHERE + rules.LESSONS}
    assert named == FAULTS.keys() | {"solutions_twin"}


def test_headings_and_names_that_are_in_order_pass(clean):
    notebook, path = clean
    ending = "\n\n**In short.** Two."
    notebook.cells[2].source = "## 1 · One\n\nCusum 0.5 and *velocity, peak* race."
    notebook.cells[3].outputs = [stdout("CUSUM 0.5 beats velocity, peak; a ViTal randomness\n")]
    notebook.cells[3].metadata = {}
    notebook.cells[4].source = "**Reading.** So.\n\n### 7 · A part" + ending
    notebook.cells[6].source = "## 2 · Two\n\n" + notebook.cells[6].source + ending
    notebook.cells.insert(8, copy.deepcopy(notebook.cells[5]))
    for count, cell in enumerate(rules.code_cells(notebook), start=1):
        cell.execution_count = count
        cell.id = f"code-{count}"
    nbformat.write(notebook, path)
    assert violations(path) == []


def test_a_notebook_between_two_numbers_has_a_letter(clean):
    notebook, path = clean
    path = path.with_name("00b_more.ipynb")
    nbformat.write(notebook, path)
    assert "title: the first cell must start with '# 00b · '" in violations(path)


def test_an_explorer_counts_by_its_sentence_and_needs_no_reading_of_its_own(clean):
    notebook, path = clean
    bundle = {"text/plain": "3 of 4 lie above.", "image/png": "iVBORw0="}
    notebook.cells[3].outputs = [display(bundle)]
    notebook.cells[3].metadata = {}
    notebook.cells[4].source = "Move it.\n\n**In short.** Two."
    nbformat.write(notebook, path)
    assert violations(path) == []
