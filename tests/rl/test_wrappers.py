"""Watched environments act as before, and no step leads from one episode into the next."""

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from rl_toys import Walk, act, digest, jumps, n_hooks, network

from deepdrift.errors import NotFittedError, StateError
from deepdrift.rl import (
    DeepDriftRL,
    Episode,
    MonitorVectorWrapper,
    MonitorWrapper,
    RLState,
    collect_episodes,
)

POLICY = network()
CART = network(width=4, seed=2)
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]
HIDDEN = DeepDriftRL(POLICY).calibrate(Walk(), n_episodes=60)
OUTSIDE = DeepDriftRL(POLICY, threshold=2.0, of="observation")


def play(env, policy, steps, seed=0):
    """Everything that happens in one environment, resets by hand."""
    happened = []
    obs, _ = env.reset(seed=seed)
    for _ in range(steps):
        action = policy(obs)
        happened += [obs, action]
        obs, reward, terminated, truncated, _ = env.step(action)
        happened += [reward, terminated, truncated]
        if terminated or truncated:
            obs, _ = env.reset()
    return happened


def play_many(env, policy, steps, seed=0, seen=None):
    """The same for a vector environment, in its autoreset mode; ``seen`` gathers the infos."""
    happened = []
    obs, infos = env.reset(seed=seed)
    mode = env.metadata["autoreset_mode"]
    for _ in range(steps):
        if seen is not None:
            seen.append(infos)
        actions = policy(obs)
        happened += [obs.copy(), actions]
        obs, rewards, terminated, truncated, infos = env.step(actions)
        happened += [rewards, terminated, truncated]
        over = terminated | truncated
        if mode is AutoresetMode.DISABLED and over.any():
            if seen is not None:
                seen.append(infos)
            obs, infos = env.reset(options={"reset_mask": over})
    return happened


# ---- the same stream of actions ----


def greedy(obs):
    return int(act(CART, obs)[0])


@pytest.mark.parametrize("of", ["hidden", "observation"])
def test_cartpole_is_the_same_to_the_last_bit(of):
    short = gymnasium.make("CartPole-v1", max_episode_steps=20)
    monitor = DeepDriftRL(CART, of=of).calibrate(short, n_episodes=30)
    plain = play(gymnasium.make("CartPole-v1"), greedy, 300)
    watched = play(MonitorWrapper(gymnasium.make("CartPole-v1"), monitor), greedy, 300)
    assert digest(plain) == digest(watched)


@pytest.mark.parametrize("kind", ["PPO", "DQN"])
def test_an_agent_that_acts_by_chance_draws_the_same_numbers(kind):
    sb3 = pytest.importorskip("stable_baselines3")
    agent = getattr(sb3, kind)("MlpPolicy", "CartPole-v1", seed=0, device="cpu")
    monitor = DeepDriftRL(agent.policy, threshold=0.15)

    def hashed(env):
        torch.manual_seed(0)
        np.random.seed(0)
        agent.action_space.seed(0)
        policy = lambda obs: int(agent.predict(obs, deterministic=False)[0])  # noqa: E731
        return digest(play(env, policy, 100))

    plain = hashed(gymnasium.make("CartPole-v1"))
    assert plain == hashed(MonitorWrapper(gymnasium.make("CartPole-v1"), monitor))
    assert n_hooks(agent.policy) == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_vector_environment_is_the_same_to_the_last_bit(mode):
    def make():
        return SyncVectorEnv([Walk] * 3, autoreset_mode=mode)

    plain = play_many(make(), lambda obs: act(POLICY, obs), 200)
    watched = play_many(MonitorVectorWrapper(make(), HIDDEN), lambda obs: act(POLICY, obs), 200)
    assert digest(plain) == digest(watched)


def test_cartpole_s_own_vector_environment_is_the_same_to_the_last_bit():
    monitor = DeepDriftRL(CART, threshold=0.15)
    plain = play_many(gymnasium.make_vec("CartPole-v1", num_envs=4), lambda o: act(CART, o), 200)
    env = MonitorVectorWrapper(gymnasium.make_vec("CartPole-v1", num_envs=4), monitor)
    assert digest(plain) == digest(play_many(env, lambda o: act(CART, o), 200))
    assert n_hooks(CART) == 0


# ---- resets ----


def episodes_and_alarms(infos, n):
    """Episodes begun and alarms, counted from ``info`` of a vector environment."""
    begun = alarms = 0
    for info in infos:
        found, there = info["deepdrift"], info["_deepdrift"]
        begun += int((there & (found["step"] == 0)).sum())
        alarms += int((there & found["is_anomaly"]).sum())
    return begun, alarms


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_a_thousand_resets_cause_no_alarm(mode):
    infos = []
    env = MonitorVectorWrapper(SyncVectorEnv([jumps] * 10, autoreset_mode=mode), OUTSIDE)
    play_many(env, lambda obs: act(POLICY, obs), 300, seen=infos)
    begun, alarms = episodes_and_alarms(infos, 10)
    assert begun >= 1000 and alarms == 0


