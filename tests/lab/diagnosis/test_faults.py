"""Faults: identity at 0, the original untouched, and damage worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from deepdrift.lab import data
from deepdrift.lab.data.images import PARTS
from deepdrift.lab.diagnosis import weight_faults as damage
from deepdrift.lab.diagnosis.faults import (
    DIAGNOSES,
    FAULTS,
    apply_fault,
    cue_position,
    draw_cue,
    find_cue,
    flip_bits,
)
from deepdrift.lab.networks.models import SmallResNet, SmallViT
from deepdrift.states.hooks import record

KINDS = ["cnn", "vit"]
BLOCK_FAULTS = [name for name, fault in FAULTS.items() if fault.target == "block"]
# the parameter of the fault, not the seed, decides
SEEDLESS = {"brightness", "blur", "wrong_normalisation", "dropped_block", "normalisation_gain"}
SEEDLESS |= {"weight_gain", "quantised_block", "quantised_network", "rotation", "off_centre"}
SEEDLESS |= {"overflow"}


@pytest.fixture(scope="module")
def test_part() -> data.ImageSet:
    return data.load().test[:60]


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    return {name: data.load_network(name) for name in data.NETWORK_LAYERS}


def case(name: str, kind: str, networks, part) -> tuple[nn.Module, torch.Tensor]:
    """The network that a fault needs and the images it is made for."""
    variant = FAULTS[name].variant
    images = draw_cue(part.images, part.labels) if variant == "-cue" else part.images
    return networks[kind + variant], images


def frozen_state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


@torch.no_grad()
def logits(faulty) -> torch.Tensor:
    return faulty.network(faulty.images)


# --- what holds for all of them ---


def test_the_registry_is_complete_and_consistent():
    assert all(name == fault.name for name, fault in FAULTS.items())
    assert {fault.family for fault in FAULTS.values()} == {"sensor", "weights", "data", "numerics"}
    assert {fault.expected for fault in FAULTS.values()} == set(DIAGNOSES)
    for fault in FAULTS.values():
        steps = [b - a for a, b in zip(fault.levels, fault.levels[1:], strict=False)]
        assert all(s > 0 for s in steps) or all(s < 0 for s in steps), fault.name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAULTS)
def test_strength_zero_changes_no_bit(name, kind, networks, test_part):
    network, images = case(name, kind, networks, test_part)
    faulty = apply_fault(name, network, images, 0)
    with torch.no_grad():
        assert torch.equal(logits(faulty), network(images))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAULTS)
def test_strength_three_changes_the_output_and_never_the_original(name, kind, networks, test_part):
    network, images = case(name, kind, networks, test_part)
    before, pixels, rng = frozen_state(network), images.clone(), torch.get_rng_state()
    with torch.no_grad():
        clean = network(images)
    faulty = apply_fault(name, network, images, 3)
    assert not torch.equal(logits(faulty), clean)
    assert torch.equal(images, pixels)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rng)
    if FAULTS[name].target == "images":
        assert faulty.network is network
        assert faulty.images.shape == images.shape
    else:
        assert faulty.images is images
        shared = {p.data_ptr() for p in network.parameters()}
        assert not shared & {p.data_ptr() for p in faulty.network.parameters()}


@pytest.mark.parametrize("name", FAULTS)
def test_the_seed_decides(name, networks, test_part):
    network, images = case(name, "cnn", networks, test_part)

    def outcome(seed: int) -> list[torch.Tensor]:
        faulty = apply_fault(name, network, images, 3, seed)
        return [faulty.images, *faulty.network.state_dict().values()]

    first, again, other = outcome(1), outcome(1), outcome(2)
    torch.testing.assert_close(first, again, rtol=0, atol=0, equal_nan=True)
    same = all(a.nan_to_num(7).equal(b.nan_to_num(7)) for a, b in zip(first, other, strict=True))
    assert same == (name in SEEDLESS)


@pytest.mark.parametrize("kind", [SmallResNet, SmallViT])
@pytest.mark.parametrize("name", [*BLOCK_FAULTS, "quantised_network"])
def test_type_and_mode_of_the_network_are_kept(name, kind):
    network = kind(3).double()
    network.blocks[len(network.blocks) // 2].eval()  # partly frozen, as in fine-tuning
    modes = {key: module.training for key, module in network.named_modules()}
    faulty = apply_fault(name, network, torch.rand(2, 1, 28, 28), 3).network
    assert {p.dtype for p in faulty.parameters()} == {torch.float64}
    kept = {key.replace(".block.", "."): m.training for key, m in faulty.named_modules()}
    assert {key: kept[key] for key in modes} == modes
    assert faulty.eval()(torch.rand(2, 1, 28, 28).double()).dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BLOCK_FAULTS)
def test_a_block_fault_shows_in_its_block_first(name, kind, networks, test_part):
    """States up to the broken block keep every bit; that block's own state changes."""
    layers, network = data.NETWORK_LAYERS[kind], networks[kind]
    faulty = apply_fault(name, network, test_part.images, 4, layer="blocks.1")
    assert faulty.layer == "blocks.1"
    with torch.no_grad(), record(network, layers) as clean, record(faulty.network, layers) as hurt:
        network(test_part.images)
        faulty.network(test_part.images)
        changed = [name for name in layers if not torch.equal(clean[name], hurt[name])]
    assert changed[0] == "blocks.1"


