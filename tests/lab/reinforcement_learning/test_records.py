"""The shipped results: what they hold, and that they can be made again."""

from __future__ import annotations

import numpy as np
import pytest

from deepdrift.lab.bench.evaluation import false_alarm_interval
from deepdrift.lab.data import shipped
from deepdrift.lab.reinforcement_learning.faults import DEVELOPMENT, JUDGED, faults_of
from deepdrift.lab.reinforcement_learning.plants import LabError, plant
from deepdrift.lab.reinforcement_learning.policies import load_policy
from deepdrift.lab.reinforcement_learning.records import (
    MULTIPLES,
    SENSES,
    SWEPT,
    arrays_of,
    load_records,
    paired,
    read_records,
)
from deepdrift.lab.reinforcement_learning.simulate import simulate

PLANTS = ("cartpole", "lunarlander")


@pytest.fixture(scope="module")
def records():
    return load_records()


def test_the_file_is_small():
    assert shipped("reinforcement.npz").stat().st_size <= 1_500_000


@pytest.mark.parametrize("name", PLANTS)
def test_a_hundred_episodes_of_every_fault_and_severity(records, name):
    record = records[name]
    assert tuple(record.faults) == faults_of(name)
    assert record.lost.shape == (len(record.faults), 5, 100)
    assert len(record.all_outcomes()) == 300 * len(record.faults)
    assert len(record.outcomes("lag")) == 300


@pytest.mark.parametrize("name", PLANTS)
def test_numbers_agree_with_each_other(records, name):
    record = records[name]
    assert (record.lost < record.lengths).all()
    assert (record.alarms <= record.lengths).all()
    main = record.alarms[int(record.main)]
    both = (record.key_alarms >= 0) & (main >= 0)
    assert (record.key_alarms[both] >= main[both]).all()
    assert ((record.key_alarms < 0) | (main >= 0)).all()
    named = (main >= plant(name).onset) == (record.named >= 0)
    assert named.all()
    judged = [s - 1 for s in JUDGED]
    learnt = [s - 1 for s in DEVELOPMENT]
    assert np.isfinite(record.taken_returns[:, :, judged]).all()
    assert np.isnan(record.taken_returns[:, :, learnt]).all()


@pytest.mark.parametrize("name", PLANTS)
def test_a_higher_threshold_never_warns_earlier(records, name):
    record = records[name]
    late = np.where(record.sweep < 0, 10**4, record.sweep)
    assert (np.diff(late, axis=1) >= 0).all()
    one = MULTIPLES.index(1.0)
    for row, signal in enumerate(SWEPT):
        place = list(record.signals).index(signal)
        np.testing.assert_array_equal(record.sweep[row, one], record.alarms[place])


@pytest.mark.parametrize("name", PLANTS)
def test_false_alarms_on_clean_episodes_lie_in_their_band(records, name):
    record = records[name]
    n = int(record.calibration[2])
    low, high = false_alarm_interval(n, 0.05, 0.999, n_test=len(record.clean_lost))
    for signal in record.signals[:-1]:
        rate = record.clean_outcomes(str(signal)).count("false alarm") / len(record.clean_lost)
        assert low <= rate <= high, signal


@pytest.mark.parametrize("name", PLANTS)
def test_clean_episodes_survive(records, name):
    lost = (records[name].clean_lost >= 0).mean()
    assert lost <= 0.02


def test_a_recorded_fault_happens_again(records):
    record, row = records["cartpole"], list(faults_of("cartpole")).index("pole length")
    runs = simulate(load_policy("cartpole"), "cartpole", range(20_000, 20_030), "pole length", 3)
    agree = runs.lost == record.lost[row, 2, :30]
    assert agree.mean() >= 0.8  # another processor may decide an action on the edge


def test_shares_of_a_row_by_hand(records):
    record = records["cartpole"]
    outcomes = record.outcomes("lag", severities=[5])
    lost, alarms = record.lost[5, 4], record.alarms[int(record.main), 5, 4]
    assert record.faults[5] == "lag"
    caught = (lost >= 0) & (alarms >= 100) & (lost + 1 - alarms >= 5)
    assert outcomes.count("caught in time") == caught.sum()
    own = record.gain("lag", "own sensors")
    hand = record.taken_returns[SENSES.index("own sensors"), 5][[0, 2, 4]]
    assert own.value == pytest.approx((hand - record.returns[5][[0, 2, 4]]).mean())


def test_writing_and_reading(records, tmp_path):
    np.savez(tmp_path / "r.npz", **arrays_of(records["cartpole"]))
    again = read_records(tmp_path / "r.npz")["cartpole"]
    np.testing.assert_array_equal(again.alarms, records["cartpole"].alarms)
    assert again.main_signal == "hidden innovation"


def test_what_is_not_recorded_is_refused(records):
    record = records["cartpole"]
    with pytest.raises(LabError, match="fault: expected one of"):
        record.outcomes("wind")
    with pytest.raises(LabError, match="signal: expected one of"):
        record.outcomes("lag", "luck")
    with pytest.raises(LabError, match="multiple: expected one of"):
        record.outcomes("lag", multiple=1.1)
    with pytest.raises(LabError, match="senses: expected one of same sensors"):
        record.gain("lag", "keen sensors")
    for none in ([0], [6], [1, -1], []):  # severity 0 must not be the last one, read backwards
        for ask in (record.outcomes, record.confusion, record.gain):
            given = {"senses": "own sensors"} if ask == record.gain else {}
            fault = ["lag"] if ask == record.confusion else "lag"
            with pytest.raises(LabError, match="severities: expected one or more of"):
                ask(fault, severities=none, **given)
    with pytest.raises(LabError, match="at least two pairs"):
        paired(np.array([1.0]), np.array([1.0]))


def test_names_are_counted_once_each(records):
    for record in records.values():
        table = record.confusion()
        total = sum(sum(row.values()) for row in table.values())
        judged = [s - 1 for s in JUDGED]
        assert total == (record.named[:, judged] >= 0).sum()
