"""Copies by hand and by brute force, twins by the birthday paradox."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from deepdrift.diffusion import DiffusionError, collisions, copied, samples_needed


def gen(seed):
    return torch.Generator().manual_seed(seed)


def test_ratios_by_brute_force():
    samples, train = (torch.randn(n, 1, 3, 3, generator=gen(n)) for n in (40, 25))
    found = copied(samples, train)
    for i, sample in enumerate(samples):
        distances = sorted((float((sample - t).square().sum()) ** 0.5, j)
                           for j, t in enumerate(train))  # fmt: skip
        (first, where), (second, _) = distances[:2]
        assert float(found.ratio[i]) == pytest.approx(first / second, rel=1e-6)
        assert int(found.nearest[i]) == where
        assert float(found.distance[i]) == pytest.approx(first, rel=1e-6)
    assert found.is_copy.tolist() == (found.ratio < 1 / 3).tolist()


def test_noisy_copies_are_copies_and_others_are_not():
    train = torch.randn(50, 1, 4, 4, generator=gen(0))
    held = torch.randn(300, 1, 4, 4, generator=gen(1))
    samples = torch.cat([train[:30] + 0.02, torch.randn(70, 1, 4, 4, generator=gen(2))])
    found = copied(samples, train, held)
    assert found.is_copy[:30].all() and found.share == pytest.approx(0.3, abs=0.03)
    assert found.null_share < 0.02
    low, high = stats.binomtest(int(found.is_copy.sum()), 100).proportion_ci(method="wilson")
    assert found.low == pytest.approx(low, abs=0.04) and found.high == pytest.approx(high, abs=0.04)
    assert f"{found.share:.0%} [{found.low:.0%}, {found.high:.0%}] of 100 samples" in str(found)


def test_a_training_image_itself_and_one_that_is_there_twice():
    train = torch.randn(5, 1, 2, 2, generator=gen(3)).double()
    assert copied(train, train).ratio.max() < 1e-6
    near, twice = train[:1] + 0.01, torch.cat([train, train[:1], train[2:]])
    once, again = copied(near, train), copied(near, twice)
    assert once.is_copy.all() and again.ratio.equal(once.ratio) and again.nearest.tolist() == [0]
    assert copied(near, twice.flip(0)).nearest.tolist() == [3]  # the first of its place


def test_what_cannot_be_compared():
    images = torch.randn(4, 1, 2, 2)
    for one in (images[:1], images[:1].repeat(3, 1, 1, 1)):
        with pytest.raises(DiffusionError, match="train: expected at least two different .* got 1"):
            copied(images, one)
    with pytest.raises(DiffusionError, match="of one size"):
        copied(images, torch.randn(4, 2, 2, 1))
    with pytest.raises(DiffusionError, match="both sets"):
        copied(images, images + 1, images[:1] + 1)
    with pytest.raises(DiffusionError, match="samples: 1 of 4 images hold NaN"):
        copied(images.index_fill(0, torch.tensor(2), math.nan), images)
    with pytest.raises(DiffusionError, match="ratio"):
        copied(images, images + 1, ratio=1.0)


@pytest.mark.parametrize("n", [10, 32, 200])
def test_the_number_of_images_comes_back(n):
    """Draws from n images with a little noise: within the interval in about 95 % of 60 runs."""
    images, inside, found = torch.randn(n, 1, 4, 4, generator=gen(n)), 0, []
    for seed in range(60):
        g = gen(seed)
        drawn = images[torch.randint(n, (samples_needed(n, 50),), generator=g)]
        count = collisions(drawn + 0.01 * torch.randn(drawn.shape, generator=g))
        found.append(count.effective)
        inside += count.low <= n <= count.high
    assert 0.8 * n < np.median(found) < 1.25 * n
    assert inside >= stats.binom.ppf(0.001, 60, 0.9)


def test_uneven_draws_count_as_fewer_images():
    """Half of all draws are one image, half are new: 1 / sum p^2 is about 4."""
    drawn = torch.randn(400, 1, 4, 4, generator=gen(1))
    drawn[::2] = drawn[0]
    assert collisions(drawn, radius=0.1).effective == pytest.approx(4, rel=0.02)


def test_fresh_samples_have_no_twins_and_raise_no_alarm():
    for seed in range(20):
        count = collisions(torch.randn(200, 1, 8, 8, generator=gen(seed)))
        assert (count.twins, count.effective, count.high) == (0, math.inf, math.inf)
        assert not count.alarm(32) and not count.alarm(10**9)
        assert count.low == pytest.approx(19900 / (stats.chi2.ppf(0.975, 2) / 2))
        assert str(count) == "No twins among 200 samples: drawn from 5395 or more."


def test_the_alarm_needs_the_whole_interval():
    images = torch.randn(32, 1, 4, 4, generator=gen(0))
    many = collisions(images[torch.randint(32, (300,), generator=gen(1))])
    assert many.alarm(32) and many.alarm(1000) and not many.alarm(8)
    low, high = stats.chi2.ppf([0.025], 2 * many.twins)[0] / 2, 300 * 299 / 2
    assert many.high == pytest.approx(high / low)
    few = collisions(images[:25].repeat_interleave(2, dim=0)[:27])
    assert few.twins == 13 and few.effective == 27
    assert few.alarm(32) == (few.high <= 64)


@pytest.mark.parametrize("n", [0, -3, 2.5, True, "32"])
def test_a_number_of_images_that_is_none(n):
    count = collisions(torch.randn(30, 1, 2, 2))
    with pytest.raises(DiffusionError, match="n_train: expected a whole number"):
        count.alarm(n)


def test_samples_that_tell_nothing():
    with pytest.raises(DiffusionError, match="expected at least 20, got 19"):
        collisions(torch.randn(19, 1, 2, 2))
    with pytest.raises(DiffusionError, match="same noise"):
        collisions(torch.zeros(30, 1, 2, 2))
    with pytest.raises(DiffusionError, match="radius"):
        collisions(torch.randn(30, 1, 2, 2), radius=0.0)
    with pytest.raises(DiffusionError, match="NaN"):
        collisions(torch.full((30, 1, 2, 2), math.nan))


@pytest.mark.parametrize(("n", "twins"), [(32, 20), (4000, 20), (100, 1)])
def test_samples_that_are_needed(n, twins):
    k = samples_needed(n, twins)
    assert k * (k - 1) / 2 / n >= twins > (k - 1) * (k - 2) / 2 / n or k == 20


@pytest.mark.parametrize("there", [lambda x: x / 2 + 0.5, lambda x: x * 127.5 + 127.5])
def test_two_ranges_are_refused_either_way(there):
    train = torch.linspace(-1, 1, 2 * 256).reshape(2, 1, 16, 16)
    for a, b in ((train, there(train)), (there(train), train)):
        with pytest.raises(DiffusionError, match="samples, train: expected values of one range"):
            copied(a, b)
    copied(train * 0.3, train)  # a network that paints mush
    copied(train - 0.02, train.clamp(min=-0.02))


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "32", math.nan, None])
def test_whole_numbers(wrong):
    found = collisions(torch.randn(30, 1, 2, 2, generator=gen(0)))
    for name, call in (
        ("n_train", found.alarm),
        ("n_train", samples_needed),
        ("twins", lambda x: samples_needed(32, x)),
        ("n_bootstrap", lambda x: copied(torch.eye(2)[:, None, None], torch.eye(2)[:, None, None],
                                         n_bootstrap=x)),
    ):  # fmt: skip
        with pytest.raises(DiffusionError, match=f"^{name}: expected a whole number >= 1, got"):
            call(wrong)


def test_numbers_of_numpy_are_numbers():
    found = collisions(torch.randn(30, 1, 2, 2, generator=gen(0)))
    assert found.alarm(np.int64(10**6)) == found.alarm(10**6)
    assert samples_needed(np.int64(32)) == samples_needed(32)


@pytest.mark.parametrize("wrong", [0, -0.1, math.nan, "0.1", True])
def test_radius_and_ratio(wrong):
    images = torch.randn(30, 1, 2, 2, generator=gen(0))
    with pytest.raises(DiffusionError, match="^radius: expected a positive number, got"):
        collisions(images, radius=wrong)
    with pytest.raises(DiffusionError, match="^ratio: expected a number between 0 and 1, got"):
        copied(images, images, ratio=wrong)