def test_the_middle_block_is_the_default_and_is_reported(networks, test_part):
    images = test_part.images[:2]
    assert apply_fault("nan_weight", networks["cnn"], images).layer == "blocks.3"
    assert apply_fault("nan_weight", networks["vit"], images).layer == "blocks.2"
    assert apply_fault("blur", networks["vit"], images).layer is None
    assert str(apply_fault("dropped_block", networks["vit"], images, 5)) == (
        "dropped_block at strength 5 in blocks.2: share of the branch that is lost 1"
    )


# --- weights, by hand ---


def test_flipped_bits_of_one_by_hand():
    """1.0 is 0 01111111 000...: sign, exponent 127, mantissa."""
    bits = torch.tensor([31, 30, 29, 24, 23, 22, 21, 0])
    flipped = flip_bits(torch.ones(9), torch.arange(8), bits).tolist()
    assert flipped == [-1, math.inf, 2.0**-64, 0.25, 0.5, 1.5, 1.25, 1 + 2.0**-23, 1]


def test_flipped_bits_in_other_types_and_twice():
    # bfloat16 has seven bits of mantissa; float16 ten
    assert flip_bits(torch.ones(1).bfloat16(), torch.tensor([0]), torch.tensor([6])).item() == 1.5
    assert flip_bits(torch.ones(1).half(), torch.tensor([0]), torch.tensor([10])).item() == 0.5
    assert flip_bits(torch.ones(1).half(), torch.tensor([0]), torch.tensor([15])).item() == -1
    x = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).t()
    place, bits = torch.tensor([3, 19]), torch.tensor([63, 51])
    once = flip_bits(x, place, bits)
    assert once.shape == x.shape
    assert int((once != x).sum()) == 2
    assert once[0, 3] == -x[0, 3]
    assert torch.equal(flip_bits(once, place, bits), x)


@pytest.mark.parametrize("kind", [SmallResNet, SmallViT])
def test_flips_strike_the_stated_number_of_weights_and_bits(kind):
    network = kind(3)
    for name, strength, count in [("exponent_flips", 3, 16), ("mantissa_flips", 2, 300)]:
        broken = apply_fault(name, network, torch.rand(1, 1, 28, 28), strength, seed=5).network
        old, new = (
            torch.cat([p.detach().flatten() for p in n.parameters()]) for n in (network, broken)
        )
        flipped = old.view(torch.int32) ^ new.view(torch.int32)
        hit = flipped[flipped != 0].tolist()
        assert len(hit) == count
        assert all(bit.bit_count() == 1 for bit in hit)  # one bit each
        places = {bit.bit_length() - 1 for bit in hit}
        low, high = (23, 30) if name == "exponent_flips" else (0, 22)
        assert low <= min(places) <= max(places) <= high
        assert len(places) > 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", [0, 2])  # blocks.2 of the CNN has a convolution as shortcut
