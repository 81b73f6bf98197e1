"""Explorers: the numbers, the wiring from slider to words and picture, and their robustness."""

from __future__ import annotations

import base64
import itertools
import re
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot
from sklearn.metrics import roc_auc_score

from deepdrift.evidence.calibration import conformal_threshold, iqr_threshold, quantile_threshold
from deepdrift.lab.bench.controls import (
    ExplorerError,
    choice_control,
    number_control,
    toggle_control,
)
from deepdrift.lab.bench.evaluation import EvaluationError
from deepdrift.lab.bench.explorer import INSET, Explorer
from deepdrift.lab.hidden_states.explorer import LayerPicker
from deepdrift.lab.innovation.explorer import ShiftExplorer
from deepdrift.lab.start_here.explorer import ThresholdExplorer, count_alarms
from deepdrift.lab.thresholds.explorer import RULES, FalseAlarmExplorer, RateSummary

RNG = np.random.default_rng(0)
NORMAL = RNG.chisquare(8, 400)
DIGITS, PATCHES = RNG.chisquare(8, 200) + 6, RNG.chisquare(8, 100) + 20
STATES = {
    name: {"stem": RNG.normal(m, 1, (60, 3)), "head": RNG.normal(m, 1, (60, 5))}
    for name, m in (("clothing", 1.0), ("digits", 0.2))
}
OTHER = {n: {k: x**2 for k, x in states.items()} for n, states in STATES.items()}
SCORES = {
    "raw velocity": {s: RNG.gamma(9, 1 - 0.1 * s, 150) for s in range(6)},
    "innovation": {s: RNG.gamma(9, 1 + 0.2 * s, 150) for s in range(6)},
}


def threshold_explorer(**options):
    return ThresholdExplorer(NORMAL, {"digits": DIGITS, "patches": PATCHES}, **options)


def controls_of(app):
    """Number box and slider of an explorer's first control."""
    name = next(iter(app.values))
    return app.view.children[0].children[0].children[0], getattr(app, name)


EXPLORERS = {
    "threshold": (threshold_explorer, {"threshold": 20.0, "shift": "patches"}),
    "log": (lambda: ThresholdExplorer(NORMAL, DIGITS, log=True), {"threshold": 20.0}),
    "layer": (lambda: LayerPicker(STATES), {"layer": "head"}),
    "layer and pooling": (
        lambda: LayerPicker({"mean": STATES, "largest": OTHER}),
        {"layer": "head", "pooling": "largest"},
    ),
    "shift": (lambda: ShiftExplorer(SCORES), {"severity": 5, "score": "innovation"}),
    "false alarms": (
        lambda: FalseAlarmExplorer(NORMAL, n_draws=50),
        {"alpha": 0.1, "n": 60, "draw": 7, "rule": "quantile"},
    ),
}


@pytest.fixture(params=EXPLORERS)
def explorer(request):
    make, move = EXPLORERS[request.param]
    return make(), move


# --- every explorer -----------------------------------------------------------------------------


def test_each_control_changes_words_and_picture(explorer):
    """Moved from Python as the browser does: through the value of the control itself."""
    app, moves = explorer
    for name, value in moves.items():
        words, picture = app.status.value, app.image.value
        getattr(app, name).value = value
        assert app.values[name] == value
        assert app.status.value != words and app.image.value != picture
        assert bytes(app.image.value).startswith(b"\x89PNG\r\n\x1a\n")


def test_status_is_the_summary_and_states_numbers(explorer):
    app, moves = explorer
    app.set(**moves)
    assert app.status.value == f"<p role='status'>{app.summary()}</p>"
    assert len(re.findall(r"\d", app.summary())) >= 3 and app.summary().endswith(".")


def test_going_there_and_back_gives_the_same_bytes(explorer):
    app, moves = explorer
    start, words, picture = app.values, app.status.value, app.image.value
    app.set(**moves).set(**start)
    assert (app.status.value, app.image.value) == (words, picture)


def test_a_moved_explorer_equals_one_that_moved_elsewhere_first(explorer):
    app, moves = explorer
    app.set(**moves)
    there = app.image.value
    first = next(iter(moves))
    app.set(**{first: moves[first]}).set(**moves)
    assert app.image.value == there


