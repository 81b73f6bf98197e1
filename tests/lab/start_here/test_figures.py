"""Figures of notebook 00: rows and names, nothing cut off, no two names at one place."""

import matplotlib
import pytest
import torch
from matplotlib import pyplot

from deepdrift.lab.bench.evaluation import proportion
from deepdrift.lab.start_here import figures
from deepdrift.lab.start_here.kinds import Answers

NAMES = ("shirt", "ankle-boot")


@pytest.fixture(autouse=True)
def close_figures():
    pyplot.close("all")
    yield
    pyplot.close("all")


def words():
    fig = pyplot.gcf()
    fig.canvas.draw()
    renderer = fig.canvas.get_renderer()
    texts = [t for t in fig.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]
    return {t.get_text(): t.get_window_extent(renderer) for t in texts if t.get_text().strip()}


def test_a_row_for_each_strange_kind_with_what_is_shown():
    truth = {"digits": torch.full((6,), -1), "noisy pictures": torch.zeros(6, dtype=torch.long)}
    answers = {
        name: Answers(torch.tensor([0.97, 0.99, 0.96, 0.94, 0.98, 1.0]), torch.ones(6).long(), t)
        for name, t in truth.items()
    }
    pictures = {name: torch.rand(6, 1, 8, 8) for name in ("clothing", *truth)}
    assert figures.wrong_and_sure(pictures, answers, NAMES, "Wrong", columns=3) is None
    found = words()
    axes = pyplot.gcf().axes
    assert len(axes) == 6 and all(len(ax.images) == 1 for ax in axes)
    assert "“ankle-boot”\n97% sure" in found and "“ankle-boot”\n97% sure\nis: shirt" in found
    assert not any("94%" in text for text in found), "only those above 95 %"
    for text, box in found.items():
        assert -1 <= box.x0 and box.x1 <= 801 and -1 <= box.y0 and box.y1 <= 301, text


def test_lines_are_named_at_their_ends_and_the_names_do_not_touch():
    shares = {
        name: {layer: proportion(k + i, 100) for i, layer in enumerate(("patch", "blocks.0"))}
        for name, k in (("digits", 5), ("noisy pictures", 6))
    }
    assert figures.flagged_by_layer(shares, "All alike") is None
    found = words()
    boxes = sorted((found[name] for name in (*shares, "clothing: 5 %")), key=lambda b: b.y0)
    assert all(a.y1 <= b.y0 + 2 for a, b in zip(boxes, boxes[1:], strict=False))
    assert {"patch", "blocks.0", "share flagged by the layer", "All alike"} <= found.keys()
