"""Other number types, devices, steps and sizes.

`step=` and `steps=` take numbers, `datetime`, `numpy.datetime64` and `pandas.Timestamp`;
a gap counts in typical step lengths, so that the states of ``step=60 * i`` are those of ``step=i``
(with ``theta_slope=0``: the unit of a slope is left open). The default device is tested with
``meta``, on which every tensor made without a device is useless.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
import torch
from field_models import build, call, fitted, randint, randn, same
from torch import Tensor, nn

from deepdrift import (
    DIME,
    CalibrationError,
    DeepDriftError,
    DeepDriftMonitor,
    DriftObserver,
    Innovation,
    KSDrift,
    LayerDistance,
    MMDDrift,
    ObserverConfig,
    ObserverError,
    State,
    StateScorer,
    collect,
    list_layers,
    replay,
)

# Default number types and devices


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def mlp(width: int = 8) -> nn.Module:
    return build(
        lambda: nn.Sequential(
            nn.Linear(6, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3)
        )
    )


def labelled(n: int, seed: int) -> tuple[Tensor, Tensor]:
    return randn(n, 6, seed=seed).float(), torch.arange(n, device="cpu") % 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("n_channels", [None, 4])
def test_another_default_dtype_changes_no_number(dtype, n_channels):
    """ "expected m1 and m2 to have the same dtype" with n_channels."""
    net, batches = mlp(), {s: labelled(40, s) for s in range(100, 103)}
    batches |= {s: labelled(40, s) for s in range(200, 203)} | {1: labelled(30, 1)}

    def reading() -> Any:
        monitor = fitted(net, lambda n, s: batches[s], n_channels=n_channels)
        status, _ = monitor.step(batches[1])
        return monitor.read(batches[1]), status.fused["drift"]

    right, drift = reading()
    with default_dtype(dtype):
        got, same_drift = reading()
    assert got.score.dtype == got.p_values.dtype == torch.float64
    same(got.score, right.score, rtol=1e-9, atol=1e-9)
    same(got.p_values, right.p_values, rtol=0, atol=1e-12)
    assert torch.equal(got.flagged, right.flagged)
    assert same_drift == pytest.approx(drift, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_tests_and_planes_under_another_default_dtype(dtype):
    """KS, MMD, DIME, the parts of a monitor."""
    x, y = randn(60, 3), randn(40, 3, seed=1) + 1

    def numbers() -> list[float]:
        return [
            MMDDrift(x).test(y).p_value,
            MMDDrift(x).test(y).distance,
            KSDrift(x).test(y).p_value,
            float(DIME(2).fit(x).distance_to_hyperplane(y).sum()),
            float(LayerDistance().fit({"a": x}).score({"a": y}).sum()),
            float(Innovation().fit({"a": x, "b": x.flip(1)}).score({"a": y, "b": y}).sum()),
        ]

    right = numbers()
    with default_dtype(dtype):
        got = numbers()
    assert got == pytest.approx(right, rel=1e-9)


def test_a_float64_network_is_watched():
    """The model itself in float64."""
    with default_dtype(torch.float64):
        net = mlp()
        monitor = fitted(net, lambda n, s: randn(n, 6, seed=s), n_channels=4)
        reading = monitor.read(torch.cat([randn(20, 6, seed=5), 100 * randn(4, 6, seed=6)]))
    assert bool(reading.flagged[20:].all()) and reading.flagged[:20].float().mean() < 0.3


# `torch.device(...)` as a context is the default device until its end; set_default_device would
# leave a function mode behind, which switches the fast path of attention off.


@pytest.mark.parametrize("n_channels", [None, 4])
@pytest.mark.parametrize("learn", ["fit and calibrate", "calibrate"])
def test_another_default_device_changes_no_number(n_channels, learn, tmp_path):
    """Tensors made on the default device in nine places."""
    net, batches = mlp(), [labelled(40, s) for s in range(6)]
    x, zeros = labelled(30, 9), torch.zeros(8, 6)

    def everything(name: str) -> list[Tensor]:
        monitor = DeepDriftMonitor(net, n_channels=n_channels)
        if learn == "calibrate":
            monitor.calibrate(batches)
        else:
            monitor.fit(batches[:3])
            monitor.calibrate(batches[3:])
        monitor.save(tmp_path / name)
        again = DeepDriftMonitor(net, n_channels=n_channels).load(tmp_path / name)
        reading, drift = monitor.read(x), monitor.drift(x)
        monitor.step(x), monitor.diagnose(x, probe=zeros)
        return [reading.score, reading.p_values, *drift, again.read(x).p_values]

    right = everything("a.safetensors")
    with torch.device("meta"):
        got = everything("b.safetensors")
    for here, there in zip(got, right, strict=True):
        assert here.device.type == "cpu"
        same(here, there, rtol=1e-9, atol=1e-9)


def test_the_rest_under_another_default_device():
    """Tests, planes, recording, collecting."""
    net, x, y = mlp(), randn(60, 6), randn(40, 6, seed=1) + 1
    labels = torch.arange(60) % 3

    def numbers() -> list[float]:
        scorer = StateScorer()
        scorer.calibrate({"a": torch.cat([x, x + 1, y]), "b": torch.cat([x.flip(1), y, x - 1])})
        return [
            MMDDrift(x).test(y).p_value,
            KSDrift(x).test(y).p_value,
            MMDDrift(x, feature_map=net, layer="3").test(y).p_value,
            float(DIME(2).fit(x).distance_to_hyperplane(y).sum()),
            float(LayerDistance().fit({"a": x}, labels).score({"a": y}).sum()),
            float(Innovation().fit({"a": x, "b": x.flip(1)}).score({"a": y, "b": y}).sum()),
            float(scorer.read({"a": y, "b": y}).score.sum()),
            float(collect(net, x, ["3"]).states["3"].sum()),
            float(len(list_layers(net, x))),
        ]

    right = numbers()
    with torch.device("meta"):
        got = numbers()
    assert got == pytest.approx(right, rel=1e-9)


# Steps and timestamps


def test_a_value_of_nine_every_minute_raises_an_alert():
    """No ALERT through 100 readings; right: from the third value on."""
    observer = DriftObserver(ObserverConfig(raise_after=3))
    states = [observer.update(9.0, step=60 * i).state for i in range(100)]
    assert states[:2] == [State.NORMAL] * 2
    assert set(states[2:]) == {State.ALERT}


def stream(n: int = 120) -> list[float]:
    """Noise, then a slow ramp: what an early warning is for."""
    g = np.random.default_rng(3)
    return [float(v + max(0.0, (i - 60) * 0.04)) for i, v in enumerate(g.normal(0, 0.4, n))]


DETECTORS = ["slope", "ewma", "cusum", "page-hinkley"]


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("length", [60, 100, 0.001])
def test_states_do_not_depend_on_the_unit_of_the_steps(detector, length):
    """ "no slope, EWMA, CUSUM or PH warning ever"; all four detectors."""
    config = ObserverConfig(detector=detector, theta_slope=0.0, raise_after=3)
    plain, far = DriftObserver(config), DriftObserver(config)
    values = stream()
    right = [plain.update(v).state for v in values]
    got = [far.update(v, step=length * i).state for i, v in enumerate(values)]
    assert State.WARNING in right
    assert got == right


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_replay_with_far_steps_is_what_the_observer_said(detector):
    """Replay(steps=)."""
    config = ObserverConfig(detector=detector, theta_slope=0.0, raise_after=3)
    values, observer = stream(), DriftObserver(config)
    right = replay(values, config).states.tolist()
    trace = replay(values, config, steps=[60 * i for i in range(len(values))])
    assert trace.states.tolist() == right
    live = [observer.update(v, step=60 * i).state for i, v in enumerate(values)]
    assert trace.states.tolist() == [str(s) for s in live]


def test_a_monitor_counts_its_users_steps():
    """Monitor.step(batch, step=global_step) with drift 22.7: 0 alerts in 30."""
    net = mlp()
    config = ObserverConfig(raise_after=3)
    monitor = fitted(net, lambda n, s: randn(n, 6, seed=s), drift_config=config)
    states = []
    for i in range(10):
        status, _ = monitor.step(100 * randn(16, 6, seed=i), step=100 * i)
        states.append(status.fused["state"])
    assert states == [State.NORMAL] * 2 + [State.ALERT] * 8


@pytest.mark.parametrize("length", [1, 60])
def test_a_real_gap_still_starts_afresh(length):
    """A gap counted in typical step lengths is still a gap."""
    observer = DriftObserver(ObserverConfig(raise_after=3, window_size=20, theta_slope=1e9))
    for i in range(30):
        observer.update(0.0, step=length * i)
    observer.update(9.0, step=length * 30), observer.update(9.0, step=length * 31)
    start = length * 2000
    states = [observer.update(9.0, step=start + length * i).state for i in range(4)]
    assert states == [State.NORMAL, State.NORMAL, State.ALERT, State.ALERT]


@pytest.mark.parametrize("length", [1, 60])
def test_a_few_missing_steps_are_no_gap(length):
    """Five of them are less than a window of 20."""
    observer = DriftObserver(ObserverConfig(raise_after=3, window_size=20, theta_slope=1e9))
    steps = [*range(30), 35, 36, 41]
    values = [0.0] * 30 + [9.0] * 3
    states = [observer.update(v, step=length * s).state for v, s in zip(values, steps, strict=True)]
    assert states[-1] == State.ALERT and states[-2] == State.NORMAL


def clocks(kind: str, n: int, seconds: float = 60.0) -> list[Any]:
    start = datetime(2025, 3, 1, 12)
    times = [start + timedelta(seconds=seconds * i) for i in range(n)]
    if kind == "pandas":
        pd = pytest.importorskip("pandas")
        return [pd.Timestamp(t) for t in times]
    return [np.datetime64(t) for t in times] if kind == "numpy" else times


@pytest.mark.parametrize("kind", ["datetime", "numpy", "pandas"])
@pytest.mark.parametrize("detector", DETECTORS)
def test_timestamps_are_steps(kind, detector):
    """Step=datetime.now() or a pandas Timestamp: raw TypeError."""
    config = ObserverConfig(detector=detector, theta_slope=0.0, raise_after=3)
    plain, timed = DriftObserver(config), DriftObserver(config)
    values = stream()
    right = [plain.update(v).state for v in values]
    steps = clocks(kind, len(values))
    assert [timed.update(v, step=t).state for v, t in zip(values, steps, strict=True)] == right
    assert replay(values, config, steps=steps).states.tolist() == [str(s) for s in right]


def test_a_column_of_times_replays():
    """A pandas column and index, as a log holds them."""
    pd = pytest.importorskip("pandas")
    values = stream()
    config = ObserverConfig(theta_slope=0.0)
    right = replay(values, config).states.tolist()
    times = pd.date_range("2025-03-01", periods=len(values), freq="min")
    for steps in (times, pd.Series(times), times.to_numpy()):
        assert replay(pd.Series(values), config, steps=steps).states.tolist() == right


def test_times_with_a_zone():
    """Aware times count in seconds."""
    pd = pytest.importorskip("pandas")
    times = pd.date_range("2025-03-01", periods=5, freq="min", tz="Europe/Berlin")
    observer = DriftObserver(ObserverConfig(raise_after=3))
    steps = [observer.update(9.0, step=t) for t in times]
    assert [s.state for s in steps] == [State.NORMAL] * 2 + [State.ALERT] * 3
    assert observer.events[0].step == times[2].timestamp()  # seconds, whatever the zone


def test_a_monitor_takes_times():
    """Monitor.step(step=datetime.now())."""
    config = ObserverConfig(raise_after=3)
    monitor = fitted(mlp(), lambda n, s: randn(n, 6, seed=s), drift_config=config)
    states = [
        monitor.step(100 * randn(16, 6, seed=i), step=t)[0].fused["state"]
        for i, t in enumerate(clocks("datetime", 5))
    ]
    assert states == [State.NORMAL] * 2 + [State.ALERT] * 3


@pytest.mark.parametrize("kind", ["datetime", "numpy", "pandas"])
def test_times_that_do_not_increase_are_refused(kind):
    """An ObserverError and no TypeError; also numbers after times."""
    first, second = clocks(kind, 2)
    observer = DriftObserver()
    observer.update(0.0, step=second)
    for step in (second, first, 5, "tomorrow"):
        with pytest.raises(ObserverError, match="step"):
            observer.update(0.0, step=step)
    with pytest.raises(ObserverError, match="step"):
        replay([0.0, 1.0], steps=[second, first])
    number = DriftObserver()
    number.update(0.0, step=5)
    with pytest.raises(ObserverError, match="step"):
        number.update(0.0, step=first)


def test_replay_of_a_nullable_column():
    """Pd.NA: raw TypeError; right: a missing value, as None."""
    pd = pytest.importorskip("pandas")
    column = pd.Series([0.5, None, 3.2, 1.2], dtype="Float64")
    assert column.isna().sum() == 1
    right = replay([0.5, None, 3.2, 1.2])
    got = replay(column)
    assert got.states.tolist() == right.states.tolist() == ["NORMAL", "NORMAL", "ALERT", "NORMAL"]
    observer = DriftObserver()
    assert (
        observer.update(pd.NA).state == State.NORMAL and observer.update(3.2).state == State.ALERT
    )


# Sizes: many classes, wide states


def class_sums(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Means and the scatter within classes, in float64, the long way round."""
    means = torch.stack([x[labels == c].double().mean(0) for c in labels.unique()])
    rest = torch.cat(
        [x[labels == c].double() - m for c, m in zip(labels.unique(), means, strict=True)]
    )
    return means, rest.T @ rest


