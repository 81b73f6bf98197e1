"""The flight recorder: what is written is what was said, and replays bit for bit."""

import copy
import json
import math
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from torch import nn

from deepdrift import DeepDriftMonitor
from deepdrift.alarms.config import ObserverConfig, State
from deepdrift.alarms.watch import Watch
from deepdrift.errors import ReferenceFileError
from deepdrift.export import (
    ExportError,
    FlightRecorder,
    read_flight,
    reference_digest,
    replay_flight,
)
from deepdrift.monitor.results import Reading

CONFIG = ObserverConfig(theta_high=2.5, theta_low=1.0, raise_after=2, clear_after=2, window_size=8)
DETECTORS = ["slope", "ewma", "cusum", "page-hinkley"]


def images(n, seed):
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))


def make(config=CONFIG, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 8))
    return DeepDriftMonitor(model, ["0", "2", "3"], drift_config=config, alpha=0.05)


@pytest.fixture
def monitor():
    with make() as made:
        made.calibrate(images(400, 1).split(50))
        yield made


def reading(p=(0.5,)):
    p = torch.tensor(p, dtype=torch.float64)
    return Reading(-p, p, p <= 0.05, {}, {}, (), ("a",))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def bits(array):
    return np.asarray(array, dtype=np.float64).view(np.int64).tolist()


# ---- round trip ----


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("step", ["none", "every 100", "seconds", "float"])
def test_a_replay_gives_bit_for_bit_what_the_live_machines_gave(tmp_path, detector, step):
    config = ObserverConfig(**{**vars(CONFIG), "detector": detector})
    number = {
        "none": lambda i: None,
        "every 100": lambda i: 100 * i,
        "seconds": lambda i: 1_700_000_000 + 60 * i + i % 3 + 86_400 * (i > 40),
        "float": lambda i: 0.1 * i,
    }[step]
    live, events = [], []
    with make(config) as watched:
        watched.calibrate(images(400, 1).split(50))
        with FlightRecorder(tmp_path / "f.jsonl", watched) as flight:
            for i in range(70):
                scale = 1 + 0.05 * max(0, i - 15) * (i < 50)
                x = scale * images(8, 100 + i)
                if i in (5, 33):
                    x[0, 0] = math.nan
                status, alerts = watched.step(x, step=number(i))
                flight.write(watched.read(), status, alerts)
                live.append(status)
                events += alerts
    played = replay_flight(flight.path)
    ((*layers, fused),) = played.traces
    assert {str(e.state) for e in events} >= {"ALERT", "INVALID", "NORMAL"}
    for k, name in enumerate(["0", "2", "3"]):
        assert bits(layers[k].slopes) == bits([s[name]["slope"] for s in live])
        assert layers[k].states.tolist() == [s[name]["state"] for s in live]
    assert bits(fused.slopes) == bits([s.fused["slope"] for s in live])
    assert bits(fused.values) == bits([s.fused["drift"] for s in live])
    assert fused.steps.tolist() == [s.step for s in live]
    assert repr(played.events) == repr(tuple(events))
    assert played.n_changed == 0
    assert played.flight.streams[0].events == tuple(str(e) for e in events)
    assert played.flight.streams[0].config == config


def test_what_is_read_is_what_the_monitor_said(monitor, tmp_path):
    batch = torch.cat([images(6, 2), 9 * images(2, 3)])
    batch[0, 0] = math.nan
    said = monitor.read(batch)
    with FlightRecorder(tmp_path / "f.jsonl", monitor) as flight:
        flight.write(said)
    (row,) = read_flight(flight.path).readings
    assert bits(row["p"]) == bits(said.p_values)
    assert row["flagged"] == said.flagged.nonzero().flatten().tolist()
    assert row["invalid_layers"] == list(said.invalid_layers) == ["0", "2", "3"]
    assert (row["n"], row["alpha"], row["monitor"]) == (8, 0.05, "Sequential")
    assert row["reference"] == reference_digest(monitor)
    assert row["time"].utcoffset().total_seconds() == 0


