"""New cuts of the normal images: on average the promise is kept, and a seed repeats them."""

import numpy as np
import torch
from torch import nn

from deepdrift.lab.data.images import ImageSet
from deepdrift.lab.fair_comparison.cuts import rates_of_new_cuts
from deepdrift.lab.fair_comparison.protocol import Protocol


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU())
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.body(x))


def test_the_mean_over_cuts_keeps_the_promise():
    generator = torch.Generator().manual_seed(0)
    parts = []
    for _ in range(3):
        x = torch.rand(400, 1, 4, 4, generator=generator)
        parts.append(ImageSet(x, (x.mean(dim=(1, 2, 3)) > 0.5).long(), ("dark", "light")))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Network().eval()
    protocol = Protocol(*parts, shifted=[])
    rates = rates_of_new_cuts(network, ["body.1", "body.2"], protocol, (0.05, 0.2), n_cuts=30)
    assert rates.shape == (30, 2) and len(set(rates[:, 1])) > 5
    np.testing.assert_allclose(rates.mean(axis=0), [0.05, 0.2], atol=0.025)
    again = rates_of_new_cuts(network, ["body.1", "body.2"], protocol, (0.05, 0.2), n_cuts=2)
    np.testing.assert_array_equal(again, rates[:2])
