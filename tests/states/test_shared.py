"""A layer that does not look at the input gives all samples one state, and is named."""

import pytest
import torch
from field_models import build, randint, randn
from torch import nn

from deepdrift import DeepDriftMonitor
from deepdrift.states.shared import SharedStates

ONE = r"layer 'at': all 180 samples share one state.*position embeddings.*layers="


class Expanded(nn.Module):
    """Position embeddings that are given to every sample."""

    def __init__(self, width=5):
        super().__init__()
        self.at, self.mix, self.out = nn.Embedding(9, width), nn.Linear(5, 5), nn.Linear(5, 5)

    def forward(self, x):
        return self.out(self.mix(x) + self.at(torch.arange(9).expand(len(x), 9)))


class Queries(nn.Module):
    """Learned queries, mixed among themselves before they look at the input."""

    def __init__(self):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(4, 8))
        self.among = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
        self.look = nn.TransformerDecoderLayer(8, 2, 8, batch_first=True)

    def forward(self, x):
        return self.look(self.among(self.queries.expand(len(x), -1, -1)), x)


def batches(n=180, *shape, seed=0):
    return randn(n, *(shape or (9, 5)), seed=seed).split(50)


def test_position_embeddings_are_named_once():
    monitor = DeepDriftMonitor(build(Expanded), ["at", "mix", "out"])
    with pytest.warns(UserWarning, match=ONE) as caught:
        monitor.fit(batches())
        monitor.calibrate(batches(seed=1))
    assert len(caught) == 1
    reading = monitor.read(randn(20, 9, 5, seed=2))
    assert bool(reading.score.isfinite().all()) and reading.flagged.sum() < 10
    assert monitor.read(100 * randn(20, 9, 5, seed=2)).flagged.all()


def test_calibrate_alone_names_them_too():
    with pytest.warns(UserWarning, match=ONE):
        DeepDriftMonitor(build(Expanded), ["at", "out"]).calibrate(batches())


def test_learned_queries_are_named_and_what_looks_at_the_input_is_not():
    monitor = DeepDriftMonitor(build(Queries), ["among", "look"])
    with pytest.warns(UserWarning, match="layer 'among': all 180") as caught:
        monitor.fit(batches(180, 6, 8))
    assert len(caught) == 1


def test_a_layer_that_is_watched_alone_is_known_by_the_inputs():
    class Alone(Expanded):
        def forward(self, x):
            return self.at(torch.arange(9).expand(len(x), 9)) + 0 * x

    with pytest.warns(UserWarning, match=ONE):
        DeepDriftMonitor(build(Alone), ["at"], score="distance").fit(batches())


@pytest.mark.filterwarnings("error")
def test_copies_of_one_sample_say_nothing_of_the_layers():
    net = build(lambda: nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6)))
    DeepDriftMonitor(net, ["0", "2"]).fit([randn(1, 5).expand(40, -1)] * 3)
    DeepDriftMonitor(net, ["0", "2"]).fit([randn(1, 5)])


@pytest.mark.filterwarnings("error")
def test_a_layer_that_wakes_up_late_is_healthy():
    """The first batches leave it at zero."""
    net = build(lambda: nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 3)))
    with torch.no_grad():
        net[0].weight.fill_(1.0), net[0].bias.fill_(-5.0)
    x = torch.linspace(-1, 9, 120)[:, None]
    assert float(net[0](x[:40]).detach().relu().max()) == 0
    DeepDriftMonitor(net, ["0", "1"]).fit(x.split(40))


def test_rows_that_differ_by_more_than_rounding_are_not_shared():
    one = torch.full((3, 2), 8.0)
    for by, same in ((4e-6, ["a"]), (4e-5, [])):
        shared, other = SharedStates(), one.clone()
        other[1, 0] += by
        shared.add({"a": other, "b": torch.eye(3)})
        assert shared.names == same


def test_the_same_state_within_each_batch_but_not_between_them_is_not_shared():
    shared = SharedStates()
    for i in range(2):
        shared.add({"a": torch.full((3, 2), float(i)), "b": torch.eye(3)})
    assert shared.names == []


def test_tokens_tell_that_samples_differ():
    shared = SharedStates()
    shared.add({"a": torch.ones(6, 2)}, [randint(9, 6, 4)])
    assert shared.names == ["a"] and shared.n == 6
    alike = SharedStates()
    alike.add({"a": torch.ones(6, 2)}, [torch.ones(6, 4), None, "text"])
    assert alike.names == []