def test_a_thousand_resets_in_the_same_step_cause_no_alarm():
    infos = []
    many = SyncVectorEnv([jumps] * 10, autoreset_mode=AutoresetMode.SAME_STEP)
    play_many(MonitorVectorWrapper(many, OUTSIDE), lambda obs: act(POLICY, obs), 160, seen=infos)
    ended = sum(int(np.sum(info.get("_final_obs", 0))) for info in infos)
    assert ended >= 1000 and episodes_and_alarms(infos, 10)[1] == 0


def test_a_thousand_resets_of_one_environment_cause_no_alarm():
    for env in (jumps(), gymnasium.wrappers.Autoreset(jumps())):
        env = MonitorWrapper(env, OUTSIDE)
        _, info = env.reset(seed=0)
        begun = over = 0
        while begun < 1000:
            begun += info["deepdrift"]["step"] == 0
            assert not info["deepdrift"]["is_anomaly"]
            if over and not isinstance(env.env, gymnasium.wrappers.Autoreset):
                _, info = env.reset()
                over = False
                continue
            _, _, terminated, truncated, info = env.step(0)
            over = terminated or truncated


def test_a_monitor_that_is_never_reset_does_alarm():
    """The control: these starts are as far apart as the tests above need."""
    monitor = DeepDriftRL(POLICY, threshold=2.0, of="observation")
    alarms = 0
    for episode in collect_episodes(POLICY, jumps(), 100):
        for obs in episode.observations:
            alarms += monitor.step(obs.numpy()).is_anomaly
    assert alarms == 99


@pytest.mark.parametrize("mode", MODES)
def test_every_step_of_every_mode_is_scored_as_offline(mode):
    infos, parts = [], [Walk(), Walk(), Walk()]
    many = SyncVectorEnv([lambda env=env: env for env in parts], autoreset_mode=mode)
    env = MonitorVectorWrapper(many, HIDDEN)
    play_many(env, lambda obs: act(POLICY, obs), 150, seen=infos)
    for i, part in enumerate(parts):
        live = [
            float(info["deepdrift"]["score"][i])
            for info in infos
            if info["_deepdrift"][i] and info["deepdrift"]["step"][i] > 0
        ]
        offline = []
        for observations, actions in part.log:
            if actions:
                rewards = [0.0] * len(actions)
                whole = Episode(np.stack(observations), actions, rewards, True, False)
                offline += HIDDEN.scores(whole).tolist()
        assert len(part.log) > 5 and 0 <= len(offline) - len(live) <= 1  # the last is not seen
        np.testing.assert_allclose(live, offline[: len(live)], rtol=1e-2)


def test_a_mask_resets_some_and_leaves_the_others_in_their_episode():
    many = SyncVectorEnv([Walk] * 3, autoreset_mode=AutoresetMode.DISABLED)
    env = MonitorVectorWrapper(many, OUTSIDE)
    env.reset(seed=0)
    env.step(np.array([0, 1, 0]))
    mask = np.array([False, True, False])
    _, infos = env.reset(options={"reset_mask": mask})
    found = infos["deepdrift"]
    np.testing.assert_array_equal(infos["_deepdrift"], mask)
    np.testing.assert_array_equal(found["_score"], mask)
    assert found["step"][1] == 0 and found["state"][1] == RLState.STARTING
    *_, infos = env.step(np.array([0, 1, 0]))
    assert infos["deepdrift"]["step"].tolist() == [2, 1, 2]


# ---- info ----


def test_info_holds_numbers_and_an_int_state():
    env = MonitorWrapper(Walk(), HIDDEN)
    _, first = env.reset(seed=0)
    *_, second = env.step(np.int64(1))
    types = dict(
        is_anomaly=bool, peak_velocity=float, score=float, threshold=float, step=int, state=int,
        first_alarm=int,
    )  # fmt: skip
    for info in (first, second):
        assert {k: type(v) for k, v in info["deepdrift"].items()} == types
    assert env.diagnosis.to_info() == second["deepdrift"]
    assert (first["deepdrift"]["step"], second["deepdrift"]["step"]) == (0, 1)


