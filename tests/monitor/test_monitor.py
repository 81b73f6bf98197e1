"""DeepDriftMonitor on every network of the zoo: scores, promises, and what it keeps."""

import functools
import gc
import math

import numpy as np
import pytest
import torch
import zoo
from scipy import stats
from torch import nn
from torchvision.models import vit_b_16

from deepdrift import (
    CalibrationError,
    DeepDriftMonitor,
    NotFittedError,
    ReferenceFileError,
    StateError,
)
from deepdrift.lab import data
from deepdrift.monitor.reference import Reference

N = 84  # calibration samples: 4 x 19 are the fewest for alpha = 0.05
every_animal = pytest.mark.parametrize("animal", zoo.ZOO, ids=zoo.NAMES)


def watch(animal, model=None, **options):
    model = animal.build() if model is None else model
    return DeepDriftMonitor(model, animal.layers, animal.pooling, **options)


@functools.cache
def calibrated(name):
    """A monitor that tests only read from."""
    animal = zoo.BY_NAME[name]
    monitor = watch(animal)
    monitor.calibrate(animal.loader(N, 28))
    return monitor


def assert_same_reading(a, b):
    """Equal up to the rounding of another batch size: one rank of the conformal p-values."""
    for block in a.blocks:
        torch.testing.assert_close(a.blocks[block], b.blocks[block], rtol=2e-3, atol=1e-4)
    torch.testing.assert_close(a.p_values, b.p_values, rtol=0, atol=1.01 / (N // 4 + 1))


# One score per sample


@every_animal
def test_copies_of_a_sample_score_like_the_sample(animal):
    monitor = calibrated(animal.name)
    batch = animal.draw(3)
    one = monitor.read(animal.take(batch, [1]))
    five = monitor.read(animal.take(batch, [1] * 5))
    assert five.score.shape == five.p_values.shape == five.flagged.shape == (5,)
    assert five.score.dtype == torch.float64
    for i in range(5):
        for block in one.blocks:
            torch.testing.assert_close(
                five.blocks[block][i], one.blocks[block][0], rtol=2e-3, atol=1e-4
            )
    assert len(set(five.p_values.tolist())) == 1


@every_animal
def test_permuting_the_batch_permutes_the_scores(animal):
    monitor, batch = calibrated(animal.name), animal.draw(6)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    plain, mixed = monitor.read(batch), monitor.read(animal.take(batch, order))
    for block in plain.blocks:
        torch.testing.assert_close(
            mixed.blocks[block], plain.blocks[block][order], rtol=2e-3, atol=1e-4
        )
    torch.testing.assert_close(mixed.p_values, plain.p_values[order], rtol=0, atol=0.05)
    assert len(plain.score.unique()) > 1


@every_animal
def test_the_size_of_calibration_batches_does_not_matter(animal):
    results, readings = [], []
    for size in (1, 7, 64):
        with watch(animal) as monitor:
            results.append(monitor.calibrate(animal.loader(N, size)))
            readings.append(monitor.read(animal.draw(5)))
    for other, reading in zip(results[1:], readings[1:], strict=True):
        assert other.n_samples == results[0].n_samples == N // 4
        assert other.threshold == pytest.approx(results[0].threshold, rel=0.05)
        assert_same_reading(readings[0], reading)


def test_exactly_the_same_threshold_where_arithmetic_is_exact():
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.ReLU())  # no rounding in any batch size
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    found = set()
    for size in (1, 7, 64, 200):
        with DeepDriftMonitor(model, ["0", "1", "2"]) as monitor:
            calibration = monitor.calibrate(x.split(size))
            found.add((calibration.threshold, *monitor.p_values(x[:9]).tolist()))
    assert len(found) == 1


@every_animal
def test_a_second_read_is_the_first(animal):
    monitor = calibrated(animal.name)
    score = monitor.score(animal.draw(3))
    assert torch.equal(monitor.score(), score)
    assert torch.equal(monitor.score(), score)


def test_the_monitor_reads_the_users_own_pass():
    animal = zoo.BY_NAME["perceptron"]
    monitor = calibrated("perceptron")
    x = animal.draw(4, seed=9)
    expected = monitor.score(x)
    monitor.score(animal.draw(2))
    monitor._network(x)
    assert torch.equal(monitor.score(), expected)


def test_autocast_around_the_call_does_not_round_the_scores():
    animal = zoo.BY_NAME["perceptron"]
    with watch(animal, n_channels=5) as monitor:
        monitor.calibrate(animal.loader(N, 28))
        monitor._network(animal.draw(4))
        expected = monitor.read().blocks
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states, blocks = monitor.states(), monitor.read().blocks
    assert {v.dtype for v in states.values()} == {torch.float32}
    assert all(torch.equal(blocks[k], expected[k]) for k in expected)


# The published call


def test_vit_b_16_as_in_the_published_readme():
    with torch.device("meta"):
        model = vit_b_16()
    model.to_empty(device="cpu").eval()
    g = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.02, generator=g)
    monitor = DeepDriftMonitor(
        model, layer_names=["encoder.layers.5", "encoder.layers.11"], pooling="cls"
    )
    x = torch.randn(2, 3, 224, 224, generator=g)
    with torch.no_grad():
        model(x)
    velocities = monitor.get_spatial_velocity()
    peak = max(velocities)
    with zoo.plain_outputs(model, monitor.layers) as outputs, torch.no_grad():
        model(x)
    fifth, eleventh = (o[:, 0].double().numpy() for o in outputs)
    by_hand = np.sqrt(((eleventh - fifth) ** 2).sum(axis=1))
    assert by_hand.min() > 0
    np.testing.assert_allclose(peak, by_hand.mean(), rtol=1e-5)
    np.testing.assert_allclose(velocities.per_sample[:, 0].numpy(), by_hand, rtol=1e-5)
    assert len(velocities) == 1
    monitor.close()
    assert zoo.count_hooks(model) == 0


