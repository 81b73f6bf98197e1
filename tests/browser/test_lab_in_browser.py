"""A reader opens notebooks in JupyterLab, runs them, moves sliders by keyboard, and saves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import lab
import nbformat
import pytest
import workspace
from playwright.sync_api import expect

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = os.environ.get("DEEPDRIFT_REQUIRE_BROWSER") == "1"


class Server(NamedTuple):
    base: str  # its address
    folder: Path  # what it serves


def outputs(path: Path) -> list[list]:
    """The stored outputs of every code cell."""
    cells = nbformat.read(path, as_version=4).cells
    return [cell.outputs for cell in cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab on two copies of the notebooks, so that saving touches nothing of ours.

    workspace/ as `make lab` makes it, and notebooks/ with the stored outputs.
    """
    if lab.find_chromium() is None:
        message = "no Chromium found: install it or name it in the environment variable CHROMIUM"
        pytest.fail(message) if REQUIRED else pytest.skip(message)
    folder = tmp_path_factory.mktemp("reader")
    workspace.update(ROOT / "notebooks", folder / "workspace")
    ignored = shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=ignored)
    env = {"DEEPDRIFT_DATA": str(ROOT / "data"), "OMP_NUM_THREADS": "1"}
    with lab.start_lab(folder, env) as base:
        yield Server(base, folder)


def test_first_notebook_runs_and_its_slider_answers_and_saving_is_no_change(server):
    original = workspace.parse(ROOT / "notebooks" / "00_start_here.ipynb")
    path = server.folder / "workspace" / "00_start_here.ipynb"
    assert not any(outputs(path))  # no prediction is spoiled
    with lab.browser_page() as page:
        watch = lab.watch_page(page, server.base)
        lab.open_notebook(page, server.base, "workspace/00_start_here.ipynb")
        assert page.locator(".jp-OutputArea-output").count() == 0
        counts = lab.run_all(page)
        assert counts == list(range(1, len(counts) + 1))

        view = lab.explorer(page)
        status, image = view.locator(".dd-status"), view.locator("img.dd-image")
        words, picture = status.inner_text(), image.get_attribute("src")
        assert words.strip()
        lab.move_slider(page, view)
        expect(status).not_to_have_text(words)
        expect(image).not_to_have_attribute("src", picture)
        assert image.evaluate("i => i.decode().then(() => [i.naturalWidth, i.naturalHeight])") == [
            800,
            300,
        ]

        moved = status.inner_text()
        lab.move_slider(page, view, "ArrowLeft")  # and back: the same words as before
        expect(status).to_have_text(words)
        assert moved != words

        before = path.read_bytes()
        lab.save(page)
        assert path.read_bytes() != before and sum(map(bool, outputs(path))) > len(counts) / 2
        assert workspace.state(path) == workspace.digest(original)

        if shot := os.environ.get("DEEPDRIFT_SCREENSHOT"):
            page.screenshot(path=shot)
    assert watch.errors == []
    assert watch.foreign == []


def test_live_monitor_plays_to_an_alert_and_its_log_follows_a_slider(server):
    with lab.browser_page() as page:
        watch = lab.watch_page(page, server.base)
        lab.open_notebook(page, server.base, "notebooks/04_alarms.ipynb")
        lab.run_all(page)
        view = lab.explorer(page)
        lamp, log = view.locator(".dd-lamp"), view.locator(".dd-log")
        status, image = view.locator(".dd-status"), view.locator("img.dd-image")

        lab.move_slider(page, view, "Home")  # step 0
        expect(status).to_contain_text("NORMAL at step 0")
        expect(log).to_have_text("no alerts so far")
        play = view.locator(".widget-play button").first
        play.click()
        expect(lamp).to_contain_text("ALERT")
        play.click()  # pause; the second button would stop and go back to step 0

        lab.move_slider(page, view, "End")
        expect(status).to_contain_text("delay")
        expect(log).to_contain_text("ALERT")
        lines, picture = log.inner_text(), image.get_attribute("src")
        lab.move_slider(page, view, "End", slider=1)  # theta_high at its highest: out of reach
        expect(status).to_contain_text("no alert in the")
        expect(lamp).not_to_contain_text("ALERT")
        expect(log).not_to_have_text(lines)
        expect(image).not_to_have_attribute("src", picture)

        if shot := os.environ.get("DEEPDRIFT_SCREENSHOT"):
            page.screenshot(path=shot)
    assert watch.errors == []
    assert watch.foreign == []
