"""Figures: what is drawn, that nothing is cut off, and what a notebook sees of it."""

from __future__ import annotations

import base64
import io
import struct
from pathlib import Path

import matplotlib
import nbclient
import nbformat
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot
from matplotlib.figure import Figure

import deepdrift
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.bench.figures import images
from deepdrift.lab.diagnosis.figures import draw_drift_profile, drift_profile

RNG = np.random.default_rng(0)
LAYERS = [f"encoder.layers.{i}.mlp" for i in range(8)]
NORMAL, SHIFTED = RNG.chisquare(8, 500), RNG.chisquare(8, 300) + 5
LONG = [f"a rather long name of shift number {i}" for i in range(16)]


def estimate(value):
    return Estimate(value, max(0.0, value - 0.03), min(1.0, value + 0.03), 100, 100)


FIGURES = {
    "image_grid": lambda: figures.image_grid(
        RNG.uniform(size=(12, 28, 28)), LONG[:12], "Twelve pictures"
    ),
    "image_grid_many": lambda: figures.image_grid(torch.rand(40, 3, 8, 8), title="Forty"),
    "score_bars": lambda: figures.score_bars(
        {n: estimate(i / 15) for i, n in enumerate(LONG)}, "From never to always"
    ),
    "score_bars_series": lambda: figures.score_bars(
        {n: {"raw velocity": estimate(0.2), "innovation": estimate(1.0)} for n in LONG}, "Two"
    ),
    "heatmap": lambda: figures.heatmap(
        RNG.uniform(size=(16, 8)), LONG, LAYERS, "Nobody wins everywhere", middle=0.5
    ),
    "drift_profile": lambda: drift_profile(
        {"": {name: 4.0 * i - 3 for i, name in enumerate(LAYERS)}}, "One layer after the other"
    ),
    "drift_profile_lines": lambda: drift_profile(
        {"blur": [1.0, 9.0, np.inf], "digits": [5.0, 8.0, 30.0]}, "Two"
    ),
    "rate_by_size": lambda: figures.rate_by_size(
        [20, 200, 2000],
        {rule: RNG.uniform(0, 0.2, size=(3, 50)) for rule in ("conformal", "quantile", "IQR")},
        0.05,
        "A small set keeps its promise on average only",
        bands=[(0.0, 0.15), (0.02, 0.09), (0.04, 0.06)],
    ),
}


@pytest.fixture(autouse=True)
def close_figures():
    pyplot.close("all")
    yield
    pyplot.close("all")


@pytest.fixture
def ax():
    with figures.style():
        return Figure(layout="constrained").subplots()


def words(artist):
    texts = (t.get_text() for t in artist.findobj(matplotlib.text.Text))
    return [t for t in texts if t]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_shown_once_and_nothing_returned(name):
    assert FIGURES[name]() is None
    assert len(pyplot.get_fignums()) == 1
    width, height = pyplot.gcf().get_size_inches() * pyplot.gcf().dpi
    assert width == 800 and height >= 300


@pytest.mark.parametrize("name", FIGURES)
def test_no_word_is_cut_off_and_no_two_labels_of_an_axis_touch(name):
    FIGURES[name]()
    figure = pyplot.gcf()
    figure.canvas.draw()
    renderer, frame = figure.canvas.get_renderer(), figure.bbox
    shown = [
        t for t in figure.findobj(matplotlib.text.Text) if t.get_text().strip() and t.get_visible()
    ]
    assert len(shown) > 2 or name == "image_grid_many"
    for text in shown:
        box = text.get_window_extent(renderer)
        inside = box.x0 >= -1 and box.x1 <= frame.x1 + 1 and box.y0 >= -1 and box.y1 <= frame.y1 + 1
        on_ticks = _is_hidden_tick(text, figure)
        assert inside or on_ticks, f"{text.get_text()!r} leaves the figure: {box}"
    for axes in figure.axes:
        boxes = [
            t.get_window_extent(renderer)
            for t in axes.get_yticklabels()
            if t.get_text() and not _is_hidden_tick(t, figure)
        ]
        boxes.sort(key=lambda b: b.y0)
        assert all(a.y1 <= b.y0 + 2 for a, b in zip(boxes, boxes[1:], strict=False))


