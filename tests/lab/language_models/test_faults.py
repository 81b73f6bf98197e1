"""A broken block is named where the states show it."""

from __future__ import annotations

import pytest
import torch

from deepdrift.lab.language_models.fact_model import FactModel
from deepdrift.lab.language_models.faults import (
    FAULTS,
    accused,
    broken,
    chain_scores,
    last_states,
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return FactModel(width=16).eval()


PROMPTS = [[0, a, b, 3] for a in range(4, 24) for b in range(24, 34)]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("block", [2, 3, 4])
def test_the_first_step_beyond_normal_is_the_broken_one(model, fault, block):
    states = last_states(model, PROMPTS)
    normal, _ = chain_scores(states[:100], states[100:150])
    with broken(model.blocks[block - 1], fault):
        odd = last_states(model, PROMPTS[150:])
    scores, _ = chain_scores(states[:100], odd)
    named = accused(normal, scores)["first"]
    assert float((named == block).double().mean()) > 0.6
    assert not any(m._forward_hooks for m in model.modules())
    assert torch.equal(last_states(model, PROMPTS[:3]), states[:3])


def test_noise_has_the_size_of_the_update():
    x, y = torch.zeros(1, 1, 50_000), torch.full((1, 1, 50_000), 3.0)
    noise = FAULTS["noise"](x, y, torch.Generator().manual_seed(0)) - y
    assert float(noise.std()) == pytest.approx(3.0, rel=0.02)
