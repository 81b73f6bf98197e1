"""The width of a state is the layer's width.

`LayerInfo` gains ``layout`` and ``width``; ``layout=`` is a name or ``{layer: name}`` in
`record`, `collect`, `DeepDriftMonitor`, `DeepDriftVision` and `MMDDrift(layer=)`; where two axes
remain possible a UserWarning holds the layer's name and ``layout=``.
"""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch
from field_models import (
    build,
    fitted,
    outputs_of,
    randint,
    randn,
    right_or_said,
    same,
    states_of,
)
from torch import Tensor, nn

from deepdrift import (
    DIME,
    DeepDriftMonitor,
    DeepDriftVision,
    MMDDrift,
    auto_layers,
    collect,
    list_layers,
    record,
)

NHWC, NCHW, NTD, NCL = (1, 2), (2, 3), (1,), (2,)


def swin(version: int = 1) -> nn.Module:
    tv = pytest.importorskip("torchvision.models.swin_transformer")
    extra = {}
    if version == 2:
        extra = {"block": tv.SwinTransformerBlockV2, "downsample_layer": tv.PatchMergingV2}
    return build(
        lambda: tv.SwinTransformer([2, 2], 16, [2, 2], [2, 4], [4, 4], num_classes=5, **extra)
    )


def tv_convnext() -> nn.Module:
    tv = pytest.importorskip("torchvision.models.convnext")
    return build(
        lambda: tv.ConvNeXt(
            [tv.CNBlockConfig(8, 16, 2), tv.CNBlockConfig(16, None, 2)], num_classes=5
        )
    )


def timm_net(kind: str) -> nn.Module:
    pytest.importorskip("timm")
    if kind == "swin":
        from timm.models.swin_transformer import SwinTransformer

        return build(
            lambda: SwinTransformer(
                img_size=(32, 48),
                patch_size=2,
                embed_dim=16,
                depths=(1, 1),
                num_heads=(2, 2),
                window_size=4,
                num_classes=5,
            )
        )
    if kind == "levit":
        from timm.models.levit import Levit

        return build(
            lambda: Levit(
                img_size=64,
                embed_dim=(16, 24),
                key_dim=8,
                depth=(1, 1),
                num_heads=(2, 3),
                attn_ratio=2,
                mlp_ratio=2,
                num_classes=5,
            )
        )
    if kind == "volo":
        from timm.models.volo import VOLO

        return build(
            lambda: VOLO(
                layers=(2, 2),
                img_size=64,
                embed_dims=(16, 24),
                num_heads=(2, 3),
                mlp_ratio=(2.0, 2.0),
                downsamples=(True, False),
                outlook_attention=(True, False),
                post_layers=("ca",),
                num_classes=5,
                stem_hidden_dim=8,
            )
        )
    if kind == "mambaout":
        from timm.models.mambaout import MambaOut

        return build(lambda: MambaOut(depths=(1, 1), dims=(16, 24), num_classes=5))
    if kind == "sequencer":
        from timm.models.sequencer import Sequencer2d

        return build(
            lambda: Sequencer2d(
                layers=(1, 1),
                img_size=32,
                patch_sizes=(4, 1),
                embed_dims=(16, 24),
                hidden_sizes=(8, 8),
                mlp_ratios=(2.0, 2.0),
                num_classes=5,
            )
        )
    from timm.models.convnext import ConvNeXt

    return build(lambda: ConvNeXt(depths=(2, 1, 1, 1), dims=(8, 12, 16, 20), num_classes=5))


# Channels last


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", ["features.1.0", "features.1.1", "features.3.1"])
def test_swin_blocks_are_averaged_over_height_and_width(version, name):
    """`features.3.1` gave (4, 8), right (4, 32)."""
    net, x = swin(version), randn(4, 3, 32, 48)
    same(states_of(net, [name], x)[name], outputs_of(net, [name], x)[name].mean(NHWC))


@pytest.mark.parametrize("version", [1, 2])
def test_default_layers_of_swin_have_the_model_width(version):
    """Widths 56, 28, 14, 7 in place of 96, 192, 384, 768; every default layer."""
    net, x = swin(version), randn(3, 3, 32, 48)
    names = auto_layers(net)
    assert {"features.1.1", "features.3.1"} <= set(names)
    out = outputs_of(net, names, x)
    for name, state in states_of(net, names, x).items():
        assert out[name].shape[-1] in (16, 32)
        same(state, out[name].mean(NHWC))


