"""The explorer of the comparison says what the table holds; its pictures; the batch trap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError
from deepdrift.lab.bench.evaluation import EvaluationError, auroc
from deepdrift.lab.fair_comparison import figures as pictures
from deepdrift.lab.fair_comparison.batch_trap import auroc_of_batches, batch_means, predicted_auroc
from deepdrift.lab.fair_comparison.detectors import DETECTORS
from deepdrift.lab.fair_comparison.explorer import ComparisonExplorer
from deepdrift.lab.fair_comparison.protocol import Scores
from deepdrift.lab.fair_comparison.table import Comparison

KINDS = {"new classes": "near", "digits": "far"}
KINDS |= {f"{fault} {s}": "corruption" for fault in ("blur", "dead_rows") for s in (1, 3, 5)}
GAINS = {"fused (default)": 1.2, "energy": 0.6, "kNN": 0.9, "random": 0.0}


def comparison(gains, seed=0, trainings=2):
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(trainings):
        values = {}
        for name, gain in gains.items():
            values[name] = {"test": rng.normal(size=100)}
            for i, key in enumerate(KINDS):
                values[name][key] = rng.normal(gain * (1 + i / 8), size=100)
        runs.append(Scores(values, {name: {0.05: 1.6} for name in gains}, dict(KINDS)))
    return Comparison.of(runs)


TABLES = {
    "CNN": comparison(GAINS),
    "ViT": comparison({k: v for k, v in GAINS.items() if k != "kNN"}, seed=1),
}


def explorer(**options):
    return ComparisonExplorer(TABLES, **options)


# ---- the explorer ----


@pytest.mark.parametrize(
    ("choice", "row", "words"),
    [
        ({"shift": "all shifts"}, "all shifts", "CNN, all shifts: "),
        ({"shift": "near"}, "near", "CNN, near (new classes): "),
        ({"shift": "corruption"}, "corruption", "CNN, all corruptions: "),
        ({"shift": "digits", "severity": "3"}, "digits", "CNN, digits: "),
        ({"shift": "dead_rows"}, "dead_rows", "CNN, dead rows, mean over severities: "),
        ({"shift": "blur", "severity": "5"}, "blur 5", "CNN, blur, severity 5: "),
        ({"shift": "blur", "network": "ViT"}, "blur", "ViT, blur, mean over severities: "),
    ],
)
def test_the_sentence_states_the_row_of_the_table(choice, row, words):
    app = explorer().set(**choice)
    table = TABLES[choice.get("network", "CNN")]
    assert app.row() == row
    order = [name for name, _ in table.ranking(row)]
    parts = [
        f"{name} {table.auroc(name, row)} (number {order.index(name) + 1} of {len(order)})"
        for name in ("fused (default)", "energy")
    ]
    gap = table.difference("fused (default)", "energy", row)
    assert app.difference() == gap
    over = table.over_trainings("fused (default)", "energy", row)
    start = f"{words}{parts[0]}; {parts[1]}. Difference {gap} over images, "
    start += f"[{over.low:.3f}, {over.high:.3f}] over trainings: "
    assert app.summary().startswith(start) and app.summary().endswith(f"Best: {order[0]}.")


def test_who_is_better_is_said_from_both_sides_and_a_tie_is_a_tie():
    app = explorer(method="fused (default)", rival="random")
    assert app.difference().low > 0
    assert ": fused (default) is surely better." in app.summary()
    assert ": fused (default) is surely better." in app.set(
        method="random", rival="fused (default)"
    ).summary()  # fmt: skip
    assert ": a tie." in app.set(method="random", rival="random").summary()


def test_a_lead_that_another_training_may_turn_is_called_open():
    one = {"a": {"test": np.arange(99.0), "digits": np.arange(40, 139.0)}}
    one["b"] = {"test": np.arange(99.0), "digits": np.arange(20, 119.0)}
    two = {"a": one["b"], "b": {"test": np.arange(99.0), "digits": np.arange(25, 124.0)}}
    runs = [Scores(v, dict.fromkeys("ab", {0.05: 1.0}), {"digits": "far"}) for v in (one, two)]
    table = Comparison.of(runs)
    gap, over = table.difference("a", "b"), table.over_trainings("a", "b")
    assert gap.low > 0 > over.low
    said = ComparisonExplorer({"net": table}, method="a", rival="b").summary()
    assert "over trainings: a is better here, open for another training." in said
    alone = ComparisonExplorer({"net": Comparison.of(runs[:1])}, method="a", rival="b").summary()
    assert "trainings" not in alone and ": a is surely better." in alone


def test_a_method_that_does_not_apply_is_named_and_nothing_breaks():
    app = explorer(rival="kNN").set(network="ViT")
    assert app.summary() == "kNN does not apply to the ViT: its features may be negative."
    assert bytes(app.image.value[:4]) == b"\x89PNG"
    assert "surely better" in app.set(network="CNN", rival="random").summary()


@pytest.mark.parametrize(
    "move",
    [
        {"network": "ViT"},
        {"shift": "digits"},
        {"severity": "5"},
        {"method": "random"},
        {"rival": "kNN"},
    ],
)
def test_each_control_changes_words_and_picture_and_goes_back(move):
    app = explorer().set(shift="blur")
    start, words, picture = app.values, app.summary(), app.image.value
    ((name, value),) = move.items()
    getattr(app, name).value = value
    assert app.summary() != words and app.image.value != picture
    assert app.status.value.startswith("<p role='status'>" + app.summary()[:20])
    assert (app.set(**start).summary(), app.image.value) == (words, picture)


def test_a_shift_without_severities_shows_the_trainings():
    app = explorer().set(shift="digits", method="kNN", rival="random")
    right = app._axes[1]
    drawn = [line.get_ydata() for line in right.get_lines() if len(line.get_xdata()) == 2]
    for name in ("kNN", "random"):
        expected = TABLES["CNN"].by_training(name, "digits")
        assert any(np.allclose(y, expected) for y in drawn)
    assert right.get_xlabel() == "training"
    assert app.set(shift="blur")._axes[1].get_xlabel() == "severity"


def test_severity_lines_are_those_of_the_table():
    app = explorer().set(shift="blur")
    drawn = [line.get_ydata() for line in app._axes[1].get_lines()]
    expected = [TABLES["CNN"].auroc("energy", f"blur {s}").value for s in (1, 3, 5)]
    assert any(len(y) == 3 and np.allclose(y, expected) for y in drawn)
    assert list(app.severity.options) == ["mean", "1", "3", "5"]
    assert [t.get_text() for t in app._axes[1].get_xticklabels()] == ["1", "3", "5"]


@pytest.mark.parametrize("name", sorted(DETECTORS, key=len)[-4:])
def test_names_stay_left_of_the_other_panel(name):
    table = comparison({name: 1.5} | GAINS, trainings=2)
    app = ComparisonExplorer({"net": table}, method=name, rival="random")
    left, right = app._axes
    renderer = app._canvas.get_renderer()
    limit = right.get_tightbbox(renderer).x0
    assert all(t.get_window_extent(renderer).x1 < limit for t in left.texts)


def test_what_cannot_be_explored():
    with pytest.raises(ExplorerError, match="at least one comparison"):
        ComparisonExplorer({})
    with pytest.raises(ExplorerError, match="method: expected one of .*, got 'enrgy'"):
        explorer(rival="enrgy")
    values = {"a": {"test": np.arange(9.0), "digits": np.arange(9.0)}}
    other = Comparison.of([Scores(values, {"a": {0.05: 1.0}}, {"digits": "far"})])
    with pytest.raises(ExplorerError, match="the same shifts in every table"):
        ComparisonExplorer(TABLES | {"other": other})
    with pytest.raises(ExplorerError, match="shift: expected one of .* got 'blur 3'"):
        explorer().set(shift="blur 3")


# ---- pictures ----


@pytest.fixture
def drawn():
    """Figures that a plotting function would show."""
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    yield lambda: [pyplot.figure(n) for n in pyplot.get_fignums()]
    pyplot.close("all")


def texts(ax):
    return {tuple(map(round, t.get_position())): t.get_text() for t in ax.texts}


def test_heatmap_prints_every_auroc_and_dashes_where_none_applies(drawn):
    rows = ["new classes", "blur", "dead_rows"]
    pictures.comparison_heatmap(TABLES, rows, "finding")
    (figure,) = drawn()
    cnn, vit = figure.axes
    order = ["fused (default)", "energy", "kNN", "random"]  # that of the tables
    assert [t.get_text() for t in cnn.get_yticklabels()] == order
    for ax, table in ((cnn, TABLES["CNN"]), (vit, TABLES["ViT"])):
        for i, name in enumerate(order):
            for j, row in enumerate(rows):
                known = name in table.detectors
                value = f"{100 * table.auroc(name, row).value:.0f}" if known else "–"
                assert texts(ax)[j, i] == value
    best = [TABLES["CNN"].ranking(row)[0][0] for row in rows]
    bold = {round(t.get_position()[0]): order[round(t.get_position()[1])]
            for t in cnn.texts if t.get_fontweight() == "bold"}  # fmt: skip
    assert [bold[j] for j in range(3)] == best


def test_ranking_draws_intervals_and_every_training(drawn):
    pictures.rankings(TABLES, "blur", "finding")
    (figure,) = drawn()
    for ax, table in zip(figure.axes, TABLES.values(), strict=True):
        ranking = table.ranking("blur")
        assert [t.get_text() for t in ax.get_yticklabels()] == [name for name, _ in ranking]
        lines = [np.asarray(line.get_xdata(), float).tolist() for line in ax.get_lines()]
        for name, e in ranking:
            assert [e.low, e.high] in lines
            assert table.by_training(name, "blur").tolist() in lines
            over = table.over_trainings(name, row="blur")
            assert [over.low, over.high] in lines


def test_differences_draw_both_intervals_largest_loss_first(drawn):
    pictures.differences(TABLES, "fused (default)", ["energy", "kNN", "random"], "finding")
    (figure,) = drawn()
    for ax, table in zip(figure.axes, TABLES.values(), strict=True):
        names = [t.get_text() for t in ax.get_yticklabels()]
        gaps = [table.difference("fused (default)", name) for name in names]
        assert set(names) == set(table.detectors) - {"fused (default)"}
        assert [e.value for e in gaps] == sorted(e.value for e in gaps)
        lines = [np.asarray(line.get_xdata(), float).tolist() for line in ax.get_lines()]
        for name, gap in zip(names, gaps, strict=True):
            over = table.over_trainings("fused (default)", name)
            assert [gap.low, gap.high] in lines and [over.low, over.high] in lines


def test_beyond_pixels_orders_shifts_by_what_pixels_know(drawn):
    gains = {pictures.PIXELS: 0.5, pictures.INSIDE: 1.0}
    table = comparison(gains)
    pictures.beyond_pixels({"CNN": table, "ViT": table}, "finding")
    (figure,) = drawn()
    for ax in figure.axes:
        names = [t.get_text().replace(" ", "_") for t in ax.get_yticklabels()]
        shifts = [s if s in table.shifts else s.replace("_", " ") for s in names]
        known = [table.auroc(pictures.PIXELS, s).value for s in shifts]
        assert known == sorted(known)
        dots = [line.get_xdata()[0] for line in ax.get_lines() if len(line.get_xdata()) == 1]
        for s in shifts:
            assert table.auroc(pictures.INSIDE, s).value in dots


def test_kept_rates_draw_rates_and_bands(drawn):
    bands = {name: (0.02 + 0.001 * i, 0.08) for i, name in enumerate(GAINS)}
    pictures.kept_rates(TABLES, 0.05, bands, "finding")
    (figure,) = drawn()
    for ax, table in zip(figure.axes, TABLES.values(), strict=True):
        lines = [np.asarray(line.get_xdata(), float).tolist() for line in ax.get_lines()]
        for d, name in enumerate(table.detectors):
            assert table.false_alarms[:, 0, d].tolist() in lines
            assert list(bands[name]) in lines


def test_batch_curves_draw_measured_dots_on_predicted_lines(drawn):
    pictures.batch_curves([1, 10, 100], {"a": [0.6, 0.8, 1.0]}, {"a": [0.61, 0.79, 0.99]}, "t")
    (figure,) = drawn()
    found = [list(line.get_ydata()) for line in figure.axes[0].get_lines()]
    assert [0.6, 0.8, 1.0] in found and [0.61, 0.79, 0.99] in found


@pytest.mark.parametrize(
    "draw",
    [
        lambda t: pictures.comparison_heatmap(t, ["new classes", "blur", "dead_rows"], "finding"),
        lambda t: pictures.rankings(t, "all shifts", "finding"),
        lambda t: pictures.kept_rates(t, 0.05, {}, "finding"),
        lambda t: pictures.differences(t, "fused (default)", list(DETECTORS)[1:], "finding"),
        lambda t: pictures.beyond_pixels(t, "finding"),
    ],
)
def test_no_word_leaves_the_figure_and_no_names_touch(drawn, draw):
    full = {name: comparison(dict.fromkeys(DETECTORS, 0.5), trainings=1) for name in TABLES}
    draw(full)
    (figure,) = drawn()
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    assert figure.get_size_inches()[0] == figures.WIDTH
    for ax in figure.axes:
        boxes = [t.get_window_extent(renderer) for t in ax.get_yticklabels() if t.get_text()]
        assert all(b.x0 >= -1 for b in boxes)
        boxes.sort(key=lambda b: b.y0)
        assert all(a.y1 <= b.y0 + 2 for a, b in zip(boxes, boxes[1:], strict=False))
        box = ax.get_tightbbox(renderer)
        assert box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1


def test_families_have_colours():
    assert pictures.colour_of("innovation") == figures.VERMILLION
    assert pictures.colour_of("energy") == pictures.colour_of("a stranger") == figures.BLUE
    assert pictures.colour_of("random") == figures.GREY


# ---- the batch trap ----


def test_batch_means_are_means_of_drawn_scores():
    scores = np.array([0.0, 1.0, 10.0])
    found = batch_means(scores, size=2, n_batches=500, seed=3)
    assert set(found) == {0.0, 0.5, 1.0, 5.0, 5.5, 10.0}
    assert found.mean() == pytest.approx(scores.mean(), abs=4 * scores.std() / math.sqrt(1000))
    np.testing.assert_array_equal(found, batch_means(scores, 2, 500, seed=3))


def test_normal_scores_follow_the_formula():
    rng = np.random.default_rng(0)
    normal, shifted = rng.normal(size=4000), rng.normal(0.25, 2.0, size=4000)
    for size in (1, 10, 100):
        law = stats.norm.cdf(math.sqrt(size) * 0.25 / math.sqrt(1 + 4))
        assert predicted_auroc(normal, shifted, size) == pytest.approx(law, abs=0.06)
        found = auroc_of_batches(normal, shifted, size, n_batches=3000)
        assert found.value == pytest.approx(predicted_auroc(normal, shifted, size), abs=0.025)


def test_weak_becomes_perfect_and_wrong_becomes_perfectly_wrong():
    rng = np.random.default_rng(1)
    normal, shifted = rng.normal(size=3000), rng.normal(0.3, size=3000)
    assert auroc(normal, shifted).value < 0.62
    assert auroc_of_batches(normal, shifted, 200).value > 0.99
    assert auroc_of_batches(-normal, -shifted, 200).value < 0.01


def test_a_batch_of_one_is_an_image():
    rng = np.random.default_rng(2)
    normal, shifted = rng.normal(size=500), rng.normal(1.0, size=500)
    one = auroc_of_batches(normal, shifted, 1, n_batches=5000)
    assert one.value == pytest.approx(auroc(normal, shifted).value, abs=0.015)


def test_bad_input_of_the_trap():
    with pytest.raises(EvaluationError, match="a mean needs finite scores"):
        batch_means([1.0, math.inf], 2)
    with pytest.raises(EvaluationError, match="NaN"):
        batch_means([1.0, math.nan], 2)
    with pytest.raises(EvaluationError, match="expected at least 1 each, got 0"):
        batch_means([1.0], 0)
    for pair in (([1.0, 1.0], [1.0, 1.0]), ([0.0, 1.0], [0.0, math.inf])):
        with pytest.raises(EvaluationError, match="finite scores that are not all equal"):
            predicted_auroc(*pair, 5)
