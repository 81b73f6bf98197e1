from __future__ import annotations

import pytest
import torch

from deepdrift.lab.networks.models import (
    FASHION_PIXELS,
    SmallResNet,
    SmallViT,
    cifar_resnet,
    cifar_vit,
)


@pytest.mark.parametrize(
    ("make", "shape", "width"),
    [
        (SmallResNet, (1, 28, 28), 64),
        (SmallViT, (1, 28, 28), 64),
        (cifar_resnet, (3, 32, 32), 96),
        (cifar_vit, (3, 32, 32), 96),
    ],
)
def test_images_become_features_and_logits_of_the_head(make, shape, width):
    network = make(n_classes=7).eval()
    images = torch.rand(2, *shape)
    with torch.no_grad():
        features = network.features(images)
        torch.testing.assert_close(network(images), network.head(features))
    assert features.shape == (2, width)
    assert network(images).shape == (2, 7)


@pytest.mark.parametrize("make", [cifar_resnet, cifar_vit])
def test_the_cifar_networks_fit_into_a_megabyte_of_half_precision(make):
    n = sum(p.numel() for p in make().parameters())
    assert 2 * n < 2**20
    assert f"{round(n, -3):,} parameters" in make.__doc__


@pytest.mark.parametrize("make", [SmallResNet, SmallViT])
def test_the_network_normalises_inside(make):
    """Two sets of constants, and images that mean the same through each."""
    own, plain = make().eval(), make(pixels=(0.0, 1.0)).eval()
    plain.load_state_dict(own.state_dict())
    images = torch.rand(3, 1, 28, 28)
    mean, std = FASHION_PIXELS
    torch.testing.assert_close(own(images), plain((images - mean) / std))


def test_a_vit_has_a_token_for_every_patch_and_one_for_the_class():
    assert SmallViT().position.shape[1] == 7 * 7 + 1
    assert cifar_vit().position.shape[1] == 8 * 8 + 1
    images = torch.rand(1, 3, 16, 16)
    assert SmallViT(channels=3, side=16, patch=8)(images).shape == (1, 10)
