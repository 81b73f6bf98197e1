"""The state machine: hand-worked traces, known ways to fail, replay against single steps, rates."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deepdrift.alarms.config import ObserverConfig, ObserverError, State
from deepdrift.alarms.fsm import DriftObserver
from deepdrift.alarms.replay import replay
from deepdrift.alarms.run_length import (
    average_run_length,
    correlation_block,
    false_alarms_per_1000,
    threshold_for_rate,
)
from deepdrift.alarms.sequential import window_slopes
from deepdrift.errors import CalibrationError, DeepDriftError

N, W, A, X = State.NORMAL, State.WARNING, State.ALERT, State.INVALID
DETECTORS = ["slope", "ewma", "cusum", "page-hinkley"]
nan, inf = math.nan, math.inf


def walk(values, config=None, steps=None, name="layer"):
    """States and printed events, step by step; the replay must agree wherever this is used."""
    observer = DriftObserver(config, name)
    steps = [None] * len(values) if steps is None else steps
    seen = [observer.update(v, s) for v, s in zip(values, steps, strict=True)]
    trace = replay(values, config, None if steps[0] is None else steps, name)
    assert trace.states.tolist() == [s.state for s in seen]
    assert [str(e) for e in trace.events] == [str(e) for e in observer.events]
    return [s.state for s in seen], [str(e) for e in observer.events]


# ---- transitions, worked by hand ----


def test_alert_is_raised_at_the_high_threshold_and_cleared_at_the_low_one():
    states, events = walk([0, 2.9, 3.0, 2.0, 1.6, 1.5, 2.0, 3.2], name="layer4")
    assert states == [N, N, A, A, A, N, N, A]
    assert events == [
        "ALERT [layer4]: threshold breach (3.0 >= 3.0)",
        "NORMAL [layer4]: recovered (1.5 <= 1.5)",
        "ALERT [layer4]: threshold breach (3.2 >= 3.0)",
    ]


def test_an_alert_is_pending_until_the_dwell_is_over():
    config = ObserverConfig(raise_after=3)
    states, events = walk([4, 4, 0, 4, 4, 4, 4], config)
    assert states == [N, N, N, N, N, A, A]
    assert events == ["ALERT [layer]: threshold breach (4.0 >= 3.0 for 3 steps)"]
    observer, pending = DriftObserver(config), []
    for value in (4, 4, 0, 4, 4, 4, 4):
        observer.update(value)
        pending.append(observer.pending)
    assert pending == [1, 2, 0, 1, 2, 0, 0]


def test_an_alert_keeps_firing_until_enough_calm_values_run():
    states, _ = walk([4, 1, 1, 2, 1, 1, 1, 1], ObserverConfig(clear_after=3))
    assert states == [A, A, A, A, A, A, N, N]


def test_a_steady_rise_warns_when_the_window_is_full_and_then_alerts():
    values = [0.3 * i for i in range(11)]  # 0 ... 3.0, the slope is 0.3
    states, events = walk(values, ObserverConfig(window_size=5), name="layer3")
    assert states == [N] * 4 + [W] * 6 + [A]
    assert events == [
        "WARNING [layer3]: rapid drift (slope 0.3 per step)",
        "ALERT [layer3]: threshold breach (3.0 >= 3.0)",
    ]


def test_the_published_wording_of_a_warning():
    values = 0.045 * np.arange(20)
    trace = replay(values, ObserverConfig(theta_slope=0.04, window_size=20), name="layer3")
    assert str(trace.events[0]) == "WARNING [layer3]: rapid drift (slope 0.045 per step)"
    assert trace.onsets(W).tolist() == [19]


def test_a_rise_below_theta_slope_does_not_warn_however_significant():
    assert set(replay(0.049 * np.arange(60)).states) == {"NORMAL"}
    assert set(replay(0.051 * np.arange(25)).states) == {"NORMAL", "WARNING"}


def test_a_warning_ends_when_the_rise_is_over_and_the_value_is_low():
    values = [0.0, 0.3, 0.6, 0.9, 1.2, 1.2, 0.9, 0.6, 0.3, 0.0]
    # 5-windows from step 4: slope 0.30, 0.24, 0.09 with ratio 1e7, 6.9, 1.2; the level is 4.54,
    # and the warning lets go below half of it
    states, events = walk(values, ObserverConfig(window_size=5))
    assert states == [N, N, N, N, W, W, N, N, N, N]
    assert events[-1] == "NORMAL [layer]: recovered (0.9 <= 1.5)"


def test_a_plateau_just_below_the_alert_is_not_forgotten():
    """The published machine called a plateau at 2.9 normal as soon as its slope was gone."""
    values = [*np.arange(0, 2.9, 0.1), *[2.9] * 200, 1.0]
    states, events = walk(values, ObserverConfig(window_size=10))
    assert states[9] == W and set(states[9:-1]) == {W}
    assert states[-1] == N and len(events) == 2


def test_an_alert_never_turns_into_a_warning():
    values = [5.0, *np.arange(1.6, 2.9, 0.05)]
    states, _ = walk(values, ObserverConfig(window_size=5))
    assert set(states) == {A}


def test_recovery_clears_the_window():
    """The published machine still saw the old window: slope 0.467 and five steps of WARNING."""
    values = [0.0, 0.4, 0.8, 1.2, 2.0, 2.6, 3.2, 1.5, 1.5, *[1.4] * 7]
    config = ObserverConfig(window_size=8, slope_confidence=0.8)
    old_window = replay(values, dataclasses.replace(config, theta_high=99))
    assert old_window.statistics[8] > config.warning_level and old_window.slopes[8] > 0.05
    observer = DriftObserver(config)
    steps = [observer.update(v) for v in values]
    assert [s.state for s in steps[6:]] == [A] + [N] * 9
    assert math.isfinite(steps[7].slope)  # the window that recovered was full,
    assert [math.isnan(s.slope) for s in steps[8:]] == [True] * 7 + [False]  # the next is not yet


def test_a_value_on_both_thresholds_does_not_flap():
    config = ObserverConfig(theta_high=3.0, theta_low=3.0)
    assert walk([3.0] * 5 + [2.9], config)[0] == [A] * 5 + [N]


def test_a_value_can_be_too_ordinary():
    """A frozen or covered sensor: drift -9 to -15, which is no NORMAL."""
    states, events = walk([0, -2.9, -3.0, -2, -1.6, -1.5, 3.0, -3.0, -1.5, 1.5])
    assert states == [N, N, A, A, A, N, A, A, N, N]
    assert events == [
        "ALERT [layer]: unusually ordinary (-3.0 <= -3.0)",
        "NORMAL [layer]: recovered (-1.5 >= -1.5)",
        "ALERT [layer]: threshold breach (3.0 >= 3.0)",
        "NORMAL [layer]: recovered (-1.5 >= -1.5)",
    ]
    states, events = walk([-7, -2, -7, 9, -2, 1], ObserverConfig(raise_after=2))
    assert states == [N, N, N, A, A, N]  # beyond on one side, then on the other
    assert events[0] == "ALERT [layer]: threshold breach (9.0 >= 3.0 for 2 steps)"
    assert walk([-7, -8], ObserverConfig(raise_after=2))[1] == [
        "ALERT [layer]: unusually ordinary (-8.0 <= -3.0 for 2 steps)"
    ]
    assert set(walk([-15.0] * 9, ObserverConfig(two_sided=False))[0]) == {N}
    assert walk([3.0, -9.0], ObserverConfig(two_sided=False))[1][-1] == (
        "NORMAL [layer]: recovered (-9.0 <= 1.5)"
    )


@pytest.mark.parametrize("detector", DETECTORS)
def test_either_side_is_the_mirror_image_of_the_other(detector):
    rng = np.random.default_rng(4)
    values = rng.normal(size=400) + np.repeat(rng.choice([0, 0.8, 3], 20), 20)
    config = ObserverConfig(detector=detector)
    up, down = replay(values, config), replay(-values, config)
    assert up.states.tolist() == down.states.tolist() and len(up.events) > 5
    np.testing.assert_allclose(up.statistics, -down.statistics, rtol=1e-9, atol=1e-9)
    mirror = {"threshold breach": "unusually ordinary", "unusually ordinary": "threshold breach"}
    assert [e.cause for e in up.events] == [mirror.get(e.cause, e.cause) for e in down.events]


def test_only_a_slope_away_from_zero_warns():
    config = ObserverConfig(window_size=5, theta_high=9, theta_low=0.1)
    fall = np.arange(0, -8.0, -0.5)
    states, events = walk(fall, config)
    assert states[:4] == [N] * 4 and set(states[4:]) == {W}
    assert events == ["WARNING [layer]: rapid drift (slope -0.5 per step)"]
    assert set(walk(fall + 8, config)[0]) == {N}  # on its way back
    assert set(walk(fall, dataclasses.replace(config, two_sided=False))[0]) == {N}
    _, events = walk(np.arange(0, -3.1, -0.1), ObserverConfig(window_size=10))
    assert events[-1] == "ALERT [layer]: unusually ordinary (-3.0 <= -3.0)"


def test_a_sustained_drift_downwards_says_so():
    config = ObserverConfig(detector="cusum", cusum_limit=2.0)
    states, events = walk([-1.5, -1.5, -1.5, 0.5, 1.0], config)
    assert states == [N, W, W, W, N]  # sums 1, 2, 3, 1 (capped at 2, held at half of it), 0
    assert events[0] == "WARNING [layer]: sustained drift (CUSUM -2.0 <= -2.0)"


# ---- values that are not numbers, missing values, gaps ----


@pytest.mark.parametrize("bad", [nan, inf, -inf])
@pytest.mark.parametrize(
    "history, after, expected",
    [([0.0], 2.0, N), ([3.5], 2.0, A), ([3.5], 1.0, N), ([0.0], 3.5, A)],
)
def test_invalid_at_once_and_back_to_what_the_history_implies(bad, history, after, expected):
    states, events = walk([*history, bad, bad, after])
    assert states[-3:] == [X, X, expected]
    assert f"INVALID [layer]: value is {bad}" in events
    assert sum("INVALID" in e for e in events) == 1


def test_the_events_around_invalid_values():
    _, events = walk([3.5, nan, 2.0, nan, 1.0])
    assert events == [
        "ALERT [layer]: threshold breach (3.5 >= 3.0)",
        "INVALID [layer]: value is nan",
        "ALERT [layer]: value is finite again (2.0)",
        "INVALID [layer]: value is nan",
        "NORMAL [layer]: recovered (1.0 <= 1.5)",
    ]
    assert replay([3.5, nan, 2.0]).onsets(A).tolist() == [0]  # one alert, not two


def test_nan_interrupts_a_recovery_and_stays_out_of_the_slope():
    assert walk([4, 1, nan, 1, 1], ObserverConfig(clear_after=2))[0] == [A, A, X, A, N]
    values = [0.3, 0.1, nan, 0.4, inf, 0.2, 0.6]
    slope = replay(values, ObserverConfig(window_size=5)).slopes[-1]
    assert slope == pytest.approx(np.polyfit([0, 1, 3, 5, 6], [0.3, 0.1, 0.4, 0.2, 0.6], 1)[0])


def test_missing_values_change_nothing_but_the_time():
    config = ObserverConfig(raise_after=2, window_size=5)
    assert walk([4, None, None, 4, None, 1], config)[0] == [N, N, N, A, A, N]
    assert walk([nan, None, 1], config)[0] == [X, X, N]
    by_none = replay([1, None, 2, None, None, 3, 5, 4], config)
    by_step = replay([1, 2, 3, 5, 4], config, steps=[0, 2, 5, 6, 7])
    expected = np.polyfit([0, 2, 5, 6, 7], [1, 2, 3, 5, 4], 1)[0]
    assert by_none.slopes[-1] == by_step.slopes[-1] == pytest.approx(expected)


def test_a_long_gap_starts_the_window_afresh():
    """One slope across a gap of 1,000 steps would be flat; the rise after it must count."""
    values = [0.0] * 5 + [0.3 * i for i in range(5)]
    config = ObserverConfig(window_size=5)
    steps = [*range(5), *range(1000, 1005)]
    trace = replay(values, config, steps)
    assert np.isnan(trace.slopes[5:9]).all()
    assert trace.slopes[9] == pytest.approx(0.3)
    assert walk(values, config, steps)[0] == [N] * 9 + [W]
    # one step less than a gap: the window goes on
    assert np.isfinite(replay([0.0] * 6, config, [0, 1, 2, 3, 4, 9]).slopes[-1])
    assert np.isnan(replay([0.0] * 6, config, [0, 1, 2, 3, 4, 10]).slopes[-1])


def test_a_long_gap_also_ends_a_pending_alert_but_not_a_firing_one():
    config = ObserverConfig(raise_after=2, window_size=5)
    assert walk([0, 4, 4], config, [0, 1, 6])[0] == [N, N, A]
    assert walk([0, 4, 4], config, [0, 1, 7])[0] == [N, N, N]
    assert walk([4, 4, 2], config, [0, 1, 99])[0] == [N, A, A]


# ---- detectors ----


def test_each_chart_warns_at_its_level():
    half = [0.0] * 3
    cases = {
        # EWMA weight 1: the value itself; level 2
        "ewma": ({"ewma_weight": 1.0, "ewma_limit": 2.0}, [1.9, 2.1], [N, W]),
        # CUSUM: 1 - .5, + 1.5, + 1.4 -> .5, 2.0, 3.4
        "cusum": ({"cusum_limit": 3.0}, [1.0, 2.0, 1.9], [N, N, W]),
        # Page-Hinkley around means 0, .5 (4 zeros before): 2 - .4 - .5 = 1.1
        "page-hinkley": ({"ph_limit": 1.0, "window_size": 5}, [0.0, 2.0], [N, W]),
    }
    for detector, (options, values, expected) in cases.items():
        states, events = walk(half + values, ObserverConfig(detector=detector, **options))
        assert states == [N] * 3 + expected, detector
        assert events[-1].startswith("WARNING [layer]: sustained drift")
    assert events[-1] == "WARNING [layer]: sustained drift (Page-Hinkley 1.1 >= 1.0)"


def test_page_hinkley_is_silent_until_it_knows_a_mean():
    config = ObserverConfig(detector="page-hinkley", window_size=6, theta_high=99)
    assert walk([0, 20, 20, 20, 20, 20], config)[0] == [N] * 5 + [W]


@pytest.mark.parametrize("detector", DETECTORS[1:])
def test_a_chart_starts_again_after_recovery(detector):
    """A CUSUM that kept its sum would warn again right after the alert is over."""
    values = [0.0] * 20 + [9.0] * 50 + [0.0] * 30
    states, events = walk(values, ObserverConfig(detector=detector))
    assert states[20:70] == [A] * 50 and set(states[70:]) == {N}
    assert [e.split()[0] for e in events] == ["ALERT", "NORMAL"]


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_slow_drift_is_announced_before_the_threshold_falls(detector):
    rng = np.random.default_rng(0)
    early = 0
    for _ in range(40):
        values = 0.7 * rng.normal(size=160)
        values[60:] += 0.04 * np.arange(100)
        trace = replay(values, ObserverConfig(detector=detector, raise_after=2))
        alert = trace.onsets(A)[0]
        early += any(60 <= w < alert for w in trace.onsets(W))
    assert early >= 25


# ---- stationary noise ----


@pytest.mark.parametrize("window", [8, 20])
@pytest.mark.parametrize("sd", [0.2, 0.3, 0.5])
def test_stationary_noise_warns_about_as_rarely_as_stated(sd, window):
    """An absolute slope limit gave 122, 266 and 378 events and up to 36 % of the time here."""
    rng = np.random.default_rng(7)
    config = ObserverConfig(window_size=window, slope_confidence=0.99)
    traces = [replay(1.0 + sd * rng.normal(size=2000), config) for _ in range(10)]
    # 1 % of the steps fire; held down to half the level, WARNING lasts up to twice as long
    assert np.mean([t.share(W) for t in traces]) <= 0.025
    assert np.mean([len(t.onsets(W)) for t in traces]) <= 20


def test_the_slope_test_has_its_nominal_size_on_white_noise():
    values = np.random.default_rng(8).normal(size=100_000)
    for confidence in (0.95, 0.99):
        config = ObserverConfig(theta_slope=0, slope_confidence=confidence, two_sided=False)
        fires = (replay(values, config).statistics > config.warning_level).mean()
        assert fires == pytest.approx(1 - confidence, rel=0.15)
        config = ObserverConfig(theta_slope=0, slope_confidence=confidence)
        ratios = window_slopes(np.arange(len(values)), values, 20)[2]
        assert (abs(ratios) > config.warning_level).mean() == pytest.approx(
            1 - confidence, rel=0.15
        )
        away = (ratios * np.where(values < 0, -1, 1) > config.warning_level).mean()
        assert 0.7 * (1 - confidence) < away < 1 - confidence


def test_hysteresis_keeps_a_noisy_plateau_from_flapping():
    values = 3.0 + 0.3 * np.random.default_rng(9).normal(size=1000)
    with_gap = replay(values, ObserverConfig(theta_high=3.0, theta_low=1.5))
    without = replay(values, ObserverConfig(theta_high=3.0, theta_low=3.0))
    assert len(with_gap.onsets(A)) == 1 and len(without.onsets(A)) > 100


# ---- replay ----

numbers = st.one_of(
    st.floats(-4, 6),
    st.sampled_from([0.0, 1.5, 3.0, 0.1, 0.2, 2.9, nan, inf, -inf, None, 1e9, 1e200, -1e308]),
)


@given(
    pairs=st.lists(st.tuples(numbers, st.sampled_from([1, 1, 1, 2, 5, 6, 40])), min_size=1),
    config=st.builds(
        ObserverConfig,
        theta_high=st.sampled_from([1.5, 3.0]),
        theta_slope=st.sampled_from([0, 0.05, 0.3]),
        two_sided=st.booleans(),
        window_size=st.sampled_from([5, 6, 9]),
        raise_after=st.integers(1, 3),
        clear_after=st.integers(1, 3),
        slope_confidence=st.sampled_from([0.5, 0.8, 0.99]),
        detector=st.sampled_from(DETECTORS),
        warning_release=st.sampled_from([0.3, 1.0]),
        cusum_limit=st.sampled_from([1.0, 3.0]),
        ph_limit=st.sampled_from([1.0, 3.0]),
        ewma_limit=st.sampled_from([1.0, 3.0]),
    ),
)
def test_replay_says_exactly_what_single_updates_say(pairs, config):
    values = [v for v, _ in pairs]
    steps = np.cumsum([s for _, s in pairs])
    observer = DriftObserver(config, "x", max_events=10**6)
    seen = [observer.update(v, s) for v, s in zip(values, steps.tolist(), strict=True)]
    trace = replay(values, config, steps, "x")
    assert trace.states.tolist() == [s.state for s in seen]
    for array, field in [
        (trace.slopes, "slope"),
        (trace.slope_errors, "slope_error"),
        (trace.statistics, "statistic"),
    ]:
        np.testing.assert_array_equal(array, [getattr(s, field) for s in seen])
    assert repr(trace.events) == repr(tuple(observer.events))
    previous = ["NORMAL", *trace.states[:-1]]
    assert [s.previous for s in seen] == previous
    assert [s.event is not None for s in seen] == (trace.states != previous).tolist()


@pytest.mark.parametrize("detector", DETECTORS)
def test_replay_agrees_on_long_realistic_streams(detector):
    rng = np.random.default_rng(10)
    values = rng.normal(size=3000) + np.repeat(rng.choice([0, 1, 3], 60), 50)
    config = ObserverConfig(detector=detector)
    observer = DriftObserver(config, max_events=10**6)
    states = [observer.update(v).state for v in values]
    trace = replay(values, config)
    assert trace.states.tolist() == states and len(set(states)) == 3
    assert repr(trace.events) == repr(tuple(observer.events))
    assert trace.share(A) == states.count(A) / 3000


# ---- the observer as an object ----


def test_what_is_printed():
    observer = DriftObserver(ObserverConfig(window_size=5))
    assert str(observer.update(0.25)) == "Step 0: NORMAL, value 0.25."
    assert str(observer.update(None)) == "Step 1: NORMAL, no value."
    assert str(observer.update(3.2, 4)) == "Step 4: ALERT: threshold breach (3.2 >= 3.0)."
    assert str(State.WARNING) == f"{State.WARNING}" == "WARNING" and State("ALERT") is State.ALERT
    assert repr(observer) == "DriftObserver('', ALERT, last step 4)"
    for step in range(5, 9):
        last = observer.update(2.0, step)
    assert str(last).startswith("Step 8: ALERT, value 2.0, slope ")
    assert str(replay([0, 4, nan])) == "3 steps: 0 x WARNING, 1 x ALERT, 1 x INVALID; ends INVALID."


def test_events_are_bounded_and_reset_forgets_everything():
    observer = DriftObserver(max_events=3)
    for i in range(10):
        observer.update(4.0 if i % 2 == 0 else 0.0)
    assert [e.step for e in observer.events] == [7, 8, 9]
    observer.update(nan)
    observer.reset()
    assert observer.state == N and not observer.events and observer.last_step is None
    assert observer.update(0.0).step == 0


def test_event_carries_the_numbers():
    event = replay([0.0, 3.25]).events[0]
    assert (event.step, event.value, event.cause) == (1, 3.25, "threshold breach")
    assert (event.state, event.previous, event.config.theta_high) == (A, N, 3.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.step = 3


@pytest.mark.parametrize("step", [3, 2, nan, inf])
def test_steps_must_increase(step):
    observer = DriftObserver()
    observer.update(4.0, 3)
    with pytest.raises(ObserverError, match=r"step: .* last step \(3\).*reset"):
        observer.update(0.0, step)
    assert observer.state == A and observer.last_step == 3  # a refused step leaves no trace


def test_refused_input_names_what_came():
    observer = DriftObserver()
    with pytest.raises(ObserverError, match="value: expected one number or None, got 'high'"):
        observer.update("high")
    assert observer.last_step is None
    with pytest.raises(ObserverError, match="steps"):
        replay([1.0, 2.0], steps=[1, 1])
    with pytest.raises(ObserverError, match="steps: expected 2 numbers"):
        replay([1.0, 2.0], steps=[1, 2, 3])
    with pytest.raises(ObserverError, match="steps"):
        replay([1.0, 2.0], steps=[0, nan])
    with pytest.raises(ObserverError, match="values"):
        replay([])
    with pytest.raises(ObserverError, match="values"):
        replay(np.zeros((2, 3)))


# ---- configuration ----


def test_the_published_configuration_call():
    config = ObserverConfig(theta_high=3.0, theta_slope=0.05, window_size=20)
    assert config == ObserverConfig(3.0, 1.5, 0.05, 20) == ObserverConfig()
    assert config.warning_level == pytest.approx(stats.t.ppf(0.995, 18))
    assert ObserverConfig(two_sided=False).warning_level == pytest.approx(stats.t.ppf(0.99, 18))
    assert ObserverConfig(detector="cusum", cusum_limit=4).warning_level == 4


@pytest.mark.parametrize(
    "options, name",
    [
        ({"theta_low": 3.5}, "theta_low"),
        ({"theta_high": 1.0}, "theta_low"),
        ({"theta_high": nan}, "theta_high"),
        ({"theta_high": "3"}, "theta_high"),
        ({"theta_low": -inf}, "theta_low"),
        ({"theta_slope": -0.1}, "theta_slope"),
        ({"window_size": 4}, "window_size"),
        ({"window_size": 20.0}, "window_size"),
        ({"raise_after": 0}, "raise_after"),
        ({"raise_after": True}, "raise_after"),
        ({"clear_after": -1}, "clear_after"),
        ({"slope_confidence": 1.0}, "slope_confidence"),
        ({"slope_confidence": 0.4}, "slope_confidence"),
        ({"detector": "adwin"}, "detector"),
        ({"warning_release": 0.0}, "warning_release"),
        ({"ewma_weight": 1.1}, "ewma_weight"),
        ({"ewma_limit": 0}, "ewma_limit"),
        ({"cusum_slack": -1}, "cusum_slack"),
        ({"cusum_limit": 0.0}, "cusum_limit"),
        ({"ph_limit": -5.0}, "ph_limit"),
        ({"two_sided": 1}, "two_sided"),
        ({"two_sided": None}, "two_sided"),
        ({"theta_low": 0.0}, "theta_low"),
        ({"theta_low": -1.0}, "theta_low"),
        ({"theta_high": -1.0, "theta_low": -2.0}, "theta_low"),
    ],
)
def test_impossible_parameters_are_refused_by_name(options, name):
    with pytest.raises(ObserverError, match=f"^{name}: expected .*got") as caught:
        ObserverConfig(**options)
    assert isinstance(caught.value, DeepDriftError) and isinstance(caught.value, ValueError)


# ---- rates ----


def ar1(rng, n, rho):
    """Stationary AR(1) noise of variance 1."""
    shocks = rng.normal(size=n) * math.sqrt(1 - rho**2)
    out, x = np.empty(n), rng.normal()
    for i, shock in enumerate(shocks.tolist()):
        x = rho * x + shock
        out[i] = x
    return out


def test_run_length_of_independent_values_is_geometric():
    """theta 2 is exceeded with probability 0.0228: once in 44 steps; on either side, in 22."""
    both = average_run_length(
        ObserverConfig(theta_high=2.0, theta_low=1.0, theta_slope=9),
        lambda rng, n: rng.normal(size=n), n_runs=400, max_steps=2000,
    )  # fmt: skip
    assert both.interval[0] < 0.5 / stats.norm.sf(2.0) < both.interval[1] < 1.3 * both.interval[0]
    config = ObserverConfig(theta_high=2.0, theta_low=1.0, two_sided=False)
    run = average_run_length(config, lambda rng, n: rng.normal(size=n), n_runs=400, max_steps=2000)
    low, high = run.interval
    assert low < 1 / stats.norm.sf(2.0) < high < 1.3 * low
    assert run.n_cut == 0 and len(run.lengths) == 400
    # cut off at 20 steps, most runs see no alarm, the estimate stays
    cut = average_run_length(config, lambda rng, n: rng.normal(size=n), n_runs=1500, max_steps=20)
    assert cut.n_cut > 700 and cut.interval[0] < 1 / stats.norm.sf(2.0) < cut.interval[1]


def test_cusum_run_length_matches_the_literature_and_shrinks_with_autocorrelation():
    """One-sided CUSUM with slack 0.5 and level 4: 336 by Siegmund's formula for white noise."""
    config = ObserverConfig(theta_high=99, detector="cusum", cusum_limit=4.0, two_sided=False)
    means = {}
    for rho in (0.0, 0.6):
        run = average_run_length(
            config,
            lambda rng, n, r=rho: ar1(rng, n, r),
            n_runs=150,
            max_steps=2500,
            state="WARNING",
        )
        means[rho] = run.mean
    assert means[0.0] == pytest.approx(336, rel=0.25)
    assert means[0.6] < 0.35 * means[0.0]


