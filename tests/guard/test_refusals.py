"""Bad input: an error that names the argument, what was expected, what came, and the remedy."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from decoders import CONTEXT, VOCABULARY, huggingface, n_hooks, padded, plain, some_ids
from torch import nn

from deepdrift.errors import LayerNotFoundError, NotFittedError, StateError
from deepdrift.guard import DeepDriftGuard, GuardError


@pytest.fixture(scope="module")
def llama():
    return huggingface("llama")


@pytest.fixture
def guard(llama):
    return DeepDriftGuard(llama, rank=4, alpha=0.2)


def says(*parts: str):
    """An error of ours that holds these words, in this order."""
    return pytest.raises(GuardError, match="(?s)" + ".*".join(map(re.escape, parts)))


# ---- tokens ----


@pytest.mark.parametrize("empty", [[], [[]], torch.zeros(1, 0, dtype=torch.int64)])
def test_an_empty_prompt(guard, empty):
    with says("prompt_ids", "empty", "bos token") if len(empty) else says("prompt_ids", "one row"):
        guard.read(empty, [5])
    with says("token", "empty", "bos token") if len(empty) else says("token", "one row"):
        guard(empty)


def test_a_prompt_of_padding_alone(guard):
    with says("prompt_ids: row 1 is empty"):
        guard.read(torch.tensor([[5, 6], [0, 0]]), [[5], [5]], torch.tensor([[1, 1], [0, 0]]))


def test_a_prompt_beyond_the_context(guard):
    long = some_ids(CONTEXT + 1)
    with says("prompt_ids", f"at most {CONTEXT}", f"got {CONTEXT + 1} in row 0", "shorten"):
        guard.read(long, [[5]])
    with says("token", f"at most {CONTEXT}", f"got {CONTEXT + 1}"):
        guard(long)
    with says("prompt_ids, answer_ids", f"got {CONTEXT + 1}"):
        guard.read(some_ids(CONTEXT), [[5]])


def test_a_loop_that_runs_beyond_the_context(guard):
    guard(some_ids(CONTEXT))
    with says("token", f"at most {CONTEXT}", f"got {CONTEXT + 1}"):
        guard(5)


@pytest.mark.parametrize("token", [VOCABULARY, -1])
def test_tokens_outside_of_the_vocabulary(guard, token):
    bad = says(f"expected ids from 0 to {VOCABULARY - 1}, got {token}", "tokenizer")
    with bad:
        guard.read([[5, token]] if token > 0 else [[5]], [[token, 5]])
    guard([5, 6])
    with bad:
        guard(token)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ("Paris", "tokenizer"),
        (["Paris"], "'Paris' of type str"),
        ([0.5], "0.5 of type float"),
        (torch.zeros(3), "torch.float32"),
        (torch.zeros(1, 1, 1, dtype=torch.int64), "(1, 1, 1)"),
        ({"input_ids": [1]}, "dict"),
    ],
)
def test_what_is_no_token_id(guard, ids, words):
    with says("prompt_ids: expected", words):
        guard.read(ids, [5])


def test_numpy_arrays_and_lists_of_tensors_are_token_ids(guard):
    want = guard.read([[5, 6]], [[7]]).log_prob
    assert torch.equal(guard.read(np.array([[5, 6]]), np.array([[7]])).log_prob, want)
    assert torch.equal(guard.read([torch.tensor([5, 6])], [torch.tensor([7])]).log_prob, want)


def test_masks_and_answers_that_do_not_fit(guard):
    with says("attention_mask", "rows of [2]", "rows of [3]"):
        guard.read([[5, 6]], [[7]], attention_mask=[[1, 1, 1]])
    with says("answer_ids: expected one answer for each of 2 prompts, got 1"):
        guard.read([[5], [6]], [[7]])
    guard.read([[5], [6]])  # prompts alone
    guard([[5], [6]])
    with says("token: expected one token id for each of 2 rows", "(1,)", "reset"):
        guard(torch.tensor([5]))


# ---- models ----


def test_an_encoder_decoder():
    hf = pytest.importorskip("transformers")
    small = {"d_model": 8, "d_ff": 8, "num_layers": 2, "num_heads": 2, "d_kv": 4, "vocab_size": 9}
    with says("model: T5ForConditionalGeneration is an encoder-decoder", "AutoModelForCausalLM"):
        DeepDriftGuard(hf.T5ForConditionalGeneration(hf.T5Config(**small)))


class NoCache(nn.Module):
    """Takes ids alone; with an argument for a cache it still returns none."""

    def __init__(self):
        super().__init__()
        self.inner = plain()

    def forward(self, ids):
        return self.inner(ids)[0]


class ForgetsIt(NoCache):
    def forward(self, ids, cache=None):
        return self.inner(ids)[0]


@pytest.mark.parametrize("kind", [NoCache, ForgetsIt])
def test_a_model_without_cache(kind):
    guard = DeepDriftGuard(kind())
    with says("model", kind.__name__, "cache", "guard.read", "guard.watch"):
        guard([5, 6])
    assert guard.read([5, 6], [7]).lengths.tolist() == [1]


def test_a_model_without_its_head(llama):
    with says("model: expected logits of shape (B, T, V)", "AutoModelForCausalLM"):
        DeepDriftGuard(llama.model).read([5], [6])


def test_a_model_without_blocks():
    with pytest.raises(LayerNotFoundError, match="no list of two or more blocks"):
        DeepDriftGuard(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9)))
    with pytest.raises(LayerNotFoundError, match="nearest names"):
        DeepDriftGuard(huggingface("gpt2"), layers=["transformer.h.9"])


def test_padding_without_positions_or_masks(llama):
    with says("token: prompts of unequal length (2, 1)", "Plain", "guard.read"):
        DeepDriftGuard(plain())([[5, 6], [7]])


def test_gpt2_padded_on_the_left_without_position_ids():
    model = huggingface("gpt2")
    guard = DeepDriftGuard(model)
    ids, mask = padded(some_ids(6, 3), "left")
    with guard.watch() as run, torch.no_grad():
        with says("position_ids", "GPT2LMHeadModel", "(attention_mask.cumsum(1) - 1).clamp(min=0)"):
            model(ids, attention_mask=mask)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = model(ids, attention_mask=mask, position_ids=positions).logits
    answer = logits[:, -1].argmax(-1, keepdim=True)
    got = run.complete(torch.cat([ids, answer], 1)).nll
    torch.testing.assert_close(
        got, guard.read(some_ids(6, 3), answer.tolist()).nll, rtol=1e-4, atol=1e-4
    )


def test_llama_padded_on_the_left_needs_no_position_ids(llama):
    ids, mask = padded(some_ids(6, 3), "left")
    guard = DeepDriftGuard(llama)
    with guard.watch() as run, torch.no_grad():
        answer = llama(ids, attention_mask=mask).logits[:, -1].argmax(-1, keepdim=True)
    got = run.complete(torch.cat([ids, answer], 1)).nll
    torch.testing.assert_close(
        got, guard.read(some_ids(6, 3), answer.tolist()).nll, rtol=1e-4, atol=1e-4
    )


def test_padding_on_the_right_of_a_generation(llama, guard):
    ids, mask = padded(some_ids(6, 3), "right")
    with says("attention_mask", "right", "padding_side"), guard.stopping_criteria() as road:
        llama.generate(torch.tensor(some_ids(4)), max_new_tokens=2, stopping_criteria=[road])
        llama.generate(ids, attention_mask=mask, max_new_tokens=2, stopping_criteria=[road])


def test_a_legacy_tuple_cache(llama, guard):
    keys = torch.zeros(1, 1, 2, 8)
    legacy = tuple((keys, keys) for _ in range(3))
    with guard.watch(), says("cache: expected a Cache object", "legacy tuple", "DynamicCache"):
        llama(torch.tensor([[5]]), cache=legacy)


def test_embeddings_in_place_of_ids(llama, guard):
    with guard.watch(), says("input_ids: expected token ids", "NoneType"):
        llama(inputs_embeds=torch.zeros(1, 2, 16))


# ---- generate ----


@pytest.mark.parametrize("road", ["stopping_criteria", "logits_processor"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_beams": 3}, ("num_beams: expected 1, got 3", "guard.read")),
        (
            {"num_return_sequences": 2, "do_sample": True},
            ("num_return_sequences: expected 1, got 2", "guard.read"),
        ),
        ({"num_beams": 2, "num_return_sequences": 2}, ("num_beams: expected 1, got 2",)),
    ],
)
def test_beams_and_several_sequences(llama, guard, road, options, words):
    before = n_hooks(llama)
    with getattr(guard, road)() as watching, says(*words):
        llama.generate(torch.tensor(some_ids(4)), max_new_tokens=3, **{road: [watching]}, **options)
    assert n_hooks(llama) == before


def test_a_prompt_that_is_read_in_chunks(llama, guard):
    with guard.stopping_criteria() as road, says("prefill_chunk_size"):
        llama.generate(
            torch.tensor(some_ids(6)),
            max_new_tokens=2,
            prefill_chunk_size=3,
            stopping_criteria=[road],
        )


def test_another_model_than_the_guards(llama):
    guard = DeepDriftGuard(huggingface("llama", seed=1))
    with guard.stopping_criteria() as road, says("saw no pass of its model", "copy"):
        llama.generate(torch.tensor(some_ids(4)), max_new_tokens=2, stopping_criteria=[road])


def test_a_closed_road(llama, guard):
    road = guard.stopping_criteria()
    road.close()
    with says("its hooks were closed", "guard.stopping_criteria()"):
        llama.generate(torch.tensor(some_ids(4)), max_new_tokens=2, stopping_criteria=[road])


def test_two_prompts_in_one_watch(llama, guard):
    with guard.watch(), torch.no_grad():
        llama(torch.tensor(some_ids(4)))
        with says("another prompt began", "with guard.watch()"):
            llama(torch.tensor(some_ids(5, seed=3)))


def test_sequences_that_were_not_watched(llama, guard):
    with guard.watch() as run, torch.no_grad():
        with says("no pass of the model was seen"):
            run.trace  # noqa: B018
        llama(torch.tensor([[5, 6]]))
    for wrong in ([[5, 7, 8]], [[5, 6, 7, 8]], [[5]]):
        with says("sequences", "(1, 2) or one token more"):
            run.complete(torch.tensor(wrong))
    with says("no road was taken yet"):
        DeepDriftGuard(llama).trace  # noqa: B018


# ---- numbers that are none ----


def broken(kind: str = "llama") -> nn.Module:
    """One token, 7, makes everything after it NaN."""
    model = huggingface(kind)
    with torch.no_grad():
        model.get_input_embeddings().weight[7] = torch.nan
    return model


def test_nan_is_invalid_on_every_road_and_its_doubt_says_so():
    guard = DeepDriftGuard(broken(), rank=4, alpha=0.2)
    calm = [(r[:3], r[3:]) for r in [[t for t in row if t != 7] for row in some_ids(*[9] * 30)]]
    guard.fit(calm[:15]).calibrate(calm[15:])
    trace = guard.read([[5, 6], [5, 6]], [[8, 7, 9], [8, 9, 9]])
    assert trace.state[0].tolist()[2] == 3 and (trace.state[1] != 3).all()
    doubt = guard.doubt(trace)
    assert doubt.valid[0].item() is False and doubt.is_doubtful[0].item() is True
    assert doubt.p_wrong[0] is None and doubt.threshold[0].isnan()
    assert "not valid here: logits or states are not finite" in doubt.reason[0]
    guard([5, 6])
    guard(8)
    diagnosis = guard(7)
    assert diagnosis.is_anomaly and "INVALID at token 2" in str(diagnosis)
    assert guard(9).is_anomaly


@pytest.mark.parametrize("call", ["fit", "calibrate"])
def test_nan_teaches_nothing(call):
    guard = DeepDriftGuard(broken(), rank=4, alpha=0.2)
    pairs = [([5, 6], [8, 9])] * 20 + [([5, 7], [8])]  # the model stumbles over 7
    with says("pairs", "1 of 21 answers are NaN", "pair 20", "float32"):
        getattr(guard, call)(pairs)


# ---- calibration ----


def pairs_of(n: int, seed: int = 0):
    return [(row[:4], row[4:]) for row in some_ids(*[7] * n, seed=seed)]


def test_too_few_to_calibrate(guard):
    with says("alpha = 0.2 needs 4 right answers or more, got 3 of 3", "alpha >= 0.25"):
        guard.calibrate(pairs_of(3))
    with says("needs 4 right answers", "in template 'b', got 2 of 2"):
        guard.calibrate(pairs_of(10), templates=["a"] * 8 + ["b"] * 2)


def test_only_right_answers_where_wrong_ones_are_needed(guard):
    with says("correct: a probability of being wrong needs 5 wrong answers or more, got 0 of 20"):
        guard.calibrate(pairs_of(20), correct=[True] * 20)
    with says("needs 5 wrong answers or more, got 4 of 20"):
        guard.calibrate(pairs_of(20), correct=[True] * 16 + [False] * 4)
    with says("4 right answers or more, got 0 of 20"):
        guard.calibrate(pairs_of(20), correct=[False] * 20)
    right = [True, False] * 6 + [True] * 8
    with says("5 wrong answers or more in template 'b', got 0 of 8"):
        guard.calibrate(pairs_of(20), right, ["a"] * 12 + ["b"] * 8)


def test_too_few_to_fit(guard):
    with says("pairs: expected 10 normal prompts", "got 9"):
        guard.fit(pairs_of(9))
    with says("pairs: expected 10 normal prompts of template 'b'", "got 8"):
        guard.fit(pairs_of(20), ["a"] * 12 + ["b"] * 8)


def test_one_layer_has_nothing_to_be_predicted_from(llama):
    guard = DeepDriftGuard(llama, layers=["model.layers.1"])
    assert guard.read([5, 6], [7]).velocity.shape == (1, 1, 1)
    with says("layers: innovation needs two layers or more", "got 1"):
        guard.fit(pairs_of(20))


def test_a_layer_without_states_of_tokens():
    guard = DeepDriftGuard(plain(), layers=["stack.0", "stack.1.attend.qkv", "token"])
    assert guard.read([5, 6], [7]).velocity.shape == (1, 1, 3)
    model = plain()
    with pytest.raises(
        StateError, match=r"'place' to return states of shape .*, got \(2, 12\); name"
    ):
        DeepDriftGuard(model, layers=["place"]).read([5], [6])
    assert n_hooks(model) == 0


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([], "no pair"),
        ([([5], [6], [7])], "1 entries that are none"),
        (["ab"], "1 entries that are none"),
        ([([[5], [6]], [7])], "one row of prompt ids in pair 0, got 2"),
        ([([5], [])] * 20, "20 of 20 answers have no token"),
        ([([], [5])] * 20, "empty"),
    ],
)
def test_what_are_no_pairs(guard, pairs, words):
    with pytest.raises(GuardError, match=re.escape(words)):
        guard.calibrate(pairs)


def test_calibration_on_what_was_fitted(guard):
    guard.fit(pairs_of(20))
    with says("pairs: 3 of 20 prompts were used in fit", "calibrate on others"):
        guard.calibrate(pairs_of(20)[:3] + pairs_of(17, seed=1))


def test_settings_that_mean_nothing(llama, guard):
    for alpha in (0.0, 1.0, -0.1, float("nan"), "0.05"):
        with says("alpha: expected a share between 0 and 1"):
            DeepDriftGuard(llama, alpha=alpha)
    for rank in (0, 257, 1.5, True):
        with says("rank: expected a whole number from 1 to 256"):
            DeepDriftGuard(llama, rank=rank)
    right = [True, False] * 10
    with says("method: expected 'platt' or 'isotonic', got 'beta'"):
        guard.calibrate(pairs_of(20), right, method="beta")
    with says("confidence: expected a share between 0 and 1, got 1.5"):
        guard.calibrate(pairs_of(20), right, confidence=1.5)
    for words in (["yes"] * 20, "yes" * 20, [None] * 20):
        with says("correct: expected True or False for each of 20 pairs, got"):
            guard.calibrate(pairs_of(20), correct=words)
    with says("correct: expected True or False for each of 20 pairs, got shape (3,)"):
        guard.calibrate(pairs_of(20), [True] * 3)
    with says("templates: expected one name for each of 20 answers, got 2"):
        guard.calibrate(pairs_of(20), templates=["a", "b"])
    with says("batch_size: expected 1 or more, got 0"):
        guard.calibrate(pairs_of(20), batch_size=0)


def test_doubt_before_calibration_and_by_unknown_names(guard):
    trace = guard.read([5, 6], [7])
    with pytest.raises(NotFittedError, match="calibrate"):
        guard.doubt(trace)
    guard.calibrate(pairs_of(20), templates=["a"] * 10 + ["b"] * 10)
    with says("template: several were calibrated ('a', 'b')", "template_of"):
        guard.doubt(trace)
    with says("score: expected one of nll, mean, maximum", "got 'vibes'"):
        guard.doubt(trace, "a", score="vibes")
    with pytest.raises(NotFittedError, match="innovation needs guard.fit"):
        guard.doubt(trace, "a", score="innovation")
    said = guard.doubt(trace, "c")
    assert not said.valid.item() and "template 'c' (known: 'a', 'b')" in said.reason[0]
