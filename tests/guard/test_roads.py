"""Four roads, one trace: read, a loop by hand, generate in two ways, and a watched loop."""

from __future__ import annotations

import pytest
import torch
from decoders import HF, huggingface, n_hooks, padded, plain, some_ids
from torch import Tensor

from deepdrift.guard import DeepDriftGuard, GuardTrace

N_NEW = 7
NUMBERS = ("log_prob", "entropy", "velocity", "innovation", "p_value", "sketch", "prompt_sketch")


def assert_same(a: GuardTrace, b: GuardTrace) -> None:
    assert a.layers == b.layers and a.prompts == b.prompts
    assert torch.equal(a.tokens, b.tokens) and torch.equal(a.mask, b.mask)
    assert torch.equal(a.state, b.state)
    for name in NUMBERS:
        x, y = getattr(a, name), getattr(b, name)
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4, equal_nan=True, msg=name)


def learnt(model) -> DeepDriftGuard:
    """A guard that knows normal answers, so that innovation and p-values are numbers."""
    guard = DeepDriftGuard(model, rank=4, alpha=0.2)
    rows = [(r[:5], r[5:]) for r in some_ids(*[8, 9, 10] * 10, seed=5)]
    return guard.fit(rows[:20]).calibrate(rows[20:])


def left(rows: list[list[int]]) -> dict[str, Tensor]:
    ids, mask = padded(rows, "left")
    return {"input_ids": ids, "attention_mask": mask}


def by_hand(guard: DeepDriftGuard, ids: Tensor, mask: Tensor | None, answer: Tensor) -> GuardTrace:
    guard.reset()
    guard(ids, attention_mask=mask)
    for token in answer.T:
        guard(token)
    return guard.trace


@pytest.mark.parametrize("lengths", [(6,), (9, 4, 1)], ids=["one", "unequal"])
@pytest.mark.parametrize("kind", HF)
def test_four_roads_give_one_trace(kind, lengths):
    model = huggingface(kind)
    guard, rows = learnt(model), some_ids(*lengths)
    given = left(rows)
    before = n_hooks(model)
    options = {"do_sample": False, "max_new_tokens": N_NEW}
    bare = model.generate(**given, **options)

    with guard.stopping_criteria() as stopping:
        out = model.generate(**given, **options, stopping_criteria=[stopping])
    assert torch.equal(out, bare)
    with guard.logits_processor() as processor:
        out = model.generate(**given, **options, logits_processor=[processor])
    assert torch.equal(out, bare)
    with guard.watch() as watched:
        model.generate(**given, **options)
    assert n_hooks(model) == before

    answer = bare[:, given["input_ids"].shape[1] :]
    offline = guard.read(rows, answer)
    assert offline.lengths.max() >= N_NEW - 1
    assert offline.innovation[..., 1:][offline.mask].isfinite().all()
    assert (offline.p_value[offline.mask] > 0).all()
    assert_same(stopping.trace, offline)
    assert_same(processor.complete(bare), offline)
    assert_same(watched.complete(bare), offline)
    assert_same(by_hand(guard, rows, None, answer), offline)
    assert n_hooks(model) == before


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", HF)
def test_padding_on_either_side_reads_and_loops_alike(kind, side):
    guard, rows = learnt(huggingface(kind)), some_ids(3, 8)
    answers = some_ids(5, 5, seed=1)
    offline = guard.read(rows, answers)
    ids, mask = padded(rows, side)
    answer = torch.tensor(answers)
    assert_same(guard.read(ids, answer, attention_mask=mask), offline)
    both = torch.cat([mask, torch.ones_like(answer)], 1)
    assert_same(guard.read(ids, answer, attention_mask=both), offline)
    assert_same(by_hand(guard, ids, mask, answer), offline)


def test_answers_of_unequal_length_read_as_each_one_alone():
    guard = learnt(huggingface("llama"))
    prompts, answers = some_ids(4, 7, 2), some_ids(3, 1, 6, seed=2)
    together = guard.read(prompts, answers)
    for i in range(3):
        alone = guard.read(prompts[i], answers[i])
        n = len(answers[i])
        assert together.answers[i] == answers[i]
        for name in ("log_prob", "entropy", "velocity", "innovation"):
            got, want = getattr(together, name)[i, :n], getattr(alone, name)[0]
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_a_plain_decoder_on_the_roads_it_has():
    model = plain()
    guard, rows = learnt(model), some_ids(5, 5)
    ids = prompt = torch.tensor(rows)
    with guard.watch() as cached, torch.no_grad():
        logits, cache = model(ids)
        for _ in range(N_NEW):
            token = logits[:, -1].argmax(-1, keepdim=True)
            ids = torch.cat([ids, token], 1)
            logits, cache = model(token, cache)
    with guard.watch() as uncached, torch.no_grad():
        again = prompt
        for _ in range(N_NEW):
            again = torch.cat([again, model(again)[0][:, -1].argmax(-1, keepdim=True)], 1)
    assert torch.equal(again, ids)
    offline = guard.read(prompt, ids[:, 5:])
    assert_same(cached.trace, offline)
    assert_same(uncached.complete(ids), offline)
    assert_same(by_hand(guard, prompt, None, ids[:, 5:]), offline)


