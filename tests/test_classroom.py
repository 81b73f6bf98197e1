"""`make class`: archives for students and teachers, the same bytes each time, and slides."""

from __future__ import annotations

import ast
import builtins
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import classroom as tool
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))

# A lesson as `make refresh` stores it, and by hand what students get of it.
STORED = """{
 "cells": [
  {
   "cell_type": "markdown",
   "id": "a",
   "metadata": {"tags": ["slide"]},
   "source": ["# 03 · Thresholds\\n", "See [data](../data/README.md)."]
  },
  {
   "cell_type": "code",
   "execution_count": 1,
   "id": "b",
   "metadata": {"jupyter": {"outputs_hidden": true}, "tags": ["slide"]},
   "outputs": [{"name": "stdout", "output_type": "stream", "text": ["581\\n"]}],
   "source": ["print(581)"]
  },
  {
   "cell_type": "code",
   "execution_count": 2,
   "id": "c",
   "metadata": {"jupyter": {"source_hidden": true}, "tags": ["guard"]},
   "outputs": [],
   "source": ["# These lines keep the text above true; skip them.\\n", "assert 581 > 0"]
  },
  {
   "cell_type": "markdown",
   "id": "navigation",
   "metadata": {},
   "source": ["Contents | [04 →](04_alarms.ipynb) | [Solutions](solutions/03_thresholds.ipynb)"]
  }
 ],
 "metadata": {"kernelspec": {"name": "python3"}},
 "nbformat": 4,
 "nbformat_minor": 5
}
"""
HANDED_OUT = """{
 "cells": [
  {
   "cell_type": "markdown",
   "id": "a",
   "metadata": {
    "tags": [
     "slide"
    ]
   },
   "source": [
    "# 03 · Thresholds\\n",
    "See [data](../data/README.md)."
   ]
  },
  {
   "cell_type": "code",
   "execution_count": null,
   "id": "b",
   "metadata": {
    "tags": [
     "slide"
    ]
   },
   "outputs": [],
   "source": [
    "print(581)"
   ]
  },
  {
   "cell_type": "markdown",
   "id": "navigation",
   "metadata": {},
   "source": [
    "Contents | [04 →](04_alarms.ipynb)"
   ]
  }
 ],
 "metadata": {
  "kernelspec": {
   "name": "python3"
  }
 },
 "nbformat": 4,
 "nbformat_minor": 5
}
"""

FILES = {
    "pyproject.toml": "[project]\n",
    "README.md": "# DeepDrift\n",
    "LICENSE": "MIT\n",
    "CONTRIBUTING.md": "not handed out\n",
    "deepdrift/__init__.py": "\n",
    "deepdrift/py.typed": "",
    "deepdrift/lab/house.mplstyle": "font.size: 10\n",
    "deepdrift/__pycache__/x.pyc": "not handed out",
    "data/README.md": "# Data\n",
    "data/LICENSE-fashion-mnist": "MIT\n",
    "data/SHA256SUMS": f"{'0' * 64}  images.npz\n{'0' * 64} *models/cnn.safetensors\n",
    "data/images.npz": "images",
    "data/models/cnn.safetensors": "weights",
    "data/downloads/full.npz": "not handed out",
    "docs/teaching.md": "# Teaching\n",
    "docs/glossary.md": "# Glossary\n",
    "notebooks/03_thresholds.ipynb": STORED,
    "notebooks/conftest.py": "not handed out",
    "notebooks/solutions/03_thresholds.ipynb": STORED.replace("581", "7"),
    "workspace/03_thresholds.ipynb": "not handed out",
}
BOTH = [
    "LICENSE",
    "README.md",
    "README.txt",
    "data/LICENSE-fashion-mnist",
    "data/README.md",
    "data/SHA256SUMS",
    "data/images.npz",
    "data/models/cnn.safetensors",
    "deepdrift/__init__.py",
    "deepdrift/lab/house.mplstyle",
    "deepdrift/py.typed",
    "notebooks/03_thresholds.ipynb",
    "pyproject.toml",
]
TEACHERS = [
    "docs/glossary.md",
    "docs/teaching.md",
    "notebooks/solutions/03_thresholds.ipynb",
]


@pytest.fixture
def house(tmp_path):
    """A small repository with one lesson."""
    root = tmp_path / "house"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    return root


