"""The tables of notebook 08 say what the registry and the stored comparison hold."""

from __future__ import annotations

import numpy as np
import pytest

from deepdrift.errors import StateError
from deepdrift.lab.bench.evaluation import EvaluationError
from deepdrift.lab.fair_comparison import measures, reports
from deepdrift.lab.fair_comparison.cards import CARDS
from deepdrift.lab.fair_comparison.detectors import DETECTORS, FUSED, Detector
from deepdrift.lab.fair_comparison.protocol import Scores, refusal
from deepdrift.lab.fair_comparison.table import Comparison
from deepdrift.lab.fair_comparison.text_table import TextTable

KINDS = {"new classes": "near", "digits": "far", "blur 1": "corruption", "blur 5": "corruption"}
GAINS = {"fused": 1.0, "innovation": 0.3, "energy": 0.6, "random": 0.0}


def scores(gains, seed):
    rng = np.random.default_rng(seed)
    values = {
        name: {"test": rng.normal(size=120)} | {k: rng.normal(g, size=120) for k in KINDS}
        for name, g in gains.items()
    }
    return Scores(values, {name: {0.05: 1.6} for name in gains}, dict(KINDS))


RUNS = [scores(GAINS, seed) for seed in (0, 1, 2)]
FEWER = {k: v for k, v in GAINS.items() if k != "energy"}
TABLES = {
    "CNN": Comparison.of(RUNS, ["digits", "blur 5"], n_bootstrap=100),
    "ViT": Comparison.of([scores(FEWER, seed) for seed in (3, 4)], ["digits"], n_bootstrap=100),
}
CNN, VIT = TABLES.values()


# ---- one page for all scores ----


def test_every_score_of_the_registry_is_on_the_page():
    page = reports.score_table()
    assert page.column("score") == list(DETECTORS) and set(CARDS) == set(DETECTORS)
    assert all(all(row) for row in page.rows) and set(page.column("needs labels")) <= {
        "yes", "no", "if any",
    }  # fmt: skip


def test_a_score_without_a_card_cannot_be_entered():
    with pytest.raises(StateError, match="write a card for 'brightness'"):
        Detector("brightness", "trivial", lambda *_: lambda x: x.images.mean())


@pytest.mark.parametrize("name", DETECTORS)
def test_formulas_need_no_network_and_no_second_line(name):
    card = CARDS[name]
    assert not set("$\\\n") & set(card.formula) and len(card.formula) < 100
    assert len(card.advice.split()) <= 10


# ---- who wins ----


def test_winners_are_counted_by_side():
    counts = reports.winner_counts(CNN)
    winners = [CNN.ranking(shift)[0][0] for shift in CNN.shifts]
    assert sum(counts.values()) == len(winners) == 3
    assert counts["fused"] == winners.count("fused")
    assert reports.winner_table(TABLES).column("fused") == [
        str(reports.winner_counts(t)["fused"]) for t in TABLES.values()
    ]


def test_the_league_has_every_score_once_and_marks_the_best():
    page = reports.league_table(TABLES, "finding")
    assert page.caption == "finding" and page.header[1:5] == [
        "CNN mean", "CNN near", "CNN far", "CNN sensor",
    ]  # fmt: skip
    names = page.column("score")
    assert names[0] == "fused" and names[-1] == "energy"  # which the ViT does not have
    assert page.column("ViT near")[-1] == "–"
    for name, value in zip(names, page.column("CNN far"), strict=True):
        assert value == f"{100 * CNN.auroc(name, 'far').value:.0f}"
    best = CNN.ranking("far")[0][0]
    assert (names.index(best), page.header.index("CNN far")) in page.marked
    assert len(page.marked) == 8 and len(page.colours) == 4 * (4 + 3)


def test_losses_are_those_of_the_table_and_a_dash_elsewhere():
    page = reports.loss_table(TABLES, "random", ["fused", "energy"])
    lost = {
        row: (name, str(gap)) for row, name, gap in CNN.losses("random", rivals=["fused", "energy"])
    }
    assert page.column("shift") == ["new classes", "digits", "blur"]
    for shift, name, gap in zip(*(page.column(c) for c in page.header[:3]), strict=True):
        assert (name, gap) == lost.get(shift, ("–", "–"))
    assert set(page.column("ViT: better")) <= {"fused", "–"}


# ---- intervals ----


def test_intervals_and_differences_are_those_of_the_table():
    page = reports.interval_table(TABLES, ["fused", "random"])
    assert page.column("CNN [over images]")[0] == str(CNN.auroc("fused"))
    over = VIT.over_trainings("random")
    assert page.column("over trainings")[1] == reports.span(CNN.over_trainings("random"))
    assert page.rows[1][4] == f"[{over.low:.3f}, {over.high:.3f}]"
    page = reports.difference_table(TABLES, [("fused", "random", "near")])
    gap = CNN.difference("fused", "random", "near")
    assert page.rows[0][:3] == ["fused − random", "new classes", str(gap)]
    assert page.rows[0][4] == reports.verdict(CNN, "fused", "random", "near")