def test_many_classes_give_the_right_distance():
    """One scatter of x - mean[label]; against the definition, in two shards."""
    labels = randint(30, 400, low=0)
    x = randn(400, 6) + labels[:, None] * 0.3
    both = LayerDistance().partial_fit({"l": x[:150]}, labels[:150])
    both.partial_fit({"l": x[150:]}, labels[150:])
    one = LayerDistance().fit({"l": x}, labels)
    y = randn(9, 6, seed=4) + 3
    assert both.n_classes == one.n_classes == len(labels.unique())
    same(both.score({"l": y}), one.score({"l": y}), rtol=1e-6)
    means, scatter = class_sums(x, labels)
    inverse = torch.linalg.inv(scatter / 400)
    gaps = y.double()[:, None] - means
    right = torch.einsum("ncd,de,nce->nc", gaps, inverse, gaps).amin(1)
    same(one.score({"l": y})[:, 0], right, rtol=0.1)  # the shrinkage is small here


def cost(work: Any) -> float:
    work()
    start = time.thread_time()
    work()
    return time.thread_time() - start


def test_many_classes_cost_one_scatter():
    """One D x D co-moment per class of the batch, 134 times the plain sums."""
    x, labels = (
        randn(128, 256),
        torch.randperm(1000, generator=torch.Generator().manual_seed(0))[:128],
    )

    def plain() -> None:
        a = LayerDistance().partial_fit({"l": x})
        a.partial_fit({"l": x})

    def classed() -> None:
        a = LayerDistance().partial_fit({"l": x}, labels)
        a.partial_fit({"l": x}, labels)

    assert cost(classed) < 8 * cost(plain) + 0.005


