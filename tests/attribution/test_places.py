"""How outputs are read as places: grids of tokens, axes, and back again."""

import pytest
import torch
from torch import nn

from deepdrift.attribution.places import (
    Places,
    deepest,
    is_attention,
    layers_of,
    on_grid,
    patch_grid,
    places_of,
)
from deepdrift.states.layers import LayerInfo


@pytest.mark.parametrize(
    ("n_tokens", "size", "expected"),
    [
        (50, (28, 28), (1, 7, 7)),
        (49, (28, 28), (0, 7, 7)),
        (197, (224, 224), (1, 14, 14)),
        (65, (32, 32), (1, 8, 8)),
        (64, (28, 28), None),  # a square number, and no grid of patches of 28 x 28 pixels
        (33, (16, 32), (1, 4, 8)),  # patches are square, the image need not be
        (51, (28, 28), None),
        (1, (28, 28), None),
        (2, (28, 28), None),
    ],
)
def test_grids_of_tokens(n_tokens, size, expected):
    assert patch_grid(n_tokens, size, []) == expected


def test_the_embedding_of_the_patches_knows_best():
    convolution = LayerInfo("patch", "Conv2d", (2, 8, 9, 9), "NCHW", 8)  # overlapping patches
    assert patch_grid(82, (28, 28), [convolution]) == (1, 9, 9)
    assert patch_grid(86, (28, 28), [convolution]) == (5, 9, 9)
    assert patch_grid(82, (28, 28), []) is None


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("NCHW", (2, 3, 4, 6)),
        ("NHWC", (2, 4, 6, 3)),
        ("NTD", (2, 25, 3)),
        ("NCL", (2, 3, 25)),
        ("TND", (25, 2, 3)),
    ],
)
def test_reading_and_writing_on_every_layout(layout, shape):
    places = places_of(LayerInfo("x", "X", shape, layout, 3), (8, 12), [])
    assert places.grid == (4, 6)
    output = torch.arange(1.0, 1 + torch.Size(shape).numel()).view(shape)
    read = places.read(output)
    assert read.shape == (2, 3, 4, 6) and places.fits(output)
    assert torch.equal(places.write(read, output), output)
    assert not torch.equal(places.write(0 * read, output), output)
    if output.ndim == 4:
        assert torch.equal(read, output if layout == "NCHW" else output.movedim(3, 1))
    else:
        tokens = {"NTD": output, "NCL": output.mT, "TND": output.transpose(0, 1)}[layout]
        assert torch.equal(read, torch.stack([t[1:].T.reshape(3, 4, 6) for t in tokens]))


@pytest.mark.parametrize(
    "layer",
    [
        LayerInfo("x", "X", None),
        LayerInfo("x", "X", (2, 10), "ND", 10),
        LayerInfo("x", "X", (2, 10, 1, 1), "NCHW", 10),
        LayerInfo("x", "X", (2, 1, 64), "NTD", 64),
        LayerInfo("x", "X", (2, 3, 4, 4, 4), "NCDHW", 3),
    ],
)
def test_outputs_without_places(layer):
    assert places_of(layer, (28, 28), []) is None


def test_attention_is_told_by_its_rows():
    maps = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    assert is_attention(maps.softmax(dim=-1)) and is_attention(maps.softmax(dim=-1).half())
    assert not is_attention(maps)  # before the softmax
    assert not is_attention(maps.softmax(dim=-2))  # columns
    assert not is_attention(maps.softmax(dim=-1)[:, 0]) and not is_attention(None)
    assert not is_attention(torch.ones(2, 3, 1, 1))


def test_who_listens_later_sees_places_and_the_network_its_tokens():
    layer, seen = nn.Identity(), []
    tokens = torch.rand(3, 5, 7)
    layer.register_forward_hook(lambda m, i, out: seen.append(out.shape))
    with on_grid(layer, Places((0, 2, 1), 1, (2, 2))) as behind:
        handle = layer.register_forward_hook(lambda m, i, out: seen.append(out.shape))
        with behind():
            assert torch.equal(layer(tokens), tokens)
            assert layer(torch.rand(3, 4)).shape == (3, 4)  # no tokens, left as they are
        handle.remove()
    assert seen == [(3, 5, 7), (3, 7, 2, 2), (3, 4), (3, 4)]
    assert len(layer._forward_hooks) == 1 and torch.equal(layer(tokens), tokens)


def test_the_deepest_layer(cnn, vit, images):
    for network, expected in ((cnn, "blocks.5"), (vit, "blocks.3")):
        assert deepest(network, images, 0, layers_of(network, images)) == expected
    flat = nn.Sequential(nn.Flatten(), nn.Linear(784, 3)).eval()
    assert deepest(flat, images, 0, layers_of(flat, images)) is None