def test_run_length_from_recorded_values_keeps_their_autocorrelation():
    recorded = ar1(np.random.default_rng(0), 20_000, 0.9)
    config = ObserverConfig(theta_high=99, detector="cusum")
    options = {"n_runs": 100, "max_steps": 1000, "state": "WARNING"}
    truth = average_run_length(config, lambda rng, n: ar1(rng, n, 0.9), **options)
    blocks = average_run_length(config, recorded, **options)
    shuffled = average_run_length(config, recorded, block=1, **options)
    assert blocks.mean == pytest.approx(truth.mean, rel=0.4)
    assert shuffled.mean > 4 * truth.mean


def test_no_alarm_gives_a_lower_bound():
    run = average_run_length(ObserverConfig(), np.zeros(100), n_runs=3, max_steps=300)
    assert (run.mean, run.n_cut, run.interval) == (inf, 3, (300.0, inf))
    assert "3 of them without an alarm" in str(run)


def test_false_alarms_are_counted_per_episode_of_alarm():
    values = [0, 4, 4, 2, 4, 0, 4, 0, 0, 0]  # two alerts: 2 in between ends nothing
    assert false_alarms_per_1000(ObserverConfig(), values) == 200.0
    assert false_alarms_per_1000(ObserverConfig(), [values, [4] + [0] * 9]) == 150.0
    assert false_alarms_per_1000(ObserverConfig(), values, "WARNING") == 0.0
    with pytest.raises(CalibrationError, match="stream: expected 100 values"):
        average_run_length(ObserverConfig(), lambda rng, n: np.zeros(7), max_steps=100)
    with pytest.raises(CalibrationError, match="1 not finite"):
        false_alarms_per_1000(ObserverConfig(), [0.0, nan])