def _is_hidden_tick(text, figure):
    """Tick labels beyond the limits exist in matplotlib, but are not drawn."""
    for axes in figure.axes:
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if text in (tick.label1, tick.label2):
                    low, high = sorted(limits)
                    return not axes.axison or not low <= tick.get_loc() <= high
    return False


@pytest.mark.parametrize("name", ["rate_by_size", "image_grid"])
def test_usual_figures_keep_the_house_size(name):
    FIGURES[name]()
    assert repr(pyplot.gcf()).startswith("<Figure size 800x300 with ")


def test_style_stays_inside():
    before = dict(matplotlib.rcParams)
    FIGURES["rate_by_size"]()
    assert pyplot.gca().spines["top"].get_visible() is False
    assert dict(matplotlib.rcParams) == before


def test_a_failed_figure_is_closed():
    with pytest.raises(figures.PlotError, match="estimates"):
        figures.score_bars({})
    assert pyplot.get_fignums() == []


def test_histograms_show_shares_of_their_own_set(ax):
    artists = figures.draw_two_histograms(
        ax, [0, 1, 1, 4], [2, 4], ("bags", "digits"), threshold=1.0, n_bins=4
    )
    assert artists["a"].get_data().values.tolist() == [0.25, 0.5, 0, 0.25]
    assert artists["b"].get_data().values.tolist() == [0, 0, 0.5, 0.5]
    assert list(artists["line"].get_xdata()) == [1.0, 1.0]
    shown = words(ax)
    assert "bags: 25.0 % above" in shown and "digits: 100.0 % above" in shown
    assert "threshold 1" in shown
    assert artists["label_a"].get_ha() == "left" and artists["label_b"].get_ha() == "right"


def test_names_stand_on_the_side_of_their_set(ax):
    artists = figures.draw_two_histograms(ax, [5, 6], [1, 2], ("bags", "digits"))
    assert artists["label_a"].get_ha() == "right"
    assert "bags (n = 2)" in words(ax)


def test_infinite_scores_fill_the_last_bin(ax):
    artists = figures.draw_two_histograms(ax, [0, 1, 2], [1, np.inf, np.inf, -np.inf], n_bins=2)
    assert artists["b"].get_data().values.tolist() == [0.25, 0.75]
    assert np.isfinite(ax.get_xlim()).all()


