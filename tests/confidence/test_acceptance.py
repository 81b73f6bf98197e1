from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deepdrift import confidence
from deepdrift.confidence import ConfidenceError


def broken(error_rate, true_risk, *, levels: int = 0, n_simulations: int = 500) -> int:
    """How often data of 400 choose a threshold whose true risk exceeds the promised 5 %."""
    count = 0
    for seed in range(n_simulations):
        generator = np.random.default_rng(seed)
        scores = generator.random(400)
        if levels:
            scores = np.ceil(scores * levels) / levels
        correct = generator.random(400) >= error_rate(scores)
        found = confidence.accept_at_risk(scores, correct, 0.05, confidence=0.9)
        count += found.coverage > 0 and true_risk(found.threshold) > 0.05 + 1e-9
    return count


MOST = 50 + 3 * math.sqrt(500 * 0.1 * 0.9)  # of 500 simulations, at 90 % confidence


def test_the_promise_breaks_as_seldom_as_it_says():
    """Scores are uniform, so that the true risk of those accepted up to t is a mean over [0, t]."""
    count = broken(lambda s: 0.3 * s**2, lambda t: 0.1 * t**2)
    assert 0 < count <= MOST  # and the bound is not idle


def test_the_promise_holds_at_the_edge_where_every_threshold_would_break_it():
    assert 0 < broken(lambda s: 0.0501, lambda t: 0.0501) <= MOST


def test_the_promise_holds_where_scores_tie():
    risk = np.cumsum(0.3 * (np.arange(1, 11) / 10) ** 2) / np.arange(1, 11)
    count = broken(lambda s: 0.3 * s**2, lambda t: risk[round(10 * t) - 1], levels=10)
    assert 0 < count <= MOST


def test_the_promise_holds_where_the_surest_are_the_worst():
    """A risk of .06 up to 0.3, then nothing wrong up to 0.6, then .2."""
    count = broken(
        lambda s: np.where(s < 0.3, 0.06, np.where(s < 0.6, 0, 0.2)),
        lambda t: (0.06 * min(t, 0.3) + 0.2 * max(t - 0.6, 0)) / t,
    )
    assert count <= MOST


@pytest.mark.parametrize(("n", "coverage"), [(44, 0.0), (45, 1.0)])
def test_the_fewest_that_can_promise(n, coverage):
    """0.95 ** 44 > 0.1 > 0.95 ** 45: without a mistake 45 answers bound the risk by 5 %."""
    found = confidence.accept_at_risk(range(n), [True] * n, 0.05)
    assert found.coverage == coverage
    if not coverage:
        assert "n = 44 is too few" in str(found) and "45 without a mistake" in str(found)


def test_mistakes_among_the_surest_end_the_search():
    """The first step that can pass holds 50 of 1,000; two of them are wrong, the rest is right."""
    correct = np.ones(1000, bool)
    correct[[3, 7]] = False
    assert confidence.accept_at_risk(range(1000), correct, 0.05).coverage == 0.0
    late = correct[::-1]
    assert confidence.accept_at_risk(range(1000), late, 0.05).coverage == 1.0


def test_equal_scores_are_accepted_together():
    scores = [0.0] * 100 + [1.0] * 100
    found = confidence.accept_at_risk(scores, [True] * 100 + [False] * 100, 0.05)
    assert (found.coverage, found.threshold, found.risk) == (0.5, 0.0, 0.0)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, lambda s: torch.tensor(s).half()])
def test_the_threshold_accepts_what_it_was_chosen_from(kind):
    """0.1 in 32 bits is larger than in 64: a list has to be read alike both times."""
    scores = kind([0.1] * 100)
    found = confidence.accept_at_risk(scores, [True] * 100, 0.05)
    assert found.accepts(scores).all()


def test_the_bound_is_scipys_clopper_pearson():
    from scipy.stats import binomtest

    correct = np.arange(300) % 40 != 39  # 7 of 300 are wrong, at no time more than 1 in 40
    found = confidence.accept_at_risk(range(300), correct, 0.2, confidence=0.9)
    assert found.coverage == 1.0
    expected = binomtest(7, 300).proportion_ci(0.8, method="exact").high  # one-sided 90 %
    assert found.bound == pytest.approx(expected)


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
    ("name", "value"),
    [
        ("max_risk", 0.0),
        ("max_risk", 1.0),
        ("max_risk", "5 %"),
        ("confidence", 1),
        ("confidence", None),
    ],
)
def test_shares_lie_between_zero_and_one(name, value):
    with pytest.raises(ConfidenceError, match=name):
        confidence.accept_at_risk([1.0], [True], **({"max_risk": 0.1} | {name: value}))
