"""The faults that judge the doctor: seeded, bounded, harmless at strength 0, and by hand."""

import copy

import pytest
import torch

from deepdrift.lab.diagnosis import judged_image_faults as IF
from deepdrift.lab.diagnosis import judged_weight_faults as WF
from deepdrift.lab.diagnosis.faults import FAULTS, apply_fault
from deepdrift.lab.diagnosis.judged_faults import JUDGED
from deepdrift.lab.networks.models import SmallResNet, SmallViT

NETWORKS = {"cnn": SmallResNet, "vit": SmallViT}
G = torch.Generator


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NETWORKS[request.param]().eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(12, 1, 28, 28, generator=G().manual_seed(0))


def test_no_fault_is_on_both_lists():
    assert not JUDGED.keys() & FAULTS.keys() and len(JUDGED) == 25
    assert {f.target for f in JUDGED.values()} == {"images", "block", "network"}


@pytest.mark.parametrize("fault", JUDGED.values(), ids=lambda f: f.name)
def test_strength_and_seed(fault, network, images):
    before = copy.deepcopy(network.state_dict())

    def outcome(strength, seed=0):
        done = apply_fault(fault, network, images, strength, seed)
        assert done.images.min() >= -1e-6 and done.images.max() <= 1 + 1e-6
        with torch.no_grad():
            return done.network(done.images)

    with torch.no_grad():
        assert torch.equal(outcome(0), network(images))
    assert torch.equal(outcome(4), outcome(4))
    changed = outcome(5)
    assert fault.name == "stale_statistics" or not torch.equal(changed, outcome(0))
    assert changed.isfinite().all()
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_images_by_hand():
    x = torch.arange(784.0).view(1, 1, 28, 28) / 784
    assert torch.equal(IF.translation(x, 3, G())[..., :25], x[..., 3:])
    assert IF.translation(x, 3, G())[..., 25:].abs().sum() == 0
    assert torch.equal(IF.mirrored(x, 1.0, G()), x.flip(-1))
    assert torch.equal(IF.scan_line_offset(x, 2, G())[..., ::2, :], x[..., ::2, :])
    assert torch.equal(IF.scan_line_offset(x, 2, G())[..., 1, 2:], x[..., 1, :-2])
    assert IF.stuck_bit(torch.zeros(1, 1, 28, 28), 16, G()).unique().tolist() == pytest.approx(
        [16 / 255]
    )
    assert torch.allclose(IF.vignetting(torch.ones(1, 1, 28, 28), 0.4, G())[..., 0, 0],
                          torch.tensor(0.6))  # fmt: skip
    flat = torch.full((1, 1, 28, 28), 0.4)
    assert torch.allclose(IF.block_quantisation(flat, 0.4, G()), torch.full_like(flat, 0.4))
    cosines = IF._cosines(7)
    assert torch.allclose(cosines @ cosines.T, torch.eye(7), atol=1e-6)
    assert torch.allclose(IF.motion_blur(x, 3, G())[0, 0, 0, 1], x[0, 0, 0, :3].mean())
    assert IF.hot_pixels(torch.zeros(2, 1, 28, 28), 1, G()).sum() == 8
    two = torch.stack([torch.zeros(1, 28, 28), torch.ones(1, 28, 28)])
    assert IF.mixed_classes(two, 0.25, G())[:, 0, 0, 0].tolist() == [0.25, 0.75]
    assert torch.equal(IF.interlaced(two, 1.0, G())[0, 0, :4, 0], torch.tensor([0.0, 1, 0, 1]))
    assert torch.allclose(IF.zoom_out(flat, 0.5, G()).sum(), flat.sum() / 4, rtol=0.1)


def test_weights_by_hand(network):
    block = copy.deepcopy(network.blocks[1])
    total = sum(w.numel() for w in WF._weights(block))
    WF.pruned(block, 0.5, G())
    assert sum(int((w == 0).sum()) for w in WF._weights(block)) == pytest.approx(total / 2, rel=0.1)
    swapped = WF.swapped_layers(copy.deepcopy(network.blocks[1]), 1.0, G())
    names = ("bn1", "bn2") if hasattr(block, "bn1") else ("norm1", "norm2")
    a, b = (getattr(network.blocks[1], k) for k in names)
    assert torch.allclose(getattr(swapped, names[0]).weight, b.weight)
    assert torch.allclose(getattr(swapped, names[1]).weight, a.weight)
    flipped = WF.sign_flips(copy.deepcopy(network.blocks[1]), 1.0, G())
    assert torch.equal(WF._weights(flipped)[0], -WF._weights(network.blocks[1])[0])


def test_a_list_of_ones_own(network, images):
    with pytest.raises(ValueError, match="name must be one of"):
        apply_fault("motion_blur", network, images)
    assert str(apply_fault(JUDGED["motion_blur"], network, images, 2)).startswith("motion_blur at")