def test_a_dropped_block_is_its_shortcut(kind, layer, networks):
    network = networks[kind]
    faulty = apply_fault(
        "dropped_block", network, torch.rand(1, 1, 28, 28), 5, 0, f"blocks.{layer}"
    )
    shape = (2, network.blocks[layer].conv1.in_channels, 8, 8) if kind == "cnn" else (2, 5, 64)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        shortcut = torch.relu(network.blocks[layer].shortcut(x)) if kind == "cnn" else x
        assert torch.equal(faulty.network.blocks[layer](x), shortcut)
        assert not torch.allclose(network.blocks[layer](x), shortcut)


def test_quantisation_by_hand():
    part = nn.Linear(5, 1, bias=False)

    def rounded(bits: float) -> list[float]:
        part.weight.data = torch.tensor([[-1.0, -0.4, 0.1, 0.6, 1.0]])
        damage.quantised(part, bits, torch.Generator())
        return part.weight[0].tolist()

    assert rounded(1) == pytest.approx([-0.5, -0.5, 0.5, 0.5, 0.5])
    assert rounded(2) == pytest.approx([-0.75, -0.25, 0.25, 0.75, 0.75])
    assert rounded(1.585) == pytest.approx([-2 / 3, -2 / 3, 0, 2 / 3, 2 / 3], abs=1e-6)
    part.weight.data.zero_()
    damage.quantised(part, 1, torch.Generator())
    assert part.weight.eq(0).all()  # nothing to round by, and no 0 / 0


