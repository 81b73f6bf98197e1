"""The shipped cuts, the full sets in their real on-disk formats, networks, and every refusal."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
import re
import shutil
import struct
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deepdrift.errors import DeepDriftError, MissingExtraError
from deepdrift.lab import data
from deepdrift.lab.data.full_sets import FULL_SETS
from deepdrift.lab.data.images import PARTS
from deepdrift.lab.networks.models import SmallResNet, SmallViT

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "data"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def build_script(name: str):
    """A script of data/build as a module, with that folder on the path for its neighbours."""
    folder = str(DATA / "build")
    sys.path.insert(0, folder)
    try:
        spec = importlib.util.spec_from_file_location(f"build_{name}", f"{folder}/{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
        sys.modules.pop("fashion", None)
    return module


@pytest.fixture(scope="module")
def fashion() -> data.ImageData:
    return data.load()


@pytest.fixture(scope="module")
def raw() -> dict[str, np.ndarray]:
    with np.load(DATA / "fashion-mnist.npz", allow_pickle=False) as file:
        return dict(file)


def write_sums(folder: Path) -> None:
    """A manifest by another road than the build script: hashlib over each file."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*.*"))
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


# --- what ships ---


def test_cut_is_balanced_and_its_parts_are_disjoint(raw):
    for part, per_class in {"fit": 400, "calibration": 300, "test": 300}.items():
        assert np.bincount(raw[f"{part}_labels"]).tolist() == [per_class] * 10
        assert len(np.unique(raw[f"{part}_index"])) == 10 * per_class
        assert raw[f"{part}_images"].shape == (10 * per_class, 28, 28)
        assert raw[f"{part}_images"].dtype == np.uint8
    assert not np.intersect1d(raw["calibration_index"], raw["test_index"]).size
    assert max(raw["calibration_index"].max(), raw["test_index"].max()) < 10_000
    pictures = [row.tobytes() for part in PARTS for row in raw[f"{part}_images"]]
    assert len(set(pictures)) == 10_000  # no picture twice, not even under another index


def test_cut_order_is_mixed(raw):
    for part in PARTS:  # 10 classes: a sorted part would show one class in its first 100
        assert len(np.unique(raw[f"{part}_labels"][:100])) == 10


@pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's dataset-fashion-mnist not installed")
def test_cut_holds_the_original_images_at_the_stated_indices(raw):
    read = build_script("fashion").read_fashion_mnist
    for source, parts in {"train": ["fit"], "test": ["calibration", "test"]}.items():
        pixels, labels = (x.numpy() for x in read(source, DEBIAN))
        for part in parts:
            index = raw[f"{part}_index"]
            assert (pixels[index, 0] == raw[f"{part}_images"]).all()
            assert (labels[index] == raw[f"{part}_labels"]).all()


def test_loaded_images_are_the_bytes_over_255(fashion, raw):
    for part in PARTS:
        loaded = getattr(fashion, part)
        assert loaded.images.dtype == torch.float32
        assert loaded.labels.dtype == torch.int64
        expected = raw[f"{part}_images"].astype(np.float64) / 255
        assert np.abs(loaded.images[:, 0].numpy() - expected).max() < 1e-7
        assert (loaded.labels.numpy() == raw[f"{part}_labels"]).all()
    assert fashion.class_names[5] == "sandal"
    assert fashion.class_names[8] == "bag"


@pytest.mark.parametrize("name", ["mnist", "digits", "photo-patches"])
def test_ood_sets(name):
    ood = data.load_ood(name)
    assert ood.images.shape == (1000, 1, 28, 28)
    assert torch.bincount(ood.labels).tolist() == [100] * 10
    assert ood.images.min() >= 0
    assert 0.9 < ood.images.max() <= 1
    assert ood.images.flatten(1).std(dim=1).min() > 0.04  # no empty picture
    assert len(ood.class_names) == 10


def test_digits_are_upright_enlargements():
    """Averaging the enlarged digits back to 8x8 resembles scikit-learn's own class means."""
    datasets = pytest.importorskip("sklearn.datasets")
    original, labels = datasets.load_digits(return_X_y=True)
    ood = data.load_ood("digits")
    small = torch.nn.functional.interpolate(ood.images, (8, 8), mode="area").flatten(1)
    for digit in range(10):
        ours = small[ood.labels == digit].mean(0).numpy()
        theirs = original[labels == digit].mean(0)
        assert np.corrcoef(ours, theirs)[0, 1] > 0.97