def test_temporal_velocity_is_the_way_between_two_passes():
    model = nn.Sequential(nn.Identity(), nn.Flatten())
    with DeepDriftMonitor(model, ["0", "1"]) as monitor:
        model(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
        assert monitor.get_temporal_velocity().isnan().all()
        model(torch.tensor([[3.0, 4.0], [1.0, 1.0]]))
        assert monitor.get_temporal_velocity().tolist() == [5.0, 0.0]
        assert monitor.get_temporal_velocity().tolist() == [5.0, 0.0]
        model(torch.zeros(3, 2))
        with pytest.raises(StateError, match=r"\(2, 2\).*got \(3, 2\).*reset_temporal"):
            monitor.get_temporal_velocity()
        monitor.reset_temporal()
        model(torch.zeros(3, 2))
        assert monitor.get_temporal_velocity().isnan().all()


def test_projection_keeps_identical_layers_identical():
    model = nn.Sequential(nn.Identity(), nn.Flatten())
    with DeepDriftMonitor(model, ["0", "1"], n_channels=5) as monitor:
        model(torch.randn(4, 200))
        assert monitor.states()["0"].shape == (4, 5)
        assert monitor.get_spatial_velocity() == [0.0]  # different channels per layer gave 7.2


def test_layers_on_several_devices_are_read_on_the_first():
    class Spread(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2, device="meta"), nn.Linear(2, 2)

        def forward(self, x):
            self.a(x.to("meta"))
            return self.b(x)

    model = Spread()
    with DeepDriftMonitor(model, ["a", "b"]) as monitor:
        model(torch.zeros(3, 2))
        assert [v.device.type for v in monitor.states().values()] == ["meta", "meta"]


# NaN and infinity


UNBOUNDED = ("perceptron", "resnet18", "vit", "float16")  # infinite weights, infinite states


@pytest.mark.parametrize(
    ("name", "bad"),
    [(name, float("nan")) for name in zoo.NAMES] + [(name, float("inf")) for name in UNBOUNDED],
)
def test_a_bad_weight_is_never_healthy(name, bad):
    animal = zoo.BY_NAME[name]
    model = animal.build()
    with watch(animal, model) as monitor:
        monitor.calibrate(animal.loader(N, 28))
        first = next(p for p in model.parameters() if p.dtype.is_floating_point)
        if animal.name == "backwards":  # where definition order is not execution order
            first = model.block0[0].weight
        with torch.no_grad():
            first.fill_(bad)
        reading = monitor.read(animal.draw(2))
    assert reading.p_values.tolist() == [0.0, 0.0]
    assert reading.score.tolist() == [float("inf")] * 2
    assert reading.flagged.all()
    assert reading.invalid_layers[0] == animal.states[0]
    assert set(reading.invalid_layers) <= set(animal.states)
    assert "INVALID" in str(reading)
    assert reading.most_unusual == animal.states[0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", [animal.name for animal in zoo.ZOO if not animal.tokens])
def test_a_bad_input_spoils_its_own_sample_only(name, bad):
    animal, monitor = zoo.BY_NAME[name], calibrated(name)
    batch = animal.draw(3)
    before = monitor.read(batch)
    batch.movedim(animal.sample_axis, 0)[1] = bad
    reading = monitor.read(batch)
    if math.isnan(bad) or reading.invalid_layers:
        assert reading.p_values[1] == 0
        assert reading.score[1] == float("inf")
        assert reading.flagged[1]
        assert set(reading.invalid_layers) <= set(animal.states)
    else:  # an LSTM bounds an infinity: then the numbers decide
        assert name.startswith("lstm")
    for i in (0, 2):
        assert reading.p_values[i] == pytest.approx(before.p_values[i].item(), abs=0.05)
        assert torch.isfinite(reading.score[i])


@pytest.mark.parametrize("score", ["fused", "innovation", "distance", "velocity"])
def test_a_nan_that_later_layers_hide_is_found(score):
    class Hiding(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Identity(), nn.Identity(), nn.Identity()

        def forward(self, x):
            return self.c(self.b(self.a(x).nan_to_num(0.0, 0.0, 0.0)))

    g = torch.Generator().manual_seed(0)
    with DeepDriftMonitor(Hiding(), ["a", "b", "c"], score=score) as monitor:
        monitor.calibrate(torch.randn(200, 3, generator=g).split(50))
        for bad in (float("nan"), float("inf"), -float("inf")):
            reading = monitor.read(torch.tensor([[0.0, 0.1, 0.0], [0.0, bad, 0.0]]))
            assert reading.invalid_layers == ("a",)
            assert reading.p_values[1] == 0
            assert reading.score[1] == float("inf")
            assert reading.flagged[1]
            assert reading.p_values[0] > 0
            assert torch.isfinite(reading.score[0])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("use", ["fit", "calibrate"])
def test_normal_data_with_nan_are_refused_and_nothing_is_lost(use, bad):
    animal = zoo.BY_NAME["perceptron"]
    x = animal.draw(4)
    with watch(animal) as monitor:
        monitor.calibrate(animal.loader(N, 28))
        before, calibration = monitor.read(x), monitor.calibration
        spoilt = animal.draw(100)
        spoilt[77, 2] = bad
        with pytest.raises(CalibrationError, match="layer '1': 1 of 50 normal samples hold NaN"):
            getattr(monitor, use)(spoilt.split(50))
        assert monitor.calibration == calibration
        assert torch.equal(monitor.score(x), before.score)
    assert zoo.count_hooks(monitor._network) == 0


# Nothing stays behind


@every_animal
def test_no_hook_stays_behind(animal):
    model = animal.build()
    with watch(animal, model) as monitor:
        zoo.call(model, animal.draw(2))
        assert list(monitor.states()) == list(animal.states)
    assert zoo.count_hooks(model) == 0
    with pytest.raises(StateError, match="it is closed"):
        monitor.states()
    monitor.close()
    monitor = watch(animal, model)
    monitor.calibrate(animal.loader(N, 28))
    model.keeper = monitor  # a reference cycle through the model
    del model.keeper, monitor
    gc.collect()
    assert zoo.count_hooks(model) == 0


def test_a_discarded_model_takes_its_monitor_along():
    model = zoo.perceptron()
    model.keeper = DeepDriftMonitor(model, ["1", "3"])
    recorder = model.keeper._recorder
    finalizer = recorder._finalizer
    del model, recorder
    gc.collect()
    assert not finalizer.alive


def test_a_monitor_of_a_compiled_model_scores_and_says_when_it_cannot_listen():
    animal = zoo.BY_NAME["perceptron"]
    model, x = animal.build(), animal.draw(3)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    with watch(animal, compiled) as monitor:
        monitor.calibrate(animal.loader(N, 28))
        score = monitor.score(x)
        compiled(x)
        with pytest.raises(StateError, match="before its first compiled call"):
            monitor.score()
        assert torch.equal(monitor.score(x), score)
    assert torch.equal(score, calibrated("perceptron").score(x))
    torch._dynamo.reset()


def test_a_model_compiled_in_place_is_scored():
    animal = zoo.BY_NAME["perceptron"]
    model, x = animal.build(), animal.draw(3)
    torch._dynamo.reset()
    model.compile(backend="eager")
    model(x)
    with watch(animal, model) as monitor:
        monitor.calibrate(animal.loader(N, 28))
        assert torch.equal(monitor.score(x), calibrated("perceptron").score(x))
    torch._dynamo.reset()


# Saving, loading, merging


@every_animal
def test_a_saved_reference_gives_identical_scores_in_a_new_monitor(animal, tmp_path):
    monitor, batch = calibrated(animal.name), animal.draw(5)
    expected = monitor.read(batch)
    monitor.save(tmp_path / "reference.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["reference.safetensors"]
    with watch(animal) as new:
        new.load(tmp_path / "reference.safetensors")
        reading = new.read(batch)
        assert new.calibration == monitor.calibration
    assert torch.equal(reading.score, expected.score)
    assert torch.equal(reading.p_values, expected.p_values)
    assert torch.equal(reading.flagged, expected.flagged)


@pytest.mark.parametrize("method", ["conformal", "quantile", "iqr"])
@pytest.mark.parametrize("score", ["fused", "innovation", "distance", "velocity"])
def test_every_score_and_rule_survives_saving(score, method, tmp_path):
    animal = zoo.BY_NAME["perceptron"]
    with watch(animal, score=score, alpha=0.1) as old, watch(animal, score=score) as new:
        old.calibrate(animal.loader(N, 28), method=method)
        old.save(tmp_path / "r")
        new.load(tmp_path / "r")
        assert new.alpha == 0.1
        assert new.calibration == old.calibration
        x = animal.draw(40, seed=8)
        assert torch.equal(new.score(x), old.score(x))
        assert torch.equal(new.read(x).flagged, old.read(x).flagged)


def test_a_projection_is_the_same_in_every_process(tmp_path):
    animal = zoo.BY_NAME["perceptron"]
    scores = []
    for seed in (1, 2):
        torch.manual_seed(seed)  # noqa: TID251 - what a user's script does
        before = torch.get_rng_state()
        with watch(animal, n_channels=3) as monitor:
            if seed == 1:
                monitor.calibrate(animal.loader(N, 28))
                monitor.save(tmp_path / "r")
            else:
                monitor.load(tmp_path / "r")
            scores.append(monitor.score(animal.draw(5)))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(scores[0], scores[1])


def half(out):
    """A pooling function: the first four channels."""
    return out[:, :4]


def test_a_pooling_function_is_recognised_by_its_name(tmp_path):
    animal = zoo.BY_NAME["perceptron"]
    with DeepDriftMonitor(animal.build(), ["1", "3"], half) as monitor:
        monitor.calibrate(animal.loader(N, 28))
        monitor.save(tmp_path / "r")
    assert "0x" not in Reference.load(tmp_path / "r")[0].fingerprint.pooling
    with (
        DeepDriftMonitor(animal.build(), ["1", "3"], lambda o: o[:, :4]) as other,
        pytest.raises(ReferenceFileError, match="pooling .*found 'half'"),
    ):
        other.load(tmp_path / "r")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer_names": ["1", "5"]}, r"layers \(expected \('1', '5'\), found \('1', '3'\)\)"),
        ({"pooling": "flatten"}, r"pooling \(expected 'flatten', found 'auto'\)"),
        ({"n_channels": 3}, r"n_channels \(expected 3, found None\)"),
        ({"score": "distance"}, r"score \(expected 'distance', found 'fused'\)"),
        ({"layout": "NTD"}, r"pooling \(expected 'auto, layout NTD', found 'auto'\)"),
        ({"model": nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 8), nn.ReLU(), nn.ReLU())},
         r"parameters \(expected \(72, 0\), found \(0, 0\)\)"),
    ],
)  # fmt: skip
def test_a_reference_of_another_monitor_is_refused_with_the_difference(options, words, tmp_path):
    animal = zoo.BY_NAME["perceptron"]
    with DeepDriftMonitor(animal.build(), ["1", "3"]) as monitor:
        monitor.calibrate(animal.loader(N, 28))
        monitor.save(tmp_path / "r")
    arguments = {"model": animal.build(), "layer_names": ["1", "3"]} | options
    with DeepDriftMonitor(**arguments) as other:
        if "model" in options:
            other._network(animal.draw(1))
        with pytest.raises(ReferenceFileError, match=words):
            other.load(tmp_path / "r")
        with pytest.raises(NotFittedError):
            other.score(animal.draw(1))