def test_bundle_has_the_live_view_the_sentence_and_the_picture(explorer):
    app, _ = explorer
    bundle, about = app._repr_mimebundle_()
    assert about == {"image/png": {"width": 800, "height": 300, "alt": app.summary()}}
    assert bundle["text/plain"] == app.summary()
    assert base64.b64decode(bundle["image/png"]) == app.image.value
    assert "model_id" in bundle["application/vnd.jupyter.widget-view+json"]


def test_classes_order_and_size_that_the_page_relies_on(explorer):
    app, _ = explorer
    assert app.view.children[1:3] == (app.status, app.image)
    for widget, name in ((app.view, "explorer"), (app.status, "status"), (app.image, "image")):
        assert f"dd-{name}" in widget._dom_classes
    assert app.image.value[16:24] == (1600).to_bytes(4, "big") + (600).to_bytes(4, "big")
    assert (app.image.width, app.image.height) == ("800", "300")


def test_every_control_has_a_readable_name_and_follows_the_mouse(explorer):
    """A number box beside each slider carries the label: screen readers find none on sliders."""
    app, moves = explorer
    for row in app.view.children[0].children:
        labelled = row.children[0]
        assert labelled.description
        assert labelled.style.description_width == "initial"
    for name in moves:
        assert getattr(getattr(app, name), "continuous_update", True) is True


def test_unknown_names_are_refused_and_nothing_moves(explorer):
    app, moves = explorer
    before = app.values, app.image.value
    with pytest.raises(ExplorerError, match="speed: no such control; this explorer has "):
        app.set(**moves, speed=3)
    assert (app.values, app.image.value) == before


def test_explorers_leave_no_pyplot_figure_behind(explorer):
    assert pyplot.get_fignums() == []


def test_set_redraws_once(explorer, monkeypatch):
    app, moves = explorer
    drawn = []
    draw = app._draw
    monkeypatch.setattr(app, "_draw", lambda *a, **k: (drawn.append(1), draw(*a, **k)))
    app.set(**moves)
    assert len(drawn) == 1


class Line(Explorer):
    """Counts its pictures; its slider lies on its axis, one control is hidden, one is ticked."""

    _panels = (1.0, 2.0)

    def __init__(self, log=False):
        self.drawn = []
        low, high = (0.1, 1000.0) if log else (-2.0, 6.0)
        controls = {
            "x": number_control("x", 1.0, low, high, 0.5, log=log),
            "shape": choice_control("shape", ["dot", "cross"]),
            "grid": toggle_control("grid"),
        }
        self._start(controls, more=["shape"], on_axis={"x": 1})

    def _sentence(self, x, shape, grid):
        return f"{x:.4g} {shape} {grid}"

    def _draw(self, axes, x, shape, grid):
        self.drawn.append((x, shape, grid))
        axes[1].plot([x], [0], "o" if shape == "dot" else "x")


@pytest.mark.parametrize("log", [False, True])
def test_the_track_of_a_slider_on_an_axis_lies_along_that_axis(log):
    """Its ends, a little inside of the widget, are the ends of the axis, in pixels."""
    app = Line(log)
    assert app.view.children[-1] is app.x and "dd-on-axis" in app.x._dom_classes
    left = float(app.x.layout.margin.split()[-1].removesuffix("px")) + INSET
    right = left + float(app.x.layout.width.removesuffix("px")) - 2 * INSET
    axis = app._axes[1].get_window_extent()
    dots = app._figure.dpi / 100
    assert (left, right) == pytest.approx((axis.x0 / dots, axis.x1 / dots), abs=1)
    ends = (0.1, 1000) if log else (-2, 6)
    assert app._axes[1].get_xlim() == pytest.approx(ends)


@pytest.mark.parametrize(
    ("value", "log"), [(1.25, False), (1.0 + 1e-3, False), (3.0, True), (float("0.3"), True)]
)
def test_a_start_between_two_steps_is_refused(value, log):
    """A browser would move the slider, and the words on the page would not be the stored ones."""

    class Between(Line):
        def __init__(self):
            low, high = (0.1, 1000.0) if log else (-2.0, 6.0)
            self._start({"x": number_control("x", value, low, high, 0.5, log=log)})

    with pytest.raises(ExplorerError, match="x: expected a start on a step of the slider"):
        Between()