def test_shipped_files_are_small_and_listed():
    lines = (DATA / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    shipped = {
        path.relative_to(DATA).as_posix()
        for path in DATA.rglob("*")
        if path.is_file() and "build" not in path.relative_to(DATA).parts
    } - {"README.md", "SHA256SUMS", "LICENSE-fashion-mnist"}
    assert set(listed) == shipped
    assert sum((DATA / name).stat().st_size for name in shipped) < 28e6
    readme = (DATA / "README.md").read_text()
    for name, digest in listed.items():
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == digest
        own = re.sub(r"-[23]\.", "-1.", name)  # three trainings share a heading
        assert f"`{own}`" in "\n".join(x for x in readme.splitlines() if x.startswith("### "))
        assert digest in readme


def test_checksum_script_writes_what_sha256sum_reads(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    header = {"classes": "[0, 7]", "train_images": "12000", "epochs": "3"}
    header |= {"test_images": "2000", "test_accuracy": "0.9655"}
    save_file({"w": torch.zeros(2)}, tmp_path / "models" / "a.safetensors", metadata=header)
    (tmp_path / "y.npz").write_bytes(b"abc")
    (tmp_path / "z.npz").write_bytes(b"")
    (tmp_path / "README.md").write_text(
        "before\n<!-- networks: begin -->\nold\n<!-- networks: end -->\n"
        "<!-- checksums: begin -->\nold\n<!-- checksums: end -->\nafter\n"
    )
    monkeypatch.setattr(sys, "argv", ["checksums.py", "--folder", str(tmp_path)])
    build_script("checksums").main()
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    first, *others = (tmp_path / "SHA256SUMS").read_text().splitlines(keepends=True)
    assert first[64:] == "  models/a.safetensors\n"
    assert others == [f"{abc}  y.npz\n", f"{empty}  z.npz\n"]
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("before\n")
    assert readme.endswith("\nafter\n")
    assert f"| `y.npz` | 3 | `{abc}` |" in readme
    assert "| `models/a.safetensors` | 0 7 | 12,000 | 3 | 96.55% of 2,000 |" in readme
    assert "old" not in readme


def test_balanced_draw():
    balanced = build_script("build_vision").balanced
    labels = np.repeat([0, 1, 2], [5, 9, 7])
    first, second = balanced(labels, [2, 3], np.random.default_rng(0))
    assert np.bincount(labels[first]).tolist() == [2, 2, 2]
    assert np.bincount(labels[second]).tolist() == [3, 3, 3]
    assert not np.intersect1d(first, second).size
    with pytest.raises(ValueError, match="class 0 has 5 samples, 6 are needed"):
        balanced(labels, [3, 3], np.random.default_rng(0))


# --- sets and classes ---


def test_holding_out_classes_matches_by_hand(fashion):
    near = fashion.test.classes([8, 5])
    assert near.class_names == ("sandal", "bag")
    assert torch.bincount(near.labels).tolist() == [300, 300]
    old = fashion.test.labels
    assert torch.equal(near.images, fashion.test.images[(old == 5) | (old == 8)])
    rest = fashion.without([5, 8])
    assert rest.class_names == tuple(n for n in fashion.class_names if n not in {"sandal", "bag"})
    assert [len(rest.fit), len(rest.calibration), len(rest.test)] == [3200, 2400, 2400]
    new = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 6: 5, 7: 6, 9: 7}
    assert rest.test.labels.tolist() == [new[k] for k in old.tolist() if k in new]
    same = fashion.classes([0, 1, 2, 3, 4, 6, 7, 9])
    assert torch.equal(same.calibration.labels, rest.calibration.labels)


@pytest.mark.parametrize("bad", [[], [10], [-1, 2]])
def test_bad_classes_are_named(fashion, bad):
    with pytest.raises(ValueError, match="from 0 to 9"):
        fashion.test.classes(bad)


def test_dropping_unknown_or_all_classes_is_refused(fashion):
    with pytest.raises(ValueError, match=r"no classes \[12\]"):
        fashion.test.without([3, 12])
    with pytest.raises(ValueError, match="at least one"):
        fashion.test.without(range(10))


def test_loader_and_slices(fashion):
    batches = list(fashion.test.loader(700))
    assert [len(x) for x, _ in batches] == [700, 700, 700, 700, 200]
    assert torch.equal(torch.cat([x for x, _ in batches]), fashion.test.images)
    assert torch.equal(torch.cat([y for _, y in batches]), fashion.test.labels)
    assert torch.equal(fashion.test[10:20].labels, fashion.test.labels[10:20])
    with pytest.raises(TypeError, match=r"\[3:4\]"):
        fashion.test[3]


def test_mismatched_labels_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 1, 4, 4\) and \(3,\)"):
        data.ImageSet(torch.zeros(2, 1, 4, 4), torch.zeros(3, dtype=torch.int64), ("a",))


