"""What states know: by hand, and against the library taken apart."""

import pytest
import torch
from torch import nn

from deepdrift.lab import data
from deepdrift.lab.bench.evaluation import auroc, proportion
from deepdrift.lab.hidden_states import knowledge
from deepdrift.scores.distance import LayerDistance
from deepdrift.states.collect import collect

G = torch.Generator().manual_seed(0)


def test_nearest_mean_by_hand():
    """Means (1, 0) and (9, 0): the border is at 5."""
    fit = torch.tensor([[0.0, 0], [2, 0], [8, 0], [10, 0]])
    found = knowledge.nearest_mean(
        fit, torch.tensor([0, 0, 1, 1]), torch.tensor([[4.9, 7], [5.1, 7]])
    )
    assert found.tolist() == [0, 1]


def test_two_poolings_from_one_pass_by_hand():
    """Two channels of a map 1 x 2: (1, 3) and (-4, 0)."""
    maps = torch.tensor([[[[1.0, 3.0]], [[-4.0, 0.0]]]])
    found = knowledge.mean_and_largest(nn.Sequential(nn.Identity()), maps, ["0"])
    assert found["mean"]["0"].tolist() == [[2.0, -2.0]]
    assert found["largest"]["0"].tolist() == [[3.0, 0.0]]


def test_several_sets_are_sorted_by_pooling():
    kinds = {"one": torch.ones(2, 1, 1, 2), "two": torch.zeros(3, 1, 1, 2)}
    found = knowledge.under_two_poolings(nn.Sequential(nn.Identity()), kinds, ["0"])
    shapes = {how: {k: x["0"].shape for k, x in by.items()} for how, by in found.items()}
    assert shapes == {how: {"one": (2, 1), "two": (3, 1)} for how in ("mean", "largest")}


def test_the_mean_is_the_pooling_of_the_library():
    network, layers = data.load_network("cnn-holdout"), data.NETWORK_LAYERS["cnn-holdout"]
    images = data.load().test.images[:20]
    both, plain = (
        knowledge.mean_and_largest(network, images, layers)["mean"],
        collect(network, images, layers).states,
    )
    for layer in layers:
        torch.testing.assert_close(both[layer], plain[layer])


def test_distances_and_what_they_see():
    fit = {layer: torch.randn(60, 3, generator=G) for layer in ("a", "b")}
    labels = torch.arange(60) % 2
    states = {
        name: {layer: torch.randn(30, 3, generator=G) + m for layer in fit}
        for name, m in (("normal", 0.0), ("far", 4.0))
    }
    scores = knowledge.distances(fit, labels, states)
    expected = LayerDistance().fit(fit, labels).score(states["far"])
    assert torch.equal(scores["far"]["b"], expected[:, 1])
    seen = knowledge.seen_by_layer(scores)
    assert list(seen) == ["far"] and list(seen["far"]) == ["a", "b"]
    assert seen["far"]["a"] == auroc(scores["normal"]["a"], scores["far"]["a"])


def test_knowledge_of_a_network_that_shows_its_input():
    """Nearest mean on the flattened images, counted without the helper."""
    images = data.load()
    network = nn.Sequential(nn.Flatten())
    found = knowledge.knowledge(network, ["0"], images)["0"]
    guessed = knowledge.nearest_mean(
        images.fit.images.flatten(1), images.fit.labels, images.test.images.flatten(1)
    )
    assert found == proportion(int((guessed == images.test.labels).sum()), 3000)
    assert found.value == pytest.approx(2038 / 3000, abs=2e-3)


def test_two_networks_of_other_layers_get_a_head_each():
    rows = {"CNN": {"stem": proportion(1, 4)}, "ViT": {"patch": proportion(1, 2)}}
    lines = knowledge.table(rows, percent=True).split("\n")
    assert [line.split() for line in lines] == [
        ["stem"], ["CNN", "25", "%"], ["patch"], ["ViT", "50", "%"],
    ]  # fmt: skip
