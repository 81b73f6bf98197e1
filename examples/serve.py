"""A small HTTP service of a shipped network, watched from the inside. Run it with

    python examples/serve.py --flight flight.jsonl

and ask it, from another terminal:

    curl localhost:8000/health
    curl localhost:8000/metrics
    python -c 'print([[0.5] * 28] * 28)' | curl -d @- localhost:8000/predict

POST /predict takes a 28x28 image in [0, 1] as JSON, alone or as "image", and answers with the
class, the p-value of the image and whether it is flagged. GET /metrics is for Prometheus,
``--rules`` prints the alert rules to go with it. The flight record can be replayed in a notebook
under other thresholds:

    from deepdrift import ObserverConfig
    from deepdrift.export import replay_flight
    print(replay_flight("flight.jsonl", ObserverConfig(theta_high=5.0)))

Needs ``pip install -e ".[export]"`` in a clone of the repository, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift import DeepDriftMonitor, ObserverConfig
from deepdrift.export import (
    FlightRecorder,
    Gather,
    PrometheusExporter,
    Sampler,
    Window,
    alert_rules,
    reference_digest,
)
from deepdrift.lab.data import load, load_network

LOG = logging.getLogger("serve")
NAME = "cnn"
CONFIG = ObserverConfig(theta_high=4.0, theta_low=2.0, raise_after=2, clear_after=2)
LARGEST = 200_000  # bytes of a request; an image of 784 long numbers takes 20,000


class BadRequest(ValueError):
    """A request that is answered with a sentence; the network never sees it."""


def image_of(body: bytes) -> Tensor:
    """The image (1, 1, 28, 28) of a request, or `BadRequest`."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"body: expected JSON, got something else ({error})") from error
    if isinstance(given, dict):
        if "image" not in given:
            raise BadRequest(f'body: expected {{"image": [[...]]}}, got the keys {sorted(given)}')
        given = given["image"]
    try:
        pixels = np.asarray(given)
    except ValueError as error:
        raise BadRequest("image: expected 28 rows of 28 numbers, got uneven rows") from error
    if pixels.dtype.kind not in "iuf" or pixels.shape not in ((28, 28), (1, 28, 28)):
        raise BadRequest(
            f"image: expected 28 rows of 28 numbers, got shape {pixels.shape} of {pixels.dtype}"
        )
    bad = int((~np.isfinite(pixels)).sum())
    if bad:
        raise BadRequest(f"image: expected finite numbers, got {bad} that are NaN or infinite")
    if pixels.min() < 0 or pixels.max() > 1:
        raise BadRequest(
            f"image: expected numbers in [0, 1], got {pixels.min():g} to {pixels.max():g}; divide "
            "by 255 if these are bytes"
        )
    return torch.tensor(pixels.reshape(1, 1, 28, 28), dtype=torch.float32)


def watched(reference: Path | None, alpha: float) -> tuple[torch.nn.Module, DeepDriftMonitor]:
    """The network and its monitor, calibrated on the shipped images or loaded from a file."""
    network = load_network("cnn")
    monitor = DeepDriftMonitor(network, arch_name=NAME, alpha=alpha, drift_config=CONFIG)
    if reference is not None and reference.exists():
        monitor.load(reference)
        return network, monitor
    data = load("fashion-mnist")
    monitor.fit(data.fit.loader(256))
    monitor.calibrate(data.calibration.loader(256))
    if reference is not None:
        monitor.save(reference)
    return network, monitor


class Service:
    """The watched network, its metrics and its flight record."""

    def __init__(
        self,
        network: torch.nn.Module,
        monitor: DeepDriftMonitor,
        flight: Path,
        *,
        window: int = 16,
        max_wait: float | None = 10.0,
        sample_rate: float = 1.0,
        seed: int | None = None,
    ) -> None:
        self.network, self.monitor = network, monitor
        self.metrics = PrometheusExporter(NAME)
        self.flight = FlightRecorder(flight, monitor)
        self.sampler = Sampler(sample_rate, seed)
        self.gather = Gather(monitor, window, max_wait, on_window=self.on_window)
        self.reference, self.last = reference_digest(monitor), None
        # One pass at a time. Hidden states belong to the thread whose pass made them, so no thread
        # reads another's; the lock keeps pass, reading and window in one order, and a pass uses
        # every core anyway.
        self._lock = threading.Lock()

    def predict(self, image: Tensor) -> dict[str, Any]:
        """Class of one image, its p-value and whether it is flagged."""
        watch = self.sampler.take()
        with self._lock, torch.no_grad():
            label = int(self.network(image).argmax())
            if watch:
                reading = self.monitor.read()  # of the pass just made: no second one
                self.gather.add()
        answer = {"label": label, "class": self.network.class_names[label]}
        if not watch:
            return answer | {"p_value": None, "flagged": None}
        self.metrics.observe(reading)
        self.record(reading)
        return answer | {"p_value": float(reading.p_values), "flagged": bool(reading.flagged)}

    def on_window(self, window: Window) -> None:
        """A window of requests is full: show and record what the state machines say."""
        self.last = window
        self.metrics.observe(None, window.status, window.events)
        self.record(None, window.status, window.events, n=window.n)

    def record(self, *what: Any, n: int | None = None) -> None:
        """Write to the flight record; a full disk must not stop the service."""
        try:
            self.flight.write(*what, n=n)
        except OSError:
            LOG.exception("the flight record has lost a line")

    def health(self) -> dict[str, Any]:
        """Whether requests are answered, and the state of the fused drift."""
        state = "no window yet" if self.last is None else str(self.last.status.fused["state"])
        samples = int(self.metrics.value("deepdrift_samples_total"))
        return {"status": "ok", "drift": state, "samples": samples, "reference": self.reference}

    def close(self) -> None:
        """Close the open window, and the record."""
        self.gather.close()
        self.flight.close()
        self.monitor.close()


