"""Augmentations of images: repeatable, in range, and each does what its description says."""

import math

import pytest
import torch

from deepdrift.lab.data.augment import AUGMENTATIONS, augment

N = 400
SCENE = torch.rand(N, 1, 28, 28, generator=torch.Generator().manual_seed(0))
GREY = torch.full((N, 1, 28, 28), 0.5)


def alone(name, images=SCENE, seed=0):
    return augment(images, seed=seed, names=[name])


# ---- what holds for all of them ----


@pytest.mark.parametrize("names", [[name] for name in AUGMENTATIONS] + [list(AUGMENTATIONS)])
def test_a_seed_repeats_and_another_one_does_not(names):
    first, again = (augment(SCENE[:20], seed=3, names=names) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, augment(SCENE[:20], seed=4, names=names))


def test_every_image_has_its_own_draw():
    changed = augment(SCENE[:1].repeat(6, 1, 1, 1), seed=0)
    assert len({tuple(x.flatten().tolist()) for x in changed}) == 6


def test_global_generator_and_input_stay_as_they_were():
    state, before = torch.get_rng_state(), SCENE[:5].clone()
    images = SCENE[:5].clone()
    changed = augment(images, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, before) and not torch.equal(changed, before)


@pytest.mark.parametrize("channels", [1, 3])
def test_shape_type_and_range(channels):
    images = torch.rand(30, channels, 12, 16, generator=torch.Generator().manual_seed(1))
    for names in ([name] for name in AUGMENTATIONS):
        changed = augment(images, seed=0, names=names)
        assert changed.shape == images.shape and changed.dtype == images.dtype
        assert 0 <= changed.min() and changed.max() <= 1


def test_no_name_changes_nothing_and_the_order_of_the_names_does_not_matter():
    assert torch.equal(augment(SCENE[:5], names=[]), SCENE[:5])
    assert len(augment(SCENE[:0])) == 0
    one, other = (augment(SCENE[:9], names=x) for x in (["flip", "contrast"], ["contrast", "flip"]))
    assert torch.equal(one, other)


def test_what_cannot_be_changed():
    with pytest.raises(ValueError, match=r"expected some of rotation, flip.*, got \['blur'\]"):
        augment(SCENE[:2], names=["flip", "blur"])
    with pytest.raises(ValueError, match="must lie in"):
        augment(SCENE[:2] * 255)
    with pytest.raises(TypeError, match="float tensor"):
        augment((SCENE[:2] * 255).byte())


# ---- each one alone ----


def test_rotation_turns_by_up_to_five_degrees_both_ways():
    image = torch.zeros(1, 1, 41, 41)
    image[0, 0, 19:22, 34:37] = 1.0  # a dot 15 pixels right of the centre
    changed = augment(image.repeat(N, 1, 1, 1), seed=0, names=["rotation"])
    rows, columns = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")
    mass = changed.sum(dim=(1, 2, 3))
    up = -((changed[:, 0] * rows).sum(dim=(1, 2)) / mass - 20)
    right = (changed[:, 0] * columns).sum(dim=(1, 2)) / mass - 20
    degrees = torch.atan2(up, right) * 180 / math.pi
    assert degrees.abs().max() <= 5.1  # bilinear: a tenth of a degree
    assert degrees.max() > 4.5 and degrees.min() < -4.5 and degrees.mean().abs() < 0.5
    assert torch.allclose(torch.hypot(up, right), torch.tensor(15.0), atol=0.1)


def test_flip_mirrors_every_second_image_and_leaves_the_others():
    changed, mirrored = alone("flip"), SCENE.flip(-1)
    flipped = (changed == mirrored).flatten(1).all(dim=1)
    kept = (changed == SCENE).flatten(1).all(dim=1)
    assert torch.equal(flipped, ~kept)
    assert abs(flipped.double().mean() - 0.5) < 4 * 0.5 / N**0.5


def test_dropout_blackens_up_to_three_small_rectangles_and_nothing_else():
    changed = alone("dropout", torch.full((N, 1, 50, 50), 0.5))
    holes = changed == 0
    assert torch.equal(changed[~holes], torch.full_like(changed[~holes], 0.5))
    share = holes.flatten(1).double().mean(dim=1)
    assert share.max() <= 3 * 0.045  # sides are whole pixels
    # each of three holes comes in half of the cases
    assert abs((share == 0).double().mean() - 1 / 8) < 4 * (7 / 64 / N) ** 0.5
    assert share[share > 0].min() >= 0.008 and abs(share.mean() - 1.5 * 0.025) < 0.005
    single = [x[0] for x, s in zip(holes, share, strict=True) if 0 < s < 0.018]
    assert len(single) > 20
    for hole in single:
        rows, columns = hole.any(dim=1), hole.any(dim=0)
        assert hole.sum() == rows.sum() * columns.sum()  # a full rectangle
        assert 0.4 <= rows.sum() / columns.sum() <= 2.5


def test_brightness_multiplies_by_07_to_13():
    images = SCENE * 0.75  # below 1 / 1.3, so nothing is cut off
    factor = alone("brightness", images) / images
    middle = factor.flatten(1).median(dim=1).values
    assert torch.allclose(factor, middle[:, None, None, None].expand_as(factor), atol=1e-4)
    assert 0.7 - 1e-4 <= middle.min() < 0.72 and 1.28 < middle.max() <= 1.3 + 1e-4
    assert alone("brightness", torch.ones(50, 1, 4, 4)).max() == 1  # cut off at white


def test_contrast_scales_the_distance_from_the_mean():
    images = 0.3 + 0.4 * SCENE
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    changed = alone("contrast", images)
    factor = (changed - mean).flatten(1).norm(dim=1) / (images - mean).flatten(1).norm(dim=1)
    expected = mean + factor[:, None, None, None] * (images - mean)
    assert torch.allclose(changed, expected, atol=1e-4)
    assert 0.7 - 1e-4 <= factor.min() < 0.72 and 1.28 < factor.max() <= 1.3 + 1e-4
    assert torch.allclose(alone("contrast", GREY), GREY, atol=1e-6)


def test_two_together_do_both():
    changed = augment(SCENE[:50], seed=2, names=["flip", "contrast"])
    mean = SCENE[:50].mean(dim=(1, 2, 3), keepdim=True)
    plain, mirrored = ((x[:50] - mean).flatten(1) for x in (SCENE, SCENE.flip(-1)))
    found = (changed - changed.mean(dim=(1, 2, 3), keepdim=True)).flatten(1)
    likeness = [torch.cosine_similarity(found, x, dim=1) for x in (plain, mirrored)]
    assert torch.stack(likeness).amax(dim=0).min() > 0.98
    assert 10 < (likeness[1] > likeness[0]).sum() < 40
