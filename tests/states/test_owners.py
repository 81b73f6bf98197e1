"""Whose tokens a mask speaks of: sparse attention, encoder-decoders, speech, hand-written parts."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from field_models import build, call, gen, outputs_of, randn, same, states_of, weighted
from torch import Tensor, nn

from deepdrift import StateError, record
from deepdrift.states.owners import owner_of, take
from deepdrift.states.padding import as_keep, shrunk

PAD = 1
SMALL = dict(vocab_size=40, pad_token_id=PAD, max_position_embeddings=64)
BERT = SMALL | dict(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
)
BART = dict(
    vocab_size=40, pad_token_id=PAD, d_model=16, encoder_layers=2, decoder_layers=2,
    encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
)  # fmt: skip


def model(kind: str) -> nn.Module:
    t = pytest.importorskip("transformers")
    led = dict(max_encoder_position_embeddings=64, max_decoder_position_embeddings=64)
    t5 = dict(vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2)
    make = {
        "longformer": lambda: t.LongformerModel(
            t.LongformerConfig(**BERT, attention_window=[8, 8], sep_token_id=2)
        ),
        "led": lambda: t.LEDModel(t.LEDConfig(**BART, **led, attention_window=[8, 8])),
        "big_bird": lambda: t.BigBirdModel(
            t.BigBirdConfig(**BERT, block_size=2, num_random_blocks=1)
        ),
        "bart": lambda: t.BartModel(t.BartConfig(**BART, max_position_embeddings=64)),
        "t5": lambda: t.T5ForConditionalGeneration(
            t.T5Config(**t5, pad_token_id=PAD, decoder_start_token_id=PAD)
        ),
    }
    return build(make[kind])


def tokens(n: int, seed: int) -> Tensor:
    return torch.randint(3, 40, (n,), generator=gen(seed))


def padded(texts: list[Tensor], length: int, prefix: str = "", mask: bool = True) -> dict:
    ids = torch.full((len(texts), length), PAD)
    keep = torch.zeros_like(ids)
    for i, text in enumerate(texts):
        ids[i, : len(text)], keep[i, : len(text)] = text, 1
    batch = {f"{prefix}input_ids": ids}
    return batch | ({f"{prefix}attention_mask": keep} if mask else {})


def said_of(network: nn.Module, names: list[str], batch: dict, **options: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        states_of(network, names, batch, **options)
    return [str(w.message) for w in caught if "mask" in str(w.message)]


# ---- masks to be added ----


@pytest.mark.parametrize("kind", ["longformer", "led"])
@pytest.mark.parametrize("attends_to_all", [False, True])
def test_layers_of_sparse_attention_alone_and_padded(kind, attends_to_all):
    """They are handed 0 for a token, a huge number for one that attends to all, -huge for a pad."""
    net, text, longer = model(kind), tokens(8, 1), tokens(16, 2)
    names = ["encoder.layer.0", "encoder.layer.1"]
    if kind == "led":
        names = ["encoder.layers.0", "encoder.layers.1", "decoder.layers.1"]
    states = []
    for texts, length in ([text], 8), ([text, longer], 16):
        batch = padded(texts, length)
        if attends_to_all:
            batch["global_attention_mask"] = torch.zeros(len(texts), length, dtype=torch.long)
            batch["global_attention_mask"][:, 0] = 1
        if kind == "led":
            batch["decoder_input_ids"] = tokens(5, 3).expand(len(texts), 5)
        states.append(states_of(net, names, batch))
    plain = outputs_of(net, names[:1], batch)[names[0]]
    same(states[1][names[0]], weighted(plain, batch["attention_mask"]))
    for name in names:
        same(states[0][name], states[1][name][:1])


def test_block_sparse_attention_is_told_of_padding_by_masks_of_its_own():
    """Its encoder gets ``attention_mask=None``, and masks that say from where to where."""
    net, names = model("big_bird"), ["encoder.layer.0", "encoder.layer.1"]
    net.set_attention_type("block_sparse")
    batch = padded([tokens(30, 1), tokens(40, 2)], 40)
    out, states = outputs_of(net, names, batch), states_of(net, names, batch)
    for name in names:
        same(states[name], weighted(out[name], batch["attention_mask"]))


def test_as_keep_of_masks_to_be_added():
    low, high = torch.finfo(torch.float32).min, torch.finfo(torch.float32).max
    assert as_keep(torch.tensor([[high, 0.0, low]])).tolist() == [[True, True, False]]
    assert as_keep(torch.tensor([[high, 0.0, 0.0]])).tolist() == [[True, True, True]]
    assert as_keep(torch.tensor([[0, -10000]])).tolist() == [[True, False]]
    assert as_keep(torch.tensor([[2, 1, 0]])).tolist() == [[True, True, False]]  # 2: to all
    zeros = torch.zeros(1, 2)
    assert as_keep(zeros, inner=True).all() and not as_keep(zeros).any()
    assert not as_keep(zeros.bool(), inner=True).any()
    assert as_keep(zeros.bool(), keeps=False).all()


# ---- encoder and decoder ----


def both(length: int, decoder: list[Tensor], mask: bool = True) -> dict:
    """Two padded texts for the encoder; texts for the decoder, padded to the same length."""
    batch = padded([tokens(6, 1), tokens(length, 2)], length)
    return batch | padded(decoder, length, "decoder_", mask)


def test_what_runs_behind_a_decoder_holds_its_tokens():
    """The mask of the inputs is as long as the decoder's tokens here, and is not theirs."""
    net, names = model("t5"), ["encoder.block.1", "decoder.block.1", "lm_head"]
    batch = both(9, [tokens(4, 3), tokens(9, 4)])
    out, states = outputs_of(net, names, batch), states_of(net, names, batch)
    same(states["encoder.block.1"], weighted(out["encoder.block.1"], batch["attention_mask"]))
    for name in names[1:]:
        same(states[name], weighted(out[name], batch["decoder_attention_mask"]))
    whole = both(9, [tokens(9, 3), tokens(9, 4)], mask=False)
    out, states = outputs_of(net, names, whole), states_of(net, names, whole)
    for name in names[1:]:
        same(states[name], out[name].mean(1))


