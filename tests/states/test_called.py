"""Blocks that a model runs without calling them: hooks do not see that, and it is said."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
from field_models import build, call, fitted, outputs_of, randn, same
from torch import Tensor, nn

from deepdrift import DeepDriftError, DeepDriftMonitor, StateError, collect, list_layers, record


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(self.norm(x)).tanh()

    def encode(self, x: Tensor) -> Tensor:
        return self.forward(x)


WAYS = {
    "forward": lambda block, x: block.forward(x),
    "method": lambda block, x: block.encode(x),
    "parts": lambda block, x: x + block.linear(block.norm(x)).tanh(),
}


class Net(nn.Module):
    """Three blocks; those in ``direct`` are run in another way than by a call."""

    def __init__(self, way: str, direct: tuple[int, ...]) -> None:
        super().__init__()
        self.blocks, self.head = nn.ModuleList(Block() for _ in range(3)), nn.Linear(8, 3)
        self.way, self.direct = way, direct

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.blocks):
            x = WAYS[self.way](block, x) if i in self.direct else block(x)
        return self.head(x)


SAID = r"'blocks\.1'.*its parts ran \('blocks\.1\.norm', 'blocks\.1\.linear'\).*\.forward\(\)"
NAMES = ["blocks.0", "blocks.1", "blocks.2"]


@pytest.mark.parametrize("way", WAYS)
def test_a_named_block_that_is_not_called_is_said_with_its_parts(way):
    net, x = build(lambda: Net(way, (1,))), randn(4, 8)
    for learn in ("fit", "calibrate"):
        with pytest.raises(DeepDriftError, match=SAID):
            getattr(DeepDriftMonitor(net, NAMES), learn)([randn(60, 8, seed=s) for s in range(4)])
    with record(net, NAMES) as states:
        call(net, x)
        for name in ("blocks.0", "blocks.2"):  # the others are what they were
            same(states[name], outputs_of(net, [name], x)[name])
        assert list(states) == ["blocks.0", "blocks.2"]
    with record(net, NAMES) as states:
        for _ in range(2):
            call(net, x)
            with pytest.raises(StateError, match=SAID):
                states["blocks.1"]
    with pytest.raises(DeepDriftError, match=r"'blocks\.1' did not run.*\.forward\(\)"):
        collect(net, x, NAMES)


def test_an_automatic_block_that_is_not_called_is_left_out_with_a_word():
    net = build(lambda: Net("forward", (1,)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        monitor = fitted(net, lambda n, seed: randn(n, 8, seed=seed))
    assert list(monitor.layers) == ["blocks.0", "blocks.2"]
    assert any(re.search(SAID, str(w.message)) for w in caught)


def test_blocks_of_which_none_is_called():
    net, x = build(lambda: Net("forward", (0, 1, 2))), randn(4, 8)
    with pytest.raises(DeepDriftError, match=r"'blocks\.0'.*its parts ran"):
        DeepDriftMonitor(net).calibrate([randn(60, 8, seed=s) for s in range(4)])
    with record(net) as states:
        call(net, x)
        with pytest.raises(StateError, match=r"'blocks\.0'.*its parts ran"):
            states.check()
    parts = ["blocks.0.linear", "blocks.2.linear"]  # the remedy that is named
    with record(net, parts) as states:
        call(net, x)
        same(states[parts[1]], outputs_of(net, parts, x)[parts[1]])
    assert {"blocks.0.linear", "head"} <= {layer.name for layer in list_layers(net, x)}


def test_a_block_that_did_not_run_at_all_is_not_said_to_have_run():
    class Skips(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.blocks[0](x))

    net = build(lambda: Skips("forward", ()))
    with record(net, NAMES) as states:
        call(net, torch.zeros(1, 8))
        with pytest.raises(StateError, match=r"'blocks\.1' did not run in the last forward pass"):
            states["blocks.1"]
