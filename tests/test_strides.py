"""Views with gaps in memory (`y[rank::world]`) are as good as copies, and PyTorch says nothing."""

import warnings

import pytest
import torch
from torch import nn

from deepdrift import DeepDriftMonitor
from deepdrift.baselines.plane import percentile_levels


def strided(x):
    """The same numbers with a gap behind each row."""
    return torch.stack([x, torch.zeros_like(x)], dim=1).flatten(0, 1)[::2]


@pytest.fixture(autouse=True)
def loud():
    torch.set_warn_always(True)  # PyTorch says such things once per process otherwise
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    torch.set_warn_always(False)


@pytest.fixture
def data():
    g = torch.Generator().manual_seed(0)
    return torch.randn(400, 6, generator=g), torch.randint(0, 3, (400,), generator=g)


def test_the_monitor(data):
    x, y = data
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    found = []
    for form in (torch.clone, strided):
        monitor = DeepDriftMonitor(model)
        monitor.fit([(form(x[:200]), form(y[:200]))])
        monitor.calibrate([(form(x[200:]), form(y[200:]))])
        found.append(monitor.read(form(x[:7])).p_values)
    assert torch.equal(*found)


def test_shares_of_distances_with_gaps(data):
    ordered, distances = data[0].abs().flatten().sort().values, data[0][:9].abs().flatten()
    assert torch.equal(
        percentile_levels(ordered, strided(distances.double()), 101),
        percentile_levels(ordered, distances.double(), 101),
    )
