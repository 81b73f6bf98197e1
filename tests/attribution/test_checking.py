"""Maps of another library, held against the network."""

import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam

from deepdrift.attribution import AttributionError, check_maps, grad_cam


def test_the_map_of_captum_passes_and_is_ours(cnn, images):
    targets = cnn(images).argmax(dim=1)
    raw = LayerGradCam(cnn, cnn.blocks[5]).attribute(images, targets, relu_attributions=True)
    assert raw.shape[2:] == (7, 7)
    ours = grad_cam(cnn, images, layer="blocks.5").maps
    assert torch.allclose(check_maps(raw, cnn, images), ours, atol=1e-5 * float(ours.max()))


def test_maps_of_pixels_and_of_patches_pass(vit, images):
    pixels = IntegratedGradients(vit).attribute(images, target=0, n_steps=2)
    assert torch.equal(check_maps(pixels, vit, images), pixels.detach()[:, 0].float().clamp(min=0))
    assert check_maps(torch.rand(6, 7, 7), vit, images).shape == (6, 28, 28)


@pytest.mark.parametrize(
    ("maps", "reason", "words"),
    [
        (torch.rand(6, 8, 8), "embedding_axis", "8 x 8 .* 64 embedding dimensions"),
        (torch.rand(6, 64), "embedding_axis", "64 numbers are no places"),
        (torch.rand(6, 5, 5), "not_spatial", "5 x 5 numbers are no places.*28 x 28 pixels"),
        (torch.zeros(6, 7, 7), "all_zero", "zero or negative everywhere"),
        (-torch.rand(6, 7, 7), "all_zero", "zero or negative everywhere"),
        (torch.ones(6, 7, 7), "constant", "the same at every place"),
        (torch.rand(6, 7, 7) / 0, "not_finite", "NaN or infinite"),
        (torch.rand(5, 7, 7), "input", r"for 6 images, got \(5, 7, 7\)"),
        (torch.rand(6, 3, 28, 28), "input", r"got \(6, 3, 28, 28\)"),
    ],
)
def test_refused(vit, images, maps, reason, words):
    with pytest.raises(AttributionError, match=words) as caught:
        check_maps(maps, vit, images)
    assert caught.value.reason == reason
