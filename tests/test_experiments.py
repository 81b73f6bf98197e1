"""The experiment from the shell, tiny: it trains, measures, draws and says what it saw."""

from __future__ import annotations

import os
import runpy
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


def test_detectors_are_judged_on_another_run(tmp_path):
    """Two images are told from the first step on: every sample is near to one of them."""
    out = tmp_path / "two"
    result = run("--images", "2", "--steps", "200", "--seeds", "0", "1", "--out", str(out))
    assert result.returncode == 0, result.stderr
    assert {"seed-0", "seed-1", "copies.png"} <= {path.name for path in out.iterdir()}
    with np.load(out / "seed-0" / "measured.npz") as a, np.load(out / "seed-1/measured.npz") as b:
        assert (a["nearest"][-1] != b["nearest"][-1]).any()
        copied = min(a["copied"][:, 0].max(), b["copied"][:, 0].max()) >= 0.1
    assert ("Who tells members" in result.stdout) == (out / "trial.png").exists() == copied


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--images", "3000", "--seeds", "1"], "4,000 images to train on"),
        (["--images", "1"], "4,000 images to train on"),
        (["--seeds", "-1"], "4,000 images to train on"),
        (["--seeds", "0", "0"], "twice"),
        (["--steps", "0"], "--steps 0"),
        (["--samples", "19"], "--samples 19"),
        (["--sampler-steps", "7"], "divisor of 1,000"),
        (["--members", "1"], "--members 1"),
    ],
)
def test_what_cannot_work_is_said_before_training(arguments, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(SCRIPT))["main"]([*arguments, "--out", str(tmp_path / "out")])
    assert left.value.code == 2 and words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
