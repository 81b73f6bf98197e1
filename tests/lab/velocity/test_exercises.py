"""The exercises of notebook 02: what is right, what is a well-known mistake, what is neither."""

from __future__ import annotations

import pytest
import torch

from deepdrift import spatial_velocity
from deepdrift.lab.bench.evaluation import auroc
from deepdrift.lab.velocity.exercises import EXERCISES


def reply(number: int, answer: object) -> str:
    return EXERCISES[f"ex_02_{number}"].reply(answer)


def test_the_step_in_half_the_light():
    z = torch.tensor([[1.2, 1.6]])
    full, half = (spatial_velocity([x, 3 * x]).item() for x in (z, z / 2))
    assert reply(2, half).startswith("Right: ")
    assert "full light" in reply(2, full)
    assert "length of z1" in reply(2, 3)
    assert reply(2, 8).startswith("Not yet: the step is z1 - z0")


@pytest.mark.parametrize(
    ("n_images", "expected"), [(5, "Right: "), (20, "Not yet: that is with 20")]
)
def test_luck_after_the_flip(n_images, expected):
    luck = torch.rand(2, 15, n_images, generator=torch.Generator().manual_seed(0))
    values = [float(auroc(a, b)) for a, b in zip(*luck, strict=True)]
    assert reply(3, sum(max(v, 1 - v) for v in values) / 15).startswith(expected)


def test_luck_without_the_flip_and_nonsense():
    assert "without the flip" in reply(3, 0.5)
    assert reply(3, 0.95).startswith("Not yet: experiment.random")


@pytest.mark.parametrize("answer", [5 / 6, 0.83, "0.833", "83.3 %", [0.833], torch.tensor(5 / 6)])
def test_the_share_of_pairs(answer):
    assert reply(1, answer).startswith("Right: ")


def test_wrong_shares_of_pairs_get_their_own_hint():
    assert auroc([1, 4, 6], [5, 7]).value == pytest.approx(5 / 6)
    assert "the share is asked" in reply(1, 5)
    assert "normal image wins" in reply(1, 1 / 6)
    assert "from 0 to 1" in reply(1, 83.3)
    assert reply(1, 0.5).startswith("Not yet: write down all six")
