"""What a first pass settled is read as it was read then, and what may differ is looked at again."""

import pytest
import torch
from torch import nn

from deepdrift.errors import StateError
from deepdrift.states.hooks import record


def images(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip


@pytest.mark.parametrize("grad", [False, True])
def test_later_passes_give_what_a_first_pass_gives(grad):
    model, x = network(), images(5)
    with record(model, ["0", "4"]) as states, torch.set_grad_enabled(grad):
        for _ in range(3):
            model(images(2, seed=1))
        model(x)
        later = dict(states)
    with record(model, ["0", "4"]) as states:
        model(x)
        first = dict(states)
    expected = model[0](x).mean(dim=(2, 3)).detach(), model(x).detach()
    for name, value in zip(("0", "4"), expected, strict=True):
        assert torch.equal(later[name], first[name]) and torch.equal(later[name], value)
        assert not later[name].requires_grad


def test_a_settled_state_shares_no_memory_with_the_output():
    model = network()
    with record(model, ["4"]) as states:
        for _ in range(3):
            out = model(images(2))
        kept = states["4"].clone()
        out.zero_()
        assert torch.equal(states["4"], kept)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_another_precision_is_a_float32_state(dtype):
    model = network()
    with record(model, ["0", "4"]) as states:
        for _ in range(3):
            model(images(2))
        model.to(dtype)(images(2).to(dtype))
        assert {v.dtype for v in states.values()} == {torch.float32}


class Turn(nn.Module):
    """Hands on its input as it is, or what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.how = lambda x: x

    def forward(self, x):
        return self.how(x)


def test_what_is_settled_holds_for_one_tensor_of_so_many_axes_and_rows():
    turn = Turn()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), turn)
    with record(model, ["1"]) as states:
        for _ in range(3):
            model(images(2))
        turn.how = lambda x: (x, None)
        model(images(3))
        assert torch.equal(states["1"], model[0](images(3)).mean(dim=(2, 3)).detach())
        turn.how = lambda x: x.mean(dim=(2, 3))
        model(images(3))
        assert states["1"].shape == (3, 4)
        turn.how = lambda x: torch.cat([x, x])
        model(images(3))
        with pytest.raises(StateError, match="6 rows for 3 samples"):
            states["1"]


def test_a_layer_that_runs_twice_is_two_states():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    with record(model, ["0"]) as states:
        for n in (1, 2, 3):
            x = torch.rand(n, 4, generator=torch.Generator().manual_seed(n))
            once, twice = shared(x).detach(), model(x).detach()
        assert torch.equal(states["0"], once) and torch.equal(states["0#2"], twice)
