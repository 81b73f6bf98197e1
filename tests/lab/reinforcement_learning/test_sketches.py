"""Stick figures stand where the state says, at its angle."""

from __future__ import annotations

import matplotlib.figure
import numpy as np
import pytest

from deepdrift.lab.bench.figures import GREY, INK, ORANGE
from deepdrift.lab.reinforcement_learning.plants import LabError, plant
from deepdrift.lab.reinforcement_learning.sketches import (
    draw_poses,
    draw_scene,
    outline,
    place,
)


@pytest.fixture
def ax():
    return matplotlib.figure.Figure().subplots()


def test_a_pole_is_one_metre_long_and_leans_to_the_right_for_positive_angles():
    cart, pole = outline("cartpole", [0.3, 0, 0.1, 0])
    foot, tip = pole
    assert np.linalg.norm(tip - foot) == pytest.approx(1)
    assert tip[0] == pytest.approx(np.sin(0.1)) and foot[1] == cart[:, 1].max()


def test_a_lander_turns_counterclockwise_and_keeps_its_size():
    upright, tilted = (outline("lunarlander", [0, 0, 0, 0, a, 0, 0, 0]) for a in (0.0, 0.3))
    assert len(upright) == 3  # a hull and two legs
    for a, b in zip(upright, tilted, strict=True):
        np.testing.assert_allclose(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    top, turned = upright[0][2:4].mean(axis=0), tilted[0][2:4].mean(axis=0)
    assert turned[0] == pytest.approx(-np.sin(0.3) * top[1])  # the roof goes to the left
    assert upright[1][1, 1] == upright[2][1, 1] < upright[0][:, 1].min()  # both feet below


def test_gymnasiums_units_become_metres():
    """The screen is 20 m wide and 13.33 m high; the observation is in halves of both."""
    assert place("lunarlander", [1.0, 1.5, 0, 0, 0, 0, 0, 0]) == pytest.approx((10, 10), abs=0.01)
    assert place("cartpole", [-2.4, 9.0, 0.2, 0]) == (-2.4, 0.0)


def test_the_scale_is_that_of_a_real_lander():
    """Ten times the horizontal observation is Box2D's distance from the middle in metres."""
    pytest.importorskip("Box2D")
    env = plant("lunarlander").make().unwrapped
    state, _ = env.reset(seed=3)
    for _ in range(20):
        state, *_ = env.step(3)
    assert 10 * state[0] == pytest.approx(env.lander.position.x - 10, abs=1e-4)
    assert place("lunarlander", state)[0] == pytest.approx(env.lander.position.x - 10, abs=1e-4)
    assert place("lunarlander", state)[1] == pytest.approx(
        env.lander.position.y - env.helipad_y - 18 / 30, abs=0.01
    )
    assert state[4] == pytest.approx(env.lander.angle)


def test_poses_are_labelled_with_their_steps_in_their_colours(ax):
    states = np.zeros((11, 4))
    states[10] = [1.2, 0, 0.2, 0]
    draw_poses(ax, "cartpole", states, [0, 5, 10], [INK, INK, ORANGE])
    assert [text.get_text() for text in ax.texts] == ["0", "5", "10"]
    poles = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_color() != GREY]
    assert [line.get_color() for line in poles] == [INK, INK, ORANGE]
    leans = [np.diff(line.get_xdata())[0] for line in poles]
    assert leans[:2] == [0, 0] and leans[2] == pytest.approx(1.2 * np.sin(0.2))


def test_a_scene_shows_the_way_up_to_its_step_only(ax):
    states = np.zeros((50, 8))
    states[:, 0], states[:, 1] = np.linspace(0, 0.49, 50), 1.0
    draw_scene(ax, "lunarlander", states, 10)
    way = max(ax.lines, key=lambda line: len(line.get_xdata()))
    assert len(way.get_xdata()) == 11 and way.get_xdata()[-1] == pytest.approx(1.0)


def test_a_cart_shows_its_past_only_once_there_is_one(ax):
    states = np.zeros((50, 4))
    draw_scene(ax, "cartpole", states, 5)
    few = len(ax.lines)
    ax.clear()
    draw_scene(ax, "cartpole", states, 25)
    assert len(ax.lines) == few + 4  # cart and pole, twice


@pytest.mark.parametrize("draw", [place, outline])
def test_a_pendulum_has_no_drawing(draw):
    with pytest.raises(LabError, match="drawn are cartpole, lunarlander, got 'pendulum'"):
        draw("pendulum", [1, 0, 0])
