"""Axes that widths do not tell: which reading is preferred, and where a word is due."""

from __future__ import annotations

import warnings

import pytest
import torch
from field_models import build, outputs_of, randn, same, states_of
from torch import Tensor, nn

from deepdrift import list_layers
from deepdrift.states.layout import Axes, said_of

NHWC, NCHW, NTD = (1, 2), (2, 3), (1,)


class Next(nn.Module):
    """A ConvNeXt block: images with channels first, turned for its linear layers alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm, self.linear = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(self.norm(self.conv(x).permute(0, 2, 3, 1))).tanh()
        return x + y.permute(0, 3, 1, 2)


class Turned(nn.Module):
    """The same parts, and channels last in the end: the output is that of the linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 8, 1), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).tanh().permute(0, 2, 3, 1))


class Own(nn.Module):
    """A layer of one's own, with weights for both axes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(8))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def said_by(network: nn.Module, names: list[str], x: Tensor) -> tuple[dict, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        states = states_of(network, names, x)
    return states, [str(w.message) for w in caught]


@pytest.mark.parametrize("sides", [(8, 8), (6, 8), (6, 7)])
def test_a_block_with_a_convolution_inside_has_channels_first(sides):
    """Said where all sides are as long as it is wide; else the positions tell."""
    net = build(lambda: nn.Sequential(nn.Conv2d(3, 8, 1), Next(8), Next(8)))
    x = randn(2, 3, *sides)
    states, said = said_by(net, ["1", "2"], x)
    for name, output in outputs_of(net, ["1", "2"], x).items():
        same(states[name], output.mean(NCHW))
    assert len(said) == (2 if sides == (8, 8) else 0)
    for text, name in zip(said, ("1", "2"), strict=False):
        assert "taken for NCHW" in text and f'layout={{"{name}": "..."}}' in text


class Dense(nn.Module):
    """Adds a few channels to those that come, as many as the image is long."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.conv = Active(width), nn.Conv2d(width, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(self.norm(x))], dim=1)


class Active(nn.BatchNorm2d):
    """A batch normalisation with a layer inside, as timm has them."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


def test_a_dense_block_whose_growth_is_the_length_of_the_image():
    net = build(lambda: nn.Sequential(nn.Conv2d(3, 16, 1), Dense(16), Dense(24), nn.Identity()))
    x, names = randn(2, 3, 8, 8), ["1", "2", "2.norm", "3"]
    states, said = said_by(net, names, x)
    for name, output in outputs_of(net, names, x).items():
        same(states[name], output.mean(NCHW))
    assert not said


@pytest.mark.parametrize("side", [64, 128, 256])  # its growth is 32, and a stage is as long
def test_every_block_of_densenet_has_its_channels(side):
    tv = pytest.importorskip("torchvision.models")
    net = build(lambda: tv.DenseNet(32, (2, 2, 2), 64, num_classes=5))
    names = [f"features.denseblock{i}" for i in (1, 2, 3)]
    x = randn(1, 3, side, side)
    states, said = said_by(net, names, x)
    for name, output in outputs_of(net, names, x).items():
        same(states[name], output.mean(NCHW), rtol=1e-3, atol=1e-4)
    assert not said


class Series(nn.Module):
    """A convolution and a linear layer; channels are handed on where they came, or turned."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv1d(8, 8, 3, padding=1), nn.Linear(8, 8)
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            return x + self.linear(self.conv(x).transpose(1, 2)).tanh().transpose(1, 2)
        return x + self.linear(self.conv(x.transpose(1, 2)).transpose(1, 2)).tanh()


@pytest.mark.parametrize("first", [True, False])
def test_a_doubtful_block_is_read_like_what_it_was_given(first):
    stem = (lambda: nn.Conv1d(3, 8, 1)) if first else (lambda: nn.Linear(3, 8))
    net = build(lambda: nn.Sequential(stem(), Series(first), Series(first)))
    x = randn(2, 3, 8) if first else randn(2, 8, 3)
    states, said = said_by(net, ["1", "2"], x)
    for name, output in outputs_of(net, ["1", "2"], x).items():
        same(states[name], output.mean(2 if first else 1))
    layout = "NCL" if first else "NTD"
    assert len(said) == 2 and all(f"taken for {layout}" in text for text in said)