class Handler(BaseHTTPRequestHandler):
    """One request; `service` is set by `make_server`."""

    service: Service
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds that a client may keep a thread waiting

    def do_GET(self) -> None:  # noqa: N802
        """/metrics and /health."""
        if self.path == "/metrics":
            metrics = self.service.metrics
            self.answer(200, metrics.text(), metrics.content_type)
        elif self.path == "/health":
            self.answer_json(200, self.service.health())
        else:
            self.answer_json(404, {"error": "ask for /health or /metrics, or POST /predict"})

    def do_POST(self) -> None:  # noqa: N802
        """/predict."""
        try:
            body = self.body()  # read first, so that the connection can go on
            if self.path == "/predict":
                code, answer = 200, self.service.predict(image_of(body))
            else:
                code, answer = 404, {"error": "POST goes to /predict"}
        except BadRequest as error:
            self.service.metrics.refused()
            code, answer = 400, {"error": str(error)}
        except Exception:
            LOG.exception("a request failed")
            code, answer = 500, {"error": "the service failed on this request; see its log"}
        self.answer_json(code, answer)

    def body(self) -> bytes:
        """The bytes of the request."""
        length = self.headers.get("Content-Length", "")
        whole = length.isascii() and length.isdigit()
        if not whole or int(length) > LARGEST:
            self.close_connection = True  # what follows cannot be told from the next request
            if whole and int(length) <= 50 * LARGEST:
                self.read(int(length))  # a client that is still sending does not hear the answer
            raise BadRequest(f"Content-Length: expected 0 to {LARGEST} bytes, got {length!r}")
        body = self.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            raise BadRequest(f"body: expected {length} bytes, got {len(body)}")
        return body

    def read(self, length: int) -> bytes:
        """So many bytes, or as many as come in time."""
        got = bytearray()
        try:
            while len(got) < length and (part := self.rfile.read1(length - len(got))):
                got += part
        except OSError:  # it took too long, or the client is gone
            LOG.info("a client stopped sending")
        return bytes(got)

    def answer_json(self, code: int, fields: dict[str, Any]) -> None:
        """Answer with one JSON object."""
        self.answer(code, json.dumps(fields, allow_nan=False).encode() + b"\n", "application/json")

    def answer(self, code: int, body: bytes, content_type: str) -> None:
        """Answer with these bytes."""
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        try:
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True
            LOG.info("a client did not wait for its answer")

    def log_message(self, format: str, *args: Any) -> None:
        """To the logger, not to the terminal."""
        LOG.debug(format, *args)


def make_server(service: Service, host: str = "127.0.0.1", port: int = 8000) -> ThreadingHTTPServer:
    """A server that is not running yet; port 0 takes a free one."""
    server = ThreadingHTTPServer((host, port), type("Bound", (Handler,), {"service": service}))
    server.daemon_threads = True
    return server


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--flight", type=Path, default=Path("flight.jsonl"))
    parser.add_argument("--reference", type=Path, help="load it if it exists, else write it")
    parser.add_argument("--alpha", type=float, default=0.01, help="false-alarm rate per image")
    parser.add_argument("--window", type=int, default=16, help="images per step")
    parser.add_argument("--max-wait", type=float, default=10.0, help="seconds to wait for them")
    parser.add_argument("--sample-rate", type=float, default=1.0, help="share of images watched")
    parser.add_argument("--rules", action="store_true", help="print Prometheus rules and stop")
    options = parser.parse_args()
    if options.rules:
        rules = alert_rules(
            CONFIG, NAME, step_seconds=options.max_wait, source="state", alpha=options.alpha
        )
        sys.stdout.write(rules)
        return
    logging.basicConfig(level=logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    service = Service(
        *watched(options.reference, options.alpha),
        options.flight,
        window=options.window,
        max_wait=options.max_wait,
        sample_rate=options.sample_rate,
    )
    server = make_server(service, options.host, options.port)
    host, port = server.server_address[:2]
    print(f"serving on http://{host}:{port}, flight record in {options.flight}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        service.close()


if __name__ == "__main__":
    main()
