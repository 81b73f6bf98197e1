"""The small causal transformer and its answers."""

from __future__ import annotations

import pytest
import torch

from deepdrift.lab.language_models.answering import decode
from deepdrift.lab.language_models.fact_model import LONGEST, FactModel, blend


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    return FactModel().eval(), FactModel().eval()


@torch.no_grad()
def test_what_comes_later_changes_nothing_before(models):
    ids = torch.tensor([[0, 5, 9, 7, 30], [0, 5, 9, 8, 31]])
    logits = models[0](ids)
    assert (logits[0, :3] - logits[1, :3]).abs().max() < 1e-6
    assert (logits[0, 3] - logits[1, 3]).abs().max() > 1e-3


@torch.no_grad()
def test_token_by_token_is_all_at_once(models):
    ids = torch.arange(LONGEST)[None] % 40
    whole, cache, steps = models[0](ids), None, []
    for token in ids.split(1, dim=1):
        logits, cache = models[0](token, cache, use_cache=True)
        steps.append(logits)
    assert (torch.cat(steps, dim=1) - whole).abs().max() < 1e-4
    with pytest.raises(ValueError, match="the model knows"):
        models[0](ids[:, :1], cache)


@torch.no_grad()
def test_a_blend_lies_between(models):
    first, second = models
    ids = torch.tensor([[0, 3, 4]])
    assert torch.equal(blend(first, second, 0.0)(ids), first(ids))
    assert torch.allclose(blend(first, second, 1.0)(ids), second(ids), atol=1e-6)
    half = blend(first, second, 0.5).embed.weight
    assert torch.allclose(half, (first.embed.weight + second.embed.weight) / 2)


@torch.no_grad()
def test_decoding_takes_the_most_probable_token_each_time(models):
    model = models[0]
    prompts = [[0, 5, 9], [0, 7], [0, 8, 9], [0, 6]]
    found = decode(model, prompts, set(), 3, batch=2)
    for prompt, answer in zip(prompts, found, strict=True):
        ids = list(prompt)
        for _ in range(3):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
        assert answer == ids[len(prompt) :]
    stop = found[0][1]
    again = decode(model, prompts, {stop}, 3, batch=2)
    assert again[0] == found[0][: max(found[0].index(stop), 1)]
    assert all(stop not in a[1:] for a in again)
