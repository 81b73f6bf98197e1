"""Where the state lies in what a layer returned: one rule for all forms of outputs."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import zoo
from field_models import build, fitted, outputs_of, randn, same, states_of
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from deepdrift import StateError, collect, list_layers
from deepdrift.states.outputs import find_tensor, unpack

A, B = torch.tensor([[0.5, 1.5]]), torch.tensor([[2.0, 3.0]])
IDS = torch.tensor([[3, 4]])


@dataclass
class Answer:
    ids: Tensor | None = None
    hidden: Tensor | None = None
    attention: Tensor | None = None


Named = namedtuple("Named", ["keep_mask", "features", "logits"], defaults=(None,))


@pytest.mark.parametrize(
    "output",
    [
        A,
        (A, B),
        [A, B],
        (None, (A, B)),
        (IDS, A),  # numbers of tokens, indices, lengths
        (IDS > 3, A, B),
        (torch.tensor(0.5), A),  # a loss
        {"a": {"b": [IDS, A]}, "c": B},
        {"loss": B, "x": A},
        {"aux_loss": B, "x": A},
        {"mask": B, "x": A},
        {"attention_mask": B, "x": A},
        {"other": B, "logits": A},
        {"logits": B, "last_hidden_state": A},
        {3: A},
        Answer(IDS, A, B),
        Answer(attention=A),
        Named(B, A),
        Named(B, B, A),
        SimpleNamespace(sample=A),
        zoo.ModelOutput(logits=B, last_hidden_state=A),
        torch.return_types.max((A, IDS)),
    ],
    ids=str,
)
def test_the_state_in_an_output(output):
    assert find_tensor(output) is A
    state, keep = unpack(output)
    assert state is A and keep is None


@pytest.mark.parametrize(
    ("shape", "of"),
    [
        ((2, 5), (2, 5, 8)),
        ((2, 5, 1), (2, 5, 8)),
        ((2, 6, 7), (2, 3, 6, 7)),
        ((2, 1, 6, 7), (2, 3, 6, 7)),
        ((2, 6, 7, 1), (2, 6, 7, 3)),
    ],
)
@pytest.mark.parametrize("low", [0.0, -1e4, -float("inf")])
def test_ones_and_zeros_for_the_places_of_another_part_are_a_mask(shape, of, low):
    mask = torch.where(randn(*shape) > 0, 1.0 if low == 0.0 else 0.0, low)
    x = randn(*of)
    for output in ((mask, x), {"keep": mask, "x": x}, Answer(IDS, mask, x)):
        assert find_tensor(output) is x
    for values in (torch.ones(shape), torch.zeros(shape)):  # nothing, or all, is padding
        assert find_tensor((values, x)) is x
    scores = randn(*shape)  # one number a place, and no mask
    assert find_tensor((scores, x)) is scores


@pytest.mark.parametrize(
    "output",
    [
        (torch.zeros(2, 5, 8), torch.rand(2, 4, 5, 5)),  # dead, beside its attention
        (torch.zeros(2, 8), torch.rand(2, 5, 7)),
        (torch.zeros(2, 8), torch.rand(2, 3)),
        (torch.zeros(2, 3), torch.rand(2, 3, 6, 6)),
    ],
)
def test_zeros_are_no_mask_where_they_do_not_fit(output):
    assert find_tensor(output) is output[0]


def test_a_mask_alone_is_what_the_layer_returned():
    assert find_tensor({"mask": A, "ids": IDS}) is A


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (None, "NoneType without a tensor"),
        ({}, "dict without a tensor"),
        (IDS, "int64; expected floating point"),
        ((IDS, IDS > 3), "int64; expected floating point"),
        (torch.zeros(2, 3, dtype=torch.complex64), "complex numbers"),
        ((pack_sequence([torch.zeros(2, 3)]), None), "pad_packed_sequence"),
        (SimpleNamespace(tensors=A, mask=B), "class SimpleNamespace.*tensors, mask.*dataclass"),
    ],
)
def test_outputs_without_a_state_are_refused(output, words):
    with pytest.raises(StateError, match=words):
        find_tensor(output)


def test_an_output_that_holds_itself_ends():
    output: list[Any] = []
    output.append(output)
    with pytest.raises(StateError, match="list without a tensor"):
        find_tensor(output)


def test_packed_and_nested_sequences_are_found_at_any_depth():
    parts = [torch.ones(2, 3), torch.ones(1, 3)]
    for found in (pack_sequence(parts), torch.nested.nested_tensor(parts)):
        padded, keep = unpack({"ids": IDS, "x": (found, None)})
        assert padded.shape == (2, 2, 3) and keep.tolist() == [[True, True], [True, False]]


class Block(nn.Module):
    """A residual block that returns its state in some form."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.linear, self.form = nn.Linear(8, 8), form

    def forward(self, x: Tensor) -> Any:
        return self.form(x + self.linear(x).tanh())


def ones(x: Tensor) -> Tensor:
    return torch.ones(x.shape[:-1])


FORMS = {
    "dataclass": (lambda x: Answer(x.argmax(-1), x), lambda o: o.hidden),
    "named tuple": (lambda x: Named(ones(x), x), lambda o: o.features),
    "mapping": (lambda x: {"keep": ones(x), "deep": {"x": x}}, lambda o: o["deep"]["x"]),
    "list": (lambda x: [x.argmax(-1), x], lambda o: o[1]),
}


class Net(nn.Module):
    def __init__(self, form: Any, read: Any) -> None:
        super().__init__()
        self.blocks, self.read = nn.ModuleList([Block(form), Block(form)]), read

    def forward(self, x: Tensor) -> Any:
        for block in self.blocks:
            output = block(x)
            x = self.read(output)
        return output


@pytest.mark.parametrize("form", FORMS)
def test_a_monitor_of_blocks_that_return_it(form):
    net = build(lambda: Net(*FORMS[form]))
    x, names = randn(4, 5, 8), ["blocks.0", "blocks.1"]
    out = {name: FORMS[form][1](o) for name, o in _raw(net, names, x).items()}
    for name, state in states_of(net, names, x).items():
        same(state, out[name].mean(1))
    assert {k.name: k.width for k in list_layers(net, x) if k.name in names} == dict.fromkeys(
        names, 8
    )
    same(collect(net, [x], names).outputs, out["blocks.1"])
    monitor = fitted(net, lambda n, seed: randn(n, 5, 8, seed=seed))
    assert list(monitor.layers) == names
    assert monitor.read(10 * randn(20, 5, 8, seed=9)).flagged.float().mean() > 0.9


def _raw(net: nn.Module, names: list[str], x: Tensor) -> dict[str, Any]:
    found: dict[str, Any] = {}
    handles = [
        net.get_submodule(n).register_forward_hook(lambda _m, _i, o, n=n: found.update({n: o}))
        for n in names
    ]
    outputs_of(net, [], x)
    for handle in handles:
        handle.remove()
    return found
