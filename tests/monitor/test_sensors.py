"""A dead or frozen sensor in front of a shipped network is no normal stream."""

from __future__ import annotations

import pytest
import torch

from deepdrift import DeepDriftMonitor
from deepdrift.alarms.config import State
from deepdrift.lab import data

BATCH = 64


@pytest.fixture(scope="module", params=["cnn", "vit"])
def monitor(request):
    parts, network = data.load(), data.load_network(request.param)
    with DeepDriftMonitor(network, data.NETWORK_LAYERS[request.param]) as watched:
        watched.fit([(parts.fit.images[:1500], parts.fit.labels[:1500])])
        watched.calibrate([parts.calibration.images[:1000]])
        yield watched


def raised(monitor, batch):
    """Layers, and perhaps the fused score, in ALERT after one step of a fresh stream."""
    monitor.reset_stream()
    status, _ = monitor.step(batch)
    return [k for k, d in (*status.items(), ("fused", status.fused)) if d["state"] is State.ALERT]


@pytest.mark.parametrize("grey", [0.0, 0.25, 0.5, 1.0])
def test_a_dead_sensor_alerts_in_most_layers(monitor, grey):
    found = raised(monitor, torch.full((BATCH, 1, 28, 28), grey))
    assert len(found) >= len(monitor.layers) and "fused" in found


def test_a_frozen_sensor_alerts_whatever_the_image(monitor):
    """A typical image is too ordinary, an odd one too unusual; none is as mixed as normal data."""
    images = data.load().test.images[:40]
    assert all(raised(monitor, image.expand(BATCH, 1, 28, 28)) for image in images)


def test_clean_batches_alert_about_as_often_as_a_normal_number_says(monitor):
    """2 x 0.00135 for each of up to eight drifts: below 2.2 % of the batches."""
    batches = data.load().test.images.split(BATCH)[:40]
    assert sum(bool(raised(monitor, batch)) for batch in batches) <= 4