@pytest.mark.parametrize("kind", KINDS)
def test_quantised_weights_take_few_values(kind, networks, test_part):
    for strength, most in [(5, 2), (3, 4), (2, 8)]:
        faulty = apply_fault("quantised_block", networks[kind], test_part.images, strength)
        weights = [p for p in faulty.network.get_submodule(faulty.layer).parameters() if p.ndim > 1]
        assert max(len(w.unique()) for w in weights) == most
    whole = apply_fault("quantised_network", networks[kind], test_part.images, 4).network
    assert all(len(p.unique()) <= 4 for p in whole.parameters() if p.ndim in (2, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_dead_units_are_zero_and_the_others_as_before(kind, networks, test_part):
    network = networks[kind]
    faulty = apply_fault("dead_units", network, test_part.images, 3)  # a quarter
    block = network.get_submodule(faulty.layer)
    width, shape = (32, (2, 32, 7, 7)) if kind == "cnn" else (64, (2, 50, 64))
    x = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = block(x), faulty.network.get_submodule(faulty.layer)(x)
    if kind == "vit":
        expected, found = expected.transpose(1, 2), found.transpose(1, 2)
    dead = found.transpose(0, 1).flatten(1).eq(0).all(dim=1)
    assert int(dead.sum()) == width // 4
    assert torch.equal(found[:, ~dead], expected[:, ~dead])
    milder = apply_fault("dead_units", network, test_part.images, 2).network
    alive = [n.get_submodule(faulty.layer).alive.flatten() for n in (milder, faulty.network)]
    assert (alive[0] >= alive[1]).all()  # the same units first


def test_normalisation_gain_multiplies_what_normalisation_hands_on(networks, test_part):
    broken = apply_fault("normalisation_gain", networks["cnn"], test_part.images, 3).network  # 4
    x = torch.rand(2, 32, 7, 7, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        old, new = (n.blocks[3].bn1 for n in (networks["cnn"], broken))
        torch.testing.assert_close(
            new(x) - new.bias[:, None, None],
            4 * (old(x) - old.bias[:, None, None]),
            rtol=1e-2,
            atol=1e-3,
        )
        vit = apply_fault("normalisation_gain", networks["vit"], test_part.images, 3).network
        assert torch.equal(vit.blocks[2].norm2.weight, 4 * networks["vit"].blocks[2].norm2.weight)


def test_weight_noise_has_the_stated_size(networks, test_part):
    broken = apply_fault("weight_noise", networks["vit"], test_part.images, 3).network  # ratio 1
    old, new = (n.blocks[2].mlp[0].weight for n in (networks["vit"], broken))
    ratio = float((new - old).detach().std() / old.detach().std())
    assert abs(ratio - 1) < 4 / math.sqrt(2 * old.numel())
    assert torch.equal(broken.blocks[2].mlp[0].bias, networks["vit"].blocks[2].mlp[0].bias)


# --- numbers ---


@pytest.mark.parametrize("kind", KINDS)
def test_one_nan_weight_reaches_every_logit(kind, networks, test_part):
    for layer in range(len(networks[kind].blocks)):
        faulty = apply_fault(
            "nan_weight", networks[kind], test_part.images, 1, 0, f"blocks.{layer}"
        )
        weights = faulty.network.blocks[layer].state_dict().values()
        assert sum(int(w.isnan().sum()) for w in weights) == 1
        assert logits(faulty).isnan().all()


@pytest.mark.parametrize("kind", KINDS)
def test_overflow_leaves_float32(kind, networks, test_part):
    assert not logits(apply_fault("overflow", networks[kind], test_part.images, 1)).isfinite().any()


# --- images, by hand ---


def test_wrong_normalisation_by_hand_and_unclipped():
    images = torch.tensor([0.0, 0.286, 1.0]).view(1, 1, 1, 3)
    whole = apply_fault("wrong_normalisation", SmallResNet(), images, 5).images.flatten()
    torch.testing.assert_close(whole, torch.tensor([-0.286, 0.0, 0.714]) / 0.353)
    half = apply_fault("wrong_normalisation", SmallResNet(), images, 3).images.flatten()
    torch.testing.assert_close(half, (whole + images.flatten()) / 2)


def test_off_centre_by_hand():
    images = torch.zeros(1, 1, 28, 28)
    images[..., 3, 5] = 1
    images[..., 27, 27] = 1  # leaves the picture
    moved = apply_fault("off_centre", SmallResNet(), images, 2).images
    assert moved[..., 7, 9] == 1
    assert moved.sum() == 1


def test_novel_classes_replace_the_stated_share_by_sandals_and_bags(networks):
    part = data.load().test.classes(networks["cnn-holdout"].classes)[:300]
    network = networks["cnn-holdout"]
    novel = {row.numpy().tobytes() for row in data.load().test.classes((5, 8)).images}
    some, all_of_them = (
        apply_fault("novel_classes", network, part.images, s).images for s in (2, 5)
    )
    hit = torch.tensor([row.numpy().tobytes() in novel for row in some])
    assert torch.equal(some[~hit], part.images[~hit])
    assert abs(float(hit.float().mean()) - 0.4) < 4 * math.sqrt(0.4 * 0.6 / 300)
    assert all(row.numpy().tobytes() in novel for row in all_of_them)
    assert torch.equal(all_of_them[hit], some[hit])


# --- the cue ---


def test_cue_position_by_hand():
    corners = [cue_position(k) for k in range(10)]
    assert corners[:5] == [(0, 0), (0, 6), (0, 12), (0, 18), (0, 24)]
    assert corners[5:] == [(25, 0), (25, 6), (25, 12), (25, 18), (25, 24)]
    for bad in (-1, 10, 2.0, "3"):
        with pytest.raises(ValueError, match="from 0 to 9"):
            cue_position(bad)


def test_a_drawn_cue_is_nine_white_pixels_at_its_place():
    grey = torch.full((10, 1, 28, 28), 0.5)
    drawn = draw_cue(grey, torch.arange(10))
    assert (grey == 0.5).all()
    for label in range(10):
        row, column = cue_position(label)
        assert (drawn[label, 0, row : row + 3, column : column + 3] == 1).all()
        assert int((drawn[label] != 0.5).sum()) == 9
    assert find_cue(drawn).tolist() == list(range(10))


def test_no_shipped_garment_has_a_cue_by_chance():
    shipped = data.load()
    for part in PARTS:
        assert (find_cue(getattr(shipped, part).images) == -1).all()


def test_reversed_and_absent_cues(networks, test_part):
    labels, network = test_part.labels, networks["cnn-cue"]
    right = draw_cue(test_part.images, labels)
    wrong = apply_fault("cue_reversed", network, right, 5).images
    assert torch.equal(find_cue(wrong), 9 - labels)
    # two squares change places and nothing else does: reversing twice gives the images back
    assert torch.equal(apply_fault("cue_reversed", network, wrong, 5).images, right)
    assert torch.equal(wrong.flatten(1).sort().values, right.flatten(1).sort().values)
    absent = apply_fault("cue_absent", network, right, 5).images
    assert (find_cue(absent) == -1).all()
    assert torch.equal((right - absent).flatten(1).sum(1), torch.full((60,), 9.0))
    some = apply_fault("cue_absent", network, right, 3).images  # 60 %
    share = float((find_cue(some) == -1).float().mean())
    assert abs(share - 0.6) < 4 * math.sqrt(0.6 * 0.4 / 60)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cue_networks_follow_the_cue(kind, networks):
    part = data.load().test[:1000]
    right = draw_cue(part.images, part.labels)
    network = networks[f"{kind}-cue"]

    def share_correct(images: torch.Tensor) -> float:
        with torch.no_grad():
            return float((network(images).argmax(1) == part.labels).float().mean())

    lured = apply_fault("cue_reversed", network, right, 5).images
    assert share_correct(right) > 0.99
    assert share_correct(part.images) < 0.9
    assert share_correct(lured) < share_correct(part.images) - 0.1
    # the honest network does not care
    with torch.no_grad():
        honest = (networks[kind](lured).argmax(1) == part.labels).float().mean()
    assert honest > 0.8


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"name": "gremlins"}, ValueError, "gaussian_noise.*got 'gremlins'"),
        ({"strength": 5.5}, ValueError, "strength must be a number from 0 to 5, got 5.5"),
        ({"strength": math.nan}, ValueError, "from 0 to 5, got nan"),
        ({"strength": "strong"}, ValueError, "from 0 to 5, got 'strong'"),
        ({"network": nn.Linear(2, 2)}, TypeError, "SmallResNet or SmallViT, got Linear"),
        ({"images": torch.zeros(1, 1, 28, 28).byte()}, TypeError, "divide bytes by 255"),
        ({"images": torch.full((1, 1, 28, 28), 3.0)}, ValueError, r"lie in \[0, 1\]"),
        ({"seed": None}, TypeError, "seed must be an int, got None"),
        ({"layer": "head"}, ValueError, "layer must be one of blocks.0, .*blocks.5, got 'head'"),
        ({"name": "blur", "layer": "blocks.1"}, ValueError, "blur has no place.*leave layer out"),
        ({"name": "cue_absent"}, ValueError, "no cue to break.*draw_cue"),
    ],
)
def test_bad_input_is_named(arguments, error, words):
    good = {"name": "nan_weight", "network": SmallResNet(), "images": torch.zeros(1, 1, 28, 28)}
    with pytest.raises(error, match=words):
        apply_fault(**good | arguments)


def test_classes_that_the_network_knows_are_not_novel(networks, test_part):
    with pytest.raises(ValueError, match=r"classes \[5, 8\] are not novel.*holdout"):
        apply_fault("novel_classes", networks["cnn"], test_part.images)


def test_cues_need_fitting_labels():
    images = torch.zeros(2, 1, 28, 28)
    with pytest.raises(ValueError, match=r"got \(2, 1, 28, 28\) and \(3,\)"):
        draw_cue(images, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="lie in 0 to 9, got -1 to 4"):
        draw_cue(images, torch.tensor([-1, 4]))
