"""What is asked for is checked before any gradient is taken."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from deepdrift.attribution import (
    AttributionError,
    attention_rollout,
    grad_cam,
    integrated_gradients,
    saliency,
)
from deepdrift.errors import ForwardError, StateError

METHODS = {
    "saliency": saliency,
    "integrated gradients": integrated_gradients,
    "Grad-CAM": lambda *a, **k: grad_cam(*a, layer="blocks.1", **k),
    "rollout": lambda model, images, targets=None, **k: attention_rollout(model, images, **k),
}
X = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
SPOILT = X.clone()
SPOILT[2, 0, 3, 3] = float("nan")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("given", "reason", "words"),
    [
        (X[0], "input", r"got shape \(1, 28, 28\); for one image pass images\[None\]"),
        (X[:0], "input", r"at least one.*got shape \(0, 1, 28, 28\)"),
        (X.numpy(), "input", "got ndarray; make one with torch.as_tensor"),
        ((255 * X).byte(), "input", r"torch.uint8, which has no gradient.*images.float\(\) / 255"),
        (SPOILT, "not_finite", "1 of 4 have NaN or infinite pixels, the first is number 2"),
        (X / 0, "not_finite", "4 of 4 have NaN or infinite pixels"),
    ],
)
def test_images(vit, method, given, reason, words):
    with pytest.raises(AttributionError, match=words) as caught:
        METHODS[method](vit, given)
    assert caught.value.reason == reason


@pytest.mark.parametrize("method", ["saliency", "integrated gradients", "Grad-CAM"])
@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (10, "classes 0 to 9, got 10"),
        (-1, "classes 0 to 9, got -1"),
        (torch.tensor([0, 1, 2, 12]), "classes 0 to 9, got 12"),
        (torch.tensor([0, 1]), r"one for each of the 4 images.*int64 of shape \(2,\)"),
        (torch.zeros(4), "as integers; got torch.float32"),
        (True, "got torch.bool"),
        (nn.functional.one_hot(torch.arange(4), 10), r"shape \(4, 10\)"),
        ("shirt", "expected a class number"),
    ],
)
def test_targets(vit, method, targets, words):
    with pytest.raises(AttributionError, match=words) as caught:
        METHODS[method](vit, X, targets)
    assert caught.value.reason == "input"


def test_the_targets_kept_are_a_copy(cnn):
    mine = torch.tensor([0, 1, 2, 3])
    found = saliency(cnn, X, mine)
    mine[0] = 9
    assert found.targets.tolist() == [0, 1, 2, 3]
    assert saliency(cnn, X, mine.to(torch.uint8)).targets.dtype == torch.int64


class Returns(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make
        self.eval()

    def forward(self, x):
        return self.make(x)


@pytest.mark.parametrize(
    ("make", "came"),
    [
        (lambda x: (x.flatten(1), None), "got tuple"),
        (lambda x: {"logits": x.flatten(1)}, "got dict"),
        (lambda x: x, r"got \(4, 1, 28, 28\)"),
        (lambda x: x.sum(dim=(1, 2, 3)), r"got \(4,\)"),
        (lambda x: x.flatten(1)[:2], r"got \(2, 784\)"),
        (lambda x: x.flatten(1).argsort(), r"got \(4, 784\)"),
        (lambda x: x.flatten(1)[:, :0], r"got \(4, 0\)"),
    ],
)
def test_a_model_that_returns_no_logits(make, came):
    with pytest.raises(AttributionError, match=f"expected logits of shape .4, K.*{came}.*wrap"):
        saliency(Returns(make), X)


def test_logits_that_are_no_numbers():
    with pytest.raises(AttributionError, match="logits of 4 of 4 images are NaN") as caught:
        saliency(Returns(lambda x: x.flatten(1) / 0 * 0), X)
    assert caught.value.reason == "not_finite"


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_that_the_model_refuses(vit, method):
    with pytest.raises(
        ForwardError, match="torch.float64, while the model computes in torch.float3"
    ):
        METHODS[method](vit, X.double())
    with pytest.raises(ForwardError, match=r"batch of shape \(4, 1, 20, 28\)"):
        METHODS[method](vit, X[:, :, :20])


@pytest.mark.parametrize("method", METHODS)
def test_random_numbers_are_given_back(vit, method):
    network = copy.deepcopy(vit)

    def draw(module, inputs):
        random.random()
        return inputs[0] + 0 * torch.randn(1) + 0 * float(np.random.rand())

    network.patch.register_forward_pre_hook(draw)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    METHODS[method](network, X)
    assert before[0] == random.getstate()
    assert np.array_equal(before[1], np.random.get_state()[1])
    assert torch.equal(before[2], torch.get_rng_state())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch_size", [0, 2.0, True])
def test_batch_sizes(vit, method, batch_size):
    with pytest.raises(AttributionError, match="batch_size: expected an int >= 1"):
        METHODS[method](vit, X, batch_size=batch_size)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_is_none(method):
    with pytest.raises(StateError, match="expected a torch.nn.Module, got str"):
        METHODS[method]("vit", X)


@pytest.mark.parametrize("method", METHODS)
def test_training_mode(vit, method):
    with pytest.raises(AttributionError) as caught:
        METHODS[method](copy.deepcopy(vit).train(), X)
    assert caught.value.reason == "training_mode"


def test_a_compiled_model_is_the_network_inside(cnn):
    compiled = torch.compile(cnn, backend="eager")
    assert torch.equal(saliency(compiled, X).maps, saliency(cnn, X).maps)
    maps = [grad_cam(model, X, layer="blocks.5").maps for model in (compiled, cnn)]
    assert torch.equal(*maps)
