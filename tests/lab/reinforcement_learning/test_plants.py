"""What the numbers of the plants mean."""

from __future__ import annotations

import numpy as np
import pytest

from deepdrift.lab.reinforcement_learning.plants import PLANTS, LabError, plant


@pytest.mark.parametrize("name", PLANTS)
def test_names_and_sizes_fit_gymnasiums_spaces(name):
    place = plant(name)
    env = place.make()
    assert env.observation_space.shape == (len(place.sensors),) == (len(place.noise),)
    assert len(place.scale) <= len(place.sensors)
    assert getattr(env.action_space, "n", None) == place.n_actions
    assert env.spec.max_episode_steps == place.n_steps
    assert 0 < place.onset < place.n_steps and place.grace <= place.onset


@pytest.mark.parametrize("name", PLANTS)
def test_a_push_changes_the_speeds_and_nothing_else(name):
    place = plant(name)
    one, two = place.make().unwrapped, place.make().unwrapped
    for env in (one, two):
        env.reset(seed=1)
    place.push(one, np.full(len(place.kick), 0.5))
    place.push(two, np.zeros(len(place.kick)))
    if name == "lunarlander":
        gap = one.lander.linearVelocity - two.lander.linearVelocity
        assert (gap.x, gap.y) == pytest.approx((0.5, 0.5), abs=1e-5)
        assert one.lander.position == two.lander.position
    else:
        moved = one.state - two.state
        assert sorted(moved) == pytest.approx([0.0] * len(moved[:-1:2]) + [0.5] * len(place.kick))


def test_control_is_lost():
    cart, lander, pendulum = PLANTS.values()
    nothing = np.zeros(8)
    assert cart.lost(nothing, True, 1.0) and not cart.lost(nothing, False, 1.0)
    assert lander.lost(nothing, True, -100.0)
    assert not lander.lost(nothing, True, 100.0) and not lander.lost(nothing, False, -3.0)
    assert pendulum.lost(np.array([0.4, 0.9, 0]), False, -1.0)
    assert not pendulum.lost(np.array([0.6, 0.8, 0]), False, -1.0)


def test_an_unknown_plant():
    with pytest.raises(LabError, match="name must be one of cartpole, lunarlander, pendulum"):
        plant("mars")