def test_widths_that_differ_are_named(tmp_path):
    narrow = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
    animal = zoo.BY_NAME["perceptron"]
    with DeepDriftMonitor(animal.build(), ["1", "3"]) as monitor:
        monitor.calibrate(animal.loader(N, 28))
        monitor.save(tmp_path / "r")
    with DeepDriftMonitor(narrow, ["1", "3"]) as other:
        narrow(animal.draw(1))
        with pytest.raises(ReferenceFileError, match=r"widths \(expected \(4, 4\), found \(8, 8"):
            other.load(tmp_path / "r")


@pytest.mark.parametrize("name", ["perceptron", "conv1d", "language-model"])
def test_references_of_two_shards_merge_into_the_one_of_all(name):
    animal = zoo.BY_NAME[name]
    first, second = list(animal.loader(60, 20, 5)), list(animal.loader(90, 30, 6))
    parts = []
    for shard in (first, second, first + second):
        with watch(animal) as monitor:
            parts.append(monitor.fit(shard).reference)
    merged = parts[0].merge(parts[1])
    readings = []
    for reference in (merged, parts[2]):
        with watch(animal) as monitor:
            monitor.reference = reference
            monitor.calibrate(animal.loader(N, 28, 7))
            readings.append(monitor.read(animal.draw(6)))
    for block in readings[0].blocks:
        torch.testing.assert_close(
            readings[0].blocks[block], readings[1].blocks[block], rtol=1e-5, atol=1e-6
        )
    torch.testing.assert_close(readings[0].score, readings[1].score, rtol=1e-8, atol=1e-8)


