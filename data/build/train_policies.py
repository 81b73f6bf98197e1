"""Train one of the shipped policies with PPO, the noise of the plant switched on.

    python data/build/train_policies.py --plant cartpole

Needs the extras ``rl`` and ``test`` (stable-baselines3). The file's header states the mean return
and the share of episodes that did not fail over 100 episodes with seeds never used in training.
A few minutes each on one core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from deepdrift.lab.reinforcement_learning.noise import NoisyEnv
from deepdrift.lab.reinforcement_learning.plants import PLANTS
from deepdrift.lab.reinforcement_learning.policies import Policy

# Settings after Raffin's rl-baselines3-zoo; network: SB3's default, 64-64 tanh for each of both.
SETTINGS: dict[str, dict] = {
    "cartpole": {
        "steps": 200_000, "n_envs": 8, "n_steps": 256, "batch_size": 256, "n_epochs": 10,
        "gamma": 0.99, "gae_lambda": 0.95, "learning_rate": 1e-3, "clip_range": 0.2,
    },
    "lunarlander": {
        "steps": 2_000_000, "n_envs": 16, "n_steps": 1024, "batch_size": 256, "n_epochs": 4,
        "gamma": 0.999, "gae_lambda": 0.98, "ent_coef": 0.01, "learning_rate": 1e-3,
    },
    "pendulum": {
        "steps": 200_000, "n_envs": 4, "n_steps": 1024, "batch_size": 256, "n_epochs": 10,
        "gamma": 0.9, "gae_lambda": 0.95, "learning_rate": 1e-3, "use_sde": True,
        "sde_sample_freq": 4,
    },
}  # fmt: skip
FIRST_TEST_SEED = 1_000_000


def noisy(name: str) -> NoisyEnv:
    return NoisyEnv(PLANTS[name].make(), name)


def train(name: str, seed: int) -> tuple[Policy, str]:
    """The policy, and how it came about."""
    settings = dict(SETTINGS[name])
    steps, n_envs = settings.pop("steps"), settings.pop("n_envs")
    envs = make_vec_env(lambda: noisy(name), n_envs, seed=seed)
    rate = settings.pop("learning_rate")
    agent = PPO("MlpPolicy", envs, seed=seed, device="cpu", verbose=0,
                learning_rate=lambda left: rate * left, **settings)  # fmt: skip
    agent.learn(steps)
    inner = agent.policy.mlp_extractor.policy_net
    outputs = agent.policy.action_net
    limit = None if PLANTS[name].n_actions else float(envs.action_space.high[0])
    policy = Policy(inner[0].in_features, outputs.out_features, limit=limit)
    layers = {"hidden_1": inner[0], "hidden_2": inner[2], "head": outputs}
    for layer, source in layers.items():
        getattr(policy, layer).load_state_dict(source.state_dict())
    import stable_baselines3

    return policy.eval(), (
        f"PPO, stable-baselines3 {stable_baselines3.__version__}, {steps:,} steps, seed {seed}"
    )


def evaluate(policy: Policy, name: str, n_episodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return of each episode, and whether control was lost in it."""
    env, returns, lost = noisy(name), [], []
    for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + n_episodes):
        observation, _ = env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            action = policy.act(torch.from_numpy(observation)[None])[0].numpy()
            observation, reward, terminated, truncated, info = env.step(action)
            total, over = total + float(reward), terminated or truncated
        returns.append(total), lost.append(info["lost"])
    return np.array(returns), np.array(lost)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plant", choices=list(SETTINGS), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / "models")
    args = parser.parse_args()

    torch.set_num_threads(1)
    start = time.time()
    policy, made_by = train(args.plant, args.seed)
    returns, lost = evaluate(policy, args.plant, args.episodes)
    header = {
        "plant": args.plant,
        "made_by": made_by,
        "mean_return": f"{returns.mean():.1f}",
        "episodes": str(args.episodes),
        "not_lost": str(int((~lost).sum())),
    }
    if hasattr(policy, "limit"):
        header["limit"] = str(policy.limit.max_val)
    path = args.folder / f"policy-{args.plant}.safetensors"
    save_file(policy.state_dict(), path, metadata=header)
    print(f"{header} min {returns.min():.0f}, {time.time() - start:.0f} s, {path}", flush=True)


if __name__ == "__main__":
    main()
