"""Shifts: identity, range, seeds, monotony, and values worked out by hand."""

from __future__ import annotations

import math
import sys
from itertools import pairwise

import pytest
import torch

from deepdrift.errors import MissingExtraError
from deepdrift.lab.data import shifts
from deepdrift.lab.data.sets import load
from deepdrift.lab.data.shifts import SHIFTS, apply_shift

RANDOM = ["gaussian_noise", "shot_noise", "occlusion", "pixel_dropout", "dead_rows"]
RANDOM += ["saturated_rows"]


@pytest.fixture(scope="module")
def garments() -> torch.Tensor:
    return load().test.images[:200]


@pytest.fixture
def colour() -> torch.Tensor:
    return torch.rand(3, 3, 20, 24, generator=torch.Generator().manual_seed(5))


def test_registry_holds_exactly_the_documented_table():
    rows = [line.split() for line in shifts.__doc__.splitlines()]
    documented = {row[0]: tuple(map(float, row[-6:])) for row in rows if row and row[0] in SHIFTS}
    assert documented == {name: tuple(map(float, s.levels)) for name, s in SHIFTS.items()}
    assert len(SHIFTS) == 11


@pytest.mark.parametrize("name", SHIFTS)
def test_severity_zero_is_an_equal_copy(name, colour):
    same = apply_shift(name, colour, 0)
    assert torch.equal(same, colour)
    same.zero_()
    assert colour.max() > 0  # not a view


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_range_shape_and_dtype_are_kept_and_the_input_untouched(name, dtype, colour):
    images = colour.to(dtype)
    before = images.clone()
    for severity in (0.3, 3, 5):
        shifted = apply_shift(name, images, severity)
        assert shifted.shape == images.shape
        assert shifted.dtype == dtype
        assert shifted.min() >= 0
        assert shifted.max() <= 1
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", SHIFTS)
def test_mean_distance_to_the_clean_image_grows_with_severity(name, garments):
    severities = [0, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5]
    distances = [
        float((apply_shift(name, garments, s) - garments).abs().mean()) for s in severities
    ]
    assert distances[0] == 0
    assert all(a < b for a, b in pairwise(distances)), distances


@pytest.mark.parametrize("name", RANDOM)
def test_seeds_decide_and_the_global_generator_is_not_touched(name, garments):
    state = torch.get_rng_state()
    first = apply_shift(name, garments, 3, seed=1)
    torch.manual_seed(99)
    assert torch.equal(first, apply_shift(name, garments, 3, seed=1))
    assert not torch.equal(first, apply_shift(name, garments, 3, seed=2))
    torch.set_rng_state(state)
    apply_shift(name, garments, 3, seed=1)
    assert torch.equal(state, torch.get_rng_state())


