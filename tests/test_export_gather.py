"""Windows of requests and a share of them."""

import math
import threading
import time

import pytest
import torch
from torch import nn

from deepdrift import DeepDriftMonitor, ObserverConfig, State
from deepdrift.errors import NotFittedError, StateError
from deepdrift.export import ExportError, FlightRecorder, Gather, Sampler, replay_flight

CONFIG = ObserverConfig(theta_high=2.5, theta_low=1.0, raise_after=2)


def images(n, seed):
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))


def make(n_channels=None):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 6)).eval()
    return DeepDriftMonitor(
        model, ["0", "2"], "auto", n_channels, drift_config=CONFIG, output_layer="3"
    )


@pytest.fixture(params=[None, 3])
def monitor(request):
    with make(request.param) as made:
        x = images(400, 1)
        made.calibrate(zip(x.split(50), (x[:, 0] > 0).long().split(50), strict=True))
        yield made


def drifts(status):
    return [*(row["drift"] for row in status.values()), status.fused["drift"]]


# ---- windows ----


@pytest.mark.parametrize("parts", [[1] * 32, [5, 1, 20, 6], [32]])
def test_a_window_of_requests_has_the_drift_of_their_batch(monitor, parts):
    batch = 1.3 * images(32, 5)
    layers, fused = monitor.drift(batch)
    with Gather(monitor, size=32) as gather:
        windows = [gather.add(x) for x in batch.split(parts)]
    assert windows[:-1] == [None] * (len(parts) - 1)
    status, events, n = windows[-1]
    assert n == 32 and list(status) == ["0", "2"] and status.config == CONFIG
    assert drifts(status) == pytest.approx([*layers.tolist(), float(fused)], abs=1e-4)


def test_own_passes_are_gathered_without_another_one(monitor):
    calls = []
    handle = monitor._network.register_forward_hook(lambda *_: calls.append(1))
    batch, gather = images(8, 5), Gather(monitor, size=8)
    with torch.no_grad():
        for x in batch.split(1):
            monitor._network(x)
            window = gather.add()
    assert len(calls) == 8
    handle.remove()
    assert drifts(window.status)[-1] == pytest.approx(float(monitor.drift(batch)[1]), abs=1e-4)


def test_windows_feed_one_stream_of_state_machines(monitor):
    with Gather(monitor, size=4) as gather:
        windows = [gather.add(4 * x) for x in images(14, 5).split(1)]
        windows = [w for w in windows if w is not None]
        windows.append(gather.flush())
        assert gather.flush() is None
    assert [w.n for w in windows] == [4, 4, 4, 2]
    assert [w.status.count for w in windows] == [1, 2, 3, 4]
    assert len({w.status.stream for w in windows}) == 1
    assert [str(w.status.fused["state"]) for w in windows] == ["NORMAL", "ALERT", "ALERT", "ALERT"]
    assert {e.step for e in windows[1].events} == {1}


def test_a_request_is_never_divided(monitor):
    with Gather(monitor, size=4) as gather:
        assert gather.add(images(3, 1)) is None
        assert gather.add(images(9, 2)).n == 12


def test_nan_in_one_request_makes_the_window_invalid(monitor):
    x = images(4, 5)
    x[2, 1] = math.nan
    with Gather(monitor, size=4) as gather:
        window = [gather.add(row) for row in x.split(1)][-1]
        assert {row["state"] for row in window.status.values()} == {State.INVALID}
        window = [gather.add(row) for row in images(4, 6).split(1)][-1]
        assert window.status.fused["state"] is State.NORMAL


def test_close_flushes_and_takes_no_more(monitor):
    seen = []
    gather = Gather(monitor, size=64, on_window=seen.append)
    for x in images(5, 5).split(1):
        gather.add(x)
    gather.close()
    gather.close()
    assert [w.n for w in seen] == [5]
    with pytest.raises(ExportError, match="closed"):
        gather.add(images(1, 5))


