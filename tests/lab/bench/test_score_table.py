"""Score tables: AUROC, paired leads and verdicts against sklearn and by construction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from deepdrift.lab.bench.evaluation import EvaluationError
from deepdrift.lab.bench.score_table import ScoreTable, Verdicts
from deepdrift.lab.bench.strange_sets import record_sets

RNG = np.random.default_rng(1)


def scores(n: int, better: float, worse: float) -> dict[str, torch.Tensor]:
    """Two scores of the same n samples that share most of their luck."""
    luck = RNG.normal(size=n)
    own = RNG.normal(size=(2, n)) / 5
    return {
        "good": torch.from_numpy(luck + better + own[0]),
        "weak": torch.from_numpy(luck + worse + own[1]),
    }


@pytest.fixture(scope="module")
def table() -> ScoreTable:
    return ScoreTable(
        {"normal": scores(600, 0, 0), "far": scores(400, 1.5, 1.0), "same": scores(400, 0.5, 0.5)}
    )


def test_auroc_is_that_of_sklearn(table):
    for score in ("good", "weak"):
        a, b = table["normal"][score].numpy(), table["far"][score].numpy()
        expected = roc_auc_score([0] * len(a) + [1] * len(b), np.concatenate([a, b]))
        assert table.auroc(score, "far").value == pytest.approx(expected)


def test_a_lead_is_a_difference_and_narrower_than_either_interval(table):
    """Both scores share their luck: that is what pairing is for."""
    gap = table.lead("good", "weak", "far")
    one, other = (table.auroc(score, "far") for score in ("good", "weak"))
    assert gap.value == pytest.approx(one.value - other.value)
    assert gap.high - gap.low < min(one.high - one.low, other.high - other.low)
    assert table.lead("weak", "good", "far").value == pytest.approx(-gap.value)


def test_wins_ties_and_losses(table):
    assert table.against("good", ["weak"]) == Verdicts(("far",), ("same",), ())
    assert table.against("weak", ["good"]) == Verdicts((), ("same",), ("far",))
    assert str(table.against("weak", ["good"])) == "0 wins, 1 ties, 1 losses (far)"
    assert table.against("good", ["weak", "good"]) == Verdicts((), ("far", "same"), ())


def test_means_over_all_and_over_groups(table):
    a, b = (float(table.auroc("good", name)) for name in ("far", "same"))
    assert table.mean("good") == pytest.approx((a + b) / 2)
    assert table.by_group({"one": ["far"], "two": ["same"]}, ["good"]) == [
        pytest.approx([a, b, (a + b) / 2])
    ]
    assert list(table.means()) == ["good", "weak"]


@pytest.mark.parametrize(
    "scores",
    [{}, {"n": {"a": torch.ones(3)}}, {"n": {"a": torch.ones(3)}, "s": {"b": torch.ones(3)}}],
)
def test_sets_without_the_same_scores_are_refused(scores):
    with pytest.raises(EvaluationError, match="each with the same scores"):
        ScoreTable(scores)


def test_an_unknown_summary_is_refused_before_anything_runs():
    with pytest.raises(EvaluationError, match="'mean' or 'class token', got 'max'"):
        record_sets("vit", {}, summary="max")
