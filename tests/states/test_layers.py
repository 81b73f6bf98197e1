"""Which layers are watched, and what is refused.

the innovation of an encoder-decoder, a two-tower model or parallel branches has no step
from one tower into the other (``reading.blocks["innovation"]`` has that many columns fewer); a
named layer that never ran raises in `fit`, `calibrate` and `read`, an automatic one is dropped with
a UserWarning; `monitor.output_layer` is final after `fit` or `calibrate`.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from field_models import (
    build,
    call,
    fitted,
    outputs_of,
    randint,
    randn,
    right_or_refused,
    right_or_said,
    same,
    states_of,
)
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from deepdrift import (
    DeepDriftError,
    DeepDriftMonitor,
    MMDDrift,
    auto_layers,
    collect,
    list_layers,
    record,
)

# Parametrized, normalised, quantised


class LowRank(nn.Module):
    def __init__(self, n: int, m: int) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(n, 2)), nn.Parameter(torch.randn(2, m))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.a @ self.b


class Chain(nn.Module):
    """Three linear layers, activations by function: the layers are the linear ones."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        for name in "abc":
            self.add_module(name, nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))


def lora() -> nn.Module:
    net = Chain()
    for name in "abc":
        parametrize.register_parametrization(net.get_submodule(name), "weight", LowRank(16, 16))
    return net


def normed(how: Any) -> Any:
    def make() -> nn.Module:
        net = Chain()
        for name in "abc":
            how(net.get_submodule(name))
        return net

    return make


