"""Images and noise levels that a model would take in silence are refused with the remedy."""

from __future__ import annotations

import pytest
import torch

from deepdrift.diffusion import DiffusionError
from deepdrift.diffusion.inputs import (
    check_images,
    check_levels,
    check_range,
    check_shares,
    refuse_overlap,
)

GOOD = torch.linspace(-1, 1, 2 * 16).reshape(2, 1, 4, 4)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (GOOD[0], "(N, C, H, W)"),
        (GOOD[:0], "N >= 1"),
        ([1.0], "got list"),
        ((GOOD * 100).byte(), "/ 127.5 - 1"),
        (GOOD * 127.5 + 127.5, "image_range="),
        (GOOD / 2 + 0.5, r"images * 2 - 1"),
        (torch.where(GOOD > 0.9, torch.nan, GOOD), "1 of 2 images hold NaN"),
        (torch.where(GOOD < 0, torch.inf, GOOD), "1 of 2 images hold NaN or infinity"),
    ],
)
def test_images_that_cannot_be_read(images, words):
    with pytest.raises(DiffusionError) as caught:
        check_images(images, "images")
    assert str(caught.value).startswith("images: ") and words in str(caught.value)


def test_images_within_the_range_pass_unchanged():
    assert check_images(GOOD, "images") is GOOD
    assert check_images(GOOD / 2 + 0.5, "images", 0.0, 1.0).min() == 0.0


@pytest.mark.parametrize(
    "levels",
    [[5000], [-3], [1000], [2.5], [], [float("nan")], [50, 50], [float("inf")],
     "50", 50, None, [True], ["a"], [[50]]],
)  # fmt: skip
def test_levels_that_do_not_exist(levels):
    with pytest.raises(DiffusionError, match="^levels: expected"):
        check_levels(levels, 1000)


def test_levels_are_sorted_whole_numbers():
    assert check_levels(torch.tensor([999, 0, 5]), 1000) == [0, 5, 999]


@pytest.mark.parametrize(
    "shares",
    [[0.5], [[1.0, 0.5]], [0.1, 0.2], [1.2, 0.5], [0.5, -0.1], [1.0, float("nan")],
     "linear", None, [[1.0], [0.5, 0.2]]],
)  # fmt: skip
def test_shares_that_are_none(shares):
    with pytest.raises(DiffusionError, match="^shares: expected .*alphas_cumprod"):
        check_shares(shares)


@pytest.mark.parametrize("wrong", [(1, -1), (1,), (0, 0), None, "ab", (0, float("inf")), 1.0])
def test_ranges_that_are_none(wrong):
    with pytest.raises(DiffusionError, match="^image_range: expected the smallest and the largest"):
        check_range(wrong)


def test_one_image_in_both_sets():
    with pytest.raises(DiffusionError, match="train, held_out: 1 image stands in both sets"):
        refuse_overlap(GOOD, torch.cat([GOOD[1:], GOOD[1:] + 0.5]), ("train", "held_out"))
    refuse_overlap(GOOD, GOOD + 1e-3, ("train", "held_out"))
