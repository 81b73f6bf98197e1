"""Padding never enters a state.

masks are found in the root call by name (``attention_mask``, ``decoder_attention_mask``:
true = real; ``key_padding_mask``, ``src_key_padding_mask``, ``tgt_key_padding_mask``: true = pad);
else ``mask=`` of `DeepDriftMonitor`: a callable batch -> (N, T) bool tensor, true = real, or the
name of an argument of the model. Pooling ``last`` / ``cls`` are the last / first real token.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from field_models import (
    TOLERANCE,
    build,
    call,
    fitted,
    gen,
    outputs_of,
    randint,
    randn,
    right_or_said,
    same,
    states_of,
    weighted,
)
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from deepdrift import DeepDriftMonitor, collect, list_layers, record
from deepdrift.monitor.results import Reading

VOCABULARY, WIDTH = 40, 16


def hf() -> Any:
    return pytest.importorskip("transformers")


def text_model(kind: str) -> nn.Module:
    t = hf()
    small = dict(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    gpt = dict(
        vocab_size=VOCABULARY,
        n_positions=64,
        n_embd=WIDTH,
        n_layer=2,
        n_head=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    t5 = dict(
        vocab_size=VOCABULARY,
        d_model=WIDTH,
        d_kv=8,
        d_ff=16,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
    )
    bert = {k: v for k, v in small.items() if k not in ("bos_token_id", "eos_token_id")}
    make = {
        "bert": lambda: t.BertModel(t.BertConfig(**bert)),
        "distilbert": lambda: t.DistilBertModel(
            t.DistilBertConfig(
                vocab_size=VOCABULARY, dim=WIDTH, n_layers=2, n_heads=2, hidden_dim=16
            )
        ),
        "gpt2": lambda: t.GPT2Model(t.GPT2Config(**gpt)),
        "gpt2-head": lambda: t.GPT2ForSequenceClassification(t.GPT2Config(**gpt, num_labels=3)),
        "llama": lambda: t.LlamaModel(t.LlamaConfig(**small)),
        "qwen2": lambda: t.Qwen2Model(t.Qwen2Config(**small, num_key_value_heads=2)),
        "t5-encoder": lambda: t.T5EncoderModel(t.T5Config(**t5)),
        "t5": lambda: t.T5Model(t.T5Config(**t5)),
    }
    return build(make[kind])


BLOCKS = {
    "bert": "encoder.layer",
    "distilbert": "transformer.layer",
    "gpt2": "h",
    "llama": "layers",
    "qwen2": "layers",
    "t5-encoder": "encoder.block",
}


def sentences(n: int, seed: int, shortest: int = 3, longest: int = 12) -> list[Tensor]:
    g = gen(seed)
    sizes = torch.randint(shortest, longest + 1, (n,), generator=g).tolist()
    return [torch.randint(3, VOCABULARY, (s,), generator=g) for s in sizes]


def padded(
    texts: list[Tensor], length: int | None = None, side: str = "right", prefix: str = ""
) -> dict[str, Tensor]:
    """As a tokenizer makes it: ids and attention mask, padded with 0."""
    length = length or max(map(len, texts))
    ids = torch.zeros(len(texts), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, text in enumerate(texts):
        place = slice(0, len(text)) if side == "right" else slice(length - len(text), length)
        ids[i, place], mask[i, place] = text, 1
    names = (f"{prefix}input_ids", f"{prefix}attention_mask")
    return dict(zip(names, (ids, mask), strict=True))


def batch_of(
    kind: str, texts: list[Tensor], length: int | None = None, side: str = "right"
) -> dict:
    batch = padded(texts, length, side)
    if kind == "gpt2" and side == "left":  # its positions have to be given
        batch["position_ids"] = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    if kind == "t5":  # the same texts, backwards, to the decoder, in another length
        batch |= padded([s.flip(0) for s in texts], length and length + 3, prefix="decoder_")
    return batch


KINDS = [
    ("bert", "right"),
    ("distilbert", "right"),
    ("gpt2", "right"),
    ("gpt2", "left"),
    ("llama", "right"),
    ("llama", "left"),
    ("qwen2", "right"),
    ("qwen2", "left"),
    ("t5-encoder", "right"),
]


@pytest.mark.parametrize(("kind", "side"), KINDS)
@pytest.mark.parametrize("pooling", ["auto", "last", "cls"])
def test_states_of_real_tokens(kind, side, pooling):
    """Mask-weighted mean; `last` the last real token, `cls` the first real one."""
    net, texts = text_model(kind), sentences(4, 1)
    batch = batch_of(kind, texts, 15, side)
    name = f"{BLOCKS[kind]}.1"
    out, mask = outputs_of(net, [name], batch)[name], batch["attention_mask"]
    if pooling == "auto":
        right = weighted(out, mask)
    else:
        tokens = [out[i, mask[i].bool()] for i in range(4)]
        right = torch.stack([t[-1 if pooling == "last" else 0] for t in tokens])
    same(states_of(net, [name], batch, pooling=pooling)[name], right)


def alone_and_padded(
    kind: str, side: str, **options: Any
) -> tuple[DeepDriftMonitor, list[Tensor], Callable[..., Reading]]:
    net = text_model(kind)

    def normal(n: int, seed: int) -> dict:
        return batch_of(kind, sentences(n, seed), None, side)

    monitor = fitted(net, normal, **options)

    def read(texts: list[Tensor], length: int | None = None) -> Reading:
        return monitor.read(batch_of(kind, texts, length, side))

    return monitor, sentences(8, 5), read


def one_reading(together: Reading, alone: list[Reading]) -> None:
    """The same scores, and the same p-values: but for one, which may lie on a tie of ranks."""
    for block, scores in together.blocks.items():
        same(scores, torch.cat([r.blocks[block] for r in alone]), rtol=1e-3, atol=1e-3)
    p = torch.cat([r.p_values for r in alone])
    assert len(p.unique()) > 2  # it is a p-value and no constant
    apart = (together.p_values - p).abs()
    assert int((apart > TOLERANCE).sum()) <= 1 and float(apart.max()) < 0.1


@pytest.mark.parametrize(("kind", "side"), [*KINDS, ("t5", "right")])
def test_a_sentence_alone_and_padded_has_one_p_value(kind, side):
    """Scores differed by up to 23, 60 to 100 % of normal sentences flagged."""
    _, texts, read = alone_and_padded(kind, side)
    alone = [read([t]) for t in texts]
    one_reading(read(texts), alone)
    one_reading(read(texts, 40), alone)


# (a causal model's first token knows nothing but itself: equal states, hence ties; not here)
@pytest.mark.parametrize(
    ("kind", "side", "pooling"),
    [
        ("bert", "right", "last"),
        ("bert", "right", "cls"),
        ("gpt2", "left", "last"),
        ("llama", "right", "last"),
        ("t5-encoder", "right", "cls"),
    ],
)
def test_one_p_value_with_other_poolings(kind, side, pooling):
    """`last` took the pad token, score off by 12; `cls` under left padding."""
    _, texts, read = alone_and_padded(kind, side, pooling=pooling)
    one_reading(read(texts, 40), [read([t]) for t in texts])


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_other_lengths_than_at_calibration_are_not_flagged(kind):
    """The same sentences padded 16 -> 48 were flagged 5 to 11 % -> 100 %."""
    net = text_model(kind)

    def normal(n: int, seed: int, length: int = 16) -> dict:
        return batch_of(kind, sentences(n, seed), length)

    monitor = fitted(net, normal)
    short, long = monitor.read(normal(60, 9)), monitor.read(normal(60, 9, 48))
    assert short.flagged.float().mean() < 0.2
    same(long.p_values, short.p_values, rtol=0, atol=TOLERANCE)
    assert torch.equal(long.flagged, short.flagged)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.float32])
def test_masks_of_any_number_type(dtype):
    """What the tokenizer or the user made of the mask."""
    net, batch = text_model("bert"), batch_of("bert", sentences(4, 1), 15)
    name = "encoder.layer.1"
    right = weighted(outputs_of(net, [name], batch)[name], batch["attention_mask"])
    batch["attention_mask"] = batch["attention_mask"].to(dtype)
    same(states_of(net, [name], batch)[name], right)


@pytest.mark.parametrize("length", [None, 15])
def test_t5_layers_have_their_own_masks(length):
    """Padded decoder inputs; also where both sides are equally long."""
    net, texts = text_model("t5"), sentences(4, 1)
    batch = padded(texts, length) | padded(sentences(4, 2), length, prefix="decoder_")
    if length is None:
        assert batch["input_ids"].shape[1] != 5
        batch |= padded([t[:5] for t in sentences(4, 2)], 5, prefix="decoder_")
    names = {"encoder.block.1": "attention_mask", "decoder.block.1": "decoder_attention_mask"}
    out = outputs_of(net, names, batch)
    for name, state in states_of(net, names, batch).items():
        same(state, weighted(out[name], batch[names[name]]))


def test_the_head_of_gpt2_classification_is_the_models_output():
    """Its logits were averaged over all tokens, pads too."""
    net = text_model("gpt2-head")

    def normal(n: int, seed: int, length: int | None = None) -> dict:
        return padded(sentences(n, seed), length) | {"labels": randint(3, n, seed=seed)}

    monitor = fitted(net, normal)
    assert monitor.output_layer == "score"
    texts = sentences(8, 5)
    alone = [monitor.read(padded([t])) for t in texts]
    together = monitor.read(padded(texts, 40))
    assert "output" in together.blocks
    for block in ("output", "distance", "innovation"):
        right = torch.cat([a.blocks[block] for a in alone])
        same(together.blocks[block], right, rtol=1e-3, atol=1e-3)
    same(together.p_values, torch.cat([a.p_values for a in alone]), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("pooling", ["auto", "cls", "last"])
def test_vit_alone_and_in_a_batch(pooling):
    """ViT has no padding; an image alone and in a batch is the same, whatever pooling."""
    t = hf()
    net = build(
        lambda: t.ViTForImageClassification(
            t.ViTConfig(
                image_size=16,
                patch_size=8,
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=16,
                num_labels=3,
            )
        )
    )
    monitor = fitted(
        net, lambda n, s: {"pixel_values": randn(n, 3, 16, 16, seed=s)}, pooling=pooling
    )
    x = randn(6, 3, 16, 16, seed=5)
    alone = torch.cat([monitor.read({"pixel_values": i[None]}).p_values for i in x])
    same(monitor.read({"pixel_values": x}).p_values, alone, rtol=0, atol=TOLERANCE)
    name = "vit.layers.1"
    out = outputs_of(net, [name], {"pixel_values": x})[name]
    right = {"auto": out.mean(1), "cls": out[:, 0], "last": out[:, -1]}[pooling]
    same(monitor.states({"pixel_values": x})[name], right)


def test_a_mask_of_another_length_is_not_applied_in_silence():
    """A speech model's mask counts samples, its layers hold frames."""
    t = hf()
    net = build(
        lambda: t.Wav2Vec2Model(
            t.Wav2Vec2Config(
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=16,
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
    short = randn(1, 405)
    long = torch.cat([short, torch.zeros(1, 395)], 1)
    mask = (torch.arange(800) < 405).long()[None]
    name = "encoder.layers.1"
    whole = outputs_of(net, [name], {"input_values": short, "attention_mask": mask[:, :405]})[name]
    batch = {"input_values": long, "attention_mask": mask}
    right_or_said(
        lambda: states_of(net, [name], batch)[name],
        lambda s: same(s, whole.mean(1), rtol=1e-2, atol=1e-3),
        "mask|length|padding",
    )


def test_collect_and_record_know_the_mask_too():
    """Every door."""
    net, batch = text_model("bert"), batch_of("bert", sentences(4, 1), 15)
    name = "encoder.layer.0"
    right = weighted(outputs_of(net, [name], batch)[name], batch["attention_mask"])
    same(collect(net, [batch], [name]).states[name], right)
    with record(net, [name]) as states:  # given by position in the user's own call
        with torch.no_grad():
            net(batch["input_ids"], batch["attention_mask"])
        same(states[name], right)


def test_a_mask_does_not_outlive_its_pass():
    """A trap: the next pass without a mask is averaged over all tokens."""
    net, batch = text_model("bert"), batch_of("bert", sentences(4, 1), 15)
    name = "encoder.layer.1"
    with record(net, [name]) as states:
        call(net, batch)
        first = states[name].clone()
        plain = {"input_ids": randint(VOCABULARY, 4, 15, low=3)}
        call(net, plain)
        same(states[name], outputs_of(net, [name], plain)[name].mean(1))
    same(first, weighted(outputs_of(net, [name], batch)[name], batch["attention_mask"]))


# torch.nn.TransformerEncoder, whose fast path makes nested tensors


class Encoder(nn.Module):
    def __init__(self, nested: bool = True) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=nested)

    def forward(self, src: Tensor, src_key_padding_mask: Tensor | None = None) -> Tensor:
        return self.encoder(src, src_key_padding_mask=src_key_padding_mask)


def src(n: int, seed: int, length: int = 6) -> dict[str, Tensor]:
    """Some inputs and a mask that is true at the pads; one of them is as long as the batch."""
    sizes = randint(length + 1, n, seed=seed, low=2)
    sizes[0] = length
    x = randn(n, length, 8, seed=seed)
    return {"src": x, "src_key_padding_mask": torch.arange(length)[None] >= sizes[:, None]}


ENCODER_LAYERS = ["encoder.layers.0", "encoder.layers.1", "encoder.layers.2", "encoder"]


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("pooling", ["auto", "last", "cls"])
def test_transformer_encoder_with_a_padding_mask(nested, pooling):
    """Nested tensors in eval mode gave a StateError about mobile builds."""
    net = build(lambda: Encoder(nested))
    plain = copy.deepcopy(net)
    plain.encoder.enable_nested_tensor = False
    batch = src(4, 3)
    out, real = outputs_of(plain, ENCODER_LAYERS, batch), ~batch["src_key_padding_mask"]
    states = states_of(net, ENCODER_LAYERS, batch, pooling=pooling)
    for name in ENCODER_LAYERS:
        if out[name].is_nested:
            out[name] = torch.nested.to_padded_tensor(out[name], 0.0)
        if pooling == "auto":
            right = weighted(out[name], real)
        else:
            place = (real.sum(1) - 1) if pooling == "last" else torch.zeros(4, dtype=torch.long)
            right = out[name][torch.arange(4), place]
        same(states[name], right)


def test_list_layers_on_nested_tensors():
    """List_layers broke the model's pass."""
    net, batch = build(Encoder), src(4, 3)
    with torch.no_grad():
        before = net(**batch)
    names = {layer.name: layer for layer in list_layers(net, batch)}
    assert set(ENCODER_LAYERS) <= set(names)
    assert names["encoder.layers.1"].width == 8
    same(call(net, batch), before, rtol=0, atol=0)


def test_transformer_encoder_alone_and_padded():
    """Plain torch encoder whose own outputs agree: flagged .060 -> 1.000."""
    net = build(Encoder)
    monitor = fitted(net, lambda n, s: src(n, s))
    texts = [randn(k, 8, seed=40 + k) for k in (2, 3, 5, 6)]
    alone = []
    for x in texts:
        none = torch.zeros(1, len(x), dtype=torch.bool)
        alone.append(monitor.read({"src": x[None], "src_key_padding_mask": none}).p_values)
    together = torch.zeros(4, 20, 8)
    pad = torch.ones(4, 20, dtype=torch.bool)
    for i, x in enumerate(texts):
        together[i, : len(x)], pad[i, : len(x)] = x, False
    got = monitor.read({"src": together, "src_key_padding_mask": pad}).p_values
    same(got, torch.cat(alone), rtol=0, atol=TOLERANCE)


def test_time_first_encoder_with_a_padding_mask():
    """Batch_first=False; the mask is (N, T), the output (T, N, D)."""

    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.TransformerEncoder(
                nn.TransformerEncoderLayer(8, 2, 16), 2, enable_nested_tensor=False
            )

        def forward(self, src: Tensor, src_key_padding_mask: Tensor) -> Tensor:
            return self.encoder(src, src_key_padding_mask=src_key_padding_mask)

    net, batch, name = build(TimeFirst), src(4, 3), "encoder.layers.1"
    batch["src"] = batch["src"].transpose(0, 1).contiguous()
    out = outputs_of(net, [name], batch)[name].transpose(0, 1)
    right = weighted(out, ~batch["src_key_padding_mask"])
    same(states_of(net, [name], batch)[name], right)


def test_key_padding_mask_of_an_attention():
    """Key_padding_mask, true at the pads."""

    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.ff = nn.Linear(8, 8)

        def forward(self, x: Tensor, key_padding_mask: Tensor) -> Tensor:
            return self.ff(self.attention(x, x, x, key_padding_mask=key_padding_mask)[0])

    net, given = build(Attend), src(4, 3)
    batch = {"x": given["src"], "key_padding_mask": given["src_key_padding_mask"]}
    out = outputs_of(net, ["attention", "ff"], batch)
    for name, state in states_of(net, ["attention", "ff"], batch).items():
        same(state, weighted(out[name], ~batch["key_padding_mask"]))


def test_a_given_nested_tensor_is_pooled():
    """Nested tensors pooled, also where the user makes them."""
    net = build(lambda: nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 6)))
    parts = [randn(k, 5, seed=k) for k in (2, 4, 3)]
    with torch.no_grad():
        right = torch.stack([net(p).mean(0) for p in parts])
    nested = torch.nested.nested_tensor(parts)
    same(states_of(net, ["1"], nested)["1"], right)


