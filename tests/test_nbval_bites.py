"""The notebook check bites: with the Makefile's own flags, one changed digit fails.

And it bites once: a cell that hangs is one failure, and the cells after it are skipped.
"""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[1]
CONFTEST = ROOT / "notebooks" / "conftest.py"
START = ROOT / "notebooks" / "00_start_here.ipynb"

EXPLORER = """
class Explorer:
    def _repr_mimebundle_(self, **kwargs):
        return {"text/plain": "581 of 2000 lie above.", "image/png": "iVBORw0="}

Explorer()
""".strip()


def makefile_flags() -> list[str]:
    return re.search(r"^NBVAL := (.+)$", (ROOT / "Makefile").read_text(), re.M)[1].split()


def nbval(folder: Path, notebook: nbformat.NotebookNode, *more: str) -> subprocess.CompletedProcess:
    """Check a notebook in `folder` as `make test` does: same flags (and more), same conftest."""
    shutil.copy(CONFTEST, folder)
    nbformat.write(notebook, folder / "copy.ipynb")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "MPLBACKEND"))}
    flags = [*makefile_flags(), *more, "-p", "no:cacheprovider", "-rs"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *flags, "copy.ipynb"],
        cwd=folder,
        env=env | {"DEEPDRIFT_DATA": str(ROOT / "data"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def change_digit(text: str) -> str:
    """Raise the first digit by one (9 becomes 0)."""
    return re.sub(r"\d", lambda m: str((int(m[0]) + 1) % 10), text, count=1)


def first_digit(notebook: nbformat.NotebookNode) -> tuple[int, nbformat.NotebookNode]:
    """The first stored stdout with a digit: its cell's place and the output itself."""
    return next(
        (place, output)
        for place, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
        if output.get("name") == "stdout" and re.search(r"\d", output.text)
    )


def assert_passes(run: subprocess.CompletedProcess) -> None:
    assert run.returncode == 0, run.stdout
    assert re.search(r"\b\d+ passed", run.stdout)
    assert "failed" not in run.stdout


def assert_bites(run: subprocess.CompletedProcess, key: str) -> None:
    assert run.returncode == 1, run.stdout
    assert "Cell outputs differ" in run.stdout
    assert f"mismatch '{key}'" in run.stdout


@pytest.fixture
def small():
    """Three stored outputs: a printed sentence, an explorer's bundle, nothing."""
    bundle = {"text/plain": "581 of 2000 lie above.", "image/png": "iVBORw0="}
    sentence = new_output("stream", name="stdout", text="AUROC 0.951\n")
    shown = new_output("execute_result", data=bundle, execution_count=2)
    return new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}},
        cells=[
            new_code_cell("print(f'AUROC {0.951:.3f}')", execution_count=1, outputs=[sentence]),
            new_code_cell(EXPLORER, execution_count=2, outputs=[shown]),
            new_code_cell("x = 1", execution_count=3),
        ],
    )


def test_an_untouched_notebook_passes(tmp_path, small):
    assert_passes(nbval(tmp_path, small))


def test_a_changed_digit_fails_in_print_and_in_an_explorer(tmp_path, small):
    small.cells[0].outputs[0].text = change_digit("AUROC 0.951\n")
    data = small.cells[1].outputs[0].data
    data["text/plain"] = change_digit(data["text/plain"])
    run = nbval(tmp_path, small)
    assert_bites(run, "stdout")
    assert_bites(run, "text/plain")
    assert "2 failed, 1 passed" in run.stdout


def test_the_first_lesson_passes_and_a_changed_digit_fails(tmp_path):
    notebook = nbformat.read(START, as_version=4)
    place, _ = first_digit(notebook)
    notebook.cells = notebook.cells[: place + 1]
    changed = copy.deepcopy(notebook)
    _, output = first_digit(changed)
    output.text = change_digit(output.text)
    assert_passes(nbval(tmp_path, notebook))
    assert_bites(nbval(tmp_path, changed), "stdout")


# ---- a slow machine is not a failure, and a hung cell is one ----

HANG = "import time\ntime.sleep(10_000)"
SWALLOW = (
    f"try:\n    {HANG.replace(chr(10), chr(10) + '    ')}\nexcept KeyboardInterrupt:\n    pass"
)


@pytest.mark.parametrize(
    ("source", "tags", "told"),
    [
        (HANG, [], "Timeout of 2 seconds exceeded"),
        (HANG, ["raises-exception", "nbval-ignore-output"], "Cell 0 ran into its time limit"),
        (SWALLOW, [], "Cell 0 ran into its time limit"),
    ],
    ids=["hang", "hang-where-errors-are-allowed", "hang-and-swallow"],
)
def test_a_cell_that_hangs_is_reported_once(tmp_path, source, tags, told):
    """Cell 0 never ends, whatever the machine; nothing here depends on how fast the others are."""
    cells = [new_code_cell(f"print({i})", execution_count=i + 1) for i in range(6)]
    cells[0] = new_code_cell(source, execution_count=1, metadata={"tags": tags})
    run = nbval(tmp_path, new_notebook(cells=cells), "--nbval-cell-timeout", "2")
    assert run.returncode == 1, run.stdout
    assert re.search(r"= 1 failed, 5 skipped in ", run.stdout), run.stdout
    assert told in run.stdout
    assert re.search(r"SKIPPED \[5\] .*: after the time-out of cell 0", run.stdout)


@pytest.mark.parametrize("kernel", [None, SimpleNamespace(is_alive=lambda: False)])
def test_a_kernel_that_did_not_start_or_died_is_reported_once(kernel):
    hooks: dict = {}
    exec(compile(CONFTEST.read_text(), "conftest", "exec"), hooks)
    notebook = SimpleNamespace(timed_out=False, kernel=None)
    hooks["skip_after_a_hang"](SimpleNamespace(parent=notebook, cell_num=0))  # starts the kernel
    notebook.kernel = kernel
    with pytest.raises(pytest.skip.Exception, match="cell 0 left no running kernel"):
        hooks["skip_after_a_hang"](SimpleNamespace(parent=notebook, cell_num=1))


def test_the_time_limits_are_for_hung_kernels():
    flags = makefile_flags()
    for name in ("--nbval-cell-timeout", "--nbval-kernel-startup-timeout"):
        assert flags[flags.index(name) + 1] == "600"


def test_timeout_tags_raise_the_limit_of_their_own_cell_only():
    hooks: dict = {}
    exec(compile(CONFTEST.read_text(), "conftest", "exec"), hooks)
    config = SimpleNamespace(option=SimpleNamespace(nbval_cell_timeout=600))
    notebook = SimpleNamespace(timed_out=False, kernel=SimpleNamespace(is_alive=lambda: True))
    limits = []
    for tags in ([], ["timeout-900", "raises-exception"], ["timeout-30"], []):
        cell = SimpleNamespace(metadata={"tags": tags})
        item = SimpleNamespace(cell=cell, cell_num=0, parent=notebook, config=config)
        hooks["pytest_runtest_setup"](item)
        limits.append(config.option.nbval_cell_timeout)
    assert limits == [600, 900, 600, 600]


def test_the_message_timeout_is_raised_on_cells_only():
    hooks: dict = {}
    exec(compile(CONFTEST.read_text(), "conftest", "exec"), hooks)
    cell, other = SimpleNamespace(output_timeout=5), SimpleNamespace()
    hooks["pytest_collection_modifyitems"]([cell, other])
    assert cell.output_timeout == 60
    assert vars(other) == {}
