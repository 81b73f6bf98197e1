"""Streams through a monitor: status, alerts, and the monitor that keeps what it learned."""

import dataclasses
import math
import re
import warnings

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from deepdrift import DeepDriftMonitor, diagnose_drift
from deepdrift.alarms.config import ObserverConfig, ObserverError, State
from deepdrift.alarms.fsm import DriftObserver
from deepdrift.alarms.watch import Watch
from deepdrift.errors import NotFittedError, StateError

LAYERS = ["0", "2", "4"]


class Scrub(nn.Module):
    """Hides what is not finite from the layers after it."""

    def forward(self, x):
        return x.nan_to_num(0.0, 1.0, -1.0)


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), Scrub(), nn.Linear(8, 8)
        )  # fmt: skip


def images(n, seed):
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))


def loader(seed=0, n=400):
    return images(n, seed).split(40)


@pytest.fixture
def monitor():
    with DeepDriftMonitor(network(), LAYERS) as made:
        made.calibrate(loader())
        yield made


def drifts(status):
    return [d["drift"] for d in status.values()] + [status.fused["drift"]]


# The sample as published


@pytest.fixture(scope="module")
def published():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = resnet18(weights=None)
    g = torch.Generator().manual_seed(1)
    train_loader = [(torch.rand(8, 3, 64, 64, generator=g), torch.zeros(8)) for _ in range(14)]
    config = ObserverConfig(theta_high=3.0, theta_slope=0.05, window_size=20)
    monitor = DeepDriftMonitor(model, arch_name="ResNet-18", drift_config=config)
    monitor.calibrate(train_loader, max_batches=50)
    yield monitor
    monitor.close()


def test_the_published_sample_runs_as_written(published):
    g = torch.Generator().manual_seed(2)
    status, alerts = published.step(torch.rand(8, 3, 64, 64, generator=g))
    assert all(d["drift"] < 3.0 for d in status.values())
    assert alerts == []
    incoming_batch = 4 * torch.rand(8, 3, 64, 64, generator=g)
    status, alerts = published.step(incoming_batch)
    assert list(status) == [f"layer{i}.{k}" for i in (1, 2, 3, 4) for k in (0, 1)]
    profile = [d["drift"] for d in status.values()]
    assert min(profile) >= 3.0
    pattern = re.compile(r"ALERT \[(layer\d\.\d|fused)\]: threshold breach \((\S+) >= 3\.0\)")
    found = [pattern.fullmatch(str(alert)) for alert in alerts]
    assert [m[1] for m in found] == [*status, "fused"]
    for m, drift in zip(found, profile, strict=False):
        assert float(m[2]) == pytest.approx(drift, rel=5e-3)
    assert diagnose_drift(profile).layer == "layer 0"
    assert published.diagnose(incoming_batch).name == "sensor failure"


def test_max_batches_limits_the_calibration():
    drawn = []

    def endless():
        while True:
            drawn.append(1)
            yield images(8, len(drawn)), torch.zeros(8)

    with DeepDriftMonitor(network(), LAYERS) as monitor:
        monitor.calibrate(endless(), max_batches=50)
        assert len(drawn) == 50
        assert monitor.calibration.n_samples == 100  # a quarter of 400


# Steps of a monitor


def test_step_feeds_one_observer_per_layer_and_one_for_the_fused_score(monitor):
    config = ObserverConfig(theta_high=2.0, theta_low=0.5, raise_after=2)
    with DeepDriftMonitor(monitor._network, LAYERS, drift_config=config) as watched:
        watched.reference = monitor.reference
        observers = {name: DriftObserver(config, name) for name in (*LAYERS, "fused")}
        for i in range(30):
            scale = 3.0 if 10 <= i < 15 else 1.0
            status, alerts = watched.step(scale * images(8, 100 + i), step=2 * i)
            rows = dict(status) | {"fused": status.fused}
            expected = []
            for name, row in rows.items():
                step = observers[name].update(row["drift"], 2 * i)
                assert row["state"] is step.state
                assert row["slope"] == step.slope or math.isnan(step.slope)
                expected += [str(step.event)] if step.event else []
            assert [str(alert) for alert in alerts] == expected
        events = [e.state for e in observers["fused"].events]
        assert events == [State.ALERT, State.NORMAL]


def test_step_without_a_batch_takes_the_last_forward_pass(monitor):
    x = images(8, 5)
    status, _ = monitor.step(x)
    monitor._network(x)
    again, _ = monitor.step()
    assert drifts(again) == pytest.approx(drifts(status), abs=1e-6)


