"""Sentences of results, and of the errors that stand for them."""

import pickle

import torch

from deepdrift.attribution import (
    AttributionError,
    attention_rollout,
    grad_cam,
    integrated_gradients,
    saliency,
)
from deepdrift.attribution.result import is_constant


def test_each_result_is_one_sentence(cnn, vit, images):
    classes = torch.tensor([0, 1, 2, 0, 1, 2])
    assert str(saliency(cnn, images, 1)) == "saliency: 6 maps of 28 x 28, for 1 class."
    assert str(saliency(cnn, images[:1], 1)) == "saliency: 1 map of 28 x 28, for 1 class."
    assert str(grad_cam(cnn, images, classes, layer="blocks.4")) == (
        "Grad-CAM at layer blocks.4: 6 maps of 28 x 28, for 3 classes."
    )
    assert str(attention_rollout(vit, images)) == (
        "attention rollout: 6 maps of 28 x 28, the same for every class."
    )
    assert str(integrated_gradients(vit, images, n_steps=16, max_residual=1)).startswith(
        "integrated gradients: 6 maps of 28 x 28, for "
    )


def test_an_error_keeps_its_reason_on_the_way_to_another_process():
    error = pickle.loads(pickle.dumps(AttributionError("no map", "constant")))
    assert (str(error), error.reason) == ("no map", "constant")


def test_constant_up_to_rounding():
    noise = 1 + 1e-6 * torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))
    maps = torch.cat([noise, 1e20 * noise, 1 + 1e3 * (noise - 1), torch.zeros(1, 4, 4)])
    assert is_constant(maps).tolist() == [True, True, False, True]
