"""Grad-CAM against hooks and a sum by hand, on every layout; layers that cannot be read."""

import copy
import re

import pytest
import timm
import torch
import torchvision
import zoo
from torch import nn
from torch.nn import functional as F

from deepdrift.attribution import AttributionError, grad_cam
from deepdrift.errors import LayerNotFoundError


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def photos(n=3, side=64):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1))


def by_hand(network, images, layer, read=lambda output: output, targets=None):
    """Weights are mean gradients; read(output) has channels over places."""
    kept = {}

    def keep(module, inputs, output):
        kept["output"] = output[0] if isinstance(output, tuple) else output

    handle = network.get_submodule(layer).register_forward_hook(keep)
    logits = network(images.clone().requires_grad_())
    handle.remove()
    targets = logits.argmax(dim=1) if targets is None else targets
    logit = logits.gather(1, targets[:, None]).sum()
    slope = read(torch.autograd.grad(logit, kept["output"])[0])
    cam = torch.einsum("nc,nchw->nhw", slope.mean(dim=(2, 3)), read(kept["output"])).relu()
    size = images.shape[2:]
    return F.interpolate(cam[:, None], size, mode="bilinear", align_corners=False)[:, 0].detach()


def close(a, b, share=1e-4):
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= share * float(b.abs().max())


def patches(n_before=1):
    def read(tokens):
        n, t, d = tokens.shape
        side = round((t - n_before) ** 0.5)
        return tokens[:, n_before:].transpose(1, 2).reshape(n, d, side, side)

    return read


@pytest.mark.parametrize("layer", ["stem", "blocks.1", "blocks.4", "blocks.5"])
def test_the_cnn_by_hand(cnn, images, layer):
    found = grad_cam(cnn, images, layer=layer)
    close(found.maps, by_hand(cnn, images, layer))
    assert found.layer == layer and found.residual is None


def test_the_class_asked_for(cnn, images):
    classes = torch.tensor([0, 1, 2, 3, 4, 5])
    found = grad_cam(cnn, images, classes, layer="blocks.5")
    close(found.maps, by_hand(cnn, images, "blocks.5", targets=classes))
    assert torch.equal(found.targets, classes)


@pytest.mark.parametrize("layer", ["blocks.0", "blocks.3", "blocks.3.attention.out"])
def test_tokens_lie_on_the_grid_of_the_patches(vit, images, layer):
    close(grad_cam(vit, images, layer=layer).maps, by_hand(vit, images, layer, patches()))


def test_a_patch_stays_where_it_is():
    """One bright patch of a network that hands its pixels on: the map is bright there only."""

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.same = nn.Conv2d(1, 1, 2, 2, bias=False), nn.Identity()
            nn.init.ones_(self.patch.weight)

        def forward(self, x):
            tokens = self.patch(x).flatten(2).transpose(1, 2)
            tokens = torch.cat([tokens.new_zeros(len(x), 1, 1), tokens], dim=1)
            return self.same(tokens).sum(dim=1)

    image = torch.zeros(1, 1, 4, 6)
    image[0, 0, 2:, 2:4] = 1  # second row, second column of 2 x 3 patches
    found = grad_cam(Tokens().eval(), image, layer="same")
    assert found.maps[0].argmax().item() in (2 * 6 + 2, 2 * 6 + 3, 3 * 6 + 2, 3 * 6 + 3)
    assert float(found.maps[0, 0, 0]) == 0 and float(found.maps[0, 3, 2]) > 0


RESNET = seeded(lambda: torchvision.models.resnet18(num_classes=7))


@pytest.mark.parametrize("layer", ["bn1", "layer3.0.conv1", "layer4.1", "layer4"])
def test_in_place_activations_do_not_disturb(layer):
    """The rivals write over the output; by hand a copy of the network does not."""
    plain = copy.deepcopy(RESNET)
    for module in plain.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    close(grad_cam(RESNET, photos(), layer=layer).maps, by_hand(plain, photos(), layer))
    assert zoo.count_hooks(RESNET) == 0


