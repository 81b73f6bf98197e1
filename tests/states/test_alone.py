"""A state that depends on its company or on chance is said by name; a healthy one never is."""

import random
import warnings

import pytest
import torch
from field_models import build, randint, randn, same
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from deepdrift import DeepDriftMonitor, StateError
from deepdrift.states.gaps import gap, in_other_rows

COMPANY, CHANCE = "other samples of the batch", "other states in a second pass"


class Net(nn.Module):
    """Two layers around what a function makes of the first one's output."""

    def __init__(self, between, width=6):
        super().__init__()
        self.a, self.between, self.b = nn.Linear(5, width), between, nn.Linear(width, width)

    def forward(self, x):
        return self.b(self.between(self.a(x)))


class Calls(nn.Module):
    """Layer that calls a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def said(model, batch, layers=None, **options):
    """Sentences of a first `fit` of this batch, and the layers it kept."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        monitor = DeepDriftMonitor(model, layers, **options)
        monitor.fit([batch] if not isinstance(batch, list) else batch)
    return [str(w.message) for w in caught], monitor.layers


# ---- company ----


def batch_statistics(x):
    return F.batch_norm(x, None, None, training=True)


def over_the_batch():
    attention = nn.MultiheadAttention(6, 2)  # time first, and given samples first
    return Calls(lambda x: x + attention(x, x, x)[0])


@pytest.mark.parametrize("n", [2, 3, 40])
def test_batch_statistics_in_evaluation_mode(n):
    model = build(lambda: Net(Calls(batch_statistics)))
    found, _ = said(model, randn(n, 5), ["a", "b"])
    assert len(found) == 1 and found[0].startswith("layer 'b': its state depends")
    assert COMPANY in found[0] and f"first batch of {n}" in found[0] and "layers=" in found[0]


def test_by_how_much_is_right():
    """The mean of the batch taken off: the gap is the mean itself, over the spread."""
    model = nn.Sequential(nn.Identity(), Calls(lambda x: x - x.mean(0)))
    x = torch.tensor([[0.0], [2.0], [4.0], [6.0]])  # alone 0; in the batch -3, -1, 1, 3
    found, _ = said(model, x, ["1"], score="distance")
    assert "1.3 of the spread" in found[0]  # 3 of 1, 1, 3, 3, over sqrt(5)


@pytest.mark.parametrize(
    "between",
    [
        lambda: Calls(lambda x: x / x.norm(dim=0)),
        lambda: Calls(lambda x: x + x.roll(1, 0)),
        lambda: Calls(lambda x: x * (x == x.amax(0))),
        lambda: Calls(lambda x: x.softmax(0)),
    ],
)
def test_other_company(between):
    found, _ = said(build(lambda: Net(between())), randn(24, 5), ["a", "b"])
    assert len(found) == 1 and found[0].startswith("layer 'b'") and COMPANY in found[0]


def test_attention_over_the_axis_of_samples():
    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside, self.out = nn.Linear(6, 6), nn.Linear(6, 6)
            self.attention = nn.MultiheadAttention(6, 2)

        def forward(self, x):
            x = self.inside(x)
            return self.out(x + self.attention(x, x, x)[0])

    found, _ = said(build(Wrong), randn(12, 7, 6), ["inside", "out"], layout="NTD")
    assert len(found) == 1 and found[0].startswith("layer 'out'") and COMPANY in found[0]


def test_a_model_that_takes_batches_of_one_size_only():
    found, _ = said(build(lambda: Fussy(9, odd=True)), randn(9, 5), ["a", "b"])
    assert len(found) == 1 and found[0].startswith("layer 'b'") and COMPANY in found[0]


def test_scores_within_a_batch_are_company():
    """The width is the number of samples."""
    model = nn.Sequential(nn.Linear(5, 6), Calls(lambda x: x @ x.T))
    found, _ = said(model, randn(12, 5), ["0", "1"], score="distance")
    assert len(found) == 1 and found[0].startswith("layer '1'") and COMPANY in found[0]


def test_padding_that_no_mask_names():
    """Every sample is cut to the longest of its batch, and the rest is averaged in."""

    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.mix = nn.Embedding(20, 6), nn.Linear(6, 6)

        def forward(self, ids):
            return self.mix(self.embed(ids[:, : int((ids != 0).sum(1).max())]))

    ids = randint(20, 16, 12, low=1) * (torch.arange(12) < 2 + torch.arange(16)[:, None] % 10)
    found, _ = said(build(Cut), ids, ["embed", "mix"])
    assert len(found) == 1 and "mask=" in found[0]
    keep = {"mask": lambda ids: (ids != 0)[:, : int((ids != 0).sum(1).max())]}
    assert said(build(Cut), ids, ["embed", "mix"], **keep)[0] == []


