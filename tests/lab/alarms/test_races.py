"""The race: crossings, rates and delays by hand; detectors against the state machine itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepdrift import ObserverConfig, replay
from deepdrift.lab.alarms import figures as alarm_plots
from deepdrift.lab.alarms.races import (
    OURS,
    RaceError,
    curve,
    delay_difference,
    delay_table,
    detectors,
    first_crossings,
    race,
)

NOISE = np.random.default_rng(0).normal(size=(12, 300))


def test_first_crossings_against_a_loop():
    for x in NOISE:
        for level in (-1.0, 1.5, 2.5, 9.0):
            expected = next((i for i, v in enumerate(x) if v >= level), len(x))
            assert first_crossings(x, [level]).tolist() == [expected]


@pytest.mark.parametrize(
    ("name", "state", "config"),
    [
        ("threshold", "ALERT", lambda k: ObserverConfig(theta_high=k, theta_low=k)),
        (
            "dwell, 3 steps",
            "ALERT",
            lambda k: ObserverConfig(theta_high=k, theta_low=k, raise_after=3),
        ),
        ("EWMA 0.2", "WARNING", lambda k: ObserverConfig(detector="ewma", ewma_limit=k)),
        ("CUSUM 0.5", "WARNING", lambda k: ObserverConfig(detector="cusum", cusum_limit=k)),
        ("Page-Hinkley", "WARNING", lambda k: ObserverConfig(detector="page-hinkley", ph_limit=k)),
    ],
)
def test_a_detector_raises_its_first_alarm_where_the_state_machine_does(name, state, config):
    claims, levels = OURS[name]
    shifted = NOISE + np.where(np.arange(300) >= 150, 1.5, 0)
    never = 99.0  # the other kind of alarm stays silent
    for x in shifted:
        for level in levels[::8]:
            quiet = {"theta_high": never} if state == "WARNING" else {"theta_slope": never}
            given = config(float(level))
            given = replace(given, theta_low=-never, two_sided=False, **quiet)
            onsets = replay(x, given).onsets(state)
            expected = int(onsets[0]) if len(onsets) else 300
            assert first_crossings(claims(x), [level])[0] == expected


def test_the_slope_claims_its_ratio_and_waits_for_a_full_window():
    claims = OURS["slope, 20 steps"][0](NOISE[0])
    assert np.isneginf(claims[:19]).all() and np.isfinite(claims[19:]).all()
    t, y = np.arange(20), NOISE[0, :20]
    slope, intercept = np.polyfit(t, y, 1)
    error = ((y - slope * t - intercept) ** 2).sum() / 18 / ((t - 9.5) ** 2).sum()
    assert claims[19] == pytest.approx(slope / error**0.5)


def test_curve_by_hand():
    c = curve(
        np.array([1.0, 2.0]),
        [[9, 100], [49, 100]], 100,  # two alarms in 10 + 50 steps, none in 200
        [[3, 20], [12, 40], [16, 40]], onset=10, n_changed=40,
    )  # fmt: skip
    assert c.rate.tolist() == pytest.approx([1000 * 2 / 60, 0])
    assert c.delay.tolist() == pytest.approx([4, 70 / 3])  # the alarm at 3 came before the onset
    assert c.missed.tolist() == pytest.approx([0, 2 / 3])
    assert c.delay_high[0] - 4 == pytest.approx(1.96 * 8**0.5 / 2**0.5)


def test_at_rate_interpolates_between_levels_on_a_logarithmic_axis():
    normal = np.array([[9, 99, 200], [200, 200, 200]])
    c = curve(np.array([1.0, 2.0, 3.0]), normal, 200, [[12, 14, 20]] * 3, 10, 50)
    assert c.rate[:2].tolist() == pytest.approx([1000 / 210, 1000 / 300])
    middle = (c.rate[0] * c.rate[1]) ** 0.5
    assert c.at_rate(middle)[0] == pytest.approx(3.0)
    assert c.at_rate(float(c.rate[1]))[0] == pytest.approx(4.0)
    with pytest.raises(RaceError, match="do not span 0.1"):
        c.at_rate(0.1)


def test_river_page_hinkley_alarms_where_ours_does():
    """Same statistic: ours at a level, theirs strictly above it."""
    pytest.importorskip("river")
    first, levels = detectors()["river Page-Hinkley"]
    for x in NOISE + np.where(np.arange(300) >= 150, 1.5, 0):
        ours = first_crossings(OURS["Page-Hinkley"][0](x), levels)
        assert np.abs(first(x) - ours).max() <= 25
        assert (first(x) == ours).mean() > 0.5


def test_a_race_tells_a_fast_detector_from_a_blind_one():
    levels = np.array([0.5])
    entrants = {
        "sees": (lambda x: first_crossings(x, levels), levels),
        "blind": (lambda x: np.array([len(x)]), levels),
    }
    changed = np.zeros((3, 20))
    changed[:, 12:] = 1
    result = race(np.zeros((2, 50)), {"step": changed}, onset=10, entrants=entrants)["step"]
    assert (result["sees"].delay[0], result["sees"].missed[0]) == (2, 0)
    assert (result["blind"].delay[0], result["blind"].missed[0]) == (10, 1)
    assert result["sees"].rate[0] == 0


def test_the_figures_draw_what_they_are_given():
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    entrants = {k: v for k, v in detectors(rivals=False).items() if "CUSUM" in k or "thr" in k}
    result = race(NOISE, {"step": NOISE + 1, "two": NOISE + 2}, onset=0, entrants=entrants)
    alarm_plots.delay_curves(result, ("threshold",), "title")
    axes = plt.gcf().axes
    assert [ax.get_title(loc="left") for ax in axes] == ["step", "two"]
    c = result["two"]["threshold"]
    drawn = axes[1].lines[0].get_xydata()
    seen = c.rate > 0
    assert sorted(drawn[:, 0]) == pytest.approx(sorted(c.rate[seen]))
    plt.close()
    config = ObserverConfig(theta_high=3.0)
    values = [0.0, 4.0, 2.0, 1.0, float("nan"), 0.0]
    ax = plt.figure().subplots()
    alarm_plots.draw_trace(ax, replay(values, config), config, onset=1)
    alert, invalid = ax.collections
    spans = [
        (p.vertices[:, 0].min(), p.vertices[:, 0].max())
        for p in (c.get_paths()[0] for c in (alert, invalid))
    ]
    assert spans == [(1, 3), (4, 5)]  # ALERT at steps 1 and 2, INVALID at step 4
    plt.close()


def test_delays_of_a_race_as_a_table():
    shifted = NOISE + np.where(np.arange(300) >= 100, 1.5, 0)
    entrants = {k: v for k, v in detectors(rivals=False).items() if k in ("threshold", "CUSUM 0.5")}
    result = race(NOISE, {"abrupt": shifted, "none": NOISE}, 100, entrants)
    lines = delay_table(result, 20.0).splitlines()
    assert [line.split()[0] for line in lines] == ["abrupt", "threshold", "CUSUM"]
    delay, low, high, _ = result["abrupt"]["threshold"].at_rate(20.0)
    assert f"{delay:.0f} [{low:.0f}, {high:.0f}]" in lines[1]
    assert len({len(line) for line in lines}) == 1
    often = max(c.rate.max() for c in result["abrupt"].values()) + 1
    assert "at most" in delay_table(result, often)


def test_paired_delay_by_hand():
    """Levels that never ring before: the threshold at 3 needs the third step, CUSUM the second."""
    stream = np.array([0.0, 0.0, 2.5, 2.5, 3.5, 3.5])
    levels = np.array([1.0, 3.0])
    silent = {
        name: curve(levels, np.full((2, 2), 9), 9, np.full((2, 2), 9), 2, 9)
        for name in ("threshold", "CUSUM 0.5")
    }
    found = {}
    for name, kept in (("threshold", [False, True]), ("CUSUM 0.5", [False, True])):
        found[name] = replace(silent[name], rate=np.where(kept, 1.0, 50.0))
    gap = delay_difference(found, np.stack([stream] * 3), 2, "CUSUM 0.5", "threshold", 5.0)
    # CUSUM: 2.0, then 4.0 at step 3; the threshold at step 4
    assert (gap.value, gap.low, gap.high, gap.n_in) == (-1, -1, -1, 3)
    early = np.stack([stream, stream + 3.5])  # the second rings before the onset
    with pytest.raises(RaceError, match="at least two streams"):
        delay_difference(found, early, 2, "CUSUM 0.5", "threshold", 5.0)
    with pytest.raises(RaceError, match="no level of threshold keeps 0.5"):
        delay_difference(found | {"CUSUM 0.5": silent["CUSUM 0.5"]}, early, 2, "CUSUM 0.5",
                         "threshold", 0.5)  # fmt: skip
