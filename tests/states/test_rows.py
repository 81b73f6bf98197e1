"""A row of a state is a sample.

rows that are no samples are folded back to the right mean, or refused by a DeepDriftError
that speaks of rows, samples or the batch; no new argument. `read()` after several passes warns.
"""

from __future__ import annotations

import warnings

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
from torch.nn.utils import parametrize
from torch.utils.data import TensorDataset

from deepdrift import (
    DeepDriftError,
    DeepDriftMonitor,
    collect,
    record,
)

ROWS = r"row|sample|batch"


class Crops(nn.Module):
    """(N, K, C, H, W): five crops per image through one network, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 6, 3),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        n, k = x.shape[:2]
        return self.net(x.flatten(0, 1)).view(n, k, -1).mean(1)


def test_crops_are_folded_back_or_refused():
    """(4, 5, C, H, W) gave 20 rows."""
    net, x = build(Crops), randn(4, 5, 3, 8, 8)
    out = outputs_of(net, ["net.1"], x)["net.1"]  # (20, 6, 6, 6)
    right = out.view(4, 5, 6, -1).mean((1, 3))
    right_or_refused(lambda: states_of(net, ["net.1"], x)["net.1"], lambda s: same(s, right), ROWS)


def test_crops_in_a_monitor_give_one_score_per_image():
    """4 images gave 20 scores."""
    net = build(Crops)

    def scores() -> Tensor:
        monitor = fitted(net, lambda n, s: randn(n, 5, 3, 8, 8, seed=s))
        assert monitor.calibration.n_samples <= 120
        return monitor.read(randn(4, 5, 3, 8, 8)).score

    def one_per_image(score: Tensor) -> None:
        assert tuple(score.shape) == (4,)

    right_or_refused(scores, one_per_image, ROWS)


def test_frames_of_a_video_are_folded_back_or_refused():
    """(N, T, ...) flattened inside a module that is not the root."""

    class Video(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frame = nn.Sequential(nn.Linear(5, 7), nn.ReLU())
            self.rnn = nn.GRU(7, 6, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            n, t = x.shape[:2]
            return self.rnn(self.frame(x.reshape(n * t, 5)).view(n, t, 7))[0]

    net, x = build(Video), randn(3, 4, 5)
    out = outputs_of(net, ["frame.1", "rnn"], x)
    right = out["frame.1"].view(3, 4, 7).mean(1)
    right_or_refused(
        lambda: states_of(net, ["frame.1"], x)["frame.1"], lambda s: same(s, right), ROWS
    )
    same(states_of(net, ["rnn"], x)["rnn"], out["rnn"].mean(1))


class LowRank(nn.Module):
    """LoRA as a parametrization."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(n, 2)), nn.Parameter(torch.randn(2, n))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.a @ self.b


def lora() -> nn.Module:
    net = nn.Sequential()
    for name in "abc":
        net.add_module(name, nn.Linear(16, 16))
        parametrize.register_parametrization(net.get_submodule(name), "weight", LowRank(16))
    return net


@pytest.mark.parametrize("n", [20, 16])
def test_weights_of_a_parametrization_are_no_states(n):
    """Also where there happen to be as many inputs as rows in the weight."""
    net = build(lora)
    with pytest.raises(DeepDriftError, match="(?i)row|sample|batch|parametri|weight"):
        states_of(net, ["a.parametrizations.weight.0"], randn(n, 16))


def test_an_image_without_batch_axis_is_refused():
    """The channels of one image became samples."""
    net = build(lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()))
    with pytest.raises(DeepDriftError, match=r"(?i)batch|x\[None\]"):
        states_of(net, ["1"], randn(3, 9, 9))


@pytest.mark.parametrize("labelled", [True, False])
def test_a_data_set_in_place_of_a_loader_is_refused(labelled):
    """'Calibrated on 200 normal samples' from 100 images."""
    net = build(lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()))
    tensors = (randn(100, 3, 9, 9), randint(3, 100)) if labelled else (randn(100, 3, 9, 9),)
    monitor = DeepDriftMonitor(net)
    for learn in (monitor.fit, monitor.calibrate):
        with pytest.raises(DeepDriftError, match="DataLoader"):
            learn(TensorDataset(*tensors))


def test_a_data_set_of_rows_is_refused_by_the_loaders_name():
    """An MLP with a head; the error spoke of TND."""
    net = build(
        lambda: nn.Sequential(
            nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
        )
    )
    with pytest.raises(DeepDriftError, match="DataLoader") as caught:
        DeepDriftMonitor(net).calibrate(TensorDataset(randn(100, 6), randint(3, 100)))
    assert "TND" not in str(caught.value)