WRAPPED = {
    "LoRA": lora,
    "spectral": normed(parametrizations.spectral_norm),
    "weight": normed(parametrizations.weight_norm),
    "orthogonal": normed(parametrizations.orthogonal),
    "old spectral": normed(nn.utils.spectral_norm),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_parametrized_layers_are_the_layers(kind):
    """`a.parametrizations.weight.0` was picked, or "found nothing to watch"."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = build(WRAPPED[kind])
    assert auto_layers(net) == auto_layers(build(Chain)) == ["a", "b"]
    x = randn(20, 16)
    out = outputs_of(net, ["a", "b"], x)
    for name, state in states_of(net, ["a", "b"], x).items():
        same(state, out[name])


@pytest.mark.parametrize("kind", ["LoRA", "spectral", "weight"])
def test_a_parametrized_model_scores_its_inputs(kind):
    """20 inputs gave 16 scores, and an input x1000 was never flagged."""
    net = build(WRAPPED[kind])
    monitor = fitted(net, lambda n, s: randn(n, 16, seed=s))
    reading = monitor.read(1000 * randn(20, 16))
    assert tuple(reading.score.shape) == (20,)
    assert bool(reading.flagged.all())


@pytest.mark.parametrize("norm", [parametrizations.spectral_norm, parametrizations.weight_norm])
def test_norms_do_not_change_the_default_layers_of_a_convnet(norm):
    """GAN discriminators and vocoders."""

    def make(wrap: Any) -> nn.Module:
        return nn.Sequential(
            nn.Sequential(wrap(nn.Conv2d(3, 6, 3)), nn.LeakyReLU()),
            nn.Sequential(wrap(nn.Conv2d(6, 6, 3)), nn.LeakyReLU()),
            nn.Flatten(),
            wrap(nn.Linear(150, 2)),
        )

    net = build(lambda: make(norm))
    assert auto_layers(net) == auto_layers(build(lambda: make(lambda m: m)))
    monitor = fitted(net, lambda n, s: (randn(n, 3, 9, 9, seed=s), torch.arange(n) % 2))
    assert monitor.output_layer == "3"  # the head, parametrized as well


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def quantised() -> tuple[nn.Module, nn.Module]:
    net = build(mlp)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            small = torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)
    except (AttributeError, RuntimeError) as error:
        pytest.skip(f"no quantisation here: {error}")
    return net, small


def test_dynamically_quantised_layers_are_leaves():
    """Quantised linears looked like blocks: 0, 2 and the head."""
    net, small = quantised()
    assert auto_layers(small) == auto_layers(net) == ["1", "3"]
    x = randn(5, 4)
    same(states_of(small, ["3"], x)["3"], outputs_of(small, ["3"], x)["3"])


def test_a_float_reference_fits_its_quantised_model(tmp_path):
    """Refused."""
    net, small = quantised()
    monitor = fitted(net, lambda n, s: randn(n, 4, seed=s), output_layer=None)
    monitor.save(tmp_path / "normal.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other weights: may be said
        watched = DeepDriftMonitor(small, output_layer=None).load(tmp_path / "normal.safetensors")
    reading = watched.read(randn(60, 4, seed=77))
    assert reading.flagged.float().mean() < 0.25
    assert bool(watched.read(1000 * randn(5, 4)).flagged.all())


def test_a_quantised_tensor_is_not_called_an_embedding():
    """Statically quantised layers: "choose a layer behind the embedding"."""

    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.out = nn.Identity(), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            q = self.inner(torch.quantize_per_tensor(x, 0.05, 64, torch.quint8))
            return self.out(q.dequantize())

    net, x = build(Quantised), randn(5, 4)
    right = torch.quantize_per_tensor(x, 0.05, 64, torch.quint8).dequantize()

    def embedding_is_not_named(state: Tensor) -> None:
        same(state, right)

    right_or_refused(
        lambda: states_of(net, ["inner"], x)["inner"], embedding_is_not_named, "quanti"
    )


# Blocks that are plain attributes


class DoubleConv(nn.Module):
    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(i, o, 3, padding=1),
            nn.BatchNorm2d(o),
            nn.ReLU(inplace=True),
            nn.Conv2d(o, o, 3, padding=1),
            nn.BatchNorm2d(o),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(i, o))

    def forward(self, x: Tensor) -> Tensor:
        return self.maxpool_conv(x)


class Up(nn.Module):
    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.up, self.conv = nn.ConvTranspose2d(i, i // 2, 2, 2), DoubleConv(i, o)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.conv(torch.cat([skip, self.up(x)], 1))


class UNet(nn.Module):
    """The plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.inc, self.down1, self.down2 = DoubleConv(1, 4), Down(4, 8), Down(8, 16)
        self.up1, self.up2, self.outc = Up(16, 8), Up(8, 4), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.inc(x)
        b = self.down1(a)
        return self.outc(self.up2(self.up1(self.down2(b), b), a))


def part(layer: str) -> str:
    return layer.split(".")[0]


def test_default_layers_of_a_plain_unet():
    """Only `down1` and `down2`, which happen to hold a Sequential."""
    names = auto_layers(build(UNet))
    assert [part(n) for n in names] == ["inc", "down1", "down2", "up1", "up2"]
    net, x = build(UNet), randn(2, 1, 16, 24)
    out = outputs_of(net, names, x)
    for name, state in states_of(net, names, x).items():
        same(state, out[name].mean((2, 3)))


def test_a_broken_decoder_is_seen():
    """Decoder weights set to 50: 1 of 8 flagged."""
    net = build(UNet)
    monitor = fitted(net, lambda n, s: randn(n, 1, 16, 16, seed=s))
    with torch.no_grad():
        for p in net.up1.parameters():
            p.fill_(50.0)
    assert bool(monitor.read(randn(8, 1, 16, 16)).flagged.all())


def test_heads_of_one_kind_do_not_stand_for_the_network():
    """As in YOLOS: the heads for classes and boxes were watched, and the backbone as one block."""

    def block() -> nn.Module:
        return nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Module()
            self.encoder.layer = nn.ModuleList(block() for _ in range(3))

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Linear(8, 3)

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.classes, self.boxes = Backbone(), Head(), Head()

    assert auto_layers(build(Detector)) == [f"backbone.encoder.layer.{i}" for i in range(3)]


def test_default_layers_of_blocks_by_name():
    """ResNet-like blocks as plain attributes beside a stem and a head."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            return x + torch.relu(self.norm(self.conv(x)))

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 4, 3)
            self.block1, self.block2, self.block3 = Block(), Block(), Block()
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.block3(self.block2(self.block1(self.stem(x))))
            return self.head(x.mean((2, 3)))

    assert auto_layers(build(Named)) == ["block1", "block2", "block3"]


def test_default_layers_of_densenet():
    """DenseNet at block level, every dense block among them."""
    tv = pytest.importorskip("torchvision.models.densenet")
    net = build(lambda: tv.DenseNet(4, (2, 2, 2), 8, bn_size=2, num_classes=3))
    names, x = auto_layers(net), randn(2, 3, 32, 48)
    for block in ("denseblock1", "denseblock2", "denseblock3"):
        assert any(f"features.{block}" in n for n in names), names
    assert len(names) <= 12 and not any(".conv" in n or ".norm" in n for n in names)
    out = outputs_of(net, names, x)
    for name, state in states_of(net, names, x).items():
        same(state, out[name].mean((2, 3)))


@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_default_layers_of_convnext_are_its_blocks(source):
    """Timm's stages, torchvision's blocks: the level differed between libraries."""
    if source == "timm":
        timm = pytest.importorskip("timm.models.convnext")
        net = build(lambda: timm.ConvNeXt(depths=(2, 1, 2, 1), dims=(8, 8, 12, 12), num_classes=3))
    else:
        tv = pytest.importorskip("torchvision.models.convnext")
        net = build(
            lambda: tv.ConvNeXt(
                [
                    tv.CNBlockConfig(8, 8, 2),
                    tv.CNBlockConfig(8, 12, 1),
                    tv.CNBlockConfig(12, 12, 2),
                    tv.CNBlockConfig(12, None, 1),
                ],
                num_classes=3,
            )
        )
    kinds = [type(net.get_submodule(n)).__name__ for n in auto_layers(net)]
    assert [k for k in kinds if "Block" in k] == kinds and len(kinds) == 6


# More than one chain


class Branches(nn.Module):
    """As GoogLeNet: four parallel branches, concatenated."""

    def __init__(self, i: int) -> None:
        super().__init__()
        self.branch1 = nn.Sequential(nn.Conv2d(i, 4, 1), nn.ReLU())
        self.branch2 = nn.Sequential(
            nn.Sequential(nn.Conv2d(i, 4, 1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()),
        )
        self.branch3 = nn.Sequential(
            nn.Sequential(nn.Conv2d(i, 4, 1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(4, 4, 5, padding=2), nn.ReLU()),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x)], 1)


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.mix1, self.mix2, self.mix3 = Branches(6), Branches(12), Branches(12)
        self.fc = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.mix3(self.mix2(self.mix1(self.stem(x)))).mean((2, 3)))


def test_parallel_branches_are_no_chain():
    """`inception3a.branch2.0` and other parallel branches were taken for a chain."""
    net = build(Inception)
    assert auto_layers(net) == ["mix1", "mix2", "mix3"]
    monitor = fitted(net, lambda n, s: randn(n, 3, 9, 9, seed=s))
    assert monitor.read(randn(2, 3, 9, 9)).blocks["innovation"].shape[1] == 2


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_default_layers_of_the_real_ones(name):
    """GoogLeNet's branches; Inception v3: 97 layers."""
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = getattr(models, name)(weights=None, aux_logits=False, init_weights=False)
    names = auto_layers(net)
    assert 5 <= len(names) <= 24
    assert not any("branch" in n for n in names)
    mixing = [n for n in names if n.startswith(("inception", "Mixed"))]
    assert len(mixing) == (9 if name == "googlenet" else 11)


def test_default_layers_of_a_backbone_that_is_a_dict():
    """DeepLabV3: instead of its 15 blocks their squeeze-and-excitation parts were watched."""
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        net = models.get_model(
            "deeplabv3_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=3
        )
    blocks = [f"backbone.{i}" for i in range(1, 16)]
    assert auto_layers(net) == [*blocks, "classifier.0"]


def test_named_parallel_branches_have_no_step_between_them():
    """No step from one tower into the other, also where the user names both."""
    net = build(Inception)
    names = ["mix1.branch1", "mix1.branch2", "mix1.branch3"]

    def reading() -> Any:
        monitor = fitted(net, lambda n, s: randn(n, 3, 9, 9, seed=s), layer_names=names)
        return monitor.read(randn(4, 3, 9, 9))

    def no_step(reading: Any) -> None:
        steps = reading.blocks.get("innovation")
        assert steps is None or steps.shape[1] == 0
        assert reading.blocks["distance"].shape[1] == 3

    right_or_said(reading, no_step, r"mix1\.branch")


def test_no_step_from_encoder_to_decoder():
    """T5 chained encoder end -> decoder start."""
    hf = pytest.importorskip("transformers")
    net = build(
        lambda: hf.T5Model(
            hf.T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2)
        )
    )

    def batch(n: int, seed: int) -> dict:
        return {
            "input_ids": randint(40, n, 6, seed=seed),
            "decoder_input_ids": randint(40, n, 5, seed=seed + 1),
        }

    monitor = fitted(net, batch)
    assert len(monitor.layers) == 4
    reading = monitor.read(batch(5, 1))
    assert reading.blocks["distance"].shape[1] == 4
    assert reading.blocks["innovation"].shape[1] == 2