def test_more_opens_and_closes_what_is_hidden():
    app = Line()
    first, rest = app.view.children[:2]
    assert app.shape in [row.children[0] for row in rest.children]
    assert first.children[-1] is app.more and rest.layout.display == "none"
    app.more.value = True
    assert rest.layout.display == "flex"
    app.more.value = False
    assert rest.layout.display == "none"


def test_nothing_is_drawn_twice_and_a_tick_takes_true_or_false():
    app = Line()
    box = app.view.children[0].children[0].children[0]
    app.x.value = 3.0
    box.value = 3.0
    app.set(x=3.0).set(grid=True)
    assert app.drawn == [(1.0, "dot", False), (3.0, "dot", False), (3.0, "dot", True)]
    assert app.summary(grid=False) == "3 dot False"
    for wrong in (1, "yes", None):
        with pytest.raises(ExplorerError, match="grid: expected True or False, got"):
            app.set(grid=wrong)


# --- impossible values --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold": 1e9}, "threshold: expected a number from .* to .*, got 1000000000"),
        ({"threshold": float("nan")}, "threshold: expected a number .* got nan"),
        ({"threshold": "12"}, "threshold: expected a number .* got '12'"),
        ({"threshold": True}, "threshold: expected a number .* got True"),
        ({"shift": "Digits"}, "shift: expected one of digits, patches, got 'Digits'"),
        ({"shift": 0}, "shift: expected one of digits, patches, got 0"),
    ],
)
def test_impossible_values_say_what_is_possible(values, message):
    app = threshold_explorer()
    with pytest.raises(ExplorerError, match=message):
        app.set(**values)


def test_whole_numbers_are_asked_for():
    app = ShiftExplorer(SCORES)
    with pytest.raises(ExplorerError, match="severity: expected a whole number from 0 to 5, got 2"):
        app.set(severity=2.5)
    assert app.set(severity=np.int64(4)).values["severity"] == 4


def test_the_ends_of_a_logarithmic_slider_can_be_reached():
    app = ThresholdExplorer(NORMAL, DIGITS, log=True)
    for end in (min(NORMAL.min(), DIGITS.min()), max(NORMAL.max(), DIGITS.max())):
        assert app.set(threshold=end).values["threshold"] == pytest.approx(end)


# --- one threshold ------------------------------------------------------------------------------


def test_counts_by_hand():
    """An alarm is a score above the threshold, so a score on it is no alarm and a miss."""
    c = count_alarms([1, 2, 3, np.inf], [3, 4, np.inf], threshold=3)
    assert (c.false_alarms, c.n_normal, c.misses, c.n_shifted) == (1, 4, 1, 3)


def test_threshold_sentence():
    normal = np.r_[np.zeros(2882), np.full(118, 20.0)]
    digits = np.r_[np.zeros(212), np.full(788, 20.0)]
    app = ThresholdExplorer(normal, digits, threshold=12.5, names=("normal images", "MNIST digits"))
    assert app.summary() == (
        "Threshold 12.5: 118 of 3000 normal images raise a false alarm (3.9 %); "
        "212 of 1000 MNIST digits are missed (21.2 %)."
    )
    assert app.counts().misses == 212


def test_a_calibrated_threshold_is_used_exactly_and_shown_rounded():
    edge = 10.0 + 1e-7
    app = ThresholdExplorer([0, edge, 20], [1, 2], threshold=edge)
    assert app.counts().false_alarms == 1
    box, slider = controls_of(app)
    assert slider.value == edge and box.value == 10.0


def test_box_and_slider_follow_each_other():
    for app in (threshold_explorer(), threshold_explorer(log=True)):
        box, slider = controls_of(app)
        box.value = 12.5
        assert slider.value == 12.5 and "Threshold 12.5:" in app.status.value
        app.set(threshold=14.25)
        assert box.value == 14.25


def test_slider_spans_all_shifts_and_starts_at_the_quantile():
    app = threshold_explorer()
    everything = np.concatenate([NORMAL, DIGITS, PATCHES])
    assert app.threshold.min <= everything.min() and app.threshold.max >= everything.max()
    assert app.threshold.value == pytest.approx(np.quantile(NORMAL, 0.95))
    assert 100 <= (app.threshold.max - app.threshold.min) / app.threshold.step <= 310


