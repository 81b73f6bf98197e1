"""Bad input: a clear error that names the remedy, no hook left behind, nothing learned lost."""

import json

import pytest
import torch
import zoo
from safetensors.torch import save_file
from torch import nn

from deepdrift import (
    CalibrationError,
    DeepDriftError,
    DeepDriftMonitor,
    DeepDriftVision,
    ForwardError,
    LayerNotFoundError,
    NotFittedError,
    ReferenceFileError,
    StateError,
    record,
)

ANIMAL = zoo.BY_NAME["perceptron"]
LAYERS = ["1", "3", "5"]


@pytest.fixture
def monitor():
    model = ANIMAL.build()
    with DeepDriftMonitor(model, LAYERS) as made:
        made.calibrate(ANIMAL.loader(84, 28))
        yield made
    assert zoo.count_hooks(model) == 0


@pytest.fixture
def nothing_lost(monitor):
    """Afterwards the monitor must score exactly as before."""
    x = ANIMAL.draw(9, seed=4)
    before, calibration = monitor.read(x), monitor.calibration
    yield monitor
    after = monitor.read(x)
    assert monitor.calibration == calibration
    assert torch.equal(after.score, before.score)
    assert torch.equal(after.p_values, before.p_values)
    assert zoo.count_hooks(monitor._network) == len(LAYERS) + 2


# Construction


@pytest.mark.parametrize("make", [DeepDriftMonitor, DeepDriftVision, record])
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"layers": ["1", "7"]}, LayerNotFoundError, "Sequential has no layer '7'; nearest names"),
        ({"layers": []}, LayerNotFoundError, "at least one layer name, got none"),
        ({"layers": [None]}, LayerNotFoundError, r"names \(str\), got None"),
        ({"pooling": "max"}, StateError, "pooling: expected one of auto.* got 'max'"),
    ],
)
def test_a_refused_construction_leaves_no_hook(make, arguments, error, words):
    model = ANIMAL.build()
    layers = arguments.get("layers", LAYERS)
    with pytest.raises(error, match=words):
        make(model, layers, arguments.get("pooling", "auto"))
    assert zoo.count_hooks(model) == 0


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n_channels": 0}, StateError, "n_channels: expected a positive number or None, got 0"),
        ({"score": "magic"}, StateError, "fused, innovation, distance, velocity, got 'magic'"),
        ({"alpha": 0.0}, CalibrationError, "alpha: expected a rate between 0 and 1, got 0.0"),
        ({"alpha": 5}, CalibrationError, "alpha: expected a rate between 0 and 1, got 5"),
        ({"layout": "BTD"}, StateError, "layout: expected 'auto' or one of ND.*got 'BTD'"),
    ],
)
def test_refused_options_leave_no_hook(options, error, words):
    model = ANIMAL.build()
    with pytest.raises(error, match=words):
        DeepDriftMonitor(model, LAYERS, **options)
    assert zoo.count_hooks(model) == 0


@pytest.mark.parametrize("model", [None, "resnet18", torch.zeros(3), nn.ReLU])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(StateError, match="model: expected a torch.nn.Module, got"):
        DeepDriftMonitor(model, LAYERS)


# Normal data


@pytest.mark.parametrize("use", ["fit", "calibrate"])
@pytest.mark.parametrize(
    ("loader", "error", "words"),
    [
        (lambda: [], CalibrationError, "loader: it gave no batch; expected batches of normal"),
        (lambda: iter(()), CalibrationError, "loader: it gave no batch"),
        (lambda: [torch.zeros(0, 6)], CalibrationError, r"at least one sample.*got \(0, 8\)"),
        (lambda: ["text"], StateError, r"batch: expected a tensor.*got str"),
        (lambda: {"x": torch.zeros(2, 6)}, StateError, "batch: expected a tensor.*got str"),
        (lambda: [torch.zeros(9, 6), torch.zeros(9, 5)], ForwardError,
         r"shape \(9, 5\).*earlier batches had samples of shape \(6,\)"),
        (lambda: [(torch.zeros(9, 6), torch.full((9,), -1))], CalibrationError,
         "labels: expected class numbers >= 0, got -1"),
        (lambda: [(torch.zeros(9, 6), torch.arange(8))], CalibrationError,
         r"labels: expected 9 integers, got torch.int64 of shape \(8,\)"),
        (lambda: [torch.full((9, 6), float("nan"))], CalibrationError,
         "layer '1': 9 of 9 normal samples hold NaN or infinity; find"),
        (lambda: [torch.full((9, 6), float("inf"))], CalibrationError, "hold NaN or infinity"),
    ],
)  # fmt: skip
def test_refused_normal_data(use, loader, error, words, nothing_lost):
    with pytest.raises(error, match=words):
        getattr(nothing_lost, use)(loader())


