"""What is simulated here and now is what is recorded; a second phase has a line of its own."""

from __future__ import annotations

import numpy as np
import pytest

from deepdrift.lab.reinforcement_learning import live as L
from deepdrift.lab.reinforcement_learning.plants import LabError
from deepdrift.lab.reinforcement_learning.records import load_records
from deepdrift.lab.reinforcement_learning.signals import first_above
from deepdrift.lab.reinforcement_learning.traces import TRACED


@pytest.fixture(scope="module")
def cart():
    return L.Live.of("cartpole", 900)


@pytest.fixture(scope="module")
def pendulum():
    return L.Live.of("pendulum", 120)


def test_thresholds_are_the_recorded_ones(cart):
    record = load_records()["cartpole"]
    for name, line in zip(record.signals, record.thresholds, strict=True):
        if name != "fixed 0.15":
            assert cart.signals.thresholds[str(name)] == pytest.approx(float(line), rel=1e-3)


@pytest.mark.parametrize("severity", [2, 5])
def test_recorded_episodes_come_out_again(cart, severity):
    """Both kinds of seeds: of the judged severities and of those for development."""
    agreed = cart.agreement(load_records()["cartpole"], ["delayed actuator"], [severity], 5)
    assert len(agreed) == 9 and set(agreed.values()) == {(5, 5)}


def test_other_episodes_do_not_agree(cart):
    """The check can fail: a lag is not what is recorded for a longer pole."""

    class Shifted(L.Live):
        def runs(self, fault, severity, seeds):
            return super().runs("pole length", severity, seeds)

    other = Shifted(cart.plant, cart.policy, cart.clean, cart.signals)
    agreed = other.agreement(load_records()["cartpole"], ["lag"], [5], 5)
    assert agreed["loss of control"][0] < 5


def test_the_record_of_another_plant_is_refused(cart):
    with pytest.raises(LabError, match="expected that of cartpole, got lunarlander"):
        cart.agreement(load_records()["lunarlander"], ["lag"], [5], 5)


def test_traces_of_everything_have_recorded_seeds(cart):
    found = cart.all_traces(["lag"], (4, 5), n=2, n_clean=1)
    assert [(t.fault, t.severity, t.seed) for t in found] == [
        ("lag", 4, 30_000), ("lag", 4, 30_001), ("lag", 5, 20_000), ("lag", 5, 20_001),
        ("", 0, 10_000),
    ]  # fmt: skip
    assert set(found[0].scores) == set(TRACED)


def test_a_late_line_reads_late_maxima_only(pendulum):
    """Of the same 80 calibration episodes: with 5 % the fifth largest of them."""
    line = L.late_thresholds(pendulum, 100, ["hidden innovation"])["hidden innovation"]
    rest = pendulum.clean.rows(np.arange(len(pendulum.clean)) % 3 != 0)
    scores = pendulum.signals.smoothed(rest, ["hidden innovation"])["hidden innovation"]
    assert len(scores) == 80
    assert line == pytest.approx(np.sort(scores[:, 100:].max(axis=1))[-4])  # ceil(81 * 0.95) = 77
    whole = L.late_thresholds(pendulum, 0, ["hidden innovation"])["hidden innovation"]
    assert whole == pytest.approx(pendulum.signals.thresholds["hidden innovation"])


def test_late_alarms_are_first_alarms_from_there_on():
    scores = np.array([[9.0, 0.0, 2.0, 3.0], [9.0, 0.0, 0.0, 0.0]])
    assert L.late_alarms(scores, 1.0, begin=0).tolist() == first_above(scores, 1.0).tolist()
    assert L.late_alarms(scores, 1.0, begin=1).tolist() == [3, -1]


def test_the_wild_beginning_hides_a_lag(pendulum):
    cases = {"clean": ("", 0), "lag": ("lag", 3)}
    table = L.phase_table(pendulum, 100, cases, range(2000, 2010))
    assert table["lag"]["one line"] == 0 and table["lag"]["late line"] == 10
    assert table["clean"]["lost"] == 0 and table["clean"]["late line"] <= 4


def test_a_noisy_environment_tells_its_true_state():
    env = L.noisy_env("cartpole")
    seen, info = env.reset(seed=1)
    assert 0 < np.abs(seen - info["state"]).max() < 0.2
