"""The pictures of notebook 09: what they say in words and where things stand."""

from __future__ import annotations

import pytest
import torch
from matplotlib import pyplot

from deepdrift.lab.bench import figures
from deepdrift.lab.explanations_under_shift.explanations import Explanation
from deepdrift.lab.explanations_under_shift.figures import draw_ruler, draw_sheet, four_pixels
from deepdrift.lab.explanations_under_shift.ruler import RANDOM, SAME, UNTRAINED, Ruler
from deepdrift.lab.explanations_under_shift.tiles import grey


@pytest.fixture
def ax():
    with figures.style():
        yield pyplot.figure().subplots()
    pyplot.close("all")


def test_rungs_stand_at_their_means(ax):
    values = {UNTRAINED: 0.12, RANDOM: 0.2, SAME: 0.4}
    overlaps = {k: torch.tensor([v - 0.01, v + 0.01]).double() for k, v in values.items()}
    draw_ruler(ax, {Explanation("CNN", "saliency"): Ruler(overlaps, {}, 0.11)})
    marks = [x.get_xdata()[0] for x in ax.lines if len(x.get_xdata()) == 1]
    assert marks == pytest.approx([0.12, 0.2, 0.4])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["CNN, saliency"]
    assert {"chance", "  rule: 0.2", "identical"} <= {t.get_text() for t in ax.texts}


def test_the_names_of_the_rungs_cover_no_bar(ax):
    """The legend stands above the panel, between the words at its top."""
    overlaps = {k: torch.tensor([0.3, 0.4]).double() for k in (UNTRAINED, RANDOM, SAME)}
    draw_ruler(ax, {Explanation("CNN", "saliency"): Ruler(overlaps, {}, 0.11)})
    ax.figure.draw_without_rendering()
    box, panel = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [UNTRAINED, RANDOM, SAME]
    assert box.y0 > panel.y1 - 3
    words = {t.get_text().strip(): t.get_window_extent() for t in ax.texts}
    assert words["rule: 0.2"].x1 < box.x0 and box.x1 < words["identical"].x0


def test_a_sheet_names_columns_and_rows(ax):
    tile = grey(torch.rand(1, 28, 28))
    draw_sheet(ax, [[tile, tile], [tile]], ["image", "map"], ["clean", "severity 1"])
    assert [t.get_text() for t in ax.texts] == ["image", "map", "clean", "severity 1"]
    assert ax.texts[3].get_position()[1] > ax.texts[2].get_position()[1]


def test_four_pixels_are_written_with_their_signs():
    four_pixels([1, 0, 0.5, 0], {"weights": [2, -1, 0, 3]}, "Four pixels")
    fig = pyplot.gcf()
    assert [t.get_text() for t in fig.axes[1].texts] == ["2", "-1", "0", "3"]
    assert fig.axes[0].texts[1].get_color() == "white"  # on black
    pyplot.close("all")
