"""The small transformer of the exact world: four causal blocks, 0.2 million weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.lab.language_models.world import RELATIONS, TEMPLATES, vocabulary

__all__ = ["LONGEST", "FactModel", "blend"]

LONGEST = 2 + max(len(t.split()) for t in TEMPLATES) + max(map(len, RELATIONS.values())) + 1
"""Longest sequence: start, prompt (a person is two tokens), answer, stop."""


class CausalBlock(nn.Module):
    """Pre-norm block: attention to what came before, then a perceptron, both residual."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, past: list[Tensor] | None = None) -> Tensor:
        """States ``(B, T, D)`` to states; keys and values are read from and put into ``past``."""
        b, t, d = x.shape
        split = self.qkv(self.norm1(x)).view(b, t, 3, self.n_heads, d // self.n_heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        if past is not None:
            if past:
                k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
            past[:] = [k, v]
        n = k.shape[2]
        seen = torch.ones(t, n, dtype=torch.bool, device=x.device).tril(n - t)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.norm2(x))


class FactModel(nn.Module):
    """Words to the logits of the next word.

    Parameters
    ----------
    width, n_heads, depth : int

    Examples
    --------
    >>> model = FactModel().eval()
    >>> ids = torch.tensor([[0, 5, 7, 9]])
    >>> with torch.no_grad():
    ...     logits, cache = model(ids[:, :3], use_cache=True)
    ...     step, _ = model(ids[:, 3:], cache, use_cache=True)
    ...     whole = model(ids)
    >>> bool((step[:, 0] - whole[:, -1]).abs().max() < 1e-4)
    True
    """

    def __init__(self, width: int = 76, n_heads: int = 4, depth: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(vocabulary()), width)
        self.position = nn.Parameter(torch.randn(LONGEST, width) * 0.02)
        self.blocks = nn.ModuleList(CausalBlock(width, n_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embed.weight, std=0.1)

    def forward(
        self, input_ids: Tensor, cache: list[list[Tensor]] | None = None, use_cache: bool = False
    ) -> Any:
        """Logits ``(B, T, V)`` of ids ``(B, T)``; with ``use_cache`` also the cache."""
        if cache is None:
            cache = [[] for _ in self.blocks]
        start = cache[0][0].shape[2] if cache[0] else 0
        n = start + input_ids.shape[1]
        if n > len(self.position):
            raise ValueError(f"input_ids: {n} tokens, the model knows {len(self.position)} places")
        x = self.embed(input_ids) + self.position[start:n]
        for block, past in zip(self.blocks, cache, strict=True):
            x = block(x, past)
        logits = self.norm(x) @ self.embed.weight.T
        return (logits, cache) if use_cache else logits


def blend(first: nn.Module, second: nn.Module, share: float) -> FactModel:
    """The model whose weights lie ``share`` of the way from the first to the second."""
    model = FactModel().eval()
    a, b = first.state_dict(), second.state_dict()
    model.load_state_dict({k: torch.lerp(a[k].float(), b[k].float(), share) for k in a})
    return model