def test_calibration_scores_are_pooled_over_workers(tmp_path):
    animal = zoo.BY_NAME["perceptron"]
    with watch(animal) as monitor:
        monitor.fit(animal.loader(60, 20, 5)).calibrate(animal.loader(50, 25, 6))
        monitor.save(tmp_path / "one")
        sums = monitor.reference
        monitor.calibrate(animal.loader(70, 35, 7))
        pooled = Reference.load(tmp_path / "one")[0].merge(monitor.reference)
        assert len(sums.calibration["second.distance"]) == 25
        monitor.reference = pooled
        assert monitor.calibration.n_samples == 25 + 35
        pooled.save(tmp_path / "pooled")  # a reference that no monitor has written
    with watch(animal, alpha=0.2) as other:
        other.load(tmp_path / "pooled")
        assert other.calibration.n_samples == 60
        assert other.alpha == 0.2


def test_another_alpha_does_not_make_a_fit_of_its_own_a_fit_apart():
    animal = zoo.BY_NAME["perceptron"]
    with watch(animal) as monitor, watch(animal, alpha=0.1) as fresh:
        monitor.calibrate(animal.loader(N, 28, 5))
        monitor.alpha = 0.1
        for part in (monitor, fresh):  # the same data again must not be scored by its own fit
            part.calibrate(animal.loader(N, 28, 5))
        assert monitor.calibration == fresh.calibration
        assert monitor.calibration.n_fit == N // 2


