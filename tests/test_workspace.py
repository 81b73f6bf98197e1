"""`make lab` hands notebooks out: outputs cleared, and nothing a reader changed is overwritten."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import workspace as tool
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[1]
LESSON = "03_thresholds.ipynb"
BESIDE = "03_thresholds (new version).ipynb"


def save(path: Path, *sources: str) -> None:
    """Write an original: a heading, and code cells with outputs."""
    cells = [new_markdown_cell("# 03 · Thresholds")]
    for count, source in enumerate(sources, 1):
        output = new_output("stream", name="stdout", text="581\n")
        cells.append(new_code_cell(source, execution_count=count, outputs=[output]))
    cells[-1].metadata = {"tags": ["raises-exception"]}
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=cells), path)


def edit(path: Path, source: str) -> None:
    """Change the last cell, as a reader does."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].source = source
    nbformat.write(notebook, path)


def run_and_save_in_lab(path: Path) -> None:
    """Leave what JupyterLab leaves: outputs, counts, metadata, an empty cell, other formatting."""
    notebook = nbformat.read(path, as_version=4)
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 7):
        cell.execution_count = count
        cell.outputs = [new_output("stream", name="stdout", text="mine\n")]
        cell.metadata["execution"] = {"iopub.status.busy": "now"}
    notebook.metadata = {"kernelspec": {"name": "mine", "display_name": "x"}, "widgets": {}}
    notebook.cells.append(new_code_cell(""))
    path.write_text(json.dumps(notebook), encoding="utf-8")


def last_source(path: Path) -> str:
    return nbformat.read(path, as_version=4).cells[-1].source


@pytest.fixture
def notebooks(tmp_path):
    folder = tmp_path / "notebooks"
    save(folder / "00_start_here.ipynb", "print(0)")
    save(folder / LESSON, "x = 1", "print(x)")
    save(folder / "solutions" / LESSON, "print('solved')")
    (folder / "conftest.py").write_text("")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "README.md").write_text("# Data\n")
    return folder