# Packed sequences


class Packed(nn.Module):
    def __init__(self, kind: type = nn.LSTM, batch_first: bool = True) -> None:
        super().__init__()
        self.emb, self.rnn = nn.Linear(4, 6), kind(6, 8, batch_first=batch_first)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        x = self.emb(x)
        packed = pack_padded_sequence(
            x, lengths, batch_first=self.rnn.batch_first, enforce_sorted=False
        )
        out, last = self.rnn(packed)
        return self.head((last[0] if isinstance(last, tuple) else last)[-1])


LENGTHS = torch.tensor([3, 6, 2, 5])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("pooling", ["auto", "last", "cls"])
def test_packed_sequences_are_pooled_per_sample(kind, batch_first, pooling):
    """ "watch a layer behind pad_packed_sequence", of which there was none."""
    net, x = build(lambda: Packed(kind, batch_first)), randn(4, 6, 4)
    given = {"x": x if batch_first else x.transpose(0, 1), "lengths": LENGTHS}
    with torch.no_grad():
        emb = net.emb(x)
        rows = [
            net.rnn(e[None, :k] if batch_first else e[:k, None])[0]
            for e, k in zip(emb, LENGTHS.tolist(), strict=True)
        ]
    rows = [r.reshape(-1, 8) for r in rows]
    pick = {"auto": lambda r: r.mean(0), "last": lambda r: r[-1], "cls": lambda r: r[0]}[pooling]
    same(
        states_of(net, ["rnn"], given, pooling=pooling)["rnn"], torch.stack([pick(r) for r in rows])
    )


