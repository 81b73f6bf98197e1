"""Controllers that take over."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_are

from deepdrift.lab.reinforcement_learning.controllers import (
    CART_GAINS,
    cart_controller,
    controller,
    lander_controller,
)
from deepdrift.lab.reinforcement_learning.plants import LabError
from deepdrift.lab.reinforcement_learning.simulate import simulate


def test_the_gains_solve_the_riccati_equation():
    """Linearised upright from Barto, Sutton and Anderson's equations, Euler steps of 0.02 s."""
    g, pole, total, half, tau = 9.8, 0.1, 1.1, 0.5, 0.02
    inertia = half * (4 / 3 - pole / total)
    a, b = np.eye(4), np.zeros((4, 1))
    a[0, 1] = a[2, 3] = tau
    a[3, 2], a[1, 2] = tau * g / inertia, -tau * pole * half / total * g / inertia
    b[3, 0] = -tau / total / inertia
    b[1, 0] = tau * (1 / total + pole * half / total**2 / inertia)
    q, r = np.diag([1.0, 1.0, 10.0, 1.0]), np.array([[0.01]])
    p = solve_discrete_are(a, b, q, r)
    gains = np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a)[0]
    np.testing.assert_allclose(CART_GAINS, gains, atol=0.06)


def test_the_cart_controller_balances():
    never = torch.nn.Linear(4, 2)
    runs = simulate(never, "cartpole", range(20), backup=cart_controller,
                    switch=np.zeros(20, int))  # fmt: skip
    assert (runs.lost < 0).all()


def test_the_lander_controller_is_gymnasiums_but_for_the_damping():
    from gymnasium.envs.box2d.lunar_lander import heuristic

    env = SimpleNamespace(unwrapped=SimpleNamespace(continuous=False))
    readings = np.random.default_rng(0).normal(0, 0.4, (500, 8)).astype(np.float32)
    readings[:, 6:] = readings[:, 6:] > 0.4
    expected = [int(heuristic(env, row)) for row in readings.tolist()]
    assert lander_controller(readings, damping=0.5).tolist() == expected
    assert set(expected) == {0, 1, 2, 3}


def test_the_pendulum_controller_swings_up():
    never = torch.nn.Linear(3, 1)
    runs = simulate(never, "pendulum", range(10), backup=controller("pendulum"),
                    switch=np.zeros(10, int))  # fmt: skip
    assert (runs.lost < 0).all()
    assert (abs(runs.actions) <= 2).all()


def test_an_unknown_plant():
    with pytest.raises(LabError, match="name must be one of"):
        controller("mars")