@pytest.mark.parametrize("n", [1, 18, 75])
def test_too_few_samples_say_how_many_are_needed(n, nothing_lost):
    words = rf"{n} normal samples cannot support .* 0.05: at least 76 are needed.*larger alpha"
    with pytest.raises(CalibrationError, match=words):
        nothing_lost.calibrate([ANIMAL.draw(n)])


def test_an_unknown_rule_is_refused(nothing_lost):
    with pytest.raises(CalibrationError, match="conformal, quantile, iqr, got 'sigma'"):
        nothing_lost.calibrate(ANIMAL.loader(84, 28), method="sigma")


def test_layers_that_change_from_batch_to_batch_are_refused():
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            x = self.a(x)
            return self.c(self.b(x) if len(x) > 4 else x)

    model = Sometimes()
    with DeepDriftMonitor(model, ["a", "b", "c"]) as monitor:
        batches = [torch.randn(90, 2), torch.randn(3, 2)]
        with pytest.raises(CalibrationError, match="got {'a': 2, 'c': 2} in batch 2; watch layers"):
            monitor.calibrate(batches)
        with pytest.raises(CalibrationError, match="in batch 2"):
            monitor.fit(batches)
        monitor.calibrate(batches[:1])
        with pytest.raises(StateError, match="got {'a': 2, 'c': 2}"):
            monitor.score(batches[1])
        assert monitor.score(batches[0]).shape == (90,)
    assert zoo.count_hooks(model) == 0


def test_inputs_of_another_size_with_flatten_are_refused():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.ReLU())
    with DeepDriftMonitor(model, ["1", "3"], "flatten") as monitor:
        with pytest.raises(CalibrationError, match="in batch 2.*does not depend on the input's"):
            monitor.calibrate([torch.randn(50, 1, 8, 8), torch.randn(50, 1, 9, 9)])
        monitor.calibrate([torch.randn(100, 1, 8, 8)])
        with pytest.raises(StateError, match="expected layers of widths.*'flatten'"):
            monitor.score(torch.randn(2, 1, 9, 9))


# Batches to score


@pytest.mark.parametrize(
    ("batch", "error", "words"),
    [
        (torch.zeros(2, 5), ForwardError,
         r"batch of shape \(2, 5\); earlier batches had samples of shape \(6,\)"),
        (torch.zeros(2, 6, dtype=torch.float64), ForwardError,
         r"of torch.float64, while the model computes in torch.float32 \(convert the batch"),
        (torch.zeros(2, 6, dtype=torch.float16), ForwardError, r"\.to\(torch.float32\)"),
        (torch.zeros(2, 6, dtype=torch.uint8), ForwardError, r"\.to\(torch.float32\)"),
        (torch.zeros(2, 6, device="meta"), ForwardError,
         r"on meta, while the model is on cpu \(move the batch with .to\('cpu'\)\)"),
        (torch.zeros(0, 6), StateError, "batch: expected at least one sample, got none"),
        ([], StateError, r"batch: expected a tensor.*got \(\)"),
        ("text", StateError, "batch: expected a tensor.*got str"),
        ({"wrong": torch.zeros(2, 6)}, ForwardError, "TypeError on a batch of shape .'wrong'."),
    ],
)  # fmt: skip
def test_refused_batches(batch, error, words, nothing_lost):
    for use in (nothing_lost.score, nothing_lost.p_values, nothing_lost.read):
        with pytest.raises(error, match=words):
            use(batch)