@pytest.mark.parametrize("log", [False, True])
def test_the_start_stands_on_a_step_of_the_slider(log):
    """A browser moves a handle that stands between two steps, and the numbers with it."""
    start = 15.559912345678
    app = threshold_explorer(threshold=start, log=log)
    slider = app.threshold
    assert slider.value == pytest.approx(start, rel=1e-12)
    steps = ((np.log10(start) if log else start) - slider.min) / slider.step
    assert steps == pytest.approx(round(steps), abs=1e-6)


def test_a_start_outside_the_data_widens_the_slider():
    app = ThresholdExplorer([1, 2], [3, 4], threshold=9.0)
    assert app.values["threshold"] == 9.0 and app.threshold.max >= 9.0


def test_the_point_on_the_roc_curve_moves_with_the_line_and_the_diamond_stays():
    app = threshold_explorer(threshold=15.0, mark_name="5 % line").set(threshold=22.0)
    curve = app.curve()
    lines = {line.get_marker(): line.get_xydata()[0] for line in app._axes[1].lines}
    for marker, threshold in (("o", 22.0), ("D", 15.0)):
        expected = (NORMAL > threshold).mean(), (DIGITS > threshold).mean()
        assert lines[marker] == pytest.approx(expected)
        on_curve = np.hypot(curve.false_alarms - expected[0], curve.caught - expected[1])
        assert on_curve.min() == pytest.approx(0, abs=1e-9)
    assert curve.auroc == pytest.approx(roc_auc_score([0] * 400 + [1] * 200, [*NORMAL, *DIGITS]))
    assert app.curve(shift="patches").auroc > curve.auroc and app.values["shift"] == "digits"
    words = {text.get_text() for text in app._axes[1].texts}
    assert "5 % line" in words and any(w.startswith(f"AUROC {curve.auroc:.2f}") for w in words)


def test_the_slider_lies_under_the_scores():
    app = threshold_explorer()
    assert app.view.children[-1] is app.threshold
    assert app._axes[0].get_xlim() == pytest.approx((app.threshold.min, app.threshold.max))


def test_prices_by_hand():
    app = ThresholdExplorer([1, 2, 3, 9], {"digits": [2, 5, 8, 8], "noise": [1, 1]}, threshold=3)
    assert [line.split() for line in app.prices([3, 1.5]).split("\n")] == [
        ["threshold", "false", "alarms", "digits", "missed", "noise", "missed"],
        ["3", "25.0", "%", "25.0", "%", "100.0", "%"],
        ["1.5", "75.0", "%", "0.0", "%", "100.0", "%"],
    ]


def test_infinite_scores_are_counted_and_drawn():
    app = ThresholdExplorer(NORMAL, [30.0, np.inf, np.inf], threshold=40.0)
    assert "1 of 3 shifted images are missed (33.3 %)" in app.summary()


def test_names_cannot_inject_markup():
    app = ThresholdExplorer([1, 2], [3, 4], names=("a", "<img src=x onerror=alert(1)>"))
    assert "<img" not in app.status.value and "&lt;img" in app.status.value


@given(
    st.lists(
        st.tuples(st.floats(1, 40), st.sampled_from(["digits", "patches"])), min_size=1, max_size=4
    )
)
@settings(max_examples=8)
def test_only_the_last_position_matters(positions):
    app = threshold_explorer()
    for threshold, shift in positions:
        app.set(threshold=threshold, shift=shift)
    threshold, shift = positions[-1]
    fresh = threshold_explorer().set(shift=shift, threshold=threshold)
    assert app.values == {"threshold": threshold, "shift": shift}
    assert (app.summary(), app.image.value) == (fresh.summary(), fresh.image.value)
    box, slider = controls_of(app)
    assert box.value == pytest.approx(slider.value, rel=1e-3)
    shifted = {"digits": DIGITS, "patches": PATCHES}[shift]
    assert app.counts() == count_alarms(NORMAL, shifted, threshold)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ThresholdExplorer([1, np.nan], [2]), EvaluationError, "normal images: 1 of 2 .*"),
        (lambda: ThresholdExplorer([1, 2], {}), ExplorerError, "at least one set of scores"),
        (lambda: ThresholdExplorer([1], [2], threshold=np.inf), ExplorerError, "finite number"),
        (
            lambda: ThresholdExplorer([1], [2], threshold=0, log=True),
            ExplorerError,
            "finite positive number, got 0",
        ),
    ],
)
def test_threshold_explorer_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- one layer ----------------------------------------------------------------------------------


