"""A reader opens a notebook in JupyterLab, runs it, uses its explorer, and saves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
import reader
import workspace
from playwright.sync_api import Locator, Page, expect

from deepdrift.lab.bench.explorer import PAGE

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
    """JupyterLab on a workspace as `make lab` makes it: saving touches nothing of ours."""
    if reader.find_chromium() is None:
        message = "no Chromium found: install it or name it in the environment variable CHROMIUM"
        pytest.fail(message) if REQUIRED else pytest.skip(message)
    folder = tmp_path_factory.mktemp("reader") / "workspace"
    workspace.update(ROOT / "notebooks", folder)
    env = {"DEEPDRIFT_DATA": str(ROOT / "data"), "OMP_NUM_THREADS": "1"}
    with reader.start_lab(folder, env) as base:
        yield Server(base, folder)


def move_the_threshold(page: Page, view: Locator) -> None:
    """One step to the right: other words, another picture; one more and back: the same words.

    The start is the calibrated threshold, which lies between two steps of the slider.
    """
    status, image = view.locator(".dd-status"), view.locator("img.dd-image")
    words, picture = status.inner_text(), image.get_attribute("src")
    reader.move_slider(page, view)
    expect(status).not_to_have_text(words)
    expect(image).not_to_have_attribute("src", picture)
    size = image.evaluate("i => i.decode().then(() => [i.naturalWidth, i.naturalHeight])")
    assert size == [1600, 600]
    moved = status.inner_text()
    reader.move_slider(page, view)
    expect(status).not_to_have_text(moved)
    reader.move_slider(page, view, "ArrowLeft")
    expect(status).to_have_text(moved)


def play_to_an_alert(page: Page, view: Locator) -> None:
    """The recording plays to an alert, and its log follows a slider."""
    lamp, log = view.locator(".dd-lamp"), view.locator(".dd-log")
    status, image = view.locator(".dd-status"), view.locator("img.dd-image")
    reader.move_slider(page, view, "Home")  # step 0
    expect(status).to_contain_text("NORMAL at step 0")
    expect(log).to_have_text("no alerts so far")
    play = view.locator(".widget-play button").first
    play.click()
    expect(lamp).to_contain_text("ALERT")
    play.click()  # pause; the second button would stop and go back to step 0

    reader.move_slider(page, view, "End")
    expect(status).to_contain_text("delay")
    expect(log).to_contain_text("ALERT")
    lines, picture = log.inner_text(), image.get_attribute("src")
    reader.move_slider(page, view, "End", slider=1)  # theta_high at its highest: out of reach
    expect(status).to_contain_text("no alert in the")
    expect(lamp).not_to_contain_text("ALERT")
    expect(log).not_to_have_text(lines)
    expect(image).not_to_have_attribute("src", picture)


def play_a_round_and_run_the_cells_below(page: Page, view: Locator) -> None:
    """The game stays the reader's: no cell below plays it, or minds that it was played."""
    status, image = view.locator(".dd-status"), view.locator("img.dd-image")
    question = status.inner_text()
    view.locator("select").select_option(label="inside")
    expect(status).to_contain_text("Round 1 of 6: you said inside")
    expect(view.locator("select")).to_be_disabled()
    answer, picture = status.inner_text(), image.get_attribute("src")
    reader.run_all(page, below=True)
    view = reader.explorer(page)
    status, image = view.locator(".dd-status"), view.locator("img.dd-image")
    expect(status).to_have_text(answer)
    expect(image).to_have_attribute("src", picture)
    view.get_by_role("button", name="Next round").click()
    expect(status).to_contain_text("Round 2 of 6: is it the inputs")
    view.get_by_role("button", name="New game").click()
    expect(status).to_have_text(question)
    expect(view.locator("select")).to_be_enabled()


@pytest.mark.parametrize(
    ("name", "then"),
    [
        ("00_start_here.ipynb", move_the_threshold),
        ("04_alarms.ipynb", play_to_an_alert),
        ("05_diagnosis.ipynb", play_a_round_and_run_the_cells_below),
    ],
)
def test_a_reader_runs_all_finds_the_question_and_then(server, name, then):
    """After Run all each explorer says what it says in the stored notebook, at its start.

    No output is there before, so that no prediction is spoiled; and saving is no change.
    """
    path = server.folder / name
    assert not any(outputs(path))
    with reader.browser_page() as page:
        watch = reader.watch_page(page, server.base)
        reader.open_notebook(page, server.base, name)
        assert page.locator(".jp-OutputArea-output").count() == 0
        counts = reader.run_all(page)
        assert counts == list(range(1, len(counts) + 1))
        sentences = reader.stored_sentences(ROOT / "notebooks" / name)
        assert sentences
        for number, words in enumerate(sentences):
            view = reader.explorer(page, number)
            expect(view.locator(".dd-status")).to_have_text(words)
            box = view.bounding_box()
            assert box["width"] <= PAGE[0] and box["height"] <= PAGE[1], box
        then(page, view)
        reader.save(page)
        assert sum(map(bool, outputs(path))) > len(counts) / 2
        original = workspace.parse(ROOT / "notebooks" / name)
        assert workspace.state(path) == workspace.digest(original)
        if shot := os.environ.get("DEEPDRIFT_SCREENSHOT"):
            page.screenshot(path=shot)
    assert watch.errors == []
    assert watch.foreign == []
