"""What the drawings of notebook 03 show, read back from their artists."""

import matplotlib.figure
import numpy as np
import pytest

from deepdrift.lab.bench.evaluation import proportion
from deepdrift.lab.thresholds import figures, ideas

NINE = [2.1, 0.4, 1.7, 3.9, 1.1, 2.8, 0.9, 5.2, 1.5]
RNG = np.random.default_rng(0)
E = proportion(10, 100)


@pytest.fixture
def ax():
    return matplotlib.figure.Figure().subplots()


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_ten_scores_are_numbered_by_rank_and_the_line_lies_on_the_eighth(ax):
    ideas.draw_ten_scores(ax, NINE, 3.0, alpha=0.2)
    places = {text.get_text(): text.xy[0] for text in ax.texts if text.get_text().isdigit()}
    assert places == {str(rank): score for rank, score in enumerate(sorted(NINE), start=1)}
    assert "the line: score 8 of 9" in words(ax)
    assert any(list(line.get_xdata()) == [3.9, 3.9] for line in ax.lines)


def test_ten_scores_count_the_new_one_in(ax):
    ideas.draw_ten_scores(ax, NINE, 3.0)
    assert "at or above, the new one counted in: 3 of 10" in words(ax)


def test_tuned_lines_say_the_share_above(ax):
    ideas.draw_tuned_lines(ax, np.arange(100.0), {"easy": 94.0, "hard": 69.0})
    assert words(ax)[1:] == ["tuned on hard: 30 % above", "tuned on easy: 5 % above"]


def test_unequal_names_the_lowest_and_the_two_highest(ax):
    classes = {name: proportion(k, 100) for name, k in zip("abcde", (1, 5, 20, 4, 9), strict=True)}
    ideas.draw_unequal(ax, classes, 0.078)
    assert words(ax)[:3] == ["a\n1.0 %", "e\n9.0 %", "c\n20.0 %"]


def test_own_and_new_and_units_show_their_lines(ax):
    own, new = RNG.gamma(2, 1, 100), RNG.gamma(9, 1, 300)
    ideas.draw_own_and_new(ax, own, new, 5.0)
    above = [f"{100 * np.mean(x > 5):.0f} % above" for x in (own, new)]
    assert [word.split(": ")[1] for word in words(ax)[:2]] == above
    ax.clear()
    ideas.draw_units(ax, new, new[:64], 14.0, 9.5)
    assert {"line from batches", "line from images"} <= set(words(ax))


def test_rate_histograms_count_every_draw_and_what_lies_beyond(ax):
    rates = np.r_[np.full(30, 0.02), np.full(60, 0.07), np.full(10, 0.5)]
    figures.draw_rate_histogram(ax, rates, 0.05, draw=100)
    assert ax.patches[1].get_data().values.sum() == 100
    assert {"above the promise: 70 %", "beyond this axis: 10 %", "draw 100: 50.0 %"} <= {*words(ax)}
    ax.clear()
    figures.draw_rate_histogram(ax, rates, None)
    assert not any("promise" in word for word in words(ax))


def test_rates_are_on_an_axis_of_percent(ax):
    figures.draw_rates(ax, {"bag": {"one": E, "two": E}, "coat": {"one": E}}, bands=[(0, 0.1)] * 2)
    assert ax.xaxis.get_major_formatter()(0.05, 0) == "5 %"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["bag", "coat"]
    assert {"promised 5 %", "one", "two"} <= set(words(ax))


def test_found_shows_the_coin(ax):
    figures.draw_found(ax, {"a score": [E, E, E]}, [0.01, 0.05, 0.1], "digits")
    assert [list(line.get_ydata()) for line in ax.lines][-1] == [0.01, 0.05, 0.1]


def test_figures_are_drawn():
    single = RNG.gamma(2, 3, 500)
    ideas.ten_scores(NINE, 3.0, title="t")
    ideas.own_and_new(single[:50], single, 5.0)
    ideas.units(single, single[:50] / 3 + 4, 15.0, 7.0)
    ideas.tuned_lines(single, {"blur": 12.0})
    ideas.unequal({"a": E, "b": E, "c": E}, 0.05)
    figures.rates({"any": E})
    figures.found_at_rates({"digits": {"s": [E, E]}, "blur": {"s": [E, E]}}, [0.01, 0.05], "t")
    from matplotlib import pyplot

    assert len(pyplot.get_fignums()) == 7
    pyplot.close("all")
