"""How long from a moved slider to the new picture, for the explorers of every notebook.

Each notebook's code runs once, as far as its last explorer; then every control is moved through
its range, and each move is timed until picture and sentence are there. Times are CPU time of this
process, which other programs disturb least. The promise is 100 ms; JupyterLab adds about 10.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot

from deepdrift.lab.bench.explorer import Explorer

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
PROMISE = 100  # milliseconds


def explorers(path: Path) -> dict[str, Explorer]:
    """The explorers of a notebook by variable, as they stand after Run all."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "__main__", "display": lambda *_: None}
    os.chdir(path.parent)
    for cell in cells:
        source, tags = "".join(cell["source"]), cell["metadata"].get("tags", [])
        if cell["cell_type"] != "code" or "guard" in tags or "raises-exception" in tags:
            continue
        tree = ast.parse(source)
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(tree, path.name, "exec"), names)
        pyplot.close("all")
    return {name: value for name, value in names.items() if isinstance(value, Explorer)}


def moves(app: Explorer) -> Iterator[dict[str, Any]]:
    """Each control through its range and back to its start, one move after another."""
    start = app.values
    for name, control in app._controls.items():
        if hasattr(control, "options"):
            yield from ({name: option} for option in control.options)
        elif isinstance(control.value, bool):
            yield from ({name: value} for value in (True, False))
        else:
            slider = type(control).__name__
            ends = [control.min, control.max]
            places = [ends[0] + (ends[1] - ends[0]) * k / 12 for k in range(13)]
            if slider == "FloatLogSlider":
                places = [control.base**place for place in places]
            if slider == "IntSlider":
                steps = (round((place - ends[0]) / control.step) for place in places)
                places = [ends[0] + step * control.step for step in dict.fromkeys(steps)]
            yield from ({name: place} for place in places)
        yield {name: start[name]}


def times(app: Explorer) -> list[float]:
    """Milliseconds of every move."""
    found = []
    for values in moves(app):
        start = time.process_time()
        app.set(**values)
        found.append(1e3 * (time.process_time() - start))
    return [t for t in found if t > 1]  # a move to where it stands draws nothing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="notebooks whose name contains this text")
    only = parser.parse_args().only
    print("| notebook | explorer | moves | median, ms | 9 of 10, ms | slowest, ms |")
    print("|---|---|---|---|---|---|")
    for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        if only not in path.name:
            continue
        for name, app in explorers(path).items():
            found = times(app)
            nine = statistics.quantiles(found, n=10)[-1]
            held = "" if nine <= PROMISE else " **> 100**"
            print(
                f"| {path.name[:3].rstrip('_')} | `{name}` {type(app).__name__} | {len(found)} | "
                f"{statistics.median(found):.0f} | {nine:.0f}{held} | {max(found):.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