# The promise


def test_iqr_threshold_is_tukeys_fence_of_the_scores():
    animal = zoo.BY_NAME["perceptron"]
    with watch(animal) as monitor:
        calibration = monitor.calibrate(animal.loader(400, 100), method="iqr")
        scores = monitor._scorer._fusion.normal_scores.numpy()
        q1, q3 = np.percentile(scores, [25, 75])
        assert len(scores) == calibration.n_samples == 100
        assert calibration.threshold == pytest.approx(q3 + 1.5 * (q3 - q1), rel=1e-12)
        assert calibration["threshold"] == calibration.iqr_threshold
        reading = monitor.read(animal.draw(300, 4))
        assert torch.equal(reading.flagged, reading.score > calibration.threshold)


def test_velocity_scores_are_the_peak_and_are_judged_on_both_sides():
    model = nn.Sequential(nn.Identity(), nn.Linear(1, 1, bias=False), nn.Flatten())
    model[1].weight.data.fill_(2.0)
    x = 10 + torch.randn(199, 1, generator=torch.Generator().manual_seed(0))
    with DeepDriftMonitor(model, ["0", "1"], score="velocity") as monitor:
        calibration = monitor.calibrate(x.split(50))
        reading = monitor.read(torch.tensor([[10.0], [90.0], [0.0]]))
        assert calibration.n_samples == 199
        assert reading.score.tolist() == [10.0, 90.0, 0.0]  # |2 x - x|
        assert reading.flagged.tolist() == [False, True, True]  # a dead sensor shrinks it
        assert reading.p_values.tolist()[1:] == [2 / 200, 2 / 200]