def test_default_layers_of_a_packed_network_alone_and_padded():
    """Its default watches `rnn`, and reading raised."""
    net = build(Packed)

    def normal(n: int, seed: int, length: int = 8) -> dict:
        return {"x": randn(n, length, 4, seed=seed), "lengths": randint(9, n, seed=seed, low=2)}

    monitor = fitted(net, normal, layer_names=["rnn"])
    x = randn(4, 6, 4, seed=5)
    alone = torch.cat(
        [
            monitor.read({"x": x[i : i + 1, :k], "lengths": LENGTHS[i : i + 1]}).p_values
            for i, k in enumerate(LENGTHS.tolist())
        ]
    )
    more = torch.cat([x, randn(4, 9, 4, seed=6)], 1)
    same(monitor.read({"x": more, "lengths": LENGTHS}).p_values, alone, rtol=0, atol=TOLERANCE)
    automatic = DeepDriftMonitor(net)
    automatic.calibrate([normal(40, s) for s in range(4)])
    assert len(automatic.read({"x": x, "lengths": LENGTHS}).score) == 4


def test_a_layer_behind_pad_packed_sequence():
    """The advice it gave has to be right as well: pads are zeros there."""

    class Unpacked(Packed):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(8, 8)

        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            packed = pack_padded_sequence(
                self.emb(x), lengths, batch_first=True, enforce_sorted=False
            )
            return self.mix(pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0])

    net, batch = build(Unpacked), {"x": randn(4, 6, 4), "lengths": LENGTHS}
    out = outputs_of(net, ["mix"], batch)["mix"]
    real = torch.arange(6)[None] < LENGTHS[:, None]
    monitor = DeepDriftMonitor(
        net,
        ["rnn", "mix"],
        mask=lambda b: torch.arange(b["x"].shape[1])[None] < b["lengths"][:, None],
    )
    same(monitor.states(batch)["mix"], weighted(out, real))


