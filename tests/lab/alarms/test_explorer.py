"""The live monitor: what it says at a step, and that every control re-runs the recording."""

from dataclasses import replace

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
    assert "at step 4: delay 1. False alarms before: 1." in said


def test_the_first_alert_and_the_present_one_are_two_things():
    values = np.array([0.0, 0.0, 3.5, 0.2, 0.1, 3.2, 3.6, 1.0, 0.0])
    app = LiveMonitor(stream(values, onset=1), ObserverConfig(theta_slope=9.0))
    assert app.summary(step=2).endswith(
        "It is the first since the shift began at step 1: delay 1. False alarms before: 0."
    )
    first = "since the shift began at step 1 came at step 2: delay 1; it ended at step 3. "
    first += "False alarms before: 0."
    assert app.summary(step=4) == f"NORMAL at step 4 (fused drift 0.10). The first alert {first}"
    again = "ALERT again since step 5 (fused drift 3.2 >= 3.0). The first "
    assert app.summary(step=5) == again + first
    assert app.summary(step=8) == f"NORMAL at step 8 (fused drift 0.00). The first alert {first}"


def test_an_alert_that_becomes_invalid_did_not_end():
    app = LiveMonitor(stream(np.array([0.0, 3.5, np.nan, 3.6]), onset=1), step=3)
    assert "at step 1 came at step 1: delay 0. False alarms before: 0." in app.summary()


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


def test_the_images_seen_now_stand_beside_the_trace():
    pictures = np.random.default_rng(0).integers(0, 255, (10, 3, 5, 4)).astype(np.uint8)
    plain = stream()
    app = LiveMonitor(replace(plain, pictures=pictures), ObserverConfig(theta_slope=9.0), step=2)
    _, _, seen = app._axes
    sheet = seen.images[0].get_array()
    assert sheet.shape == (10, 8) and (sheet[:5, 4:] == pictures[2, 1]).all()
    assert (sheet[5:, :4] == pictures[2, 2]).all() and (sheet[5:, 4:] == 0).all()
    before = bytes(app.image.value)
    app.step.value = 3
    assert len(seen.images) == 1 and (seen.images[0].get_array()[:5, :4] == pictures[3, 0]).all()
    assert bytes(app.image.value) != before
    assert len(LiveMonitor(plain)._axes) == 2


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_lines_carry_their_names():
    app = LiveMonitor(stream(), ObserverConfig(theta_slope=9.0), step=3)
    names = ["theta_high", "theta_low", "-theta_high", "-theta_low"]
    assert words(app._axes[0]) == names
    assert words(app.set(step=4)._axes[0]) == [*names, "shift begins"]
    one = LiveMonitor(stream(), ObserverConfig(two_sided=False), step=3)
    assert words(one._axes[0]) == ["theta_high", "theta_low"]


def test_a_bar_between_the_lines_says_that_its_alert_goes_on():
    app = LiveMonitor(stream(), ObserverConfig(theta_slope=9.0), step=6)
    assert words(app._axes[1]) == []  # layer a is half of b: 1.8, never above 3
    assert words(app.set(step=7)._axes[1]) == ["still ALERT"]  # 2.9, after 3.6
    assert words(app.set(step=8)._axes[1]) == []  # 1.0: over


def test_it_starts_with_few_controls_and_more_opens_the_rest():
    app = LiveMonitor({"one": stream(), "two": stream()})
    first, rest, words_row, image = app.view.children
    shown = [row.children for row in first.children]
    assert [app.play in row for row in shown] == [False, True, False, False]
    assert app.more in shown[0] and rest.layout.display == "none" and image is app.image
    assert words_row.children == (app.lamp, app.status, app.log)
    app.more.value = True
    assert rest.layout.display == "flex" and len(rest.children) == 5


def test_the_log_keeps_to_its_lines():
    values = np.tile([0.0, 4.0], 10)
    app = LiveMonitor(stream(values), ObserverConfig(theta_slope=9.0), step=19)
    assert app.log.value.count("step ") == 3 and "earlier lines)" in app.log.value
