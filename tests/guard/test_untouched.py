"""A guard leaves no trace in a model: hooks, mode, random numbers, answers."""

from __future__ import annotations

import gc
import random

import numpy as np
import pytest
import torch
from decoders import huggingface, n_hooks, plain, some_ids
from torch import nn

from deepdrift.guard import DeepDriftGuard


@pytest.fixture
def model():
    return huggingface("llama")


def generators() -> tuple:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def test_the_published_line_leaves_no_hook(model):
    guard, ids = DeepDriftGuard(model), torch.tensor(some_ids(4))
    bare = model.generate(ids, max_new_tokens=3, do_sample=False)
    out = model.generate(
        ids, max_new_tokens=3, do_sample=False, stopping_criteria=[guard.stopping_criteria()]
    )
    gc.collect()
    assert torch.equal(out, bare) and n_hooks(model) == 0
    assert guard.trace.answers == bare[:, 4:].tolist()


def test_each_road_has_its_hooks_and_takes_them_off(model):
    guard = DeepDriftGuard(model)
    theirs = model.model.register_forward_hook(lambda *_: None)
    each = len(guard.layers) + 2
    assert len(guard.layers) == 3
    roads = [guard.stopping_criteria(), guard.logits_processor(), guard.watch()]
    assert n_hooks(model) == 1 + 3 * each
    roads[0].close()
    roads[0].close()
    assert roads[0].closed and not roads[1].closed
    assert n_hooks(model) == 1 + 2 * each
    guard.close()
    assert n_hooks(model) == 1
    with guard, guard.watch():
        assert n_hooks(model) == 1 + each
    theirs.remove()


class Stumbles(nn.Module):
    """A decoder whose second block fails on token 9."""

    def __init__(self):
        super().__init__()
        self.inner = plain()
        self.inner.stack[1].register_forward_pre_hook(self.fail)
        self.armed = False

    def fail(self, *_):
        if self.armed:
            raise ZeroDivisionError

    def forward(self, ids, cache=None):
        self.armed = bool((ids == 9).any())
        return self.inner(ids, cache)


def test_hooks_go_after_an_exception():
    model = Stumbles()
    guard, own = DeepDriftGuard(model), n_hooks(model)
    for call in (lambda: guard.read([5, 9], [6]), lambda: guard([5, 9])):
        with pytest.raises(ZeroDivisionError):
            call()
        assert n_hooks(model) == own
    with pytest.raises(ZeroDivisionError), guard.watch():
        model(torch.tensor([[5, 9]]))
    assert n_hooks(model) == own
    road = guard.watch()
    with pytest.raises(ZeroDivisionError):
        model(torch.tensor([[5, 9]]))
    del road
    gc.collect()
    assert n_hooks(model) == own
    model(torch.tensor([[5]]))
    assert guard([5, 6]).step == 0  # and the guard goes on


def test_a_generation_that_fails_leaves_no_hook(model):
    guard = DeepDriftGuard(model)

    def fails(input_ids, scores):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), guard.stopping_criteria() as road:
        model.generate(torch.tensor(some_ids(4)), max_new_tokens=3, stopping_criteria=[road, fails])
    assert n_hooks(model) == 0 and road.trace.lengths.tolist() == [1]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_mode_and_random_numbers_stay(kind):
    drops = {"attention_dropout": 0.5} if kind == "llama" else {"resid_pdrop": 0.5}
    model = huggingface(kind, **drops)
    guard, want = DeepDriftGuard(model), DeepDriftGuard(model).read([5, 6, 7], [8, 9])
    model.train()
    model.get_input_embeddings().eval()
    modes = [module.training for module in model.modules()]
    before = generators()
    assert torch.equal(guard.read([5, 6, 7], [8, 9]).log_prob, want.log_prob)  # no dropout
    guard([5, 6, 7])
    said = guard(8)
    assert said.log_prob[0] == pytest.approx(want.log_prob[0, 0].item(), abs=1e-4)
    rows = some_ids(*[6] * 30)
    guard.fit([(r[:3], r[3:]) for r in rows[:10]]).calibrate([(r[:3], r[3:]) for r in rows[10:]])
    assert generators() == before
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_a_watched_loop_keeps_its_gradients(model):
    guard = DeepDriftGuard(model)
    with guard.watch():
        model(torch.tensor(some_ids(4))).logits.sum().backward()
    assert model.lm_head.weight.grad.abs().sum() > 0
    assert not guard.trace.prompt_sketch.requires_grad


def test_raw_logits_are_kept_from_a_loop_that_changes_them(model):
    guard, row = DeepDriftGuard(model), some_ids(4)
    with guard.watch() as run, torch.no_grad():
        logits = model(torch.tensor(row)).logits
        token = int(logits[0, -1].argmin())
        logits[0, -1] = -torch.inf
        logits[0, -1, token] = 0.0  # forced: its probability is not 1
    got = run.complete(torch.tensor([row[0] + [token]])).log_prob
    want = guard.read(row, [[token]]).log_prob
    assert want.item() < -1
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_one_road_serves_one_generation_after_the_other(model):
    guard = DeepDriftGuard(model)
    with guard.stopping_criteria() as road:
        for seed in (0, 1):
            prompt = torch.tensor(some_ids(4 + seed, seed=seed))
            out = model.generate(
                prompt, max_new_tokens=3, do_sample=False, stopping_criteria=[road]
            )
            assert road.trace.prompts == (tuple(prompt[0].tolist()),)
            assert road.trace.tokens.tolist() == out[:, prompt.shape[1] :].tolist()


def test_both_roads_in_one_generation(model):
    guard = DeepDriftGuard(model)
    with guard.stopping_criteria() as stopping, guard.logits_processor() as processor:
        out = model.generate(
            torch.tensor(some_ids(4)),
            max_new_tokens=4,
            do_sample=False,
            stopping_criteria=[stopping],
            logits_processor=[processor],
        )
    assert torch.equal(stopping.trace.log_prob, processor.complete(out).log_prob)


def test_a_default_device_does_not_matter(model):
    want, prompts, answers = DeepDriftGuard(model, rank=4), some_ids(3, 5), some_ids(2, 4, seed=1)
    trace = want.read(prompts, answers)
    pairs = [(row[:4], row[4:]) for row in some_ids(*[7] * 60)]
    with torch.device("meta"):  # nothing made here would have numbers
        guard = DeepDriftGuard(model, rank=4, alpha=0.2)
        guard.fit(pairs[:30]).calibrate(pairs[30:], correct=[i % 2 > 0 for i in range(30)])
        got = guard.read(prompts, answers)
        said = guard.doubt(got)
    torch.testing.assert_close(got.log_prob, trace.log_prob, equal_nan=True)
    assert got.state.device.type == "cpu"
    assert len(str(said).splitlines()) == 2


def test_importing_the_guard_loads_no_transformers():
    import subprocess
    import sys

    code = "import sys, deepdrift.guard; print({'transformers', 'scipy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
