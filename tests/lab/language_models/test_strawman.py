"""A score that repeats what the base left out gains beside the part, nothing beside the whole."""

from __future__ import annotations

import numpy as np
import pytest

from deepdrift.lab.language_models.strawman import (
    best_inside,
    controlled,
    fused,
    gains,
    standardised,
    token_removed,
)


def test_the_gain_vanishes_beside_the_whole_answer(made):
    beside_part = gains(made, "first token", ["probe", "innovation"])
    beside_whole = gains(made, "whole answer", ["probe", "innovation"])
    assert beside_part["probe"].low > 0.03
    assert beside_whole["probe"].low < 0.01 and abs(beside_whole["probe"].value) < 0.02
    assert beside_part["innovation"].low < 0 < beside_part["innovation"].high


def test_the_best_is_chosen_inside_the_other_folds(made):
    gain, chosen = best_inside(made, "first token")
    assert chosen == ["probe"] * 5
    assert gain.value == pytest.approx(gains(made, "first token", ["probe"])["probe"].value)


def test_standards_come_from_training_rows_alone():
    values, template = np.array([1.0, 3, 100, 5, 5]), np.array([0, 0, 0, 1, 1])
    train = np.array([True, True, False, True, True])
    assert standardised(values, template, train).tolist() == [-1, 1, 98, 0, 0]


def test_no_row_is_judged_by_a_fit_that_saw_it():
    """A score that is the label itself for one fold and noise elsewhere teaches nothing there."""
    rng = np.random.default_rng(0)
    wrong, fold = np.arange(400) % 2 == 0, np.arange(400) // 2 % 5
    score = np.where(fold == 0, wrong * 10.0, rng.normal(size=400))
    out = fused([score], wrong, np.zeros(400), fold)
    slopes = [np.polyfit(score[fold == k], out[fold == k], 1)[0] for k in range(5)]
    assert abs(slopes[0]) < 0.15 < min(slopes[1:])


def test_controls_are_taken_out(made):
    x = 3 * made.controls["length"] + 2 * made.controls["unpopularity"] + made.template
    assert np.abs(controlled(made, x)).max() < 1e-6
    noise = np.random.default_rng(0).normal(size=len(made))
    assert np.corrcoef(controlled(made, x + noise), noise)[0, 1] > 0.9


def test_a_velocity_that_is_its_token_has_nothing_left(made):
    assert np.abs(token_removed(made)).max() < 1e-9
