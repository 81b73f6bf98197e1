"""The monitor of one agent: published use, calibration by episodes, live equals offline."""

import copy
import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from rl_toys import Walk, network
from scipy import stats

from deepdrift.errors import CalibrationError, LayerNotFoundError, NotFittedError, StateError
from deepdrift.rl import DeepDriftRL, Episode, RLState, collect_episodes
from deepdrift.rl.signals import SCORES

POLICY = network()
EPISODES = collect_episodes(POLICY, Walk(), 60)


def live(monitor, episode, with_action=True):
    """Diagnoses of all observations, one by one."""
    monitor.reset()
    actions = [*episode.actions.tolist(), 0]
    return [
        monitor.step(obs, action if with_action else None)
        for obs, action in zip(episode.observations.numpy(), actions, strict=True)
    ]


# ---- as published ----


def test_published_use_needs_no_calibration():
    monitor = DeepDriftRL(POLICY, threshold=0.15)
    obs = np.zeros(2, np.float32)
    first, second, third = (monitor.step(x) for x in (obs, obs, obs + 5))
    assert (first.state, second.state, third.state) == (
        RLState.STARTING,
        RLState.NORMAL,
        RLState.ALERT,
    )
    assert math.isnan(first.peak_velocity) and second.peak_velocity == 0.0
    with torch.no_grad():
        layers = [POLICY[:2](torch.tensor([[0.0, 0.0], [5.0, 5.0]]))]
        layers += [POLICY[2:4](layers[0])]
    expected = max(float((x[1] - x[0]).norm()) for x in layers)
    assert third.peak_velocity == third.score == pytest.approx(expected, rel=1e-5)
    assert third.is_anomaly and third.threshold == 0.15 and third.first_alarm == 2


def test_published_use_with_stable_baselines3():
    agent = pytest.importorskip("stable_baselines3").PPO("MlpPolicy", "CartPole-v1", device="cpu")
    monitor = DeepDriftRL(agent.policy, threshold=0.15)
    assert monitor.layers == ["mlp_extractor.policy_net.1", "mlp_extractor.policy_net.3"]
    env = agent.get_env().envs[0]
    obs, _ = env.reset(seed=0)
    monitor.step(obs)
    diag = monitor.step(env.step(int(agent.predict(obs, deterministic=True)[0]))[0])
    assert diag.is_anomaly == (diag.peak_velocity > 0.15) and 0 < diag.peak_velocity < 16


def test_a_verdict_is_plain_json_and_a_sentence():
    monitor = DeepDriftRL(POLICY, threshold=0.15)
    first, second = monitor.step([0.0, 0.0]), monitor.step([5.0, 5.0])
    plain = json.loads(json.dumps([first.to_dict(), second.to_dict()], allow_nan=False))
    assert plain[0]["why_null"]["score"] == "nan" and plain[0]["state"] == "STARTING"
    assert str(second).startswith("ALERT at step 1: score ") and plain[1]["message"] == str(second)
    info = first.to_info()
    assert info["state"] == -1 and type(info["state"]) is int and info["first_alarm"] == -1


# ---- live and offline ----


@pytest.mark.parametrize("weight", [1.0, 0.2])
@pytest.mark.parametrize("of", ["hidden", "observation"])
@pytest.mark.parametrize("score", SCORES)
def test_live_scores_are_those_of_the_whole_episode(score, of, weight):
    monitor = DeepDriftRL(POLICY, score=score, of=of, weight=weight).calibrate(EPISODES)
    episode = collect_episodes(POLICY, Walk(), 1, seed=9)[0]
    diagnoses = live(monitor, episode)
    assert diagnoses[0].state is RLState.STARTING and math.isnan(diagnoses[0].score)
    offline = monitor.scores(episode)
    assert offline.shape == (len(episode),) and offline.dtype == torch.float64
    found = np.array([d.score for d in diagnoses[1:]])
    # one row or many: a pass of the network differs in the last digits, whitening enlarges that
    np.testing.assert_allclose(found, offline, rtol=1e-6 if of == "observation" else 1e-2)
    assert [d.step for d in diagnoses] == list(range(len(episode) + 1))


@pytest.mark.parametrize("of", ["hidden", "observation"])
def test_without_an_action_the_monitor_takes_that_of_the_policy(of):
    monitor = DeepDriftRL(POLICY, of=of).calibrate(EPISODES)
    told, alone = live(monitor, EPISODES[0]), live(monitor, EPISODES[0], with_action=False)
    assert [d.score for d in told[1:]] == [d.score for d in alone[1:]]


def test_the_action_is_that_which_led_here():
    monitor = DeepDriftRL(POLICY, of="observation").calibrate(EPISODES)
    episode = EPISODES[0]
    flipped = Episode(episode.observations, 1 - episode.actions, episode.rewards, True, False)
    right, wrong = monitor.scores(episode), monitor.scores(flipped)
    assert wrong.mean() > 2 * right.mean()


