"""`make refresh`: fresh runs, clean files, links to the neighbours, nothing lost on failure."""

from __future__ import annotations

import base64
import io
import json

import nbformat
import numpy as np
import pytest
import refresh_notebooks as tool
import workspace
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

VIEW = {tool.WIDGET: {"model_id": "5f3a"}}


@pytest.fixture
def folder(tmp_path):
    """Three lessons, the middle one with solutions and with everything an editor leaves."""
    (tmp_path / "solutions").mkdir()
    for name, heading in {
        "00_start_here.ipynb": "00 · Start here",
        "01_states.ipynb": "01 · States",
        "02_velocity.ipynb": "02 · Velocity",
        "solutions/01_states.ipynb": "01 · States: solutions",
    }.items():
        notebook = new_notebook(cells=[new_markdown_cell(f"# {heading}\n\nText.")])
        nbformat.write(notebook, tmp_path / name)
    untidy = nbformat.read(tmp_path / "01_states.ipynb", as_version=4)
    picture = new_output(
        "display_data",
        data=VIEW | {"text/plain": "3 of 4", "image/png": "iVBORw0="},
        metadata={"image/png": {"width": 800, "alt": "Two", "x": 1}, "needs": "drop"},
    )
    bare = new_output("display_data", data=VIEW)
    cell = new_code_cell("print(6 * 7)", execution_count=9, outputs=[picture, bare])
    cell.metadata = {"tags": ["timeout-300"], "execution": {}, "collapsed": False}
    untidy.cells.append(cell)
    untidy.metadata = {"widgets": {"state": {}}, "kernelspec": {"name": "mine"}}
    nbformat.write(untidy, tmp_path / "01_states.ipynb")
    return tmp_path


def test_links_name_the_neighbours(folder):
    assert tool.navigation(folder / "00_start_here.ipynb") == (
        "Contents | [01 · States →](01_states.ipynb)"
    )
    assert tool.navigation(folder / "01_states.ipynb") == (
        "[← 00 · Start here](00_start_here.ipynb) | [Contents](00_start_here.ipynb)"
        " | [02 · Velocity →](02_velocity.ipynb) | [Solutions](solutions/01_states.ipynb)"
    )
    assert tool.navigation(folder / "02_velocity.ipynb") == (
        "[← 01 · States](01_states.ipynb) | [Contents](00_start_here.ipynb)"
    )
    assert tool.navigation(folder / "solutions" / "01_states.ipynb") == (
        "[← 01 · States](../01_states.ipynb) | [Contents](../00_start_here.ipynb)"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Contents", True),
        ("[Contents](00_start_here.ipynb) | [02 →](02.ipynb)", True),
        ("[← 01](01.ipynb) | [Contents](00_start_here.ipynb)", True),
        ("## Contents", False),
        ("Contents of this notebook", False),
        ("See the [Contents](00_start_here.ipynb).", False),
    ],
)
def test_only_a_line_of_links_is_taken_for_navigation(text, expected):
    assert tool.is_navigation(new_markdown_cell(text)) is expected


def test_stale_links_are_replaced_and_a_second_call_changes_nothing(folder):
    path = folder / "01_states.ipynb"
    tool.refresh(path, execute=False)
    once = path.read_bytes()
    tool.refresh(path, execute=False)
    assert path.read_bytes() == once
    (folder / "02_velocity.ipynb").unlink()
    tool.refresh(path, execute=False)
    notebook = nbformat.read(path, as_version=4)
    assert [cell.source for cell in notebook.cells if "Contents" in cell.source] == [
        tool.navigation(path)
    ]


def test_what_an_editor_leaves_is_dropped_and_tags_are_kept(folder):
    path = folder / "01_states.ipynb"
    tool.refresh(path, execute=False)
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata == {
        "kernelspec": {
            "name": "python3",
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
        },
        "language_info": {"name": "python"},
    }
    cell = notebook.cells[1]
    assert cell.metadata == {"tags": ["timeout-300"]}
    assert cell.outputs[0].data == {"text/plain": "3 of 4", "image/png": "iVBORw0="}
    assert cell.outputs[0].metadata == {"image/png": {"width": 800, "alt": "Two"}}
    assert cell.outputs[1].data == VIEW  # never an empty output; the notebook rules refuse it