def test_a_flattened_state_too_wide_names_n_channels():
    """Raw allocator error (here 2^47 bytes, which no machine gives)."""
    net = nn.Sequential(nn.ReLU(), nn.Tanh())
    monitor = DeepDriftMonitor(net, ["0"], pooling="flatten")
    with pytest.raises(DeepDriftError, match="n_channels"):
        monitor.fit([torch.zeros(2, 1, 2048, 2048)])


# Streams that are too ordinary


def frozen(batch: Tensor) -> tuple[list[State], int]:
    net = mlp()
    monitor = fitted(net, lambda n, s: randn(n, 6, seed=s))
    states, events = [], 0
    for _ in range(40):
        status, new = monitor.step(batch)
        states.append(status.fused["state"])
        events += len(new)
    assert status.fused["drift"] < -3  # else there is nothing to test
    return states, events


def _not_all_normal(states: list[State], events: int) -> None:
    assert events or set(states) != {State.NORMAL}


# What was right and stays right


def test_too_few_samples_name_the_number():
    """N = 6, alpha 0.1: refused with the needed number."""
    scorer = StateScorer(alpha=0.1)
    scorer.partial_fit({"a": randn(50, 3), "b": randn(50, 3, seed=1)})
    with pytest.raises(CalibrationError, match="18"):  # two halves of 9
        scorer.calibrate({"a": randn(6, 3), "b": randn(6, 3, seed=1)})