@pytest.mark.parametrize("score", ["fused", "velocity"])
@pytest.mark.parametrize("size", [1, 64])
def test_false_alarms_on_unseen_fashion_images_are_what_was_promised(score, size):
    model, cut = data.load_network("cnn"), data.load("fashion-mnist")
    calibration = cut.calibration.images[: 400 if size == 1 else None]
    unseen = cut.test.images[: 600 if size == 1 else None]
    options = {"score": score, "across_widths": "norm", "alpha": 0.05}
    with DeepDriftMonitor(model, data.NETWORK_LAYERS["cnn"], **options) as monitor:
        n = monitor.calibrate(calibration.split(size)).n_samples
        flagged = torch.cat([monitor.read(batch).flagged for batch in unseen.split(size)])
    # given the calibration set the rate is Beta distributed, the count over images Beta-binomial
    ranks = math.floor(0.05 * (n + 1)) if score == "fused" else 2 * math.floor(0.025 * (n + 1))
    law = stats.betabinom(len(unseen), ranks, n + 1 - ranks)
    low, high = law.interval(0.999)
    assert low <= int(flagged.sum()) <= high


def test_the_promise_holds_on_average_over_calibration_sets():
    model, cut = data.load_network("cnn"), data.load("fashion-mnist")
    flagged = []
    with DeepDriftMonitor(model, data.NETWORK_LAYERS["cnn"]) as monitor:
        monitor.fit(cut.fit.images[:1000].split(250))
        for part, batch in zip(
            cut.calibration.images.split(150), cut.test.images.split(150), strict=True
        ):
            monitor.calibrate(part.split(50))  # 75 samples judge: few, yet the promise holds
            flagged.append(int(monitor.read(batch).flagged.sum()))
    law = stats.betabinom(150, 3, 73)  # floor(0.05 x 76) = 3 ranks of 76
    mean, spread = law.mean(), law.std() / math.sqrt(len(flagged))
    assert len(flagged) == 20
    assert abs(sum(flagged) / 20 - mean) < 4 * spread
