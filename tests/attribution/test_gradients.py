"""Saliency against autograd; integrated gradients against sums written out, and their residual."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from deepdrift.attribution import AttributionError, integrated_gradients, saliency


class Function(nn.Module):
    """Any function of flattened images as a network with one logit."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.eval()

    def forward(self, x):
        return self.function(x.flatten(1))[:, None]


def linear(weights, n_classes=1):
    network = nn.Sequential(nn.Flatten(), nn.Linear(weights.numel() // n_classes, n_classes)).eval()
    network[1].weight.data.copy_(weights.reshape(n_classes, -1))
    return network


def gradient(network, images, targets):
    x = images.clone().requires_grad_()
    logits = network(x).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(logits, x)[0]


def close(a, b, share=1e-4):
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= share * float(b.abs().max())


# ---- saliency ----


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_saliency_is_the_gradient_of_the_logit(request, images, name):
    network = request.getfixturevalue(name)
    predicted = network(images).argmax(dim=1)
    found = saliency(network, images)
    assert torch.equal(found.targets, predicted)
    close(found.maps, gradient(network, images, predicted).abs().amax(dim=1))
    assert found.maps.dtype == torch.float32 and found.maps.shape == (6, 28, 28)


def test_targets_as_a_number_and_as_a_list_of_numbers(cnn, images):
    classes = torch.tensor([3, 1, 4, 1, 5, 9])
    close(saliency(cnn, images, classes).maps, gradient(cnn, images, classes).abs()[:, 0])
    assert torch.equal(saliency(cnn, images, 3).maps, saliency(cnn, images, classes * 0 + 3).maps)
    assert not torch.equal(saliency(cnn, images, 3).maps, saliency(cnn, images, 4).maps)


def test_the_largest_channel_counts():
    weights = torch.tensor([[[1.0, -7.0]], [[-5.0, 2.0]], [[3.0, 0.0]]])  # (3, 1, 2)
    found = saliency(linear(weights), torch.rand(1, 3, 1, 2))
    assert torch.equal(found.maps, torch.tensor([[[5.0, 7.0]]]))


def test_saliency_of_a_network_without_gradients_is_refused():
    class Cut(nn.Module):
        def forward(self, x):
            with torch.no_grad():
                return x.flatten(1)[:, :3] * 2

    with pytest.raises(AttributionError, match="gradient is zero at every pixel") as caught:
        saliency(Cut().eval(), torch.rand(2, 1, 2, 2))
    assert caught.value.reason == "all_zero"


def test_a_sum_of_pixels_has_no_map():
    with pytest.raises(AttributionError, match="depends on the sum of the pixels") as caught:
        saliency(linear(torch.ones(4)), torch.rand(2, 1, 2, 2))
    assert caught.value.reason == "constant"


def test_one_empty_map_among_others_is_marked():
    network = Function(lambda x: torch.relu(x[:, 0]) + 2 * torch.relu(x[:, 1]))
    images = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]).view(2, 1, 1, 2)
    found = saliency(network, images)
    assert found.maps.flatten(1).tolist() == [[1.0, 2.0], [0.0, 0.0]]
    assert found.empty.tolist() == [False, True]
    assert str(found).endswith("for 1 class, 1 of them empty.")


def test_gradients_that_overflow_are_refused():
    network = Function(lambda x: x.sqrt().sum(dim=1))
    with pytest.raises(AttributionError, match="NaN or infinite") as caught:
        saliency(network, torch.zeros(1, 1, 1, 2))
    assert caught.value.reason == "not_finite"


# ---- integrated gradients ----


def test_a_linear_model_is_explained_exactly():
    weights = torch.tensor([[[1.0, -2.0], [0.5, 3.0]], [[-1.0, 1.0], [0.0, 2.0]]])  # two channels
    g = torch.Generator().manual_seed(0)
    x, b = torch.rand(2, 3, 2, 2, 2, generator=g)
    found = integrated_gradients(linear(weights), x, baseline=b, n_steps=3)
    close(found.maps, (weights * (x - b)).abs().sum(dim=1), 1e-5)
    assert float(found.residual.max()) < 1e-5


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_integrated_gradients_is_the_sum_written_out(request, images, name):
    network, x = request.getfixturevalue(name), images[:3]
    targets = network(x).argmax(dim=1)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    total = sum(
        w / 2 * gradient(network, (a + 1) / 2 * x, targets)
        for a, w in zip(nodes.tolist(), weights.tolist(), strict=True)
    )
    found = integrated_gradients(network, x, n_steps=8, max_residual=9)
    close(found.maps, (x * total).abs().sum(dim=1), 1e-3)


def test_it_tends_to_the_integral(vit, images):
    network, x = copy.deepcopy(vit).double(), images[:1].double()
    targets, n = network(x).argmax(dim=1), 100
    total = sum(gradient(network, (i + 0.5) / n * x, targets) / n for i in range(n))
    close(integrated_gradients(network, x).maps.double(), (x * total).abs().sum(dim=1), 2e-3)