def test_classes_missing_from_calibration():
    """Fit on 10 classes, calibrate on 8, or without labels."""
    net = mlp()
    monitor = DeepDriftMonitor(net, alpha=0.1)
    monitor.fit([(randn(100, 6, seed=s), torch.arange(100) % 10) for s in range(3)])
    eight = monitor.calibrate([(randn(80, 6, seed=9), torch.arange(80) % 8)])
    none = monitor.calibrate([randn(80, 6, seed=9)])
    assert eight.n_classes == none.n_classes == 10
    assert eight.threshold == none.threshold


def test_one_step_up_is_one_alert():
    """One ALERT at the step, no repeats."""
    g = np.random.default_rng(0)
    values = [*g.normal(0, 0.3, 50), *g.normal(5, 0.3, 50)]
    trace = replay(values, ObserverConfig())
    assert trace.onsets(State.ALERT).tolist() == [50]
    assert trace.states[-1] == "ALERT"


def test_few_samples_against_many():
    """8 samples of two values against 150: drift, with both sizes in the sentence."""
    x = randn(150, 1)
    y = torch.tensor([3.0, 3.5]).repeat(4)[:, None]
    for test in (KSDrift(x), MMDDrift(x)):
        result = test.test(y)
        assert result.is_drift
        assert "150" in str(result) and "8" in str(result)