def test_a_generator_is_used_as_it_stands_and_moves_on(garments):
    generator = torch.Generator().manual_seed(1)
    first = apply_shift("gaussian_noise", garments, 3, generator)
    second = apply_shift("gaussian_noise", garments, 3, generator)
    assert torch.equal(first, apply_shift("gaussian_noise", garments, 3, seed=1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", ["occlusion", "pixel_dropout", "dead_rows"])
def test_more_severity_hides_more_and_never_less(name):
    white = torch.ones(5, 1, 28, 28)
    mild, strong = (apply_shift(name, white, s, seed=4) == 0 for s in (2, 4))
    assert (strong | ~mild).all()
    assert strong.sum() > mild.sum() > 0


# --- values by hand ---


def test_contrast_by_hand():
    image = torch.tensor([[[[0.0, 0.2], [0.4, 1.0]]], [[[0.5, 0.5], [0.5, 0.5]]]])  # means .4, .5
    expected = torch.tensor([[[[0.14, 0.27], [0.4, 0.79]]], [[[0.5, 0.5], [0.5, 0.5]]]])
    assert torch.allclose(apply_shift("contrast", image, 2), expected)  # .4 + .65 * (x - .4)


def test_brightness_and_inversion_by_hand():
    image = torch.tensor([[[[0.0, 0.5, 0.8]]]])
    bright = apply_shift("brightness", image, 3)
    assert torch.allclose(bright, torch.tensor([[[[0.2, 0.7, 1.0]]]]))
    negative = apply_shift("inversion", image, 3)  # .25 * x + .75 * (1 - x)
    assert torch.allclose(negative, torch.tensor([[[[0.75, 0.5, 0.35]]]]))
    assert torch.allclose(apply_shift("inversion", image, 5), 1 - image)


@pytest.mark.parametrize(("name", "value"), [("dead_rows", 0.0), ("saturated_rows", 1.0)])
def test_rows_by_hand(name, value):
    grey = torch.full((4, 3, 20, 7), 0.5)
    shifted = apply_shift(name, grey, 3)  # 20 % of 20 rows
    hit = (shifted == value).flatten(2)[0, 0].view(20, 7).all(dim=1)
    assert hit.sum() == 4
    assert (shifted[:, :, hit] == value).all()  # the same rows in every image and channel
    assert (shifted[:, :, ~hit] == 0.5).all()


def test_rotation_by_90_degrees_moves_the_right_edge_to_the_top():
    image = torch.zeros(1, 1, 5, 5)
    image[..., 2, 4] = 1  # middle of the right edge
    turned = apply_shift("rotation", image, 5)
    assert turned[0, 0, 0, 2] == 1
    assert turned.sum() == 1


def test_blur_keeps_a_constant_image_and_spreads_a_point_like_a_normal_density():
    constant = torch.full((1, 1, 28, 28), 0.6)
    assert torch.allclose(apply_shift("blur", constant, 5), constant, atol=1e-6)
    point = torch.zeros(1, 1, 29, 29, dtype=torch.float64)
    point[..., 14, 14] = 1
    spread = apply_shift("blur", point, 3)[0, 0]  # 1.2 pixels
    assert math.isclose(spread.sum(), 1, rel_tol=1e-9)
    assert math.isclose(spread[14, 15] / spread[14, 14], math.exp(-0.5 / 1.2**2), rel_tol=1e-6)
    assert spread[14, 14] == spread.max()


def test_noise_has_the_stated_standard_deviation():
    grey = torch.full((20, 1, 28, 28), 0.5)
    noisy = apply_shift("gaussian_noise", grey, 2) - grey
    n = noisy.numel()
    assert abs(float(noisy.std()) - 0.1) < 4 * 0.1 / math.sqrt(2 * n)  # never clipped: 5 sigma
    assert abs(float(noisy.mean())) < 4 * 0.1 / math.sqrt(n)


def test_shot_noise_is_poisson_and_leaves_black_alone():
    half = torch.full((20, 1, 28, 28), 0.5)
    half[:, :, 0] = 0
    noisy = apply_shift("shot_noise", half, 2)  # white is 1 / .2**2 = 25 photons
    assert (noisy[:, :, 0] == 0).all()
    counts = noisy[:, :, 1:] * 25
    assert torch.allclose(counts, counts.round(), atol=1e-4)
    # mean 12.5 photons, of variance 12.5; 25 or more (clipped) has probability 0.0014
    assert abs(float(counts.mean()) - 12.5) < 0.15
    assert abs(float(counts.var()) - 12.5) < 0.6


def test_pixel_dropout_hits_all_channels_of_the_stated_share():
    white = torch.ones(20, 3, 28, 28)
    black = apply_shift("pixel_dropout", white, 4) == 0
    assert (black.all(dim=1) == black.any(dim=1)).all()
    n = 20 * 28 * 28
    assert abs(float(black.float().mean()) - 0.3) < 4 * math.sqrt(0.3 * 0.7 / n)
    assert not torch.equal(black[0], black[1])


def test_one_occlusion_square_is_a_square_of_the_stated_side():
    white = torch.ones(50, 1, 40, 40)
    generator = torch.Generator().manual_seed(0)
    black = shifts.occlusion(white, 0.25, generator, n_squares=1)[:, 0] == 0
    heights, widths = (black.any(dim=axis).sum(dim=1) for axis in (2, 1))
    assert (black.sum(dim=(1, 2)) == heights * widths).all()  # one filled rectangle
    assert heights.max() == widths.max() == 10  # smaller only where the border cuts it
    assert heights.min() >= 5


def test_parameter_is_linear_between_whole_severities():
    assert SHIFTS["contrast"].parameter(0.5) == pytest.approx(0.925)
    assert SHIFTS["rotation"].parameter(4.5) == pytest.approx(75)


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"name": "rain"}, ValueError, "gaussian_noise.*'rain'"),
        ({"severity": 5.1}, ValueError, "severity must be a number from 0 to 5, got 5.1"),
        ({"severity": math.nan}, ValueError, "from 0 to 5, got nan"),
        ({"severity": "strong"}, ValueError, "from 0 to 5, got 'strong'"),
        ({"seed": None}, TypeError, r"int or a torch.Generator, got None"),
        ({"images": torch.zeros(1, 1, 4, 4, dtype=torch.uint8)}, TypeError, "by 255.*uint8"),
        ({"images": [[0.5]]}, TypeError, "float tensor.*list"),
        ({"images": torch.zeros(28, 28)}, ValueError, r"\(N, C, H, W\).*\(28, 28\)"),
        ({"images": torch.zeros(1, 4, 8, 8)}, ValueError, "1 or 3 channels"),
        ({"images": torch.full((1, 1, 2, 2), 2.0)}, ValueError, r"\[0, 1\], got 2 to 2"),
        ({"images": torch.full((1, 1, 2, 2), -0.1)}, ValueError, r"\[0, 1\], got -0.1"),
        ({"images": torch.full((1, 1, 2, 2), math.nan)}, ValueError, "NaN"),
    ],
)
def test_bad_input_is_named(arguments, error, words):
    good = {"name": "brightness", "images": torch.zeros(1, 1, 2, 2), "severity": 0, "seed": 0}
    with pytest.raises(error, match=words):
        apply_shift(**good | arguments)


def test_an_empty_batch_stays_empty():
    for shift in SHIFTS.values():
        assert shift(torch.zeros(0, 1, 28, 28), 3).shape == (0, 1, 28, 28)


def test_only_three_shifts_need_torchvision(monkeypatch, colour):
    monkeypatch.setitem(sys.modules, "torchvision.transforms.v2.functional", None)
    failed = []
    for name in SHIFTS:
        try:
            apply_shift(name, colour)
        except MissingExtraError as error:
            assert "deepdrift[lab]" in str(error)
            failed.append(name)
    assert failed == ["blur", "contrast", "rotation"]
