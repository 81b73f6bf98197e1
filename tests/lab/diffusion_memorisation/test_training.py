"""A run of training: repeatable, resumable, and no trace in the caller's random numbers."""

from __future__ import annotations

import pytest
import torch

from deepdrift.lab.diffusion_memorisation.training import AVERAGE, Average, Training


@pytest.fixture
def images():
    return torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_same_run_twice_and_another_seed(images):
    before = torch.random.get_rng_state()
    a, b, c = (Training(images, seed) for seed in (3, 3, 4))
    losses = [[run.step() for _ in range(3)] for run in (a, b, c)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_resuming_changes_nothing(images):
    whole, first, second = (Training(images) for _ in range(3))
    expected = [whole.step() for _ in range(4)]
    begun = [first.step() for _ in range(2)]
    second.resume(first.state())
    assert begun + [second.step() for _ in range(2)] == expected and second.done == 4
    for name, value in whole.average.weights.items():
        assert torch.equal(value, second.average.weights[name])


def test_it_learns_the_noise(images):
    run = Training(images)
    losses = [run.step() for _ in range(40)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    model = run.averaged()
    assert not model.training and model(images, torch.zeros(6)).shape == images.shape


def test_the_average_by_hand():
    """Decay 2/11 after the first step, then 3/12; in the end 0.995."""
    layer = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(0.0)
        average = Average(layer)
        layer.weight.fill_(1.0)
    average.update(layer, 1)
    assert float(average.weights["weight"]) == pytest.approx(9 / 11)
    average.update(layer, 2)
    assert float(average.weights["weight"]) == pytest.approx(1 - 2 / 11 * 3 / 12)
    with torch.no_grad():
        layer.weight.fill_(0.0)
    before = float(average.weights["weight"])
    average.update(layer, 10_000)
    assert float(average.weights["weight"]) == pytest.approx(AVERAGE * before)