def test_a_model_that_raises_is_quoted(nothing_lost):
    def fail(*_):
        raise ZeroDivisionError("the model's own mistake")

    handle = nothing_lost._network[4].register_forward_pre_hook(fail)
    for use in (nothing_lost.score, lambda x: nothing_lost.calibrate([x])):
        with pytest.raises(ForwardError, match="ZeroDivisionError.*the model's own mistake") as got:
            use(torch.zeros(2, 6))
        assert isinstance(got.value.__cause__, ZeroDivisionError)
    handle.remove()


def test_scoring_and_saving_before_calibration(tmp_path):
    with DeepDriftMonitor(ANIMAL.build(), LAYERS) as monitor:
        for use in (monitor.score, monitor.p_values, monitor.read):
            with pytest.raises(NotFittedError, match=r"call calibrate\(loader\)"):
                use(ANIMAL.draw(2))
        with pytest.raises(
            NotFittedError, match=r"call fit\(loader\) or calibrate\(loader\) first"
        ):
            monitor.save(tmp_path / "r")
        with pytest.raises(NotFittedError, match=r"call fit\(loader\) or calibrate"):
            _ = monitor.reference
        with pytest.raises(StateError, match="run the model first"):
            monitor.get_spatial_velocity()
    assert list(tmp_path.iterdir()) == []


def test_velocity_across_widths_must_be_asked_for():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    with DeepDriftMonitor(model, ["0", "1"]) as monitor:
        model(torch.zeros(1, 2))
        with pytest.raises(StateError, match="width 3 and '1' width 4.*across_widths='norm'"):
            monitor.get_spatial_velocity()


# Reference files


def refuse(monitor, path, words="path: "):
    with pytest.raises(ReferenceFileError, match=words):
        monitor.load(path)


def test_a_missing_file_and_a_folder(nothing_lost, tmp_path):
    refuse(nothing_lost, tmp_path / "none", "no file .*none.*save a calibrated monitor first")
    refuse(nothing_lost, tmp_path, "no file")


@pytest.mark.parametrize("content", [b"", b"not a reference\n", b"\x80\x04.", b"\xff" * 64])
def test_files_of_another_kind(content, nothing_lost, tmp_path):
    (tmp_path / "r").write_bytes(content)
    refuse(nothing_lost, tmp_path / "r", "damaged or no safetensors file.*calibrate and save again")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "found 'no deepdrift header'"),
        ({"deepdrift": "{}"}, "expected 'deepdrift-reference-3', found None"),
        ({"deepdrift": "{"}, "damaged or no safetensors"),
        ({"deepdrift": json.dumps({"format": "deepdrift-reference-9"})}, "deepdrift-reference-9"),
        ({"deepdrift": json.dumps({"format": "deepdrift-reference-3"})}, "checksum"),
    ],
)
def test_safetensors_files_of_others(metadata, words, nothing_lost, tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "r", metadata=metadata)
    refuse(nothing_lost, tmp_path / "r", words)


def test_every_kind_of_damage_is_noticed(nothing_lost, tmp_path):
    nothing_lost.save(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    changed = tmp_path / "changed"
    for size in (1, 7, 8, header // 2, header, header + 1, len(whole) // 2, len(whole) - 1):
        changed.write_bytes(whole[:size])
        refuse(nothing_lost, changed)
    changed.write_bytes(whole + b"\0")
    refuse(nothing_lost, changed)
    places = [*range(0, header, 5), *range(header, len(whole), 487), len(whole) - 1]
    for place in places:  # also the stated alpha, the rule, the names of layers
        damaged = bytearray(whole)
        damaged[place] ^= 1
        changed.write_bytes(damaged)
        refuse(nothing_lost, changed)


def test_an_interrupted_save_keeps_the_old_file(nothing_lost, tmp_path, monkeypatch):
    nothing_lost.save(tmp_path / "r")
    before = (tmp_path / "r").read_bytes()

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(ReferenceFileError, match="cannot write.*no space left"):
        nothing_lost.save(tmp_path / "r")
    assert (tmp_path / "r").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_all_errors_are_ours_and_also_the_builtin_one_expects():
    for error, builtin in [
        (LayerNotFoundError, ValueError),
        (StateError, RuntimeError),
        (ForwardError, RuntimeError),
        (NotFittedError, RuntimeError),
        (CalibrationError, ValueError),
        (ReferenceFileError, ValueError),
    ]:
        assert issubclass(error, DeepDriftError)
        assert issubclass(error, builtin)
