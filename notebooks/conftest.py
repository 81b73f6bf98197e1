"""nbval on slow machines: long limits, and a cell that hangs is reported once.

The limits are there for hung kernels, not for slow machines. After a time-out nbval goes on with
the next cell, which fails for want of what the hung one should have made, and so on to the end;
here the rest of that notebook is skipped, with the reason.
"""

import re

import pytest

MESSAGE_TIMEOUT = 60.0  # seconds between a reply and its outputs; nbval fixes 5


def pytest_collection_modifyitems(items):
    for item in items:
        if hasattr(item, "output_timeout"):  # only nbval's cells have it
            item.output_timeout = MESSAGE_TIMEOUT


def pytest_runtest_setup(item):
    cell = getattr(item, "cell", None)
    if cell is None:  # not an nbval cell
        return
    skip_after_a_hang(item)
    raise_limit(item.config, cell.metadata.get("tags", []))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A time-out is a failure even where the cell swallowed it, or was allowed to raise."""
    result = yield
    if getattr(item.parent, "timed_out", False):
        pytest.fail(f"Cell {item.cell_num} ran into its time limit", pytrace=False)
    return result


def skip_after_a_hang(item):
    """Skip a cell whose notebook has lost its kernel; otherwise remember that it ran."""
    notebook = item.parent
    before = getattr(notebook, "last_cell", None)
    if notebook.timed_out:
        pytest.skip(f"after the time-out of cell {before}")
    if before is not None and not (notebook.kernel and notebook.kernel.is_alive()):
        pytest.skip(f"cell {before} left no running kernel")
    notebook.last_cell = item.cell_num


def raise_limit(config, tags):
    """Give a cell with a tag such as `timeout-900` that many seconds, others the usual limit."""
    if not hasattr(config, "_cell_timeout"):
        config._cell_timeout = config.option.nbval_cell_timeout
    wanted = [float(m[1]) for tag in tags if (m := re.fullmatch(r"timeout-(\d+)", tag))]
    config.option.nbval_cell_timeout = max([config._cell_timeout, *wanted])