def test_an_output_that_is_the_last_layers_own_is_read_like_it():
    net, x = build(lambda: nn.Sequential(Turned(), nn.Flatten())), randn(2, 3, 8, 8)
    states, said = said_by(net, ["0"], x)
    same(states["0"], outputs_of(net, ["0"], x)["0"].mean(NHWC))
    assert not said


class Resolutions(nn.Module):
    """Maps of two resolutions; the second is as wide as the first is long."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 8, 3, 2, padding=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.fine(x) + x, self.coarse(x)]


def test_the_first_of_several_maps_is_not_read_by_the_width_of_the_last():
    net, x = build(lambda: nn.Sequential(Resolutions(), nn.Identity())), randn(2, 4, 8, 8)
    states, said = said_by(net, ["0"], x)
    same(states["0"], outputs_of(net, ["0"], x)["0"][0].mean(NCHW))
    assert not said


def test_an_own_layer_as_long_as_wide_is_said_by_name():
    net = build(lambda: nn.Sequential(nn.Linear(3, 8), Own()))
    states, said = said_by(net, ["1"], randn(2, 8, 3))
    same(states["1"], outputs_of(net, ["1"], randn(2, 8, 3))["1"].mean(NTD))
    assert len(said) == 1 and "taken for NTD" in said[0] and 'layout={"1": "..."}' in said[0]
    assert not said_by(net, ["1"], randn(2, 7, 3))[1]


def test_what_is_said_of_axes_that_no_layer_tells():
    said = said_of(Axes("NTD", 5, doubtful=True), "pre", (2, 3, 5))
    assert said.startswith("layer 'pre': no layer that ran says which axis of its output (2, 3, 5)")
    assert 'taken for NTD. Say which it is with layout={"pre": "..."}' in said


class Pre(nn.Module):
    """Positions are added before any layer with known axes has run."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


def test_axes_that_no_layer_tells_are_said():
    net, x = build(lambda: nn.Sequential(Pre(), nn.Flatten())), randn(2, 3, 5)
    states, said = said_by(net, ["0"], x)
    assert len(said) == 1 and said[0].startswith("layer '0': no layer that ran says which axis")
    assert not said_by(net, ["0"], x.flatten(1))[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(states_of(net, ["0"], x, layout="NCL")["0"], x.mean(2))
        before = build(lambda: nn.Sequential(Pre(), nn.Linear(5, 2)))  # a layer of tokens follows
        same(states_of(before, ["0"], x)["0"], x.mean(1))


def test_list_layers_marks_what_is_doubtful_and_says_it():
    net = build(lambda: nn.Sequential(nn.Conv2d(3, 8, 1), Next(8)))
    with pytest.warns(UserWarning, match=r"layer '1': two axes.*layout="):
        listed = {layer.name: layer for layer in list_layers(net, randn(2, 3, 8, 8))}
    assert (listed["1"].layout, listed["1"].width) == ("NCHW?", 8)
    assert (listed["0"].layout, listed["1.linear"].layout) == ("NCHW", "NHWC")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        listed = list_layers(net, randn(2, 3, 6, 7))
    assert {layer.layout for layer in listed} == {"NCHW", "NHWC"}


def test_list_layers_marks_what_has_no_state():
    class Windows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(-1, 2, 8)  # twice as many rows as samples

    net = build(lambda: nn.Sequential(nn.Linear(3, 8), Windows(), nn.Flatten(0)))
    listed = {layer.name: layer for layer in list_layers(net, randn(2, 4, 3))}
    assert listed["0"][2:] == ((2, 4, 8), "NTD", 8)
    assert listed["1"][2:] == ((4, 2, 8), "?", None)