def test_swin_where_height_is_the_width_of_the_layer():
    """32 x 24 pixels make a 16 x 12 map of 16 channels."""
    net, x, name = swin(), randn(3, 3, 32, 24), "features.1.1"
    out = outputs_of(net, [name], x)[name]
    assert tuple(out.shape) == (3, 16, 12, 16)
    right_or_said(
        lambda: states_of(net, [name], x)[name],
        lambda s: same(s, out.mean(NHWC)),
        rf"{name}.*layout=",
    )


def test_another_image_size_keeps_the_width_of_swin():
    """'another image size then fails'."""
    net = swin()
    monitor = fitted(
        net, lambda n, s: randn(n, 3, 32, 32, seed=s), layer_names=["features.1.1", "features.3.1"]
    )
    x = randn(3, 3, 48, 64)
    states = monitor.states(x)
    assert {k: v.shape[1] for k, v in states.items()} == {"features.1.1": 16, "features.3.1": 32}
    assert tuple(monitor.read(x).score.shape) == (3,)


@pytest.mark.parametrize("kind", ["swin", "mambaout", "sequencer"])
def test_timm_stages_that_hand_on_channels_last(kind):
    """Timm swin_tiny, mambaout_femto, sequencer2d_s."""
    net, x = timm_net(kind), randn(2, 3, 32, 48)
    prefix = "layers" if kind == "swin" else "stages"
    names = [f"{prefix}.0", f"{prefix}.0.blocks.0", f"{prefix}.1"]
    out = outputs_of(net, names, x)
    for name, state in states_of(net, names, x).items():
        same(state, out[name].mean(NHWC))


@pytest.mark.parametrize("kind", ["swin", "levit", "volo", "mambaout", "sequencer"])
def test_default_layers_of_timm_have_the_layers_width(kind):
    """The defaults of swin, levit (196 for 128), volo, mambaout, sequencer."""
    net = timm_net(kind)
    x = randn(2, 3, *((64, 64) if kind in ("levit", "volo") else (32, 48)))
    names = [n for n in auto_layers(net) if n.startswith(("stages.", "layers.", "network."))]
    assert len(names) >= 2
    out = outputs_of(net, names, x)
    for name, state in states_of(net, names, x).items():
        axes = tuple(range(1, out[name].ndim - 1))  # all of these hand on channels last
        same(state, out[name].mean(axes))


def test_levit_tokens():
    """Levit, 196 in place of 128."""
    net, x = timm_net("levit"), randn(2, 3, 64, 64)
    names = ["stages.0", "stages.1.blocks.0", "stages.1"]
    out = outputs_of(net, names, x)
    for name, state in states_of(net, names, x).items():
        same(state, out[name].mean(NTD))


def test_volo_outlookers():
    """Volo_d1, (N, H, W, C) inside, tokens in its last blocks."""
    net, x = timm_net("volo"), randn(2, 3, 64, 64)
    names = ["network.0.0", "network.0.1", "network.2.0"]
    out = outputs_of(net, names, x)
    for name, state in states_of(net, names, x).items():
        same(state, out[name].mean(tuple(range(1, out[name].ndim - 1))))


# Channels first where one would guess last, and the other way round


CONVNEXT = {
    "features.0.0": NCHW,
    "features.0.1": NCHW,  # convolution, LayerNorm2d
    "features.1.0.block.0": NCHW,
    "features.1.0.block.2": NHWC,
    "features.1.0.block.3": NHWC,
    "features.1.0.block.4": NHWC,
    "features.1.0.block.5": NHWC,  # norm, linear, GELU, linear
    "features.1.0": NCHW,
    "features.2.0": NCHW,
    "features.2.1": NCHW,
    "features.3.1": NCHW,
}


@pytest.mark.parametrize("name", CONVNEXT)
def test_every_layer_of_torchvision_convnext(name):
    """LayerNorm2d was taken for NHWC, GELU inside a block the other way round."""
    net, x = tv_convnext(), randn(2, 3, 40, 56)
    right = outputs_of(net, [name], x)[name].mean(CONVNEXT[name])
    same(states_of(net, [name], x)[name], right)


