"""Pooling against averages written out by hand, and layouts that must not be guessed wrong."""

import pytest
import torch
import zoo
from torch import nn

from deepdrift import LayerNotFoundError, StateError, list_layers, record
from deepdrift.states.layout import static_axes
from deepdrift.states.pooling import check_layouts, check_method, pool

COUNT = torch.arange(24.0)  # 0 .. 23, reshaped below


@pytest.mark.parametrize(
    ("layout", "shape", "expected"),
    [
        ("ND", (2, 12), COUNT.reshape(2, 12).tolist()),
        ("NTD", (2, 3, 4), [[4, 5, 6, 7], [16, 17, 18, 19]]),
        ("TND", (2, 3, 4), [[6, 7, 8, 9], [10, 11, 12, 13], [14, 15, 16, 17]]),
        ("NCL", (2, 3, 4), [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]),
        ("NCHW", (2, 3, 2, 2), [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]),
        ("NHWC", (2, 2, 3, 2), [[5, 6], [17, 18]]),
        ("NCDHW", (1, 3, 2, 2, 2), [[3.5, 11.5, 19.5]]),
        ("NDHWC", (1, 2, 2, 2, 3), [[10.5, 11.5, 12.5]]),
    ],
)
def test_every_layout_averages_over_positions(layout, shape, expected):
    assert pool(COUNT.reshape(shape), layout, "mean").tolist() == expected


@pytest.mark.parametrize(
    ("layout", "method", "expected"),
    [
        ("NTD", "cls", [[0, 1, 2, 3], [12, 13, 14, 15]]),
        ("NTD", "last", [[8, 9, 10, 11], [20, 21, 22, 23]]),
        ("NTD", "last_token", [[8, 9, 10, 11], [20, 21, 22, 23]]),
        ("TND", "flatten", [[0, 1, 2, 3, 12, 13, 14, 15], [4, 5, 6, 7, 16, 17, 18, 19],
                            [8, 9, 10, 11, 20, 21, 22, 23]]),
        ("NCL", "cls", [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]),  # no tokens: the average
    ],
)  # fmt: skip
def test_tokens_and_flatten(layout, method, expected):
    x = COUNT.reshape((2, 3, 4))
    assert pool(x, layout, method).tolist() == expected


def test_time_first_tokens_belong_to_their_sample():
    x = COUNT.reshape(2, 3, 4)  # two steps, three samples
    assert pool(x, "TND", "cls").tolist() == x[0].tolist()
    assert pool(x, "TND", "last").tolist() == x[1].tolist()


def test_half_precision_neither_overflows_nor_rounds():
    # 4096 x 60000 is far beyond 65504, the largest float16
    assert pool(torch.full((1, 1, 64, 64), 6e4, dtype=torch.float16)).item() == 6e4
    assert pool(torch.full((1, 2), 6e4, dtype=torch.float16)).norm() > 65504
    # a mean between two neighbouring float16 numbers is not rounded to one of them
    neighbours = torch.tensor([[[1.0], [1 + 2.0**-10]]], dtype=torch.float16)
    assert pool(neighbours).item() == 1 + 2.0**-11


@pytest.mark.parametrize("method", ["mean", "cls", "last", "flatten", lambda x: x[:, 0]])
@pytest.mark.parametrize("shape", [(3, 4), (3, 197, 4)])
def test_no_view_keeps_the_activation_alive(method, shape):
    if callable(method) and len(shape) == 2:
        method = lambda x: x  # noqa: E731
    source = torch.randn(shape)
    state = pool(source, method=method)
    assert state.untyped_storage().nbytes() == state.numel() * 4
    source.zero_()
    assert state.abs().sum() > 0


