"""Steps apart: iteration numbers, unix seconds and times count in typical steps of the stream."""

import math
import pickle
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepdrift.alarms.config import ObserverConfig, ObserverError, State
from deepdrift.alarms.fsm import DriftObserver
from deepdrift.alarms.replay import replay
from deepdrift.alarms.steps import KEPT, Pace, as_step, as_steps, paced
from deepdrift.alarms.watch import Watch

N, W, A, X = State.NORMAL, State.WARNING, State.ALERT, State.INVALID
DETECTORS = ["slope", "ewma", "cusum", "page-hinkley"]
NOON = datetime(2024, 2, 29, 12, 0, 0, 250_000)


def live(values, steps, config=None):
    """Steps of single updates; the replay must agree bit for bit wherever this is used."""
    observer = DriftObserver(config)
    seen = [observer.update(v, s) for v, s in zip(values, steps, strict=True)]
    trace = replay(values, config, steps)
    assert trace.states.tolist() == [s.state for s in seen]
    assert trace.steps.tolist() == [s.step for s in seen]
    for array, field in [
        (trace.slopes, "slope"),
        (trace.slope_errors, "slope_error"),
        (trace.statistics, "statistic"),
    ]:
        np.testing.assert_array_equal(array, [getattr(s, field) for s in seen])
    return seen


# ---- gaps ----


@pytest.mark.parametrize("distance", [1, 60, 100, 3600, 0.25, 60.0, 10**9])
@pytest.mark.parametrize("start", [0, 1_700_000_000])
def test_a_high_value_alerts_at_the_third_reading_however_steps_are_counted(distance, start):
    config = ObserverConfig(raise_after=3)
    seen = live([9.0] * 100, [start + distance * i for i in range(100)], config)
    assert [s.state for s in seen] == [N, N] + [A] * 98


@pytest.mark.parametrize("detector", DETECTORS[1:])
def test_every_chart_says_the_same_at_any_distance(detector):
    values = np.random.default_rng(0).normal(0.8, 1, 200).tolist()
    config = ObserverConfig(detector=detector, theta_high=99, window_size=8)
    plain, apart = live(values, range(200), config), live(values, range(0, 12_000, 60), config)
    assert [s.state for s in plain] == [s.state for s in apart]
    assert [s.statistic for s in plain[8:]] == [s.statistic for s in apart[8:]]
    assert W in {s.state for s in plain}


def test_slopes_count_per_typical_step():
    """0.3 per reading is 0.3, whether readings are 1, 60 or 0.25 apart."""
    values, config = [0.3 * i for i in range(11)], ObserverConfig(window_size=5)
    for distance in (1, 60, 0.25):
        seen = live(values, [distance * i for i in range(11)], config)
        assert [s.state for s in seen] == [N] * 4 + [W] * 6 + [A]
        assert seen[7].slope == pytest.approx(0.3)
        assert str(seen[4].event).endswith("rapid drift (slope 0.3 per step)")


def test_a_real_gap_starts_afresh_and_its_distance_is_not_counted():
    config = ObserverConfig(window_size=5, raise_after=2)
    minutes = [0, 60, 120, 180, 180 + 300, 180 + 300 + 301]  # 5 typical steps, then a little more
    values = [0, 0, 0, 4, 4, 2]
    assert [s.state for s in live(values, minutes, config)] == [N, N, N, N, A, A]
    values = [0, 0, 0, 0, 4, 4]
    assert [s.state for s in live(values, minutes, config)] == [N] * 6
    again = [*minutes, 841, 901]
    assert [s.state for s in live([0] * 5 + [4, 4, 4], again, config)] == [N] * 6 + [A] * 2


def test_a_stream_that_slows_down_starts_afresh_once():
    config = ObserverConfig(window_size=5, raise_after=3)
    steps = [*range(50), *range(109, 2000, 60)]  # every second, then every minute
    seen = live([0.0] * 50 + [9.0] * (len(steps) - 50), steps, config)
    assert [s.state for s in seen[50:]] == [N, N] + [A] * (len(steps) - 52)


def test_a_stream_that_speeds_up_is_measured_in_its_new_steps():
    observer = DriftObserver(ObserverConfig(window_size=5))
    for step in [*range(0, 600, 60), *range(541, 580)]:
        observer.update(0.0, step)
    assert observer.typical_step == 1


def test_the_first_distance_is_typical_until_others_say_otherwise():
    observer = DriftObserver()
    assert observer.typical_step == 0
    typical = []
    for step in (0, 1000, 1001, 1002):
        observer.update(0.0, step)
        typical.append(observer.typical_step)
    assert typical == [0, 1000, 1, 1]


def test_one_outage_and_left_out_numbers_do_not_move_the_typical_step():
    pace = Pace(20)
    for step in (0, 1, 2, 3, 20, 21, 22, 25, 26):
        assert not pace.advance(step, True)
    assert pace.typical == 1


