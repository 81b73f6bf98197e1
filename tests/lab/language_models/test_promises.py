"""Promises on other countries, counted by hand where that is possible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepdrift.lab.language_models.promises import (
    answer_most_certain,
    conformal_rates,
    held_out,
    risk_promises,
)


def test_a_country_chooses_or_is_answered(made):
    rows = held_out(made)
    by_country = rows.reshape(5, -1)
    assert (by_country == by_country[0]).all() and by_country[0].sum() == 30


def test_lost_caught_and_errors_are_all_there_is(made):
    found = answer_most_certain(made, 0.5, template="chat")
    rows = made.rows("chat") & held_out(made)
    right_given = int((found.given & made.right).sum())
    lists = found.lost(made), found.caught(made), found.errors(made)
    assert sum(map(len, lists)) + right_given == rows.sum()
    assert found.share == pytest.approx(found.given.sum() / rows.sum())
    assert found.risk.value == pytest.approx(len(lists[2]) / found.given.sum())
    assert all("Nowhere" in line for line in lists[1] + lists[2])
    scores = made.scores["nll"]
    wrong = [i for i in np.flatnonzero(found.given) if made.wrong[i]]
    surest = min(wrong, key=lambda i: scores[i])
    assert lists[2][0].startswith(made.countries[made.country[surest]].name)


def test_promised_is_what_the_others_saw(made):
    found = answer_most_certain(made, 1.0)
    assert found.promised == pytest.approx(made.wrong[~held_out(made)].mean())
    assert answer_most_certain(made, 0.3).promised < found.promised


def test_a_perfect_score_keeps_its_promise_and_a_mute_one_makes_none(made):
    perfect = replace(made, scores=made.scores | {"nll": made.wrong.astype(float)})
    kept = risk_promises(perfect, max_risks=(0.3,))[0.3]
    assert kept.risk.value == 0 and kept.lost(perfect) == []
    mute = replace(made, scores=made.scores | {"nll": np.zeros(len(made))})
    none = risk_promises(mute, max_risks=(0.01,))[0.01]
    assert (none.share, none.risk) == (0, None)


def test_a_conformal_threshold_holds_where_it_was_chosen(made):
    """In the same format about alpha; in one that is shifted by far, all or nothing."""
    shifted = np.where(made.template == 4, 100.0, 0.0)
    rng = np.random.default_rng(0)
    records = replace(made, scores={"nll": rng.normal(size=len(made)) + shifted})
    rates = conformal_rates(records, alpha=0.2)
    assert np.abs(np.diag(rates) - 0.17).max() < 0.06  # at most .2, by the ranks that there are
    assert rates[0, 4] == 1 and rates[4, 0] == 0
