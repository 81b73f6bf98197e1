"""Attention rollout by hand on two tokens, and on networks whose attention is hard to reach."""

import pytest
import timm
import torch
import zoo
from torch import nn
from torch.nn import functional as F

from deepdrift.attribution import AttributionError, attention_rollout, rollout
from deepdrift.errors import LayerNotFoundError


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def photos(n=2, side=64):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1))


def picture(maps, size):
    """Rollout written out, for one image after the other; the first row over the patches."""
    rows = []
    for image in zip(*maps, strict=True):
        total = torch.eye(image[0].shape[-1])
        for heads in image:
            total = (0.5 * heads.mean(dim=0) + 0.5 * torch.eye(len(total))) @ total
        rows.append(total[0])
    row = torch.stack(rows)
    side = int((row.shape[1] - 1) ** 0.5)
    grid = row[:, -side * side :].view(-1, 1, side, side)
    return F.interpolate(grid, size, mode="bilinear", align_corners=False)[:, 0]


def close(a, b):
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= 1e-5 * float(b.max())


# ---- the pure function ----


def test_two_tokens_two_heads_two_layers_by_hand():
    first = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]])
    # mean of the heads [[.5, .5], [0, 1]]; with the residual connection [[.75, .25], [0, 1]]
    second = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]])  # [[.5, .5], [.5, .5]]
    expected = torch.tensor([[[0.375, 0.625], [0.375, 0.625]]])
    assert torch.allclose(rollout([first, second]), expected)
    assert torch.allclose(rollout([second, first]), torch.tensor([[[0.5, 0.5], [0.5, 0.5]]]))
    # the order counts: a later layer stands on the left


def test_rows_are_shares():
    g = torch.Generator().manual_seed(0)
    maps = [torch.randn(3, 4, 9, 9, generator=g).softmax(dim=-1) for _ in range(6)]
    found = rollout(maps)
    assert torch.allclose(found.sum(dim=-1), torch.ones(3, 9), atol=1e-5)
    assert bool((found >= 0).all())


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        ([], "expected a list"),
        (torch.eye(2).view(1, 1, 2, 2), "expected a list"),
        ([torch.eye(2)], r"attention\[0\]: expected shape \(N, heads, T, T\), got \(2, 2\)"),
        ([torch.randn(1, 1, 3, 3)], "not shares that add up to 1.*after the softmax"),
        ([torch.eye(2).view(1, 1, 2, 2), torch.eye(3).view(1, 1, 3, 3)], "has 3 tokens, earlier"),
        ([torch.full((1, 1, 2, 2), float("nan"))], "NaN"),
    ],
)
def test_what_is_no_attention(maps, words):
    with pytest.raises(AttributionError, match=words):
        rollout(maps)


# ---- networks ----


def test_the_shipped_transformer(vit, images):
    layers = [f"blocks.{i}.attention.weights" for i in range(5)]
    with torch.no_grad(), zoo.plain_outputs(vit, tuple(layers)) as maps:
        vit(images)
    expected = picture(maps, (28, 28))
    found = attention_rollout(vit, images)
    close(found.maps, expected)
    assert found.targets is None and found.residual is None
    assert "the same for every class" in str(found)
    close(attention_rollout(vit, images, layers=layers, batch_size=4).maps, expected)
    close(attention_rollout(vit, images, layers=layers[:2]).maps, picture(maps[:2], (28, 28)))


@pytest.mark.parametrize("targets", [3, torch.zeros(6, dtype=torch.int64), "shirt"])
def test_it_is_blind_to_the_class(vit, images, targets):
    with pytest.raises(AttributionError, match="leave targets out") as caught:
        attention_rollout(vit, images, targets)
    assert caught.value.reason == "class_blind"


def test_fused_attention_is_refused_and_the_remedy_works():
    make = lambda: timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=5, depth=3)  # noqa: E731
    network, x = seeded(make), photos()
    with pytest.raises(AttributionError, match="set fused_attn = False") as caught:
        attention_rollout(network, x)
    assert caught.value.reason == "not_spatial"
    for module in network.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    with (
        torch.no_grad(),
        zoo.plain_outputs(network, tuple(f"blocks.{i}.attn.attn_drop" for i in range(3))) as maps,
    ):
        network(x)
    close(attention_rollout(network, x).maps, picture(maps, (64, 64)))
    assert zoo.count_hooks(network) == 0


