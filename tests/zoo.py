"""Small networks of every kind the core promises to watch, with states computed by hand.

Each `Animal` says how to build a network with reproducible random weights, how to draw a batch,
which layers to watch, and how a layer's output becomes one vector per sample.
"""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models import resnet18
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer


class Backwards(nn.Module):
    """Twelve blocks, defined in the reverse of the order in which they run."""

    def __init__(self) -> None:
        super().__init__()
        for i in reversed(range(12)):
            setattr(self, f"block{i}", nn.Sequential(nn.Linear(6, 6), nn.Tanh()))

    def forward(self, x: Tensor) -> Tensor:
        for i in range(12):
            x = x + getattr(self, f"block{i}")(x)
        return x


class Recurrent(nn.Module):
    """An LSTM and a linear layer on its last step."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 8, batch_first=batch_first)
        self.mix, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.rnn(x)
        last = out[:, -1] if self.rnn.batch_first else out[-1]
        return self.head(torch.tanh(self.mix(last)))


@dataclass
class ModelOutput(OrderedDict):
    """Mapping and dataclass in one, as language models return it."""

    logits: Tensor | None = None
    past: tuple = ()
    last_hidden_state: Tensor | None = None

    def __post_init__(self) -> None:
        for f in fields(self):
            if getattr(self, f.name) is not None:
                self[f.name] = getattr(self, f.name)


class TokenBlock(nn.Module):
    """Returns a tuple, hidden state first, like the decoder layers of language models."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.lin = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return x + torch.tanh(self.lin(self.norm(x))), None


class Body(nn.Module):
    """Embedding and blocks; returns a ModelOutput whose first entry is not the hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.layers = nn.ModuleList(TokenBlock() for _ in range(3))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> ModelOutput:
        x = self.embed(input_ids) * attention_mask[..., None]
        for layer in self.layers:
            x, _ = layer(x)
        return ModelOutput(logits=x[..., :2], past=(x,), last_hidden_state=x)


class LanguageModel(nn.Module):
    """Takes keywords only and returns a ModelOutput."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = Body(), nn.Linear(8, 11)

    def forward(self, *, input_ids: Tensor, attention_mask: Tensor) -> ModelOutput:
        hidden = self.body(input_ids, attention_mask).last_hidden_state
        return ModelOutput(logits=self.head(hidden))


class Shared(nn.Module):
    """One activation called twice, in place or not: the states must be the same."""

    def __init__(self, inplace: bool = True) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.act = nn.ReLU(inplace=inplace)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(self.act(self.two(self.act(self.one(x)))))


class Checkpointed(nn.Module):
    """Blocks whose forward pass runs a second time during the backward pass."""

    def __init__(self, use_reentrant: bool = False) -> None:
        super().__init__()
        self.use_reentrant = use_reentrant
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.use_reentrant)
        return x


def perceptron() -> nn.Sequential:
    """Three linear layers with ReLU, 6 inputs."""
    return nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()
    )


