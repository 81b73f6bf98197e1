"""The shipped networks, and a look at what an explanation may have left in them."""

import pytest
import torch
import zoo

from deepdrift.lab.data import load, load_network


@pytest.fixture(scope="session")
def images():
    return load().test.images[:6].clone()


@pytest.fixture(scope="session")
def cnn():
    return load_network("cnn")


@pytest.fixture(scope="session")
def vit():
    return load_network("vit")


@pytest.fixture(autouse=True)
def nothing_is_left_behind(cnn, vit, images):
    """Weights, statistics, gradients, modes, hooks and images are as before."""
    networks = (cnn, vit)
    before = [{k: v.clone() for k, v in network.state_dict().items()} for network in networks]
    pixels = images.clone()
    yield
    for network, state in zip(networks, before, strict=True):
        assert not any(module.training for module in network.modules())
        assert zoo.count_hooks(network) == 0
        assert not any(m._backward_hooks or m._backward_pre_hooks for m in network.modules())
        assert all(p.requires_grad and p.grad is None for p in network.parameters())
        assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    assert torch.equal(images, pixels)
    assert not images.requires_grad and images.grad is None
