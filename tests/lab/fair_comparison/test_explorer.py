"""The explorer of the comparison says what the table holds; its pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError
from deepdrift.lab.bench.evaluation import auroc, auroc_difference
from deepdrift.lab.fair_comparison import figures as pictures
from deepdrift.lab.fair_comparison import ideas
from deepdrift.lab.fair_comparison.detectors import DETECTORS, INSIDE, PIXELS
from deepdrift.lab.fair_comparison.explorer import ComparisonExplorer
from deepdrift.lab.fair_comparison.measures import promise_rows
from deepdrift.lab.fair_comparison.protocol import Scores
from deepdrift.lab.fair_comparison.table import Comparison

KINDS = {"new classes": "near", "digits": "far"}
KINDS |= {f"{fault} {s}": "corruption" for fault in ("blur", "dead_rows") for s in (1, 3, 5)}
GAINS = {"fused": 1.2, "energy": 0.6, "kNN": 0.9, "random": 0.0}


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
    ("choice", "words"),
    [
        ({"shift": "all shifts"}, "CNN, all shifts: "),
        ({"shift": "near"}, "CNN, near (new classes): "),
        ({"shift": "corruption"}, "CNN, all corruptions: "),
        ({"shift": "digits"}, "CNN, digits: "),
        ({"shift": "dead_rows"}, "CNN, dead rows, mean over severities: "),
        ({"shift": "blur", "network": "ViT"}, "ViT, blur, mean over severities: "),
    ],
)
def test_the_sentence_states_the_row_of_the_table(choice, words):
    app = explorer().set(**choice)
    table, row = TABLES[choice.get("network", "CNN")], choice["shift"]
    order = [name for name, _ in table.ranking(row)]
    parts = [
        f"{name} {table.auroc(name, row)} (number {order.index(name) + 1} of {len(order)})"
        for name in ("fused", "energy")
    ]
    gap = table.difference("fused", "energy", row)
    assert app.difference() == gap
    over = table.over_trainings("fused", "energy", row)
    start = f"{words}{parts[0]}; {parts[1]}. Difference {gap} over images, "
    start += f"[{over.low:.3f}, {over.high:.3f}] over trainings: "
    assert app.summary().startswith(start) and app.summary().endswith(f"Best: {order[0]}.")


def test_a_shift_with_severities_states_the_first_and_the_last():
    ends = [TABLES["CNN"].difference("fused", "energy", f"blur {s}").value for s in (1, 5)]
    said = f" At severity 1 {ends[0]:+.3f}, at 5 {ends[1]:+.3f}. Best: "
    assert said in explorer().summary(shift="blur")
    assert "severity" not in explorer().summary(shift="digits")
    assert explorer().difference(5, shift="blur").value == ends[1]


def test_who_is_better_is_said_from_both_sides():
    app = explorer(rival="random")
    assert app.difference().low > 0
    assert ": fused is surely better." in app.summary()
    turned = explorer(method="random", rival="fused")
    assert ": fused is surely better." in turned.summary() and turned.difference().high < 0


def test_no_score_is_its_own_rival():
    for method in ("fused", "kNN"):
        assert method not in explorer(method=method).rival.options
    with pytest.raises(ExplorerError, match="rival: expected one of energy, kNN, random, got"):
        explorer(rival="fused")
    with pytest.raises(ExplorerError, match="rival: expected one of .*, got 'fused'"):
        explorer().summary(rival="fused")


def test_there_are_few_lists_to_choose_from():
    assert list(explorer().values) == ["network", "shift", "rival"]


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


def test_a_score_that_does_not_apply_is_named_and_nothing_breaks():
    app = explorer(rival="kNN").set(network="ViT")
    assert app.summary() == "kNN does not apply to the ViT: its features may be negative."
    assert bytes(app.image.value[:4]) == b"\x89PNG"
    assert "surely better" in app.set(network="CNN", rival="random").summary()


@pytest.mark.parametrize("move", [{"network": "ViT"}, {"shift": "digits"}, {"rival": "kNN"}])
def test_each_control_changes_words_and_picture_and_goes_back(move):
    app = explorer().set(shift="blur")
    start, words, picture = app.values, app.summary(), app.image.value
    ((name, value),) = move.items()
    getattr(app, name).value = value
    assert app.summary() != words and app.image.value != picture
    assert app.status.value.startswith("<p role='status'>" + app.summary()[:20])
    assert (app.set(**start).summary(), app.image.value) == (words, picture)


def dots(ax):
    return [float(line.get_ydata()[0]) for line in ax.get_lines() if len(line.get_ydata()) == 1]


def test_a_shift_without_severities_shows_the_trainings():
    app = explorer(method="kNN", rival="random").set(shift="digits")
    a, b = (TABLES["CNN"].by_training(name, "digits") for name in ("kNN", "random"))
    assert dots(app._axes[1]) == pytest.approx((a - b).tolist())
    assert app._axes[1].get_xlabel() == "training"
    assert app.set(shift="blur")._axes[1].get_xlabel() == "severity"


def test_the_difference_at_each_severity_is_that_of_the_table():
    app = explorer().set(shift="blur")
    expected = [TABLES["CNN"].difference("fused", "energy", f"blur {s}").value for s in (1, 3, 5)]
    assert dots(app._axes[1]) == pytest.approx(expected)
    assert [t.get_text() for t in app._axes[1].get_xticklabels()] == ["1", "3", "5"]


@pytest.mark.parametrize("name", [name for name in DETECTORS if len(name) > 11])
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
    with pytest.raises(ExplorerError, match="rival: expected one of .*, got 'enrgy'"):
        explorer(rival="enrgy")
    with pytest.raises(ExplorerError, match="method: expected one of .*, got 'enrgy'"):
        explorer(method="enrgy")
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


def test_ranking_of_some_names_only(drawn):
    pictures.rankings(TABLES, "blur", "finding", ["kNN", "fused"])
    (figure,) = drawn()
    assert [len(ax.get_yticklabels()) for ax in figure.axes] == [2, 1]  # no kNN on the ViT


def test_beyond_pixels_orders_shifts_by_what_pixels_know(drawn):
    gains = {PIXELS: 0.5, INSIDE: 1.0}
    first, second = comparison(gains), comparison(gains, seed=5)
    pictures.beyond_pixels({"CNN": first, "ViT": second}, "finding")
    (figure,) = drawn()
    names = [t.get_text().replace(" ", "_") for t in figure.axes[0].get_yticklabels()]
    shifts = [s if s in first.shifts else s.replace("_", " ") for s in names]
    known = [first.auroc(PIXELS, s).value for s in shifts]
    assert known == sorted(known) and set(shifts) == set(first.shifts)
    for ax, table in zip(figure.axes, (first, second), strict=True):
        rows = {line.get_ydata()[0]: line.get_xdata() for line in ax.get_lines()
                if len(line.get_xdata()) == 2}  # fmt: skip
        for y, shift in enumerate(shifts):
            pair = [table.auroc(name, shift).value for name in (PIXELS, INSIDE)]
            assert list(rows[y]) == pytest.approx(pair)
        dots = [line.get_xdata()[0] for line in ax.get_lines() if len(line.get_xdata()) == 1]
        for s in shifts:
            assert table.auroc(INSIDE, s).value in dots


def test_promises_draw_every_rate_and_the_bands(drawn):
    pictures.promises(TABLES, ["fused"], "finding")
    (figure,) = drawn()
    (ax,) = figure.axes
    lines = [np.sort(np.asarray(line.get_xdata(), float)).tolist() for line in ax.get_lines()]
    for rates, band in promise_rows(TABLES, 0.05, ["fused"]).values():
        assert np.sort(rates.ravel()).tolist() in lines and list(band) in lines
    assert [t.get_text() for t in ax.get_yticklabels()] == list(promise_rows(TABLES, 0.05, []))


def test_two_rankings_count_the_pairs_in_order(drawn):
    a, b = ([1, 2, 3, 4, 6], [5, 7, 8]), ([2, 1, 3, 5, 7], [4, 6, 8])
    gap = auroc_difference(*a, *b)
    ideas.paired(a, b, {"x": auroc(*a), "y": auroc(*b)}, gap, "finding", width=1.5)
    (figure,) = drawn()
    left, above, below = figure.axes
    words = [t.get_text() for t in left.get_xticklabels()]
    assert words == ["score A\n14 of 15 pairs", "score B\n12 of 15 pairs"]
    images = [line.get_ydata() for line in left.get_lines()]
    assert sorted(y[0] for y in images) == sorted(y[1] for y in images) == list(range(8))
    assert images[0].tolist() == [0, 1] and images[7].tolist() == [7, 7]
    width = [np.ptp(ax.get_xlim()) for ax in (above, below)]
    assert width == pytest.approx([1.5, 1.5])
    assert [gap.low, gap.high] in [list(line.get_xdata()) for line in below.get_lines()]


def test_means_keep_their_gap_and_lose_their_spread(drawn):
    ideas.shrinking(0.2, [1, 25, 400], "finding")
    (figure,) = drawn()
    for ax, n in zip(figure.axes, (1, 25, 400), strict=True):
        for line, centre in zip(ax.get_lines(), (0.0, 0.2), strict=True):
            x, y = line.get_data()
            weights = y / y.sum()
            assert (weights * x).sum() == pytest.approx(centre, abs=0.02)
            spread = np.sqrt((weights * (x - centre) ** 2).sum())
            assert spread == pytest.approx(1 / math.sqrt(n), rel=0.03)
    said = [ax.get_title(loc="left") for ax in figure.axes]
    assert said == ["n = 1: AUROC 0.56", "n = 25: AUROC 0.76", "n = 400: AUROC > 0.99"]


def test_batch_curves_draw_measured_dots_on_predicted_lines(drawn):
    pictures.batch_curves([1, 10, 100], {"a": [0.6, 0.8, 1.0]}, {"a": [0.61, 0.79, 0.99]}, "t")
    (figure,) = drawn()
    found = [list(line.get_ydata()) for line in figure.axes[0].get_lines()]
    assert [0.6, 0.8, 1.0] in found and [0.61, 0.79, 0.99] in found


@pytest.mark.parametrize(
    "draw",
    [
        lambda t: pictures.rankings(t, "all shifts", "finding"),
        lambda t: pictures.promises(t, ["fused"], "finding"),
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
