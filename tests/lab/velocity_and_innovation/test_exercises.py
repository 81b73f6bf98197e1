"""The exercises of notebook 02: what is right, what is a well-known mistake, what is neither."""

from __future__ import annotations

import pytest
import torch

from deepdrift import StepPredictor, spatial_velocity
from deepdrift.lab.bench.evaluation import auroc
from deepdrift.lab.velocity_and_innovation.exercises import EXERCISES


def reply(number: int, answer: object) -> str:
    return EXERCISES[f"ex_02_{number}"].reply(answer)


def test_the_step_in_half_the_light():
    z = torch.tensor([[1.2, 1.6]])
    full, half = (spatial_velocity([x, 3 * x]).item() for x in (z, z / 2))
    assert reply(1, half).startswith("Right: ")
    assert "full light" in reply(1, full)
    assert "length of z1" in reply(1, 3)
    assert reply(1, 8).startswith("Not yet: the step is z1 - z0")


@pytest.mark.parametrize(
    ("n_images", "expected"), [(5, "Right: "), (20, "Not yet: that is with 20")]
)
def test_luck_after_the_flip(n_images, expected):
    luck = torch.rand(2, 15, n_images, generator=torch.Generator().manual_seed(0))
    values = [float(auroc(a, b)) for a, b in zip(*luck, strict=True)]
    assert reply(2, sum(max(v, 1 - v) for v in values) / 15).startswith(expected)


def test_luck_without_the_flip_and_nonsense():
    assert "without the flip" in reply(2, 0.5)
    assert reply(2, 0.95).startswith("Not yet: draw")


def test_a_start_far_out_that_obeys_the_rule():
    source = torch.tensor([[-2.0], [-1.0], [0.0], [1.0], [2.0]])
    target = torch.tensor([[-3.0], [-3.0], [0.0], [1.0], [5.0]])
    step = StepPredictor(ridge=0).fit(source, target)

    def pair(x: float, y: float) -> tuple[float, float]:
        score = step.score(torch.tensor([[x]]), torch.tensor([[y]]))
        return x * x / 2, float(score)  # 2 is the variance of the source

    assert reply(3, pair(20, 40)).startswith("Right: ")
    assert "further out" in reply(3, pair(4, 8))
    assert "now obey" in reply(3, pair(20, 30))
    assert reply(3, 200).startswith("Not yet: the rule is")
