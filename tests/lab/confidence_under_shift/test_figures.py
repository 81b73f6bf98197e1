"""What the drawings of notebook 10 show, read back from their artists."""

from __future__ import annotations

import matplotlib.figure
import pytest
import torch
from matplotlib import pyplot
from matplotlib.colors import to_rgba

from deepdrift import confidence
from deepdrift.lab.bench.evaluation import Estimate, proportion
from deepdrift.lab.bench.figures import BLUE, GREEN, INK, ORANGE, PURPLE, VERMILLION
from deepdrift.lab.confidence_under_shift import figures
from deepdrift.lab.confidence_under_shift.measures import Promise


@pytest.fixture
def ax():
    return matplotlib.figure.Figure().subplots()


def two_classes(top, correct):
    p = torch.tensor(top, dtype=torch.float64)
    return torch.stack([p, 1 - p], dim=1), [0 if right else 1 for right in correct]


def words(ax):
    return [text.get_text() for text in ax.texts]


def lines(ax, marker):
    return [line for line in ax.lines if line.get_marker() == marker]


# ---- reliability ----

# forty say 0.55 and half are right; forty say 0.95 and a quarter is
HAND = two_classes(
    [0.55] * 40 + [0.95] * 40, [i % 2 for i in range(40)] + [i % 4 == 0 for i in range(40)]
)


def test_a_point_for_each_filled_bin_at_its_confidence_and_accuracy(ax):
    figures.draw_reliability(ax, *HAND, n_bins=10, title="two bins")
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines(ax, "o")]
    assert points == [pytest.approx((0.55, 0.5)), pytest.approx((0.95, 0.25))]
    gaps = [line.get_ydata().tolist() for line in ax.lines if line.get_marker() == "None"][1:]
    assert gaps == [pytest.approx([0.55, 0.5]), pytest.approx([0.95, 0.25])]
    assert ax.get_title() == "two bins" and ax.get_xlabel() == "confidence"


def test_what_chance_does_not_explain_has_another_colour(ax):
    """Twenty of forty at 0.55 are within the throws of a coin, ten of forty at 0.95 are not."""
    figures.draw_reliability(ax, *HAND, n_bins=10)
    assert [line.get_color() for line in lines(ax, "o")] == [BLUE, VERMILLION]


def test_the_band_of_each_bin_is_the_librarys(ax):
    figures.draw_reliability(ax, *HAND, n_bins=10)
    low, high = confidence.reliability_band(HAND[0], 10)
    boxes = [band.get_paths()[0].get_extents() for band in ax.collections]
    assert [tuple(box.extents) for box in boxes] == [
        pytest.approx((0.5, float(low[5]), 0.6, float(high[5]))),
        pytest.approx((0.9, float(low[9]), 1.0, float(high[9]))),
    ]


def test_larger_points_stand_for_more_predictions(ax):
    p, labels = two_classes([0.55] * 90 + [0.95] * 10, [True] * 100)
    figures.draw_reliability(ax, p, labels, n_bins=10)
    sizes = [line.get_markersize() for line in lines(ax, "o")]
    assert sizes[0] > sizes[1]


def test_diagrams_side_by_side_say_their_ece_and_what_chance_allows():
    p, labels = HAND
    honest = two_classes([0.95] * 40, [i > 1 for i in range(40)])
    figures.reliability({"too sure": HAND, "honest": honest}, "two", n_bins=10)
    first, second = pyplot.gcf().axes
    test = confidence.calibration_test(p, labels, 10)
    assert words(first) == [f"too sure\nECE 0.375, by chance up to {test.null_high:.3f}"]
    assert words(second)[0].startswith("honest\nECE 0.000, by chance up to ")
    assert first.get_ylabel() == "accuracy" and second.get_ylabel() == ""


# ---- severity on the x axis ----


def table(accuracy, sure):
    return [
        {"accuracy": a, "F1": a - 0.05, "confidence": c, "ECE": abs(c - a)}
        for a, c in zip(accuracy, sure, strict=True)
    ]


ROWS = table([0.9, 0.8, 0.6, 0.4, 0.3, 0.2], [0.95, 0.9, 0.85, 0.8, 0.8, 0.85])


def test_columns_of_a_table_in_the_colours_of_their_names(ax):
    figures.draw_fall(ax, ROWS, {"accuracy": VERMILLION, "ECE": PURPLE})
    drawn = {line.get_color(): list(line.get_ydata()) for line in ax.lines}
    assert drawn[VERMILLION] == [row["accuracy"] for row in ROWS]
    assert drawn[PURPLE] == [row["ECE"] for row in ROWS]
    assert ax.lines[0].get_xdata().tolist() == list(range(6))


def test_a_panel_for_each_network_and_shift():
    tables = {
        "CNN": {"blur": ROWS, "gaussian_noise": ROWS[::-1]},
        "ViT": {"blur": ROWS, "gaussian_noise": ROWS},
    }
    figures.falls(tables, "t")
    axes = pyplot.gcf().axes
    assert len(axes) == 4
    assert list(axes[1].lines[0].get_ydata()) == [row["accuracy"] for row in ROWS[::-1]]
    assert [axes[0].get_ylabel(), axes[2].get_ylabel()] == ["CNN", "ViT"]
    edges = axes[0].collections[0].get_paths()[0].get_extents()
    assert (edges.y0, edges.y1) == pytest.approx((0.2, 0.95))  # from accuracy to confidence