@pytest.fixture
def mine(notebooks):
    """A workspace just handed out."""
    folder = notebooks.parent / "workspace"
    assert tool.update(notebooks, folder) == ["3 notebooks handed out, outputs cleared"]
    return folder


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def test_lessons_and_solutions_are_handed_out_without_outputs(mine):
    lessons = {"00_start_here.ipynb", LESSON, f"solutions/{LESSON}"}
    assert names(mine) == lessons | {"data/README.md", tool.MANIFEST}
    for name in lessons:
        notebook = nbformat.read(mine / name, as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert code and all(c.outputs == [] and c.execution_count is None for c in code)
        assert code[-1].metadata == {"tags": ["raises-exception"]}


def test_a_page_follows_the_same_rules(notebooks, mine):
    original, page = notebooks.parent / "data" / "README.md", mine / "data" / "README.md"
    assert page.read_text() == "# Data\n"
    original.write_text("# Data, again\n")
    assert tool.update(notebooks, mine) == [
        "data/README.md: replaced by its new version; you had not changed it"
    ]
    page.write_text("# Mine\n")
    original.write_text("# Data, once more\n")
    (line,) = tool.update(notebooks, mine)
    assert "'README (new version).md'" in line and page.read_text() == "# Mine\n"


def test_every_link_of_a_lesson_leads_somewhere_in_the_workspace(tmp_path):
    """As JupyterLab resolves it: what lies above the folder it serves is cut off."""
    folder = tmp_path / "workspace"
    tool.update(ROOT / "notebooks", folder)
    for path in [*folder.glob("*.ipynb"), *folder.glob("solutions/*.ipynb")]:
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in link and link.endswith((".ipynb", ".md")):
                place = os.path.normpath(Path("/", path.parent.relative_to(folder), link))
                assert (folder / place.lstrip("/")).is_file(), f"{path.name}: {link}"


def test_a_second_call_touches_nothing(notebooks, mine):
    before = snapshot(mine)
    before.pop(str(mine / tool.MANIFEST))
    assert tool.update(notebooks, mine) == []
    after = snapshot(mine)
    after.pop(str(mine / tool.MANIFEST))
    assert after == before


def test_the_originals_are_never_touched(notebooks, mine):
    before = snapshot(notebooks)
    edit(mine / LESSON, "print('mine')")
    (mine / "00_start_here.ipynb").unlink()
    tool.update(notebooks, mine)
    assert snapshot(notebooks) == before


def test_what_lab_writes_on_save_is_no_change_and_outputs_stay(notebooks, mine):
    run_and_save_in_lab(mine / LESSON)
    before = (mine / LESSON).read_bytes()
    assert tool.update(notebooks, mine) == []
    assert (mine / LESSON).read_bytes() == before

    save(notebooks / LESSON, "x = 1", "print(x + 1)")
    (line,) = tool.update(notebooks, mine)
    assert line.startswith(f"{LESSON}: replaced by its new version")
    assert last_source(mine / LESSON) == "print(x + 1)"
    assert not (mine / BESIDE).exists()
    assert tool.update(notebooks, mine) == []


def test_new_outputs_alone_are_no_new_version(notebooks, mine):
    notebook = nbformat.read(notebooks / LESSON, as_version=4)
    notebook.cells[-1].outputs = [new_output("stream", name="stdout", text="582\n")]
    nbformat.write(notebook, notebooks / LESSON)
    assert tool.update(notebooks, mine) == []


def test_a_changed_notebook_stays_and_the_new_version_lies_beside_it(notebooks, mine):
    edit(mine / LESSON, "print('mine')")
    assert tool.update(notebooks, mine) == []  # nothing new: nothing to say
    before = (mine / LESSON).read_bytes()
    save(notebooks / LESSON, "x = 1", "print(x + 1)")
    (line,) = tool.update(notebooks, mine)
    assert line == f"{LESSON}: kept, you changed it; its new version is '{BESIDE}'"
    assert (mine / LESSON).read_bytes() == before
    assert last_source(mine / BESIDE) == "print(x + 1)"
    assert tool.update(notebooks, mine) == []  # said once

    save(notebooks / LESSON, "x = 1", "print(x + 2)")  # the untouched new version is replaced
    (line,) = tool.update(notebooks, mine)
    assert BESIDE in line and last_source(mine / BESIDE) == "print(x + 2)"
    assert (mine / LESSON).read_bytes() == before

    (mine / BESIDE).unlink()  # read and thrown away: it does not come back
    assert tool.update(notebooks, mine) == []


def test_a_new_version_in_which_the_reader_worked_stays_too(notebooks, mine):
    edit(mine / LESSON, "print('mine')")
    save(notebooks / LESSON, "x = 1", "print(x + 1)")
    tool.update(notebooks, mine)
    edit(mine / BESIDE, "print('mine too')")
    before = (mine / LESSON).read_bytes(), (mine / BESIDE).read_bytes()
    save(notebooks / LESSON, "x = 1", "print(x + 2)")
    (line,) = tool.update(notebooks, mine)
    second = "03_thresholds (new version 2).ipynb"
    assert f"'{second}'" in line and last_source(mine / second) == "print(x + 2)"
    assert ((mine / LESSON).read_bytes(), (mine / BESIDE).read_bytes()) == before


def test_an_added_cell_and_another_cell_type_are_changes(notebooks, mine):
    for change in (
        lambda nb: nb.cells.append(new_markdown_cell("My notes.")),
        lambda nb: nb.cells.pop(),
        lambda nb: nb.cells[-1].update(cell_type="raw"),
    ):
        notebook = nbformat.read(mine / LESSON, as_version=4)
        handed_out = tool.digest(notebook)
        change(notebook)
        assert tool.digest(notebook) != handed_out


def test_new_notebooks_arrive_and_deleted_ones_come_back(notebooks, mine):
    (mine / LESSON).unlink()
    save(notebooks / "09_claims.ipynb", "print(9)")
    assert tool.update(notebooks, mine) == [
        f"{LESSON}: was missing, handed out again",
        "09_claims.ipynb: new",
    ]
    assert last_source(mine / LESSON) == "print(x)"


def test_a_renamed_original_leaves_the_old_copy(notebooks, mine):
    before = (mine / LESSON).read_bytes()
    (notebooks / LESSON).rename(notebooks / "03_lines.ipynb")
    assert tool.update(notebooks, mine) == [
        "03_lines.ipynb: new",
        f"{LESSON}: no longer among the notebooks; yours stays",
    ]
    assert (mine / LESSON).read_bytes() == before
    assert tool.update(notebooks, mine) == []


DAMAGED = [b"", b"{", b"[]", b'{"cells": 3}', b'{"cells": [3]}', b"\xff\xfe", b"[" * 100_000]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda b: repr(b[:12]))
def test_a_damaged_notebook_is_kept_and_a_fresh_copy_lies_beside_it(notebooks, mine, content):
    (mine / LESSON).write_bytes(content)
    for _ in range(2):  # told as long as it is so
        (line,) = tool.update(notebooks, mine)
        assert "cannot be read, so it is kept" in line and BESIDE in line
    assert (mine / LESSON).read_bytes() == content
    assert last_source(mine / BESIDE) == "print(x)"
    assert not (mine / "03_thresholds (new version 2).ipynb").exists()


def test_a_folder_in_a_notebooks_place_is_kept(notebooks, mine):
    (mine / LESSON).unlink()
    (mine / LESSON).mkdir()
    (line,) = tool.update(notebooks, mine)
    assert BESIDE in line and (mine / LESSON).is_dir()


@pytest.mark.parametrize("content", [None, "", "[]", '{"handed out": 3}'])
def test_without_the_list_of_what_was_handed_out_nothing_is_overwritten(notebooks, mine, content):
    manifest = mine / tool.MANIFEST
    manifest.unlink() if content is None else manifest.write_text(content)
    save(notebooks / LESSON, "x = 1", "print(x + 1)")
    before = (mine / LESSON).read_bytes()
    *told, line = tool.update(notebooks, mine)
    assert [text.split(":")[0] for text in told] == ([] if content is None else [tool.MANIFEST])
    assert "kept" in line and BESIDE in line
    assert (mine / LESSON).read_bytes() == before
    assert tool.update(notebooks, mine) == []