def clip() -> nn.Module:
    hf = pytest.importorskip("transformers")
    text = dict(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    vision = dict(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=8,
    )
    return build(
        lambda: hf.CLIPModel(
            hf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
        )
    )


def clip_batch(n: int, seed: int) -> dict:
    return {
        "input_ids": randint(40, n, 6, seed=seed, low=2),
        "pixel_values": randn(n, 3, 16, 16, seed=seed),
    }


def test_no_step_from_tower_to_tower():
    """CLIP's text tower was chained to its vision tower."""
    net = clip()
    monitor = fitted(net, clip_batch)
    assert len(monitor.layers) == 4
    reading = monitor.read(clip_batch(5, 1))
    assert reading.blocks["innovation"].shape[1] == 2


def test_two_towers_of_ones_own():
    """A step across would make one tower's normal noise the other's surprise."""

    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = nn.Sequential(
                *[nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(2)]
            )
            self.right = nn.Sequential(
                *[nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(2)]
            )

        def forward(self, x: Tensor, z: Tensor) -> Tensor:
            return (self.left(x) * self.right(z)).sum(1)

    net = build(Towers)
    monitor = fitted(net, lambda n, s: {"x": randn(n, 6, seed=s), "z": randn(n, 6, seed=s + 500)})
    assert [part(n) for n in monitor.layers] == ["left", "left", "right", "right"]
    given = {"x": randn(5, 6), "z": randn(5, 6, seed=1)}
    steps = monitor.read(given).blocks["innovation"]
    assert steps.shape[1] == 2
    moved = monitor.read({"x": randn(5, 6), "z": randn(5, 6, seed=2)}).blocks["innovation"]
    same(moved[:, 0], steps[:, 0])  # the left tower's step knows nothing of z


# Layers that never ran


class Lightning(nn.Module):
    """As a LightningModule with a teacher that only training uses."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.teacher = mlp(), mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def test_a_named_layer_that_never_ran_is_an_error():
    """Dropped without a word, while `monitor.layers` went on listing it."""
    for learn in ("fit", "calibrate"):
        monitor = DeepDriftMonitor(build(Lightning), ["net.1", "teacher.1"])
        with pytest.raises(DeepDriftError, match=r"teacher\.1"):
            getattr(monitor, learn)([randn(60, 4, seed=s) for s in range(4)])
    with pytest.raises(DeepDriftError, match=r"teacher\.1"):
        collect(build(Lightning), randn(5, 4), ["net.1", "teacher.1"])


def test_an_automatic_layer_that_never_ran_is_dropped_with_a_word():
    """Automatic ones are dropped, and listed no more."""
    monitor = DeepDriftMonitor(build(Lightning))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        monitor.calibrate([randn(60, 4, seed=s) for s in range(4)])
    assert list(monitor.layers) == ["net.1", "net.3"]
    assert any("teacher" in str(w.message) for w in caught)


# The head


def test_the_head_is_what_made_the_output():
    """None because `teacher.4` is defined last."""
    net = build(Lightning)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        monitor = fitted(net, lambda n, s: (randn(n, 4, seed=s), torch.arange(n) % 3))
    assert monitor.output_layer == "net.4"
    assert "output" in monitor.read(randn(3, 4)).blocks


def test_a_head_defined_first():
    """By what ran, not by the order of definition."""

    class HeadFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 3)
            self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.body(x))

    monitor = fitted(build(HeadFirst), lambda n, s: (randn(n, 4, seed=s), torch.arange(n) % 3))
    assert monitor.output_layer == "fc"
    assert list(monitor.layers) == ["body.1", "body.3"]


def test_an_auxiliary_head_defined_last_is_not_the_head():
    """GoogLeNet- and DeiT-like: a second classifier beside the one of the output."""

    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
            self.fc, self.aux = nn.Linear(8, 3), nn.Linear(8, 3)
            self.last: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            h = self.body(x)
            self.last = self.aux(h).detach()
            return self.fc(h)

    monitor = fitted(build(Auxiliary), lambda n, s: (randn(n, 4, seed=s), torch.arange(n) % 3))
    assert monitor.output_layer == "fc"


@pytest.mark.parametrize("wrap", ["dict", "tuple", "softmax"])
def test_a_head_inside_what_the_model_returns(wrap):
    """Logits in a mapping or a tuple; behind a softmax it is still the logits."""

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 3)
            self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())

        def forward(self, x: Tensor) -> Any:
            h = self.body(x)
            y = self.fc(h)
            return {"dict": {"logits": y, "h": h}, "tuple": (y, h), "softmax": y.softmax(1)}[wrap]

    monitor = fitted(build(Wrapped), lambda n, s: (randn(n, 4, seed=s), torch.arange(n) % 3))
    assert monitor.output_layer == "fc"


def test_clip_has_no_classifier():
    """`text_projection` was taken for the head."""
    assert fitted(clip(), clip_batch).output_layer is None


def test_a_pooler_is_no_classifier():
    """BertModel's `pooler.dense` became the "classifier head"."""
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
    assert fitted(net, lambda n, s: {"input_ids": randint(40, n, 6, seed=s)}).output_layer is None


@pytest.mark.parametrize("kind", ["GPT2", "Llama", "T5"])
def test_a_language_models_head_is_no_classifier(kind):
    """`lm_head` where the vocabulary is at most 2048."""
    hf = pytest.importorskip("transformers")
    if kind == "GPT2":
        net = build(
            lambda: hf.GPT2LMHeadModel(
                hf.GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=2, n_head=2)
            )
        )
    elif kind == "Llama":
        net = build(
            lambda: hf.LlamaForCausalLM(
                hf.LlamaConfig(
                    vocab_size=40,
                    hidden_size=16,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    intermediate_size=16,
                    tie_word_embeddings=False,
                )
            )
        )
    else:
        net = build(
            lambda: hf.T5ForConditionalGeneration(
                hf.T5Config(
                    vocab_size=40,
                    d_model=16,
                    d_kv=8,
                    d_ff=16,
                    num_layers=2,
                    num_heads=2,
                    tie_word_embeddings=False,
                )
            )
        )

    def batch(n: int, seed: int) -> dict:
        more = {"decoder_input_ids": randint(40, n, 5, seed=seed)} if kind == "T5" else {}
        return {"input_ids": randint(40, n, 6, seed=seed)} | more

    assert fitted(net, batch).output_layer is None