def test_the_names_stand_where_the_curves_stay_high():
    """Accuracy up to severity 3 is at least 0.4 in the first panel and 0.7 in the second."""
    high = table([0.9, 0.9, 0.8, 0.7, 0.4, 0.3], [0.95] * 6)
    figures.falls({"CNN": {"noise": ROWS, "blur": high}, "ViT": {"noise": ROWS, "blur": ROWS}}, "t")
    assert [words(ax) for ax in pyplot.gcf().axes] == [[], ["confidence", "accuracy"], [], []]
    heights = [text.get_position()[1] for text in pyplot.gcf().axes[1].texts]
    assert max(heights) + 0.1 < 0.4


def test_risk_against_coverage_with_the_area_in_the_legend():
    curve = confidence.risk_coverage([1, 2, 3, 4], [True, True, False, True])
    figures.risk_coverage({"MSP": curve}, "t")
    (ax,) = pyplot.gcf().axes
    (line,) = ax.lines
    assert torch.as_tensor(line.get_ydata()).tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert torch.as_tensor(line.get_xdata()).tolist() == [0.25, 0.5, 0.75, 1.0]
    (label,) = ax.get_legend().get_texts()
    assert label.get_text() == "MSP: AUGRC 0.094"


# ---- promises ----


def kept(cases, max_risk=0.05):
    chosen = confidence.Acceptance(3.0, 0.8, 0.02, 0.04, max_risk, 0.9, 500)
    risk = [proportion(k, n) if n else None for k, n in cases]
    return Promise(chosen, [n / 100 for _, n in cases], risk)


CASES = [(2, 90), (5, 80), (20, 60), (0, 0), (0, 0), (9, 10)]


def test_a_broken_promise_has_another_colour_and_silence_has_words():
    left, right = matplotlib.figure.Figure().subplots(1, 2)
    figures.draw_promise([left, right], kept(CASES))
    points = {line.get_xdata()[0]: line for line in lines(left, "o")}
    assert {x: line.get_ydata()[0] for x, line in points.items()} == {
        0: 2 / 90, 1: 5 / 80, 2: 20 / 60, 5: 0.9
    }  # fmt: skip
    colours = {x: line.get_color() for x, line in points.items()}
    assert colours == {0: BLUE, 1: BLUE, 2: VERMILLION, 5: VERMILLION}  # 1 lies above by luck
    silent = [text.get_position()[0] for text in left.texts if "none" in text.get_text()]
    assert silent == [3, 4]


def test_intervals_and_shares_are_those_of_the_promise():
    left, right = matplotlib.figure.Figure().subplots(1, 2)
    found = kept(CASES)
    figures.draw_promise([left, right], found)
    spans = [list(line.get_ydata()) for line in left.lines if list(line.get_xdata()) == [2, 2]]
    assert spans == [[found.risk[2].low, found.risk[2].high]]
    assert [bar.get_height() for bar in right.patches] == found.coverage
    assert list(left.lines[0].get_ydata()) == [0.05, 0.05] and "promised 5" in words(left)[0]


# ---- the dashboard, histograms ----

OVERLAP = [
    Estimate(v, max(v - 0.03, 0), min(v + 0.02, 1), 200, 200) for v in (1, 0.5, 0.4, 0.3, 0.25, 0.2)
]
DRIFT = [0.2, 1.0, 5.0, 20.0, 50.0, 90.0]


def test_four_panels_of_one_shift():
    axes = list(matplotlib.figure.Figure().subplots(1, 4))
    figures.draw_dashboard(axes, ROWS, OVERLAP, DRIFT)
    names = [{to_rgba(VERMILLION): "accuracy", to_rgba(ORANGE): "F1"},
             {to_rgba(BLUE): "confidence", to_rgba(PURPLE): "ECE"}]  # fmt: skip
    for ax, colours in zip(axes[:2], names, strict=True):
        for line in ax.lines:
            name = colours[to_rgba(line.get_color())]
            assert list(line.get_ydata()) == [row[name] for row in ROWS]
            assert name in words(ax)
    shown = {line.get_color(): list(line.get_ydata()) for line in axes[2].lines}
    assert shown[GREEN] == [1, 0.5, 0.4, 0.3, 0.25, 0.2]
    assert 0.2**2 / 0.36 == pytest.approx(axes[2].lines[1].get_ydata()[0], abs=2e-3)
    band = axes[2].collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((0.17, 1.0))
    drift, line = axes[3].lines
    assert list(drift.get_ydata()) == DRIFT
    assert drift.get_color() == INK and list(line.get_ydata()) == [3.0, 3.0]
    assert [t.get_text() for t in axes[3].get_yticklabels()] == ["0", "3", "10", "30", "100"]
    assert axes[3].get_ylim() == pytest.approx((0, 126)) and "alarm at 3" in words(axes[3])
    titles = ["performance", "confidence", "explanation", "hidden states"]
    assert [ax.get_title() for ax in axes] == titles


def test_histograms_add_up_and_say_their_mean():
    sets = {"clean": torch.tensor([0.99] * 9 + [0.52]), "digits": torch.tensor([0.32, 0.48])}
    figures.confidences(sets, "t")
    first, second = pyplot.gcf().axes
    assert words(first) == ["clean: mean 0.94"] and words(second) == ["digits: mean 0.40"]
    shares = first.patches[0].get_data()
    assert shares.values.sum() == pytest.approx(1) and shares.values[-1] == pytest.approx(0.9)
    assert second.patches[0].get_data().values[6] == 0.5  # from 0.30 to 0.35


def test_each_figure_is_one_figure_that_is_shown():
    figures.reliability({"a": HAND}, "t", 10)
    figures.falls({"CNN": {"blur": ROWS}}, "t")
    figures.risk_coverage({"MSP": confidence.risk_coverage([1, 2], [True, False])}, "t")
    figures.dashboard(ROWS, OVERLAP, DRIFT, "t")
    figures.confidences({"a": torch.tensor([0.5]), "b": torch.tensor([0.7])}, "t")
    assert len(pyplot.get_fignums()) == 5
