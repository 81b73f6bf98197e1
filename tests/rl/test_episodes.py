"""Episodes hold what a policy saw and did; collecting them is reproducible and leaves no trace."""

import random

import gymnasium
import numpy as np
import pytest
import torch
from rl_toys import Walk, act, network

from deepdrift.errors import ForwardError, StateError
from deepdrift.rl import Episode, collect_episodes
from deepdrift.rl.split import complete_episodes, guess_code, required_episodes, split_episodes


def test_an_episode_replays_in_the_environment():
    policy, env = network(), Walk()
    episode = collect_episodes(policy, env, 3, seed=5)[2]
    seed = int(np.random.SeedSequence(5).generate_state(4)[2])
    obs, _ = env.reset(seed=seed)
    for t in range(len(episode)):
        np.testing.assert_array_equal(obs, episode.observations[t])
        assert act(policy, obs)[0] == episode.actions[t]
        obs, _, terminated, _, _ = env.step(int(episode.actions[t]))
    np.testing.assert_array_equal(obs, episode.observations[-1])
    assert terminated and episode.terminated and not episode.truncated
    assert episode.total_reward == len(episode)


def test_seeds_that_differ_share_no_episode():
    starts = [e.observations[0, 0].item() for s in range(4) for e in collect(network(), 25, seed=s)]
    assert len(set(starts)) == 100


def collect(policy, n, **kwargs):
    return collect_episodes(policy, Walk(), n, **kwargs)


def test_a_sampling_policy_is_reproducible_and_global_generators_stay():
    policy = network()
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    a, b = (collect(policy, 5, seed=1, deterministic=False) for _ in range(2))
    assert all(torch.equal(x.actions, y.actions) for x, y in zip(a, b, strict=True))
    greedy = collect(policy, 5, seed=1)
    assert any(not torch.equal(x.actions, y.actions) for x, y in zip(a, greedy, strict=True))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1]) and before[2] == random.getstate()


def test_a_policy_in_training_mode_acts_as_in_evaluation_and_keeps_its_mode():
    dropout = torch.nn.Sequential(network(), torch.nn.Dropout(0.9)).train()
    a, b = (collect(dropout, 3), collect(dropout[0], 3))
    assert all(torch.equal(x.actions, y.actions) for x, y in zip(a, b, strict=True))
    assert dropout.training and dropout[1].training


def test_continuous_actions_are_clipped_to_the_space():
    policy = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    policy[2].bias.data.fill_(50.0)
    env = gymnasium.make("Pendulum-v1", max_episode_steps=5)
    (episode,) = collect_episodes(policy, env, 1)
    assert episode.actions.shape == (5, 1) and (episode.actions == 2.0).all()
    assert episode.truncated and not episode.terminated


def test_a_function_is_a_policy():
    episodes = collect(lambda obs: int(obs[0] < 0), 3)
    for e in episodes:
        assert torch.equal(e.actions, (e.observations[:-1, 0] < 0).long())


def test_an_environment_without_end(monkeypatch):
    monkeypatch.setattr("deepdrift.rl.episodes.MAX_STEPS", 50)
    with pytest.raises(StateError, match="no end after 50 steps.*TimeLimit"):
        collect_episodes(network(), Walk(lengths=(100, 101)), 1)


@pytest.mark.parametrize(
    "env, words",
    [
        (gymnasium.make_vec("CartPole-v1", num_envs=2), "expected one gymnasium.Env"),
        (object(), "expected one gymnasium.Env, got object"),
        (gymnasium.make("FrozenLake-v1"), "observation_space: expected a Box"),
    ],
)
def test_other_environments_are_refused(env, words):
    with pytest.raises(StateError, match=words):
        collect_episodes(network(), env, 1)


def test_a_policy_that_does_not_fit_the_environment():
    with pytest.raises(ForwardError, match=r"policy: raised RuntimeError on .* \(1, 2\)"):
        collect(network(width=3), 1)
    with pytest.raises(StateError, match=r"output \(N, 2\), a number for .* got \(1, 5\)"):
        collect(network(n_actions=5), 1)
    with pytest.raises(StateError, match="n_episodes: expected an integer >= 1, got 0"):
        collect(network(), 0)


@pytest.mark.parametrize(
    "fields, words",
    [
        (dict(observations=[[0.0]]), "observations: expected shape"),
        (dict(observations=[0.0, 1.0]), "observations: expected shape"),
        (dict(actions=[0]), r"actions: expected \(2,\) integers or \(2, A\) numbers"),
        (dict(actions=[0.5, 0.5]), r"actions: .*float32 of shape \(2,\)"),
        (dict(rewards=[1.0]), r"rewards: expected shape \(2,\), got \(1,\)"),
        (dict(states=[[0.0], [1.0]]), r"states: expected shape \(3, S\)"),
    ],
)
def test_parts_of_an_episode_that_do_not_fit(fields, words):
    whole = dict(
        observations=torch.zeros(3, 1), actions=[0, 1], rewards=[1.0, 1.0],
        terminated=True, truncated=False,
    )  # fmt: skip
    with pytest.raises(StateError, match=words):
        Episode(**whole | fields)


# ---- which episodes do what ----


def episode(length=3, width=1, complete=True, value=0.0):
    obs = torch.full((length + 1, width), value)
    return Episode(obs, [0] * length, [0.0] * length, complete, False)


@pytest.mark.parametrize("alpha, fit", [(0.05, True), (0.05, False), (0.1, True), (0.3, True)])
def test_the_number_of_episodes_asked_for_is_enough_and_one_less_is_not(alpha, fit):
    needed = required_episodes(alpha, fit=fit)
    fitting, held_out = split_episodes([episode()] * needed, alpha, fit=fit)
    assert len(held_out) >= 1 / alpha - 1 and bool(fitting) == fit
    with pytest.raises(ValueError, match=f"at least {needed} are needed"):
        split_episodes([episode()] * (needed - 1), alpha, fit=fit)


def test_no_episode_fits_and_calibrates():
    episodes = [episode(value=float(i)) for i in range(60)]
    fitting, held_out = split_episodes(episodes, 0.05, fit=True)
    assert sorted(float(e.observations[0]) for e in fitting + held_out) == list(range(60))
    assert (len(fitting), len(held_out)) == (20, 40)


@pytest.mark.parametrize(
    "episodes, words",
    [
        ([], "got 0, none of which"),
        ([episode(complete=False)] * 3, "got 3, none of which terminated"),
        ([torch.zeros(3, 1)], "got Tensor at place 0"),
        ([episode(), episode(width=2)], r"widths \[1, 2\]; the spaces"),
        ([episode(value=float("nan")), episode()], "1 of 2 hold observations"),
        ([episode(length=1)], "shorter than 2 steps"),
    ],
)
def test_episodes_that_cannot_calibrate(episodes, words):
    with pytest.raises(ValueError, match=f"episodes: .*{words}"):
        complete_episodes(episodes, steps=2)


def test_the_code_of_actions_has_room_for_all_outputs_of_the_policy():
    assert guess_code([episode()], 4).width == 4
    assert guess_code([episode()], 0).width == 1
