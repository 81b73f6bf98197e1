"""What is measured of a checkpoint, on networks whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from deepdrift.diffusion import DiffusionTrace, Stages
from deepdrift.lab.bench.evaluation import auroc
from deepdrift.lab.diffusion_memorisation.measures import (
    N_LATE,
    N_SAMPLES,
    QUANTITIES,
    Rival,
    agreement,
    choose,
    draw_samples,
    separations,
    starting_noise,
)
from deepdrift.lab.diffusion_memorisation.noise import sample, signal_shares
from deepdrift.lab.diffusion_memorisation.switching import guilt, silenced
from deepdrift.lab.diffusion_memorisation.unet import SmallUNet, encode_level


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_checkpoint_starts_from_the_same_noise():
    assert starting_noise().shape == (N_SAMPLES, 1, 16, 16)
    assert torch.equal(starting_noise(5), starting_noise(5))


def test_updates_and_lengths_by_the_steps_themselves():
    model, noise = SmallUNet(), torch.randn(4, 1, 16, 16, generator=gen())
    steps = []
    expected = sample(model, noise, 20, lambda t, x, y: steps.append((t, x, y)))
    found = draw_samples(model, noise, 20)
    assert torch.equal(found.images, expected)
    images = [y for _, _, y in steps]
    late = [(a - b).flatten(1).norm(dim=1) for a, b in zip(images, images[1:], strict=False)]
    torch.testing.assert_close(found.updates, torch.stack(late[-N_LATE:]).mean(0))
    lengths = []
    for t, x, y in steps:
        share = float(signal_shares()[t])
        lengths.append(((x - share**0.5 * y) / (1 - share) ** 0.5).flatten(1).norm(dim=1))
    torch.testing.assert_close(found.scores, torch.stack(lengths).mean(0))


def trace(n, shift):
    g, shapes = gen(n), ((2,), (2, 3), (2, 2), (1, 3), (2, 2), (1, 3))
    values = [torch.randn(n, *shape, generator=g) + shift for shape in shapes]
    return DiffusionTrace((5, 9), Stages(("a", "b", "c"), "b"), *values)


def test_larger_for_held_out_images_is_above_a_coin():
    members, strangers = trace(60, 0.0), trace(90, 2.0)
    found = separations(members, strangers)
    assert found.keys() == set(QUANTITIES)
    assert [found[k].shape for k in QUANTITIES] == [
        (2, 1, 3), (2, 3, 3), (2, 2, 3), (1, 3, 3), (2, 2, 3), (1, 3, 3)
    ]  # fmt: skip
    e = auroc(members.norm[:, 1, 2], strangers.norm[:, 1, 2])
    assert found["norm"][1, 2] == pytest.approx((e.value, e.low, e.high))
    assert all((v[..., 0] > 0.85).all() for v in found.values())


def test_the_sign_is_fixed_once():
    table = np.full((2, 3, 3), 0.5)
    table[0, 1] = 0.1, 0.05, 0.2
    table[1, 2] = 0.8, 0.7, 0.9
    rival = choose(table, "norm", [0, 1, 2])
    assert rival == Rival("norm", 0, 1, larger_for_members=True)
    np.testing.assert_allclose(rival.of(table), (0.9, 0.8, 0.95))
    other = np.full((5, 2, 3, 3), 0.9)
    np.testing.assert_allclose(rival.of(other)[:, 0], 0.1)  # a sign that fails, fails
    assert choose(table, "norm", [0, 2]) == Rival("norm", 1, 2, larger_for_members=False)


def test_agreement_by_hand():
    """Pairs of noise around one picture each: one minus the share of the noise."""
    g = gen(1)
    pictures = torch.randn(300, 1, 6, 6, generator=g)
    a, b = (pictures + torch.randn(pictures.shape, generator=g) for _ in "ab")
    assert agreement(a, b) == pytest.approx(0.5, abs=0.02)
    assert abs(agreement(a, a.roll(1, 0))) < 0.03
    assert agreement(a, a) == 1.0


def test_levels_are_coded_apart():
    codes = encode_level(torch.tensor([0, 1, 999]))
    assert codes.shape == (3, 64)
    torch.testing.assert_close(codes[0], torch.cat([torch.zeros(32), torch.ones(32)]))
    assert torch.cdist(codes, codes)[~torch.eye(3, dtype=torch.bool)].min() > 0.5


def test_a_silent_channel_changes_what_comes_behind_and_nothing_stays():
    model, x, t = SmallUNet(), torch.randn(2, 1, 16, 16, generator=gen()), torch.tensor([5, 7])
    with torch.no_grad():
        before = model(x, t)
        with silenced(model.bottleneck, range(64)):
            silent = model(x, t)
        nn.init.zeros_(model.up_2.weight)  # what the bottleneck gives does not count any more
        cut = model(x, t)
        with silenced(model.bottleneck, [3]):
            assert torch.equal(model(x, t), cut)
    torch.testing.assert_close(silent, cut)
    assert (silent - before).abs().max() > 1e-4
    assert not model.bottleneck._forward_hooks


class OneChannelKnows(nn.Module):
    """Channel 2 answers bright images; the others answer nothing in particular."""

    def forward(self, x, level):
        bright = x.mean(dim=(2, 3), keepdim=True)
        others = torch.ones(len(x), 4, 2, 2) * x[:, :, :2, :2]
        others[:, 2] = 50 * bright[:, 0]
        return others


def test_the_channel_that_knows_is_the_guilty_one():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.bottleneck = OneChannelKnows()

        def forward(self, x, t):
            return self.bottleneck(x, t).mean() + 0 * x

    bright, dark = (torch.rand(40, 1, 8, 8, generator=gen(s)) + m for s, m in ((0, 1.0), (1, 0.5)))
    assert int(guilt(Net(), bright, dark, level=1).argmax()) == 2