def test_other_thresholds_and_another_alpha(monitor, tmp_path):
    with FlightRecorder(tmp_path / "f.jsonl", monitor) as flight:
        said = []
        for i in range(20):
            status, alerts = monitor.step((1 + (i > 9)) * images(8, i))
            said.append(monitor.read())
            flight.write(said[-1], status, alerts)
    record = read_flight(flight.path)
    p = torch.cat([r.p_values for r in said])
    assert record.flagged() == (sum(int(r.flagged.sum()) for r in said), 160)
    assert record.flagged(0.2) == (int((p <= 0.2).sum()), 160)
    high = replay_flight(record, ObserverConfig(theta_high=99.0, theta_slope=99.0))
    assert high.events == () and high.n_changed > 0
    low = replay_flight(record, ObserverConfig(-9.0, -9.0, two_sided=False))
    assert all((trace.states == "ALERT").all() for trace in low.traces[0])
    assert str(low).startswith("0 x WARNING, 4 x ALERT, 0 x INVALID; ")
    assert str(record) == (
        f"20 readings, {record.flagged()[0]} of 160 samples flagged; "
        "1 stream of the alarm state machines."
    )
    with pytest.raises(ExportError, match="alpha: expected a rate"):
        record.flagged(1.5)
    with pytest.raises(ExportError, match="config: expected an ObserverConfig"):
        replay_flight(record, {"theta_high": 3})


def test_a_new_calibration_and_a_new_process_begin_new_streams(monitor, tmp_path):
    path = tmp_path / "f.jsonl"
    with FlightRecorder(path, monitor) as flight:
        for seed in (1, 2):
            monitor.calibrate(images(400, seed).split(50))
            for i in range(3):
                flight.write(None, *monitor.step(9 * images(8, i), step=i))
    with FlightRecorder(path, monitor) as flight:
        monitor.reset_stream()
        flight.write(None, *monitor.step(images(8, 9)), n=8)
    record = read_flight(path)
    assert [len(s.counts) for s in record.streams] == [3, 3, 1]
    assert len({s.stream for s in record.streams}) == 3
    digests = [s.reference for s in record.streams]
    assert digests[0] != digests[1] == digests[2]
    assert [r["n"] for r in record.readings] == [None] * 6 + [8]
    assert replay_flight(record).n_changed == 0


def test_missing_readings_are_counted(tmp_path):
    watch = Watch(["a"], CONFIG)
    with FlightRecorder(tmp_path / "f.jsonl", "d") as flight:
        for i in range(10):
            said = watch.update([3.0], fused=0.0)
            if i not in (0, 1, 5):
                flight.write(None, *said)
    played = replay_flight(flight.path)
    assert played.flight.streams[0].n_missing == 3
    assert str(played).endswith("3 readings missing in the record.")
    assert played.n_changed == 1  # the alert is one value late


# ---- the digest ----


def test_one_digest_for_a_monitor_its_file_and_who_loaded_it(monitor, tmp_path):
    monitor.save(tmp_path / "r.safetensors")
    digest = reference_digest(monitor)
    assert len(digest) == 16 and int(digest, 16) >= 0
    assert reference_digest(tmp_path / "r.safetensors") == digest
    assert reference_digest(monitor.reference) == digest
    with make() as other:
        other.load(tmp_path / "r.safetensors")
        assert reference_digest(other) == digest
        other.calibrate(images(400, 3).split(50))
        assert reference_digest(other) != digest
    with pytest.raises(ReferenceFileError, match="no file"):
        reference_digest(tmp_path / "none.safetensors")


# ---- numbers, threads, processes ----


def test_every_float_comes_back(tmp_path):
    values = [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.pi, math.nan, math.inf, -math.inf]
    watch = Watch(["a"], ObserverConfig(theta_high=1e308))
    with FlightRecorder(tmp_path / "f.jsonl", "d") as flight:
        for i, value in enumerate(values):
            status, events = watch.update([value], fused=-value, step=np.int64(7 * i))
            flight.write(reading([abs(value) % 1]), status, events)
    record = read_flight(flight.path)
    (stream,) = record.streams
    for column, sign in ((0, 1), (1, -1)):
        expected = [sign * v for v in values]
        assert [repr(v) for v in stream.drifts[:, column].tolist()] == list(map(repr, expected))
    assert [repr(r["p"][0]) for r in record.readings][:1] == ["np.float64(0.1)"]
    assert replay_flight(record).n_changed == 0
    assert "NaN" not in flight.path.read_text() and "Infinity" not in flight.path.read_text()


