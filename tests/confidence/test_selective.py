from __future__ import annotations

import math

import numpy as np
import pytest

from deepdrift import confidence


def pairs(n: int, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=n)
    correct = generator.random(n) > 1 / (1 + np.exp(1 - 2 * scores))
    return (np.round(scores, 1) if ties else scores), correct


def test_four_predictions_by_hand():
    """The third of four is wrong."""
    correct = [True, True, False, True]
    found = confidence.risk_coverage([0.1, 0.2, 0.3, 0.4], correct)
    assert found.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert found.risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert found.aurc == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)
    # accepted and wrong: 0, 0, 0, 1/4, 1/4 at coverage 0, 1/4, ..., 1; trapezoids
    assert found.augrc == pytest.approx((0 + 0 + 1 / 8 + 1 / 4) / 4)


def test_four_predictions_with_a_tie_by_hand():
    """The wrong one ties with a right one: the two are accepted together."""
    found = confidence.risk_coverage([0.1, 0.2, 0.2, 0.4], [True, True, False, True])
    assert found.coverage.tolist() == [0.25, 0.75, 1.0]
    assert found.risk.tolist() == pytest.approx([0, 1 / 3, 1 / 4])
    assert found.aurc == pytest.approx(0.25 * 0 + 0.5 / 3 + 0.25 / 4)
    # 0, 0, 1/4, 1/4 at coverage 0, 1/4, 3/4, 1; it is the mean over both orders of the tie
    assert found.augrc == pytest.approx(0.5 * 0.125 + 0.25 * 0.25)
    orders = [[True, True, False, True], [True, False, True, True]]
    both = [confidence.risk_coverage(range(4), c).augrc for c in orders]
    assert found.augrc == pytest.approx(np.mean(both))


@pytest.mark.parametrize("ties", [False, True])
def test_augrc_is_the_auroc_of_the_mistakes_and_their_share(ties):
    """Traub et al. 2024: e (1 - e) (1 - AUROC) + e**2 / 2, by scikit-learn's AUROC."""
    roc_auc_score = pytest.importorskip("sklearn.metrics").roc_auc_score
    scores, correct = pairs(300, ties=ties)
    e = 1 - correct.mean()
    expected = e * (1 - e) * (1 - roc_auc_score(~correct, scores)) + e**2 / 2
    assert confidence.risk_coverage(scores, correct).augrc == pytest.approx(expected)


@pytest.mark.parametrize("correct", [[True] * 5, [False] * 5])
def test_all_right_or_all_wrong(correct):
    found = confidence.risk_coverage(range(5), correct)
    share = 1.0 - correct[0]
    assert (found.aurc, found.augrc) == pytest.approx((share, share / 2))


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
        assert value == pytest.approx(_augrc(scores[again], ~correct[again]))


def test_intervals_cover_and_paired_ones_are_narrower():
    scores, correct = pairs(400)
    noisy = scores + np.random.default_rng(1).normal(size=400) * 0.1
    a, b = (confidence.augrc_interval(s, correct, n_bootstrap=400) for s in (scores, noisy))
    gap = confidence.augrc_difference(noisy, scores, correct, n_bootstrap=400)
    assert a[1] < a[0] < a[2]
    assert gap[0] == pytest.approx(b[0] - a[0])
    assert gap[2] - gap[1] < 0.5 * (a[2] - a[1])
    assert gap == confidence.augrc_difference(noisy, scores, correct, n_bootstrap=400)


def test_resamples_in_blocks_are_one_stream(monkeypatch):
    import deepdrift.confidence.selective as module

    scores, correct = pairs(50)
    whole = confidence.augrc_interval(scores, correct, n_bootstrap=100)
    monkeypatch.setattr(module, "BLOCK", 350)  # seven resamples at a time
    assert confidence.augrc_interval(scores, correct, n_bootstrap=100) == pytest.approx(whole)


def test_the_interval_holds_the_true_value_as_often_as_it_says():
    """Uniform scores, wrong with probability 0.6 s: AUGRC is the integral of 0.3 s**2, 0.1."""
    inside = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        scores = generator.random(200)
        correct = generator.random(200) >= 0.6 * scores
        _, low, high = confidence.augrc_interval(scores, correct, n_bootstrap=200)
        inside += low < 0.1 < high
    assert 0.89 <= inside / 200 <= 0.99  # 95 %, three standard errors below


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [([1.0, math.nan], [1.0, 2.0], "first"), ([1.0, 2.0], [1.0], "second")],
)
def test_the_score_that_is_wrong_is_named(first, second, name):
    with pytest.raises(confidence.ConfidenceError, match=f"^{name}"):
        confidence.augrc_difference(first, second, [True, False])


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_bootstrap", 99), ("n_bootstrap", 1e3), ("confidence", 95), ("seed", -1)],
)
def test_settings_of_the_bootstrap_are_checked(name, value):
    with pytest.raises(confidence.ConfidenceError, match=name):
        confidence.augrc_interval([1.0, 2.0], [True, False], **{name: value})