def test_heads_of_ordinary_classifiers_stay():
    """A guard: ResNet, ViT and an MLP keep their heads and their numbers."""
    tv = pytest.importorskip("torchvision.models.vision_transformer")
    vit = build(
        lambda: tv.VisionTransformer(
            image_size=16,
            patch_size=8,
            num_layers=2,
            num_heads=2,
            hidden_dim=16,
            mlp_dim=16,
            num_classes=3,
        )
    )
    monitor = fitted(vit, lambda n, s: (randn(n, 3, 16, 16, seed=s), torch.arange(n) % 3))
    assert monitor.output_layer == "heads.head"
    monitor = fitted(build(mlp), lambda n, s: (randn(n, 4, seed=s), torch.arange(n) % 3))
    assert (monitor.output_layer, list(monitor.layers)) == ("4", ["1", "3"])


# Refused with a remedy


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(build(mlp))


def traced() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(build(mlp), randn(2, 4))


def exported() -> nn.Module:
    return torch.export.export(build(mlp), (randn(2, 4),)).module()


DOORS = {
    "monitor": lambda m: DeepDriftMonitor(m, ["1", "3"]),
    "monitor auto": lambda m: DeepDriftMonitor(m),
    "record": lambda m: record(m, ["1"]),
    "list_layers": lambda m: list_layers(m, randn(2, 4)),
    "auto_layers": lambda m: auto_layers(m),
    "collect": lambda m: collect(m, randn(2, 4), ["1"]),
    "mmd": lambda m: MMDDrift(randn(4, 4), feature_map=m, layer="1"),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("make", [scripted, traced])
def test_torchscript_is_refused_with_a_remedy(make, door):
    """'OrderedModuleDict' has no attribute 'get'; raw RuntimeError."""
    with pytest.raises(DeepDriftError, match=r"(?is)(script|jit).*(original|eager|before|python)"):
        DOORS[door](make())


@pytest.mark.parametrize("door", DOORS)
def test_an_exported_program_is_refused_with_a_remedy(door):
    """ "NotImplementedError: Calling eval() is not supported yet." out of `quiet`."""
    with pytest.raises(DeepDriftError, match=r"(?is)export.*(original|eager|before|python)"):
        DOORS[door](exported())


def test_an_exported_program_itself_names_the_remedy():
    """The object that torch.export returns is no module at all."""
    program = torch.export.export(build(mlp), (randn(2, 4),))
    with pytest.raises(DeepDriftError, match=r"(?is)export.*(original|eager|before|python)"):
        DeepDriftMonitor(program, ["1", "3"])


@pytest.mark.parametrize("door", DOORS)
def test_data_parallel_is_refused_with_a_remedy(door):
    """Nn.DataParallel, whose replicas no hook reaches."""
    with pytest.raises(DeepDriftError, match=r"(?is)DataParallel.*(\.module|Distributed)"):
        DOORS[door](nn.DataParallel(build(mlp)))


def test_a_scripted_part_of_a_model_is_named():
    """A scripted block in an eager model; other layers stay watchable."""

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), scripted()
            self.last = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.second(self.first(x)))

    net, x = build(Mixed), randn(3, 4)
    same(states_of(net, ["first", "last"], x)["last"], outputs_of(net, ["last"], x)["last"])
    with pytest.raises(DeepDriftError, match="(?i)second"):
        DeepDriftMonitor(net, ["second.1"])


def test_fx_and_compile_stay_watchable():
    """ "fx: fine"; a guard."""
    net = build(mlp)
    graph = torch.fx.symbolic_trace(net)
    x = randn(5, 4)
    right = outputs_of(net, ["3"], x)["3"]
    same(states_of(graph, ["3"], x)["3"], right)
    lazy = torch.compile(net, backend="eager")
    monitor = DeepDriftMonitor(lazy, ["1", "3"])
    same(monitor.states(x)["3"], right)


def test_a_model_is_what_it_was_after_a_refusal():
    """Refusing leaves no hook behind."""
    net = build(Lightning)
    alone = call(net, randn(3, 4))
    monitor = DeepDriftMonitor(net, ["net.1", "teacher.1"])
    try:
        monitor.calibrate([randn(60, 4, seed=s) for s in range(4)])
    except DeepDriftError:
        pass
    monitor.close()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    same(call(net, randn(3, 4)), alone, rtol=0, atol=0)