def test_the_residual_of_one_step_by_hand():
    """x ** 4 from 0 to 1: the gradient in the middle is 4 / 8, half of the change is missing."""
    network, x = Function(lambda x: (x**4).sum(dim=1)), torch.tensor([[[[1.0, 0.0]]]])
    found = integrated_gradients(network, x, n_steps=1, max_residual=0.6)
    assert found.residual.tolist() == pytest.approx([0.5])
    with pytest.raises(AttributionError, match="leave 50 % of the change.*use n_steps=64"):
        integrated_gradients(network, x, n_steps=1)
    assert integrated_gradients(network, x, n_steps=2).residual.tolist() == pytest.approx(
        [0], abs=1e-5
    )


def test_the_median_decides_and_the_residual_tells():
    network = Function(lambda x: x[:, 0] + x[:, 1] ** 4)
    x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]).view(3, 1, 1, 2)
    found = integrated_gradients(network, x, n_steps=1)
    assert found.residual.tolist() == pytest.approx([0, 0, 0.5], abs=1e-5)
    with pytest.raises(AttributionError) as caught:
        integrated_gradients(network, x[1:].repeat(2, 1, 1, 1)[[0, 1, 1]], n_steps=1)
    assert caught.value.reason == "incomplete"


def test_an_image_that_is_the_baseline_has_an_empty_map_and_nothing_left_over():
    x = torch.tensor([[1.0, 0.5], [0.0, 0.0]]).view(2, 1, 1, 2)
    found = integrated_gradients(linear(torch.tensor([1.0, 3.0])), x)
    assert found.empty.tolist() == [False, True]
    assert found.residual.tolist() == pytest.approx([0, 0], abs=1e-5)
    with pytest.raises(AttributionError, match="the baseline is the image") as caught:
        integrated_gradients(linear(torch.tensor([1.0, 3.0])), x, baseline=x)
    assert caught.value.reason == "all_zero"


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_the_default_steps_suffice_for_the_shipped_networks(request, images, name):
    found = integrated_gradients(request.getfixturevalue(name), images)
    assert float(found.residual.quantile(0.5)) < 0.045


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_steps": 0}, "n_steps: expected an int >= 1, got 0"),
        ({"n_steps": True}, "n_steps: expected an int >= 1, got True"),
        ({"max_residual": 0.0}, "max_residual: expected a share above 0"),
        ({"max_residual": float("nan")}, "max_residual: expected a share above 0"),
        ({"baseline": torch.zeros(3)}, r"baseline: expected .* shape \(6, 1, 28, 28\), got \(3,\)"),
        ({"baseline": "black"}, "baseline: expected a number .* got 'black'"),
        ({"baseline": float("inf")}, "baseline: has NaN or infinite"),
    ],
)
def test_bad_settings(cnn, images, arguments, words):
    with pytest.raises(AttributionError, match=words):
        integrated_gradients(cnn, images, **arguments)


# ---- both ----


@pytest.mark.parametrize("method", [saliency, integrated_gradients])
def test_the_size_of_a_batch_bounds_the_rows_and_changes_nothing(vit, images, method):
    rows = []
    handle = vit.register_forward_pre_hook(lambda m, inputs: rows.append(len(inputs[0])))
    steps = {"n_steps": 20} if method is integrated_gradients else {}
    small = method(vit, images, batch_size=4, **steps)
    handle.remove()
    assert max(rows) == 4
    close(small.maps, method(vit, images, **steps).maps, 1e-3)


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("method", [saliency, integrated_gradients])
def test_it_works_where_gradients_are_off(vit, images, guard, method):
    steps = {"n_steps": 20} if method is integrated_gradients else {}
    with guard():
        found = method(vit, images.clone(), **steps)
    assert torch.equal(found.maps, method(vit, images, **steps).maps)
    assert not found.maps.requires_grad


@pytest.mark.parametrize("method", [saliency, integrated_gradients])
def test_frozen_weights_and_images_in_a_graph(vit, images, method):
    steps = {"n_steps": 20} if method is integrated_gradients else {}
    frozen = copy.deepcopy(vit).requires_grad_(False)
    mine = images.clone().requires_grad_()
    mine.grad = torch.ones_like(mine)
    found = method(frozen, mine, **steps)
    assert mine.requires_grad and bool((mine.grad == 1).all())
    assert not any(p.requires_grad for p in frozen.parameters())
    close(found.maps, method(vit, images, **steps).maps, 1e-6)


def test_other_number_types_give_float32(cnn, images):
    wide = saliency(copy.deepcopy(cnn).double(), images.double())
    assert wide.maps.dtype == torch.float32
    close(wide.maps, saliency(cnn, images).maps)