# ---- rows that are no samples ----


class Sorted(nn.Module):
    """The inner layer sees the samples in order of their sums; outside they are back in place."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(5, 6), nn.Linear(6, 6)

    def forward(self, x):
        order = x.sum(1).argsort()
        return self.out(self.inner(x[order])[order.argsort()])


def test_sorted_rows_are_refused():
    model = build(Sorted)
    with pytest.raises(StateError, match="'inner'.*samples in another order.*layers="):
        DeepDriftMonitor(model, ["inner", "out"]).fit([randn(20, 5)])
    assert said(model, randn(20, 5), ["out"], score="distance") == ([], ("out",))


def test_automatic_layers_that_are_sorted_are_left_out():
    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Sequential(nn.Linear(5, 5), nn.Tanh()) for _ in "abc")

        def forward(self, x):
            order = x.sum(1).argsort()
            x = self.layers[1](self.layers[0](x)[order])[order.argsort()]
            return self.layers[2](x)

    found, layers = said(build(Chain), randn(20, 5))
    assert layers == ("layers.0.1", "layers.2.1")
    assert len(found) == 1 and "left out" in found[0] and "another order" in found[0]


def test_as_many_positions_as_samples_and_positions_first():
    """A module of one's own that hands on (T, N, D), in a batch with T = N."""
    model = build(lambda: nn.Sequential(nn.Linear(5, 6), Calls(lambda x: x.transpose(0, 1))))
    with pytest.raises(StateError, match="'1'.*7 rows for .* samples.*layout="):
        DeepDriftMonitor(model, ["0", "1"]).fit([randn(7, 7, 5)])
    assert said(model, randn(7, 7, 5), ["0", "1"], layout={"1": "TND"})[0] == []


# ---- chance ----


class Sampling(nn.Module):
    def __init__(self):
        super().__init__()
        self.mu, self.decode = nn.Linear(5, 6), nn.Linear(6, 5)

    def forward(self, x):
        mu = self.mu(x)
        return self.decode(mu + torch.randn_like(mu))


OWN = torch.Generator()


@pytest.mark.parametrize(
    ("between", "why"),
    [
        (lambda x: F.dropout(x, 0.5, training=True), "draws random numbers in evaluation mode"),
        (lambda x: x + torch.randn_like(x), "draws random numbers in evaluation mode"),
        (lambda x: x * (torch.rand(len(x), 1) > 0.1), "draws random numbers in evaluation mode"),
        (lambda x: x + random.gauss(0, 1), "draws random numbers in evaluation mode"),
        (lambda x: x + torch.randn(x.shape, generator=OWN), "of its own, or remembers"),
    ],
)
def test_chance_is_said_once_and_by_name(between, why):
    model = build(lambda: Net(Calls(between)))
    monitor = DeepDriftMonitor(model, ["a", "b"])
    with pytest.warns(UserWarning) as caught:
        monitor.fit(randn(60, 5).split(20))
        monitor.calibrate(randn(90, 5, seed=1).split(20))
    assert len(caught) == 1 and caught[0].filename == __file__
    text = str(caught[0].message)
    assert text.startswith("layer 'b': it has " + CHANCE) and why in text and "layers=" in text


def test_chance_behind_the_watched_layers_is_no_matter():
    assert said(build(Sampling), randn(20, 5), ["mu"], score="distance")[0] == []
    assert CHANCE in said(build(Sampling), randn(20, 5), ["mu", "decode"])[0][0]


def test_chance_and_company_are_told_apart():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x):
            x = self.b(batch_statistics(self.a(x)))
            return self.c(F.dropout(x, 0.5, training=True))

    found, _ = said(build(Both), randn(40, 5), ["a", "b", "c"])
    assert [text[:10] for text in found] == ["layer 'c':", "layer 'b':"]
    assert CHANCE in found[0] and COMPANY in found[1]


class Remembers(nn.Module):
    """A hidden state that goes from batch to batch."""

    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.GRU(5, 6, batch_first=True), nn.Linear(6, 6)
        self.hidden = None

    def forward(self, x):
        if self.hidden is None or self.hidden.shape[1] != len(x):
            self.hidden = torch.zeros(1, len(x), 6)
        x, hidden = self.rnn(x, self.hidden)
        self.hidden = hidden.detach()
        return self.out(x)


def test_a_hidden_state_that_goes_from_batch_to_batch():
    found, _ = said(build(Remembers), list(randn(60, 7, 5).split(20)), ["rnn", "out"])
    assert len(found) == 1 and found[0].startswith("layers 'rnn', 'out': they have " + CHANCE)
    assert "remembers" in found[0] and "random" not in found[0]


