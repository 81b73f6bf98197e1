"""Networks that ship, and garments that none of them has seen."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file

from deepdrift.diffusion import copied
from deepdrift.lab.data import DataFileError
from deepdrift.lab.diffusion_memorisation.measures import starting_noise
from deepdrift.lab.diffusion_memorisation.networks import load_unet, shrink, unseen_garments
from deepdrift.lab.diffusion_memorisation.noise import sample
from deepdrift.lab.diffusion_memorisation.runs import RecordError, as_bytes
from deepdrift.lab.diffusion_memorisation.unet import SmallUNet


@pytest.fixture
def folder(tmp_path):
    """A data folder with one network of 32 images, as the build stores it."""
    model = SmallUNet()
    images = torch.rand(32, 1, 16, 16) * 2 - 1
    weights = {k: v.half() for k, v in model.state_dict().items()}
    weights["images"] = torch.from_numpy(as_bytes(images))
    header = {"n_images": 32, "seed": 0, "step": 700, "loss": 0.1}
    file = tmp_path / "models" / "diffusion-32-0.safetensors"
    file.parent.mkdir()
    save_file(weights, file, {k: json.dumps(v) for k, v in header.items()})
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  models/{file.name}\n")
    return tmp_path, model, images


def test_stored_and_loaded_again(folder):
    root, model, images = folder
    found = load_unet(32, root=root)
    assert (found.n_images, found.seed, found.step) == (32, 0, 700) and not found.training
    for name, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value.half().float())
    assert found.images.shape == images.shape
    assert (found.images - images).abs().max() <= 1 / 255 + 1e-6


def test_what_does_not_ship(folder):
    with pytest.raises(RecordError, match=r"32 \(0\), 512 \(0\), .*got 64 \(0\)"):
        load_unet(64)
    with pytest.raises(DataFileError, match="diffusion-512-0.safetensors"):
        load_unet(512, root=folder[0])


def test_garments_keep_their_mean_and_range():
    images = torch.rand(3, 1, 28, 28)
    small = shrink(images)
    torch.testing.assert_close(
        small.mean((1, 2, 3)), images.mean((1, 2, 3)) * 2 - 1, atol=0.02, rtol=0
    )
    garments = unseen_garments(50)
    assert garments.shape == (50, 1, 16, 16) and garments.min() == -1 and 0.5 < garments.max() <= 1


def test_the_network_that_ships_paints_what_it_was_trained_on():
    network = load_unet(32)
    found = copied(sample(network, starting_noise(24)), network.images, unseen_garments(500))
    assert found.share > 0.7 and found.null_share < 0.01