# A mask that the user names or computes


class WithLengths(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(VOCABULARY, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(2))

    def forward(self, ids: Tensor, is_real: Tensor | None = None) -> Tensor:
        x = self.emb(ids)
        for block in self.blocks:
            x = x + block(x)
        return x


def test_a_mask_computed_from_the_batch():
    """Mask=callable, here from ids alone: 0 is the pad."""
    net, ids = build(WithLengths), padded(sentences(4, 1), 15)["input_ids"]
    monitor = DeepDriftMonitor(net, ["blocks.1"], mask=lambda batch: batch != 0)
    right = weighted(outputs_of(net, ["blocks.1"], ids)["blocks.1"], ids != 0)
    same(monitor.states(ids)["blocks.1"], right)


def test_a_mask_named():
    """Mask="is_real", an argument of the model."""
    net, given = build(WithLengths), padded(sentences(4, 1), 15)
    batch = {"ids": given["input_ids"], "is_real": given["attention_mask"]}
    monitor = DeepDriftMonitor(net, ["blocks.1"], mask="is_real")
    right = weighted(outputs_of(net, ["blocks.1"], batch)["blocks.1"], given["attention_mask"])
    same(monitor.states(batch)["blocks.1"], right)
    call(net, batch)  # the user's own pass
    same(monitor.states()["blocks.1"], right)


def test_alone_and_padded_with_a_computed_mask():
    """The p-value promise holds for it as well."""
    net = build(WithLengths)
    monitor = fitted(
        net, lambda n, s: padded(sentences(n, s))["input_ids"], mask=lambda batch: batch != 0
    )
    texts = sentences(8, 5)
    alone = torch.cat([monitor.read(t[None]).p_values for t in texts])
    got = monitor.read(padded(texts, 40)["input_ids"]).p_values
    same(got, alone, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("mask", [lambda batch: batch[:, :3] != 0, lambda batch: batch[:1] != 0])
def test_a_computed_mask_of_another_shape_is_refused(mask):
    """A mask that does not fit is named, not broadcast."""
    net, ids = build(WithLengths), padded(sentences(4, 1), 15)["input_ids"]
    with pytest.raises(RuntimeError, match="mask"):
        DeepDriftMonitor(net, ["blocks.1"], mask=mask).states(ids)


def test_an_empty_sentence_is_no_silent_nan():
    """A trap: a row whose mask is all zero; refused, said, or a finite state."""
    net, batch = text_model("bert"), batch_of("bert", sentences(4, 1), 15)
    batch["attention_mask"][2] = 0

    def finite(state: Tensor) -> None:
        assert bool(torch.isfinite(state).all())

    right_or_said(
        lambda: states_of(net, ["encoder.layer.1"], batch)["encoder.layer.1"], finite, "mask"
    )
