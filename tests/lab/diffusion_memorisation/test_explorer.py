"""The two explorers of notebook 13: sentences that are the records' numbers, and pictures."""

from __future__ import annotations

import pytest
from made_runs import made_run

from deepdrift.lab.bench.controls import ExplorerError
from deepdrift.lab.diffusion_memorisation.explorer import MemoryMap, TrainingExplorer

RUNS = [made_run(), made_run(64, shares=(0, 0, 0, 0.5)), made_run(512, pictures=False)]


def test_a_checkpoint_in_words():
    app = TrainingExplorer(RUNS)
    assert app.summary() == (
        "32 images, seed 0, step 100: 0% [0%, 4%] of 400 samples are copies; of the 6 shown 0."
    )
    assert app.summary(checkpoint=3).startswith("32 images, seed 0, step 400: 20% [16%, 24%] ")
    assert app.summary(checkpoint=3).endswith("of the 6 shown 2.")
    assert "step 800: 50%" in app.summary(checkpoint=4, run="64 images, seed 0")


def test_runs_without_pictures_are_left_out_and_shorter_ones_end():
    app = TrainingExplorer(RUNS)
    assert list(app.run.options) == ["32 images, seed 0", "64 images, seed 0"]
    with pytest.raises(ExplorerError, match="at least one run with pictures"):
        TrainingExplorer(RUNS[2:])
    short = made_run(64)
    for name in ("steps", "copied", "pictures", "nearest", "ratios"):
        object.__setattr__(short, name, getattr(short, name)[:2])
    app = TrainingExplorer([made_run(), short])
    assert app.summary(checkpoint=4, run="64 images, seed 0") == app.summary(
        checkpoint=2, run="64 images, seed 0"
    )


def test_frames_follow_the_slider():
    app = TrainingExplorer(RUNS)
    left, right = app._axes
    assert not left.patches and left.get_title(loc="left") + left.get_title() == "step 100"
    app.set(checkpoint=4)
    assert len(left.patches) == 6 and left.get_title(loc="left") + left.get_title() == "step 800"
    (point,) = [line for line in right.lines if line.get_marker() == "o"]
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (800, 0.95)


def test_the_map_in_words():
    app = MemoryMap(RUNS)
    assert app.summary() == (
        "32 images, seed 0, loss, output: farthest from a coin 1.00 (level 50, step 400); beyond "
        "0.9 before a copy: 0 cells, before 10 % copies: 1."
    )
    assert "before a copy: 2 cells" in app.summary(run="64 images, seed 0")
    said = app.summary(measure="norm", stage=3)
    assert "norm, bottleneck: farthest from a coin 0.05 (level 100, step 800)" in said
    assert app.strongest(measure="norm", stage=3) == (pytest.approx(0.05), "100", 800)


def test_a_step_leads_into_a_stage_and_the_loss_has_none():
    app = MemoryMap(RUNS)
    assert "velocity, into bottleneck" in app.summary(measure="velocity", stage=3)
    assert "velocity, into encoder 2" in app.summary(measure="velocity", stage=1)
    assert "level velocity, encoder 1" in app.summary(measure="level velocity", stage=1)
    assert "level 50 to 100" in app.summary(measure="level velocity", stage=1)
    assert app.summary(stage=1) == app.summary(stage=5)


def test_the_map_is_drawn_where_it_stands():
    app = MemoryMap(RUNS)
    (ax,) = app._axes
    app.set(measure="norm", stage=3)
    assert ax.images[0].get_array()[1].tolist() == pytest.approx([30, 45, 20, 5])
    assert len(ax.images) == 1
    app.set(measure="level velocity")
    assert ax.images[0].get_array().shape == (5, 4)
    with pytest.raises(ExplorerError, match="at least one run, got none"):
        MemoryMap([])