def test_verdicts():
    assert reports.verdict(CNN, "fused", "random") == "ahead"
    assert reports.verdict(CNN, "random", "fused") == "behind"
    assert reports.verdict(CNN, "fused", "fused") == "tie"
    one = {"a": {"test": np.arange(99.0), "digits": np.arange(40, 139.0)}}
    one["b"] = {"test": np.arange(99.0), "digits": np.arange(20, 119.0)}
    two = {"a": one["b"], "b": {"test": np.arange(99.0), "digits": np.arange(25, 124.0)}}
    runs = [Scores(v, dict.fromkeys("ab", {0.05: 1.0}), {"digits": "far"}) for v in (one, two)]
    assert reports.verdict(Comparison.of(runs), "a", "b") == "ahead, open"


def test_the_largest_gap_of_a_live_run():
    assert reports.largest_gap(RUNS[1], CNN, training=1) == (16, pytest.approx(0))
    n, gap = reports.largest_gap(RUNS[1], CNN, training=0)
    assert n == 16 and gap > 0


# ---- other measures ----


def test_other_measures_are_counted():
    rows = CNN.measured_rows
    higher = sum(CNN.aupr("fused", r).value > CNN.aupr("random", r).value for r in rows)
    assert measures.measure_counts(CNN, "fused", "random")[1] == higher
    page = measures.measure_table({"CNN": CNN}, "fused", ["random", "energy"])
    assert page.caption == "on how many of 2 sets" and page.rows[0][3] == str(higher)
    page = measures.value_table(CNN, ["fused"], "digits")
    assert page.rows[0][1] == f"{CNN.by_training('fused', 'digits')[0]:.2f}"
    assert page.rows[0][3] == f"{CNN.fpr95('fused', 'digits'):.2f}"


def test_promises_split_the_scores_by_their_calibration_images():
    rows = measures.promise_rows(TABLES, 0.05, ["fused"], n_calibration=200)
    assert list(rows) == ["halved, CNN", "whole, CNN", "halved, ViT", "whole, ViT"]
    assert [r.shape for r, _ in rows.values()] == [(3, 1), (3, 3), (2, 1), (2, 2)]
    (_, wide), (_, narrow) = rows["halved, CNN"], rows["whole, CNN"]
    assert wide[1] - wide[0] > narrow[1] - narrow[0]
    page = measures.promise_table(TABLES, ["fused"], n_calibration=200)
    assert page.column("promised") == ["5%", "5%"]
    out = sum(int(((r < b[0]) | (r > b[1])).sum()) for r, b in list(rows.values())[:2])
    assert page.column("all scores outside")[0] == f"{out} of 12"


def test_rates_of_many_cuts():
    page = measures.rate_table(np.array([[0.04, 0.1], [0.06, 0.1]]), [0.05, 0.1])
    assert page.rows == [["5%", "5.0%", "± 1.4%"], ["10%", "10.0%", "± 0.0%"]]


# ---- the table itself, and refusals ----


def test_a_table_in_words_and_in_html():
    page = TextTable(["a", "b"], [["x<y", "1"], ["z", "2"]], ["z"], "above", {(0, 1): "#000000"})
    assert repr(page) == "above\na    b\nx<y  1\nz    2"
    html = page._repr_html_()
    assert "<caption>above</caption>" in html and "x&lt;y" in html and "<b>2</b>" in html
    assert 'background-color: #000000; color: #fff">1<' in html
    assert '<td style="text-align: left">x&lt;y</td>' in html and "<td><b>2</b></td>" in html
    assert html.count("<tr>") == 3 and page.column("b") == ["1", "2"]
    wide = TextTable(["a" * 60, "b" * 60], [["x", "y"]])
    assert repr(wide) == f"table of 1 rows: {'a' * 60} | {'b' * 60}"
    with pytest.raises(ValueError, match="expected 2 words in each"):
        TextTable(["a", "b"], [["x"]])


def test_long_sentences_break_outside_of_intervals():
    text = "energy 0.750 [0.745, 0.755] is better"
    assert reports.wrapped(text, 24) == "energy 0.750\n    [0.745, 0.755] is\n    better"


def test_refusals_are_words_and_other_errors_are_errors():
    def broken():
        raise EvaluationError("fit, test: no")

    assert refusal(broken) == "fit, test: no" and refusal(lambda: FUSED) == "allowed"
    with pytest.raises(ZeroDivisionError):
        refusal(lambda: 1 / 0)