def test_a_threshold_beyond_the_data_is_still_seen(ax):
    figures.draw_two_histograms(ax, [0, 1], [1, 2], threshold=9.0)
    assert ax.get_xlim() == (0, 9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda ax: figures.draw_two_histograms(ax, [0, 1], [1], log=True),
            "smallest is 0; use log",
        ),
        (
            lambda ax: figures.draw_two_histograms(ax, [np.inf], [np.inf]),
            "at least one finite score",
        ),
        (lambda ax: figures.draw_score_bars(ax, {}), "estimates: expected at least one"),
        (
            lambda ax: figures.draw_heatmap(ax, [[1, 2]], ["a"], ["b"]),
            r"shape \(1, 1\) .* \(1, 2\)",
        ),
        (
            lambda ax: figures.draw_rate_by_size(ax, [20], {"a": []}, 0.05),
            "expected 1 sets of draws",
        ),
        (lambda ax: figures.image_grid(np.zeros((3, 2, 8, 8))), r"got \(3, 2, 8, 8\)"),
        (lambda ax: figures.image_grid(np.zeros((2, 8, 8)), ["one"]), "expected 2, .* got 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(ax, call, message):
    with pytest.raises(figures.PlotError, match=message):
        call(ax)


def test_score_bars_print_the_numbers_and_mark_chance(ax):
    figures.draw_score_bars(ax, {"blur": Estimate(0.9, 0.85, 0.95, 10, 10)}, "t")
    shown = words(ax)
    assert "0.900 [0.850, 0.950]" in shown and "coin flip" in shown
    interval, dot = ax.get_lines()[:2]
    assert list(interval.get_xdata()) == [0.85, 0.95] and list(dot.get_xdata()) == [0.9]
    assert any(set(line.get_xdata()) == {0.5} for line in ax.get_lines()[2:])


def test_heatmap_prints_every_number_readably(ax):
    image = figures.draw_heatmap(
        ax, [[0.0, 1.0], [0.5, np.nan]], ["a", "b"], ["c", "d"], middle=0.5
    )
    cells = {t.get_text(): t.get_color() for t in ax.texts}
    assert cells == {"0.00": "white", "1.00": "white", "0.50": figures.INK, "–": figures.INK}
    assert (image.norm.vmin, image.norm.vmax) == (0.0, 1.0)


def test_numbers_of_a_heatmap_as_shapes_are_the_same_words_in_the_same_places(ax):
    table = [[0.0, 1.0], [0.5, np.nan]]
    figures.draw_heatmap(ax, table, ["a", "b"], ["c", "d"], middle=0.5)
    words = {t.get_position(): (t.get_window_extent(), t.get_color()) for t in ax.texts}
    ax.clear()
    figures.draw_heatmap(ax, table, ["a", "b"], ["c", "d"], middle=0.5, as_shapes=True)
    (numbers,) = ax.collections
    assert not ax.texts and len(words) == 4
    to_pixels = numbers.get_transform()
    for path, place, colour in zip(
        numbers.get_paths(), numbers.get_offsets(), numbers.get_facecolors(), strict=True
    ):
        box, expected = words[tuple(place)]
        found = path.transformed(to_pixels).get_extents()
        assert abs(found.width - box.width) < 3
        assert abs(found.x0 + found.x1) < 1 and abs(found.y0 + found.y1) < box.height
        assert matplotlib.colors.to_hex(colour) == matplotlib.colors.to_hex(expected)


def test_rates_by_size_mark_the_mean_and_span_5_to_95_percent(ax):
    draws = np.linspace(0, 0.1, 101)
    figures.draw_rate_by_size(ax, [50], {"conformal": [draws]}, alpha=0.05, bands=[(0.01, 0.2)])
    bar, mean, promise = (line.get_ydata() for line in ax.lines)
    assert bar == pytest.approx([0.005, 0.095])
    assert (mean[0], promise[0]) == pytest.approx((0.05, 0.05))
    assert ax.collections[0].get_paths()[0].get_extents().y1 == pytest.approx(0.2)


def test_the_dashed_line_of_score_bars_has_the_name_it_is_given(ax):
    figures.draw_score_bars(ax, {"a": estimate(0.1)}, chance=0.05, chance_name="promised")
    assert "promised" in words(ax) and "coin flip" not in words(ax)


def test_images_are_shown_as_they_are():
    images = np.zeros((2, 1, 4, 4))
    images[1, 0, 0, 0] = 2.0  # clipped, not rescaled
    figures.image_grid(images, ["dark", "one pixel"], "Two")
    pictures = [axes.images[0] for axes in pyplot.gcf().axes]
    assert pictures[0].get_array().max() == 0 and pictures[1].get_array().max() == 1
    assert pictures[0].get_clim() == (0, 1)
    assert [axes.get_title() for axes in pyplot.gcf().axes] == ["dark", "one pixel"]


def test_images_are_laid_out_as_large_as_possible():
    """800 x 270 pixels: ten squares fit best as 2 x 5 (135 pixels), six as one row (133)."""
    assert images._best_columns(10, 800, 270, 0) == 5
    assert images._best_columns(6, 800, 270, 18) == 6
    assert images._best_columns(1, 800, 270, 0) == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 0.3))
def test_spread_keeps_order_gap_and_the_middle(positions, gap):
    placed = np.array(figures.spread(positions, gap))
    order = np.argsort(positions, kind="stable")
    assert (np.diff(placed[order]) >= gap - 1e-9).all()
    assert placed.mean() == pytest.approx(np.mean(positions), abs=1e-6)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True))
def test_spread_leaves_free_labels_alone(positions):
    assert figures.spread(positions, gap=0.9) == positions


