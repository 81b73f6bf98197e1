"""The exercises of notebook 13: what is right, what is a well-known mistake, what is neither."""

from __future__ import annotations

import torch
from scipy import stats

from deepdrift.diffusion import collisions, copied
from deepdrift.lab.diffusion_memorisation.exercises import EXERCISES


def reply(number: int, answer: object) -> str:
    return EXERCISES[f"ex_13_{number}"].reply(answer)


def test_the_ratio_is_the_library_s():
    train = torch.tensor([0.0, 4.5]).reshape(2, 1, 1, 1)
    found = copied(torch.full((1, 1, 1, 1), 1.5), train)
    for answer in (float(found.ratio[0]), 0.5, torch.tensor(0.5), "0.5", 1.5 / 3.0):
        assert reply(1, answer).startswith("Right: ")
    assert not found.is_copy[0]
    assert "other way round" in reply(1, 2)
    assert "divide" in reply(1, 1.5)
    assert reply(1, 0.3).startswith("Not yet: the smallest distance")


def test_false_finds_among_many():
    """The expected count of two-sided intervals at 95 %."""
    assert reply(2, 120 * 2 * stats.norm.sf(stats.norm.ppf(0.975))).startswith("Right: ")
    assert reply(2, 6).startswith("Right: ") and reply(2, "about 6").startswith("Right: ")
    assert "how many of 120" in reply(2, 0.05)
    assert "one side" in reply(2, 3)
    assert "by luck" in reply(2, 0)
    assert "holds 0.5" in reply(2, 114)
    assert reply(2, 60).startswith("Not yet: each misses")


def test_twins_among_400():
    assert reply(3, 400 * 399 / 2 / 500).startswith("Right: ") and reply(3, 160).startswith("Right")
    assert "counted twice" in reply(3, 400 * 399 / 500)
    assert "samples per image" in reply(3, 0.8)
    assert "those are the pairs" in reply(3, 400 * 399 / 2)
    assert reply(3, 400).startswith("Not yet: count the pairs")


def test_so_many_are_counted():
    """400 draws from 500 pictures that are far apart: 160, give or take four deviations."""
    g = torch.Generator().manual_seed(0)
    pictures = torch.randn(500, 1, 4, 4, generator=g)
    found = collisions(pictures[torch.randint(500, (400,), generator=g)])
    assert abs(found.twins - 159.6) < 4 * 159.6**0.5
