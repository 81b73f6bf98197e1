"""The two explorers of notebook 11: what they say, hide and draw, from episodes made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from made import LINES, after, trace

from deepdrift.alarms.config import ObserverConfig
from deepdrift.lab.bench.controls import ExplorerError
from deepdrift.lab.bench.figures import INK, ORANGE
from deepdrift.lab.reinforcement_learning.explorer import (
    AlarmExplorer,
    Scrubber,
    machine_outcomes,
)
from deepdrift.lab.reinforcement_learning.traces import TRACED, Trace


@pytest.fixture
def scrubber():
    episodes = {
        "A": trace(after(8), lost=19), "B": trace(after(8)), "C": trace([1.0] * 20, fault=""),
        "D": trace([1.0] * 30, lost=29, plant="lunarlander"),
    }  # fmt: skip
    return Scrubber(episodes, {"cartpole": 10.0, "lunarlander": 10.0})


def test_before_the_stop_nothing_is_given_away(scrubber):
    said = scrubber.summary(step=10)
    assert said == "A, step 10: true margin 0.75. Would you stop here?"
    assert "lag" not in said.lower()
    scrubber.set(step=10)
    scene, margin, score = scrubber._axes
    assert len(margin.lines[0].get_xdata()) == 11  # up to now
    assert [t.get_text() for t in score.texts] == ["after your stop"] and not score.lines
    assert {line.get_color() for line in scene.lines} & {ORANGE} == set()


def test_after_the_stop_both_delays_are_said(scrubber):
    assert scrubber.summary(step=10, stop=True) == (
        "Lag from step 4, control was lost at 20. You: 10, delay 6, 10 steps before the loss. "
        "The monitor: 8, delay 4, 12 steps before the loss."
    )
    assert "You: 19, delay 15, 1 step before the loss." in scrubber.summary(step=19, stop=True)
    assert "You: 2, a false alarm." in scrubber.summary(step=2, stop=True)
    assert "You: no stop before the end." in scrubber.summary(step=20, stop=True)
    said = scrubber.summary(episode="B", step=10, stop=True)
    assert "nothing was lost" in said and "You: 10, delay 6, needlessly." in said


def test_an_episode_without_a_fault_has_false_alarms_only(scrubber):
    said = scrubber.summary(episode="C", step=12, stop=True)
    assert said == (
        "Nothing was broken. You: 12, a false alarm. The monitor: no stop before the end."
    )


def test_the_end_is_said_when_it_is_reached(scrubber):
    assert scrubber.summary(step=30).endswith("; control is lost.")
    assert scrubber.summary(episode="B", step=30).endswith("nothing was lost.")
    assert "step 20:" in scrubber.summary(step=30)


def test_a_stop_locks_the_step_until_another_episode(scrubber):
    scrubber.set(step=10)
    assert not scrubber.step.disabled
    scrubber.set(stop=True)
    assert scrubber.step.disabled
    words = [t.get_text() for t in scrubber._axes[2].texts]
    assert words == ["fault", "alarm", "you", "lost"]
    scrubber.set(episode="D")
    assert not scrubber.step.disabled and scrubber.values["step"] == 0
    assert not scrubber.values["stop"]
    scrubber.set(stop=True, step=9)
    scrubber.episode.value = "A"  # by hand
    assert scrubber.values == {"episode": "A", "stop": False, "step": 0}


def test_another_episode_at_a_step_in_any_order(scrubber):
    scrubber.set(step=10, stop=True)
    assert "B, step 0:" in scrubber.summary(episode="B")
    there = scrubber.summary(step=6, stop=True, episode="B")
    assert scrubber.set(step=6, stop=True, episode="B").summary() == there
    assert scrubber.values == {"episode": "B", "stop": True, "step": 6}


def test_the_axis_of_time_does_not_tell_where_an_episode_ends(scrubber):
    assert scrubber._axes[1].get_xlim() == (0, 20)
    scrubber.set(episode="D")
    assert scrubber._axes[1].get_xlim() == (0, 30)


def test_the_plant_is_orange_after_fault_and_stop(scrubber):
    scrubber.set(step=10, stop=True)
    assert ORANGE in {line.get_color() for line in scrubber._axes[0].lines}
    scrubber.set(step=2)
    assert ORANGE not in {line.get_color() for line in scrubber._axes[0].lines}
    assert INK in {line.get_color() for line in scrubber._axes[0].lines}


def test_a_scrubber_needs_episodes_lines_and_a_signal():
    with pytest.raises(ExplorerError, match="expected at least one"):
        Scrubber({}, {})
    with pytest.raises(ExplorerError, match="expected one for cartpole"):
        Scrubber({"A": trace(after(8))}, {"lunarlander": 1.0})
    with pytest.raises(ExplorerError, match="signal: expected one of hidden innovation"):
        Scrubber({"A": trace(after(8))}, {"cartpole": 1.0}, "speed")


# ---- the alarm explorer ----


def one_peak(at, n=20):
    return [30.0 if k == at else 1.0 for k in range(1, n + 1)]


@pytest.fixture
def app():
    """A lag kills at observation 20; its score jumps at 8. One clean episode has a single peak."""
    kills = [trace(after(8), severity=s, lost=19) for s in (3, 3, 5, 5)]
    mild = [trace(one_peak(9), "wind", s) for s in (3, 3, 5, 5)]
    clean = [trace(one_peak(5), ""), trace([1.0] * 20, "")]
    four = [
        Trace(t.plant, t.fault, 4, t.onset, t.seed, -1, t.lost, t.states, t.actions, t.scores,
              t.danger)
        for t in (*kills[:2], *mild[:2])
    ]  # fmt: skip
    return AlarmExplorer([*kills, *mild, *four, *clean], LINES)


def test_the_sentence_counts_outcomes_and_false_alarms(app):
    assert app.summary() == (
        "lag at severity 5, 2 episodes: 2 caught in time. Clean: a false alarm in 1 of 2."
    )
    assert app.summary(fault="wind", severity=3) == (
        "wind at severity 3, 2 episodes: 2 benign with alarm. Clean: a false alarm in 1 of 2."
    )


def test_patience_takes_the_peaks_away_and_costs_steps(app):
    """The alarm comes at 8 + 2, then at 8 + 8: 4 steps before the loss at 20."""
    assert "1 of 2" in app.summary(raise_after=1)
    assert app.summary(raise_after=3).endswith("Clean: a false alarm in 0 of 2.")
    faulty, clean = app.outcomes(raise_after=3)
    assert faulty.lead.tolist() == [10, 10] and clean.count("false alarm") == 0
    assert app.outcomes(raise_after=9)[0].count("too late") == 2
    assert app.outcomes(raise_after=20)[0].count("missed") == 2
    assert "2 benign without alarm" in app.summary(fault="wind", raise_after=2)


def test_the_line_is_a_multiple_of_the_threshold(app):
    assert app.outcomes(line=3.0)[0].count("caught in time") == 2  # 30 is three times the line
    assert app.outcomes(line=3.1)[0].count("missed") == 2


def test_an_alert_ends_at_a_share_of_the_line():
    """Line at 2 thresholds, low at 0.5 of it: a score of 0.8 thresholds ends the ALERT, 1.2 not."""
    for level, ends in ((8.0, True), (12.0, False)):
        some = [trace([1.0] * 7 + [30.0] + [level] * 12), trace([1.0] * 20, "")]
        app = AlarmExplorer(some, LINES).set(line=2.0, low=0.5)
        shaded = [c for c in app._axes[0].collections if c.get_facecolor()[0][2] < 0.5]  # ALERT
        right = max(path.vertices[:, 0].max() for c in shaded for path in c.get_paths())
        assert right == (9 if ends else 21)  # each step is shaded up to the next


def test_one_episode_is_drawn_with_its_states(app):
    left = app._axes[0]
    assert left.get_title(loc="left") == "episode 1"
    assert [t.get_text() for t in left.texts] == ["fault", "ALERT", "lost"]
    alert = [line.get_xdata()[0] for line in left.lines if line.get_color() == INK]
    assert 8 in alert
    app.set(raise_after=20)
    assert [t.get_text() for t in app._axes[0].texts] == ["fault", "lost"]


def test_the_shortcut_for_quiet_episodes_changes_nothing():
    """Random scores around the line: with and without a look at the largest score."""
    rng = np.random.default_rng(0)
    some = [trace(rng.exponential(2.5, 20)) for _ in range(30)]
    config = ObserverConfig(theta_high=1.0, theta_low=0.7, two_sided=False)
    found = machine_outcomes(some, TRACED[0], 10.0, config)
    above = [np.flatnonzero(t.scores[TRACED[0]] >= 10.0) for t in some]
    first = [int(x[0]) + 1 if len(x) else -1 for x in above]
    assert min(first) == -1 < max(first)
    expected = [3 if 0 < a < 4 else 4 if a > 0 else 5 for a in first]
    assert found.kinds.tolist() == expected


def test_it_starts_where_it_is_told():
    some = [trace(after(8), f, 3) for f in ("lag", "wind")] + [trace([1.0] * 20, "")]
    assert AlarmExplorer(some, LINES, fault="wind").values["fault"] == "wind"
    with pytest.raises(ExplorerError, match="fault: expected one of lag, wind, got 'fog'"):
        AlarmExplorer(some, LINES, fault="fog")


def test_incomplete_sets_are_refused():
    broken = [trace(after(8), "lag", 3), trace([1.0] * 20, "")]
    with pytest.raises(ExplorerError, match="clean episodes"):
        AlarmExplorer(broken[:1], LINES)
    with pytest.raises(ExplorerError, match="every fault at every severity"):
        AlarmExplorer([*broken, trace(after(8), "wind", 5)], LINES)
    with pytest.raises(ExplorerError, match="one plant"):
        AlarmExplorer([*broken, trace(after(8), "lag", 3, plant="lunarlander")], LINES)
    with pytest.raises(ExplorerError, match="thresholds: expected one for"):
        AlarmExplorer(broken, {"hidden innovation": 10.0})
    with pytest.raises(ExplorerError, match="expected at least one episode"):
        machine_outcomes([], TRACED[0], 1.0, ObserverConfig())
