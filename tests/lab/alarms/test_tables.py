"""What notebook 04 counts: by hand, and against a stream whose rate is known."""

from __future__ import annotations

import numpy as np

from deepdrift.alarms.config import ObserverConfig
from deepdrift.lab.alarms import tables
from deepdrift.lab.alarms.pools import halves
from deepdrift.lab.alarms.races import race
from deepdrift.lab.alarms.streams import DriftPool

NOISE = np.random.default_rng(0).normal(size=4000)
POOL = DriftPool([(NOISE[:, None] - NOISE.mean(), NOISE - NOISE.mean())], 10**9)


def test_changes_of_state_by_hand():
    """Up and down twice in eight steps; with a dwell of two never."""
    rows = [[0, 4, 1, 0], [0, 4, 1, 1]]
    assert tables.changes_per_1000(rows, ObserverConfig()) == 500
    assert tables.changes_per_1000(rows, ObserverConfig(raise_after=2)) == 0


def test_halves_share_no_image():
    first, second = halves(POOL)
    joined = np.concatenate([first.drifts()[1], second.drifts()[1]])
    assert (joined == POOL.drifts()[1]).all() and len(first.drifts()[1]) == 2000


def test_a_rate_chosen_on_one_half_is_met_on_the_other():
    rows = tables.realised_rates(halves(POOL), 5.0, (0.0,), n_choose=4000, n_judge=8000)
    assert [(row.memory, row.half) for row in rows] == [(0.0, 1), (0.0, 2)]
    assert all(2.5 < row.rate < 10 and 2.3 < row.theta_high < 3.2 for row in rows)
    assert len(tables.rates_table(rows).splitlines()) == 3


def test_a_chart_leads_on_a_small_shift():
    normal = POOL.draw_fused(20, n_steps=300, seed=1)
    shifted = POOL.draw_fused(40, n_steps=200, seed=2)
    shifted[:, 60:] += 1.0
    result = race(normal, {"abrupt": shifted}, onset=60)
    found = tables.leads(result, {"abrupt": shifted}, ("EWMA 0.2", "threshold"))
    assert tables.verdict(found["EWMA 0.2"]["abrupt"]) == "faster"
    assert float(found["threshold"]["abrupt"]) == 0
    assert tables.verdict(found["threshold"]["abrupt"]) == "tie"
    assert tables.leads_table(found).splitlines()[1].startswith("EWMA 0.2")


def test_a_small_calibration_set_breaks_the_bound_of_5_percent():
    rng = np.random.default_rng(0)
    assert tables.share_that_win(50, rng) > 0.07 > tables.share_that_win(1000, rng)
