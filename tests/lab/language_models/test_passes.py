"""What is kept of a pass, against numbers computed without hooks, one question at a time."""

from __future__ import annotations

import pytest
import torch

from deepdrift.lab.language_models.fact_model import FactModel
from deepdrift.lab.language_models.passes import blocks_of, joined, read, states_of
from deepdrift.states.projection import Projection

PROMPTS = [[0, 5, 9, 7], [0, 7, 8], [0, 8, 9, 3]]
ANSWERS = [[20, 21, 22], [23], [24, 25]]
NAMES = [1, 2, 2]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return FactModel().eval()


@pytest.fixture(scope="module")
def reading(model):
    return read(model, PROMPTS, ANSWERS, NAMES)


def by_hand(model, ids):
    """States after the input and after every block, ``(5, T, D)``, and logits."""
    x = model.embed(ids) + model.position[: ids.shape[1]]
    states = [x]
    for block in model.blocks:
        x = block(x)
        states.append(x)
    return torch.stack(states)[:, 0], (model.norm(x) @ model.embed.weight.T)[0]


@torch.no_grad()
@pytest.mark.parametrize("i", range(3))
def test_every_number_is_the_one_of_a_pass_by_hand(model, reading, i):
    prompt, answer = PROMPTS[i], ANSWERS[i]
    p, t = len(prompt), len(answer)
    states, logits = by_hand(model, torch.tensor([[*prompt, *answer]]))
    log_p = logits.log_softmax(dim=-1)
    for k, token in enumerate(answer):
        at = p - 1 + k  # the position that predicts it
        assert float(reading.log_prob[i, k]) == pytest.approx(float(log_p[at, token]), abs=1e-4)
        entropy = -(log_p[at].exp() * log_p[at]).sum()
        assert float(reading.entropy[i, k]) == pytest.approx(float(entropy), abs=1e-4)
        moved = (states[1:, at] - states[1:, at - 1]).norm(dim=-1)
        assert torch.allclose(reading.velocity[i, k], moved, atol=1e-4)
        assert torch.allclose(reading.sketch[i, k], Projection(32)(states[1:, at]), atol=1e-4)
    assert reading.mask[i].tolist() == [True] * t + [False] * (3 - t)
    assert not reading.velocity[i, t:].any() and not reading.log_prob[i, t:].any()
    assert torch.allclose(reading.last[i], states[4, p - 1], atol=1e-4)
    assert torch.allclose(reading.middle[i], states[2, p - 1], atol=1e-4)
    assert torch.allclose(reading.name[i], states[2, NAMES[i]], atol=1e-4)
    update = (states[1:, p - 1] - states[:-1, p - 1]).norm(dim=-1)
    assert torch.allclose(reading.update[i], update, atol=1e-4)
    assert torch.allclose(reading.prompt_sketch[i], reading.sketch[i, 0], atol=1e-6)


def test_folding_counts_the_answer_only(reading):
    values = torch.tensor([[1.0, 2.0, 6.0], [5.0, 99.0, 99.0], [3.0, 4.0, 99.0]])
    assert reading.fold(values).tolist() == [9, 5, 7]
    assert reading.fold(values, "mean").tolist() == [3, 5, 3.5]
    assert reading.fold(values, "max").tolist() == [6, 5, 4]


def test_parts_and_their_union(reading):
    parts = [reading.at(torch.tensor([k])) for k in range(3)]
    assert torch.equal(joined(parts).velocity, reading.velocity)
    assert reading.at(reading.mask[:, 1]).tokens.tolist() == [[20, 21, 22], [24, 25, 0]]


def test_no_hook_is_left_behind_even_after_an_error(model):
    with pytest.raises(IndexError), states_of(blocks_of(model)):
        model(torch.tensor([[10_000]]))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_guard_says_the_same(model, reading):
    from deepdrift.guard import DeepDriftGuard

    guard = DeepDriftGuard(model, rank=32)
    trace = guard.read(PROMPTS, ANSWERS)
    assert trace.layers == tuple(f"blocks.{i}" for i in range(4))
    assert torch.equal(trace.mask, reading.mask)
    for name in ("log_prob", "entropy", "velocity", "sketch"):
        ours, theirs = getattr(reading, name), getattr(trace, name)
        assert (ours - theirs)[reading.mask].abs().max() < 1e-4, name
    assert (reading.prompt_sketch - trace.prompt_sketch).abs().max() < 1e-4
    assert torch.allclose(reading.fold(-reading.log_prob), trace.nll, atol=1e-4)


def test_the_guard_walks_token_by_token(model, reading):
    from deepdrift.guard import DeepDriftGuard

    guard = DeepDriftGuard(model)
    diagnosis = guard(torch.tensor([PROMPTS[0]]))
    for token, expected in zip(ANSWERS[0], reading.log_prob[0].tolist(), strict=True):
        log_p = diagnosis.next_logits.flatten().log_softmax(dim=0)
        assert float(log_p[token]) == pytest.approx(expected, abs=1e-4)
        diagnosis = guard(torch.tensor([token]))
