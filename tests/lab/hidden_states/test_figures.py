"""AUROC by layer: the lines are the values, names stand at the ends and do not touch."""

import matplotlib
import pytest
from matplotlib import pyplot

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.hidden_states.figures import auroc_by_layer


def row(*values):
    return {f"blocks.{i}": Estimate(v, v - 0.02, v + 0.01, 99, 99) for i, v in enumerate(values)}


def test_lines_colours_and_names():
    pyplot.close("all")
    seen = {"bags": row(0.7, 0.52), "digits": row(0.98, 0.51), "rows": row(0.3, 0.9)}
    assert auroc_by_layer(seen, "All meet a coin") is None
    (ax,) = pyplot.gcf().axes
    lines = [line for line in ax.lines if line.get_marker() == "o"]
    assert [tuple(line.get_ydata()) for line in lines] == [(0.7, 0.52), (0.98, 0.51), (0.3, 0.9)]
    assert [line.get_color() for line in lines] == list(figures.COLOURS[1:4])
    assert ax.get_ylim()[0] == pytest.approx(0.23), "room for what is worse than a coin"
    pyplot.gcf().canvas.draw()
    renderer = pyplot.gcf().canvas.get_renderer()
    boxes = {t.get_text(): t.get_window_extent(renderer) for t in ax.findobj(matplotlib.text.Text)}
    ends = sorted((boxes[name] for name in (*seen, "a coin")), key=lambda b: b.y0)
    assert all(a.y1 <= b.y0 + 2 for a, b in zip(ends, ends[1:], strict=False))
    pyplot.close("all")


def test_nothing_is_refused():
    with pytest.raises(figures.PlotError, match="at least one kind"):
        auroc_by_layer({})