def test_layers_of_different_widths():
    model = huggingface("llama")
    names = ["model.layers.0", "model.layers.1.mlp.gate_proj", "model.layers.2"]
    guard = DeepDriftGuard(model, names, rank=20)
    rows, answers = some_ids(6, 4), some_ids(3, 3, seed=1)
    offline = guard.read(rows, answers)
    assert offline.layers == tuple(names) and offline.sketch.shape == (2, 3, 3, 20)
    assert_same(by_hand(guard, rows, None, torch.tensor(answers)), offline)


def test_a_loop_that_asks_the_guard_for_the_next_token():
    model = huggingface("qwen2")
    guard, row = DeepDriftGuard(model), some_ids(6)
    bare = model.generate(torch.tensor(row), do_sample=False, max_new_tokens=N_NEW)
    diagnosis, chosen = guard(row), []
    assert diagnosis.token is None and diagnosis.step == 0
    for _ in range(N_NEW):
        token = diagnosis.next_logits.argmax(-1)
        chosen.append(int(token))
        diagnosis = guard(token)
    assert chosen == bare[0, 6:].tolist()
    assert diagnosis.step == N_NEW and not diagnosis.is_anomaly
    torch.testing.assert_close(diagnosis.nll, guard.trace.nll)


def test_the_numbers_are_those_of_the_models_own_hidden_states():
    model = huggingface("llama")
    prompt, answer = some_ids(5, 4)
    trace = DeepDriftGuard(model, rank=4).read(prompt, answer)
    with torch.no_grad():
        out = model(torch.tensor([prompt + answer]), output_hidden_states=True)
    log_p = out.logits[0].double().log_softmax(-1)
    for t, token in enumerate(answer):
        row = log_p[4 + t]
        assert trace.log_prob[0, t] == pytest.approx(row[token].item(), abs=1e-4)
        assert trace.entropy[0, t] == pytest.approx(-(row.exp() * row).sum().item(), abs=1e-4)
        for layer in (0, 1):  # transformers hands out the last one after its norm
            z = out.hidden_states[layer + 1][0]
            moved = (z[4 + t] - z[3 + t]).norm().item()
            assert trace.velocity[0, t, layer] == pytest.approx(moved, rel=1e-4)
    assert trace.nll.item() == pytest.approx(-trace.log_prob.double().sum().item(), rel=1e-6)


def test_log_probabilities_are_raw_under_sampling():
    model = huggingface("llama")
    guard, given = learnt(model), left(some_ids(5, 3))
    options = {"do_sample": True, "top_k": 3, "temperature": 0.3, "max_new_tokens": N_NEW}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        bare = model.generate(**given, **options)
        after_bare = torch.get_rng_state()
        torch.manual_seed(3)
        with guard.stopping_criteria() as road:
            out = model.generate(
                **given,
                **options,
                stopping_criteria=[road],
                output_scores=True,
                return_dict_in_generate=True,
            )
        assert torch.equal(torch.get_rng_state(), after_bare)
    assert torch.equal(out.sequences, bare)
    trace = road.trace
    assert_same(trace, guard.read(some_ids(5, 3), bare[:, 5:]))
    cut = torch.stack(out.scores, 1).log_softmax(-1).gather(2, trace.tokens[..., None])[..., 0]
    assert (cut - trace.log_prob)[trace.mask].abs().min() > 0.1  # what scores would have said


def test_rows_that_stopped_are_frozen():
    model = huggingface("llama")
    rows = some_ids(5, 5)
    free = model.generate(torch.tensor(rows), do_sample=False, max_new_tokens=6, eos_token_id=None)
    end = int(free[0, 6])  # the second token of the first row ends it
    guard = DeepDriftGuard(model, rank=4)
    with guard.stopping_criteria() as road:
        out = model.generate(
            torch.tensor(rows),
            do_sample=False,
            max_new_tokens=6,
            eos_token_id=end,
            stopping_criteria=[road],
        )
    trace = road.trace
    stopped = (free[:, 5:] == end).long().cumsum(1)
    lengths = [int((row == 0).sum()) + int(row.any()) for row in stopped]
    assert lengths[0] <= 2 and trace.lengths.tolist() == lengths
    assert (out[0, 5 + lengths[0] :] == 0).all() and (trace.tokens[0, lengths[0] :] == 0).all()
    for name in ("log_prob", "entropy", "velocity"):
        assert getattr(trace, name)[0, lengths[0] :].isnan().all()
    alone = guard.read(rows[0], free[0, 5 : 5 + lengths[0]].tolist())
    torch.testing.assert_close(trace.nll[0], alone.nll[0], rtol=1e-4, atol=1e-4)


def test_one_forward_offline_and_none_over_a_prefix():
    model = huggingface("gpt2")
    guard, widths = DeepDriftGuard(model), []
    handle = model.register_forward_pre_hook(
        lambda _, args, kwargs: widths.append(args[0].shape[1]), with_kwargs=True
    )
    prompts, answers = some_ids(4, 6), some_ids(3, 2, seed=1)
    guard.read(prompts, answers)
    assert widths == [8]
    widths.clear()
    by_hand(guard, prompts, None, torch.tensor(some_ids(3, 3, seed=1)))
    assert widths == [6, 1, 1, 1]
    handle.remove()