def test_threads_share_a_recorder_and_the_order_is_that_of_the_machines(tmp_path):
    watch, lock, said = Watch(["a", "b"], CONFIG), threading.Lock(), []
    draw = np.random.default_rng(0)

    def work(flight):
        for _ in range(100):
            with lock:
                step = watch.update(draw.normal(1, 1.5, 2).tolist(), fused=float(draw.normal()))
                said.append(step[0])
            flight.write(reading(), *step)  # outside the lock: lines may change places

    with FlightRecorder(tmp_path / "f.jsonl", "d") as flight:
        threads = [threading.Thread(target=work, args=(flight,)) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    record = read_flight(flight.path)
    assert record.streams[0].counts.tolist() == list(range(1, 601)) and record.cut == ()
    assert bits(record.streams[0].drifts[:, 0]) == bits([s["a"]["drift"] for s in said])
    assert replay_flight(record).n_changed == 0


def test_processes_append_to_one_file(tmp_path):
    path = tmp_path / "f.jsonl"
    code = (
        "import sys\n"
        "from deepdrift.alarms.watch import Watch\n"
        "from deepdrift.export import FlightRecorder\n"
        "watch = Watch([str(i) for i in range(200)])\n"
        "flight = FlightRecorder(sys.argv[1], 'd')\n"
        "for i in range(60): flight.write(None, *watch.update([i / 7] * 200, fused=0.0))\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(2)]
    assert [process.wait(120) for process in running] == [0, 0]
    record = read_flight(path)
    assert sorted(len(s.counts) for s in record.streams) == [60, 60]
    assert replay_flight(record).n_changed == 0


def test_a_copy_and_a_forked_worker_record_streams_of_their_own(tmp_path):
    watch = Watch(["a"], CONFIG)
    with FlightRecorder(tmp_path / "f.jsonl", "d") as flight:
        flight.write(None, *watch.update([3.0], fused=0.0))
        other = copy.deepcopy(watch)
        for each in (watch, other, watch, other):
            flight.write(None, *each.update([3.0], fused=0.0))
        watch._process += 1  # as a child sees it
        flight.write(None, *watch.update([3.0], fused=0.0))
    streams = read_flight(flight.path).streams
    assert [s.counts.tolist() for s in streams] == [[1, 2, 3], [2, 3], [4]]
    assert [s.n_missing for s in streams] == [0, 1, 3]
    assert streams[1].states[0, 0] == "ALERT"  # it went on from where it was


# ---- damage ----


def recorded(path, n=3):
    watch = Watch(["a"])
    with FlightRecorder(path, "d") as flight:
        for i in range(n):
            flight.write(None, *watch.update([float(i)], fused=0.0))
    return path.read_bytes()


@pytest.mark.parametrize("lost", [1, 2, 30, "all but one", "all but twelve"])
def test_a_cut_last_line_is_left_out_and_named(tmp_path, lost):
    path = tmp_path / "f.jsonl"
    whole = recorded(path)
    last = len(whole.splitlines(keepends=True)[-1])
    lost = {"all but one": last - 1, "all but twelve": last - 12}.get(lost, lost)
    path.write_bytes(whole[:-lost])
    record = read_flight(path)
    if lost == 1:  # only the line break: nothing is lost
        assert (len(record.readings), record.cut) == (3, ())
    else:
        assert (len(record.readings), record.cut) == (2, (4,))
        assert str(record).endswith("Cut off and left out: line 4.")
    # who opens it next goes on on a new line
    with FlightRecorder(path, "d") as flight:
        flight.write(reading())
        flight.write(reading())
    again = read_flight(path)
    assert again.cut == record.cut and len(again.readings) == len(record.readings) + 2
    assert sum(b'"kind":"cut"' in line for line in path.read_bytes().splitlines()) == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [lines[0], lines[1][:-9], *lines[2:]], "line 2 is no line"),
        (lambda lines: [*lines[:3], lines[3][:-9]], "line 4 is no line"),  # with a line break
        (lambda lines: [lines[0], b"", *lines[1:]], "line 2 is no line"),
        (lambda lines: [b"\xff\xfe" + lines[0], *lines[1:]], "line 1 is no line"),
        (lambda lines: [*lines, b"[1, 2]"], "line 5 .*kind None"),
        (lambda lines: [*lines, b'{"kind":"other"}'], "line 5 .*kind 'other'"),
        (lambda lines: [lines[0].replace(b"flight-1", b"flight-9"), *lines[1:]], "format"),
        (lambda lines: [lines[0].replace(b'"theta_high":3.0', b'"theta_high":-9.0'), *lines[1:]],
         "line 1 .*theta_low"),
        (lambda lines: [lines[0].replace(b"theta_high", b"hi"), *lines[1:]], "line 1 .*Type"),
        (lambda lines: lines[1:], "line 1 belongs to a stream whose first line is missing"),
        (lambda lines: [*lines, lines[3]], "line 5 is a second reading number 3"),
        (lambda lines: [*lines, lines[3].replace(b'"a"', b'"b"')], "line 5 has other layers"),
        (lambda lines: [*lines, lines[3].replace(b"NORMAL", b"NORMALE", 1)], "unknown state"),
        (lambda lines: [*lines, lines[3].replace(b'"a":2.0', b'"a":NaN')], "NaN is not JSON"),
        (lambda lines: [*lines, lines[3].replace(b'"a":2.0', b'"a":"x"')], "expected a number"),
        (lambda lines: [*lines, lines[3].replace(b'"a":2.0', b'"a":null')], "line 5 .* TypeError"),
        (lambda lines: [*lines, b"[" * 100_000], "line 5 is no line"),
    ],
)  # fmt: skip
def test_other_damage_is_refused_by_line_number(tmp_path, damage, message):
    path = tmp_path / "f.jsonl"
    path.write_bytes(b"\n".join(damage(recorded(path).splitlines())) + b"\n")
    with pytest.raises(ExportError, match=message):
        read_flight(path)


