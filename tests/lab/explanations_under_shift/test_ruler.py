"""The ruler: rungs whose answers are known, means with NaN, lines and false alarms."""

from __future__ import annotations

import math

import pytest
import torch

from deepdrift.attribution import chance_iou
from deepdrift.lab.explanations_under_shift import ruler as room
from deepdrift.lab.explanations_under_shift.explanations import (
    EXPLANATIONS,
    Explanation,
    garments,
    networks,
    untrained,
)
from deepdrift.lab.explanations_under_shift.ruler import (
    CHANCE,
    IDENTICAL,
    RANDOM,
    SAME,
    UNTRAINED,
    Ruler,
    agreement,
    mean,
    rulers,
    way,
)


def test_mean_leaves_out_empty_maps():
    found = mean(torch.tensor([0.1, 0.2, math.nan, 0.6]))
    assert found.value == pytest.approx(0.3) and found.n_in == 3
    half = 4.302653 * math.sqrt(0.07 / 3)  # Student's 97.5 % with two degrees of freedom
    assert found.high - found.value == pytest.approx(half, rel=1e-5)
    with pytest.raises(ValueError, match="at least two"):
        mean(torch.tensor([0.5, math.nan]))


def test_the_way_starts_at_its_rung():
    assert [round(way(x, 0.2), 6) for x in (0.2, 0.6, 1.0, 0.1)] == [0, 0.5, 1, -0.125]


def test_false_alarms_and_a_line_that_keeps_its_rate():
    same = (torch.arange(100).double() + 1.5) / 100
    found = Ruler({SAME: same, RANDOM: same / 10}, {"iou": same}, 0.11)
    assert found.false_alarms().value == pytest.approx(0.19)  # 0.015 to 0.195 lie below 0.2
    assert found.false_alarms(RANDOM).value == 1.0
    assert found.false_alarms().low < 0.19 < found.false_alarms().high
    below = (same < found.line(0.05)).double().mean()
    assert 0.03 <= below <= 0.05
    assert found.rung(CHANCE).value == 0.11 and found.rung(IDENTICAL).value == 1.0


def test_garments_come_in_turn():
    chosen = garments(40)
    assert chosen.labels.tolist() == [i % 10 for i in range(40)]
    with pytest.raises(ValueError, match="of a class"):
        garments(10_000)


def test_pairs_are_of_one_class_and_of_two(monkeypatch):
    """Maps that depend on the class alone: same class identical, another class apart."""
    images = garments(40).images
    classes = torch.arange(40) % 10
    pattern = torch.rand(10, 28, 28, generator=torch.Generator().manual_seed(0))
    one = Explanation("CNN", "saliency")
    random = torch.rand(20, 28, 28, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(room, "untrained", lambda name: None)
    monkeypatch.setattr(room, "predicted", lambda models, x: {"CNN": classes})

    class Maps:
        maps = random

    monkeypatch.setattr(Explanation, "__call__", lambda self, *_: Maps)
    found = rulers({"CNN": None}, images, {one: pattern[classes]})[one]
    assert found.overlaps[SAME].tolist() == [1.0] * 20
    for rung in (RANDOM, UNTRAINED):
        assert float(found.overlaps[rung].mean()) == pytest.approx(chance_iou(784), abs=0.02)
    assert found.same["ssim"].min() > 0.999


def test_random_weights_are_drawn_anew_and_alone():
    network, trained = untrained("ViT", 3), networks()["ViT"]
    again = untrained.__wrapped__("ViT", 3)
    for (name, a), b, c in zip(
        network.named_parameters(), trained.parameters(), again.parameters(), strict=True
    ):
        assert torch.equal(a, c), name
        assert not torch.equal(a, b), name
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    assert float(network.cls_token.abs().sum()) == 0
    bound = network.head.weight.abs().max()
    assert 0.9 * 64**-0.5 < bound <= 64**-0.5


def test_two_methods_agree_with_themselves():
    g = torch.Generator().manual_seed(0)
    maps = {
        Explanation("CNN", "saliency"): (same := torch.rand(12, 28, 28, generator=g)),
        Explanation("CNN", "Grad-CAM"): 2 * same[:8],
        Explanation("ViT", "saliency"): torch.rand(12, 28, 28, generator=g),
    }
    found = agreement(maps, "CNN")
    assert list(found) == ["saliency and Grad-CAM"]
    assert found["saliency and Grad-CAM"].value == 1.0
    assert found["saliency and Grad-CAM"].n_in == 8


def test_seven_explanations_of_real_networks():
    models, images = networks(), garments(20).images[:2]
    targets = torch.tensor([0, 1])
    for one in EXPLANATIONS:
        if one.slow and one.network == "CNN":
            continue
        found = one(models[one.network], images, targets)
        assert found.maps.shape == (2, 28, 28) and float(found.maps.min()) >= 0
        assert (found.targets is None) == (one.method == "rollout")
