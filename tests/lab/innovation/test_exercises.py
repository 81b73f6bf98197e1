"""The exercises of notebook 02b: what is right, what is a well-known mistake, what is neither."""

from __future__ import annotations

import math

import numpy as np
import torch

from deepdrift import LayerDistance, StepPredictor
from deepdrift.lab.innovation.exercises import EXERCISES
from deepdrift.scores.distance import relative_distance


def reply(number: int, answer: object) -> str:
    return EXERCISES[f"ex_02b_{number}"].reply(answer)


def test_a_start_far_out_that_obeys_the_rule():
    source = torch.tensor([[-2.0], [-1.0], [0.0], [1.0], [2.0]])
    target = torch.tensor([[-3.0], [-3.0], [0.0], [1.0], [5.0]])
    step = StepPredictor(ridge=0).fit(source, target)

    def pair(x: float, y: float) -> tuple[float, float]:
        score = step.score(torch.tensor([[x]]), torch.tensor([[y]]))
        return x * x / 2, float(score)  # 2 is the variance of the source

    assert reply(1, pair(20, 40)).startswith("Right: ")
    assert "further out" in reply(1, pair(4, 8))
    assert "now obey" in reply(1, pair(20, 30))
    assert reply(1, 200).startswith("Not yet: the rule is")
    assert reply(1, torch.tensor([200.0, 0.0])).startswith("Right: ")
    assert reply(1, np.array([[200.0, 0.1]])).startswith("Right: ")


def test_relative_distance_of_a_normal_image():
    centres = torch.tensor([[4.0, 0.0], [-2.0, 12**0.5], [-2.0, -(12**0.5)]])
    around = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    logits = (centres[:, None] + around).flatten(0, 1)
    known = LayerDistance().fit({"z": logits}, torch.arange(3).repeat_interleave(4))
    library = relative_distance(known, {"z": torch.tensor([[4.0, 1.0]])})
    assert reply(2, library).startswith("Right: ")
    assert "subtract the other" in reply(2, 2)
    assert "divide by the variance" in reply(2, 1)
    assert reply(2, 5).startswith("Not yet: squared length")


def test_two_layers_speak():
    p = (0.5, 0.01, 0.2, 0.02)
    assert reply(3, -2 * math.log(0.01) - 2 * math.log(0.02)).startswith("Right: ")
    assert "over all four" in reply(3, -2 * sum(map(math.log, p)))
    assert "alone" in reply(3, -2 * math.log(0.01))
    assert "base 10" in reply(3, -2 * math.log10(0.01) - 2 * math.log10(0.02))
