"""Every door says the same of states that are not of one sample each."""

import warnings

import pytest
import torch
from field_models import build, randn, same
from torch import nn
from torch.nn import functional as F

from deepdrift import DIME, MMDDrift, StateError, collect


class Net(nn.Module):
    """Two layers around a function."""

    def __init__(self, between):
        super().__init__()
        self.a, self.between, self.b = nn.Linear(5, 6), between, nn.Linear(6, 6)

    def forward(self, x):
        return self.b(self.between(self.a(x)))


class Sorted(Net):
    """The layer `a` sees the samples in another order."""

    def forward(self, x):
        order = x.sum(1).argsort()
        return self.b(self.a(x[order])[order.argsort()])


class Positions(Net):
    """A row of embeddings, given to every sample."""

    def __init__(self):
        super().__init__(None)
        self.at = nn.Embedding(3, 6)

    def forward(self, x):
        return self.a(x) + self.at(torch.zeros(len(x), dtype=torch.int64))


class Crops(Net):
    """Five crops of a sample, one row each."""

    def __init__(self):
        super().__init__(torch.tanh)

    def forward(self, x):
        return super().forward(x.flatten(0, 1)).unflatten(0, (-1, 5)).mean(1)


def by_collect(net, x, layer, **options):
    return collect(net, x.split(10), [layer], **options).states[layer]


def by_mmd(net, x, layer, **options):
    test = MMDDrift(x.split(10), feature_map=net, layer=layer, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was said of the reference
        test.test(x.split(10))
    return test.reference


SAID = {
    "company": (
        lambda: Net(lambda x: F.batch_norm(x, None, None, training=True)),
        "b",
        "layer 'b': its state depends on the other samples of the batch.*batch of 10.*layers=",
    ),
    "chance": (
        lambda: Net(lambda x: F.dropout(x, training=True)),
        "b",
        "layer 'b': it has other states in a second pass.*draws random numbers.*layers=",
    ),
    "one state": (Positions, "at", "layer 'at': all 30 samples share one state.*layers="),
}


@pytest.mark.parametrize("door", [by_collect, by_mmd])
@pytest.mark.parametrize("what", SAID)
def test_it_is_said_once(door, what):
    make, layer, words = SAID[what]
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        with pytest.warns(UserWarning, match=words) as caught:
            door(build(make), randn(30, 5), layer)
        assert torch.equal(torch.get_rng_state(), before)
    assert len(caught) == 1 and caught[0].filename == __file__


@pytest.mark.parametrize("door", [by_collect, by_mmd])
def test_other_rows_are_refused(door):
    with pytest.raises(StateError, match="'a'.*samples in another order.*layers="):
        door(build(lambda: Sorted(None)), randn(30, 5), "a")
    with pytest.raises(StateError, match="50 rows for 10 samples.*layout=.*forward="):
        door(build(Crops), randn(30, 5, 5), "a")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("door", [by_collect, by_mmd])
def test_healthy_states_are_those_of_the_layer(door):
    net, x = build(lambda: Net(torch.tanh)), randn(30, 5)
    same(door(net, x, "a"), net.a(x).detach(), rtol=0, atol=1e-6)
    crops = build(Crops)
    rows = door(crops, randn(30, 5, 5), "a", forward=lambda model, x: model(x))
    same(rows, crops.a(randn(30, 5, 5)).flatten(0, 1).detach(), rtol=0, atol=1e-6)


def test_dime_on_collected_states_has_been_warned():
    with pytest.warns(UserWarning, match="share one state"):
        got = collect(build(Positions), randn(30, 5), ["at", "a"])
    assert DIME().fit(got.states["a"]).n_samples == 30


class Silent(Net):
    """Keeps what it has found, and returns what is asked for."""

    def __init__(self, returns):
        super().__init__(torch.tanh)
        self.returns = returns

    def forward(self, x):
        self.found = super().forward(x)
        return self.returns


def found_by(model, batch):
    model(batch)
    return model.found


@pytest.mark.parametrize("returned", [None, "done", {}, torch.ones(3, dtype=torch.int64)])
def test_a_model_without_a_tensor_to_keep_is_named_and_the_remedy_helps(returned):
    net, x = build(lambda: Silent(returned)), randn(30, 5)
    with pytest.raises(StateError, match="model: it returned .*forward=.*record"):
        collect(net, x, ["a"])
    got = collect(net, [x], ["a"], forward=found_by)
    same(got.states["a"], net.a(x).detach())
    same(got.outputs, net.found.detach())
