"""The live monitor: what it says at a step, and that every control re-runs the recording."""

import numpy as np
import pytest

from deepdrift.alarms.config import ObserverConfig
from deepdrift.lab.alarms.explorer import LiveMonitor
from deepdrift.lab.alarms.streams import DriftStream
from deepdrift.lab.bench.controls import ExplorerError

FUSED = np.array([0.0, 3.5, 0.2, 0.1, 2.0, 3.2, 3.6, 2.9, 1.0, 0.0])


def stream(fused=FUSED, onset=4):
    return DriftStream(np.column_stack([fused / 2, fused]), fused, fused > 1, onset, ("a", "b"))


def test_the_sentence_counts_the_delay_and_the_false_alarm():
    app = LiveMonitor(stream(), ObserverConfig(theta_slope=9.0))
    assert app.set(step=0).summary().startswith("NORMAL at step 0")
    said = app.set(step=6).summary()
    assert said.startswith("ALERT since step 5 (fused drift 3.2 >= 3.0)")
    assert "delay 1; 1 false alarm before" in said


def test_the_first_alert_and_the_present_one_are_two_things():
    values = np.array([0.0, 0.0, 3.5, 0.2, 0.1, 3.2, 3.6, 1.0, 0.0])
    app = LiveMonitor(stream(values, onset=1), ObserverConfig(theta_slope=9.0))
    shift = "the shift began at step 1; first alert at step 2, delay 1, ended at step 3; "
    shift += "0 false alarms before."
    assert app.summary(step=2).endswith(
        "the shift began at step 1: delay 1; 0 false alarms before."
    )
    assert app.summary(step=4) == f"NORMAL at step 4 (fused drift 0.10); {shift}"
    assert app.summary(step=5) == f"ALERT again since step 5 (fused drift 3.2 >= 3.0); {shift}"
    assert app.summary(step=8) == f"NORMAL at step 8 (fused drift 0.00); {shift}"


def test_an_alert_that_becomes_invalid_did_not_end():
    app = LiveMonitor(stream(np.array([0.0, 3.5, np.nan, 3.6]), onset=1), step=3)
    assert "; first alert at step 1, delay 0; 0 false alarms" in app.summary()


def test_a_moved_parameter_re_runs_the_recording():
    app = LiveMonitor(stream(), ObserverConfig(theta_slope=9.0), step=9)
    before, lines = bytes(app.image.value), app.log_lines()
    assert [line for line in lines if "ALERT [fused]" in line] == [
        "step 1 ALERT [fused]: threshold breach (3.5 >= 3.0)",
        "step 5 ALERT [fused]: threshold breach (3.2 >= 3.0)",
    ]
    app.theta_high.value = 3.3
    assert "step 6 ALERT [fused]: threshold breach (3.6 >= 3.3)" in app.log_lines()
    after = bytes(app.image.value)
    assert after.startswith(b"\x89PNG") and after != before
    app.theta_high.value = 3.0
    assert app.log_lines() == lines


def test_nothing_of_the_future_is_logged():
    app = LiveMonitor(stream(), ObserverConfig(theta_slope=9.0), step=4)
    assert not any("step 5" in line for line in app.log_lines())


def test_play_moves_the_step_and_the_lamp():
    app = LiveMonitor(stream(), ObserverConfig(theta_slope=9.0))
    assert "NORMAL" in app.lamp.value
    app.play.value = 5
    assert app.step.value == 5 and "ALERT" in app.lamp.value


def test_thresholds_in_the_wrong_order_get_a_sentence():
    app = LiveMonitor(stream())
    app.set(theta_low=4.0, theta_high=3.0)
    assert "theta_low" in app.summary()
    assert app.set(theta_low=1.0).summary().startswith("NORMAL at step 0")


def test_recordings_of_different_length_are_refused():
    with pytest.raises(ExplorerError, match="equal length"):
        LiveMonitor({"one": stream(), "two": stream(FUSED[:5])})