def convolutional_1d() -> nn.Sequential:
    """Two blocks of a 1-D convolutional network, and a linear head."""
    return nn.Sequential(
        nn.Conv1d(2, 6, 3, padding=1), nn.BatchNorm1d(6), nn.ReLU(inplace=True),
        nn.Conv1d(6, 6, 3, padding=1), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


def small_vit() -> VisionTransformer:
    """torchvision's ViT with three narrow blocks."""
    return VisionTransformer(
        image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32,
        num_classes=4,
    )  # fmt: skip


def small_swin() -> SwinTransformer:
    """torchvision's Swin with two blocks; its layers hand on ``(N, H, W, C)``."""
    return SwinTransformer(
        patch_size=[4, 4], embed_dim=12, depths=[2], num_heads=[2], window_size=[4, 4],
        num_classes=4,
    )  # fmt: skip


@dataclass(frozen=True)
class Animal:
    """A network, its input and what its states must be."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    layers: tuple[str, ...]
    by_hand: Callable[[Any], Tensor]
    runs: tuple[str, ...] = ()  # names of the states, where they differ from the layers
    pooling: str = "auto"
    dtype: torch.dtype = torch.float32
    sample_axis: int = 0
    tokens: bool = False

    def build(self, seed: int = 0) -> nn.Module:
        """The network with random weights, in evaluation mode."""
        return copy.deepcopy(_pristine(self, seed))

    def draw(self, n: int, seed: int = 1) -> Any:
        """A batch of ``n`` samples."""
        g = torch.Generator().manual_seed(seed)
        if self.tokens:
            ids = torch.randint(0, 11, (n, *self.shape), generator=g)
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        x = torch.randn(n, *self.shape, generator=g).to(self.dtype)
        return x.movedim(0, self.sample_axis).contiguous()

    def take(self, batch: Any, rows: Tensor | slice | list[int]) -> Any:
        """Some samples of a batch."""
        if isinstance(batch, dict):
            return {k: v[rows] for k, v in batch.items()}
        return batch.movedim(self.sample_axis, 0)[rows].movedim(0, self.sample_axis).contiguous()

    def loader(self, n: int, size: int, seed: int = 2) -> Iterator[Any]:
        """``n`` samples in batches of ``size``: the same samples for every size."""
        data = self.draw(n, seed)
        return (self.take(data, slice(i, i + size)) for i in range(0, n, size))

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states in execution order."""
        return self.runs or self.layers


@functools.cache
def _pristine(animal: Animal, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # noqa: TID251 - forked: layers draw from the global stream
        return animal.make().to(animal.dtype).eval()


def call(model: nn.Module, batch: Any) -> Any:
    """The model's output for a tensor or keywords."""
    return model(**batch) if isinstance(batch, dict) else model(batch)


def logits(output: Any) -> Tensor:
    """The tensor in a model's output."""
    return output if isinstance(output, Tensor) else output["logits"]


def count_hooks(model: nn.Module) -> int:
    """Number of forward hooks and forward pre-hooks anywhere in a model."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@contextmanager
def plain_outputs(model: nn.Module, layers: tuple[str, ...]) -> Iterator[list[Any]]:
    """Oracle: deep copies of what these layers return, in the order in which they return it."""
    found: list[Any] = []

    def kept(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().clone()
        return tuple(kept(v) for v in value) if isinstance(value, tuple) else value

    handles = [
        _resolve(model, name).register_forward_hook(lambda m, i, out: found.append(kept(out)))
        for name in layers
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _resolve(model: nn.Module, name: str) -> nn.Module:
    for part in name.split("."):
        named = dict(model.named_children())
        model = named[part] if part in named else list(named.values())[int(part)]
    return model


_RES = tuple(f"layer{i}.{j}" for i in range(1, 5) for j in range(2))
_VIT = tuple(f"encoder.layers.{i}" for i in range(3))
_BODY = ("body.layers.0", "body.layers.1", "body.layers.2")


def _rows(out: Tensor) -> Tensor:
    return out.float()


ZOO = (
    Animal("perceptron", perceptron, (6,), ("1", "3", "5"), _rows),
    Animal("backwards", Backwards, (6,), tuple(f"block{i}" for i in range(12)), _rows),
    Animal("resnet18", resnet18, (3, 32, 32), _RES, lambda o: o.sum((2, 3)) / o[0, 0].numel()),
    Animal("vit", small_vit, (3, 32, 32), _VIT, lambda o: o[:, 0], pooling="cls"),
    Animal("lstm", lambda: Recurrent(True), (5, 4), ("rnn", "mix"),
           lambda o: o[0].sum(1) / 5 if isinstance(o, tuple) else o),
    Animal("lstm-time-first", lambda: Recurrent(False), (5, 4), ("rnn", "mix"),
           lambda o: o[0].sum(0) / 5 if isinstance(o, tuple) else o, sample_axis=1),
    Animal("language-model", LanguageModel, (7,), _BODY, lambda o: o[0].sum(1) / 7, tokens=True),
    Animal("shared-inplace", Shared, (6,), ("one", "act"), _rows, runs=("one", "act", "act#2")),
    Animal("conv1d", convolutional_1d, (2, 16), ("2", "4"), lambda o: o.sum(2) / 16),
    Animal("float16", perceptron, (6,), ("1", "3", "5"), _rows, dtype=torch.float16),
    Animal("bfloat16", perceptron, (6,), ("1", "3", "5"), _rows, dtype=torch.bfloat16),
    Animal("checkpointed", Checkpointed, (6,), ("blocks.0", "blocks.1", "blocks.2"), _rows),
)  # fmt: skip
NAMES = [animal.name for animal in ZOO]
BY_NAME = {animal.name: animal for animal in ZOO}
