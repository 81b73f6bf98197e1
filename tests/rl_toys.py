"""Small environments and policies for the tests of agents."""

from __future__ import annotations

import hashlib

import gymnasium
import numpy as np
import torch
from torch import nn


class Walk(gymnasium.Env):
    """A point in the plane with noise that is pushed left or right; episodes of random length.

    ``x' = decay x + push (2 a - 1) + noise``; a start is uniform in ``+-spread``.
    """

    def __init__(self, decay=0.9, push=0.1, noise=0.1, spread=0.1, bounded=False, lengths=(8, 24)):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.decay, self.push, self.noise, self.spread = decay, push, noise, spread
        self.bounded, self.lengths = bounded, lengths
        self.log = []  # observations and actions of every episode, as they really were

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-self.spread, self.spread, 2)
        self.left = int(self.np_random.integers(*self.lengths))
        self.log.append(([self.x.astype(np.float32)], []))
        return self.x.astype(np.float32), {}

    def step(self, action):
        draw = self.np_random.uniform(-1, 1, 2) if self.bounded else self.np_random.normal(size=2)
        self.x = self.decay * self.x + self.push * (2 * action - 1) + self.noise * draw
        self.left -= 1
        self.log[-1][0].append(self.x.astype(np.float32))
        self.log[-1][1].append(int(action))
        return self.x.astype(np.float32), 1.0, self.left == 0, False, {}


def jumps():
    """Resets far apart, steps of at most 1: a step across a reset shows."""
    return Walk(decay=1.0, push=0.1, noise=0.5, spread=1000.0, bounded=True, lengths=(1, 3))


def network(width=2, n_actions=2, hidden=8, seed=0):
    """A small policy with two hidden layers, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(),
            nn.Linear(hidden, n_actions),
        ).eval()  # fmt: skip
    for layer in model[::2]:  # an odd function: both actions are taken
        nn.init.zeros_(layer.bias)
    return model


def act(policy, obs):
    """What a plain module does, as its owner asks it."""
    with torch.no_grad():
        return policy(torch.from_numpy(np.atleast_2d(obs))).argmax(dim=1).numpy()


def digest(trajectory):
    """One number for everything that happened, to the last bit."""
    hashed = hashlib.sha256()
    for array in trajectory:
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def n_hooks(model):
    """Hooks on a model and its parts."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