def unpacked(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


# ---- the archives ----


def test_students_get_lessons_without_outputs_solutions_and_guards(house, tmp_path):
    tool.make(house, tmp_path / "class")
    files = unpacked(tmp_path / "class" / "students.zip")
    assert list(files) == [f"deepdrift-class/{name}" for name in BOTH]
    assert files.pop("deepdrift-class/notebooks/03_thresholds.ipynb").decode() == HANDED_OUT
    assert files.pop("deepdrift-class/README.txt").decode() == tool.README
    for name, content in files.items():
        assert content.decode() == FILES[name.removeprefix("deepdrift-class/")]


def test_teachers_get_everything_as_it_is_stored(house, tmp_path):
    tool.make(house, tmp_path / "class")
    files = unpacked(tmp_path / "class" / "teachers.zip")
    assert list(files) == [f"deepdrift-class/{name}" for name in sorted(BOTH + TEACHERS)]
    assert files.pop("deepdrift-class/README.txt").decode() == tool.README
    for name, content in files.items():
        assert content.decode() == FILES[name.removeprefix("deepdrift-class/")]


def test_two_runs_give_the_same_bytes_whatever_the_clock_and_the_rights(house, tmp_path):
    tool.make(house, tmp_path / "first")
    for path in house.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    (house / "LICENSE").chmod(0o755)
    tool.make(house, tmp_path / "second")
    names = ["students.zip", "teachers.zip", "slides/03_thresholds.html"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    made = [p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*.*")]
    assert sorted(map(str, made)) == sorted(str(Path(name)) for name in names)


def test_the_bytes_of_an_archive_are_those_of_its_format():
    """By hand, uncompressed view: names sorted, 1980-01-01, a plain file's rights."""
    content = tool.zipped({"b.txt": b"two", "a/ä.txt": b"one"})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        first, second = archive.infolist()
    assert (first.filename, second.filename) == ("deepdrift-class/a/ä.txt", "deepdrift-class/b.txt")
    assert content.startswith(b"PK\x03\x04")
    assert first.date_time == (1980, 1, 1, 0, 0, 0)
    assert first.external_attr == second.external_attr == 0o100644 << 16
    # date 1980-01-01 is 1 << 5 | 1, time 0: bytes 10 to 13 of the first local header
    assert content[10:14] == bytes([0, 0, 0x21, 0])


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("Contents | [Solutions](solutions/03_x.ipynb)", "Contents"),
        (
            "[a](a.ipynb) | [Solutions](solutions/a.ipynb) | [b](b.ipynb)",
            "[a](a.ipynb) | [b](b.ipynb)",
        ),
        ("The [answers](solutions/03_x.ipynb) wait.", "The answers wait."),
        ("[data](../data/README.md)", "[data](../data/README.md)"),
        (["one [a](solutions/a.ipynb)\n", "two"], ["one a\n", "two"]),
    ],
)
def test_links_to_solutions_go_and_their_words_stay(text, without):
    assert tool.without_solutions(text) == without


def test_every_link_of_a_students_lesson_leads_into_the_archive():
    files = tool.students(ROOT)
    for name, content in files.items():
        if name.startswith("notebooks/"):
            cells = json.loads(content)["cells"]
            text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
            for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
                if "://" not in link:
                    assert os.path.normpath(f"notebooks/{link}") in files, f"{name}: {link}"


def test_students_copies_of_the_real_lessons_are_clean_and_complete():
    files = tool.students(ROOT)
    assert not any("solutions" in name or "docs/" in name for name in files)
    for path in LESSONS:
        original = nbformat.read(path, as_version=4).cells
        copy = nbformat.reads(files[f"notebooks/{path.name}"].decode(), as_version=4)
        nbformat.validate(copy)
        kept = [c for c in original if "guard" not in c.metadata.get("tags", [])]
        assert [c.id for c in copy.cells] == [c.id for c in kept]
        for cell in copy.cells:
            assert cell.get("outputs", []) == [] and "jupyter" not in cell.metadata
            assert "](solutions/" not in cell.source
            assert not cell.source.startswith("# These lines keep the text above true")


def assigned(tree: ast.Module) -> set[str]:
    names = (n for n in ast.walk(tree) if isinstance(n, ast.Name))
    return {n.id for n in names if isinstance(n.ctx, ast.Store)}


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_a_lesson_runs_without_its_guards(path):
    """No later cell reads a name that only a guard has set."""
    set_by_guards, set_by_others = set(), set(dir(builtins))
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(re.sub(r"^[%!].*", "", cell.source, flags=re.M))
        if "guard" in cell.metadata.get("tags", []):
            set_by_guards |= assigned(tree)
            continue
        set_by_others |= assigned(tree)
        read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        assert not read & (set_by_guards - set_by_others), cell.source[:60]


def test_what_students_install_is_all_they_need(tmp_path):
    """From the unpacked archive alone: the version, the data with their checksums, a lesson."""
    for name, content in tool.students(ROOT).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for line in (tmp_path / "data" / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split(maxsplit=1)
        assert hashlib.sha256((tmp_path / "data" / name).read_bytes()).hexdigest() == digest
    code = (
        "import deepdrift\nfrom deepdrift.lab.bench.notebook import setup_notebook\n"
        "from deepdrift.lab.data import data_folder\n"
        "setup_notebook()\nprint(deepdrift.__version__, data_folder())"
    )
    env = {k: v for k, v in os.environ.items() if k != "DEEPDRIFT_DATA"}
    env["PYTHONPATH"] = str(tmp_path)
    run = [sys.executable, "-c", code]
    result = subprocess.run(
        run, cwd=tmp_path / "notebooks", env=env, capture_output=True, text=True
    )
    import deepdrift

    assert result.stdout == f"{deepdrift.__version__} {tmp_path / 'data'}\n", result.stderr


# ---- what cannot be done is said in words ----


def test_what_was_made_is_told_and_a_renamed_lessons_slides_go(house, tmp_path):
    folder = tmp_path / "class"
    told = tool.make(house, folder)
    assert [line.split(",")[0] for line in told] == [
        "students.zip",
        "teachers.zip",
        "03_thresholds.html",
    ]
    (house / "notebooks" / "03_thresholds.ipynb").rename(house / "notebooks" / "03_lines.ipynb")
    assert tool.make(house, folder)[-1] == "03_thresholds.html: removed, no notebook has this name"
    assert [p.name for p in (folder / "slides").iterdir()] == ["03_lines.html"]


@pytest.mark.parametrize("taken", ["class", "class/slides"])
def test_a_file_in_the_folders_place_is_named(house, tmp_path, taken):
    (tmp_path / taken).parent.mkdir(exist_ok=True)
    (tmp_path / taken).write_text("mine")
    with pytest.raises(tool.ClassError, match="is a file, not a folder: move it away"):
        tool.make(house, tmp_path / "class")
    assert (tmp_path / taken).read_text() == "mine"


@pytest.mark.parametrize("place", [".", "..", "notebooks", "notebooks/class"])
def test_the_folder_of_the_originals_is_refused(house, place):
    with pytest.raises(tool.ClassError, match="choose another folder"):
        tool.make(house, house / place)
    assert not list(house.rglob("*.zip"))


@pytest.mark.parametrize("name", ["03_thresholds.ipynb", "solutions/03_thresholds.ipynb"])
@pytest.mark.parametrize("content", [b"<<<<<<< HEAD", b"\xff\xfe", b"[]"])
def test_a_notebook_that_cannot_be_read_is_named_before_anything_is_written(
    house, tmp_path, name, content
):
    (house / "notebooks" / name).write_bytes(content)
    with pytest.raises(tool.ClassError, match=f"{name} is not a readable notebook"):
        tool.make(house, tmp_path / "class")
    assert not (tmp_path / "class").exists()


def test_no_notebooks_are_named(house, tmp_path):
    shutil.rmtree(house / "notebooks")
    with pytest.raises(tool.ClassError, match="no notebooks in"):
        tool.make(house, tmp_path / "class")


def test_without_the_extra_there_are_archives_and_the_command_that_installs_it(
    house, tmp_path, monkeypatch
):
    monkeypatch.delitem(sys.modules, "make_slides", raising=False)
    monkeypatch.setitem(sys.modules, "latex2mathml", None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, "latex2mathml.converter", None)
    with pytest.raises(
        tool.ClassError, match=r"no slides: they need latex2mathml.*\"\.\[class\]\""
    ):
        tool.make(house, tmp_path / "class")
    assert (tmp_path / "class" / "students.zip").is_file()


def run(*arguments: str) -> subprocess.CompletedProcess:
    """Run the tool as a teacher does."""
    command = [sys.executable, str(ROOT / "tools" / "classroom.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


def test_a_place_without_permission_is_named(tmp_path):
    (tmp_path / "shut").mkdir(mode=0o500)
    if os.access(tmp_path / "shut", os.W_OK):
        place = tmp_path / "file"  # the administrator may write anywhere but below a file
        place.write_text("")
        shut = place / "class"
    else:
        shut = tmp_path / "shut" / "class"
    result = run("--into", str(shut))
    assert result.returncode == 1
    assert "cannot read or write here" in result.stderr and "--into" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_command_makes_the_real_class(tmp_path):
    result = run("--into", str(tmp_path / "my class"))
    assert result.returncode == 0, result.stderr
    told = [line.split(", ")[0] for line in result.stdout.splitlines()]
    names = ["students.zip", "teachers.zip", *(f"{path.stem}.html" for path in LESSONS)]
    assert told == [f"my class: {name}" for name in names]
    assert (tmp_path / "my class" / "students.zip").stat().st_size < 20e6


# ---- the roads in ----

CPU = "torch torchvision --index-url https://download.pytorch.org/whl/cpu"


def test_every_page_says_the_same_lines_for_a_processor_alone():
    assert tool.CPU_TORCH == CPU
    for name in ("README.md", "CONTRIBUTING.md", "docs/teaching.md", ".binder/postBuild"):
        assert CPU in (ROOT / name).read_text(encoding="utf-8"), name
    assert tool.README.count(CPU) == 2
    assert tool.README.count('-m pip install -e ".[lab]"') == 2
    assert max(map(len, tool.README.splitlines())) <= 110


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
@pytest.mark.parametrize(("choice", "count"), [((), 0), (("TORCH=cpu",), 1)])
def test_make_installs_what_it_is_asked_for(tmp_path, choice, count):
    command = ["make", "-n", "class", f"VENV={tmp_path / 'venv'}", *choice]
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert sum(line.endswith(f"install {CPU}") for line in lines) == count
    assert any(line.endswith("install --editable '.[lab,class]'") for line in lines)
    assert lines[-1].endswith("/bin/python tools/classroom.py")


def test_git_ignores_the_class(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("no git")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    check = ["git", "-C", str(tmp_path), "check-ignore", "-q", "class/students.zip"]
    assert subprocess.run(check).returncode == 0
