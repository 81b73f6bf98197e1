"""nbval on slow machines: a longer message timeout, and `timeout-300` style tags on slow cells."""

import re

MESSAGE_TIMEOUT = 60.0  # seconds; nbval fixes 5, too little on a busy two-core machine


def pytest_collection_modifyitems(items):
    for item in items:
        if hasattr(item, "output_timeout"):  # only nbval's cells have it
            item.output_timeout = MESSAGE_TIMEOUT


def pytest_runtest_setup(item):
    cell = getattr(item, "cell", None)
    if cell is None:  # not an nbval cell
        return
    config = item.config
    if not hasattr(config, "_cell_timeout"):
        config._cell_timeout = config.option.nbval_cell_timeout
    tags = cell.metadata.get("tags", [])
    wanted = [float(m[1]) for tag in tags if (m := re.fullmatch(r"timeout-(\d+)", tag))]
    config.option.nbval_cell_timeout = max(wanted, default=config._cell_timeout)
