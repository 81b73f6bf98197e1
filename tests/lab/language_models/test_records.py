"""Folds, controls and tables of a run; and what the shipped one says."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deepdrift.lab.language_models.capitals import is_right
from deepdrift.lab.language_models.doubt import INSIDE, OUTPUT
from deepdrift.lab.language_models.records import folds, load_records
from deepdrift.lab.language_models.strawman import best_inside
from deepdrift.lab.language_models.unfamiliar import kept, withdrawn


def test_folds_are_equal_and_the_same_every_time():
    assert np.bincount(folds(160, 4, seed=1)).tolist() == [40] * 4
    assert (folds(160, 5) == folds(160, 5)).all()
    assert (folds(160, 5) != folds(160, 5, seed=1)).any()


def test_a_country_is_in_one_fold(made):
    assert len({(c, f) for c, f in zip(made.country, made.fold, strict=True)}) == 60


def test_controls_by_hand(made):
    first = made.countries[0]
    assert made.controls["unpopularity"][0] == pytest.approx(-np.log(first.population))
    said = made.said[0]
    nowhere = [i for i, text in enumerate(said) if text == "nowhere 0"]
    expected = np.log(len(nowhere))
    assert made.controls["common answer"][nowhere[0]] == pytest.approx(expected)
    assert made.controls["position"][made.rows("question")].tolist() == [10.0] * 60


def test_the_table_is_the_mean_over_templates(made):
    each = [
        roc_auc_score(made.wrong[made.rows(t)], made.scores["nll"][made.rows(t)])
        for t in made.templates
    ]
    found = made.table()
    assert found["nll"].value == pytest.approx(np.mean(each))
    assert {"length", "common answer"} <= set(found)
    shares = made.right_share()
    assert shares["chat"].value == pytest.approx(made.right[:60].mean())


def test_the_shipped_run_is_whole():
    records = load_records()
    assert len(records) == 800 and len(records.countries) == 160
    assert set(records.scores) == {*OUTPUT, *INSIDE, "sample entropy"}
    for name, values in records.scores.items():
        assert np.isfinite(values).all(), name
    here = np.arange(records.tokens.shape[1]) < records.lengths[:, None]
    assert (records.log_prob[here] <= 0).all() and not records.log_prob[~here].any()
    assert records.scores["nll"] == pytest.approx(-records.log_prob.sum(axis=1), abs=1e-4)
    assert (records.velocity[here] > 0).all() and not records.velocity[~here].any()
    mean = records.velocity[..., -1].astype(float).sum(axis=1) / records.lengths
    assert records.scores["raw velocity"] == pytest.approx(mean, rel=2e-3)
    for i, country in enumerate(records.country):
        assert is_right(str(records.text[i]), records.countries[country]) == records.right[i]


def test_what_the_shipped_run_says():
    """The sentences of notebook 12, with a margin."""
    records = load_records()
    layout = records.layout(n_bootstrap=200)
    nll, first = (layout.auroc(records.scores[k]) for k in ("nll", "first"))
    assert nll.low > 0.8 and nll.value > first.value + 0.05
    assert best_inside(records, "whole answer", layout)[0].low < 0
    assert best_inside(records, "first token", layout)[0].low > 0
    assert withdrawn(records)[0] >= 19
    assert min(e.value for e in kept(records).values()) >= 0.9