def test_layer_sentence_by_hand():
    """Normal states (0, 0), (2, 0), (0, 2), (2, 2), third number constant: a plane holds all."""
    normal = torch.tensor([[0.0, 0, 3], [4, 0, 3], [0, 4, 3], [4, 4, 3]])
    app = LayerPicker({"bags": {"stem": normal}, "digits": {"stem": torch.tensor([[0.0, 2, 0]])}})
    assert app.summary() == (
        "Layer stem (3 numbers per image): two directions hold 100 % of the spread of bags. "
        "Median length of a state: bags 5, digits 2 (0.40 times as long)."
    )


def test_projection_is_fitted_on_normal_states_alone():
    """Distances within the plane are kept; the digits do not turn the plane."""
    normal = np.zeros((50, 4))
    normal[:, :2] = RNG.normal(size=(50, 2)) * [3, 1]
    wild = RNG.normal(size=(50, 4)) * 100
    picker = LayerPicker({"bags": {"a": normal}, "digits": {"a": wild}})
    points = picker._views["", "a"].points
    assert np.linalg.norm(points["bags"], axis=1) == pytest.approx(
        np.linalg.norm(normal - normal.mean(0), axis=1)
    )
    assert np.linalg.norm(points["digits"], axis=1) == pytest.approx(
        np.linalg.norm((wild - normal.mean(0))[:, :2], axis=1)
    )


def test_layers_of_width_one_and_constant_layers_can_be_picked():
    states = {"one": np.arange(5.0)[:, None]}
    app = LayerPicker({"bags": states, "digits": states})
    assert "(1.00 times as long)" in app.summary()
    with warnings.catch_warnings(action="error"):
        app = LayerPicker(
            {"bags": {"dead": np.zeros((5, 3))}, "digits": {"dead": np.zeros((1, 3))}}
        )
    assert "hold 100 % of the spread" in app.summary() and "bags 0, digits 0." in app.summary()


def test_the_auroc_of_a_layer_is_that_of_its_scores():
    scores = {n: {k: x[:, 0] for k, x in states.items()} for n, states in STATES.items()}
    squared = {n: {k: x**2 for k, x in states.items()} for n, states in scores.items()}
    app = LayerPicker(
        {"mean": STATES, "largest": OTHER}, scores={"mean": scores, "largest": squared}
    )
    for pooling, judged in (("mean", scores), ("largest", squared)):
        for layer in ("stem", "head"):
            both = np.concatenate([judged["clothing"][layer], judged["digits"][layer]])
            expected = round(roc_auc_score([0] * 60 + [1] * 60, both), 2)
            assert app.aurocs(layer=layer, pooling=pooling) == {"digits": expected}
            sentence = app.summary(layer=layer, pooling=pooling)
            assert sentence.endswith(f"AUROC here: digits {expected:.2f}.")
            assert f"Layer {layer}, pooling {pooling} (" in sentence
    assert LayerPicker(STATES).aurocs() == {}


def test_no_set_lies_on_top_of_another():
    """Points are drawn in one mixed order, each in the colour of its set."""
    app = LayerPicker(STATES, n_points=50)
    (cloud,) = app._axes[0].collections
    points = app._views["", "stem"].points
    place = {tuple(p): name for name, at in points.items() for p in at}
    drawn = [place[tuple(p)] for p in cloud.get_offsets()]
    assert sorted(drawn) == ["clothing"] * 50 + ["digits"] * 50
    assert 15 < sum(a != b for a, b in itertools.pairwise(drawn)), "neither is drawn first"


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"mean": {}}, "expected them for mean, largest"),
        ({"mean": STATES}, "expected them for mean, largest, as the states are, got mean"),
    ],
)
def test_scores_of_other_poolings_are_refused(scores, message):
    with pytest.raises(ExplorerError, match=message):
        LayerPicker({"mean": STATES, "largest": OTHER}, scores=scores)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({}, "at least one set"),
        ({"a": {}}, "at least one set with one layer"),
        ({"a": {"x": [[1.0]]}, "b": {"y": [[1.0]]}}, r"\['b'\]: expected the layers x, got y"),
        ({"a": {"x": [[1.0, np.nan]]}}, r"\['a'\]\['x'\]: .*\(1, 2\) with NaN or infinity"),
        ({"a": {"x": [1.0]}}, r"got shape \(1,\)"),
    ],
)
def test_layer_picker_refuses(states, message):
    with pytest.raises(ExplorerError, match=message):
        LayerPicker(states)


