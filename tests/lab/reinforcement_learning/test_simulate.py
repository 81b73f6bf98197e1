"""Simulation in step equals gymnasium, one environment at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepdrift.lab.reinforcement_learning.bodies import Carts
from deepdrift.lab.reinforcement_learning.controllers import controller
from deepdrift.lab.reinforcement_learning.faults import FaultyEnv, faults_of
from deepdrift.lab.reinforcement_learning.noise import NoisyEnv
from deepdrift.lab.reinforcement_learning.plants import PLANTS, LabError
from deepdrift.lab.reinforcement_learning.policies import load_policy
from deepdrift.lab.reinforcement_learning.simulate import simulate

SEEDS = (3, 4)


def test_carts_are_gymnasiums_step_by_step():
    place, seeds = PLANTS["cartpole"], range(20)
    carts, envs = Carts(place, seeds), [place.make() for _ in seeds]
    for env, seed in zip(envs, seeds, strict=True):
        env.reset(seed=seed)
    alive, random = np.ones(20, dtype=bool), np.random.default_rng(0)
    for _ in range(200):
        actions = random.integers(0, 2, 20)
        rewards, ended, lost = carts.step(actions, alive)
        for row in np.flatnonzero(alive):
            _, reward, terminated, _, _ = envs[row].step(int(actions[row]))
            np.testing.assert_allclose(carts.state[row], envs[row].unwrapped.state, rtol=1e-12)
            assert (reward, terminated) == (rewards[row], ended[row])
            assert lost[row] == terminated
        alive &= ~ended
    assert not alive.any()  # chance drops every pole


CASES = [("cartpole", f) for f in ("", *faults_of("cartpole"))]
CASES += [("lunarlander", f) for f in ("", "white noise", "lag", "weak actuator", "wind")]
CASES += [("lunarlander", f) for f in ("gravity", "frozen sensor")]
CASES += [("pendulum", f) for f in ("", "bias ramp", "weak actuator", "pole length", "nudges")]


@pytest.mark.parametrize("name, fault", CASES)
def test_the_wrappers_and_the_simulation_are_one(name, fault):
    policy, place = load_policy(name), PLANTS[name]
    runs = simulate(policy, name, SEEDS, fault, 3, onset=20)
    for row, seed in enumerate(SEEDS):
        env = NoisyEnv(place.make(), name)
        if fault:
            env = FaultyEnv(env, name, fault, 3, onset=20, policy=policy)
        seen, info = env.reset(seed=seed)
        for step in range(min(int(runs.lengths[row]), 120)):
            np.testing.assert_allclose(seen, runs.observations[row, step], atol=1e-5)
            np.testing.assert_allclose(info["state"], runs.states[row, step], atol=1e-5)
            action = runs.actions[row, step]
            action = int(action) if place.n_actions else action
            seen, reward, terminated, _, info = env.step(action)
            assert reward == pytest.approx(runs.rewards[row, step], abs=1e-4)
            ends = runs.terminated[row] and step == runs.lengths[row] - 1
            assert terminated == ends


def test_the_actions_are_the_policys():
    policy = load_policy("cartpole")
    runs = simulate(policy, "cartpole", SEEDS, "lag", 3)
    acted = policy.act(torch.from_numpy(runs.observations[0, : runs.lengths[0]]))
    np.testing.assert_array_equal(acted, runs.actions[0, : runs.lengths[0]])


def test_same_seeds_same_runs_and_company_does_not_matter():
    policy = load_policy("cartpole")
    one, two = (simulate(policy, "cartpole", s, "white noise", 3) for s in ([4], [9, 4]))
    length = one.lengths[0]
    assert two.lengths[1] == length
    np.testing.assert_allclose(
        two.observations[1, : length + 1], one.observations[0, : length + 1], atol=1e-5
    )


def test_clean_episodes_survive_with_the_noise_switched_on():
    for name, n in (("cartpole", 50), ("pendulum", 10)):
        runs = simulate(load_policy(name), name, range(500, 500 + n))
        assert (runs.lost < 0).all(), str(runs)


def test_without_noise_the_policy_sees_the_state():
    runs = simulate(load_policy("cartpole"), "cartpole", SEEDS, noise=0.0)
    np.testing.assert_array_equal(runs.observations, runs.states)


def test_failure_is_judged_by_the_true_state():
    """A sensor that reads a pole beyond its limit ends nothing; the pole itself does."""
    runs = simulate(load_policy("cartpole"), "cartpole", range(20), "white noise", 3)
    limit, last = 12 * 2 * np.pi / 360, runs.lengths[:, None]
    steps = np.arange(runs.observations.shape[1])
    before_the_end = steps < last
    assert (before_the_end & (abs(runs.observations[..., 2]) > limit)).any()
    true = np.maximum(abs(runs.states[..., 2]) / limit, abs(runs.states[..., 0]) / 2.4)
    assert not (before_the_end & (true > 1)).any()
    failed = runs.lost >= 0
    assert failed.any() and (true[failed, runs.lost[failed] + 1] > 1).all()


def test_a_handover_changes_nothing_before_it_and_acts_after():
    policy, take = load_policy("cartpole"), controller("cartpole")
    before = simulate(policy, "cartpole", range(10), "lag", 5)
    after = simulate(
        policy, "cartpole", range(10), "lag", 5, backup=take, own_sensors=True,
        switch=[105] * 9 + [-1],
    )  # fmt: skip
    np.testing.assert_array_equal(after.actions[:, :105], before.actions[:, :105])
    assert (before.lost >= 0).all()
    assert (after.lost[:9] < 0).all() and after.lost[9] == before.lost[9]


def test_padding_after_the_end():
    runs = simulate(load_policy("cartpole"), "cartpole", range(6), "lag", 5)
    assert runs.rewards.shape[1] == runs.lengths.max()
    for row, length in enumerate(runs.lengths):
        assert np.isfinite(runs.observations[row, : length + 1]).all()
        assert np.isnan(runs.observations[row, length + 1 :]).all()
        assert (runs.actions[row, length:] == -1).all()
        assert runs.returns[row] == length


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"name": "mars"}, "name must be one of"),
        ({"seeds": []}, "at least one"),
        ({"fault": "rust"}, "fault: expected one of"),
        ({"switch": [1, 2]}, "pass both or neither"),
        ({"switch": [1], "backup": controller("cartpole")}, "one step for each of 2 seeds"),
    ],
)
def test_what_cannot_be_is_refused(settings, words):
    given = {"name": "cartpole", "seeds": SEEDS} | settings
    with pytest.raises(LabError, match=words):
        simulate(load_policy("cartpole"), **given)