def test_channels_on_the_last_axis():
    network, layer = seeded(zoo.small_swin), "features.1.1"
    found = grad_cam(network, photos(2), layer=layer)
    close(found.maps, by_hand(network, photos(2), layer, lambda x: x.permute(0, 3, 1, 2)))


def torchvision_vit():
    network = zoo.small_vit()
    nn.init.normal_(network.heads[0].weight)
    return network


@pytest.mark.parametrize(
    ("make", "side", "before", "layer", "last"),
    [
        (torchvision_vit, 32, 1, "encoder.layers.encoder_layer_1", "encoder"),
        (lambda: timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=5, depth=3),
         64, 1, "blocks.1", "blocks.2"),
        (lambda: timm.create_model("vit_small_patch14_reg4_dinov2", img_size=56, num_classes=5,
                                   depth=3), 56, 5, "blocks.1", "norm"),
    ],
    ids=["torchvision", "timm", "registers"],
)  # fmt: skip
def test_transformers_of_other_people(make, side, before, layer, last):
    network, x = seeded(make), photos(2, side)
    targets = torch.tensor([0, 1])
    found = grad_cam(network, x, targets, layer=layer)
    close(found.maps, by_hand(network, x, layer, patches(before), targets))
    with pytest.raises(AttributionError, match=f"use layer='{re.escape(layer)}'") as caught:
        grad_cam(network, x, targets, layer=last)
    assert caught.value.reason == "all_zero"


class Pair(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.conv = kind, nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.kind((self.conv(x), None))


@pytest.mark.parametrize("kind", [tuple, list])
def test_a_layer_that_returns_more_than_a_tensor(kind):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.head = Pair(kind), nn.Linear(4, 3)

        def forward(self, x):
            features, nothing = self.block(x)
            assert nothing is None
            return self.head(features.mean(dim=(2, 3)) ** 2)

    network = seeded(Net)
    close(
        grad_cam(network, photos(), 1, layer="block").maps,
        grad_cam(network, photos(), 1, layer="block.conv").maps,
        1e-6,
    )


def test_a_layer_that_runs_twice_is_read_at_its_last():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
            self.act, self.head = nn.Tanh(), nn.Linear(4, 3)

        def forward(self, x):
            x = self.act(self.two(self.act(self.one(x))))
            return self.head(x.mean(dim=(2, 3)))

    network = seeded(Net)
    split = copy.deepcopy(network)
    split.last = nn.Tanh()
    split.forward = lambda x: split.head(
        split.last(split.two(split.act(split.one(x)))).mean(dim=(2, 3))
    )
    close(
        grad_cam(network, photos(), 1, layer="act").maps,
        by_hand(split, photos(), "last", targets=torch.tensor([1, 1, 1])),
    )


# ---- refusals ----


@pytest.mark.parametrize(
    ("name", "layer", "reason", "words"),
    [
        ("vit", "head", "not_spatial", "no places in the image; use layer='blocks.3'"),
        ("vit", "blocks.2.attention.weights", "not_spatial", "pairs of tokens.*attention_rollout"),
        ("vit", "norm", "all_zero", "use layer='blocks.3'"),
    ],
)
def test_layers_of_the_shipped_networks(request, images, name, layer, reason, words):
    with pytest.raises(AttributionError, match=words) as caught:
        grad_cam(request.getfixturevalue(name), images, layer=layer)
    assert caught.value.reason == reason


def test_pooled_features_are_no_places():
    with pytest.raises(AttributionError, match=r"\(N, 512, 1, 1\).*layer='layer4.1'") as caught:
        grad_cam(RESNET, photos(), layer="avgpool")
    assert caught.value.reason == "not_spatial"


@pytest.mark.parametrize("n_tokens", [1, 12])
def test_tokens_without_a_grid_are_embedding_dimensions(n_tokens):
    class Latents(nn.Module):
        """Tokens that are no patches, as of a perceiver, 64 numbers wide."""

        def __init__(self):
            super().__init__()
            self.mix, self.norm = nn.Linear(64, n_tokens * 64), nn.LayerNorm(64)
            self.head = nn.Linear(64, 3)

        def forward(self, x):
            tokens = self.mix(x.flatten(1)).view(len(x), n_tokens, 64)
            return self.head(self.norm(tokens).tanh().mean(dim=1))

    with pytest.raises(AttributionError, match="64 embedding dimensions, which are no") as caught:
        grad_cam(seeded(Latents), torch.rand(2, 1, 8, 8), layer="norm")
    assert caught.value.reason == "embedding_axis"
    assert "no layer with places on which the answer depends, use saliency" in str(caught.value)


def test_a_network_without_a_convolution():
    network = seeded(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 3))
    )
    with pytest.raises(AttributionError, match="Sequential has no layer with places.*saliency"):
        grad_cam(network, torch.rand(2, 1, 4, 4), layer="1")


