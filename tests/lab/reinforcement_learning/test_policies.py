"""The shipped policies do what their headers say."""

from __future__ import annotations

import pytest
import torch

from deepdrift.lab.data import data_folder
from deepdrift.lab.reinforcement_learning.plants import PLANTS, LabError
from deepdrift.lab.reinforcement_learning.policies import Policy, load_policy
from deepdrift.lab.reinforcement_learning.simulate import simulate

LEAST = {"cartpole": 475, "lunarlander": 200, "pendulum": -200}


@pytest.mark.parametrize("name", LEAST)
def test_mean_return_and_size(name):
    policy = load_policy(name)
    assert policy.mean_return >= LEAST[name]
    assert policy.made_by
    assert not policy.training
    file = data_folder() / "models" / f"policy-{name}.safetensors"
    assert file.stat().st_size < 40_000
    place = PLANTS[name]
    out = policy(torch.zeros(3, len(place.sensors)))
    assert out.shape == (3, place.n_actions or 1)


@pytest.mark.parametrize("name", LEAST)
def test_the_header_can_be_measured_again(name):
    """Ten of its hundred episodes; the bound is four of their standard errors."""
    policy = load_policy(name)
    runs = simulate(policy, name, range(1_000_000, 1_000_010))
    error = max(float(runs.returns.std(ddof=1)), 1.0) / 10**0.5
    assert abs(runs.returns.mean() - policy.mean_return) <= 4 * error


def test_actions_are_the_largest_logits_or_within_the_limit():
    policy = Policy(2, 3)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(policy.act(x), policy(x).argmax(1))
    bounded = Policy(2, 1, limit=0.5)
    bounded.head.weight.data.fill_(100)
    assert bounded.act(x).abs().max() == 0.5


def test_an_unknown_policy():
    with pytest.raises(LabError, match="name must be one of"):
        load_policy("mars")