def test_one_row_without_batch_axis_names_the_remedy():
    """An unbatched input (6,) spoke of flatten."""
    net = build(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()))
    monitor = fitted(net, lambda n, s: randn(n, 6, seed=s))
    with pytest.raises(DeepDriftError, match=r"x\[None\]") as caught:
        monitor.read(randn(6))
    assert "flatten" not in str(caught.value)


def test_windows_of_timm_swin_are_folded_back_or_refused():
    """(48, 16, 16) for 2 images."""
    swin = pytest.importorskip("timm.models.swin_transformer").SwinTransformer
    net = build(
        lambda: swin(
            img_size=(32, 48),
            patch_size=2,
            embed_dim=16,
            depths=(1, 1),
            num_heads=(2, 2),
            window_size=4,
            num_classes=5,
        )
    )
    name, x = "layers.0.blocks.0.attn", randn(2, 3, 32, 48)
    out = outputs_of(net, [name], x)[name]
    assert out.shape[0] == 48
    right = out.view(2, 24, 16, 16).mean((1, 2))  # windows follow image by image
    right_or_refused(lambda: states_of(net, [name], x)[name], lambda s: same(s, right), ROWS)


def test_windows_of_hf_swin_are_folded_back_or_refused():
    """Windows again, of another library."""
    hf = pytest.importorskip("transformers")
    net = build(
        lambda: hf.SwinModel(
            hf.SwinConfig(
                image_size=32,
                patch_size=2,
                embed_dim=16,
                depths=[1, 1],
                num_heads=[2, 2],
                window_size=4,
            )
        )
    )
    name, x = "encoder.layers.0.blocks.0.attention", {"pixel_values": randn(2, 3, 32, 32)}
    out = outputs_of(net, [name], x)[name]
    assert out.shape[0] == 32
    right = out.view(2, 16, 16, 16).mean((1, 2))
    right_or_refused(lambda: states_of(net, [name], x)[name], lambda s: same(s, right), ROWS)


def test_pixel_tokens_of_tnt_are_folded_back_or_refused():
    """Tnt, (N * patches, 16, 24) taken as state, and the default layers with it."""
    tnt = pytest.importorskip("timm.models.tnt").TNT
    net = build(
        lambda: tnt(
            img_size=32,
            patch_size=16,
            embed_dim=32,
            inner_dim=8,
            depth=2,
            num_heads_inner=2,
            num_heads_outer=2,
            num_classes=5,
        )
    )
    x = randn(3, 3, 32, 32)
    out = outputs_of(net, ["blocks.0.mlp_in"], x)["blocks.0.mlp_in"]
    right = out.view(3, 4, 16, 8).mean((1, 2))
    right_or_refused(
        lambda: states_of(net, ["blocks.0.mlp_in"], x)["blocks.0.mlp_in"],
        lambda s: same(s, right),
        ROWS,
    )

    def rows() -> list[int]:
        monitor = fitted(net, lambda n, s: randn(n, 3, 32, 32, seed=s))
        return [len(v) for v in monitor.states(x).values()] + [len(monitor.read(x).score)]

    def all_three(counts: list[int]) -> None:
        assert set(counts) == {3}

    right_or_refused(rows, all_three, ROWS)


class OwnTranspose(nn.Module):
    """Batch first outside, time first inside: the attention has batch_first=False."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attn = nn.LayerNorm(8), nn.MultiheadAttention(8, 2)
        self.ff = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x).transpose(0, 1)
        y = x + self.attn(y, y, y)[0].transpose(0, 1)
        return y + torch.tanh(self.ff(y))


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(OwnTranspose() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


@pytest.mark.parametrize("t", [7, 4])
def test_a_block_that_transposes_for_itself(t):
    """(4, 7, 8) became (7, 8); silent where T = N."""
    net, x = build(Blocks), randn(4, t, 8)
    right = outputs_of(net, ["blocks.1"], x)["blocks.1"].mean(1)
    right_or_refused(
        lambda: states_of(net, ["blocks.1"], x)["blocks.1"], lambda s: same(s, right), ROWS
    )


def test_a_block_that_transposes_for_itself_in_a_monitor():
    """50 scores for 4 inputs."""
    net = build(Blocks)

    def score() -> Tensor:
        return fitted(net, lambda n, s: randn(n, 50, 8, seed=s)).read(randn(4, 50, 8)).score

    def four(score: Tensor) -> None:
        assert tuple(score.shape) == (4,)

    right_or_refused(score, four, ROWS)


class RnnLm(nn.Module):
    """A word-level language model, time first."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.rnn = nn.Embedding(50, 6), nn.LSTM(6, 8)
        self.decoder = nn.Linear(8, 50)

    def forward(self, ids: Tensor) -> Tensor:
        return self.decoder(self.rnn(self.encoder(ids))[0])