# --- the data folder ---


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    """A small data folder: ood.npz and one network of random weights."""
    folder = tmp_path / "data"
    (folder / "models").mkdir(parents=True)
    shutil.copy(DATA / "ood.npz", folder)
    torch.manual_seed(0)
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in SmallResNet(3).state_dict().items()
    }
    header = {"network": "cnn", "classes": json.dumps([0, 4, 9]), "test_accuracy": "0.5"}
    save_file(state, folder / "models" / "cnn.safetensors", metadata=header)
    write_sums(folder)
    monkeypatch.delenv("DEEPDRIFT_DATA", raising=False)
    return folder


def test_environment_variable_names_the_folder_and_root_goes_first(copy, monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPDRIFT_DATA", str(copy))
    assert data.load_network("cnn").classes == (0, 4, 9)
    monkeypatch.setenv("DEEPDRIFT_DATA", str(tmp_path / "nowhere"))
    assert data.load_network("cnn", root=copy).classes == (0, 4, 9)
    with pytest.raises(data.DataFileError, match=r"nowhere.*DEEPDRIFT_DATA"):
        data.load()


def test_a_changed_file_is_refused_even_after_a_good_load(copy):
    data.load_ood("mnist", root=copy)
    path = copy / "ood.npz"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(data.DataFileError, match=r"ood.npz is not the file.*git checkout.*make"):
        data.load_ood("mnist", root=copy)


def test_missing_and_unlisted_files_say_how_to_get_them(copy):
    shutil.copy(copy / "models" / "cnn.safetensors", copy / "models" / "vit.safetensors")
    with pytest.raises(data.DataFileError, match=r"vit.safetensors is not listed.*checksums.py"):
        data.load_network("vit", root=copy)
    (copy / "models" / "cnn.safetensors").unlink()
    with pytest.raises(data.DataFileError, match=r"cnn.safetensors is missing.*git checkout"):
        data.load_network("cnn", root=copy)
    with pytest.raises(FileNotFoundError):  # also under its builtin name
        data.load_network("cnn", root=copy)
    with pytest.raises(DeepDriftError):
        data.load_network("cnn", root=copy)


def test_the_manifest_is_believed_not_the_file(copy):
    """A file swapped for another good one of the same kind is still refused."""
    sums = copy / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(sums.read_text()[:4], "0000", 1))
    with pytest.raises(data.DataFileError, match=r"SHA256SUMS says 0000"):
        data.load_network("cnn", root=copy)


@pytest.mark.parametrize("function", [data.load, data.load_ood, data.load_network])
def test_unknown_names_list_the_known_ones(function):
    with pytest.raises(ValueError, match=r"name must be one of .*, got 'imagenet'"):
        function("imagenet")


# --- networks ---


def test_network_weights_are_the_stored_ones_in_float32(copy):
    network = data.load_network("cnn", root=copy)
    assert not network.training
    assert network.test_accuracy == 0.5
    assert network.class_names == ("t-shirt", "coat", "ankle-boot")
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    torch.manual_seed(0)
    twin = SmallResNet(3)
    assert torch.equal(network.head.weight, twin.head.weight.half().float())