def test_the_model_is_left_as_it_was(monitor):
    monitor._network.train()
    before = {k: v.clone() for k, v in monitor._network.state_dict().items()}
    monitor.step(images(8, 5))
    monitor.diagnose(images(8, 5), probe=images(8, 6))
    assert monitor._network.training
    assert all(v.equal(before[k]) for k, v in monitor._network.state_dict().items())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_number_is_invalid_by_the_name_of_its_layer(monitor, bad):
    with torch.no_grad():
        monitor._network[2].bias[3] = bad
    status, alerts = monitor.step(images(8, 5))
    assert status["0"]["state"] is State.NORMAL
    assert status["2"]["state"] is status.fused["state"] is State.INVALID
    assert status["2"]["drift"] == math.inf
    assert str(alerts[0]) == "INVALID [2]: value is inf"
    found = monitor.diagnose(images(8, 5))
    assert (found.name, found.layer) == ("invalid numbers", "2")
    profile = diagnose_drift([d["drift"] for d in status.values()])
    assert (profile.name, profile.layer) == ("invalid numbers", "layer 1")


def test_a_stream_recovers_from_a_bad_number(monitor):
    x = images(8, 5)
    bad = x.clone()
    bad[0, 0] = math.nan
    assert monitor.step(bad)[0].fused["state"] is State.INVALID
    status, alerts = monitor.step(x)
    assert {d["state"] for d in status.values()} == {State.NORMAL}
    assert [a.state for a in alerts] == [State.NORMAL] * 4


def test_one_layer_is_watched_too():
    with DeepDriftMonitor(network(), ["2"]) as monitor:
        monitor.calibrate(loader())
        status, alerts = monitor.step(images(32, 5))
        assert list(status) == ["2"]
        assert alerts == []
        status, alerts = monitor.step(5 * images(32, 5))
        assert [a.name for a in alerts] == ["2", "fused"]
        with pytest.raises(StateError, match="at least two"):
            monitor.diagnose(images(32, 5))


def test_before_calibration_there_is_no_step_and_no_diagnosis():
    with DeepDriftMonitor(network(), LAYERS) as monitor:
        for call in (monitor.step, monitor.diagnose):
            for arguments in ((), (images(8, 5),)):
                with pytest.raises(NotFittedError, match="calibrate"):
                    call(*arguments)
        monitor.fit(loader())
        with pytest.raises(NotFittedError, match="calibrate"):
            monitor.step(images(8, 5))


def test_velocity_has_no_drift():
    with DeepDriftMonitor(network(), LAYERS, score="velocity") as monitor:
        monitor.calibrate(loader())
        for call in (monitor.step, monitor.diagnose):
            with pytest.raises(StateError, match="score='velocity' has none; use 'fused'"):
                call(images(8, 5))


def test_an_empty_batch_is_refused_and_changes_nothing(monitor):
    monitor.step(images(8, 5), step=3)
    with pytest.raises(StateError, match="at least one sample"):
        monitor.step(images(0, 5))
    assert [o.last_step for o in monitor._watch._observers] == [3] * 4


@pytest.mark.parametrize("step", [7, 6, -1, math.nan, math.inf])
def test_a_step_that_does_not_increase_leaves_all_as_it_was(monitor, step):
    monitor.step(images(8, 5), step=7)
    with pytest.raises(ObserverError, match=r"larger than the last step \(7\)"):
        monitor.step(9 * images(8, 5), step=step)
    assert {o.state for o in monitor._watch._observers} == {State.NORMAL}
    assert [o.last_step for o in monitor._watch._observers] == [7] * 4
    _, alerts = monitor.step(9 * images(8, 5))
    assert {a.step for a in alerts} == {8}
    assert len(alerts) == 4


def test_reset_stream_starts_afresh(monitor):
    x = 9 * images(8, 5)
    _, first = monitor.step(x, step=50)
    assert monitor.step(x)[1] == []  # still in alert: nothing new
    monitor.reset_stream()
    _, again = monitor.step(x, step=0)
    assert [str(a) for a in again] == [str(a) for a in first]
    assert {a.step for a in again} == {0}


@pytest.mark.parametrize("fitted_apart", [False, True])
@pytest.mark.parametrize("how", ["calibrate", "fit", "reference"])
def test_new_normal_data_start_a_new_stream(monitor, how, fitted_apart):
    """What was seen on the old scale says nothing on the new one."""
    if fitted_apart:
        monitor.fit(loader(1)).calibrate(loader(2))
    monitor.step(9 * images(8, 5), step=50)
    if how == "reference":
        monitor.reference = monitor.reference
    else:
        if how == "fit":
            monitor.fit(loader(3))
        monitor.calibrate(loader(4))
    status, alerts = monitor.step(images(8, 5), step=0)
    assert {d["state"] for d in status.values()} == {State.NORMAL}
    assert alerts == []


# Keeping