@pytest.mark.parametrize(("t", "n"), [(7, 5), (5, 5)])
@pytest.mark.parametrize("layer", ["encoder", "rnn", "decoder"])
def test_time_first_is_recognised_or_refused(layer, t, n):
    """(7, 50) for T = 7, N = 5; T = N was silent."""
    net, ids = build(RnnLm), randint(50, t, n)
    right = outputs_of(net, [layer], ids)[layer].mean(0)  # (N, D)
    right_or_refused(
        lambda: states_of(net, [layer], ids)[layer], lambda s: same(s, right), ROWS + "|TND|layout"
    )


@pytest.mark.parametrize(("t", "n"), [(7, 5), (5, 5)])
def test_time_first_by_layout(t, n):
    """The remedy has to work whatever the first axis of the inputs is."""
    net, ids = build(RnnLm), randint(50, t, n)
    right = outputs_of(net, ["decoder"], ids)["decoder"].mean(0)
    same(states_of(net, ["decoder"], ids, layout="TND")["decoder"], right)


def test_positional_embeddings_are_no_states():
    """A table of positions has one row for all samples."""
    hf = pytest.importorskip("transformers")
    net = build(
        lambda: hf.GPT2Model(
            hf.GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=2, n_head=2)
        )
    )
    with pytest.raises(DeepDriftError, match=f"(?i){ROWS}"):
        states_of(net, ["wpe"], {"input_ids": randint(40, 3, 6)})


def test_experts_see_tokens_and_not_samples():
    """Tokens routed to an expert."""

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 6)
            self.experts = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            x = self.inner(x)
            choice = (x.sum(-1) > 0).long()
            out = torch.zeros_like(x)
            for i, expert in enumerate(self.experts):
                out[choice == i] = expert(x[choice == i])
            return out.mean(1)

    net, x = build(Experts), randn(4, 9, 6)
    assert outputs_of(net, ["experts.0"], x)["experts.0"].shape[0] != 4
    with pytest.raises(DeepDriftError, match=f"(?i){ROWS}"):
        states_of(net, ["experts.0"], x)
    same(states_of(net, ["inner"], x)["inner"], outputs_of(net, ["inner"], x)["inner"].mean(1))