def test_guards_and_answers_to_predictions_open_collapsed(folder):
    """The source of a guard; the output after a prediction, but not the explorer to predict with.

    What the reader runs in the workspace shows what it prints.
    """
    path = folder / "02_velocity.ipynb"
    notebook = nbformat.read(path, as_version=4)
    explorer = new_output("display_data", data=VIEW | {"text/plain": "3", "image/png": "iVBORw0="})
    guess, again = (new_markdown_cell("**Predict.** More or less?") for _ in range(2))
    say = new_markdown_cell("So.")
    guard = new_code_cell("assert True", metadata={"tags": ["guard"]})
    notebook.cells += [guess, new_code_cell("1"), guard, say, new_code_cell("2"), again]
    notebook.cells.append(new_code_cell("3", outputs=[explorer]))
    nbformat.write(notebook, path)
    tool.refresh(path, execute=False)
    stored = nbformat.read(path, as_version=4)
    assert [c.metadata for c in stored.cells if c.cell_type == "code"] == [
        {"jupyter": {"outputs_hidden": True}},
        {"tags": ["guard"], "jupyter": {"source_hidden": True}},
        {},
        {},
    ]
    handed_out = json.loads(workspace.cleared(workspace.parse(path)))
    covers = [c["metadata"] for c in handed_out["cells"] if c["cell_type"] == "code"]
    assert covers == [{}, {"tags": ["guard"], "jupyter": {"source_hidden": True}}, {}, {}]


def test_of_an_expected_error_only_what_it_says_is_stored(folder):
    path = folder / "02_velocity.ipynb"
    notebook = nbformat.read(path, as_version=4)
    lines = ["Traceback", "File x.py:3", "ValueError: no"]
    error = new_output("error", ename="ValueError", evalue="no", traceback=lines)
    notebook.cells.append(new_code_cell("1 / 0", outputs=[error]))
    nbformat.write(notebook, path)
    tool.refresh(path, execute=False)
    (cell,) = [c for c in nbformat.read(path, as_version=4).cells if c.source == "1 / 0"]
    assert cell.outputs == [error | {"traceback": ["ValueError: no"]}]


def test_a_notebook_with_a_letter_stands_between_its_neighbours(folder):
    source = (folder / "01_states.ipynb").read_text().replace("01 · States", "01b · More")
    (folder / "01b_more.ipynb").write_text(source)
    assert tool.navigation(folder / "01b_more.ipynb") == (
        "[← 01 · States](01_states.ipynb) | [Contents](00_start_here.ipynb)"
        " | [02 · Velocity →](02_velocity.ipynb)"
    )


def test_a_run_stores_fresh_outputs(folder):
    path = folder / "01_states.ipynb"
    tool.refresh(path)
    cell = nbformat.read(path, as_version=4).cells[1]
    assert cell.execution_count == 1
    assert [output.text for output in cell.outputs] == ["42\n"]


def test_a_failed_run_keeps_the_file_and_is_told(folder, monkeypatch, capsys):
    path = folder / "01_states.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source = "1 / 0"
    nbformat.write(notebook, path)
    before = path.read_bytes()
    monkeypatch.setattr("sys.argv", ["refresh_notebooks.py", str(path)])
    assert tool.main() == 1
    assert path.read_bytes() == before
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert not list(folder.glob("*.new"))


def test_a_timeout_tag_raises_the_limit_of_its_cell():
    assert tool.CELL_TIMEOUT == 600
    cell = new_code_cell("", metadata={"tags": ["timeout-400", "raises-exception", "timeout-900"]})
    assert tool.cell_timeout(cell) == 900
    for tags in ([], ["timeout-30"]):
        assert tool.cell_timeout(new_code_cell("", metadata={"tags": tags})) == 600


def test_pictures_get_a_palette_and_keep_their_looks():
    rows, columns = np.mgrid[0:90, 0:120]
    grain = np.random.default_rng(0).integers(0, 4, (90, 120, 3))  # as edges of letters have
    pixels = (np.stack([2 * columns, 2 * rows, 250 - columns], axis=2) + grain).astype(np.uint8)
    pixels[40:50] = (213, 94, 0)  # a line of the house palette, exactly
    stored = []
    for mode in ("RGBA", "RGB"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(buffer, "PNG")
        png = base64.b64encode(buffer.getvalue()).decode()
        small = tool.with_palette(png)
        picture = Image.open(io.BytesIO(base64.b64decode(small)))
        assert picture.mode == "P" and len(small) < len(png)
        seen = np.asarray(picture.convert("RGB")).astype(int)
        assert np.abs(seen - pixels).mean() < 8 and np.abs(seen[45, 60] - (213, 94, 0)).max() <= 2
        assert tool.with_palette(small) == small
        stored.append(small)
    assert stored[0] == stored[1]


def test_what_is_no_picture_stays_as_it_is(folder):
    tool.refresh(folder / "01_states.ipynb", execute=False)
    notebook = nbformat.read(folder / "01_states.ipynb", as_version=4)
    assert notebook.cells[1].outputs[0].data["image/png"] == "iVBORw0="
