"""Faults do what they say, begin when they say, and end with the episode."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepdrift.lab.reinforcement_learning.channels import Lag
from deepdrift.lab.reinforcement_learning.faults import (
    DEVELOPMENT,
    FAULTS,
    JUDGED,
    KINDS,
    FaultyEnv,
    faults_of,
)
from deepdrift.lab.reinforcement_learning.noise import NoisyEnv
from deepdrift.lab.reinforcement_learning.plants import PLANTS, LabError
from deepdrift.lab.reinforcement_learning.policies import load_policy
from deepdrift.lab.reinforcement_learning.simulate import simulate

CART = PLANTS["cartpole"]
SEEDS = (5, 6, 7)


def start(name, severity=3, onset=0, sensor=None, plant="cartpole", seeds=SEEDS):
    policy = torch.nn.Linear(len(PLANTS[plant].sensors), PLANTS[plant].n_actions or 1)
    return FAULTS[name].start(
        PLANTS[plant], severity, seeds, onset=onset, sensor=sensor, policy=policy
    )


def ramp(step, width=4):
    """Readings (3, width) that tell step, row and column."""
    rows, columns = np.indices((3, width))
    return (100 * step + 10 * rows + columns + 1).astype(np.float32)


def test_development_and_judged_severities_share_none():
    assert not set(DEVELOPMENT) & set(JUDGED)
    assert sorted({*DEVELOPMENT, *JUDGED}) == [1, 2, 3, 4, 5]


def test_every_plant_has_at_least_ten_faults_of_every_kind():
    for name in PLANTS:
        assert len(faults_of(name)) >= 10
        assert {FAULTS[f].kind for f in faults_of(name)} == set(KINDS)


@pytest.mark.parametrize("name", FAULTS)
def test_levels_grow(name):
    for levels in FAULTS[name].levels.values():
        assert len(levels) == 6 and (np.diff(levels) > 0).all()


@pytest.mark.parametrize("name", faults_of("cartpole"))
def test_before_the_onset_and_at_severity_zero_nothing_happens(name):
    policy = load_policy("cartpole")
    clean = simulate(policy, "cartpole", SEEDS)
    broken = simulate(policy, "cartpole", SEEDS, name, 5, onset=30)
    np.testing.assert_array_equal(broken.observations[:, :30], clean.observations[:, :30])
    np.testing.assert_array_equal(broken.states[:, :31], clean.states[:, :31])
    none = simulate(policy, "cartpole", SEEDS, name, 0, onset=30)
    np.testing.assert_array_equal(none.observations, clean.observations)


def test_white_noise_has_the_size_it_says():
    channel = start("white noise", severity=3, seeds=range(200))
    seen = np.stack([channel.sense(t, np.zeros((200, 4), np.float32)) for t in range(100)])
    np.testing.assert_allclose(seen.std(axis=(0, 1)), 2 * np.array(CART.scale), rtol=0.02)


def test_slow_noise_remembers():
    channel = start("slow noise", severity=3, seeds=range(200))
    seen = np.stack([channel.sense(t, np.zeros((200, 4), np.float32)) for t in range(200)])
    np.testing.assert_allclose(seen.std(axis=(0, 1)), CART.scale, rtol=0.05)
    now, before = seen[1:, :, 0].ravel(), seen[:-1, :, 0].ravel()
    assert np.corrcoef(now, before)[0, 1] == pytest.approx(0.95, abs=0.01)


def test_the_noise_of_a_sensor_that_is_a_switch_stays_away():
    channel = start("white noise", plant="lunarlander")
    seen = channel.sense(0, np.zeros((3, 8), np.float32))
    assert (seen[:, :6] != 0).all() and (seen[:, 6:] == 0).all()


def test_a_bias_grows_in_a_straight_line_in_one_sensor():
    channel = start("bias ramp", severity=2, onset=10, sensor=2)
    zero = np.zeros((3, 4), np.float32)
    assert (channel.sense(10, zero) == 0).all()
    seen = channel.sense(60, zero)  # one usual size (0.03 rad) per 100 steps
    np.testing.assert_allclose(abs(seen[:, 2]), 0.015, rtol=1e-6)
    assert (seen[:, [0, 1, 3]] == 0).all()


def test_a_frozen_sensor_holds_and_lets_go():
    channel = start("frozen sensor", severity=1, onset=3, sensor=1)  # two steps
    seen = [channel.sense(t, ramp(t)) for t in range(7)]
    assert [float(s[0, 1]) for s in seen] == [2, 102, 202, 302, 302, 502, 602]
    assert [float(s[0, 0]) for s in seen] == [1, 101, 201, 301, 401, 501, 601]


def test_a_dropped_sensor_reads_zero_as_often_as_it_says():
    channel = start("dropped sensor", severity=3, sensor=0, seeds=range(500))
    seen = np.stack([channel.sense(t, np.ones((500, 4), np.float32)) for t in range(40)])
    assert (seen[..., 0] == 0).mean() == pytest.approx(0.4, abs=0.01)
    assert (seen[..., 1:] == 1).all()


def test_lag_shows_the_past():
    channel = start("lag", severity=2, onset=4)
    seen = [float(channel.sense(t, ramp(t))[0, 0]) for t in range(7)]
    assert seen == [1, 101, 201, 301, 201, 301, 401]


def test_a_delayed_action_arrives_later():
    channel = start("delayed actuator", severity=2, onset=3)
    sent = [int(channel.act(t, np.full(3, t))[0]) for t in range(7)]
    assert sent == [0, 1, 2, 1, 2, 3, 4]


def test_the_lander_misfires_as_often_as_it_says():
    channel = start("weak actuator", severity=3, plant="lunarlander", seeds=range(500))
    sent = np.stack([channel.act(t, np.full(500, 2)) for t in range(40)])
    assert set(np.unique(sent)) == {0, 2}
    assert (sent == 0).mean() == pytest.approx(0.5, abs=0.01)


def test_the_pendulums_torque_is_scaled():
    channel = start("weak actuator", severity=3, plant="pendulum")
    np.testing.assert_allclose(channel.act(0, np.full((3, 1), 2.0, np.float32)), 1.0)


def test_nudges_lower_the_margin_of_every_answer():
    policy = load_policy("cartpole")
    channel = FAULTS["nudges"].start(CART, 2, range(50), onset=0, policy=policy)
    readings = np.random.default_rng(0).normal(0, CART.scale, (50, 4)).astype(np.float32)
    seen = channel.sense(0, readings)
    np.testing.assert_allclose(abs(seen - readings), np.tile(0.5 * np.array(CART.scale), (50, 1)),
                               rtol=1e-4)  # fmt: skip
    with torch.no_grad():
        chosen = policy(torch.from_numpy(readings)).argmax(1, keepdim=True)
        before, after = (
            (2 * policy(torch.from_numpy(x)).gather(1, chosen)[:, 0]
             - policy(torch.from_numpy(x)).sum(1))
            for x in (readings, seen)
        )  # fmt: skip
    assert (after < before).all()


def test_a_longer_pole_takes_its_mass_along():
    env = FaultyEnv(NoisyEnv(CART.make(), "cartpole"), "cartpole", "pole length", 3, onset=1)
    env.reset(seed=0)
    env.step(0)
    body = env.unwrapped
    assert body.length == 0.5
    env.step(1)
    assert body.length == pytest.approx(1.25)
    assert body.polemass_length == pytest.approx(0.125)  # masspole * length, cached by CartPole
    env.reset(seed=0)
    assert (body.length, body.polemass_length) == (0.5, 0.05)


def test_gravity_changes_in_mid_flight_and_comes_back():
    place = PLANTS["lunarlander"]
    env = FaultyEnv(NoisyEnv(place.make(), place.name), place.name, "gravity", 3, onset=1)
    env.reset(seed=0)
    for _ in range(3):
        env.step(0)
    assert env.unwrapped.world.gravity.y == pytest.approx(-14)
    env.reset(seed=0)
    assert env.unwrapped.world.gravity.y == pytest.approx(-10)


def test_wind_blows_from_the_onset_only():
    place = PLANTS["lunarlander"]
    env = FaultyEnv(NoisyEnv(place.make(), place.name), place.name, "wind", 3, onset=1)
    env.reset(seed=0)
    env.step(0)
    assert not env.unwrapped.enable_wind
    env.step(0)
    assert env.unwrapped.enable_wind and env.unwrapped.wind_power == pytest.approx(15)
    env.reset(seed=0)
    assert not env.unwrapped.enable_wind


def test_a_wrapped_environment_can_be_made_again_from_its_spec():
    gymnasium = pytest.importorskip("gymnasium")
    env = FaultyEnv(NoisyEnv(CART.make(), "cartpole"), "cartpole", "lag", 3, onset=1)
    again = gymnasium.make(env.spec)
    one, two = env.reset(seed=3)[0], again.reset(seed=3)[0]
    for action in (0, 1, 1, 0):
        np.testing.assert_array_equal(one, two)
        one, two = env.step(action)[0], again.step(action)[0]


def test_an_episodes_fault_does_not_depend_on_its_company():
    alone, together = start("white noise", seeds=[6]), start("white noise")
    zero = np.zeros((3, 4), np.float32)
    for step in range(3):
        one, all_ = alone.sense(step, zero[:1]), together.sense(step, zero)
        np.testing.assert_array_equal(one[0], all_[1])


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: FAULTS["wind"].parameter("cartpole", 1), "no fault of 'cartpole'"),
        (lambda: FAULTS["lag"].parameter("cartpole", 6), "severity: expected a number from 0 to 5"),
        (lambda: FAULTS["lag"].parameter("cartpole", float("nan")), "severity"),
        (lambda: start("bias ramp", sensor=4), "sensor: expected 0 to 3, got 4"),
        (lambda: FAULTS["nudges"].start(CART, 1, [0]), "pass policy="),
    ],
)
def test_what_cannot_be_is_refused(call, words):
    with pytest.raises(LabError, match=words):
        call()


def test_lag_remembers_no_more_than_it_needs():
    channel = Lag(CART, 3.0, SEEDS, 0)
    for step in range(50):
        channel.sense(step, ramp(step))
    assert len(channel._past) == 4
