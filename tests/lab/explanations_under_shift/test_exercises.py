"""The exercises of notebook 09: what is right, what is a well-known mistake, what is neither."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deepdrift import attribution
from deepdrift.lab.explanations_under_shift.exercises import EXERCISES
from deepdrift.lab.explanations_under_shift.ruler import way


def reply(number: int, answer: object) -> str:
    return EXERCISES[f"ex_09_{number}"].reply(answer)


def test_integrated_gradients_of_four_pixels():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1, bias=False)).eval()
    model[1].weight.data.copy_(torch.tensor([[2.0, -1.0, 0.0, 3.0]]))
    image = torch.tensor([1.0, 0.5, 1.0, 0.0]).view(1, 1, 2, 2)
    assert reply(1, attribution.integrated_gradients(model, image).maps).startswith("Right: ")
    for right in ([2, -0.5, 0, 0], (2.0, -0.5, 0.0, 0.0), np.array([[2, -0.5], [0, 0]])):
        assert reply(1, right).startswith("Right: ")
    assert "that is saliency" in reply(1, attribution.saliency(model, image).maps)
    assert "those are the weights" in reply(1, [2, -1, 0, 3])
    assert "their sum" in reply(1, 1.5)
    assert reply(1, [2, -0.5, 0]).startswith("Not yet: in a linear model")
    assert reply(1, [1, 1, 1, 1]).startswith("Not yet: in a linear model")


def test_agreement_of_two_empty_maps():
    ranks = torch.zeros(2, 784).argsort(dim=1, stable=True).argsort(dim=1, stable=True).double()
    assert reply(2, torch.corrcoef(ranks)[0, 1]).startswith("Right: ")
    assert "run the lines" in reply(2, 0)
    assert "what does argsort" in reply(2, math.nan)
    assert reply(2, 0.5).startswith("Not yet: run it")


def test_chance_of_halves():
    for right in (attribution.chance_iou(10**6, 0.5), "1/3".replace("1/3", "0.333"), "33.3 %"):
        assert reply(3, right).startswith("Right: ")
    assert "share in both" in reply(3, 0.25)
    assert "how much of it is common" in reply(3, 0.5)
    assert "top 20 %" in reply(3, attribution.chance_iou(784))
    assert reply(3, 0.4).startswith("Not yet: which share")


@pytest.mark.parametrize("right", [50, "50 %", 0.5, 100 * way(0.58, 0.16)])
def test_half_of_the_way(right):
    assert reply(4, right).startswith("Right")


def test_other_starts_of_the_way():
    assert "starts at zero" in reply(4, 58)
    assert "divide by what could" in reply(4, 42)
    assert "starts at chance" in reply(4, 100 * way(0.58, attribution.chance_iou(784)))
    assert reply(4, 70).startswith("Not yet: what lies above")


def test_turning_a_map_back():
    for right in ("no", "No.", "further away", "lower"):
        assert reply(5, right).startswith("Right: ")
    assert "look again" in reply(5, "yes")
    assert reply(5, "both").startswith("Not yet: run the lines")
