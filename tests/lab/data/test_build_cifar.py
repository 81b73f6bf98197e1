"""The scripts that made the CIFAR networks: what they read, and how they change an image."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import lzma
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deepdrift import collect
from deepdrift.lab import data
from deepdrift.lab.data.images import ImageSet

BUILD = Path(__file__).parents[3] / "data" / "build"


@pytest.fixture
def build(monkeypatch):
    monkeypatch.syspath_prepend(str(BUILD))
    yield importlib.import_module
    for name in ("cifar", "train_cifar", "train_vision", "fashion", "measure_cifar", "measure_far"):
        sys.modules.pop(name, None)


def numbered(n: int) -> np.ndarray:
    """Images (n, 32, 32, 3) of which no two pixels of one colour are alike in a row."""
    return np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def test_packed_arrays_and_torchvisions_folders_give_the_same(build, tmp_path):
    images, labels = numbered(6), [3, 1, 4, 1, 5, 9]
    names = [f"class {i}" for i in range(10)]
    buffer = io.BytesIO()
    np.savez(buffer, images=images, labels=np.array(labels, np.uint8), class_names=names)
    packed, theirs = tmp_path / "packed", tmp_path / "theirs"
    packed.mkdir()
    (packed / "cifar10-test.npz.xz").write_bytes(lzma.compress(buffer.getvalue(), preset=0))

    folder = theirs / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rows = images.transpose(0, 3, 1, 2).reshape(6, -1)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(pickle.dumps({"data": rows, "labels": labels}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))

    read = build("cifar").read_cifar
    found, found_labels, found_names = read("cifar-10", "test", packed)
    assert found.shape == (6, 3, 32, 32)
    assert found_labels.tolist() == labels
    assert list(found_names) == names
    np.testing.assert_array_equal(found[2, :, 5, 7].numpy(), images[2, 5, 7])

    with pytest.MonkeyPatch.context() as patch:  # a handful of images has another checksum
        datasets = importlib.import_module("torchvision.datasets")
        patch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
        patch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a: True)
        again, again_labels, _ = read("cifar-10", "test", theirs)
    torch.testing.assert_close(again, found)
    assert again_labels.tolist() == labels


def test_augmentation_only_mirrors_and_moves(build):
    train = build("train_cifar")
    images = torch.from_numpy(numbered(40)).permute(0, 3, 1, 2).float() / 255
    changed = train.augment(images, torch.Generator().manual_seed(0))
    again = train.augment(images, torch.Generator().manual_seed(0))
    assert torch.equal(changed, again)
    wide = torch.nn.functional.pad(images, [train.BORDER] * 4)
    flipped = torch.nn.functional.pad(images.flip(-1), [train.BORDER] * 4)
    places, mirrored = set(), 0
    for i, image in enumerate(changed):
        found = [
            (source is flipped, top, left)
            for source in (wide, flipped)
            for top in range(9)
            for left in range(9)
            if torch.equal(image, source[i, :, top : top + 32, left : left + 32])
        ]
        assert len(found) == 1
        mirrored += found[0][0]
        places.add(found[0][1:])
    assert 10 <= mirrored <= 30
    assert len(places) > 20


def test_the_tables_were_made_of_what_ships():
    """A network or a script that changed makes the stored tables untrue."""
    tables = json.loads(data.shipped("cifar.json").read_text(encoding="utf-8"))
    made_of = tables["made of"]
    for name in tables["networks"]:
        assert made_of[name] == digest(data.shipped(f"models/{name}.safetensors"))
    assert made_of["measure_cifar.py"] == digest(BUILD / "measure_cifar.py")
    assert len(tables["networks"]) == 4


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("seed", ["", "-1"])
@pytest.mark.parametrize(("kind", "least"), [("cnn", 0.85), ("vit", 0.72)])
def test_the_networks_are_as_good_as_they_are_said_to_be(kind, least, seed):
    network = data.load_network(f"cifar10-{kind}{seed}")
    assert network.test_accuracy >= least
    assert network.class_names[:2] == ("airplane", "automobile")
    assert data.shipped(f"models/cifar10-{kind}{seed}.safetensors").stat().st_size < 2**20
    layers = data.NETWORK_LAYERS[f"cifar10-{kind}{seed}"]
    states = collect(network, torch.rand(2, 3, 32, 32), layers).states
    assert list(states) == list(layers)
    assert len({state.shape for state in states.values()}) == (1 if kind == "vit" else 3)


def test_earlier_tables_are_kept_only_if_nothing_changed(build, tmp_path):
    measure = build("measure_cifar")
    path = tmp_path / "cifar.json"
    common, hashes = {"images": "i", "script": "s"}, {"a": "1", "b": "2"}
    assert measure.still_true(path, common, hashes) == {}
    path.write_text(json.dumps({"made of": common | hashes, "networks": {"a": {}, "b": {"x": 1}}}))
    assert measure.still_true(path, common, hashes) == {"a": {}, "b": {"x": 1}}
    assert measure.still_true(path, common, hashes | {"a": "9", "c": "3"}) == {"b": {"x": 1}}
    assert measure.still_true(path, common | {"script": "t"}, hashes) == {}


def test_another_set_is_scored_on_the_cifar_networks(build):
    """Grey images are strange to a network that knows coloured noise."""
    measure = build("measure_far")
    generator = torch.Generator().manual_seed(0)
    names = tuple(f"class {i}" for i in range(10))
    parts = {
        part: ImageSet(
            torch.rand(120, 3, 32, 32, generator=generator), torch.arange(120) % 10, names
        )
        for part in ("fit", "calibration", "test")
    }
    grey = torch.rand(40, 1, 1, 1, generator=generator).expand(40, 3, 32, 32)
    rows = measure.table(parts, "svhn", grey, ["cifar10-cnn"], ["pixel statistics", "random"])
    assert rows["pixel statistics"]["cifar10-cnn"].value == 1.0
    assert 0.3 < rows["random"]["cifar10-cnn"].value < 0.7
