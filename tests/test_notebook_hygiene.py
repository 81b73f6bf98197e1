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
    assert [path.name[:2] for path in LESSONS] == [f"{i:02d}" for i in range(len(LESSONS))]


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_house_rules(path):
    assert not violations(path)


# ---- the rules themselves: a clean notebook passes, each fault is named ----

PICTURE = {"image/png": "iVBORw0=", "text/plain": "<Figure size 800x300 with 1 Axes>"}


def stdout(text: str) -> dict:
    return new_output("stream", name="stdout", text=text)


def display(data: dict) -> dict:
    return new_output("display_data", data=data)


@pytest.fixture
def clean(tmp_path):
    """A small lesson that follows all rules, and its path with a solutions twin beside it."""
    head = (
        "# 00 · A topic\nA promise.\n\n"
        "**You will** see.\n**Before** nothing.\n**Time** 1 min.\n**Data** none."
    )
    notebook = new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}},
        cells=[
            new_markdown_cell(head),
            new_code_cell("print(1)", execution_count=1, outputs=[stdout("1\n")]),
            new_markdown_cell("**Predict.** What comes next?"),
            new_code_cell(
                "plot()\nprint(2)", execution_count=2, outputs=[stdout("2\n"), display(PICTURE)]
            ),
            new_markdown_cell("**Reading.** It is two."),
            new_markdown_cell("Contents | [Solutions](solutions/00_start_here.ipynb)"),
        ],
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
        lambda nb: nb.cells[3].update(outputs=[display(PICTURE)]),  # 1 of 2, a figure's size only
        lambda nb: nb.cells[1].update(outputs=[]),
        lambda nb: nb.cells[1].metadata.update(tags=["nbval-ignore-output"]),
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
    ],
    "short_code": [
        lambda nb: nb.cells[1].update(source="x = 1;"),
        lambda nb: nb.cells[1].update(source="\n".join(f"x{i} = {i}" for i in range(16))),
        lambda nb: nb.cells[1].update(
            source="def f():\n" + "\n".join(f"    x{i} = {i}" for i in range(8))
        ),
        lambda nb: nb.cells[1].update(source="# only a comment"),
    ],
    "text_between": [lambda nb: nb.cells.pop(2)],
    "plain_metadata": [
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
        for word in ("You will", "Before", "Time", "Data")
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
        lambda nb: nb.cells[2].update(source="## 1 · One\n\n## 3. Three\n\n### 2 · Within"),
        lambda nb: (
            nb.cells[2].update(source="## 1. One"),
            nb.cells[4].update(source="**Reading.**\n\n## 1. One"),
        ),
    ],
    "reading_after_figure": [
        lambda nb: nb.cells[4].update(source="It is two."),
        lambda nb: nb.update(cells=nb.cells[:4]),
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
    notebook.cells[2].source = "## 1 · One\n\nCusum 0.5 and *velocity, peak* race.\n\n## 2. Two"
    notebook.cells[3].outputs = [stdout("CUSUM 0.5 beats velocity, peak; a ViTal randomness\n")]
    notebook.cells[4].source = "**Reading.** So.\n\n## 3 · Three\n\n### 7 · A part"
    nbformat.write(notebook, path)
    assert violations(path) == []


def test_an_explorer_counts_by_its_sentence_and_needs_no_reading_of_its_own(clean):
    notebook, path = clean
    bundle = {"text/plain": "3 of 4 lie above.", "image/png": "iVBORw0="}
    notebook.cells[3].outputs = [display(bundle)]
    notebook.cells[4].source = "**Predict.** Move it."
    nbformat.write(notebook, path)
    assert violations(path) == []
