"""From a watched model to operations: a flight record, metrics, alert rules, windows of requests.

In: a `Reading`, a `Status` and its events. Out: JSON lines that can be replayed under other
thresholds (`recorder`, `flight`, `replay`), Prometheus metrics and rules (`metrics`, `rules`).
`gather` turns single requests into windows, and watches a share of them. A new destination is a
module here with a method that takes a reading, a status and events.
"""

from deepdrift.export.flight import Flight, FlightStream, read_flight
from deepdrift.export.gather import Gather, Sampler, Window
from deepdrift.export.metrics import PrometheusExporter
from deepdrift.export.recorder import ExportError, FlightRecorder, reference_digest
from deepdrift.export.replay import FlightReplay, replay_flight
from deepdrift.export.rules import alert_rules

__all__ = [
    "ExportError",
    "Flight",
    "FlightRecorder",
    "FlightReplay",
    "FlightStream",
    "Gather",
    "PrometheusExporter",
    "Sampler",
    "Window",
    "alert_rules",
    "read_flight",
    "reference_digest",
    "replay_flight",
]