@pytest.mark.parametrize("forward", [None, lambda model, batch: model(batch)])
def test_a_model_that_writes_to_its_inputs(forward):
    model = build(lambda: Net(nn.Tanh()))
    model.register_forward_pre_hook(lambda _, inputs: (inputs[0].mul_(0.5),))
    x = randn(20, 5)
    found, _ = said(model, x, ["a", "b"], forward=forward)
    assert len(found) == 1 and found[0].startswith("model: it writes to its inputs")
    same(x, randn(20, 5) / 2, rtol=0, atol=0)  # once, as the user's own pass would


# ---- healthy models ----


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 6, padding_idx=0)
        self.gru, self.out = nn.GRU(6, 6, batch_first=True), nn.Linear(6, 4)

    def forward(self, ids, lengths):
        x = pack_padded_sequence(self.embed(ids), lengths, batch_first=True, enforce_sorted=False)
        x, _ = pad_packed_sequence(self.gru(x)[0], batch_first=True)
        return self.out(x)


class Images(nn.Module):
    """A list of images of any size, as detectors take them."""

    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 6, 3), nn.Linear(6, 6)

    def forward(self, images):
        return self.out(torch.stack([self.conv(x[None]).mean((0, 2, 3)) for x in images]))


class Squeezes(nn.Module):
    """Loses the axis of samples where there is one."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.b(self.a(x).squeeze())


class Fussy(nn.Module):
    """Takes batches of one size only."""

    def __init__(self, n, odd=False):
        super().__init__()
        self.a, self.b, self.n, self.odd = nn.Linear(5, 6), nn.Linear(6, 6), n, odd

    def forward(self, x):
        if len(x) != self.n:
            raise ValueError("another size")
        x = self.a(x)
        return self.b(batch_statistics(x) if self.odd else x)


class Masked(nn.Module):
    """A causal mask (T, T) and positions (T,) beside tokens (N, T)."""

    def __init__(self):
        super().__init__()
        self.embed, self.at = nn.Embedding(20, 8), nn.Embedding(30, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)

    def forward(self, ids, mask, positions):
        return self.block(self.embed(ids) + self.at(positions), src_mask=mask)


class Nodes(nn.Module):
    """Features (V, D) and edges (2, E) that point at them."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 6), nn.Linear(6, 6)

    def forward(self, x, edges):
        x = self.a(x)
        return self.b(x.index_add(0, edges[1], x[edges[0]]))


class Caches(Net):
    """Keeps a table once it was made."""

    def __init__(self):
        super().__init__(nn.Tanh())
        self.table = None

    def forward(self, x):
        if self.table is None:
            self.table = torch.linspace(0, 1, 5)
        return super().forward(x + self.table)


def causal(t):
    return nn.Transformer.generate_square_subsequent_mask(t)


def plain(**kind):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(8, 8, 3),
        nn.GELU(),
    ).to(**kind)


def normalised(width, _):
    return nn.LayerNorm(width)


def encoder():
    return nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), 2, enable_nested_tensor=False
    )