def test_the_typical_step_is_the_lower_median_of_the_last_distances():
    distances = np.random.default_rng(1).integers(1, 50, 300).tolist()
    pace, step, recent = Pace(1000), 0, []
    pace.advance(step, True)
    for distance in distances:
        step += distance
        pace.advance(step, True)
        recent = [*recent, distance][-KEPT:]
        assert pace.typical == sorted(recent)[(len(recent) - 1) // 2]


def test_invalid_and_missing_values_tell_the_pace_but_end_no_gap():
    config = ObserverConfig(window_size=5, raise_after=2)
    values = [0, 4, None, None, math.nan, None, 4]
    assert [s.state for s in live(values, range(0, 420, 60), config)] == [N, N, N, N, X, X, A]
    values = [0, 4, None, None, math.nan, None, None, 4]  # now 6 typical steps without a value
    assert live(values, range(0, 480, 60), config)[-1].state == N


@given(
    pairs=st.lists(
        st.tuples(
            st.sampled_from([0.0, 1.0, 2.9, 3.0, 5.0, math.nan, math.inf, None]),
            st.sampled_from([1, 1, 1, 2, 5, 6, 59, 60, 60, 61, 3600]),
        ),
        min_size=1,
        max_size=80,
    ),
    unit=st.sampled_from([1, 0.1, 1 / 3, 10**6]),
    window=st.sampled_from([5, 6, 9]),
    dwell=st.integers(1, 3),
    detector=st.sampled_from(DETECTORS),
)
def test_replay_and_live_agree_bit_for_bit_at_any_distances(pairs, unit, window, dwell, detector):
    steps = (np.cumsum([d for _, d in pairs]) * unit).tolist()
    config = ObserverConfig(
        window_size=window,
        raise_after=dwell,
        detector=detector,
        theta_slope=0,
        slope_confidence=0.5,
    )
    live([v for v, _ in pairs], steps, config)


@given(
    finite=st.lists(st.booleans(), min_size=1, max_size=60), distance=st.sampled_from([1, 7, 0.5])
)
def test_the_quick_way_for_equal_distances_is_the_slow_one(finite, distance):
    steps = np.arange(len(finite)) * distance
    afresh, typical = paced(steps, np.array(finite), 5)
    pace = Pace(5)
    slow = [pace.advance(s, good) for s, good in zip(steps.tolist(), finite, strict=True)]
    assert afresh.tolist() == slow
    assert set(typical[1:].tolist()) <= {distance}


# ---- kinds of steps ----


def test_times_become_seconds():
    seconds = (NOON - datetime(1970, 1, 1)).total_seconds()
    assert as_step(NOON)[0] == as_step(np.datetime64(NOON, "us"))[0] == seconds
    assert as_step(np.datetime64(NOON, "ns"))[0] == seconds
    east = NOON.replace(tzinfo=timezone(timedelta(hours=2)))
    assert as_step(east) == (seconds - 7200, "times with a time zone")
    assert as_step(date(1970, 1, 2)) == (86400.0, "times without a time zone")
    assert as_step(np.datetime64("1970-01-02")) == (86400.0, "times without a time zone")
    assert as_step(datetime(1969, 12, 31, 23, 59, tzinfo=UTC))[0] == -60.0


@pytest.mark.parametrize("zone", [None, UTC])
def test_a_stream_of_datetimes(zone):
    start = NOON.replace(tzinfo=zone)
    steps = [start + timedelta(minutes=i, milliseconds=i % 3) for i in range(40)]
    config = ObserverConfig(raise_after=3, theta_slope=99)
    seen = live([0.0] * 20 + [9.0] * 20, steps, config)
    assert [s.state for s in seen[20:]] == [N, N] + [A] * 18


def test_a_stream_of_datetime64_and_of_pandas_timestamps():
    steps = np.datetime64("2024-02-29T12:00") + 15 * np.arange(30) * np.timedelta64(1, "m")
    values, config = [0.1 * i for i in range(30)], ObserverConfig(window_size=5)
    seen = live(values, steps, config)
    assert seen[10].state == W
    pandas = pytest.importorskip("pandas")
    for index in (pandas.DatetimeIndex(steps), pandas.DatetimeIndex(steps, tz="UTC")):
        for given_steps in (index, pandas.Series(index), list(index)):
            again = live(values, given_steps, config)
            assert [(s.step, s.slope) for s in again[9:]] == [(s.step, s.slope) for s in seen[9:]]
    with pytest.raises(ObserverError, match="step: .*got NaT"):
        DriftObserver().update(1.0, pandas.NaT)
    with pytest.raises(ObserverError, match="steps: .* NaT at position 1"):
        replay([1.0, 2.0], steps=[pandas.Timestamp(NOON), pandas.NaT])
    with pytest.raises(ObserverError, match="step: expected an int"):
        DriftObserver().update(1.0, pandas.Timedelta(3))


@pytest.mark.parametrize(
    ("first", "second"),
    [(NOON, NOON.replace(tzinfo=UTC)), (5, NOON), (NOON, 2e9), (np.datetime64(NOON), 2e9)],
)
def test_kinds_are_not_mixed(first, second):
    observer = DriftObserver()
    observer.update(1.0, first)
    with pytest.raises(ObserverError, match="step: expected .* as before .* got .* reset"):
        observer.update(4.0, second)
    assert observer.state == N
    with pytest.raises(ObserverError, match="steps: expected one kind"):
        replay([1.0, 2.0], steps=np.array([first, second], dtype=object))
    observer.reset()
    observer.update(1.0, second)


def test_a_stream_of_times_goes_on_with_times():
    observer = DriftObserver()
    observer.update(1.0, NOON)
    with pytest.raises(ObserverError, match="pass one each time"):
        observer.update(1.0)


def test_numbers_of_every_library():
    assert as_step(np.int64(3)) == as_step(torch.tensor(3)) == (3, "numbers")
    assert type(as_step(np.uint8(3))[0]) is int
    assert as_step(np.float32(0.5)) == as_step(torch.tensor(0.5)) == (0.5, "numbers")
    np.testing.assert_array_equal(as_steps(np.array([1, 2], np.uint64), 2), [1, 2])
    np.testing.assert_array_equal(as_steps(torch.arange(3), 3), [0, 1, 2])


@pytest.mark.parametrize(
    "step",
    ["7", b"7", True, np.bool_(1), timedelta(1), np.timedelta64(3, "s"), [7], {}, 1j, 2**62,
     10**400, np.array([7, 8]), torch.zeros(2)],
)  # fmt: skip
def test_what_is_no_step_is_refused_by_name(step):
    observer = DriftObserver()
    with pytest.raises(ObserverError, match="^step: expected"):
        observer.update(9.0, step)
    assert observer.last_step is None and observer.state == N


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([0, 5, 5], r"increase .* got 5 after 5 at position 2"),
        ([0, 5, 4], r"got 4 after 5 at position 2"),
        ([NOON, NOON, NOON + timedelta(1)], r"2024-02-29 .* at position 1"),
        (np.array(["2024-01-02", "2024-01-01", "NaT"], "datetime64[D]"), "NaT at position 2"),
        ([0, 1, math.inf], "got inf at position 2"),
        ([0, 1, None], "step: expected an int.*None"),
        (["0", "1", "2"], "steps: expected 3 numbers or times"),
        ([[1], [2, 3], 4], "steps: expected 3 numbers or times"),
        ([False, True, True], "steps: expected 3 numbers or times"),
        (np.array([1, 2, 2**63], np.uint64), "below 2"),
    ],
)
def test_bad_steps_of_a_replay_are_named(steps, message):
    with pytest.raises(ObserverError, match=message):
        replay([1.0, 2.0, 3.0], steps=steps)


