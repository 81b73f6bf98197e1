"""Names from residuals: by hand on made-up runs, then on the agent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepdrift.lab.reinforcement_learning.naming import (
    DELAYS,
    NOT_SURE,
    PER_SENSOR,
    POOLED,
    Residuals,
    action_profile,
    confusion,
    features,
    learn_names,
    stuck_sensor,
    true_names,
)
from deepdrift.lab.reinforcement_learning.plants import LabError
from deepdrift.lab.reinforcement_learning.policies import load_policy
from deepdrift.lab.reinforcement_learning.simulate import simulate


@pytest.fixture(scope="module")
def policy():
    return load_policy("cartpole")


@pytest.fixture(scope="module")
def residuals(policy):
    return Residuals(simulate(policy, "cartpole", range(60)))


def feature(values, name):
    """One number per sensor."""
    per_sensor = values[: -len(POOLED)].reshape(-1, len(PER_SENSOR))
    return per_sensor[:, PER_SENSOR.index(name)]


def test_true_names(policy):
    runs = simulate(policy, "cartpole", range(3), "frozen sensor", 1, sensor=2)
    assert true_names(runs) == ["sensor: angle"] * 3
    assert true_names(replace(runs, fault="delayed actuator")) == ["delay"] * 3


def test_clean_residuals_have_unit_size_and_mean_zero(policy, residuals):
    runs = simulate(policy, "cartpole", range(900, 940))
    found = np.concatenate([residuals.of(runs, row)[0] for row in range(40)])
    np.testing.assert_allclose(found.std(axis=0), 1, atol=0.05)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.1)


def test_the_action_pushes_the_cart_and_tips_the_pole(policy, residuals):
    runs = simulate(policy, "cartpole", [900])
    _, effect = residuals.of(runs, 0)
    right = runs.actions[0, :500] == 1
    assert (effect[right, 1] > 0).all() and (effect[~right, 1] < 0).all()
    assert (effect[right, 3] < 0).all() and (effect[~right, 3] > 0).all()


def test_a_frozen_sensor_repeats_itself_and_a_dropped_one_reads_zero(policy, residuals):
    frozen = simulate(policy, "cartpole", [3], "frozen sensor", 5, sensor=1)
    values = features(residuals, frozen, 0, 105)
    assert feature(values, "repeats")[1] > 0.45 and feature(values, "repeats")[[0, 2, 3]].max() == 0
    dropped = simulate(policy, "cartpole", [3], "dropped sensor", 5, sensor=1)
    values = features(residuals, dropped, 0, 105)
    assert feature(values, "zeros")[1] > 0.45 and feature(values, "zeros")[[0, 2, 3]].max() == 0


def profile(residuals, runs, row, begin=115, end=155):
    return dict(zip(DELAYS, action_profile(*residuals.of(runs, row), begin, end), strict=True))


def test_a_weak_motor_misses_its_share_of_the_action(policy, residuals):
    runs = simulate(policy, "cartpole", range(8), "weak actuator", 4)  # 70 % lost
    found = [profile(residuals, runs, row) for row in range(8)]
    assert np.mean([f[0] for f in found]) == pytest.approx(-0.7, abs=0.15)
    assert abs(np.mean([f[4] for f in found])) < 0.1


@pytest.mark.parametrize("fault", ["lag", "delayed actuator"])
def test_a_delay_follows_the_action_of_then(policy, residuals, fault):
    """Two steps late; a policy's log cannot tell on which side of it the delay is."""
    runs = simulate(policy, "cartpole", range(8), fault, 2)
    found = [profile(residuals, runs, row) for row in range(8)]
    means = {d: np.mean([f[d] for f in found]) for d in DELAYS}
    assert means[0] < -0.3
    assert max(means, key=means.get) == 2 and means[2] > 0.3


def test_rules_of_some_severities_name_faults_of_others(policy, residuals):
    faults = ("weak actuator", "delayed actuator", "pole length", "white noise")

    def example(fault, severity, first):
        runs = simulate(policy, "cartpole", range(first, first + 10), fault, severity)
        return runs, np.full(10, 112)

    namer = learn_names(residuals, [example(f, s, 0) for f in faults for s in (2, 4)], 0.5)
    assert set(namer.names) == {"actuator", "delay", "dynamics", "all sensors"}
    for fault in faults:
        runs, alarms = example(fault, 3, 500)
        named = namer.name(runs, alarms)
        assert np.mean([a == b for a, b in zip(named, true_names(runs), strict=True)]) >= 0.8
    careful = replace(namer, least=1.1)
    assert set(careful.name(runs, alarms)) == {NOT_SURE}
    assert set(namer.name(runs, np.full(10, -1))) == {""}


def test_confusion_leaves_the_unalarmed_out():
    found = confusion(["a", "a", "b"], ["a", "", "a"])
    assert found == {"a": {"a": 1, NOT_SURE: 0}, "b": {"a": 1, NOT_SURE: 0}}


def test_nothing_learnt_from_nothing(residuals):
    with pytest.raises(LabError, match="examples"):
        learn_names(residuals, [])


def test_one_stuck_sensor_is_named_without_learning():
    readings = np.random.default_rng(0).normal(size=(60, 3))
    assert stuck_sensor(readings, 30, 3) is None
    readings[28:32, 1] = readings[28, 1]  # three repetitions
    assert stuck_sensor(readings, 30, 3) == 1
    assert stuck_sensor(readings, 30, 1) is None  # the switches do not count
    assert stuck_sensor(readings, 59, 3) is None  # long ago
    readings[28:32, 2] = readings[28, 2]
    assert stuck_sensor(readings, 30, 3) is None  # two: not one sensor


def test_faults_of_one_name_are_learnt_apart_and_added_up(policy, residuals):
    examples = []
    for fault in ("frozen sensor", "dropped sensor", "white noise"):
        runs = simulate(policy, "cartpole", range(12), fault, 4, sensor=2)
        examples.append((runs, np.full(12, 106)))
    namer = learn_names(residuals, examples, 0.5)
    assert namer.names == ("all sensors", "sensor: angle")
    rows, chances = namer.probabilities(*examples[1])
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert rows.tolist() == list(range(12)) and (chances.argmax(axis=1) == 1).mean() > 0.9