def test_two_inputs_stacked_into_one_batch_are_refused_or_folded():
    """A siamese network that runs both images at once has 2 N rows."""

    class Siamese(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = nn.Sequential(nn.Linear(5, 6), nn.Tanh())

        def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
            a, b = self.tower(torch.cat([x1, x2])).chunk(2)
            return (a - b).square().sum(1)

    net, x = build(Siamese), (randn(4, 5), randn(4, 5, seed=1))

    def four(state: Tensor) -> None:
        assert len(state) == 4

    right_or_refused(lambda: states_of(net, ["tower.1"], x)["tower.1"], four, ROWS)


class Detector(nn.Module):
    """Proposals as a detector's head sees them: (N * 6, D), the box regressor defined last."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 6, 3),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d((2, 3)),
        )
        self.cls_score, self.bbox_pred = nn.Linear(6, 3), nn.Linear(6, 12)

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        rois = self.backbone(x).flatten(2).transpose(1, 2).reshape(-1, 6)
        boxes, scores = self.bbox_pred(rois), self.cls_score(rois)
        return [
            {"boxes": b, "scores": s}
            for b, s in zip(boxes.view(len(x), 6, 12), scores.view(len(x), 6, 3), strict=True)
        ]


def test_boxes_are_no_samples_and_no_head():
    """The box regressor was taken for the classifier's head, rows were boxes."""
    net = build(Detector)
    monitor = fitted(net, lambda n, s: randn(n, 3, 9, 9, seed=s))
    assert monitor.output_layer is None
    x = randn(4, 3, 9, 9)
    assert tuple(monitor.read(x).score.shape) == (4,)
    out = outputs_of(net, ["backbone.3"], x)["backbone.3"]
    same(monitor.states(x)["backbone.3"], out.mean((2, 3)))


def test_a_named_box_layer_is_refused():
    """Boxes of a detection model."""
    net, x = build(Detector), randn(4, 3, 9, 9)
    out = outputs_of(net, ["bbox_pred"], x)["bbox_pred"]
    right_or_refused(
        lambda: states_of(net, ["bbox_pred"], x)["bbox_pred"],
        lambda s: same(s, out.view(4, 6, 12).mean(1)),
        ROWS,
    )


def test_nodes_of_a_graph_are_no_samples():
    """PyG, 'disagree (600, 8) / (120, 2)' with the hint TND."""

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.node, self.read_out = nn.Linear(3, 5), nn.Linear(5, 4)

        def forward(self, x: Tensor, index: Tensor) -> Tensor:
            n = int(index.max()) + 1
            h = torch.tanh(self.node(x))
            return self.read_out(torch.zeros(n, 5).index_add_(0, index, h))

    net = build(Graph)
    batch = {"x": randn(12, 3), "index": torch.arange(4).repeat_interleave(3)}

    def disagreement() -> dict:
        monitor = DeepDriftMonitor(net, ["node", "read_out"])
        monitor.calibrate([batch] * 60)
        return monitor.states(batch)

    with pytest.raises(DeepDriftError, match="node") as caught:
        disagreement()
    assert "TND" not in str(caught.value)


@pytest.mark.parametrize("n", [1, 2, 6])
def test_rows_of_ordinary_networks_stay_right(n):
    """A guard: nothing above may cost a batch of one, or a network that is fine today."""
    cnn = build(lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU()))
    x = randn(n, 3, 9, 8)
    same(states_of(cnn, ["3"], x)["3"], outputs_of(cnn, ["3"], x)["3"].mean((2, 3)))
    gru = build(lambda: nn.Sequential(nn.GRU(3, 5, batch_first=True)))
    s = randn(n, 6, 3)
    same(states_of(gru, ["0"], s)["0"], outputs_of(gru, ["0"], s)["0"].mean(1))
    vit = pytest.importorskip("torchvision.models.vision_transformer").VisionTransformer
    net = build(
        lambda: vit(
            image_size=16,
            patch_size=8,
            num_layers=2,
            num_heads=2,
            hidden_dim=16,
            mlp_dim=16,
            num_classes=3,
        )
    )
    name, images = "encoder.layers.encoder_layer_1", randn(n, 3, 16, 16)
    same(states_of(net, [name], images)[name], outputs_of(net, [name], images)[name].mean(1))


def test_generate_is_many_passes_and_that_is_said():
    """`read()` after `generate` saw one token, and flagged 8 of 8 normal prompts."""
    hf = pytest.importorskip("transformers")
    net = build(
        lambda: hf.GPT2LMHeadModel(
            hf.GPT2Config(
                vocab_size=40,
                n_positions=32,
                n_embd=16,
                n_layer=2,
                n_head=2,
                bos_token_id=0,
                eos_token_id=None,
                pad_token_id=0,
            )
        )
    )
    monitor = fitted(net, lambda n, s: {"input_ids": randint(40, n, 10, seed=s, low=1)})
    prompts = randint(40, 8, 10, seed=7, low=1)
    right = monitor.read({"input_ids": prompts}).p_values

    def after_generate() -> Tensor:
        net.generate(prompts, max_new_tokens=4, do_sample=False)
        return monitor.read().p_values

    right_or_said(after_generate, lambda p: same(p, right), "pass")


def test_rows_of_beams_are_said():
    """Beam search gives 6 rows for 2 prompts."""
    hf = pytest.importorskip("transformers")
    net = build(
        lambda: hf.GPT2LMHeadModel(
            hf.GPT2Config(
                vocab_size=40,
                n_positions=32,
                n_embd=16,
                n_layer=2,
                n_head=2,
                bos_token_id=0,
                eos_token_id=None,
                pad_token_id=0,
            )
        )
    )
    monitor = fitted(net, lambda n, s: {"input_ids": randint(40, n, 10, seed=s, low=1)})

    def after_beams() -> Tensor:
        net.generate(randint(40, 2, 10, low=1), max_new_tokens=3, num_beams=3, do_sample=False)
        return monitor.read().p_values

    def two(p: Tensor) -> None:
        assert len(p) == 2

    right_or_said(after_beams, two, "pass")