@pytest.mark.parametrize("rho, time", [(0.0, 1.0), (0.6, 4.0), (0.9, 19.0)])
def test_block_length_follows_the_autocorrelation_time(rho, time):
    """(1 + rho) / (1 - rho) for AR(1)."""
    block = correlation_block(ar1(np.random.default_rng(1), 50_000, rho), window_size=5)
    assert block == pytest.approx(10 * time, rel=0.25)


@pytest.mark.parametrize("dwell", [1, 3])
@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_thresholds_keep_their_rate_on_fresh_streams(rho, dwell):
    """90 % of calibrations should have the realised rate in their interval; here at least 6 of 8.

    The fresh stream of 100,000 steps holds about 100 alarms, so its own error is 10 %.
    """
    config = ObserverConfig(raise_after=dwell)
    fresh = ar1(np.random.default_rng(100), 100_000, rho)
    inside, rates = 0, []
    for seed in range(8):
        chosen = threshold_for_rate(ar1(np.random.default_rng(seed), 20_000, rho), 1.0, config)
        low, high = chosen.interval
        assert 0.5 < low < 1.0 < high < 1.6
        rates.append(false_alarms_per_1000(chosen.config, fresh))
        inside += 0.9 * low <= rates[-1] <= 1.1 * high
    assert inside >= 6
    assert np.mean(rates) == pytest.approx(1.0, abs=0.35)


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_warning_level_can_be_calibrated_too(detector):
    """At the default levels AR(1) noise with rho = 0.6 gives about twenty warnings per 1,000."""
    rng = np.random.default_rng(11)
    normal, fresh = ar1(rng, 20_000, 0.6), ar1(rng, 40_000, 0.6)
    config = ObserverConfig(detector=detector)
    chosen = threshold_for_rate(normal, 1.0, config, warnings_per_1000=2.0)
    assert chosen.config.detector == detector
    assert false_alarms_per_1000(config, fresh, "WARNING") > 4
    assert 0.3 < false_alarms_per_1000(chosen.config, fresh, "WARNING") < 3.0
    assert chosen.calibration_warning_rate == false_alarms_per_1000(
        chosen.config, normal, "WARNING"
    )
    assert chosen.warning_level == chosen.config.warning_level > config.warning_level