def test_a_float_clock_that_no_longer_ticks_is_an_error():
    observer = DriftObserver()
    observer.update(1.0, 1e17)
    with pytest.raises(ObserverError, match="larger than the last step"):
        observer.update(1.0)  # 1e17 + 1 is 1e17


# ---- values of other libraries ----


def test_missing_values_of_pandas_and_numpy():
    pandas = pytest.importorskip("pandas")
    column = pandas.Series([4.0, None, 4.0, 1.0], dtype="Float64")
    config = ObserverConfig(raise_after=2)
    expected = [N, N, A, N]
    assert replay(column, config).states.tolist() == expected
    observer = DriftObserver(config)
    assert [observer.update(v).state for v in column] == expected
    masked = np.ma.masked_invalid([4.0, math.nan, 4.0, 1.0])
    assert replay(masked, config).states.tolist() == expected
    assert observer.update(np.ma.masked).value is None


@pytest.mark.parametrize(
    "value", ["high", [1.0, 2.0], {}, 1j, torch.zeros(2), datetime(2024, 1, 1)]
)
def test_what_is_no_value_is_refused_by_name(value):
    with pytest.raises(ObserverError, match="^value: expected one number or None"):
        DriftObserver().update(value)
    with pytest.raises(ObserverError, match="^values: expected .* at position 1"):
        replay([0.0, value])
    with pytest.raises(ObserverError, match="^values: expected numbers or None, got an array"):
        replay(np.array(["2024-01-01"], "datetime64[D]"))


# ---- the watch ----


def test_a_watch_takes_times_and_refuses_without_moving():
    watch = Watch(["a", "b"], ObserverConfig(raise_after=3))
    for i in range(3):
        status, alerts = watch.update([9.0, 0.0], fused=0.0, step=NOON + timedelta(minutes=i))
    assert [str(a) for a in alerts] == ["ALERT [a]: threshold breach (9.0 >= 3.0 for 3 steps)"]
    with pytest.raises(ObserverError, match="expected times without a time zone"):
        watch.update([0.0, 0.0], fused=0.0, step=7)
    assert {o.last_step for o in watch._observers} == {as_step(NOON)[0] + 120}


def test_an_observer_of_times_is_pickled_and_goes_on():
    one = DriftObserver(ObserverConfig(window_size=5))
    steps = [NOON + timedelta(seconds=37 * i) for i in range(20)]
    for i in range(10):
        one.update(0.3 * i, steps[i])
    two = pickle.loads(pickle.dumps(one))
    for i in range(10, 20):
        assert repr(one.update(0.1 * i, steps[i])) == repr(two.update(0.1 * i, steps[i]))
