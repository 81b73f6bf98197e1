"""Explorers under a hand that drags: they follow, skip what was passed over, and fit the screen."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
import reader
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Page, expect

from deepdrift.lab.bench.explorer import PAGE

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = os.environ.get("DEEPDRIFT_REQUIRE_BROWSER") == "1"

SLOW = """
import time
from deepdrift.lab.bench.controls import number_control, toggle_control
from deepdrift.lab.bench.explorer import Explorer


class Slow(Explorer):
    def __init__(self):
        self.drawn = []
        controls = {"x": number_control("x", 0.0, 0.0, 100.0, 0.5), "on": toggle_control("on")}
        self._start(controls, more=["on"], on_axis={"x": 0})

    def _sentence(self, x, on):
        return f"x is {x:.4g}; {len(self.drawn)} pictures."

    def _draw(self, axes, x, on):
        time.sleep(0.3)
        self.drawn.append(x)
        axes[0].plot([x, x], [0, 1])


app = Slow()
app
"""


EVERY = [  # one cell each; their sizes and starts do not depend on what the data say
    """
import numpy as np
from made import CNN, LINES, NETWORKS, SHIFTS, VIT, MadeDrift, after, capitals, rungs, slides, trace
from made_runs import made_run
from deepdrift.lab import data
from deepdrift.lab.confidence_under_shift.explorer import PromiseExplorer, ReliabilityExplorer
from deepdrift.lab.diffusion_memorisation.explorer import MemoryMap, TrainingExplorer
from deepdrift.lab.dime.explorer import PlaneExplorer
from deepdrift.lab.explanations_under_shift.explorer import MapExplorer
from deepdrift.lab.fair_comparison.explorer import ComparisonExplorer
from deepdrift.lab.fair_comparison.table import load_comparisons
from deepdrift.lab.hidden_states.explorer import LayerPicker
from deepdrift.lab.innovation.explorer import ShiftExplorer
from deepdrift.lab.language_models.explorer import CoverageExplorer, Microscope
from deepdrift.lab.mmd.explorer import MMDExplorer
from deepdrift.lab.reinforcement_learning.explorer import AlarmExplorer, Scrubber
from deepdrift.lab.start_here.explorer import ThresholdExplorer
from deepdrift.lab.thresholds.explorer import FalseAlarmExplorer

rng = np.random.default_rng(0)
scores = rng.chisquare(8, 400)
x, y = rng.normal(size=(2, 200, 5))
""",
    "ThresholdExplorer(scores, {'digits': scores + 6, 'patches': scores + 20})",
    "LayerPicker({'clothing': {'stem': x, 'head': x}, 'digits': {'stem': y, 'head': y}})",
    "ShiftExplorer({s: {k: scores + k for k in range(6)} for s in ('velocity', 'innovation')})",
    "FalseAlarmExplorer(scores, n_draws=50)",
    "MMDExplorer({'plain': (x, y + 0.3)}, sizes=[25, 50], n_permutations=99)",
    "PlaneExplorer(x[:100], x[100:], y[:100], {'far': y[100:] + 1}, rank=3)",
    "MapExplorer(MadeDrift(), {CNN: rungs(0.2), VIT: rungs(0.4)})",
    "ReliabilityExplorer(NETWORKS, SHIFTS, {'CNN': 2.0, 'ViT': 1.0})",
    "PromiseExplorer(NETWORKS, SHIFTS)",
    "Scrubber({'A': trace(after(8), lost=19)}, {'cartpole': 10.0})",
    "AlarmExplorer([trace(after(8), s, 3 * bool(s), lost=19) for s in ('lag', '')], LINES)",
    "Microscope(slides('Kenya'), np.ones(30))",
    "CoverageExplorer(capitals())",
    "TrainingExplorer([made_run(), made_run(64)])",
    "MemoryMap([made_run(), made_run(64)])",
    "ComparisonExplorer(load_comparisons(data.shipped('comparison.npz')))",
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a folder with one notebook: an explorer that takes 300 ms for a picture."""
    if reader.find_chromium() is None:
        message = "no Chromium found: install it or name it in the environment variable CHROMIUM"
        pytest.fail(message) if REQUIRED else pytest.skip(message)
    folder = tmp_path_factory.mktemp("slow")
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook = new_notebook(cells=[new_code_cell(SLOW)], metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "slow.ipynb")
    every = new_notebook(cells=list(map(new_code_cell, EVERY)), metadata={"kernelspec": kernel})
    nbformat.write(every, folder / "every.ipynb")
    paths = {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests"))),
        "DEEPDRIFT_DATA": str(ROOT / "data"),
    }
    env = paths | {"OMP_NUM_THREADS": "1"}
    with reader.start_lab(folder, env) as base:
        yield base