def test_a_loaded_monitor_says_the_same(monitor, tmp_path):
    monitor.save(tmp_path / "reference.safetensors")
    with DeepDriftMonitor(network(), LAYERS) as other:
        other.load(tmp_path / "reference.safetensors")
        for x in (images(8, 5), 4 * images(1, 5), torch.zeros(8, 4)):
            assert drifts(other.step(x)[0]) == drifts(monitor.step(x)[0])
            assert other.diagnose(x) == monitor.diagnose(x)
            assert str(other.diagnose(x, images(8, 6))) == str(monitor.diagnose(x, images(8, 6)))


def test_a_reference_without_shapes_steps_but_does_not_diagnose(monitor):
    reference = monitor.reference
    old = {k: v for k, v in reference.calibration.items() if not k.startswith("shape.")}
    before = drifts(monitor.step(images(8, 5))[0])
    monitor.reference = dataclasses.replace(reference, calibration=old)
    assert drifts(monitor.step(images(8, 5))[0]) == before
    with pytest.raises(NotFittedError, match="no shape of normal states .*calibrate again"):
        monitor.diagnose(images(8, 5))


def test_merged_references_go_on_diagnosing():
    with (
        DeepDriftMonitor(network(), LAYERS) as one,
        DeepDriftMonitor(network(), LAYERS) as two,
    ):
        one.fit(loader(1))
        two.reference = one.reference
        one.calibrate(loader(2))
        two.calibrate(loader(3, n=200))
        one.reference = one.reference.merge(two.reference)
        assert one.calibration.n_samples == 300  # half of 400 and half of 200
        assert one.diagnose(images(64, 5)).name == "stable"
        assert one.diagnose(9 * images(64, 5)).name == "sensor failure"


def test_shards_fitted_apart_diagnose_after_calibration():
    with (
        DeepDriftMonitor(network(), LAYERS) as one,
        DeepDriftMonitor(network(), LAYERS) as two,
    ):
        for i, shard in enumerate((one, two)):
            shard.fit(loader(i))
            shard.calibrate(loader(5 + i))
        one.reference = one.reference.merge(two.reference)
        with pytest.raises(NotFittedError, match="calibrate"):
            one.diagnose(images(8, 5))
        one.calibrate(loader(7))
        assert one.diagnose(9 * images(64, 5)).name == "sensor failure"


def test_a_dead_sensor_alerts(monitor):
    config = ObserverConfig(theta_high=4.0, raise_after=3, theta_slope=9)
    with DeepDriftMonitor(network(), LAYERS, drift_config=config) as watched:
        watched.reference = monitor.reference
        for i in range(40):
            assert watched.step(images(32, 900 + i))[0].fused["state"] is State.NORMAL
        said = [watched.step(torch.zeros(32, 4))[1] for _ in range(3)]
        assert said[:2] == [[], []]
        assert [a.name for a in said[2]] == [*LAYERS, "fused"]
        assert {a.cause for a in said[2]} == {"unusually ordinary"}


def test_a_frozen_input_is_said_once(monitor):
    """One typical sample, copied: the drift is a little low, and never moves."""
    x = images(1, 7).expand(32, 4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(60):
            monitor.step(x)
    said = [str(w.message) for w in caught]
    assert [m.split(" (")[0] for m in said if "frozen" in m] == [
        "drift: exactly the same in every layer for 20 steps"
    ]


def test_normal_streams_are_silent(monitor):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monitor.reset_stream()
        for i in range(60):
            monitor.step(images(32, 100 + i))
        watch = Watch(["a"], ObserverConfig(window_size=5))
        for value in (1, 1, 1, 1, 2, 1, math.nan, 1, 1, math.nan, math.nan, 1.0):
            watch.update([value], fused=1.0)
        for _ in range(9):
            watch.update([math.inf], fused=math.inf)  # INVALID says it


# Watch alone


def test_a_layer_may_be_called_fused():
    status, alerts = Watch(["fused", "b"]).update([4.0, 1.0], fused=0.5)
    assert {k: d["drift"] for k, d in status.items()} == {"fused": 4.0, "b": 1.0}
    assert status.fused["drift"] == 0.5
    assert [str(a) for a in alerts] == ["ALERT [fused]: threshold breach (4.0 >= 3.0)"]


@pytest.mark.parametrize(
    ("values", "fused", "message"),
    [
        ([5.0], 0.0, "one per layer"),
        ([5.0, 5.0, 5.0], 0.0, "one per layer"),
        ([5.0, "high"], 0.0, "expected numbers"),
        ([5.0, 5.0], None, "expected numbers"),
    ],
)
def test_wrong_drifts_move_no_observer(values, fused, message):
    watch = Watch(["a", "b"])
    watch.update([0.0, 0.0], fused=0.0, step=4)
    with pytest.raises(StateError, match=message):
        watch.update(values, fused)
    assert [(o.state, o.last_step) for o in watch._observers] == [(State.NORMAL, 4)] * 3
