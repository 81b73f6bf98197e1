"""What became of episodes, checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from deepdrift.lab.reinforcement_learning.outcomes import (
    OUTCOMES,
    Outcomes,
    Survival,
    outcome_table,
)
from deepdrift.lab.reinforcement_learning.plants import LabError
from deepdrift.lab.reinforcement_learning.policies import load_policy
from deepdrift.lab.reinforcement_learning.simulate import simulate


def judged(**changes):
    given = {
        "lost": [29, 29, 29, 29, -1, -1],
        "lengths": [30, 30, 30, 30, 100, 100],
        "alarms": [25, 26, -1, 9, 40, -1],
        "onset": 10,
    }
    return Outcomes.of(**(given | changes))


def test_every_outcome_once():
    """Observation 30 shows the loss; 25 is five steps before, 26 only four."""
    outcomes = judged()
    assert [OUTCOMES[k] for k in outcomes.kinds] == [
        "caught in time", "too late", "missed", "false alarm", "benign, alarm", "benign, quiet",
    ]  # fmt: skip
    assert outcomes.lead.tolist() == [5, 4, 0, -1, 60, -1]
    assert outcomes.allowance.tolist() == [20, 20, 20, 20, 90, 90]
    assert (outcomes.caught.value, outcomes.caught.n_in) == (pytest.approx(1 / 3), 3)
    assert outcomes.benign_alarms.value == 0.5


def test_an_alarm_at_the_failure_is_too_late_and_one_after_it_is_none():
    late = judged(lost=[29, 29], lengths=[200, 200], alarms=[30, 31])
    assert [OUTCOMES[k] for k in late.kinds] == ["too late", "missed"]
    assert late.lead.tolist() == [0, 0]


def test_an_alarm_at_the_onset_is_not_false():
    assert judged(lost=[29], lengths=[30], alarms=[10]).count("caught in time") == 1


def test_clean_episodes_know_two_outcomes():
    clean = judged(lost=[-1, -1], lengths=[100, 100], alarms=[-1, 90], clean=True)
    assert [OUTCOMES[k] for k in clean.kinds] == ["benign, quiet", "false alarm"]
    assert clean.share("false alarm").value == 0.5


def test_the_sentence_names_what_the_plant_allows():
    assert judged().sentence(5) == (
        "33% [1%, 91%] of 3 failures had at least 5 steps; the plant itself allows 20 in half of "
        "them and 20 at most."
    )
    assert judged(lost=[-1] * 6).sentence() == "Control was lost in none of 6 episodes."


def test_pooling_adds_episodes():
    both = Outcomes.pooled([judged(), judged()])
    assert len(both) == 12 and both.count("missed") == 2
    with pytest.raises(LabError, match="same in_time"):
        Outcomes.pooled([judged(), judged(in_time=3)])


def test_survival_against_a_product_by_hand():
    """At 2: 5 at risk, one ends; at 4: 3 at risk (3 was cut off), two end; at 7 cut off."""
    found = Survival.of([2, 3, 4, 4, 7], [True, False, True, True, False])
    assert found.beyond(1) == 1
    assert found.beyond(2) == pytest.approx(4 / 5)
    assert found.beyond(4) == pytest.approx(4 / 5 * 1 / 3)
    assert found.beyond(100) == pytest.approx(4 / 15)
    assert (found.n, found.n_censored) == (5, 2)
    assert found.low[0] < 0.8 < found.high[0]


def test_survival_without_an_end_stays_at_one():
    found = Survival.of([3, 9], [False, False])
    assert found.beyond(50) == 1 and np.isnan(found.low).all()


def test_lead_times_leave_false_alarms_and_quiet_survivors_out():
    """Ends: 5, 4 and 0; cut off: 60."""
    lead = judged().lead_times()
    assert (lead.n, lead.n_censored) == (4, 1)
    assert lead.beyond(0) == pytest.approx(3 / 4)
    assert lead.beyond(4) == pytest.approx(2 / 4)
    assert lead.beyond(5) == pytest.approx(1 / 4)
    assert judged(lost=[-1], lengths=[9], alarms=[-1]).lead_times() is None


def test_no_warning_can_leave_more_than_the_plant_allows():
    runs = simulate(load_policy("cartpole"), "cartpole", range(30), "pole length", 3)
    alarms = np.random.default_rng(0).integers(-1, 140, 30)
    outcomes = Outcomes.of_runs(runs, alarms)
    assert (outcomes.lead <= outcomes.allowance).all()
    assert outcomes.failed.all() and (outcomes.allowance[0] == runs.lost[0] + 1 - runs.onset)


def test_the_table_counts_everyone():
    text = outcome_table({"lag": judged()})
    assert text.splitlines()[1].split() == ["lag", "6", "1", "1", "1", "1", "1", "1"]


def test_series_of_different_length_are_refused():
    with pytest.raises(LabError, match="three series of one length"):
        Outcomes.of([1], [2, 3], [1], 0)