@pytest.mark.parametrize("name", [n for n in data.NETWORK_LAYERS if not n.startswith("cifar10")])
def test_shipped_networks_reach_their_stated_accuracy_on_unseen_images(name, fashion):
    network = data.load_network(name)
    assert isinstance(network, SmallResNet if name.startswith("cnn") else SmallViT)
    unseen = fashion.classes(network.classes)
    assert network.class_names == unseen.class_names
    with torch.no_grad():
        hits = torch.cat(
            [
                network(x).argmax(1) == y
                for part in (unseen.calibration, unseen.test)
                for x, y in part.loader(500)
            ]
        )
    p = network.test_accuracy
    floor = {"cnn": 0.92, "cnn-augmented": 0.91, "cnn-holdout": 0.91, "vit": 0.89}
    floor |= {"vit-holdout": 0.86} | dict.fromkeys(["cnn-cue", "vit-cue"], 0.5)  # no cue here
    assert p >= floor[name.rstrip("-123")]
    # a random 6,000 (4,800) of the 10,000 (8,000) images the statement counts: 4 sigma
    sigma = (p * (1 - p) / len(hits) * 0.4) ** 0.5
    assert abs(float(hits.float().mean()) - p) < 4 * sigma


@pytest.mark.parametrize("kind", [SmallResNet, SmallViT])
def test_layers_to_watch_exist_in_execution_order(kind):
    network = kind(3)
    layers = data.NETWORK_LAYERS["cnn" if kind is SmallResNet else "vit"]
    seen = []
    for name in layers:
        network.get_submodule(name).register_forward_hook(
            lambda module, args, out, name=name: seen.append(name)
        )
    network(torch.zeros(1, 1, 28, 28))
    assert tuple(seen) == layers


# --- full sets: small files in the real formats ---


