"""The example service: right answers under threads, counts in /metrics, a record that replays."""

import http.client
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from deepdrift.alarms.config import ObserverConfig
from deepdrift.export import read_flight, replay_flight
from deepdrift.lab.data import load

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "serve.py"


def example():
    spec = importlib.util.spec_from_file_location("serve", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


serve = example()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "normal.safetensors"
    _, monitor = serve.watched(path, alpha=0.01)
    monitor.close()
    return path


class Running:
    """A service in threads of this process; keeps the windows it saw."""

    def __init__(self, reference, flight, **options):
        network, monitor = serve.watched(reference, alpha=0.01)
        self.service = serve.Service(network, monitor, flight, max_wait=None, **options)
        self.windows = []
        told = self.service.gather._on_window
        self.service.gather._on_window = lambda w: (self.windows.append(w), told(w))
        self.server = serve.make_server(self.service, port=0)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join(30)
        self.server.server_close()
        self.service.close()

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def predict(self, image):
        body = json.dumps({"image": image.squeeze().tolist()})
        status, answer = self.ask("POST", "/predict", body)
        assert status == 200, answer
        return json.loads(answer)

    def metrics(self):
        status, text = self.ask("GET", "/metrics")
        assert status == 200
        return {
            (s.name, tuple(sorted((k, v) for k, v in s.labels.items() if k != "monitor"))): s.value
            for family in text_string_to_metric_families(text.decode())
            for s in family.samples
        }


def test_normal_and_inverted_images_through_eight_clients(reference, tmp_path):
    normal = load("fashion-mnist").test.images[:40]
    batch = torch.cat([normal, 1 - normal])
    flight = tmp_path / "flight.jsonl"
    with Running(reference, flight, window=8) as running, ThreadPoolExecutor(8) as clients:
        answers = [*clients.map(running.predict, normal)]  # all normal ones, then the others
        answers += clients.map(running.predict, 1 - normal)
        health = json.loads(running.ask("GET", "/health")[1])
        page = running.metrics()
        # each client got the answer to its own image
        with torch.no_grad():
            labels = running.service.network(batch).argmax(dim=1)
        said = running.service.monitor.read(batch)
    assert [a["label"] for a in answers] == labels.tolist()
    p = np.array([a["p_value"] for a in answers])
    np.testing.assert_allclose(p, said.p_values, atol=2e-3)  # a batch of 80 rounds otherwise
    flagged = [a["flagged"] for a in answers]
    assert sum(flagged[:40]) <= 4 and sum(flagged[40:]) >= 36

    assert page["deepdrift_samples_total", ()] == 80
    assert page["deepdrift_flagged_total", ()] == sum(flagged)
    assert page["deepdrift_p_value_count", ()] == 80
    assert page["deepdrift_invalid_total", (("where", "request"),)] == 0
    assert page["deepdrift_invalid_total", (("where", "state"),)] == 0
    assert page["deepdrift_state", (("layer", "fused"), ("state", "ALERT"))] == 1
    assert page["deepdrift_events_total", (("layer", "fused"), ("state", "ALERT"))] == 1
    assert health["drift"] == "ALERT" and health["samples"] == 80

    record = read_flight(flight)
    assert record.flagged() == (sum(flagged), 80)
    assert sorted(row["p"][0] for row in record.readings if "p" in row) == sorted(p)
    assert {row["reference"] for row in record.readings} == {health["reference"]}
    played = replay_flight(record)
    (stream,), (traces,) = record.streams, played.traces
    assert len(stream.counts) == len(running.windows) == 10
    assert stream.n_missing == played.n_changed == 0
    for k, name in enumerate(stream.names[:-1]):
        live = [(w.status[name]["drift"], w.status[name]["slope"]) for w in running.windows]
        np.testing.assert_array_equal(np.array([traces[k].values, traces[k].slopes]).T, live)
        assert traces[k].states.tolist() == [w.status[name]["state"] for w in running.windows]
    live = tuple(event for w in running.windows for event in w.events)
    assert repr(played.events) == repr(live) and len(live) > 0
    calm = replay_flight(record, ObserverConfig(theta_high=1e3, theta_slope=1e3))
    assert calm.events == ()


BAD = [
    (b"no json", "body: expected JSON"),
    (b"", "body: expected JSON"),
    (b"\xff\xfe\x00", "body: expected JSON"),
    (b"[" * 100_000, "body: expected JSON"),
    (b'{"picture": [[0.5]]}', "body: expected .*got the keys"),
    (b"null", "image: expected 28 rows .* got shape"),
    (b'"image"', "image: expected 28 rows"),
    (json.dumps([[0.5] * 27] * 28).encode(), r"got shape \(28, 27\)"),
    (json.dumps([[0.5] * 28] * 27 + [[0.5]]).encode(), "uneven rows"),
    (json.dumps([["0.5"] * 28] * 28).encode(), "image: expected 28 rows of 28 numbers"),
    (json.dumps([[None] * 28] * 28).encode(), "image: expected 28 rows of 28 numbers"),
    (json.dumps([[True] * 28] * 28).encode(), "image: expected 28 rows of 28 numbers"),
    (json.dumps([[10**30] * 28] * 28).encode(), "image: expected 28 rows of 28 numbers"),
    (json.dumps([[0.5] * 28] * 27 + [[float("nan")] * 28]).encode(), "got 28 that are NaN"),
    (json.dumps([[0.5] * 28] * 27 + [[float("inf")] * 28]).encode(), "got 28 that are NaN"),
    (b'{"image": ' + json.dumps([[1e999] * 28] * 28).encode() + b"}", "got 784 that are NaN"),
    (json.dumps([[200] * 28] * 28).encode(), "divide by 255"),
    (json.dumps([[-0.5] * 28] * 28).encode(), "in \\[0, 1\\]"),
    (b"[" + b" " * 300_000 + b"]", "Content-Length: expected 0 to 200000 bytes"),
]


def test_bad_requests_get_a_sentence_and_count_as_invalid(reference, tmp_path):
    image = load("fashion-mnist").test.images[0]
    with Running(reference, tmp_path / "f.jsonl") as running:
        for i, (body, message) in enumerate(BAD, start=1):
            status, answer = running.ask("POST", "/predict", body)
            assert status == 400
            assert re.search(message, json.loads(answer)["error"]), answer
            assert running.metrics()["deepdrift_invalid_total", (("where", "request"),)] == i
        for length in ("-1", "x", "1e3", "99999999999999999999"):
            status, answer = running.ask("POST", "/predict", None, {"Content-Length": length})
            assert (status, b"Content-Length: expected" in answer) == (400, True)
        for method, path in (("GET", "/"), ("POST", "/other"), ("GET", "/predict")):
            assert running.ask(method, path, b"{}" if method == "POST" else None)[0] == 404
        with socket.create_connection(("127.0.0.1", running.port)) as half:
            half.sendall(
                b"POST /predict HTTP/1.1\r\nContent-Length: 50\r\n\r\n[[0.5,"
            )  # and hangs up
        assert running.predict(image)["p_value"] > 0  # still there
        page = running.metrics()
    assert page["deepdrift_samples_total", ()] == 1


def test_a_failure_inside_is_answered_too(reference, tmp_path, monkeypatch, caplog):
    image = load("fashion-mnist").test.images[0]
    with Running(reference, tmp_path / "f.jsonl") as running:
        network = running.service.network
        with torch.no_grad():
            for p in network.parameters():
                p.fill_(float("nan"))
        answer = running.predict(image)
        assert (answer["p_value"], answer["flagged"]) == (0.0, True)
        assert running.metrics()["deepdrift_invalid_total", (("where", "state"),)] == 1

        def broken(_):
            raise RuntimeError("out of memory")

        monkeypatch.setattr(running.service, "predict", broken)
        status, body = running.ask("POST", "/predict", json.dumps(image.squeeze().tolist()))
        assert status == 500 and b"see its log" in body
        assert json.loads(running.ask("GET", "/health")[1])["status"] == "ok"
    assert "out of memory" in caplog.text


def test_a_full_disk_does_not_stop_the_service(reference, tmp_path, monkeypatch, caplog):
    image = load("fashion-mnist").test.images[0]
    with Running(reference, tmp_path / "f.jsonl", window=1) as running:

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(running.service.flight, "write", full)
        assert running.predict(image)["label"] in range(10)
        assert running.metrics()["deepdrift_samples_total", ()] == 1
    assert "the flight record has lost a line" in caplog.text


def test_a_share_of_the_images_is_watched(reference, tmp_path):
    image = load("fashion-mnist").test.images[0]
    with Running(reference, tmp_path / "f.jsonl", sample_rate=0.5, seed=3) as running:
        answers = [running.predict(image) for _ in range(20)]
        watched = [a for a in answers if a["p_value"] is not None]
        assert running.metrics()["deepdrift_samples_total", ()] == len(watched)
    assert 0 < len(watched) < 20
    assert len({a["label"] for a in answers}) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to catch")
def test_the_program_serves_and_flushes_when_it_is_ended(reference, tmp_path):
    flight = tmp_path / "flight.jsonl"
    command = [sys.executable, str(EXAMPLE), "--port", "0", "--flight", str(flight)]
    command += ["--reference", str(reference), "--window", "64", "--max-wait", "600"]
    environment = os.environ | {"PYTHONPATH": str(EXAMPLE.parents[1]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    try:
        line = process.stdout.readline()  # ends if the program does
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)", line)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        body = json.dumps([[0.5] * 28] * 28)
        for _ in range(3):  # on one connection
            connection.request("POST", "/predict", body)
            answer = connection.getresponse()
            assert answer.status == 200 and json.loads(answer.read())["flagged"] is True
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stdout.close()
    record = read_flight(flight)
    assert [row["n"] for row in record.readings] == [1, 1, 1, 3]
    assert replay_flight(record).n_changed == 0


def test_the_program_prints_its_alert_rules():
    yaml = pytest.importorskip("yaml")
    run = subprocess.run(
        [sys.executable, str(EXAMPLE), "--rules"], capture_output=True, text=True, check=True
    )
    (group,) = yaml.safe_load(run.stdout)["groups"]
    assert len(group["rules"]) == 5