def test_blocks_and_norms_of_timm_convnext():
    """Timm's LayerNorm2d; blocks and stages."""
    net, x = timm_net("convnext"), randn(2, 3, 64, 96)
    names = ["stem.1", "stages.0.blocks.0", "stages.0", "stages.1.downsample.0", "stages.3"]
    out = outputs_of(net, names, x)
    for name, state in states_of(net, names, x).items():
        same(state, out[name].mean(NCHW))


def test_layer_norms_of_hf_convnext_v2():
    """ConvNextV2LayerNorm works on both; the output decides."""
    hf = pytest.importorskip("transformers")
    net = build(
        lambda: hf.ConvNextV2Model(
            hf.ConvNextV2Config(hidden_sizes=[8, 12], depths=[1, 1], num_stages=2)
        )
    )
    x = {"pixel_values": randn(2, 3, 40, 56)}
    axes = {
        "embeddings.layernorm": NCHW,
        "encoder.stages.0.layers.0.layernorm": NHWC,
        "encoder.stages.0.layers.0.pwconv1": NHWC,
        "encoder.stages.0.layers.0": NCHW,
        "encoder.stages.1": NCHW,
    }
    out = outputs_of(net, axes, x)
    for name, state in states_of(net, axes, x).items():
        same(state, out[name].mean(axes[name]))


@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_layer_norm_2d_alone(source):
    """(2, 8, 16, 24) -> (2, 24), right (2, 8)."""
    if source == "timm":
        norm = pytest.importorskip("timm.layers").LayerNorm2d
    else:
        norm = pytest.importorskip("torchvision.models.convnext").LayerNorm2d
    net = build(lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), norm(8)))
    x = randn(2, 3, 16, 24)
    same(states_of(net, ["1"], x)["1"], outputs_of(net, ["1"], x)["1"].mean(NCHW))