def test_colours_are_those_of_okabe_and_ito():
    """In this order, as the style file also has them; yellow is left out (unreadable on white)."""
    cycle = figures.style_settings()["axes.prop_cycle"].by_key()["color"]
    assert tuple(f"#{c.lstrip('#')}" for c in cycle) == figures.COLOURS
    published = {"#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(figures.COLOURS) == published - {"#F0E442"} | {"#000000"}


def test_a_notebook_sees_one_figure_of_full_size(monkeypatch):
    """In a real kernel: one output per call, with words for all, and a PNG of twice 800 x 300."""
    code = [
        "from deepdrift.lab.bench import figures\n"
        "from deepdrift.lab.bench.notebook import setup\n"
        "import torch\n"
        "setup(seed=3)\n"
        "first = torch.rand(1).item()\n"
        "setup(seed=3)\n"
        "print(first == torch.rand(1).item(), torch.get_num_threads(),"
        " torch.are_deterministic_algorithms_enabled())",
        "figures.rate_by_size([20, 200], {'a': [[0.1, 0.2], [0.1, 0.1]]}, 0.05, title='One')",
        "figures.heatmap([[1, 2]], ['a'], ['b', 'c'], title='Two')",
    ]
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel inherits it
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in code])
    client = nbclient.NotebookClient(
        notebook, timeout=600, startup_timeout=600, kernel_name="python3"
    )
    client.execute(cwd=str(Path(deepdrift.__file__).parents[1]))
    first, *pictures = (cell.outputs for cell in notebook.cells)
    assert [o.text for o in first] == ["True 1 True\n"]
    for outputs in pictures:
        assert len(outputs) == 1
        assert outputs[0].data["text/plain"] == "<Figure size 800x300 with 1 Axes>"
        png = io.BytesIO(base64.b64decode(outputs[0].data["image/png"])).read()
        assert struct.unpack(">II", png[16:24]) == (1600, 600)
    about = [outputs[0].metadata["image/png"] for outputs in pictures]
    assert [(a["width"], a["height"]) for a in about] == [(800, 300)] * 2
    assert [a["alt"].split(" (")[0] for a in about] == ["One", "Two"]


def test_the_words_for_a_figure_are_its_titles_once_and_what_its_axes_show():
    with figures.style():
        fig = Figure()
        left, right = fig.subplots(1, 2)
        left.set(title="Same", xlabel="step")
        right.set(title="Same", xlabel="step")
        assert figures.alternative_text(fig) == "Same (step)"
        _ = fig.suptitle("Above\nall")
        _ = right.set_title("Other")
        assert figures.alternative_text(fig) == "Above all. Same (step). Other (step)"
        assert figures.alternative_text(Figure()) == "Drawing"


def test_a_drift_profile_shows_every_drift_and_the_threshold(ax):
    bars = draw_drift_profile(ax, {"": {"stem": -1.0, "head": np.nan, "tail": 6.0}})[""]
    top = ax.get_ylim()[1]
    assert [bar.get_height() for bar in bars] == [-1.0, top, 6.0]
    assert bars[0].get_facecolor() != bars[1].get_facecolor() == bars[2].get_facecolor()
    assert {"stem", "head", "tail", "threshold 3", "not finite"} <= set(words(ax))
    assert any(set(line.get_ydata()) == {3.0} for line in ax.get_lines())


@pytest.mark.parametrize(
    "profile",
    [
        [1.0, 9.0],
        torch.tensor([1.0, 9.0]),
        {"layer 0": 1.0, "layer 1": 9.0},
        {"layer 0": {"drift": 1.0, "slope": 0.0}, "layer 1": {"drift": 9.0, "slope": 0.0}},
        deepdrift.diagnose_drift([1.0, 9.0]),
    ],
)
def test_whatever_holds_drifts_can_be_plotted(profile):
    assert deepdrift.plot_drift_profile(profile) is None
    (axes,) = pyplot.gcf().axes
    assert [bar.get_height() for bar in axes.patches] == [1.0, 9.0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["layer 0", "layer 1"]


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ([], "at least one layer, got none"),
        ("high", "one drift per layer, got 'high'"),
        ({"stem": {"slope": 1.0}}, "a mapping with 'drift'"),
        (3.0, "one drift per layer, got 3.0"),
    ],
)
def test_what_is_no_profile_is_refused(profile, message):
    with pytest.raises(figures.PlotError, match=message):
        deepdrift.plot_drift_profile(profile)
    assert pyplot.get_fignums() == []


def test_profiles_of_one_figure_share_their_layers(ax):
    with pytest.raises(figures.PlotError, match="profile of 'b': expected layers"):
        draw_drift_profile(ax, {"a": [1.0], "b": [1.0, 2.0]})
    with pytest.raises(figures.PlotError, match="at least one profile, got none"):
        draw_drift_profile(ax, {})


def test_one_extreme_value_does_not_squeeze_the_histogram():
    edges = figures.histogram_edges(np.r_[np.arange(999.0), 1e6])
    assert 990 <= edges[-1] <= 999
