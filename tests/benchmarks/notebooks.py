"""Seconds and memory of every notebook: the numbers in their first cells and in README.

Each notebook's code runs in a process of its own, top to bottom. Seconds are CPU time on one
thread, start of Python and imports included; memory is the peak of the process. JupyterLab takes
about 0.1 GB beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def run(path: Path) -> None:
    """Run the code cells of a notebook in this process, without a screen."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    names = {"__name__": "__main__", "display": lambda *_: None}
    os.chdir(path.parent)
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        fails = "raises-exception" in cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and not fails:
            exec(compile("".join(cell["source"]), path.name, "exec"), names)
            pyplot.close("all")


def measured(path: Path) -> tuple[float, float]:
    """CPU seconds and peak memory in GB."""
    command = [sys.executable, __file__, "--run", str(path)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{path.name} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="notebooks whose name contains this text")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run)
        return
    print("| notebook | seconds | GB |\n|---|---|---|")
    for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        if options.only in path.name:
            seconds, memory = measured(path)
            print(f"| {path.stem} | {seconds:.0f} | {memory:.1f} |", flush=True)


if __name__ == "__main__":
    main()
