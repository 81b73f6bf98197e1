"""The experiments of notebook 06 on features whose outcome is known."""

import pytest
import torch
from torch import nn

from deepdrift.baselines import MMDDrift
from deepdrift.baselines.kernels import median_heuristic
from deepdrift.lab.mmd import experiment, reports


def normal(n, shift=0.0, seed=0):
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)) + shift


@pytest.fixture
def features():
    clean = normal(60, seed=1)
    sets = {"reference": normal(60), "clean": clean, "perturbed": clean + 2}
    return experiment.Features({"states": sets})


def test_compare_takes_the_first_n(features):
    sets = features["states"]
    assert features.compare("states", "perturbed", 20) == MMDDrift(sets["reference"][:20]).test(
        sets["perturbed"][:20]
    )
    assert not features.compare("states", "clean", 40).is_drift


def test_power_and_its_curve(features):
    assert features.power("states", 20).value == 1.0
    values = [e.value for e in features.power_curve("states", [4, 20], experiment.aggregated99)]
    assert values[0] < values[1] == 1.0


def test_pairs_are_drawn_anew_and_can_be_drawn_again(features):
    first, again = features.pairs("states", 10, 2), features.pairs("states", 10, 2)
    assert all(torch.equal(a, b) for a, b in zip(first[0], again[0], strict=True))
    assert not torch.equal(first[0][0], first[1][0])


def test_twins_are_the_same_images(features):
    generator = torch.Generator().manual_seed(0)
    for before, after in features.twins("states", 10, 3, generator):
        assert len(before) == 10 and torch.equal(before + 2, after)


def test_clean_splits_share_no_image(features):
    (x, y), (z, _) = features.clean_splits("states", 30, 2, torch.Generator().manual_seed(0))
    assert len(torch.cat([x, y]).unique(dim=0)) == 60 and not torch.equal(x, z)
    rate = features.false_alarms("states", 30, 20, torch.Generator().manual_seed(0))
    assert rate.low < 0.05 and rate.n_in + rate.n_out > 0


def test_power_of_pairs_has_a_row_for_each_kind(features):
    power = features.power_of_pairs("states", (10,), torch.Generator().manual_seed(0))
    assert list(power) == ["n = 10, other images", "n = 10, the same images"]
    assert power["n = 10, other images"].value == 1.0


def test_smallest_p_of_one_bandwidth_is_that_of_the_test():
    pairs = [(normal(12), normal(12, 0.5, seed=1))]
    assert experiment.smallest_p(pairs, [1]) == experiment.p_values(pairs)
    sigma = median_heuristic(torch.cat(pairs[0]))
    found = [experiment.mmd99(pairs[0][0], sigma=f * sigma).test(pairs[0][1]) for f in (0.5, 3)]
    assert experiment.smallest_p(pairs, [0.5, 3]) == [min(test.p_value for test in found)]


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 4) for _ in range(6)])
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_features_of_networks_and_their_verdicts():
    torch.manual_seed(0)
    sets = {"reference": normal(30), "clean": normal(30, seed=1)}
    features = experiment.collect_features({"small": Small()}, sets, {"small": 20})
    assert {k: v["clean"].shape for k, v in features.items()} == {
        "small": (20, 4),
        "small, block 3": (20, 4),
    }
    labels = features.outputs["small"]["clean"].argmax(dim=1)
    verdicts = features.verdicts(torch.cat([labels, labels]), 20)
    assert list(verdicts) == ["small, clean"]
    hits, test = verdicts["small, clean"]
    assert hits.value == 1.0 and test == features.compare("small", "clean", 20)
    lines = reports.verdicts(verdicts).splitlines()
    assert lines[1].startswith("small, clean  100.0%") and len({len(x) for x in lines}) <= 2