@pytest.mark.parametrize("kind", ["bart", "t5", "led"])
def test_padded_tokens_of_a_decoder_without_a_mask_are_said(kind):
    net = model(kind)
    names = {"bart": "decoder.layers.1", "led": "decoder.layers.1", "t5": "decoder.block.1"}
    names = [names[kind]]
    padding = both(9, [tokens(4, 3), tokens(9, 4)], mask=False)
    (said,) = said_of(net, names, padding)
    for word in (
        "decoder 'decoder'",
        "input_ids end with padding",
        "decoder_attention_mask",
        "mask=",
    ):
        assert word in said
    keep = padding["decoder_input_ids"] != PAD
    assert not said_of(net, names, padding | {"decoder_attention_mask": keep.long()})
    assert not said_of(net, names, padding, mask=lambda _: keep)
    assert not said_of(net, names, both(9, [tokens(9, 3), tokens(9, 4)], mask=False))


def test_a_decoder_that_makes_its_tokens_of_padded_inputs_is_said():
    net = model("bart")
    assert said_of(net, ["decoder.layers.0"], padded([tokens(6, 1), tokens(9, 2)], 9))
    assert not said_of(net, ["decoder.layers.0"], padded([tokens(9, 1), tokens(9, 2)], 9))
    assert not said_of(net, ["decoder.layers.0"], padded([tokens(9, 1)], 9))


def test_a_decoder_that_begins_with_the_number_of_padding_is_not_said():
    """One step of generating: its only token, or its first, is the pad of the vocabulary."""
    net = model("t5")
    for first in (torch.full((2, 1), PAD), torch.tensor([[PAD, 7], [PAD, 8]])):
        batch = padded([tokens(6, 1), tokens(9, 2)], 9) | {"decoder_input_ids": first}
        assert not said_of(net, ["decoder.block.1"], batch)
    net.config.decoder_start_token_id = PAD
    with record(net, ["decoder.block.1"]), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        net.generate(tokens(6, 1)[None], max_new_tokens=3, do_sample=False, pad_token_id=PAD)


class Part(nn.Module):
    """A block of a hand-written encoder-decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        return self.linear(x) + (0 if memory is None else memory.mean(1, keepdim=True))


class HandWritten(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = Part(), Part(), nn.Linear(8, 3)

    def forward(self, src: Tensor, tgt: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.head(self.decoder(tgt, self.encoder(src)))


def test_the_mask_of_the_whole_is_not_that_of_a_hand_written_decoder():
    net, names = build(HandWritten), ["encoder", "decoder.linear", "head"]
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    batch = {"src": randn(2, 4, 8, seed=1), "tgt": randn(2, 4, 8, seed=2), "attention_mask": mask}
    out, states = outputs_of(net, names, batch), states_of(net, names, batch)
    same(states["encoder"], weighted(out["encoder"], mask))
    for name in names[1:]:
        same(states[name], out[name].mean(1))


class Fused(nn.Module):
    """Text that looks at an image: its tokens are those of the mask, though it has a memory."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse, self.last = Part(), nn.Linear(8, 8)

    def forward(self, x: Tensor, image: Tensor, attention_mask: Tensor) -> Tensor:
        return self.last(self.fuse(x, memory=image))