def test_one_number_per_sample_is_a_column():
    assert pool(torch.tensor([1.0, 2.0])).tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.LSTM(4, 4), "TND"),
        (nn.LSTM(4, 4, batch_first=True), "NTD"),
        (nn.GRU(4, 4), "TND"),
        (nn.TransformerEncoderLayer(4, 2), "TND"),
        (nn.TransformerEncoderLayer(4, 2, batch_first=True), "NTD"),
        (
            nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 1, enable_nested_tensor=False),
            "TND",
        ),
        (nn.Conv1d(4, 4, 1), "NCL"),
        (nn.Sequential(nn.Conv1d(4, 4, 1), nn.BatchNorm1d(4), nn.ReLU()), "NCL"),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU()), "NTD"),
        (nn.MaxPool1d(2), "NCL"),
    ],
)
def test_layout_of_three_axes_from_the_layer_itself(layer, expected):
    network = nn.Sequential(nn.Identity(), layer).eval()
    x = torch.randn(5, 4, 3) if expected == "NCL" else torch.randn(5, 3, 4)
    (listed,) = (info for info in list_layers(network, x) if info.name == "1")
    assert (listed.layout, listed.width) == (expected, 4)


def test_layout_of_an_activation_from_what_stands_before_it():
    network = zoo.convolutional_1d()
    assert static_axes(network, network[2], (2, 6, 16)).layout == "NCL"
    tokens = nn.Sequential(nn.Conv1d(3, 4, 1), nn.Identity(), nn.LayerNorm(4), nn.GELU())
    assert static_axes(tokens, tokens[1], (2, 4, 4)).layout == "NCL"
    assert static_axes(tokens, tokens[3], (2, 4, 4)).layout == "NTD"
    listed = {info.name: info.layout for info in list_layers(tokens, torch.randn(2, 3, 4))}
    assert listed == {"0": "NCL", "1": "NCL", "2": "NTD", "3": "NTD"}


def test_parts_of_a_time_first_block_are_time_first():
    block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=False)
    with record(block, ["norm1", "linear1", "linear2"]) as states:
        block.train()(torch.randn(5, 3, 4))
    assert {k: tuple(v.shape) for k, v in states.items()} == {
        "norm1": (3, 4),
        "linear1": (3, 8),
        "linear2": (3, 4),
    }


def test_layout_of_images_with_channels_last():
    x = torch.zeros(2, 5, 5, 3)
    model = nn.Sequential(nn.Identity(), nn.LayerNorm(3))
    with record(model, ["0", "1"]) as states:
        model(x)
    assert states["1"].shape == (2, 3)  # LayerNorm says so
    assert states["0"].shape == (2, 5)  # Identity cannot know: NCHW is assumed ...
    with record(model, ["0", "1"], layout="NHWC") as states:  # ... unless it is said
        model(x)
    assert states["0"].shape == (2, 3)


def test_a_given_layout_beats_the_guess():
    model = nn.Sequential(nn.Identity(), nn.Linear(4, 2))
    with record(model, ["0", "1"], layout="TND") as states:
        model(torch.zeros(5, 3, 4))
    assert states["0"].shape == (3, 4)


def test_six_axes_need_a_function_and_a_function_gets_them():
    model = nn.Sequential(nn.Unflatten(1, (1, 1, 1, 2, 3)), nn.Identity())
    x = COUNT.reshape(4, 6)
    with record(model, ["0"]) as states:
        model(x)
    with pytest.raises(StateError, match=r"\(4, 1, 1, 1, 2, 3\).*function as pooling"):
        states["0"]
    with record(model, ["0"], pooling=lambda out: out.flatten(1)) as states:
        model(x)
    assert states["0"].tolist() == x.tolist()


def test_a_pooling_function_must_return_rows():
    with pytest.raises(StateError, match=r"tensor \(N, D\), got \(2, 3, 4\)"):
        pool(COUNT.reshape(2, 3, 4), method=lambda x: x)


def test_unknown_names_are_refused():
    with pytest.raises(StateError, match="auto, mean, cls, last, flatten.*'max'"):
        check_method("max")
    with pytest.raises(StateError, match="NTD.*'NDT'"):
        check_layouts("NDT", ["a"])
    with pytest.raises(StateError, match=r"'NTD' has 3 axes.*\(2, 12\)"):
        pool(COUNT.reshape(2, 12), "NTD")
    with pytest.raises(LayerNotFoundError, match="'blok' is not watched; nearest: block"):
        check_layouts({"blok": "NHWC"}, ["block", "stem"])