def test_threshold_worked_by_hand():
    """20 blocks of 10 with maxima 1 ... 20; alpha = 1 - exp(-0.1) = 0.0952, rank 1 of 21: 20."""
    values = np.zeros((20, 10))
    values[np.arange(20), np.arange(20) % 10] = np.arange(1, 21)
    chosen = threshold_for_rate(values, per_1000=10.0, block=10)
    assert chosen.theta_high == math.nextafter(20.0, inf)
    assert (chosen.n_blocks, chosen.block) == (20, 10)
    assert chosen.calibration_rate == 0.0
    q = stats.beta.ppf([0.05, 0.95], 1, 20)
    np.testing.assert_allclose(chosen.interval, -np.log1p(-q) * 100, rtol=1e-9)
    assert str(chosen).startswith("theta_high 20 for 10 false alerts per 1,000 steps")
    # alpha = 1 - exp(-0.3) = 0.2592, rank 5: the fifth largest, 16, and theta_low stays below
    lower = threshold_for_rate(
        values, per_1000=30.0, block=10, config=ObserverConfig(theta_high=50, theta_low=40)
    )
    assert lower.theta_high == lower.config.theta_low == math.nextafter(16.0, inf)


def test_too_little_normal_data_for_the_rate_is_an_error():
    with pytest.raises(CalibrationError, match="20 blocks of 20 steps cannot support 1 false"):
        threshold_for_rate(np.random.default_rng(0).normal(size=400), per_1000=1.0, block=20)
    with pytest.raises(CalibrationError, match="per_1000"):
        threshold_for_rate(np.zeros(400), per_1000=0.0)
    with pytest.raises(CalibrationError, match="values"):
        threshold_for_rate([0.0, inf], per_1000=1.0)
