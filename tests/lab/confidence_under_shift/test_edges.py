"""Edges at which a number, a word or a picture of notebook 10 could be wrong."""

from __future__ import annotations

import math
import re

import pytest
import torch
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deepdrift import confidence
from deepdrift.lab.bench.evaluation import proportion
from deepdrift.lab.confidence_under_shift import figures
from deepdrift.lab.confidence_under_shift.exercises import EXERCISES
from deepdrift.lab.confidence_under_shift.experiment import SCORES, Predictions, Sets, load_sets
from deepdrift.lab.confidence_under_shift.explorer import PromiseExplorer, ReliabilityExplorer
from deepdrift.lab.confidence_under_shift.measures import (
    Promise,
    ece_difference,
    keep_promise,
    overlap,
    promise_lines,
)


def said(top, correct, score=None):
    p = torch.as_tensor(top, dtype=torch.float64)
    labels = (~torch.as_tensor(correct, dtype=torch.bool)).long()
    scores = {} if score is None else dict.fromkeys(SCORES, torch.as_tensor(score).double())
    logits = torch.stack([p, 1 - p], dim=1).log()
    return Predictions(logits, labels, scores, torch.zeros(1))


def test_a_confidence_on_the_edge_of_a_bin_is_counted_where_the_library_counts_it():
    """A digit above 11/15, which 15 times it hides. Gaps of one bin cancel, of two do not."""
    edge = math.nextafter(11 / 15, 1)
    assert edge * 15 == 11
    a, b = said([edge, 0.7], [True, False]), said([0.9] * 2, [True] * 2)
    exact = torch.tensor([edge, 0.7], dtype=torch.float64)
    vars(a)["probabilities"] = torch.stack([exact, 1 - exact], dim=1)  # softmax would round
    expected = [confidence.ece(x.probabilities, x.labels) for x in (a, b)]
    assert expected[0] == pytest.approx((1 - edge + 0.7) / 2)
    found = ece_difference(a, b, n_bootstrap=100)
    assert found.value == pytest.approx(expected[0] - expected[1])


def world(answered):
    """Everything right; the given numbers of 100 are answered at severity 0 to 5."""
    held = said([0.9] * 200, [i < 190 for i in range(200)], range(200))
    names = ["clean", *(f"gaussian_noise {s}" for s in range(1, 6))]
    batches = [said([0.9] * 100, [True] * 100, [0.0] * n + [1000.0] * (100 - n)) for n in answered]
    return {"held": held} | dict(zip(names, batches, strict=True))


def test_silence_that_ends_is_not_silence_from_there_on():
    (line,) = promise_lines(world([95, 60, 0, 0, 0, 30]), ["gaussian_noise"], "MSP", 0.05)
    assert "silent from" not in line
    (line,) = promise_lines(world([95, 60, 0, 30, 0, 0]), ["gaussian_noise"], "MSP", 0.05)
    assert re.search(r"silent from (severity )?4$", line)


def test_a_line_fits_a_page():
    found = world([95, 60, 50, 0, 0, 0])
    wrong = said([0.9] * 100, [False] * 100, [0.0] * 100)
    (line,) = promise_lines(found | {"gaussian_noise 1": wrong}, ["gaussian_noise"], "MSP", 0.05)
    assert re.search(r"breaks at (severity )?1, silent from (severity )?3$", line)
    assert len(line) <= 100


def test_clean_images_of_which_none_is_answered():
    """Chosen on the held ones, where there is something to promise."""
    found = world([0, 0, 0, 0, 0, 0])
    assert keep_promise(found, "gaussian_noise", "MSP", 0.05).chosen.coverage > 0
    app = PromiseExplorer({"CNN": found}, ("gaussian_noise",))
    assert "clean images: 0% answered" in app.summary()


def test_overlap_of_fewer_images_than_asked_for():
    sets = load_sets()
    few = Sets(sets.fit[:2], sets.calibration[:2], sets.held[:2], sets.clean[:20], {})
    asked, all_there_are = overlap("cnn", few, "blur", n=200), overlap("cnn", few, "blur", n=20)
    assert asked == all_there_are


