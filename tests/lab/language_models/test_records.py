"""Folds, controls and tables of a run; and what the shipped one says."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deepdrift.lab.language_models.records import folds


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
