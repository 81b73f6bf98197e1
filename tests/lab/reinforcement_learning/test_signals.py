"""Rivals are calibrated alike, and equal the library where it has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepdrift.lab.bench.evaluation import false_alarm_interval
from deepdrift.lab.reinforcement_learning.plants import LabError
from deepdrift.lab.reinforcement_learning.policies import load_policy
from deepdrift.lab.reinforcement_learning.signals import (
    RULE,
    SIGNALS,
    WEIGHT,
    WINDOW,
    episodes,
    first_above,
    fit_signals,
    smooth,
    window_statistics,
)
from deepdrift.lab.reinforcement_learning.simulate import simulate
from deepdrift.rl import DeepDriftRL


@pytest.fixture(scope="module")
def policy():
    return load_policy("cartpole")


@pytest.fixture(scope="module")
def clean(policy):
    return simulate(policy, "cartpole", range(90))


@pytest.fixture(scope="module")
def signals(policy, clean):
    return fit_signals(policy, clean)


def test_episodes_are_those_of_the_runs(policy):
    runs = simulate(policy, "cartpole", range(3), "lag", 5)
    for row, episode in enumerate(episodes(runs)):
        assert len(episode) == runs.lengths[row]
        assert episode.terminated and not episode.truncated
        assert episode.total_reward == runs.returns[row]
        np.testing.assert_array_equal(
            episode.observations, runs.observations[row, : len(episode) + 1]
        )


@pytest.mark.parametrize("of", ["hidden", "observation"])
def test_thresholds_and_scores_are_the_librarys(policy, clean, signals, of):
    monitor = DeepDriftRL(policy, of=of, weight=WEIGHT).calibrate(episodes(clean))
    name = f"{of} innovation"
    assert signals.thresholds[name] == pytest.approx(monitor.threshold, rel=1e-4)
    runs = simulate(policy, "cartpole", [700], "white noise", 3)
    live = monitor.scores(episodes(runs)[0])
    np.testing.assert_allclose(signals.smoothed(runs, [name])[name][0], live, rtol=1e-4)


def test_the_velocity_of_observations_has_no_metres(policy, clean, signals):
    """Changes in clean standard deviations of the episodes that are for the fit, by numpy."""
    spread = clean.observations[::3].reshape(-1, 4).std(axis=0, ddof=1)
    runs = simulate(policy, "cartpole", [700], "white noise", 3)
    seen = runs.observations[0, : runs.lengths[0] + 1] / spread
    expected = np.linalg.norm(np.diff(seen, axis=0), axis=1)
    found = signals.raw(runs, "observation velocity")[0, : len(expected)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_smoothing_keeps_the_end():
    out = smooth([[1.0, 3.0, np.nan], [2.0, 2.0, 2.0]], 0.5)
    np.testing.assert_array_equal(out, [[1.0, 2.0, np.nan], [2.0, 2.0, 2.0]])


def test_a_window_by_hand():
    """Observations 0, 1, 2, ...: of the newest twenty, 11 to 30, the mean is 20.5."""
    found = window_statistics(torch.arange(40.0)[:, None])
    last = np.arange(11, 31)
    assert found.shape == (39, 2)
    assert float(found[29, 0]) == pytest.approx(last.mean())
    assert float(found[29, 1]) == pytest.approx(np.log(last.std() + 1e-3))
    assert float(found[0, 0]) == pytest.approx(0.5)
    assert WINDOW == 20


def test_the_entropy_of_a_known_policy():
    class Known(torch.nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 0], torch.zeros(len(x))], dim=1)

    runs = simulate(load_policy("cartpole"), "cartpole", range(60))
    fitted = SIGNALS["policy entropy"](Known(), episodes(runs))
    chance = torch.sigmoid(torch.from_numpy(runs.observations[1, 1:501, 0]).double())
    entropy = -(chance * chance.log() + (1 - chance) * (1 - chance).log())
    found = fitted(episodes(runs)[1])
    order = (found - found.mean()) / found.std()
    expected = (entropy - entropy.mean()).abs()
    assert torch.corrcoef(torch.stack([order, expected]))[0, 1] > 0.5
    assert found.shape == (500,) and (found >= 0).all()


def test_false_alarms_lie_where_sixty_calibration_episodes_let_them(policy, signals):
    runs = simulate(policy, "cartpole", range(5000, 5200))
    low, high = false_alarm_interval(60, 0.05, 0.999, n_test=200)
    for name, alarms in signals.alarms(runs).items():
        if name != RULE:
            assert low <= (alarms >= 0).mean() <= high, name


def test_the_published_rule_is_always_alarmed_here(policy, signals):
    runs = simulate(policy, "cartpole", range(5000, 5020))
    alarms = signals.alarms(runs)[RULE]
    assert ((alarms >= 1) & (alarms < 20)).all()


def test_a_frozen_sensor_moves_less_and_is_predicted_worse(policy, signals):
    runs = simulate(policy, "cartpole", range(6000, 6020), "frozen sensor", 5, sensor=1)
    alarms = signals.alarms(runs)
    found = {k: (v >= runs.onset).mean() for k, v in alarms.items()}
    assert found["observation innovation"] >= 0.9
    assert found["observation velocity"] <= 0.1


def test_the_first_above():
    assert first_above([[np.nan, 2.0], [1.0, np.nan]], 1.5).tolist() == [2, -1]


def test_a_policy_with_numbers_for_actions_has_no_entropy():
    policy = load_policy("pendulum")
    fitted = fit_signals(policy, simulate(policy, "pendulum", range(30)))
    assert set(SIGNALS) - set(fitted.thresholds) == {"policy entropy"}


def test_sick_runs_calibrate_nothing(policy, clean):
    broken = simulate(policy, "cartpole", range(30), "lag", 5)
    with pytest.raises(LabError, match="without a fault"):
        fit_signals(policy, broken)
    with pytest.raises(LabError, match="control was lost in"):
        fit_signals(policy, simulate(policy, "cartpole", range(30), noise=25.0))