def test_reset_forgets():
    monitor = DeepDriftRL(POLICY, score="acceleration").calibrate(EPISODES)
    a = [d.score for d in live(monitor, EPISODES[1])]
    live(monitor, EPISODES[2])
    np.testing.assert_array_equal(a, [d.score for d in live(monitor, EPISODES[1])])


# ---- calibration ----


def test_the_threshold_is_the_conformal_quantile_of_the_maxima():
    monitor = DeepDriftRL(POLICY).calibrate(EPISODES, false_alarms_per_episode=0.1)
    held_out = [e for i, e in enumerate(EPISODES) if i % 3]
    maxima = torch.stack([monitor.scores(e).max() for e in held_out])
    torch.testing.assert_close(monitor.calibration.maxima, maxima)
    assert monitor.threshold == sorted(maxima.tolist())[37 - 1]  # ceil(0.9 * 41) of 40
    c = monitor.calibration
    assert (c.n_fit, c.n_calibration) == (20, 40) and c.longest == max(map(len, held_out))
    assert "40 episodes (20 others fitted): at most 10.0% of normal episodes" in str(c)


@pytest.mark.parametrize("of, score", [("hidden", "innovation"), ("observation", "velocity")])
def test_realised_false_alarms_per_episode_lie_in_the_beta_band(of, score):
    monitor = DeepDriftRL(POLICY, score=score, of=of)
    monitor.calibrate(Walk(), n_episodes=210, seed=1)
    fresh = collect_episodes(POLICY, Walk(), 300, seed=2)
    alarms = sum(bool((monitor.scores(e) > monitor.threshold).any()) for e in fresh)
    n = monitor.calibration.n_calibration
    k = math.floor(0.05 * (n + 1))
    low, high = stats.betabinom(len(fresh), k, n + 1 - k).ppf([0.001, 0.999])
    assert low <= alarms <= high


@pytest.mark.parametrize("score", ["innovation", "distance"])
def test_observations_have_no_units(score):
    """Metres or millimetres beside radians: the same scores, the same threshold."""
    units = torch.tensor([1.0, 1e-3])
    small = [dataclasses.replace(e, observations=e.observations * units) for e in EPISODES]
    found = [
        DeepDriftRL(lambda obs: 0, score=score, of="observation").calibrate(episodes)
        for episodes in (EPISODES, small)
    ]
    assert found[1].threshold == pytest.approx(found[0].threshold, rel=1e-3)
    torch.testing.assert_close(
        found[1].scores(small[0]), found[0].scores(EPISODES[0]), rtol=1e-3, atol=1e-6
    )


def test_an_observation_that_never_changes_is_no_division_by_zero():
    still = torch.tensor([1.0, 0.0])
    episodes = [dataclasses.replace(e, observations=e.observations * still) for e in EPISODES]
    monitor = DeepDriftRL(lambda obs: 0, of="observation").calibrate(episodes)
    assert monitor.scores(episodes[0]).isfinite().all()


def test_an_alarm_may_come_at_any_step():
    monitor = DeepDriftRL(POLICY, of="observation").calibrate(EPISODES)
    for t in (1, 3, 6):
        episode = next(e for e in EPISODES if len(e) > 7)
        observations = episode.observations.clone()
        observations[t:] += 3.0
        diagnoses = live(
            monitor, Episode(observations, episode.actions, episode.rewards, True, False)
        )
        assert diagnoses[-1].first_alarm == t and diagnoses[t].is_anomaly


def test_incomplete_episodes_are_left_out():
    cut = [Episode(e.observations, e.actions, e.rewards, False, False) for e in EPISODES[:10]]
    a = DeepDriftRL(POLICY).calibrate([*cut, *EPISODES])
    assert a.threshold == DeepDriftRL(POLICY).calibrate(EPISODES).threshold


def test_too_few_episodes_say_how_many_are_needed():
    with pytest.raises(CalibrationError, match="20 complete ones .* at least 29 are needed"):
        DeepDriftRL(POLICY).calibrate(EPISODES[:20])
    assert DeepDriftRL(POLICY).calibrate(EPISODES[:29]).calibration.n_calibration == 19


def test_a_calibration_that_fails_leaves_the_one_before():
    monitor = DeepDriftRL(POLICY).calibrate(EPISODES)
    before = monitor.threshold, monitor.scores(EPISODES[0])
    other = collect_episodes(lambda obs: 0, Walk(), 3)
    for bad in (EPISODES[:5], other, [EPISODES[0].observations]):
        with pytest.raises(CalibrationError):
            monitor.calibrate(bad)
    assert monitor.threshold == before[0] and torch.equal(monitor.scores(EPISODES[0]), before[1])