def test_an_update_that_breaks_off_can_be_repeated(notebooks, mine, monkeypatch):
    edit(mine / "00_start_here.ipynb", "print('mine')")
    before = (mine / "00_start_here.ipynb").read_bytes()
    save(notebooks / "00_start_here.ipynb", "print(1)")
    save(notebooks / LESSON, "x = 1", "print(x + 1)")
    write = tool.write

    def full(path, text):
        if path.name in (tool.MANIFEST, LESSON):
            raise OSError(28, "No space left on device", str(path))
        write(path, text)

    monkeypatch.setattr(tool, "write", full)
    with pytest.raises(OSError):
        tool.update(notebooks, mine)
    monkeypatch.undo()
    assert len(tool.update(notebooks, mine)) == 2
    assert (mine / "00_start_here.ipynb").read_bytes() == before
    assert last_source(mine / LESSON) == "print(x + 1)"
    assert not [name for name in names(mine) if "2" in name or name.endswith(".part")]


# ---- what cannot be done is said in words ----


def run(*arguments: str) -> subprocess.CompletedProcess:
    """Run the tool as a reader does, with the real notebooks."""
    command = [sys.executable, str(ROOT / "tools" / "workspace.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_command_hands_out_the_real_notebooks_and_says_so(tmp_path):
    folder = tmp_path / "reader"
    originals = {p.relative_to(ROOT / "notebooks").as_posix() for p in LESSONS}
    first, second = run("--into", str(folder)), run("--into", str(folder))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout == f"reader: {len(originals)} notebooks handed out, outputs cleared\n"
    assert second.stdout == "reader: up to date\n"
    assert names(folder) == originals | {*tool.PAGES, tool.MANIFEST}
    for name in originals:
        notebook = nbformat.read(folder / name, as_version=4)
        nbformat.validate(notebook)
        original = nbformat.read(ROOT / "notebooks" / name, as_version=4)
        assert [c.source for c in notebook.cells] == [c.source for c in original.cells]


LESSONS = [*ROOT.glob("notebooks/[0-9]*.ipynb"), *ROOT.glob("notebooks/solutions/[0-9]*.ipynb")]


def test_a_file_in_the_workspaces_place_is_named(tmp_path):
    (tmp_path / "taken").write_text("mine")
    result = run("--into", str(tmp_path / "taken"))
    assert result.returncode == 1
    assert "is a file, not a folder: move it away" in result.stderr
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_place_without_permission_is_named(tmp_path):
    (tmp_path / "shut").mkdir(mode=0o500)
    if os.access(tmp_path / "shut", os.W_OK):
        place = tmp_path / "file"  # the administrator may write anywhere but below a file
        place.write_text("")
        shut = place / "workspace"
    else:
        shut = tmp_path / "shut" / "workspace"
    result = run("--into", str(shut))
    assert result.returncode == 1
    assert "cannot read or write here" in result.stderr and "--into" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("place", [".", "..", "sub"])
def test_the_originals_are_no_workspace(notebooks, place):
    before = snapshot(notebooks)
    with pytest.raises(tool.WorkspaceError, match="choose another folder"):
        tool.update(notebooks, notebooks / place)
    assert snapshot(notebooks) == before


def test_an_original_that_is_broken_is_named_before_anything_is_written(notebooks, tmp_path):
    (notebooks / LESSON).write_text("<<<<<<< HEAD")
    with pytest.raises(tool.WorkspaceError, match=f"{LESSON} is not a readable notebook"):
        tool.update(notebooks, tmp_path / "workspace")
    assert not (tmp_path / "workspace").exists()
    with pytest.raises(tool.WorkspaceError, match="no notebooks"):
        tool.update(tmp_path / "nowhere", tmp_path / "workspace")


# ---- git, and the reader's folder ----


def test_git_ignores_the_workspace(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("no git")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    for name in ("workspace/03_thresholds.ipynb", "workspace/solutions/x.ipynb"):
        check = ["git", "-C", str(tmp_path), "check-ignore", "-q", name]
        assert subprocess.run(check).returncode == 0
    check = ["git", "-C", str(tmp_path), "check-ignore", "-q", "notebooks/03_thresholds.ipynb"]
    assert subprocess.run(check).returncode == 1


def test_the_data_are_found_from_the_workspace(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    code = (
        "from deepdrift.lab.bench.notebook import setup_notebook\n"
        "from deepdrift.lab.data import data_folder\n"
        "setup_notebook()\nprint((data_folder() / 'SHA256SUMS').is_file())"
    )
    env = {k: v for k, v in os.environ.items() if k != "DEEPDRIFT_DATA"}
    env["PYTHONPATH"] = str(ROOT)
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True
    )
    assert result.stdout == "True\n", result.stderr
