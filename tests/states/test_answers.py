"""One answer for many rows: a sample is a bag, a set or a graph; and rows that belong to none."""

import warnings

import pytest
import torch
from field_models import build, randint, randn, same
from torch import nn

from deepdrift import DeepDriftMonitor, StateError, collect, record
from deepdrift.states.rows import answer_for_many


class Bag(nn.Module):
    """Instances (K, 5) of one bag; one answer (1, 3)."""

    def __init__(self):
        super().__init__()
        self.each = nn.Sequential(nn.Linear(5, 8), nn.ReLU())
        self.bag = nn.Sequential(nn.Linear(8, 6), nn.ReLU())
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.bag(self.each(x).mean(0, keepdim=True)))


class Graphs(nn.Module):
    """Nodes (V, 5), and to which graph each belongs; one answer for each graph."""

    def __init__(self):
        super().__init__()
        self.node, self.head = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x, of):
        nodes = self.node(x).relu()
        graphs = torch.zeros(int(of.max()) + 1, 8).index_add(0, of, nodes)
        return self.head(graphs)


def through(model, batch):
    return model(batch)


ONE_ANSWER = r"answer of shape \(1, 3\) for an input of 12 rows.*forward=.*layers="


def test_a_bag_of_instances_is_said_once():
    monitor = DeepDriftMonitor(build(Bag), ["each.1"])
    with pytest.warns(UserWarning, match=ONE_ANSWER):
        monitor.fit([randn(12, 5, seed=i) for i in range(9)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monitor.calibrate([randn(12, 5, seed=50 + i) for i in range(9)])


def test_collect_says_it_too():
    with pytest.warns(UserWarning, match=ONE_ANSWER):
        collect(build(Bag), [randn(12, 5)], ["each.1"])


def test_nodes_of_graphs_are_said():
    of = torch.arange(12) // 4
    with pytest.warns(UserWarning, match=r"shape \(3, 3\) for an input of 12 rows.*nodes"):
        collect(build(Graphs), [(randn(12, 5), of)], ["node"])


def test_a_layer_behind_the_pooling_is_refused_with_the_remedy():
    net = build(Bag)
    with pytest.raises(StateError, match="1 row for 12 samples.*an answer.*layers=.*forward="):
        DeepDriftMonitor(net, ["bag.1"]).fit([randn(12, 5)])
    with record(net, ["bag.1"]) as states, pytest.raises(StateError, match="layout=.*forward="):
        net(randn(12, 5))
        states["bag.1"]


@pytest.mark.filterwarnings("error")
def test_the_remedies_give_one_row_for_each_bag():
    net, bags = build(Bag), [randn(4 + i % 7, 5, seed=i) for i in range(90)]
    right = torch.cat([net.bag(net.each(bag).mean(0, keepdim=True)) for bag in bags]).detach()
    got = collect(net, bags, ["bag.1"], forward=through)
    same(got.states["bag.1"], right)
    monitor = DeepDriftMonitor(net, ["bag.1"], forward=through)
    assert monitor.calibrate(bags).n_samples == 90 // 4 + 1
    same(monitor.states(bags[3])["bag.1"], right[3:4])

    def mean(h):
        return h.mean(0, keepdim=True)

    pooled = collect(net, bags, ["each.1"], mean, forward=through).states["each.1"]
    same(pooled, torch.cat([net.each(bag).mean(0, keepdim=True) for bag in bags]).detach())


@pytest.mark.filterwarnings("error")
def test_a_monitor_of_bags_by_forward_finds_the_layer_that_answers():
    monitor = DeepDriftMonitor(build(Bag), forward=through, pooling=lambda h: h.mean(0)[None])
    monitor.fit([randn(5 + i % 3, 5, seed=i) for i in range(30)])
    assert monitor.output_layer == "head"


def test_position_embeddings_are_named():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.at, self.mix = nn.Embedding(9, 6), nn.Linear(6, 6)

        def forward(self, x):
            return self.mix(x + self.at(torch.arange(9)[None]))

    with pytest.raises(StateError, match="1 row for 4 samples.*position embeddings"):
        DeepDriftMonitor(build(Positions), ["at", "mix"]).fit([randn(4, 9, 6)])


def test_a_batch_that_the_model_cuts_up_is_named():
    class Pieces(Bag):
        def forward(self, x):
            return torch.cat([self.each(part) for part in x.split(4)])

    with pytest.raises(StateError, match=r"4 rows for 12 samples.*\(then give batches of 4\)"):
        collect(build(Pieces), [randn(12, 5)], ["each.1"])
    right = build(Pieces).each(randn(4, 5)).detach()
    same(collect(build(Pieces), [randn(4, 5)], ["each.1"]).states["each.1"], right)


class Loops(nn.Module):
    """One sample after the other, with or without an axis for it."""

    def __init__(self, axis):
        super().__init__()
        self.each, self.axis, self.out = nn.Linear(5, 6), axis, nn.Linear(6, 3)

    def forward(self, x):
        rows = x.split(1) if self.axis else x.unbind()
        return self.out(torch.stack([self.each(row).view(6) for row in rows]))


@pytest.mark.parametrize("axis", [True, False])
def test_a_loop_over_samples_is_named_and_its_remedy_helps(axis):
    net, x = build(lambda: Loops(axis)), randn(12, 5)
    with pytest.raises(StateError, match="'each': it ran 12 times for 12 samples.*batches of one"):
        DeepDriftMonitor(net, ["each", "out"]).fit([x])
    pooling = "auto" if axis else (lambda h: h[None] if h.ndim == 1 else h)
    got = collect(net, x.split(1), ["each", "out"], pooling).states
    same(got["each"], net.each(x).detach())
    same(got["out"], net(x).detach())


@pytest.mark.parametrize(
    "output",
    [
        torch.zeros(12, 3),
        torch.zeros(()),  # a loss
        torch.zeros(1),
        (torch.zeros(()), torch.zeros(12, 3)),
        {"loss": torch.zeros(()), "logits": torch.zeros(12, 3)},
        (torch.zeros(7, 12, 3), torch.zeros(2, 12, 3)),  # time first, with a state
        torch.zeros(5, 12),  # the members of an ensemble
        (torch.zeros(5), torch.zeros(12, 3)),  # how often each code was used, and the answer
        torch.zeros(24, 3),  # two views of each sample
        [{"boxes": torch.zeros(3, 4)}] * 12,
        None,
    ],
)
def test_healthy_outputs_of_twelve_samples(output):
    assert answer_for_many(output, 12) is None


@pytest.mark.parametrize("shape", [(1, 3), (3,), (1, 9, 3), (4, 3)])
def test_answers_for_fewer_than_twelve(shape):
    assert answer_for_many(torch.zeros(shape), 12) == shape
    assert answer_for_many((torch.zeros(()), torch.zeros(shape)), 12) == shape


@pytest.mark.filterwarnings("error")
def test_a_loss_from_a_model_that_is_given_labels_is_no_answer():
    class Trained(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(5, 6), nn.Linear(6, 3)

        def forward(self, x, y):
            return nn.functional.cross_entropy(self.head(self.body(x).relu()), y)

    DeepDriftMonitor(build(Trained), ["body", "head"]).fit([(randn(12, 5), randint(3, 12))])