# --- one shift ----------------------------------------------------------------------------------


@pytest.mark.parametrize("score", SCORES)
def test_auroc_has_a_fixed_orientation(score):
    app = ShiftExplorer(SCORES, shift="noise").set(score=score, severity=5)
    expected = roc_auc_score([0] * 150 + [1] * 150, [*SCORES[score][0], *SCORES[score][5]])
    assert app.auroc().value == pytest.approx(expected)
    assert f"Noise at severity 5: {score} has an AUROC of {app.auroc()}" in app.summary()
    wrong_way = "more normal than the normal ones" in app.summary()
    assert wrong_way == (score == "raw velocity") == (expected < 0.5)


def test_an_interval_around_one_half_is_a_coin_flip():
    rng = np.random.default_rng(1)
    same = {s: rng.normal(size=50) for s in range(2)}
    app = ShiftExplorer({"s": same}, severity=1)
    assert app.auroc().low < 0.5 < app.auroc().high
    assert app.summary().endswith("not told apart from a coin flip.")
    assert "changes nothing" in app.set(severity=0).summary()


def test_several_shifts_can_be_chosen():
    other = {name: {s: v[::-1] * (1 + s) for s, v in by.items()} for name, by in SCORES.items()}
    app = ShiftExplorer({"noise": SCORES, "blur": other}).set(shift="blur", severity=2)
    normal, blurred = other["raw velocity"][0], other["raw velocity"][2]
    expected = roc_auc_score([0] * 150 + [1] * 150, [*normal, *blurred])
    assert app.auroc().value == pytest.approx(expected)
    assert app.summary().startswith("Blur at severity 2")


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({}, "at least one score"),
        ({"a": {0: [1, 2], 2: [1, 2]}}, r"severities 0, 1, ..., S .* got \[0, 2\]"),
        ({"a": {0: [1, 2]}}, r"got \[0\]"),
        (
            {"a": {0: [1, 2], 1: [1, 2]}, "b": {s: [1, 2] for s in range(3)}},
            "same severities everywhere, got up to 1 and 2",
        ),
        (
            {"x": {"a": {0: [1, 2], 1: [1, 2]}}, "y": {"b": {0: [1, 2], 1: [1, 2]}}},
            r"scores\['y'\]: expected the scores a, got b",
        ),
    ],
)
def test_shift_explorer_refuses(scores, message):
    with pytest.raises(ExplorerError, match=message):
        ShiftExplorer(scores)


# --- promised and kept rates --------------------------------------------------------------------

POOL = np.random.default_rng(2).normal(size=600)


def find(rule, scores, alpha):
    scores = torch.as_tensor(scores)
    return {
        "conformal": lambda: conformal_threshold(scores, alpha),
        "quantile": lambda: quantile_threshold(scores, alpha),
        "IQR": lambda: iqr_threshold(scores),
    }[rule]()


@pytest.mark.parametrize("rule", RULES)
def test_rates_are_those_of_thresholds_on_unseen_scores(rule):
    """Against a plain loop: the draws are permutations of the pool, the rest of it is unseen."""
    app = FalseAlarmExplorer(POOL, n_draws=20, n=150, alpha=0.1).set(rule=rule)
    for draw, rate in zip(app._draws.numpy(), app.rates(), strict=True):
        assert sorted(draw) == sorted(POOL)
        seen, unseen = draw[:150], draw[150:]
        assert rate == pytest.approx(np.mean(unseen > find(rule, seen, 0.1)))