def middle(page: Page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).first.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_dragged_slider_is_followed_and_only_the_newest_value_is_drawn(lab):
    """Box and sentence move before the hand lets go; what it passed over is never drawn.

    The handle stands where the axis has its value.
    """
    with reader.browser_page() as page:
        watch = reader.watch_page(page, lab)
        reader.open_notebook(page, lab, "slow.ipynb")
        reader.run_all(page)
        view = reader.explorer(page)
        handle = ".dd-on-axis .noUi-handle"
        size = view.bounding_box()
        assert size["width"] <= PAGE[0] and size["height"] <= PAGE[1]
        page.locator(handle).scroll_into_view_if_needed()
        image = view.locator("img.dd-image").bounding_box()
        x, y = middle(page, handle)
        assert x == pytest.approx(image["x"] + 0.085 * 800, abs=2)  # the axis begins there
        page.mouse.move(x, y)
        page.mouse.down()
        for step in range(1, 201):
            page.mouse.move(x + 2 * step, y)
        status, box = view.locator(".dd-status"), view.locator("input[type=number]")
        text = page.locator(handle).get_attribute("aria-valuetext")
        value = float(text)
        assert 50 < value < 64  # 400 of the 708 pixels of the axis
        expect(status).to_contain_text(f"x is {value:.4g};")  # the button is still down
        expect(box).to_have_value(f"{value:g}")
        page.mouse.up()
        pictures = int(status.inner_text().split("; ")[1].split(" ")[0])
        assert 2 <= pictures < 40  # of 200 moves and at least 100 values
        assert middle(page, handle)[0] == pytest.approx(image["x"] + 68 + 7.08 * value, abs=4)
        view.get_by_role("button", name="more").click()
        expect(view.get_by_label("on")).to_be_visible()
        page.mouse.move(0, 0)
        if shot := os.environ.get("DEEPDRIFT_SCREENSHOT"):
            page.screenshot(path=shot)
    assert watch.errors == [] and watch.foreign == []


def test_every_explorer_fits_a_laptop_and_stays_where_it_started(lab):
    """900 x 480 pixels; and no browser moves a slider that nobody touched."""
    with reader.browser_page() as page:
        watch = reader.watch_page(page, lab)
        reader.open_notebook(page, lab, "every.ipynb")
        reader.run_all(page)
        sent = page.evaluate(SENT)
        assert len(sent) == len(EVERY) - 1
        for number, sentence in enumerate(sent):
            view = reader.explorer(page, number)
            expect(view.locator("img.dd-image")).to_be_visible()
            size = view.bounding_box()
            assert size["width"] <= PAGE[0] and size["height"] <= PAGE[1], (EVERY[number + 1], size)
            expect(view.locator(".dd-status")).to_have_text(sentence)
            assert view.evaluate(CLIPPED) == [], EVERY[number + 1]
    assert watch.errors == [] and watch.foreign == []


# options that are wider than the field that shows them
CLIPPED = """view => [...view.querySelectorAll('select')].flatMap(select => {
    const style = getComputedStyle(select), pen = document.createElement('canvas').getContext('2d')
    pen.font = style.font
    const room = select.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight)
    return [...select.options].map(option => option.text)
        .filter(text => text.length <= 30 && pen.measureText(text).width > room)
        .map(text => [text, Math.round(pen.measureText(text).width), room])
})"""

# the sentences as the kernel sent them with the cells' outputs
SENT = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .filter(cell => cell.model.type === 'code')
    .map(cell => cell.model.outputs.toJSON()
        .find(o => o.data && 'application/vnd.jupyter.widget-view+json' in o.data))
    .filter(Boolean).map(output => output.data['text/plain'])"""