HEALTHY = {
    "batch norm and dropout at rest": (plain, lambda: randn(20, 3, 9, 9), ["2", "5"]),
    "bfloat16": (
        lambda: plain(dtype=torch.bfloat16), lambda: randn(20, 3, 9, 9).bfloat16(), ["2", "5"],
    ),
    "float64": (lambda: plain(dtype=torch.float64), lambda: randn(9, 3, 9, 9).double(), ["2", "5"]),
    "one sample": (plain, lambda: randn(1, 3, 9, 9), ["2", "5"]),
    "copies of one sample": (plain, lambda: randn(1, 3, 9, 9).expand(9, -1, -1, -1), ["2", "5"]),
    "packed": (
        Packed,
        lambda: (randint(20, 16, 12, low=1), 2 + torch.arange(16) % 10),
        ["embed", "gru", "out"],
    ),
    "a list of images": (Images, lambda: [[randn(3, 8 + i, 9, seed=i) for i in range(6)]], ["out"]),
    "squeezes": (Squeezes, lambda: randn(9, 5), ["a", "b"]),
    "takes no other size": (lambda: Fussy(9), lambda: randn(9, 5), ["a", "b"]),
    "a mask for all": (Masked, lambda: (randint(20, 6, 9), causal(9), torch.arange(9)), ["block"]),
    "a square mask": (Masked, lambda: (randint(20, 9, 9), causal(9), torch.arange(9)), ["block"]),
    "edges": (Nodes, lambda: (randn(9, 5), randint(9, 2, 30)), ["a", "b"]),
    "as many positions as samples": (encoder, lambda: randn(7, 7, 8), ["layers.0", "layers.1"]),
    "layers that start at zero": (
        lambda: nn.Sequential(nn.Linear(5, 6), Calls(lambda x: x * 0)), lambda: randn(9, 5), ["0"],
    ),
    "numbers that nothing uses": (
        lambda: Net(Calls(lambda x: x + 0 * torch.rand(1))), lambda: randn(9, 5), ["a", "b"],
    ),
    "a cache of what is always the same": (Caches, lambda: randn(9, 5), ["a", "b"]),
    "a deep network": (
        lambda: nn.Sequential(*(f(32, 32) for _ in "x" * 40 for f in (nn.Linear, normalised))),
        lambda: randn(20, 32),
        ["1", "41", "79"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_said_of_a_healthy_model(name):
    make, batch, layers = HEALTHY[name]
    assert said(build(make), batch(), layers, score="distance")[0] == []


def test_nothing_is_said_of_layers_with_eight_bits():
    """Dynamic quantisation takes its scale from the whole batch."""
    model = build(lambda: nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    assert said(model, randn(40, 16), ["0", "2"])[0] == []


class Rounds(Net):
    """Computes in bfloat16 inside, and rounds otherwise in batches of another size, as GPUs do."""

    def __init__(self, by):
        super().__init__(nn.Tanh())
        self.by = by

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            x = super().forward(x)
        return x.float() + 10 + (self.by if len(x) == 1 else 0.0)


def test_rounding_in_a_type_of_the_models_own_is_no_company():
    """The output is near 10, so 0.1 is 3 roundings; 2 is 50, and no rounding."""
    few, many = (nn.Sequential(build(lambda by=by: Rounds(by)), nn.Identity()) for by in (0.1, 2.0))
    assert said(few, randn(20, 5), ["1"], score="distance")[0] == []
    assert COMPANY in said(many, randn(20, 5), ["1"], score="distance")[0][0]


def test_dicts():
    class Named(Net):
        def forward(self, x):
            return super().forward(x)

    batch = {"x": randn(20, 5), "labels": randint(3, 20)}
    assert said(build(lambda: Named(nn.Tanh())), batch, ["a", "b"])[0] == []
    (found,), _ = said(build(lambda: Named(Calls(batch_statistics))), batch, ["a", "b"])
    assert COMPANY in found


def test_hooks_and_calls_of_the_user_see_the_batches_and_nothing_else():
    model, seen, ran = build(lambda: Net(Calls(batch_statistics))), [], []

    def forward(model, batch):
        ran.append(len(batch))
        return model(batch)

    assert said(model, list(randn(60, 5).split(20)), ["a", "b"], forward=forward)[0] == []
    assert ran == [20, 20, 20]
    for hooked in (model.b.register_forward_hook, model.b.register_forward_pre_hook):
        seen.clear()
        handle = hooked(lambda _, inputs, *__: seen.append(len(inputs[0])))
        assert said(model, list(randn(60, 5).split(20)), ["a", "b"])[0] == []
        handle.remove()
        assert seen == [20, 20, 20]


def test_hooks_of_pytorch_and_of_another_monitor_do_not_matter():
    model = build(lambda: Net(Calls(batch_statistics)))
    model.a = nn.utils.parametrizations.weight_norm(model.a)
    prune.random_unstructured(model.b, "weight", 0.1)
    with DeepDriftMonitor(model, ["a"]):
        assert COMPANY in said(model, randn(20, 5), ["a", "b"])[0][0]


def test_masks_are_taken_apart_with_their_samples():
    hf = pytest.importorskip("transformers")
    config = hf.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    mask = (torch.arange(9) < 2 + torch.arange(12)[:, None] % 8).long()
    batch = {"input_ids": randint(30, 12, 9, low=1) * mask, "attention_mask": mask}
    assert said(build(lambda: hf.BertModel(config)), batch)[0] == []


def test_a_batch_of_ones_is_looked_at_when_more_come():
    model = build(lambda: Net(Calls(lambda x: x - x.mean(0))))
    found, _ = said(model, [randn(1, 5), randn(9, 5)], ["a", "b"])
    assert len(found) == 1 and "first batch of 9" in found[0]


# ---- no trace ----


class Keeps(nn.Module):
    """Keeps statistics, a queue, a list and a count of what passes, also in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 6)
        self.register_buffer("queue", torch.zeros(6))
        self.seen, self.calls, self.last = [], 0, None

    def forward(self, x):
        self.norm.train()
        x = self.norm(self.a(x))
        self.norm.eval()
        self.queue = x.detach()[-1]
        self.seen.append(len(x))
        self.calls += 1
        self.last = x
        return self.b(x)


def test_what_a_model_keeps_is_that_of_the_batches_alone():
    model, twin, batches = build(Keeps), build(Keeps), randn(60, 5).split(20)
    with pytest.warns(UserWarning, match=COMPANY):
        DeepDriftMonitor(model, ["a", "b"]).fit(batches)
    with torch.no_grad():
        for batch in batches:
            twin(batch)
    assert model.seen == twin.seen == [20, 20, 20] and model.calls == 3
    same(model.last, twin.last, rtol=0, atol=0)
    for name, value in twin.state_dict().items():
        same(model.state_dict()[name], value, rtol=0, atol=0)


class KeepsInferred(Net):
    """Keeps tensors that were made in inference mode, and writes to them."""

    def __init__(self):
        super().__init__(nn.Tanh())
        self.sum = None

    @torch.inference_mode()
    def forward(self, x):
        self.sum = torch.zeros(5) if self.sum is None else self.sum
        self.sum += x.sum(0)
        return super().forward(x)


def test_tensors_made_in_inference_mode_are_given_back():
    model, x = build(KeepsInferred), randn(20, 5)
    assert said(model, x, ["a", "b"])[0] == []
    same(model.sum, x.sum(0), rtol=0, atol=0)


def test_what_the_user_differentiates_later_is_not_written_to():
    model, x = build(lambda: Net(nn.Tanh())), randn(20, 5)
    model.kept = (model.a.weight**2).exp()  # its backward needs the numbers
    version = model.kept._version
    assert said(model, x, ["a", "b"])[0] == []
    assert model.kept._version == version
    model.kept.sum().backward()
    same(model.a.weight.grad, (2 * model.a.weight * model.kept).detach())


def test_what_is_read_is_the_batch_and_not_the_samples_alone():
    model, x = build(lambda: Net(nn.Tanh())), randn(40, 5)
    monitor = DeepDriftMonitor(model, ["a", "b"]).fit([x])
    same(monitor.states()["b"], model(x).detach(), rtol=0, atol=0)
    modes = [m.training for m in model.modules()]
    assert modes == [False] * len(modes)
    assert [len(m._forward_hooks) for m in model.modules()].count(0) == 1  # the layer between


def test_it_happens_once():
    calls = []

    def counted(x):
        calls.append(1)
        return x.tanh()

    model = build(lambda: Net(Calls(counted)))
    monitor = DeepDriftMonitor(model, ["a", "b"])
    monitor.fit(randn(100, 5).split(20))
    assert len(calls) == 5 + 8
    monitor.calibrate(randn(100, 5).split(20))
    assert len(calls) == 10 + 8


# ---- the measures ----


def test_rounding_is_no_gap_and_more_is():
    states = torch.tensor([[0.0, 0.0], [2.0, 2.0], [4.0, 4.0]])  # spread sqrt(8 / 3)
    assert gap(states + 0.03, states, [0, 1, 2], 1e-4) == 0.0  # less than 0.02 spreads
    assert gap(states + 0.04, states, [0, 1, 2], 1e-4) == pytest.approx(0.04 / (8 / 3) ** 0.5)
    assert gap(states + 0.04, states, [0, 1, 2], 1e-1) == 0.0  # rounding of 0.1 of its size
    assert gap(states[:1] + 1, states, [0], 1e-4) > 0.5
    assert gap(states[:, :1], states, [0, 1, 2], 1e-4) == float("inf")


def test_one_sample_that_jumps_is_no_gap():
    """A tie in a choice: one of three."""
    states = torch.tensor([[0.0], [2.0], [4.0]])
    jumped = torch.tensor([[9.0], [2.0], [4.0]])
    assert gap(jumped, states, [0, 1, 2], 1e-4) == 0.0
    assert gap(jumped, states, [0, 1, 2], 1e-4, but=0) == 9 / (8 / 3) ** 0.5
    assert not in_other_rows(torch.tensor([[4.0], [2.0], [4.0]]), states, [0, 1, 2], 1e-4)


def test_rows_that_are_not_finite_in_both_passes_are_the_same():
    states = torch.tensor([[float("nan")], [2.0], [4.0]])
    assert gap(states.clone(), states, [0, 1, 2], 1e-4) == 0.0
    assert gap(torch.full((3, 1), float("nan")), states, [0, 1, 2], 1e-4) == float("inf")
    assert gap(states[:2] + 1e-6, states[:2], [0, 1], 1e-4) == 0.0  # one row says nothing