def test_continuous_actions():
    import gymnasium

    policy = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    env = gymnasium.make("Pendulum-v1", max_episode_steps=15)
    monitor = DeepDriftRL(policy, of="observation").calibrate(env, n_episodes=60)
    episode = collect_episodes(policy, env, 1, seed=3)[0]
    weak = Episode(episode.observations, episode.actions + 1.0, episode.rewards, False, True)
    assert (monitor.scores(weak).median() > 1.2 * monitor.scores(episode).median()).item()
    monitor.reset()
    for obs, action in zip(episode.observations, episode.actions, strict=False):
        monitor.step(obs.numpy(), action.numpy())
    assert monitor.step(episode.observations[-1]).score == pytest.approx(
        monitor.scores(episode)[-1].item(), rel=1e-6
    )


# ---- bad input ----


@pytest.mark.parametrize("of", ["hidden", "observation"])
@pytest.mark.parametrize("score", SCORES)
def test_a_nan_observation_is_invalid_and_never_healthy(score, of):
    monitor = DeepDriftRL(POLICY, score=score, of=of, weight=0.5).calibrate(EPISODES)
    for obs in ([0.0, 0.0], [0.0, 0.1], [math.nan, 0.0], [0.0, 0.1], [0.0, 0.0]):
        diag = monitor.step(obs, 0)
        if diag.step == 2:
            assert diag.is_anomaly and diag.state is RLState.INVALID and diag.first_alarm == 2
    for _ in range(3):
        diag = monitor.step([0.0, 0.0], 0)
    assert diag.state is not RLState.INVALID and math.isfinite(diag.score)
    monitor.reset()
    assert monitor.step([math.nan, 0.0], 0).state is RLState.INVALID  # also as the first one


@pytest.mark.parametrize("kwargs", [{}, {"score": "velocity"}, {"of": "observation"}])
def test_a_step_without_a_threshold(kwargs):
    with pytest.raises(NotFittedError, match="threshold: call calibrate"):
        DeepDriftRL(POLICY, **kwargs).step([0.0, 0.0])
    if not kwargs:
        with pytest.raises(NotFittedError, match="needs calibrate"):
            DeepDriftRL(POLICY).scores(EPISODES[0])


@pytest.mark.parametrize(
    "kwargs, words",
    [
        ({"threshold": 0.15, "score": "innovation"}, "threshold: .*velocity, acceleration"),
        ({"threshold": math.nan}, "threshold: expected a finite number"),
        ({"threshold": "0.15"}, "threshold: expected a finite number"),
        ({"score": "speed"}, "score: expected one of"),
        ({"of": "logits"}, "of: expected 'hidden'"),
        ({"of": "observation", "layers": ["1"]}, "layers: observations have none"),
        ({"weight": 0.0}, r"weight: expected a number in \(0, 1\]"),
    ],
)
def test_options_that_cannot_be(kwargs, words):
    with pytest.raises(StateError, match=words):
        DeepDriftRL(POLICY, **kwargs)


def test_observations_of_another_shape_and_a_space_that_changes():
    monitor = DeepDriftRL(POLICY, threshold=0.15)
    monitor.step([0.0, 0.0])
    for obs in ([0.0] * 3, np.zeros((4, 4, 3)), {"x": 1.0}, ["a", "b"]):
        with pytest.raises(StateError, match="obs: expected"):
            monitor.step(obs)
    assert monitor.step([0.0, 0.0]).step == 1  # what was refused has not happened
    with pytest.raises(StateError, match=r"obs: expected shape \(2,\), got \(5, 3\)"):
        monitor.scores(Episode(torch.zeros(5, 3), [0] * 4, [0.0] * 4, True, False))


def test_policies_without_hidden_layers_are_watched_by_their_observations():
    for policy in (lambda obs: int(obs[0] < 0), torch.nn.Linear(2, 2)):
        monitor = DeepDriftRL(policy, of="observation").calibrate(Walk(), n_episodes=30)
        assert monitor.layers == [] and monitor.scores(EPISODES[0]).isfinite().all()
    with pytest.raises(LayerNotFoundError, match='of="observation"'):
        DeepDriftRL(lambda obs: 0)
    with pytest.raises(LayerNotFoundError, match='of="observation"'):
        DeepDriftRL(torch.nn.Linear(2, 2)).calibrate(EPISODES)


def test_a_function_is_not_called_twice():
    monitor = DeepDriftRL(lambda obs: 0, of="observation").calibrate(EPISODES)
    with pytest.raises(StateError, match="action: expected what the policy does"):
        monitor.step([0.0, 0.0])
    with pytest.raises(StateError, match="action: expected 0..1, got 7..7"):
        monitor.step([0.0, 0.0], 7)


def test_a_copy_watches_a_copy():
    monitor = DeepDriftRL(POLICY).calibrate(EPISODES)
    twin = copy.deepcopy(monitor)
    torch.testing.assert_close(twin.scores(EPISODES[0]), monitor.scores(EPISODES[0]))
    assert twin.watch.policy.module is not POLICY