def test_gymnasium_stacks_the_numbers_of_wrapped_parts_and_ours_look_the_same():
    def wrapped():
        return MonitorWrapper(Walk(), HIDDEN)

    theirs = SyncVectorEnv([wrapped] * 3, autoreset_mode=AutoresetMode.NEXT_STEP)
    ours = SyncVectorEnv([Walk] * 3, autoreset_mode=AutoresetMode.NEXT_STEP)
    ours = MonitorVectorWrapper(ours, HIDDEN)
    infos = [env.reset(seed=0)[1] for env in (theirs, ours)]
    for _ in range(40):
        a, b = (info["deepdrift"] for info in infos)
        assert a.keys() == b.keys()
        for name in a:
            assert a[name].dtype == b[name].dtype and a[name].dtype != object, name
            np.testing.assert_allclose(a[name], b[name], rtol=1e-2, err_msg=name)
        np.testing.assert_array_equal(infos[0]["_deepdrift"], infos[1]["_deepdrift"])
        infos = [env.step(np.array([0, 1, 0]))[-1] for env in (theirs, ours)]


def test_other_infos_are_kept():
    env = gymnasium.wrappers.RecordEpisodeStatistics(Walk(lengths=(1, 2)))
    env = MonitorWrapper(env, OUTSIDE)
    env.reset(seed=0)
    *_, info = env.step(0)
    assert info["episode"]["l"] == 1 and info["deepdrift"]["step"] == 1


def test_a_broken_sensor_is_invalid_and_no_other_environment_hears_of_it():
    class Broken(Walk):
        def step(self, action):
            obs, *rest = super().step(action)
            return np.full_like(obs, np.nan), *rest

    many = SyncVectorEnv([Walk, Broken], autoreset_mode=AutoresetMode.NEXT_STEP)
    env = MonitorVectorWrapper(many, HIDDEN)
    env.reset(seed=0)
    *_, infos = env.step(np.array([0, 0]))
    found = infos["deepdrift"]
    assert found["state"].tolist() == [RLState.NORMAL, RLState.INVALID]
    assert found["is_anomaly"].tolist() == [False, True] and math.isfinite(found["score"][0])


# ---- manners ----


def test_an_environment_is_rebuilt_from_its_specification():
    monitor = DeepDriftRL(CART, threshold=0.15)
    env = MonitorWrapper(gymnasium.make("CartPole-v1", max_episode_steps=50), monitor)
    again = gymnasium.make(env.spec)
    assert isinstance(again, MonitorWrapper) and again.monitor is monitor
    outer = gymnasium.make(gymnasium.wrappers.ClipReward(env, 0.0, 1.0).spec)
    for one in (again, outer):
        assert digest(play(env, greedy, 60)) == digest(play(one, greedy, 60))


def test_environments_that_share_a_monitor_have_episodes_of_their_own():
    a, b = MonitorWrapper(Walk(), HIDDEN), MonitorWrapper(Walk(), HIDDEN)
    a.reset(seed=0), b.reset(seed=1)
    alone = MonitorWrapper(Walk(), HIDDEN)
    alone.reset(seed=0)
    for t in range(5):
        found, expected = a.step(t % 2)[-1], alone.step(t % 2)[-1]
        b.step(0)
        assert found == expected


def test_a_step_before_reset():
    for env, action in (
        (MonitorWrapper(Walk(), OUTSIDE), 0),
        (MonitorVectorWrapper(SyncVectorEnv([Walk]), OUTSIDE), np.array([0])),
    ):
        with pytest.raises(StateError, match="was not reset; call env.reset"):
            env.step(action)


@pytest.mark.parametrize(
    "env, monitor, error, words",
    [
        (Walk, DeepDriftRL(POLICY), NotFittedError, "call calibrate"),
        (lambda: gymnasium.make("CartPole-v1"), HIDDEN, StateError, "width 2 and .* got width 4"),
        (lambda: gymnasium.make("FrozenLake-v1"), HIDDEN, StateError, "expected a Box"),
        (Walk, POLICY, StateError, "monitor: expected a DeepDriftRL, got Sequential"),
    ],
)
def test_environments_and_monitors_that_do_not_fit(env, monitor, error, words):
    with pytest.raises(error, match=words):
        MonitorWrapper(env(), monitor)
    with pytest.raises(error, match=words):
        MonitorVectorWrapper(SyncVectorEnv([env]), monitor)


def test_an_environment_whose_observations_change():
    class Growing(Walk):
        def step(self, action):
            obs, *rest = super().step(action)
            return np.append(obs, 0.0), *rest

    env = MonitorWrapper(Growing(), OUTSIDE)
    env.reset(seed=0)
    with pytest.raises(StateError, match=r"obs: expected shape \(2,\), got \(3,\); the spaces"):
        env.step(0)


def test_the_vector_wrapper_refuses_one_environment_and_the_other_many():
    with pytest.raises(TypeError):
        MonitorVectorWrapper(Walk(), OUTSIDE)
    with pytest.raises(TypeError):
        MonitorWrapper(SyncVectorEnv([Walk]), OUTSIDE)