def test_tokens_that_look_at_an_image_keep_their_mask():
    net, names = build(Fused), ["fuse", "last"]
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    batch = {"x": randn(2, 4, 8, seed=1), "image": randn(2, 9, 8, seed=2), "attention_mask": mask}
    out, states = outputs_of(net, names, batch), states_of(net, names, batch)
    for name in names:
        same(states[name], weighted(out[name], mask))


def test_the_two_masks_of_a_torch_transformer():
    net = build(lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True))
    pads = torch.tensor([[False, False, True, True], [False] * 4])
    batch = {
        "src": randn(2, 4, 8, seed=1),
        "tgt": randn(2, 4, 8, seed=2),
        "src_key_padding_mask": pads,
        "memory_key_padding_mask": pads,
    }
    names = ["decoder.layers.0", "decoder"]
    for mask in (None, pads.flip(0)):
        given = batch if mask is None else batch | {"tgt_key_padding_mask": mask}
        out, states = outputs_of(net, names, given), states_of(net, names, given)
        keep = torch.ones(2, 4) if mask is None else ~mask
        for name in names:
            same(states[name], weighted(out[name], keep))
    owner = owner_of(net)
    assert owner.two_sided and [m.name for m in owner.decoder] == ["tgt_key_padding_mask"]
    got = take(owner, (batch["src"], batch["tgt"]), {"src_key_padding_mask": pads}, inner=False)
    assert torch.equal(got.mask, ~pads) and got.decoder is None and not got.decodes


# ---- speech ----


def test_the_mask_of_a_wave_is_shrunk_to_the_frames_of_a_speech_model():
    """What runs on its frames outside the encoder, by the rule that the model itself has."""
    t = pytest.importorskip("transformers")
    net = build(
        lambda: t.Wav2Vec2Model(
            t.Wav2Vec2Config(
                hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
                conv_dim=(16, 16), conv_stride=(5, 2), conv_kernel=(10, 3),
                feat_extract_norm="layer", do_stable_layer_norm=True,
                num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
            )
        )
    )  # fmt: skip
    mask = (torch.arange(800)[None] < torch.tensor([[405], [800]])).long()
    batch = {"input_values": randn(2, 800, seed=1) * mask, "attention_mask": mask}
    name = "feature_projection.projection"
    out = outputs_of(net, [name], batch)[name]
    frames = ((torch.tensor([405, 800]) - 10) // 5 + 1 - 3) // 2 + 1  # two convolutions
    keep = torch.arange(out.shape[1])[None] < frames[:, None]
    assert keep[0].sum() == 39 and keep[1].all()
    same(states_of(net, [name], batch)[name], weighted(out, keep))
    stage = "feature_extractor.conv_layers.0"
    assert "does not fit" in said_of(net, [stage], batch)[0]
    assert shrunk(nn.Linear(2, 2), mask.bool(), 79) is None
    with torch.no_grad():
        assert call(net, batch).last_hidden_state.shape[1] == 79


class Shorter(nn.Module):
    """Halves the number of positions, whatever the mask says."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.halve = nn.Linear(8, 8), nn.Linear(16, 8)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.halve(self.linear(x).reshape(len(x), -1, 16))


def test_a_mask_of_another_length_is_said_where_there_is_padding():
    net, names = build(Shorter), ["linear", "halve"]
    real = {"x": randn(2, 8, 8), "attention_mask": torch.ones(2, 8, dtype=torch.long)}
    some = real | {"attention_mask": torch.tensor([[1] * 6 + [0] * 2, [1] * 8])}
    assert not said_of(net, names, real)  # nothing is padding
    (said,) = said_of(net, names, some)
    assert said.startswith("layer 'halve': the mask of shape (2, 8) does not fit its 4 positions")
    short = {"x": randn(2, 2, 8), "attention_mask": torch.tensor([[1, 0], [1, 1]])}
    assert not said_of(net, names, short)  # one position alone
    with record(net, names) as states, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for batch in (real, some, short, some):
            call(net, batch)
            _ = states["halve"]
    assert len(caught) == 1  # once a layer


def test_time_first_layers_of_xlnet_are_named_with_the_remedy_that_works():
    t = pytest.importorskip("transformers")
    net = build(
        lambda: t.XLNetModel(
            t.XLNetConfig(vocab_size=40, d_model=16, n_layer=2, n_head=2, d_inner=16)
        )
    )
    name, batch = "layer.1", padded([tokens(6, 1), tokens(9, 2)], 9)
    with record(net, [name]) as states:
        call(net, batch)
        with pytest.raises(StateError, match=r'time comes first.*layout=\{"layer\.1": "TND"\}'):
            states[name]
    out = outputs_of(net, [name], batch)[name].transpose(0, 1)
    same(
        states_of(net, [name], batch, layout={name: "TND"})[name],
        weighted(out, batch["attention_mask"]),
    )
