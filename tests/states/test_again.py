"""Blocks that share weights: one block, run again and again."""

from __future__ import annotations

import pytest
import torch
from field_models import build, fitted, gen, outputs_of, randn, same
from torch import Tensor, nn

from deepdrift.states.blocks import auto_layers

WIDTH = 16


class Block(nn.Module):
    def __init__(self, kind: type[nn.Module] | None = None) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
        self.act = kind() if kind else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.act(self.up(x)).tanh())


class Universal(nn.Module):
    """One block four times, held once or four times in a ModuleList."""

    def __init__(self, held: int = 1, heads: int = 3) -> None:
        super().__init__()
        block = Block()
        self.stem, self.head = nn.Linear(4, 8), nn.Linear(8, heads)
        self.blocks, self.repeats = nn.ModuleList([block] * held), 4 // held

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(self.repeats):
            for block in self.blocks:
                x = block(x)
        return self.head(x)


@pytest.mark.parametrize("held", [1, 4])
def test_a_block_alone_beats_its_leaves(held):
    net, x = build(lambda: Universal(held)), randn(5, 4)
    assert auto_layers(net) == ["blocks.0"]
    y, right = net.stem(x), []
    for _ in range(4):
        y = net.blocks[0](y)
        right.append(y)
    monitor = fitted(net, lambda n, seed: randn(n, 4, seed=seed))
    states = monitor.states(x)
    for key, state in zip(
        ["blocks.0", "blocks.0#2", "blocks.0#3", "blocks.0#4"], right, strict=True
    ):
        same(states[key], state)
    assert monitor.read(x).blocks["innovation"].shape[1] == 3  # each goes on from the one before


def test_albert_is_watched_block_by_block():
    t = pytest.importorskip("transformers")
    small = dict(
        vocab_size=40, embedding_size=8, hidden_size=WIDTH, num_attention_heads=2,
        intermediate_size=16, pad_token_id=0,
    )  # fmt: skip
    one = build(lambda: t.AlbertModel(t.AlbertConfig(**small, num_hidden_layers=4)))
    groups = "encoder.albert_layer_groups"
    assert auto_layers(one) == [f"{groups}.0"]
    two = build(lambda: t.AlbertModel(t.AlbertConfig(**small, num_hidden_groups=2)))
    assert auto_layers(two) == [f"{groups}.0", f"{groups}.1"]

    def texts(n: int, seed: int) -> dict:
        return {"input_ids": torch.randint(1, 40, (n, 7), generator=gen(seed))}

    monitor, batch = fitted(one, texts), texts(5, 9)
    states = monitor.states(batch)
    assert [k for k in states if k.startswith(groups)] == [
        f"{groups}.0", f"{groups}.0#2", f"{groups}.0#3", f"{groups}.0#4"
    ]  # fmt: skip
    same(states[f"{groups}.0#4"], outputs_of(one, [f"{groups}.0"], batch)[f"{groups}.0"].mean(1))
    assert monitor.read(batch).blocks["innovation"].shape[1] == 3


def test_a_transformer_of_one_layer_is_watched_at_that_layer():
    t = pytest.importorskip("transformers")
    bert = t.BertConfig(
        vocab_size=400, hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    net = build(lambda: t.BertModel(bert))  # most of its weights are its vocabulary
    assert auto_layers(net) == ["encoder.layer.0"]


def test_a_small_part_that_stands_alone_is_not_the_model():
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(40, 40), nn.Linear(40, 8)
            self.heads = nn.ModuleList([Block()])

    assert auto_layers(Heads()) == ["a", "b", "heads.0.up"]


def test_activations_are_still_preferred():
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            block = nn.Module()
            block.f, block.g = Block(nn.ReLU), nn.Tanh()
            self.blocks = nn.ModuleList([block])

    assert auto_layers(Deep()) == ["blocks.0.f.act", "blocks.0.g"]


class Twice(nn.Module):
    """The two halves of the input, one after the other through the same layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        halves = [self.b(self.a(half).relu()).relu() for half in x.chunk(2, dim=1)]
        return self.head(torch.cat(halves, dim=1))


def test_the_second_input_of_shared_layers_does_not_go_on_from_the_first():
    net = build(Twice)
    monitor = fitted(net, lambda n, seed: randn(n, 8, seed=seed), layer_names=["a", "b"])
    assert monitor.read(randn(3, 8)).blocks["innovation"].shape[1] == 2  # from a to b