def test_a_read_after_several_passes_says_how_many():
    """Skorch's predict_proba of 300: 44 scored, 256 never, nothing said."""
    net = build(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()))
    monitor = fitted(net, lambda n, s: randn(n, 4, seed=s))
    with pytest.warns(UserWarning, match="(?i)pass"):
        call(net, randn(20, 4)), call(net, randn(20, 4, seed=1))
        monitor.read()


def test_one_pass_then_read_says_nothing(recwarn):
    """A guard for the warning above."""
    net = build(lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()))
    monitor = fitted(net, lambda n, s: randn(n, 4, seed=s))
    for seed in range(3):
        call(net, randn(5, 4, seed=seed))
        assert len(monitor.read().score) == 5
    assert not [w for w in recwarn if "pass" in str(w.message)]


def test_a_layer_drop_pass_is_named_and_not_called_flatten():
    """A layer skipped in an own train-mode pass; the hint about flatten is wrong."""

    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.Linear(5, 5) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            for i, block in enumerate(self.blocks):
                if not (self.training and i == 1):
                    x = torch.tanh(block(x))
            return x

    net = build(Dropping)
    monitor = fitted(
        net, lambda n, s: randn(n, 5, seed=s), layer_names=[f"blocks.{i}" for i in range(3)]
    )
    net.train()
    call(net, randn(4, 5))
    with pytest.raises(DeepDriftError, match="(?i)train") as caught:
        monitor.read()
    assert "flatten" not in str(caught.value)


def test_a_train_mode_pass_is_said():
    """A dropout model read in train mode, 94 % flagged, no word that training is on."""
    net = build(
        lambda: nn.Sequential(
            nn.Linear(5, 8), nn.Dropout(0.8), nn.ReLU(), nn.Linear(8, 8), nn.Dropout(0.8), nn.ReLU()
        )
    )
    monitor = fitted(net, lambda n, s: randn(n, 5, seed=s))
    net.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        call(net, randn(30, 5))
    right_or_said(monitor.read, lambda r: pytest.fail("no word that training is on"), "train")


@pytest.mark.parametrize("part", ["1", "3"])
def test_a_part_in_train_mode_is_said(part):
    """Monte Carlo dropout, or batch statistics, in a model that is in evaluation mode."""
    net = build(
        lambda: nn.Sequential(
            nn.Linear(5, 8),
            nn.Dropout(0.5),
            nn.Linear(8, 8),
            nn.BatchNorm1d(8, momentum=0.0),
            nn.ReLU(),
        )
    )
    monitor = fitted(net, lambda n, s: randn(n, 5, seed=s), layer_names=["0", "2", "4"])
    call(net, randn(30, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = monitor.read().score
    net.get_submodule(part).train()
    with pytest.warns(UserWarning, match="train mode.*in a part of the model"):
        call(net, randn(30, 5))
        monitor.read()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(monitor.read(randn(30, 5)).score, right)  # our own pass is in evaluation mode


def test_a_loop_of_cells_is_not_told_about_flatten():
    """An LSTMCell loop, calibrated at T = 5 and read at T = 7."""

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.mix = nn.LSTMCell(3, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            state = None
            for t in range(x.shape[1]):
                state = self.cell(x[:, t], state)
            return self.mix(state[0])

    net = build(Loop)
    monitor = fitted(net, lambda n, s: randn(n, 5, 3, seed=s), layer_names=["cell", "mix"])

    def one_per_sample(reading) -> None:
        assert len(reading.score) == 4

    try:
        one_per_sample(monitor.read(randn(4, 7, 3)))
    except DeepDriftError as error:
        assert "flatten" not in str(error)


def test_flatten_is_still_named_where_it_is_the_cause():
    """A guard: the one place where that hint is right."""
    net = build(lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.ReLU()))
    monitor = fitted(net, lambda n, s: randn(n, 1, 6, 6, seed=s), pooling="flatten")
    with pytest.raises(DeepDriftError, match="flatten"):
        monitor.read(randn(4, 1, 7, 7))


def test_collect_checks_rows_too():
    """Every door, not only the monitor's."""
    net, x = build(Crops), randn(4, 5, 3, 8, 8)

    def four(got) -> None:
        assert len(got.states["net.1"]) == 4

    right_or_refused(lambda: collect(net, [x], ["net.1"]), four, ROWS)


def test_the_pass_listened_to_is_never_broken():
    """A refusal waits for the reading: the user's own pass goes on and is right."""
    net, x = build(Crops), randn(4, 5, 3, 8, 8)
    alone = call(net, x)
    with record(net, ["net.1", "net.3"]):
        same(call(net, x), alone, rtol=0, atol=0)