def test_a_line_that_a_full_disk_cut_is_known_later(tmp_path, monkeypatch):
    path, whole, watch = tmp_path / "f.jsonl", os.write, Watch(["a"])
    with FlightRecorder(path, "d") as flight:
        flight.write(None, *watch.update([1.0], fused=0.0))
        calls = []

        def full(file, data):
            calls.append(data)
            if len(calls) == 1:
                return whole(file, data[:20])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            flight.write(None, *watch.update([2.0], fused=0.0))
        monkeypatch.setattr(os, "write", whole)
        flight.write(None, *watch.update([3.0], fused=0.0))
    record = read_flight(path)
    assert record.cut == (3,) and record.streams[0].counts.tolist() == [1, 3]
    assert record.streams[0].n_missing == 1


def test_what_cannot_be_recorded_is_refused_by_name(monitor, tmp_path):
    foreign = tmp_path / "notes.txt"
    foreign.write_text("my notes")
    with pytest.raises(ExportError, match="path: .* is no flight record; give another name"):
        FlightRecorder(foreign, "d")
    assert foreign.read_text() == "my notes"
    with pytest.raises(ExportError, match="path: .* cannot be written"):
        FlightRecorder(tmp_path / "no" / "folder.jsonl", "d")
    with pytest.raises(ExportError, match="source: expected a DeepDriftMonitor or a digest"):
        FlightRecorder(tmp_path / "f.jsonl", monitor.reference)
    with pytest.raises(ExportError, match="path: .* cannot be read"):
        read_flight(tmp_path / "none.jsonl")
    with FlightRecorder(tmp_path / "f.jsonl", monitor, sync=True, name="left") as flight:
        for arguments, name in [
            ((), "reading, status"),
            (({"p": 1},), "reading"),
            ((None, {"a": 1}), "status"),
        ]:
            with pytest.raises(ExportError, match=f"^{name}: expected"):
                flight.write(*arguments)
        flight.write(reading())
    flight.close()
    with pytest.raises(ExportError, match="closed"):
        flight.write(reading())
    assert [row["monitor"] for row in lines(flight.path)] == ["left"]


def test_an_empty_record_is_a_record(tmp_path):
    with FlightRecorder(tmp_path / "f.jsonl") as flight:
        pass
    record = read_flight(flight.path)
    assert (record.readings, record.streams, record.cut) == ((), (), ())
    assert str(replay_flight(record)).startswith("0 x WARNING")


def test_a_layer_called_fused(tmp_path):
    watch = Watch(["fused"])
    with FlightRecorder(tmp_path / "f.jsonl") as flight:
        flight.write(None, *watch.update([4.0], fused=1.0))
    (stream,) = read_flight(flight.path).streams
    assert stream.names == ("fused", "fused") and stream.drifts.tolist() == [[4.0, 1.0]]
    assert stream.states.tolist() == [[State.ALERT, State.NORMAL]]


def test_a_record_of_alarms_that_looked_upwards_only_still_replays(tmp_path):
    path, config = tmp_path / "f.jsonl", ObserverConfig(two_sided=False)
    watch = Watch(["a"], config)
    with FlightRecorder(path, "d") as flight:
        for value in (0.0, -9.0, 4.0):
            flight.write(None, *watch.update([value], fused=0.0))
    text = path.read_text(encoding="utf-8")
    assert text.count('"two_sided":false') == 1
    path.write_text(text.replace('"two_sided":false', '"theta_floor":null'), encoding="utf-8")
    assert read_flight(path).streams[0].config == config
    path.write_text(text.replace('"two_sided":false', '"theta_floor":-6.0'), encoding="utf-8")
    with pytest.raises(ExportError, match="line 1 .*theta_floor -6 cannot be replayed"):
        read_flight(path)
