"""The experiment from the shell, tiny: it trains, measures, draws and says what it saw."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "experiments" / "diffusion_memorization.py"
SMALL = ["--samples", "24", "--sampler-steps", "4", "--members", "12"]


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *SMALL, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "memorization"
    return run("--images", "4", "--steps", "12", "--out", str(folder)), folder


def test_it_says_what_it_saw(tiny):
    result, folder = tiny
    assert result.returncode == 0, result.stderr
    first, second, third, last = result.stdout.splitlines()
    assert first.startswith("4 images, seed 0: ") and "copies at step 12" in first
    assert "alarm of the twins at inf" in second
    assert third.startswith("Too few copies") or third.startswith("Who tells members")
    assert last == f"Figures and measured.npz are in {folder}."


def test_the_bar_moves_to_its_end(tiny):
    assert "12/12" in tiny[0].stderr and "loss" in tiny[0].stderr


def test_figures_and_numbers_are_written(tiny):
    _, folder = tiny
    names = {path.name for path in folder.iterdir()}
    pictures = {"samples.png", "copies.png", "map_loss.png", "map_norm.png", "twins.png"}
    assert names == pictures | {"measured.npz"}
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    with np.load(folder / "measured.npz") as found:
        assert found["steps"].tolist() == [12] and found["copied"].shape == (1, 4)
        assert found["auroc/norm"].shape == (1, 6, 5, 3)
        assert found["pictures"].shape == found["nearest"].shape == (1, 12, 16, 16)


def test_more_images_than_there_are():
    result = run("--images", "3000", "--seed", "1", "--steps", "1")
    assert result.returncode != 0 and "4,000 images to train on" in result.stderr
    assert "Traceback" not in result.stderr
