from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deepdrift import confidence
from deepdrift.confidence import ConfidenceError


def pairs(n: int, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=n)
    correct = generator.random(n) > 1 / (1 + np.exp(1 - 2 * scores))
    return (np.round(scores, 1) if ties else scores), correct


@pytest.mark.parametrize("ties", [False, True])
def test_areas_against_a_loop(ties):
    scores, correct = pairs(120, ties=ties)
    found = confidence.risk_coverage(scores, correct)
    n, aurc, augrc, before = len(scores), 0.0, 0.0, (0, 0)
    for i, limit in enumerate(np.unique(scores)):
        kept = scores <= limit
        m, wrong = int(kept.sum()), int((~correct[kept]).sum())
        assert float(found.coverage[i]) == pytest.approx(m / n)
        assert float(found.risk[i]) == pytest.approx(wrong / m)
        aurc += (m - before[0]) / n * wrong / m
        augrc += (m - before[0]) / n * (wrong + before[1]) / (2 * n)
        before = (m, wrong)
    assert found.aurc == pytest.approx(aurc)
    assert found.augrc == pytest.approx(augrc)


def test_a_score_that_knows_nothing_has_half_the_error_rate():
    correct = np.array([True] * 80 + [False] * 20)
    assert confidence.risk_coverage(np.zeros(100), correct).augrc == pytest.approx(0.1)
    best = confidence.risk_coverage(np.arange(100.0), correct).augrc
    assert best == pytest.approx(0.2**2 / 2)  # a triangle over the last fifth
    worst = confidence.risk_coverage(-np.arange(100.0), correct).augrc
    assert worst == pytest.approx(0.2 - 0.2**2 / 2)


def test_only_the_order_of_the_scores_matters_and_infinity_is_last():
    scores, correct = pairs(60)
    first = confidence.risk_coverage(scores, correct)
    assert confidence.risk_coverage(np.exp(3 * scores), correct).augrc == first.augrc
    scores[scores.argmax()] = math.inf
    assert confidence.risk_coverage(scores, correct).augrc == first.augrc


@pytest.mark.parametrize("ties", [False, True])
def test_the_bootstrap_draws_predictions_with_their_ties(ties):
    """The weighted form on weights equals the plain form on the predictions that they repeat."""
    from deepdrift.confidence.selective import _augrc, _augrc_weighted

    scores, correct = pairs(40, seed=1, ties=ties)
    weights = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), size=20).astype(float)
    fast = _augrc_weighted(scores, ~correct, weights)
    for row, value in zip(weights, fast, strict=True):
        again = np.repeat(np.arange(40), row.astype(int))
        if ties:  # repeated predictions tie with themselves in the plain form
            assert value == pytest.approx(_augrc(scores[again], ~correct[again]))
        else:
            assert value == pytest.approx(_augrc(scores[again], ~correct[again]), abs=1e-9)


def test_intervals_cover_and_paired_ones_are_narrower():
    scores, correct = pairs(400)
    noisy = scores + np.random.default_rng(1).normal(size=400) * 0.1
    a, b = (confidence.augrc_interval(s, correct, n_bootstrap=400) for s in (scores, noisy))
    gap = confidence.augrc_difference(noisy, scores, correct, n_bootstrap=400)
    assert a[1] < a[0] < a[2]
    assert gap[0] == pytest.approx(b[0] - a[0])
    assert gap[2] - gap[1] < 0.5 * (a[2] - a[1])
    assert gap == confidence.augrc_difference(noisy, scores, correct, n_bootstrap=400)


def test_the_promise_breaks_as_seldom_as_it_says():
    """500 draws of calibration data; the true risk of the accepted is known."""
    broken = 0
    for seed in range(500):
        generator = np.random.default_rng(seed)
        scores = generator.random(400)
        correct = generator.random(400) >= 0.3 * scores**2
        found = confidence.accept_at_risk(scores, correct, 0.05, confidence=0.9)
        true_risk = 0.1 * found.threshold**2 if found.coverage else 0.0
        broken += true_risk > 0.05
    assert broken <= 50 + 3 * math.sqrt(500 * 0.1 * 0.9)
    assert broken > 0  # and the bound is not idle


def test_nothing_is_accepted_where_nothing_can_be_promised():
    found = confidence.accept_at_risk(range(50), [False] * 50, 0.1)
    assert (found.coverage, found.threshold) == (0.0, -math.inf)
    assert math.isnan(found.risk) and "No promise" in str(found)
    assert not found.accepts([-math.inf, 0.0, math.nan]).any()
    few = confidence.accept_at_risk(range(20), [True] * 20, 0.05)  # 20 right answers bound .11
    assert few.coverage == 0.0


def test_all_right_answers_are_all_accepted_but_never_infinite_scores():
    found = confidence.accept_at_risk(range(200), [True] * 200, 0.05)
    assert found.coverage == 1.0
    assert found.bound == pytest.approx(1 - 0.1 ** (1 / 200))
    scores = torch.arange(200.0)
    scores[150:] = math.inf
    gated = confidence.accept_at_risk(scores, [True] * 200, 0.05)
    assert gated.coverage == 0.75
    assert gated.accepts(torch.tensor([3.0, math.inf, math.nan])).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("name", "value"), [("max_risk", 0.0), ("max_risk", 1.0), ("confidence", 1)]
)
def test_shares_lie_between_zero_and_one(name, value):
    with pytest.raises(ConfidenceError, match=name):
        confidence.accept_at_risk([1.0], [True], **({"max_risk": 0.1} | {name: value}))
