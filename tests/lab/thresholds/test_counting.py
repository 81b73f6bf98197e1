"""Rates above lines, and their tables."""

import numpy as np
import pytest
import torch
from scipy import stats

from deepdrift import conformal_threshold, quantile_threshold
from deepdrift.lab.thresholds import counting

G = torch.Generator().manual_seed(0)
NORMAL = {"a": torch.randn(400, generator=G), "b": torch.rand(400, generator=G)}
NEW = {"a": torch.randn(300, generator=G) + 1, "b": torch.rand(300, generator=G)}


def test_a_rate_is_a_share_with_its_exact_interval():
    e = counting.rate(NEW["a"], 0.5)
    k = int(np.sum(NEW["a"].numpy() > 0.5))
    low, high = stats.binomtest(k, 300).proportion_ci(0.95, method="exact")
    assert (e.value, e.low, e.high) == pytest.approx((k / 300, low, high))
    assert counting.share(NEW["a"] > 0.5) == e


def test_by_rule_and_found_at_draw_their_lines_from_calibration_scores_alone():
    rules = {"conformal": conformal_threshold, "quantile": quantile_threshold}
    kept = counting.by_rule(rules, NORMAL, NEW)
    found = counting.found_at([0.05, 0.1], NORMAL, {"new": NEW})
    for name in NORMAL:
        line = conformal_threshold(NORMAL[name], 0.05)
        assert kept["conformal"][name] == counting.rate(NEW[name], line)
        assert found["new"][name][0] == kept["conformal"][name]
        assert found["new"][name][1].value > found["new"][name][0].value


def test_batches_by_count_and_by_mean_against_a_loop():
    batches = torch.randn(20, 8, generator=G)
    by_count, by_mean = counting.batch_rates(batches, 0.5, 3, 0.2)
    assert by_count.value == np.mean([sum(x > 0.5 for x in row) >= 3 for row in batches.tolist()])
    assert by_mean.value == np.mean([np.mean(row) > 0.2 for row in batches.tolist()])


def test_rates_of_sets_use_each_order_once_and_try_on_the_rest():
    """Without a choice of its own each set gives the mean rate that the rank promises: 10/200."""
    rates = counting.rates_of_sets(torch.arange(2000.0), lambda pool, order: pool[order[:199]], 199)
    assert rates.shape == (200,) and rates.mean() == pytest.approx(0.05, abs=0.004)
    again = counting.rates_of_sets(torch.arange(2000.0), lambda pool, order: pool[order[:199]], 199)
    assert torch.equal(rates, again)


def test_a_table_aligns_its_columns():
    table = counting.text_table({"x": ["1", "long"], "longer": ["22", "s"]}, ["first", "second"])
    lines = table.splitlines()
    assert {line.index(word) for line, word in zip(lines, ("first", "1", "22"), strict=True)} == {8}
    assert max(map(len, lines)) < 30