# ---- pictures ----


def test_the_shifts_are_named_above_their_panels_and_the_axis_below():
    rows = [{"accuracy": 0.5, "confidence": 0.9}] * 6
    figures.falls({n: {"blur": rows, "gaussian_noise": rows} for n in ("CNN", "ViT")}, "t")
    axes = pyplot.gcf().axes
    titles = [ax.get_title() + ax.get_title("left") for ax in axes]
    assert titles == ["blur", "gaussian noise", "", ""]
    assert [ax.get_xlabel() for ax in axes] == ["", "", "severity", "severity"]


def extents(fig, artists):
    fig.canvas.draw()
    return [artist.get_window_extent(fig.canvas.get_renderer()) for artist in artists]


@pytest.mark.parametrize("kind", ["reliability", "promise"])
def test_no_word_of_an_explorer_is_cut_off(kind):
    found = world([95, 60, 50, 40, 30, 20])
    if kind == "promise":
        app = PromiseExplorer({"CNN": found}, ("gaussian_noise",))
    else:
        app = ReliabilityExplorer({"CNN": found}, ("gaussian_noise",), {"CNN": 1.0})
    app.set(severity=2) if kind == "reliability" else app.set(wrong=6)
    fig = app._figure
    words = [text for ax in app._axes for text in (ax.xaxis.label, ax.yaxis.label, ax.title)]
    for text, box in zip(words, extents(fig, words), strict=True):
        inside = box.x0 >= 0 and box.x1 <= fig.bbox.x1 and box.y0 >= 0 and box.y1 <= fig.bbox.y1
        assert not text.get_text() or inside, text.get_text()


def test_words_of_a_promise_do_not_lie_on_one_another():
    chosen = confidence.Acceptance(3.0, 0.8, 0.02, 0.04, 0.05, 0.9, 500)
    kept = Promise(chosen, [0.9, 0, 0, 0, 0, 0], [proportion(2, 90)] + [None] * 5)
    fig = Figure(figsize=(8, 3))
    FigureCanvasAgg(fig)
    axes = list(fig.subplots(1, 2, gridspec_kw={"width_ratios": (1.3, 1.0)}))
    figures.draw_promise(axes, kept)
    boxes = extents(fig, axes[0].texts)
    for i, a in enumerate(boxes):
        assert not any(a.overlaps(b) for b in boxes[i + 1 :]), axes[0].texts[i].get_text()


def test_the_titles_of_the_dashboard_fit():
    rows = [{"accuracy": 0.5, "F1": 0.4, "confidence": 0.9, "ECE": 0.4}] * 6
    figures.dashboard(rows, [proportion(50, 100)] * 6, [0.1, 1.0, 5.0, 20.0, 50.0, 90.0], "t")
    fig = pyplot.gcf()
    titles = [t for ax in fig.axes for t in (ax.title, ax._left_title) if t.get_text()]
    boxes = extents(fig, titles)
    assert boxes[-1].x1 <= fig.bbox.x1
    assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))
    assert fig.axes[3].get_ylim()[1] > 90


def test_one_histogram_and_four():
    """No set is left out without a word."""
    for n in (1, 4):
        pyplot.close("all")
        figures.confidences({f"set {i}": torch.tensor([0.5, 0.7]) for i in range(n)}, "t")
        axes = pyplot.gcf().axes
        assert [bool(ax.patches) for ax in axes] == [True] * n


# ---- answers in other dresses ----


@pytest.mark.parametrize(
    "answer", ["no effect", "stays the same", "nothing changes", "it does nothing"]
)
def test_nothing_in_other_words(answer):
    assert EXERCISES["ex_10_3"].reply(answer).startswith("Right")


def test_a_percentage_for_a_share():
    assert EXERCISES["ex_10_4"].reply(61.9).startswith("Right")