def test_registers_are_no_patches():
    network = seeded(
        lambda: timm.create_model(
            "vit_small_patch14_reg4_dinov2", img_size=56, num_classes=5, depth=2
        )
    )
    for module in network.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    x = photos(2, 56)
    with (
        torch.no_grad(),
        zoo.plain_outputs(network, ("blocks.0.attn.attn_drop", "blocks.1.attn.attn_drop")) as maps,
    ):
        network(x)
    close(attention_rollout(network, x).maps, picture(maps, (56, 56)))


def test_torchvision_is_asked_for_its_weights():
    """It calls attention with need_weights=False; by hand the weights come from q and k."""
    network, x = seeded(zoo.small_vit), photos(2, 32)
    blocks = tuple(f"encoder.layers.encoder_layer_{i}" for i in range(3))
    with torch.no_grad(), zoo.plain_outputs(network, tuple(f"{b}.ln_1" for b in blocks)) as inputs:
        before = network(x)
    maps = []
    for block, tokens in zip(blocks, inputs, strict=True):
        part = network.get_submodule(block).self_attention
        q, k, _ = F.linear(tokens, part.in_proj_weight, part.in_proj_bias).chunk(3, dim=-1)
        q, k = (z.unflatten(-1, (2, 8)).transpose(1, 2) for z in (q, k))
        maps.append((q @ k.transpose(-2, -1) / 8**0.5).softmax(dim=-1).detach())
    close(attention_rollout(network, x).maps, picture(maps, (32, 32)))
    assert zoo.count_hooks(network) == 0
    with torch.no_grad():
        assert torch.equal(network(x), before)


class Attends(nn.Module):
    """One attention layer over patches of 2 x 2 pixels; ``dropout`` stands behind the softmax."""

    def __init__(self, n_before=1, dropout=True, windows=1):
        super().__init__()
        self.patch = nn.Conv2d(1, 4, 2, 2)
        self.first = nn.Parameter(torch.randn(1, n_before, 4))
        self.softmax, self.dropout = nn.Softmax(dim=-1), nn.Dropout(0.1)
        self.use, self.windows, self.head = dropout, windows, nn.Linear(4, 3)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(x), -1, -1), tokens], dim=1)
        tokens = tokens.reshape(len(x) * self.windows, -1, 4)
        maps = self.softmax(3 * tokens[:, None] @ tokens[:, None].transpose(-2, -1))
        maps = self.dropout(maps) if self.use else maps
        out = (maps[:, 0] @ tokens).reshape(len(x), -1, 4)
        return self.head(out[:, 0])


def test_dropout_behind_a_softmax_is_not_a_second_layer():
    x = torch.rand(3, 1, 6, 6)
    with_it, without = seeded(Attends), seeded(lambda: Attends(dropout=False))
    close(attention_rollout(with_it, x).maps, attention_rollout(without, x).maps)
    close(
        attention_rollout(with_it, x).maps,
        attention_rollout(with_it, x, layers=["softmax"]).maps,
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Attends(n_before=0), "9 tokens are a grid of patches without a class token"),
        (lambda: Attends(n_before=0, windows=3), "attention within windows"),
        (lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.LazyLinear(2)),
         "a network without attention has none.*use saliency or grad_cam"),
    ],
    ids=["no class token", "windows", "no attention"],
)  # fmt: skip
def test_networks_that_have_no_rollout(make, words):
    network, x = make().eval(), torch.rand(2, 1, 6, 6)
    network(x)
    with pytest.raises(AttributionError, match=words) as caught:
        attention_rollout(network, x)
    assert caught.value.reason == "not_spatial"
    assert zoo.count_hooks(network) == 0


def test_swin_is_refused():
    network = seeded(zoo.small_swin)
    with pytest.raises(AttributionError) as caught:
        attention_rollout(network, photos())
    assert caught.value.reason == "not_spatial"


def test_named_layers_that_give_no_maps(vit, images):
    with pytest.raises(AttributionError, match="'blocks.0' gave no attention maps") as caught:
        attention_rollout(vit, images, layers=["blocks.0", "blocks.1.attention.weights"])
    assert caught.value.reason == "not_spatial"
    with pytest.raises(LayerNotFoundError, match="no layer 'attention'"):
        attention_rollout(vit, images, layers=["attention"])


def test_no_hook_stays_when_the_network_fails(vit, images):
    with pytest.raises(Exception, match="the model raised RuntimeError"):
        attention_rollout(vit, images[..., :20])
    # the hooks are counted behind every test


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_it_needs_no_gradients(vit, images, guard):
    with guard():
        found = attention_rollout(vit, images)
    assert not found.maps.requires_grad
    assert torch.equal(found.maps, attention_rollout(vit, images).maps)