class Weighted(nn.Module):
    """Logits are multiples of the mean of the image."""

    def __init__(self, *weights):
        super().__init__()
        self.same, self.weights = nn.Identity(), torch.tensor(weights)

    def forward(self, x):
        return self.same(x).mean(dim=(2, 3)) * self.weights


def test_evidence_against_is_not_called_a_missing_gradient():
    images = torch.rand(2, 1, 4, 4) + 0.1
    with pytest.raises(AttributionError, match="speaks against the class.*another class") as caught:
        grad_cam(Weighted(1.0, -1.0).eval(), images, 1, layer="same")
    assert caught.value.reason == "all_zero"
    one_of_two = grad_cam(Weighted(1.0, -1.0).eval(), images, torch.tensor([0, 1]), layer="same")
    assert one_of_two.empty.tolist() == [False, True]


def test_a_layer_that_the_answer_does_not_use():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)

        def forward(self, x):
            self.unused(x)
            return self.used(x).square().mean(dim=(2, 3))

    network, x = seeded(Net), torch.rand(2, 1, 4, 4)
    with pytest.raises(AttributionError, match="no gradient.*use layer='used'") as caught:
        grad_cam(network, x, layer="unused")
    assert caught.value.reason == "all_zero"
    network.forward = lambda x: network.used(x).square().mean(dim=(2, 3))
    with pytest.raises(LayerNotFoundError, match="'unused' did not run.*use layer='used'"):
        grad_cam(network, x, layer="unused")


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("blocks.9", "no layer 'blocks.9'; nearest names: blocks"),
        ("", "expected the name of one layer.*got ''"),
        (None, "expected the name of one layer.*got None"),
        (["blocks.1"], r"expected the name of one layer.*got \['blocks.1'\]"),
        (nn.Linear(1, 1), "expected the name of one layer.*got Linear"),
    ],
)
def test_no_such_layer(cnn, images, layer, words):
    with pytest.raises(LayerNotFoundError, match=words):
        grad_cam(cnn, images, layer=layer)


def test_no_hook_stays_when_the_network_fails():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1)

        def forward(self, x):
            x = self.conv(x).mean(dim=(2, 3))
            if torch.is_grad_enabled():
                raise KeyError("on the way back")
            return x

    network = Fails().eval()
    with pytest.raises(KeyError, match="on the way back"):
        grad_cam(network, torch.rand(2, 1, 4, 4), layer="conv")
    assert zoo.count_hooks(network) == 0


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(vit, images, guard):
    with guard():
        found = grad_cam(vit, images.clone(), layer="blocks.2", batch_size=4)
    frozen = copy.deepcopy(vit).requires_grad_(False)
    close(found.maps, grad_cam(frozen, images, layer="blocks.2").maps, 1e-5)


def test_the_size_of_a_batch_bounds_the_rows(cnn, images):
    rows = []
    handle = cnn.register_forward_pre_hook(lambda m, inputs: rows.append(len(inputs[0])))
    grad_cam(cnn, images, layer="blocks.5", batch_size=2)
    handle.remove()
    assert max(rows) == 2
