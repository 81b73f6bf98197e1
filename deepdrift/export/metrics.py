"""Prometheus metrics of a watched model, through ``prometheus_client`` (extra ``export``).

==================================== ===========================================================
metric (with the label ``monitor``)  meaning
==================================== ===========================================================
deepdrift_samples_total              samples read
deepdrift_flagged_total              of these flagged at the threshold
deepdrift_invalid_total{where}       ``state``: samples with NaN or infinity inside the network,
                                     which are flagged too; ``request``: refused requests
deepdrift_p_value                    histogram of the p-values
deepdrift_drift{layer}               drift of the last step; +Inf where it is not finite
deepdrift_state{layer, state}        1 for the state a layer is in, 0 for the other three
deepdrift_events_total{layer, state} state changes, by the state entered
==================================== ===========================================================

``layer`` is ``fused`` for the fused score.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import torch

from deepdrift.alarms.config import STATES
from deepdrift.alarms.events import Event
from deepdrift.alarms.watch import FUSED, Status
from deepdrift.errors import require
from deepdrift.export.recorder import ExportError
from deepdrift.monitor.results import Reading

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

_FAMILIES: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


class PrometheusExporter:
    """Metrics of one monitor; safe to share between threads.

    Parameters
    ----------
    name : str
        Value of the label ``monitor``.
    registry : prometheus_client.CollectorRegistry, optional
        By default one of its own, so that exporters never collide. Pass one registry to several
        exporters of different names to serve them together.

    Raises
    ------
    MissingExtraError
        Without ``prometheus_client``.
    ExportError
        If the registry has an exporter of this name already, or other metrics of our names.

    Examples
    --------
    >>> from deepdrift.alarms.watch import Watch
    >>> exporter = PrometheusExporter("camera 7")
    >>> exporter.observe(None, *Watch(["a"]).update([4.5], fused=1.0))
    >>> exporter.value("deepdrift_drift", layer="a")
    4.5
    >>> exporter.value("deepdrift_state", layer="a", state="ALERT")
    1.0
    """

    def __init__(self, name: str, registry: Any = None) -> None:
        if not isinstance(name, str) or not name:
            raise ExportError(f"name: expected a name for the label monitor, got {name!r}")
        client = require("prometheus_client", "export")
        self.name, self.content_type = name, client.CONTENT_TYPE_LATEST
        self.registry = client.CollectorRegistry() if registry is None else registry
        with _LOCK:
            families = _FAMILIES.get(self.registry)
            if families is None:
                families = _FAMILIES[self.registry] = _register(client, self.registry)
            if name in families["names"]:
                raise ExportError(
                    f"name: this registry has an exporter {name!r} already; choose another name, "
                    "or leave registry out"
                )
            families["names"].add(name)
        self._latest = client.generate_latest
        self._by_layer = {k: families[k] for k in ("drift", "state", "events")}
        self._samples, self._flagged, self._p = (
            families[k].labels(name) for k in ("samples", "flagged", "p_value")
        )
        self._invalid = {w: families["invalid"].labels(name, w) for w in ("state", "request")}

    def observe(
        self,
        reading: Reading | None = None,
        status: Status | None = None,
        events: Sequence[Event] = (),
    ) -> None:
        """Count a reading, and show a status.

        Parameters
        ----------
        reading : Reading, optional
            Of `DeepDriftMonitor.read`.
        status, events : Status, sequence of Event, optional
            Of `DeepDriftMonitor.step` or a `Gather` window.
        """
        if not isinstance(reading, Reading | None):
            raise ExportError(f"reading: expected a Reading, got {type(reading).__name__}")
        if not isinstance(status, Status | None):
            raise ExportError(f"status: expected a Status, got {type(status).__name__}")
        if reading is not None:
            self._samples.inc(len(reading.score))
            self._flagged.inc(int(reading.flagged.sum()))
            self._invalid["state"].inc(int((~torch.isfinite(reading.score)).sum()))
            for p in reading.p_values.tolist():
                self._p.observe(p)
        if status is not None:
            fused = f"{FUSED} score" if FUSED in status else FUSED  # a layer may have that name
            for layer, row in [*status.items(), (fused, status.fused)]:
                drift = row["drift"] if math.isfinite(row["drift"]) else math.inf
                self._by_layer["drift"].labels(self.name, layer).set(drift)
                for state in STATES:
                    here = self._by_layer["state"].labels(self.name, layer, str(state))
                    here.set(row["state"] == state)
        for event in events:
            self._by_layer["events"].labels(self.name, event.name, str(event.state)).inc()

    def refused(self, n: int = 1) -> None:
        """Count requests that never reached the network: the wrong shape, NaN, no image at all."""
        self._invalid["request"].inc(n)

    def text(self) -> bytes:
        """What ``GET /metrics`` answers, as ``content_type`` says."""
        return self._latest(self.registry)

    def value(self, metric: str, **labels: str) -> float | None:
        """Present value of one series of this monitor; None if there is none."""
        return self.registry.get_sample_value(metric, {"monitor": self.name} | labels)


def _register(client: Any, registry: Any) -> dict[str, Any]:
    def make(kind: Any, key: str, text: str, *labels: str, **options: Any) -> Any:
        names = ("monitor", *labels)
        return kind(f"deepdrift_{key}", text, names, registry=registry, **options)

    counter, gauge, histogram = client.Counter, client.Gauge, client.Histogram
    try:
        return {
            "names": set(),
            "samples": make(counter, "samples", "Samples read."),
            "flagged": make(counter, "flagged", "Samples flagged at the threshold."),
            "invalid": make(
                counter, "invalid", "Samples that are not finite, and refused requests.", "where"
            ),
            "p_value": make(histogram, "p_value", "Conformal p-values.", buckets=BUCKETS),
            "drift": make(gauge, "drift", "Drift, standard normal while all is well.", "layer"),
            "state": make(gauge, "state", "1 for the state a layer is in.", "layer", "state"),
            "events": make(counter, "events", "State changes.", "layer", "state"),
        }
    except ValueError as error:
        raise ExportError(
            f"registry: it holds other metrics of these names ({error}); leave registry out"
        ) from error
