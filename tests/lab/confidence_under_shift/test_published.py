"""What the published figures say about one another, computed from themselves."""

from __future__ import annotations

import pytest

from deepdrift.lab.confidence_under_shift.published import CLAIMS, NOISE_3, PAIRED_IOU, PUBLISHED

VIT, CNN = PUBLISHED["ViT"], PUBLISHED["CNN"]


def test_the_calibration_error_is_confidence_minus_accuracy():
    sure, right = VIT["confidence on CIFAR-100"], VIT["accuracy on CIFAR-100"]
    assert round(sure - right, 3) == VIT["ECE on CIFAR-100"] == 0.598


def test_the_claims_follow_from_the_table():
    drop = 100 * (VIT["accuracy"] - VIT["accuracy on CIFAR-100"])
    assert drop == pytest.approx(71.73)
    assert any(f"{drop:.1f} points" in claim for claim in CLAIMS)
    assert round(VIT["ECE on CIFAR-100"] / VIT["ECE"]) == 17
    assert any("17-fold" in claim for claim in CLAIMS)
    apart = 100 * (1 - VIT["IoU with CIFAR-100 image"])
    assert any(f"{apart:.1f} %" in claim for claim in CLAIMS)


def test_accuracy_on_other_labels_is_chance():
    """One label in ten is a number below ten, and one guess in ten is that number: 1 %."""
    for row in (VIT, CNN):
        assert row["accuracy on CIFAR-100"] == pytest.approx(0.1 * 0.1, abs=0.002)


def test_both_overlaps_lie_near_chance_and_the_paired_ones_do_not():
    """Two random masks of 20 % share 4 % of 36 %."""
    chance = 0.2**2 / (2 * 0.2 - 0.2**2)
    assert f"{chance:.3f}" in CLAIMS["attribution overlap of 0.153 means 84.7 % dissimilarity"]
    assert all(abs(row["IoU with CIFAR-100 image"] - chance) < 0.05 for row in (VIT, CNN))
    assert (
        PAIRED_IOU["contrast 1"] > PAIRED_IOU["brightness 1"] > PAIRED_IOU["noise 1"] > 2 * chance
    )
    assert PAIRED_IOU["noise 1"] > PAIRED_IOU["noise 5"] > chance


def test_a_shift_that_keeps_its_labels_bounds_its_ece():
    """ECE is at least |confidence - accuracy|, so the mean confidence is at most 0.613."""
    assert NOISE_3["accuracy"] + NOISE_3["ECE"] == pytest.approx(0.613)
    assert NOISE_3["accuracy"] > 0.1
