"""The drawings of hills and deals show the numbers of the test."""

import numpy as np
import pytest
import torch

from deepdrift.baselines.discrepancy import mmd2_biased
from deepdrift.lab.bench import figures
from deepdrift.lab.mmd import ideas

X, Y = [0.0, 1.0, 2.0], [3.0, 4.0, 5.0]


@pytest.fixture
def ax():
    from matplotlib.figure import Figure

    return Figure().subplots()


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
def test_the_heights_at_the_values_differ_by_mmd(ax, sigma):
    x, y = (torch.tensor(z, dtype=torch.float64)[:, None] for z in (X, Y))
    assert ideas.draw_difference(ax, X, Y, sigma) == pytest.approx(mmd2_biased(x, y, sigma=sigma))
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    first, second = (line.get_ydata().mean() for line in dots)
    assert first - second == pytest.approx(mmd2_biased(x, y, sigma=sigma))


def test_a_hill_stands_on_every_value(ax):
    ideas.draw_hills(ax, X, Y, 1.0)
    thin = [line for line in ax.get_lines() if line.get_linewidth() < 1]
    peaks = [line.get_xdata()[np.nanargmax(line.get_ydata())] for line in thin]
    assert peaks == pytest.approx([*X, *Y], abs=0.05)


def test_deals_show_the_groups_and_their_value(ax):
    ideas.draw_deals(ax, X, Y, [0, 5])
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert len(dots) == 12
    assert [dot.get_color() for dot in dots[:6]] == [figures.BLUE] * 3 + [figures.VERMILLION] * 3
    assert sum(dot.get_color() == figures.BLUE for dot in dots[6:]) == 3
    assert "0.70" in [text.get_text() for text in ax.texts]


def test_every_deal_is_a_dot_and_those_that_reach_are_coloured(ax):
    ideas.draw_all_deals(ax, X, Y)
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert len(dots) == 20
    assert sum(dot.get_color() == figures.VERMILLION for dot in dots) == 2