def write_idx(path: Path, array: np.ndarray) -> None:
    """The idx format: two zero bytes, type 8 (unsigned byte), number of axes, sizes, data."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def pixels(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_mnist(root: Path, folder: str) -> tuple[np.ndarray, np.ndarray]:
    (root / folder / "raw").mkdir(parents=True)
    train, test = pixels(6, 28, 28, seed=0), pixels(5, 28, 28, seed=1)
    for part, array in (("train", train), ("t10k", test)):
        write_idx(root / folder / "raw" / f"{part}-images-idx3-ubyte", array)
        labels = np.arange(len(array), dtype=np.uint8)
        write_idx(root / folder / "raw" / f"{part}-labels-idx1-ubyte", labels)
    return train[:, None], test[:, None]


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(root: Path, name: str, monkeypatch) -> tuple[np.ndarray, np.ndarray]:
    """Pickled batches of flat rows (3 x 32 x 32), with torchvision told their true checksums."""
    from torchvision import datasets

    ten = name == "cifar-10"
    cls = datasets.CIFAR10 if ten else datasets.CIFAR100
    folder = root / ("cifar-10-batches-py" if ten else "cifar-100-python")
    folder.mkdir(parents=True)
    train, test = pixels(10, 3, 32, 32, seed=2), pixels(4, 3, 32, 32, seed=3)
    files = [f"data_batch_{i}" for i in range(1, 6)] if ten else ["train"]
    test_file = "test_batch" if ten else "test"
    key = "labels" if ten else "fine_labels"
    parts = {**dict(zip(files, np.split(train, len(files)), strict=True)), test_file: test}
    for file, part in parts.items():
        entry = {"data": part.reshape(len(part), -1), key: list(range(len(part)))}
        (folder / file).write_bytes(pickle.dumps(entry))
    meta = "batches.meta" if ten else "meta"
    names = [f"class {i}" for i in range(10 if ten else 100)]
    content = {"label_names" if ten else "fine_label_names": names}
    (folder / meta).write_bytes(pickle.dumps(content))
    monkeypatch.setattr(cls, "train_list", [[file, md5(folder / file)] for file in files])
    monkeypatch.setattr(cls, "test_list", [[test_file, md5(folder / test_file)]])
    monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": md5(folder / meta)})
    return train, test


def write_svhn(root: Path, monkeypatch) -> tuple[np.ndarray, np.ndarray]:
    """MATLAB files: X is (32, 32, 3, N), y is (N, 1) with 10 for the digit zero."""
    scipy_io = pytest.importorskip("scipy.io")
    from torchvision import datasets

    root.mkdir(parents=True, exist_ok=True)
    train, test = pixels(6, 3, 32, 32, seed=4), pixels(4, 3, 32, 32, seed=5)
    split_list = dict(datasets.SVHN.split_list)
    for part, array in (("train", train), ("test", test)):
        path = root / f"{part}_32x32.mat"
        labels = np.array([[10], *([k] for k in range(1, len(array)))], np.uint8)
        scipy_io.savemat(path, {"X": array.transpose(2, 3, 1, 0), "y": labels})
        split_list[part] = [*split_list[part][:2], md5(path)]
    monkeypatch.setattr(datasets.SVHN, "split_list", split_list)
    return train, test


def write(name: str, root: Path, monkeypatch) -> tuple[np.ndarray, np.ndarray]:
    if name == "svhn":
        return write_svhn(root, monkeypatch)
    if name.startswith("cifar"):
        return write_cifar(root, name, monkeypatch)
    return write_mnist(root, {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name])


FULL = ["fashion-mnist", "mnist", "cifar-10", "cifar-100", "svhn"]


@pytest.mark.parametrize("name", FULL)
def test_full_sets_from_files_in_their_real_formats(name, tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    train, test = write(name, tmp_path, monkeypatch)
    full = data.load(name, full=True, root=tmp_path)
    assert full.name == name
    assert full.fit.images.dtype == torch.float32
    assert np.array_equal(np.rint(full.fit.images.numpy() * 255), train)
    if name in {"cifar-10"}:  # five batches of two
        assert full.fit.labels.tolist() == [0, 1] * 5
    else:
        assert full.fit.labels.tolist() == list(range(len(train)))
    assert len(full.calibration) == len(test) // 2
    unseen = torch.cat([full.calibration.images, full.test.images])
    labels = torch.cat([full.calibration.labels, full.test.labels])
    assert sorted(labels.tolist()) == list(range(len(test)))  # disjoint, and nothing lost
    assert np.array_equal(np.rint(unseen.numpy() * 255), test[labels.numpy()])
    assert len(full.class_names) == (100 if name == "cifar-100" else 10)
    again = data.load(name, full=True, root=tmp_path)
    assert torch.equal(again.test.images, full.test.images)
    tests = {
        tuple(data.load(name, full=True, root=tmp_path, seed=seed).test.labels.tolist())
        for seed in range(5)
    }
    assert len(tests) > 1


@pytest.mark.parametrize("name", FULL)
def test_offline_without_files_the_error_says_what_to_do(name, tmp_path):
    pytest.importorskip("torchvision")
    with pytest.raises(data.DataFileError) as caught:
        data.load(name, full=True, root=tmp_path)
    words = str(caught.value)
    spec = FULL_SETS[name]
    for expected in (*spec.files, str(tmp_path / spec.folder), "download=True", "fashion-mnist"):
        assert expected in words


def test_one_missing_file_is_named(tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    write("cifar-10", tmp_path, monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(data.DataFileError, match="not complete: no data_batch_3;"):
        data.load("cifar-10", root=tmp_path)


@pytest.mark.parametrize("name", ["mnist", "cifar-10", "svhn"])
def test_damaged_files_are_refused(name, tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    write(name, tmp_path, monkeypatch)
    spec = FULL_SETS[name]
    path = tmp_path / spec.folder / spec.files[0]
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(data.DataFileError, match=f"could not read {name}.*download=True"):
        data.load(name, root=tmp_path)


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    datasets = pytest.importorskip("torchvision.datasets")

    def offline(self):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(datasets.MNIST, "download", offline)
    with pytest.raises(data.DataFileError, match=r"could not download.*no route.*put train-images"):
        data.load("mnist", root=tmp_path, download=True)


def test_downloading_the_shipped_cut_is_refused():
    with pytest.raises(ValueError, match="full=True"):
        data.load(download=True)


def test_full_sets_lie_in_the_cache_folder_by_default(tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    train, _ = write("mnist", tmp_path / "deepdrift", monkeypatch)
    assert len(data.load("mnist").fit) == len(train)


@pytest.mark.parametrize(
    ("module", "name"), [("torchvision.datasets", "mnist"), ("scipy.io", "svhn")]
)
def test_missing_packages_name_the_extra_and_the_cut_does_not_need_them(
    module, name, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"deepdrift\[lab\]"):
        data.load(name, root=tmp_path)
    assert len(data.load().fit) == 4000
