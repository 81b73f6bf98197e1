"""Plain JSON of results, and log records of events."""

import json
import logging
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from deepdrift import diagnose_drift
from deepdrift.alarms.config import ObserverConfig, State
from deepdrift.alarms.fsm import DriftObserver
from deepdrift.alarms.plain import plain
from deepdrift.alarms.replay import replay
from deepdrift.alarms.watch import Watch
from deepdrift.monitor.results import Reading


def dumped(thing):
    """Through strict JSON and back; it must be what went in."""
    made = thing.to_dict()
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    return made


def test_every_kind_of_value():
    made = plain(
        {
            "state": State.ALERT,
            "array": np.array([[1.0, -math.inf]]),
            "tensor": torch.tensor([True, False]),
            "scalar": np.float32(math.nan),
            "deep": {"a": [(1, None, "x")]},
            3: 2,
        }
    )
    assert made == {
        "state": "ALERT",
        "array": [[1.0, None]],
        "tensor": [True, False],
        "scalar": None,
        "deep": {"a": [[1, None, "x"]]},
        3: 2,
        "why_null": {"array[0][1]": "-inf", "scalar": "nan"},
    }
    assert "why_null" not in plain({"a": 1.0})
    with pytest.raises(TypeError, match="a.b: object has no plain form"):
        plain({"a": {"b": object()}})


def test_steps_and_events():
    observer = DriftObserver(ObserverConfig(), "layer4")
    first = dumped(observer.update(0.5))
    assert first == {
        "step": 0,
        "value": 0.5,
        "state": "NORMAL",
        "previous": "NORMAL",
        "slope": None,
        "slope_error": None,
        "statistic": None,
        "why_null": {"slope": "nan", "slope_error": "nan", "statistic": "nan"},
        "event": None,
    }
    assert dumped(observer.update(None))["why_null"]["value"] == "missing"
    event = dumped(observer.update(3.2))["event"]
    assert event["message"] == "ALERT [layer4]: threshold breach (3.2 >= 3.0)"
    assert ObserverConfig(**event["config"]) == observer.config
    assert dumped(observer.update(math.nan))["event"]["why_null"]["value"] == "nan"


def test_a_status_says_where_in_its_stream_it_is():
    watch = Watch(["a", "b"], ObserverConfig(theta_high=4.0))
    for i, step in enumerate((10, 20), start=1):
        status, _ = watch.update([math.inf, 0.5], fused=5.0, step=step)
        assert (status.count, status.step, status.config.theta_high) == (i, step, 4.0)
    assert status.stream == watch.stream != Watch(["a"]).stream
    made = dumped(status)
    assert made["layers"]["a"] == {"drift": None, "slope": None, "state": "INVALID"}
    assert made["why_null"]["layers.a.drift"] == "inf"
    assert made["fused"]["drift"] == 5.0 and made["count"] == 2


def test_a_diagnosis():
    made = dumped(diagnose_drift({"a": 8.0, "b": 7.0}))
    assert made["name"] == "sensor failure" and made["advice"] in made["message"]
    assert made["evidence"][1] == {"name": "b", "drift": 7.0, "length": None, "dead": None}
    assert made["why_null"]["evidence[1].length"] == "nan"


def test_a_reading():
    score, p = torch.tensor([1.0, math.inf]).double(), torch.tensor([0.5, 0.0]).double()
    blocks = {"distance": torch.tensor([[1.0], [math.nan]])}
    reading = Reading(score, p, p <= 0.05, blocks, blocks, ("a",), ("a",))
    made = dumped(reading)
    assert (made["n"], made["n_flagged"], made["flagged"]) == (2, 1, [False, True])
    assert made["score"] == [1.0, None] and made["p_values"] == [0.5, 0.0]
    assert made["invalid_layers"] == made["layers"] == ["a"]
    assert made["why_null"]["blocks.distance[1][0]"] == "nan"
    short = reading.to_dict(per_layer=False)
    assert "blocks" not in short and short["why_null"] == {"score[1]": "inf"}


# ---- logging ----


def test_events_are_logged_at_the_level_of_their_state(caplog):
    with caplog.at_level(logging.INFO, logger="deepdrift"):
        observer = DriftObserver(ObserverConfig(window_size=5), "x")
        for value in (0.0, 0.3, 0.6, 0.9, 1.2, 3.5, math.nan, 4.0, math.inf, 0.0):
            observer.update(value)
    levels = [(r.levelname, r.getMessage().split()[0]) for r in caplog.records]
    assert levels == [
        ("WARNING", "WARNING"),
        ("ERROR", "ALERT"),
        ("ERROR", "INVALID"),
        ("ERROR", "ALERT"),
        ("ERROR", "INVALID"),
        ("INFO", "NORMAL"),
    ]
    assert {r.name for r in caplog.records} == {"deepdrift"}
    assert [r.event for r in caplog.records] == list(observer.events)


def test_a_replay_logs_nothing(caplog):
    replay([9.0, 0.0, math.nan])
    assert not caplog.records


def test_without_handlers_nothing_is_written():
    code = "from deepdrift import DriftObserver as D; D().update(9.0)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == run.stderr == ""
    code = "import logging; logging.basicConfig(); " + code
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == "ERROR:deepdrift:ALERT: threshold breach (9.0 >= 3.0)\n"
