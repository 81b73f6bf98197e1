"""Train one of the shipped policies, with the noise of the plant switched on.

    python data/build/train_policies.py --plant cartpole

CartPole learns by PPO (extra ``test``: stable-baselines3). LunarLander and Pendulum imitate a
controller by DAgger (Ross, Gordon and Bagnell 2011): the policy acts, the controller says what it
would have done in the true state, all of it is learnt, and so on. The header of the file states the
mean return, and how many episodes kept control, over 100 episodes with seeds used nowhere else.
A minute or two each on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from deepdrift.lab.reinforcement_learning.controllers import lander_controller, pendulum_controller
from deepdrift.lab.reinforcement_learning.noise import NoisyEnv
from deepdrift.lab.reinforcement_learning.plants import PLANTS
from deepdrift.lab.reinforcement_learning.policies import Policy
from deepdrift.lab.reinforcement_learning.simulate import simulate

FIRST_TRAINING_SEED, FIRST_TEST_SEED = 2_000_000, 1_000_000
# After Raffin's rl-baselines3-zoo; the network is SB3's default, 64-64 tanh.
PPO = {"n_steps": 256, "batch_size": 256, "n_epochs": 10, "gamma": 0.99, "gae_lambda": 0.95}
PPO_STEPS, PPO_ENVS, PPO_RATE = 200_000, 8, 1e-3
ROUNDS, EPISODES, EPOCHS, LAST_EPOCHS = 6, 40, 15, 80


def by_ppo(name: str, seed: int) -> tuple[Policy, str]:
    """The policy, and how it came about."""
    import stable_baselines3
    from stable_baselines3.common.env_util import make_vec_env

    envs = make_vec_env(lambda: NoisyEnv(PLANTS[name].make(), name), PPO_ENVS, seed=seed)
    agent = stable_baselines3.PPO(
        "MlpPolicy", envs, seed=seed, device="cpu", learning_rate=lambda left: PPO_RATE * left,
        **PPO,
    )  # fmt: skip
    agent.learn(PPO_STEPS)
    inner, outputs = agent.policy.mlp_extractor.policy_net, agent.policy.action_net
    policy = Policy(inner[0].in_features, outputs.out_features)
    for layer, source in {"hidden_1": inner[0], "hidden_2": inner[2], "head": outputs}.items():
        getattr(policy, layer).load_state_dict(source.state_dict())
    version = stable_baselines3.__version__
    return policy, f"PPO, stable-baselines3 {version}, {PPO_STEPS:,} steps, seed {seed}"


Controller = Callable[[NDArray[np.float32]], NDArray]


def learn(policy: Policy, seen: torch.Tensor, told: torch.Tensor, epochs: int, seed: int) -> None:
    """Cross-entropy, or squared error for numbers; Adam with a one-cycle rate, batches of 512."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    batches = -(-len(seen) // 512)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs * batches)
    loss = torch.nn.functional.mse_loss if hasattr(policy, "limit") else torch.nn.CrossEntropyLoss()
    for _ in range(epochs):
        for rows in torch.randperm(len(seen), generator=generator).split(512):
            optimizer.zero_grad()
            loss(policy(seen[rows]), told[rows]).backward()
            optimizer.step()
            schedule.step()


def by_dagger(name: str, seed: int, expert: Controller) -> tuple[Policy, str]:
    """The policy, and how it came about."""
    place, torch_seed = PLANTS[name], torch.random.default_generator
    torch_seed.manual_seed(seed)
    limit = None if place.n_actions else 2.0
    policy = Policy(len(place.sensors), place.n_actions or 1, limit=limit)
    seen, told = [], []
    for turn in range(ROUNDS):
        first = FIRST_TRAINING_SEED + 1000 * seed + EPISODES * turn
        seeds = range(first, first + EPISODES)
        in_charge = {"backup": expert, "switch": np.zeros(EPISODES)} if turn == 0 else {}
        runs = simulate(policy, name, seeds, **in_charge)
        rows = np.arange(runs.rewards.shape[1]) < runs.lengths[:, None]
        seen.append(torch.from_numpy(runs.observations[:, :-1][rows]))
        told.append(torch.from_numpy(expert(runs.states[:, :-1][rows])))
        epochs = EPOCHS if turn < ROUNDS - 1 else LAST_EPOCHS
        learn(policy, torch.cat(seen), torch.cat(told), epochs, seed + turn)
        print(f"round {turn}: {runs}", flush=True)
    steps = sum(map(len, seen))
    return policy, (
        f"DAgger, {ROUNDS} rounds of {EPISODES} episodes, {steps:,} steps, imitates "
        f"{expert.__name__}, seed {seed}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plant", choices=list(PLANTS), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parents[1] / "models")
    args = parser.parse_args()

    torch.set_num_threads(1)
    start = time.time()
    experts = {"lunarlander": lander_controller, "pendulum": pendulum_controller}
    policy, made_by = (
        by_dagger(args.plant, args.seed, experts[args.plant])
        if args.plant in experts
        else by_ppo(args.plant, args.seed)
    )
    runs = simulate(policy, args.plant, range(FIRST_TEST_SEED, FIRST_TEST_SEED + args.episodes))
    header = {
        "plant": args.plant,
        "made_by": made_by,
        "mean_return": f"{runs.returns.mean():.1f}",
        "episodes": str(args.episodes),
        "kept_control": str(int((runs.lost < 0).sum())),
    }
    if hasattr(policy, "limit"):
        header["limit"] = str(policy.limit.max_val)
    path = args.folder / f"policy-{args.plant}.safetensors"
    save_file(policy.state_dict(), path, metadata=header)
    print(f"{header}, least {runs.returns.min():.0f}, {time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
