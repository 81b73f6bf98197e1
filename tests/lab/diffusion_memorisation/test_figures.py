"""What the figures of notebook 13 show, read from what was drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_runs import SHARES, STEPS, made_run
from matplotlib import pyplot
from matplotlib.figure import Figure

from deepdrift.lab.bench.figures import VERMILLION
from deepdrift.lab.diffusion_memorisation import figures, trial


@pytest.fixture
def ax():
    return Figure(figsize=(8, 3)).subplots()


def test_bytes_and_floats_are_the_same_pictures():
    as_bytes = np.array([0, 255], np.uint8).repeat(256).reshape(2, 16, 16)
    as_floats = torch.tensor([-1.0, 1.2]).repeat_interleave(256).reshape(2, 1, 16, 16)
    for pictures in (as_bytes, as_floats):
        assert figures.as_shares(pictures)[:, 0, 0].tolist() == [0, 1]


def test_pictures_stand_in_rows_and_copies_in_frames(ax):
    rows = {
        "sample": np.full((3, 16, 16), 51, np.uint8),
        "nearest": np.zeros((3, 16, 16), np.uint8),
    }
    figures.draw_rows(ax, rows, [False, True, False])
    wall = ax.images[0].get_array()
    assert wall.shape == (2 * 18 + 2, 3 * 18 + 2) and wall[2, 2] == pytest.approx(0.2)
    assert wall[20, 2] == 0 and wall[0, 0] == 1
    (frame,) = ax.patches
    assert frame.get_x() < 20 < frame.get_x() + frame.get_width() < 40
    assert frame.get_height() == 36 and frame.get_edgecolor()[:3] == pytest.approx(
        tuple(int(VERMILLION[i : i + 2], 16) / 255 for i in (1, 3, 5))
    )
    assert [t.get_text() for t in ax.get_yticklabels()] == ["sample", "nearest"]
    assert ax.get_yticks()[0] < 20 < ax.get_yticks()[1]


def test_copies_are_shares_by_ratio():
    assert figures.is_copy(made_run(), 3).sum() == 11 and figures.is_copy(made_run(), 0).sum() == 0


def test_a_line_for_each_run_in_the_colour_of_its_size():
    runs = [made_run(), made_run(seed=1), made_run(64)]
    figures.copies(runs, "t")
    (ax,) = pyplot.gcf().axes
    lines = ax.lines[:3]
    assert all(list(line.get_ydata()) == list(SHARES) for line in lines)
    assert lines[0].get_color() == lines[1].get_color() == figures.SIZES[32]
    assert lines[2].get_color() == figures.SIZES[64]
    assert lines[0].get_linestyle() == "-" != lines[1].get_linestyle()
    assert [t.get_text() for t in ax.texts] == ["32 images", "64 images"]
    assert figures.shade(7) == "#000000"


def test_the_map_and_its_frames(ax):
    run = made_run(shares=(0, 0, 0.05, 0.95))
    figures.draw_map(ax, run, "loss", 0)
    table = ax.images[0].get_array()
    assert table.shape == (6, 4) and table[0].tolist() == pytest.approx([50, 95, 100, 100])
    assert [t.get_text() for t in ax.get_yticklabels()][:2] == ["50", "100"]
    named = dict(zip(ax.get_xticks(), [t.get_text() for t in ax.get_xticklabels()], strict=True))
    assert named == {1: str(STEPS[1]), 3: str(STEPS[3])}  # every second one, the last among them
    assert len(ax.collections[0].get_paths()) == table.size and not ax.texts
    styles = {round(p.get_x() + 0.46): p.get_linestyle() for p in ax.patches}
    assert (
        styles.keys() == {1, 2} and styles[1] in ("-", "solid") and styles[2] not in ("-", "solid")
    )
    assert {round(p.get_y() + 0.44) for p in ax.patches} == {0}


def test_told_either_way_and_before_copies():
    run = made_run(shares=(0, 0.05, 0.2, 0.95))
    table = np.array([[0.05, 0.95, 0.02, 0.5], [0.11, 0.89, 1.0, 0.0]])
    assert figures.told_before(run, table).tolist() == [[True, False, False, False], [False] * 4]
    assert figures.told_before(run, table, 0.1)[0].tolist() == [True, True, False, False]


def test_statistics_on_one_axis():
    run, rivals = made_run(), trial.fix_rivals(made_run())
    figures.time_axis(run, {k: rivals[k] for k in ("loss gap", "bottleneck norm")}, "t")
    (ax,) = pyplot.gcf().axes
    drawn = [np.asarray(line.get_ydata()).tolist() for line in ax.lines]
    assert drawn[0] == list(SHARES)
    assert drawn[1] == pytest.approx([0.5, 0.95, 1, 1])
    assert drawn[2] == pytest.approx([0.7, 0.55, 0.8, 0.95])
    assert drawn[3] == pytest.approx([0.3, 0.2, 0.207, 0.5])
    words = {t.get_text() for t in ax.texts}
    assert {"loss gap", "bottleneck norm", "share of copies", "held-out loss"} <= words
    assert ax.get_ylabel() == "AUROC; share; loss"  # one word for each kind of line


def test_leads_are_ratios_and_never_is_said():
    table = {
        "bottleneck norm": {"a": 100.0, "b": 50.0},
        "twins": {"a": 800.0, "b": float("inf")},
        "copying begins": {"a": 400.0, "b": 100.0},
    }
    figures.leads(table, "t")
    (ax,) = pyplot.gcf().axes
    points = sorted(
        (line.get_ydata()[0], line.get_xdata()[0]) for line in ax.lines if line.get_marker() == "o"
    )
    assert points == [(0, 0.25), (0, 0.5), (1, 2.0)]
    assert [t.get_text() for t in ax.texts] == ["1 never"] and ax.texts[0].get_position()[1] == 1
    assert [t.get_text() for t in ax.get_yticklabels()] == ["bottleneck norm", "twins"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row stands on top


def test_so_many_or_more_is_a_triangle(ax):
    run = made_run()
    figures.draw_collisions(ax, run)
    markers = {
        line.get_xdata()[0]: line.get_marker() for line in ax.lines if len(line.get_xdata()) == 1
    }
    assert markers == {100: "^", 200: "o", 400: "o", 800: "o"}
    assert list(ax.lines[-1].get_ydata()) == [64, 64]


@pytest.mark.parametrize("n", [4, 12])
def test_a_figure_of_rows_fits_its_words(n):
    figures.rows({"a": np.zeros((n, 16, 16), np.uint8)}, "title", [True] * n)
    fig = pyplot.gcf()
    fig.canvas.draw()
    assert fig.axes[0].get_title(loc="left") == "title" and len(fig.axes[0].patches) == n


def test_each_figure_is_one_figure():
    run, rivals = made_run(), trial.fix_rivals(made_run())
    figures.memory_map(run, "norm", 2, "t")
    figures.twins([run, made_run(64)], "t")
    figures.time_axis(run, {"loss gap": rivals["loss gap"]}, "t")
    assert len(pyplot.get_fignums()) == 3
