"""A network whose late states are tiny and rounded otherwise in every batch size."""

import pytest
import torch
from torch import nn

from deepdrift import DeepDriftMonitor

EPS = torch.finfo(torch.float32).eps


class Tiny(nn.Module):
    """Late states of size ``size``, off by up to 30 units of rounding, by the size of the batch.

    As convolutions do: another batch size is another order of summation.
    """

    def __init__(self, size, units=30.0):
        super().__init__()
        self.a, self.b, self.c = nn.Identity(), nn.Identity(), nn.Identity()
        self.size, self.units = size, units
        g = torch.Generator().manual_seed(5)
        self.turns = [torch.randn(8, 8, generator=g) / 8**0.5 for _ in range(2)]

    def rounded(self, z, seed):
        g = torch.Generator().manual_seed(1000 * len(z) + seed)
        noise = torch.rand(z.shape, generator=g, dtype=torch.float64) * 2 - 1
        return (z + self.units * EPS * z.square().mean().sqrt() * noise).float()

    def forward(self, x):
        a = self.a(x)
        b = self.b(self.rounded(self.size * (a.double() @ self.turns[0].double() + 0.5), 1))
        return self.c(self.rounded(b.double() @ self.turns[1].double(), 2))


def normal(n, seed):
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [1.0, 1e-8, 1e-12])
def test_a_sample_alone_and_in_a_batch_has_one_p_value(size):
    with DeepDriftMonitor(Tiny(size), ["a", "b", "c"]) as monitor:
        monitor.fit(normal(800, 0).split(16))
        monitor.calibrate(normal(800, 1).split(16))
        new = normal(40, 2)
        five = torch.cat([monitor.p_values(part) for part in new.split(5)])
        alone = torch.cat([monitor.p_values(part) for part in new.split(1)])
        assert (five - alone).abs().max() < 1e-3
        assert len(five.unique()) > 30  # and the p-values say something
        innovation = monitor.read(new).blocks["innovation"]
        assert innovation.max() == 0  # both steps are predicted up to rounding
        assert bool((monitor.p_values(new + 8) <= 0.05).all())


@pytest.mark.parametrize("size", [1.0, 1e-8, 1e-12])
def test_a_step_that_breaks_is_seen_all_the_same(size):
    model = Tiny(size)
    with DeepDriftMonitor(model, ["a", "b", "c"]) as monitor:
        monitor.fit(normal(800, 0).split(16))
        monitor.calibrate(normal(800, 1).split(16))
        model.turns[1] = model.turns[1] * torch.linspace(1.0, 1.01, 8)  # a change of 1 %
        reading = monitor.read(normal(40, 2))
        assert reading.blocks["innovation"][:, 0].max() == 0
        assert bool((reading.blocks["innovation"][:, 1] > 0).all())
        assert reading.flagged.double().mean() > 0.5
        assert reading.most_unusual == "innovation b->c"