@pytest.mark.parametrize("side", [8, 9])
def test_plain_convolutions_stay_channels_first(side):
    """A guard: also where the map is as wide as the layer."""
    net = build(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(1)
        )
    )
    x = randn(2, 3, side, side)
    names = ["0", "1", "2", "3"]
    out = outputs_of(net, names, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is doubtful here
        for name, state in states_of(net, names, x).items():
            same(state, out[name].mean(NCHW))


# Three axes


class ConvNet1d(nn.Module):
    """A 1-D convolutional net whose activation is defined after the linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv1d(2, 8, 3, padding=1), nn.Conv1d(8, 8, 3, padding=1)
        self.fc, self.relu = nn.Linear(8, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.c2(self.relu(self.c1(x))))
        return self.fc(x.mean(2))


def test_conv1d_net_with_its_activation_defined_last():
    """(4, 50), right (4, 8)."""
    net, x = build(ConvNet1d), randn(4, 2, 50)
    with record(net, ["c1", "relu"]) as states:
        outputs = outputs_of(net, ["c1", "c2"], x)
        same(states["relu"], outputs["c1"].relu().mean(NCL))
        same(states["relu#2"], outputs["c2"].relu().mean(NCL))
        same(states["c1"], outputs["c1"].mean(NCL))


class Conformer(nn.Module):
    """Tokens in, tokens out; the last parameterised leaf is a Conv1d, transposed back."""

    def __init__(self, width: int = 8, norm: bool = False) -> None:
        super().__init__()
        self.ff = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        self.conv = nn.Conv1d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm1d(width) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ff(x)
        return x + self.norm(self.conv(x.transpose(1, 2))).transpose(1, 2)


@pytest.mark.parametrize("norm", [False, True])
def test_a_conformer_block_is_a_block_of_tokens(norm):
    """Blocks that end in a Conv1d and transpose back gave (4, 50) for (4, 8)."""
    net, x = build(lambda: nn.Sequential(Conformer(8, norm), Conformer(8, norm))), randn(4, 50, 8)
    out = outputs_of(net, ["0", "1", "0.conv", "0.ff"], x)
    states = states_of(net, ["0", "1", "0.conv", "0.ff"], x)
    same(states["0"], out["0"].mean(NTD))
    same(states["1"], out["1"].mean(NTD))
    same(states["0.conv"], out["0.conv"].mean(NCL))
    same(states["0.ff"], out["0.ff"].mean(NTD))


@pytest.mark.parametrize("t", [8, 16])
def test_a_conformer_block_where_time_is_as_long_as_the_layer_is_wide(t):
    """Both axes fit one of the leaves' widths; right, or said by name."""
    net, x = build(lambda: nn.Sequential(Conformer(), Conformer())), randn(4, t, 8)
    right = outputs_of(net, ["1"], x)["1"].mean(NTD)
    right_or_said(lambda: states_of(net, ["1"], x)["1"], lambda s: same(s, right), "layout=")


@pytest.mark.parametrize("family", ["Wav2Vec2", "Hubert", "WavLM"])
def test_default_layers_of_speech_models_with_layer_norm(family):
    """Feat_extract_norm="layer": (3, 319) for (3, 16)."""
    hf = pytest.importorskip("transformers")
    config = getattr(hf, f"{family}Config")(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16, 16),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    net, x = build(lambda: getattr(hf, f"{family}Model")(config)), randn(3, 640)
    names = auto_layers(net)
    out = outputs_of(net, names, x)
    assert any("feature_extractor" in n for n in names)
    for name, state in states_of(net, names, x).items():
        right = NCL if name.startswith("feature_extractor") else NTD
        assert out[name].mean(right).shape == (3, 16 if right == NCL else 24)
        same(state, out[name].mean(right))


def test_inside_a_speech_models_convolution_with_layer_norm():
    """Norm in tokens, convolution and activation in channels."""
    hf = pytest.importorskip("transformers")
    net = build(
        lambda: hf.Wav2Vec2Model(
            hf.Wav2Vec2Config(
                hidden_size=24,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=32,
                conv_dim=(16, 16),
                conv_stride=(5, 2),
                conv_kernel=(10, 3),
                feat_extract_norm="layer",
                do_stable_layer_norm=True,
                num_conv_pos_embeddings=4,
                num_conv_pos_embedding_groups=2,
            )
        )
    )
    inner, x = "feature_extractor.conv_layers.1", randn(3, 640)
    axes = {f"{inner}.conv": NCL, f"{inner}.layer_norm": NTD, f"{inner}.activation": NCL}
    out = outputs_of(net, axes, x)
    for name, state in states_of(net, axes, x).items():
        same(state, out[name].mean(axes[name]))


def test_patchtst_keeps_the_model_width():
    """Blocks (3, 4, 4, 16) -> (3, 4); right (3, 16)."""
    hf = pytest.importorskip("transformers")
    net = build(
        lambda: hf.PatchTSTModel(
            hf.PatchTSTConfig(
                num_input_channels=4,
                context_length=32,
                patch_length=8,
                patch_stride=8,
                d_model=16,
                num_attention_heads=2,
                num_hidden_layers=2,
                ffn_dim=32,
            )
        )
    )
    x = {"past_values": randn(3, 32, 4)}
    names = ["encoder.layers.0", "encoder.layers.1"]
    assert auto_layers(net) == names
    out = outputs_of(net, names, x)
    for name, state in states_of(net, names, x).items():
        same(state, out[name].mean((1, 2)))


def test_default_layers_of_hf_swin_stay_tokens():
    """HF Swin's default layers are tokens, hence right; a guard."""
    hf = pytest.importorskip("transformers")
    net = build(
        lambda: hf.SwinModel(
            hf.SwinConfig(
                image_size=32,
                patch_size=2,
                embed_dim=16,
                depths=[2, 2],
                num_heads=[2, 2],
                window_size=4,
            )
        )
    )
    x, names = {"pixel_values": randn(2, 3, 32, 32)}, auto_layers(net)
    out = outputs_of(net, names, x)
    for name, state in states_of(net, names, x).items():
        assert out[name].ndim == 3
        same(state, out[name].mean(NTD))


# What is shown


def test_list_layers_shows_layout_and_width():
    """Then the user sees it."""
    by_name = {i.name: i for i in list_layers(swin(), randn(2, 3, 32, 48))}
    block = by_name["features.3.1"]
    assert (block.shape, block.layout, block.width) == ((2, 8, 12, 32), "NHWC", 32)
    first = by_name["features.0.0"]
    assert (first.shape, first.layout, first.width) == ((2, 16, 16, 24), "NCHW", 16)
    text = str(list_layers(swin(), randn(2, 3, 32, 48)))
    assert "NHWC" in text and "width" in text


def test_list_layers_agrees_with_record():
    """What is listed is what is recorded, for every layer that can be."""
    for net, x in (
        (tv_convnext(), randn(2, 3, 40, 56)),
        (build(ConvNet1d), randn(2, 2, 50)),
        (build(lambda: nn.Sequential(Conformer(), Conformer())), randn(2, 50, 8)),
    ):
        listed = {i.name: i.width for i in list_layers(net, x) if i.width is not None}
        assert listed
        states = states_of(net, dict.fromkeys(listed), x)
        assert {k: v.shape[1] for k, v in states.items()} == listed


# Where two axes remain possible


class Mixer(nn.Module):
    """Hands on (N, H, W, C) with H = W = C; no trace in shapes of which is which."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.mix = nn.Conv2d(3, 8, 1), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(torch.tanh(self.first(x)).permute(0, 2, 3, 1))


class Doubtful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block, self.out = Mixer(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.block(x)).mean((1, 2))


def doubtful() -> SimpleNamespace:
    net, x = build(Doubtful), randn(3, 3, 8, 8)
    return SimpleNamespace(net=net, x=x, right=outputs_of(net, ["block"], x)["block"].mean(NHWC))


@pytest.mark.parametrize("name", ["block", "out"])
def test_two_possible_axes_are_said_by_name(name):
    """A warning by name and layout= as the remedy (or the right answer)."""
    case = doubtful()
    right_or_said(
        lambda: states_of(case.net, [name], case.x)[name],
        lambda s: same(s, case.right),
        rf"{name}.*layout=",
    )


@pytest.mark.parametrize("layout", ["NHWC", {"block": "NHWC"}])
def test_layout_is_the_remedy_and_silences(layout):
    """Layout= for all layers or by name, in record, collect and the monitor."""
    case = doubtful()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(states_of(case.net, ["block"], case.x, layout=layout)["block"], case.right)
        got = collect(case.net, [case.x], ["block"], layout=layout).states["block"]
        same(got, case.right)
        monitor = DeepDriftMonitor(case.net, ["block"], layout=layout)
        same(monitor.states(case.x)["block"], case.right)


def test_layout_by_name_leaves_other_layers_alone():
    """Everywhere a layer can be named."""
    case = doubtful()
    states = states_of(case.net, ["block.first", "block"], case.x, layout={"block": "NHWC"})
    same(states["block"], case.right)
    same(
        states["block.first"],
        outputs_of(case.net, ["block.first"], case.x)["block.first"].mean(NCHW),
    )


@pytest.mark.parametrize("layout", ["NHWC", {"block": "NHWC"}])
def test_vision_takes_a_layout(layout):
    """DeepDriftVision had no way out."""
    case = doubtful()
    vision = DeepDriftVision(case.net, ["block"], layout=layout)
    same(vision.monitor.states(case.x)["block"], case.right)


@pytest.mark.parametrize("layout", ["NHWC", {"block": "NHWC"}])
def test_mmd_takes_a_layout(layout):
    """MMDDrift(..., layer=) had no way out."""
    case = doubtful()
    drift = MMDDrift(case.x, feature_map=case.net, layer="block", layout=layout)
    same(drift.reference, case.right)


def test_mmd_of_swin_without_a_layout():
    """The same evidence behind MMDDrift(layer=)."""
    net, x = swin(), randn(4, 3, 32, 48)
    drift = MMDDrift(x, feature_map=net, layer="features.3.1")
    same(drift.reference, outputs_of(net, ["features.3.1"], x)["features.3.1"].mean(NHWC))
    assert DIME(1).fit(drift.reference).n_samples == 4


def test_a_wrong_layout_is_refused_with_the_shape():
    """A remedy that cannot apply says so; an unknown layer in the mapping too."""
    case = doubtful()
    with pytest.raises(ValueError, match="blok"):
        DeepDriftMonitor(case.net, ["block"], layout={"blok": "NHWC"})
    with pytest.raises(RuntimeError, match="NHCW"):
        DeepDriftMonitor(case.net, ["block"], layout={"block": "NHCW"})


def test_bert_tokens_stay_tokens_where_time_is_the_width():
    """A guard: T = D = 16 in a plain encoder is no reason to turn the axes."""
    hf = pytest.importorskip("transformers")
    net = build(
        lambda: hf.BertModel(
            hf.BertConfig(
                vocab_size=40,
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=16,
            )
        )
    )
    x, name = {"input_ids": randint(40, 3, 16)}, "encoder.layer.1"
    right = outputs_of(net, [name], x)[name].mean(NTD)
    right_or_said(lambda: states_of(net, [name], x)[name], lambda s: same(s, right), "layout=")