def test_a_window_does_not_wait_for_ever(monitor):
    seen, done = [], threading.Event()

    def on_window(window):
        seen.append(window)
        done.set()

    with Gather(monitor, size=64, max_wait=0.2, on_window=on_window) as gather:
        gather.add(images(3, 5))
        assert done.wait(20)
        assert [w.n for w in seen] == [3]
        time.sleep(0.3)  # nothing is open, so nothing comes
        assert len(seen) == 1
        done.clear()
        gather.add(images(2, 5))
        assert done.wait(20)
    assert [(w.n, w.status.count) for w in seen] == [(3, 1), (2, 2)]


def test_the_timer_of_a_full_window_does_not_cut_the_next(monitor):
    seen = []
    with Gather(monitor, size=2, max_wait=0.3, on_window=seen.append) as gather:
        gather.add(images(1, 1))
        time.sleep(0.2)
        gather.add(images(1, 2))  # closes the first window
        gather.add(images(1, 3))
        time.sleep(0.2)  # the first timer would strike now
        assert [w.n for w in seen] == [2]


def test_a_failing_listener_of_a_timer_is_logged(monitor, caplog):
    def broken(window):
        raise OSError("disk full")

    gather = Gather(monitor, size=64, max_wait=0.05, on_window=broken)
    gather.add(images(1, 1))
    for _ in range(200):
        if caplog.records:
            break
        time.sleep(0.05)
    assert "a window of requests was lost" in caplog.text and "disk full" in caplog.text
    assert gather.flush() is None


def test_a_new_calibration_starts_afresh(monitor):
    gather = Gather(monitor, size=4)
    gather.add(9 * images(4, 5))
    gather.add(9 * images(3, 5))
    monitor.calibrate(images(400, 2).split(50))
    window = gather.add(images(4, 6))
    assert (window.n, window.status.count) == (4, 1)


def test_a_refused_request_leaves_the_window_as_it_was(monitor):
    with Gather(monitor, size=4) as gather:
        gather.add(images(3, 5))
        with pytest.raises(StateError):
            gather.add(images(0, 5))
        assert gather.flush().n == 3
    with make() as fresh, pytest.raises(NotFittedError, match="calibrate"):
        Gather(fresh).add(images(1, 5))


def test_many_threads_lose_no_request(monitor, tmp_path):
    path = tmp_path / "f.jsonl"
    with FlightRecorder(path, monitor) as flight:

        def on_window(window):
            flight.write(None, window.status, window.events, n=window.n)

        def work(seed):
            for x in images(50, seed).split(1):
                monitor.read(x)
                gather.add()

        with Gather(monitor, size=7, on_window=on_window) as gather:
            threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
    played = replay_flight(path)
    assert [r["n"] for r in played.flight.readings] == [7] * 28 + [4]
    assert played.flight.streams[0].n_missing == played.n_changed == 0


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"size": 0}, "size"),
        ({"size": 2.5}, "size"),
        ({"size": True}, "size"),
        ({"max_wait": 0}, "max_wait"),
        ({"max_wait": math.nan}, "max_wait"),
        ({"max_wait": "1"}, "max_wait"),
    ],
)
def test_impossible_windows_are_refused(monitor, options, name):
    with pytest.raises(ExportError, match=f"^{name}: expected .* got"):
        Gather(monitor, **options)


# ---- a share ----


def test_a_sampler_takes_its_share_and_repeats_with_its_seed():
    one, two, other = (Sampler(0.2, seed) for seed in (7, 7, 8))
    first = [one.take() for _ in range(20_000)]
    assert first == [two.take() for _ in range(20_000)]
    assert first != [other.take() for _ in range(20_000)]
    assert abs(sum(first) / 20_000 - 0.2) < 4 * math.sqrt(0.16 / 20_000)
    assert all(Sampler(1.0).take() for _ in range(100))


@pytest.mark.parametrize("rate", [0, -0.1, 1.1, math.nan, "0.1", True, None])
def test_an_impossible_share_is_refused(rate):
    with pytest.raises(ExportError, match="^rate: expected a share"):
        Sampler(rate)
