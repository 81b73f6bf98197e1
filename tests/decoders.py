"""Tiny decoders with random weights, made here: nothing is downloaded."""

from __future__ import annotations

import pytest
import torch
from torch import nn

VOCABULARY, CONTEXT = 60, 64
SMALL = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
HF = ("llama", "gpt2", "neox", "qwen2", "mamba")


def huggingface(kind: str, seed: int = 0, **changes) -> nn.Module:
    """A causal model of transformers with random weights, large enough to make logits differ."""
    hf = pytest.importorskip("transformers")
    wide = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "max_position_embeddings": CONTEXT,
        "intermediate_size": 32,
    }
    made = {
        "llama": (hf.LlamaForCausalLM, hf.LlamaConfig, wide | {"num_key_value_heads": 1}),
        "qwen2": (hf.Qwen2ForCausalLM, hf.Qwen2Config, wide | {"num_key_value_heads": 1}),
        "neox": (hf.GPTNeoXForCausalLM, hf.GPTNeoXConfig, wide),
        "gpt2": (
            hf.GPT2LMHeadModel,
            hf.GPT2Config,
            {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": CONTEXT},
        ),
        "mamba": (
            hf.MambaForCausalLM,
            hf.MambaConfig,
            {"hidden_size": 16, "num_hidden_layers": 3, "state_size": 4},
        ),
    }
    model_class, config_class, settings = made[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config_class(**(SMALL | settings | changes)))
        for parameter in model.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.3)
    return model.eval()


class Attention(nn.Module):
    """One causal head that keeps its keys and values."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, x, past):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if past is not None:
            k, v = torch.cat([past[0], k], 1), torch.cat([past[1], v], 1)
        seen = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(k.shape[1] - q.shape[1])
        scores = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).masked_fill(~seen, -torch.inf)
        return scores.softmax(-1) @ v, (k, v)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attend, self.mlp = Attention(width), nn.Linear(width, width)

    def forward(self, x, past=None):
        added, past = self.attend(x, past)
        x = x + added
        return x + self.mlp(x).tanh(), past


class Plain(nn.Module):
    """A decoder in plain PyTorch: ids and a cache in, logits and the cache out."""

    def __init__(self, width: int = 12, n_blocks: int = 3) -> None:
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, width)
        self.place = nn.Embedding(CONTEXT, width)
        self.stack = nn.ModuleList(Block(width) for _ in range(n_blocks))
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, ids, cache=None):
        start = 0 if cache is None else cache[0][0].shape[1]
        x = self.token(ids) + self.place(torch.arange(start, start + ids.shape[1]))
        kept = []
        for i, block in enumerate(self.stack):
            x, past = block(x, None if cache is None else cache[i])
            kept.append(past)
        return self.head(x), tuple(kept)


def plain(seed: int = 0) -> Plain:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Plain().eval()


def n_hooks(model: nn.Module) -> int:
    """Forward hooks and pre-hooks of a model and all its parts."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def some_ids(*lengths: int, seed: int = 0) -> list[list[int]]:
    """Rows of token ids from 3 on, which are neither padding nor an end."""
    g = torch.Generator().manual_seed(seed)
    return [torch.randint(3, VOCABULARY, (n,), generator=g).tolist() for n in lengths]


def padded(rows: list[list[int]], side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as a tensor, padded on the left or right, with their mask."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        at = slice(longest - len(row), None) if side == "left" else slice(0, len(row))
        ids[i, at], mask[i, at] = torch.tensor(row), 1
    return ids, mask