def test_rows_that_are_not_finite_are_refused_with_the_count():
    """NaN rows; duplicates and sparse rows are no drift by themselves."""
    x = randn(40, 3)
    bad = x.clone()
    bad[[3, 7]] = math.nan
    with pytest.raises(DeepDriftError, match="2 of 40"):
        MMDDrift(x).test(bad)
    sparse = torch.zeros(80, 3)  # median distance 0
    sparse[::8] = 1.0
    assert MMDDrift(sparse).test(sparse).p_value > 0.5
    assert KSDrift(x.repeat(10, 1)).test(x).p_value > 0.5


def test_the_same_sample_alone_and_in_a_batch():
    """Rounding of a batch must not move a p-value, also where states are tiny."""
    net = build(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3),
            nn.ReLU(),
        )
    )
    with torch.no_grad():
        for layer in (net[2], net[4]):
            layer.weight.mul_(1e-4), layer.bias.zero_()
    monitor = fitted(net, lambda n, s: randn(n, 3, 12, 12, seed=s))
    x = randn(5, 3, 12, 12, seed=8)
    alone = torch.cat([monitor.read(i[None]).p_values for i in x])
    same(monitor.read(x).p_values, alone, rtol=0, atol=0.02)
    assert call(net, x).abs().max() < 1e-6
