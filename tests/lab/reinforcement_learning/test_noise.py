"""Noise that is always there, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from deepdrift.lab.reinforcement_learning.noise import PLANT, SENSOR, NoisyEnv, Streams
from deepdrift.lab.reinforcement_learning.plants import PLANTS

NAMES = list(PLANTS)


def steps(env, seed, n=30):
    seen = [env.reset(seed=seed)]
    for _ in range(n):
        seen.append(env.step(env.action_space.sample() * 0)[::4])
    return np.array([x[0] for x in seen]), np.array([x[1]["state"] for x in seen])


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_noise(name):
    env = NoisyEnv(PLANTS[name].make(), name)
    one, two, other = steps(env, 3), steps(env, 3), steps(env, 4)
    np.testing.assert_array_equal(one[0], two[0])
    assert not np.allclose(one[0], other[0])


@pytest.mark.parametrize("name", NAMES)
def test_without_strength_it_is_gymnasiums(name):
    env, plain = NoisyEnv(PLANTS[name].make(), name, 0.0), PLANTS[name].make()
    seen, _ = env.reset(seed=3)
    np.testing.assert_array_equal(seen, plain.reset(seed=3)[0])
    for _ in range(30):
        action = plain.action_space.sample() * 0
        np.testing.assert_array_equal(env.step(action)[0], plain.step(action)[0])


def test_sensors_and_pushes_have_their_sizes():
    place, env = PLANTS["cartpole"], NoisyEnv(PLANTS["cartpole"].make(), "cartpole")
    errors, pushes = [], []
    for seed in range(300):
        env.reset(seed=seed)
        before = env.unwrapped.state.copy()
        seen, _, _, _, info = env.step(0)
        errors.append(seen - info["state"])
        calm = PLANTS["cartpole"].make()
        calm.reset(seed=seed)
        calm.unwrapped.state = before
        pushes.append((info["state"] - calm.step(0)[0])[[1, 3]])
    np.testing.assert_allclose(np.std(errors, axis=0), place.noise, rtol=0.15)
    np.testing.assert_allclose(np.std(pushes, axis=0), place.kick, rtol=0.15)


def test_a_lander_at_rest_is_left_alone():
    """Pushed, it would never fall asleep, and no landing would ever count."""
    place, env = PLANTS["lunarlander"], PLANTS["lunarlander"].make().unwrapped
    env.reset(seed=0)
    place.push(env, np.array([1.0, 0.0, 0.0]))
    high = env.lander.linearVelocity.x
    env.lander.position = (env.lander.position.x, env.helipad_y + 0.7)
    place.push(env, np.array([1.0, 0.0, 0.0]))
    assert env.lander.linearVelocity.x == high


def test_streams_of_two_purposes_differ_and_sleepers_draw_nothing():
    plant, sensor = Streams([1], PLANT), Streams([1], SENSOR)
    assert not np.allclose(plant.normal(3), sensor.normal(3))
    two = Streams([1, 2], PLANT)
    first = two.normal(2, np.array([True, False]))
    assert (first[1] == 0).all()
    np.testing.assert_array_equal(two.normal(2)[1], Streams([2], PLANT).normal(2)[0])


def test_a_reset_without_a_seed_goes_on_to_other_noise():
    env = NoisyEnv(PLANTS["cartpole"].make(), "cartpole")
    a = env.reset(seed=1)
    b = env.reset()
    assert not np.allclose(a[0] - a[1]["state"], b[0] - b[1]["state"])
