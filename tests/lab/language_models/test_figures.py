"""What the drawings of notebook 12 show, read back from their artists."""

from __future__ import annotations

import matplotlib.figure
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgba

from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.bench.figures import BLUE, GREY, VERMILLION, ink
from deepdrift.lab.language_models import figures
from deepdrift.lab.language_models.doubt import INSIDE, OUTPUT
from deepdrift.lab.language_models.microscope import Slide

L = 30


@pytest.fixture
def ax():
    return matplotlib.figure.Figure().subplots()


@pytest.fixture(autouse=True)
def close():
    yield
    pyplot.close("all")


def estimate(value, low=None, high=None):
    return Estimate(value, value - 0.1 if low is None else low, value + 0.1, 5, 5)


def slide(answer="own"):
    velocity = np.full((5, L), np.nan)
    velocity[1:] = [[90.0], [2.0], [4.0], [6.0]] * np.ones(L)
    rest = velocity - 4.0
    rest[4] = np.nan
    pieces = ("The", " big", " capital", "\n", " Nairobi")
    return Slide("Kenya", answer, pieces, 4, velocity, rest)


def test_every_score_has_one_place_to_look_at():
    assert {figures.kind_of(s) for s in OUTPUT} == {"at the output"}
    assert {figures.kind_of(s) for s in INSIDE} == {"inside"}
    assert figures.kind_of("sample entropy") == "at the output"
    assert figures.kind_of("unpopularity") == "control"


def test_units_are_those_of_each_block():
    scale = np.full(L, 2.0)
    scale[0] = 4.0
    velocity, rest = figures.units(slide(), scale)
    assert velocity.shape == (L, 5)
    assert velocity[0, 2:].tolist() == [0.5, 1.0, 1.5]
    assert velocity[1, 2:].tolist() == [1.0, 2.0, 3.0]
    assert rest[1, 2:4].tolist() == [-1.0, 0.0] and np.isnan(rest[:, 4]).all()


def test_the_microscope_marks_the_answer_and_leaves_unknown_tokens_blank(ax):
    image = figures.draw_microscope(ax, slide(), np.ones(L), unexplained=True)
    shown = image.get_array()
    assert shown.shape == (L, 3) and shown[0, 0] == -2.0  # the sink's 90 is not shown
    assert shown.mask[:, 2].all() and not shown.mask[:, :2].any()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["capital", "↵", "Nairobi"]
    heavy = [t.get_fontweight() for t in ax.get_xticklabels()]
    assert heavy == ["normal", "normal", "bold"]
    (line,) = ax.lines
    assert line.get_xdata() == [1.5, 1.5]  # between the second and the third column


@pytest.mark.parametrize(("unexplained", "ends"), [(False, (0.4, 1.6)), (True, (-0.6, 0.6))])
def test_a_bar_has_the_colours_of_the_picture_at_their_values(ax, unexplained, ends):
    image = figures.draw_microscope(ax, slide(), np.ones(L), unexplained)
    (bar,) = ax.child_axes
    (scale,) = bar.images
    assert scale.get_cmap().name == image.get_cmap().name
    assert image.get_clim() == ends == bar.get_ylim() == tuple(scale.get_extent()[2:])
    low, high = scale.get_array()[[0, -1], 0]
    assert len(scale.get_array()) == image.get_cmap().N  # each of its colours once
    assert (low, high) == ends and scale.origin == "lower"
    assert bar.get_yticks().tolist() == [ends[0], sum(ends) / 2, ends[1]]


def test_intervals_have_the_colour_of_their_place(ax):
    rows = {"nll": estimate(0.9), "probe": estimate(0.6), "length": estimate(0.5)}
    figures.draw_intervals(ax, rows, 0.5)
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [float(d.get_xdata()[0]) for d in dots] == [0.9, 0.6, 0.5]
    expected = [to_rgba(c) for c in (BLUE, VERMILLION, GREY)]
    assert [to_rgba(d.get_color()) for d in dots] == expected
    assert ax.get_ylim() == (2.5, -0.5)  # the first row on top
    assert not any(d.get_clip_on() for d in dots)  # a dot on the edge is whole
    assert [t.get_text() for t in ax.get_yticklabels()] == list(rows)


def test_panels_share_rows_and_a_missing_row_stays_empty():
    rows = {"nll": estimate(0.9), "length": estimate(0.7), "probe": estimate(0.6)}
    less = {name: rows[name] for name in ("nll", "probe")}
    figures.intervals({"a": rows, "b": less}, "finding")
    fig = pyplot.gcf()
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["a", "b"]
    dots = [line for line in fig.axes[1].lines if line.get_marker() == "o"]
    assert [float(d.get_ydata()[0]) for d in dots] == [0, 2]
    names = fig.axes[0].get_yticklabels()
    assert [t.get_text() for t in names] == list(rows)
    assert [t.get_color() for t in names] == [ink(c) for c in (BLUE, GREY, VERMILLION)]
    assert fig.get_suptitle() == "finding"


def test_the_dial_draws_values_and_how_sure_the_model_is():
    lines = {"nll": [estimate(0.9), estimate(0.7)], "probe": [estimate(0.5), estimate(0.6)]}
    figures.dial(lines, [0.1, 0.8], (0.0, 1.0), "finding")
    top, below = pyplot.gcf().axes
    drawn = [line.get_ydata() for line in top.lines if line.get_marker() == "o"]
    assert [list(y) for y in drawn] == [[0.9, 0.7], [0.5, 0.6]]
    assert list(below.lines[0].get_ydata()) == [0.1, 0.8]
    assert pyplot.gcf().get_suptitle() == "finding"


def test_steps_are_one_bar_for_each_token():
    figures.steps({"known": (["a", "b"], [0.1, 0.2], [3.0, 4.0])}, "finding")
    above, below = pyplot.gcf().axes
    assert [bar.get_height() for bar in above.patches] == [0.1, 0.2]
    assert [bar.get_height() for bar in below.patches] == [3.0, 4.0]
    assert [t.get_text() for t in below.get_xticklabels()] == ["a", "b"]


def test_coverage_shows_promised_and_realised(ax):
    figures.draw_coverage(ax, [0.5, 1.0], [0.1, 0.5], [0.2, 0.6])
    assert [list(line.get_ydata()) for line in ax.lines] == [[0.1, 0.5], [0.2, 0.6]]


def test_a_row_of_the_microscope_for_each_slide():
    figures.microscope([slide("own"), slide("right")], np.ones(L), "finding")
    titles = [ax.get_title(loc="left") for ax in pyplot.gcf().axes]
    assert titles == [
        "velocity (mean = 1), own answer",
        "not explained by the token",
        "velocity (mean = 1), right answer",
        "not explained by the token",
    ]
    named = [ax.get_ylabel() for ax in pyplot.gcf().axes]
    assert named == ["block", "", "block", ""]
