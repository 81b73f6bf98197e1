"""The drawn chain: bars, prediction and residual are the numbers given."""

import matplotlib
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from deepdrift.lab.bench import figures
from deepdrift.lab.hidden_states.ideas import chain, draw_chain

STATES = {"layer 1": [1, -3, 2], "layer 2": [2, -6, 4], "layer 3": [4, -7, 8]}
EXPECTED = [4, -12, 8]


@pytest.fixture
def ax():
    with figures.style():
        return Figure(layout="constrained").subplots()


def words(ax):
    return {t.get_text() for t in ax.findobj(matplotlib.text.Text) if t.get_text()}


def test_bars_are_the_states_on_one_scale(ax):
    artists = draw_chain(ax, STATES, EXPECTED)
    unit = artists["layer 1"][0].get_height()
    for name, state in STATES.items():
        assert [bar.get_height() / unit for bar in artists[name]] == pytest.approx(state)
    assert [bar.get_height() / unit for bar in artists["predicted"]] == pytest.approx(EXPECTED)
    numbered = draw_chain(ax, [*STATES.values()])
    assert numbered.keys() >= STATES.keys(), "without names layers are numbered from 1"


def test_step_prediction_and_residual_are_said_and_only_what_differs_is_an_arrow(ax):
    artists = draw_chain(ax, STATES, EXPECTED, "T")
    assert {"state (4, −7, 8)", "step (2, −1, 4)", "predicted (4, −12, 8)"} <= words(ax)
    assert {"residual (0, 5, 0)", "T"} <= words(ax)
    (arrow,) = artists["residual"]
    bar, hollow = artists["layer 3"][1], artists["predicted"][1]
    assert arrow.xy[1] == pytest.approx(bar.get_y() + bar.get_height())
    assert arrow.get_position()[1] == pytest.approx(hollow.get_y() + hollow.get_height())


def test_without_a_prediction_there_is_a_step_alone(ax):
    artists = draw_chain(ax, {"a": [1.0], "b": [3.0]})
    assert not {"predicted", "residual"} & artists.keys() and "step (2)" in words(ax)


@pytest.mark.parametrize(
    ("states", "predicted", "message"),
    [
        ({"a": [1, 2]}, None, "got 1 layers"),
        ({"a": [1, 2], "b": [1]}, None, r"lengths \[1, 2\]"),
        ({"a": [1, 2], "b": [1, 3]}, [1], r"lengths \[1, 2\]"),
        ({"a": [1], "b": []}, None, "state of 'b'"),
    ],
)
def test_what_is_no_chain_is_refused(ax, states, predicted, message):
    with pytest.raises(figures.PlotError, match=message):
        draw_chain(ax, states, predicted)


def test_the_figure_keeps_its_words_inside():
    pyplot.close("all")
    assert chain(STATES, EXPECTED, "One number did not double") is None
    fig = pyplot.gcf()
    fig.canvas.draw()
    for text in fig.findobj(matplotlib.text.Text):
        if text.get_text().strip() and text.get_visible() and text.axes.axison is False:
            box = text.get_window_extent(fig.canvas.get_renderer())
            assert box.x0 >= -1 and box.x1 <= 801 and box.y0 >= -1 and box.y1 <= 301, text
    pyplot.close("all")