def test_own_test_scores_are_used():
    app = FalseAlarmExplorer(POOL, np.full(10, 1e9), n_draws=5)
    assert app.rates().tolist() == [1.0] * 5
    assert app.n.max == 600, "nothing has to be kept back for testing"


def test_conformal_keeps_its_promise_and_the_quantile_rule_does_not():
    """n = 20, alpha = 0.1: on average floor(2.1) / 21 = 0.095 against about 0.136 for the plug-in.

    The mean over 400 draws has a standard error near 0.003.
    """
    app = FalseAlarmExplorer(POOL, n_draws=400, n=20, alpha=0.1)
    assert app.rates().mean() == pytest.approx(2 / 21, abs=0.012)
    assert app.set(rule="quantile").rates().mean() > 0.115


def test_too_small_a_set_is_explained_not_raised():
    app = FalseAlarmExplorer(POOL, n_draws=5).set(n=50, alpha=0.01)
    assert app.summary().endswith("50 calibration images are too few; at least 99 are needed.")
    assert app.rates().size == 0
    assert app.set(n=99).rates().size == 5
    assert app.set(n=98, rule="quantile").rates().size == 5
    for rule in ("conformal", "quantile"):
        assert "no line can promise" in app.summary(rule=rule, alpha=0.0)
        assert app.rates(rule=rule, alpha=0.0).size == 0


def test_iqr_has_no_alpha_to_move_draw_or_count():
    app = FalseAlarmExplorer(POOL, n_draws=10).set(rule="IQR")
    before = app.rates(), app.summary(), app.image.value
    assert app.alpha.disabled and app._alpha_box.disabled
    assert np.array_equal(before[0], app.set(alpha=0.15).rates())
    assert (app.summary(), app.image.value) == before[1:]
    assert app.summary().startswith("IQR rule, which promises no rate, 100 calibration images")
    assert "exceed" not in app.summary() and "0.15" not in app.summary()
    app.set(rule="conformal")
    assert not app.alpha.disabled and not app._alpha_box.disabled


def test_a_draw_is_one_of_the_hill_and_the_hill_stays():
    app = FalseAlarmExplorer(POOL, n_draws=12)
    hill = app.summary().splitlines()[1]
    for draw, rate in enumerate(app.rates(), start=1):
        first, second = app.summary(draw=draw).splitlines()
        assert f"draw {draw} gives {100 * rate:.1f} % false alarms." in first and second == hill


def test_the_sentence_counts_what_the_picture_colours():
    """The bars above the promised rate are those that the sentence calls too high."""
    app = FalseAlarmExplorer(POOL, n_draws=200, n=100)
    below, above = (patch for patch in app._axes[0].patches if hasattr(patch, "get_data"))
    tall = above.get_data().values - below.get_data().values
    share = 100 * tall.sum() / above.get_data().values.sum()
    assert f"{share:.0f} % exceed 5 %" in app.summary()
    assert above.get_data().values.sum() == 200


def test_sentences_fit_the_page_of_a_notebook():
    app = FalseAlarmExplorer(POOL, n_draws=20)
    for rule in RULES:
        for alpha in (0.0, 0.005, 0.05, 0.2):
            said = app.summary(rule=rule, alpha=alpha, n=480, draw=20).splitlines()
            assert max(map(len, said)) <= 100


def test_rate_summary_by_hand():
    s = RateSummary.of(np.arange(101) / 1000, alpha=0.08)
    assert (s.mean, s.low, s.high) == pytest.approx((0.05, 0.005, 0.095))
    assert s.share_above == pytest.approx(20 / 101), "a rate equal to alpha does not exceed it"


def test_draws_follow_the_seed():
    first, again, other = (FalseAlarmExplorer(POOL, seed=s, n_draws=9).rates() for s in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("pool", "error", "message"),
    [
        (np.arange(10), EvaluationError, "N >= 50"),
        (np.r_[POOL, np.inf], ExplorerError, "finite scores"),
        (np.r_[POOL, np.nan], EvaluationError, "1 of 601 scores are NaN"),
    ],
)
def test_false_alarm_explorer_refuses(pool, error, message):
    with pytest.raises(error, match=message):
        FalseAlarmExplorer(pool)
