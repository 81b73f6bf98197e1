"""Every kind of policy is driven as its owner drives it, and left as it was."""

import random

import numpy as np
import pytest
import torch
from rl_toys import n_hooks, network
from torch import nn

from deepdrift.errors import ForwardError, LayerNotFoundError, StateError
from deepdrift.rl.hidden import HiddenPolicy
from deepdrift.rl.spaces import ActionCode

TWO = ActionCode(True, 2)
OBS = torch.tensor([[0.5, -1.0], [2.0, 0.25], [0.0, 0.0]])


def test_the_states_are_those_of_a_pass_by_hand():
    model = network()
    states, actions = HiddenPolicy(model).look(OBS, TWO)
    with torch.no_grad():
        first = model[:2](OBS)
        second = model[2:4](first)
        logits = model(OBS)
    torch.testing.assert_close(states, torch.cat([first, second], dim=1))
    assert torch.equal(actions, logits.argmax(dim=1))


def test_a_broken_row_is_not_shown_to_the_policy_and_spoils_no_other():
    seen = []
    model = network()
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    broken = OBS.clone()
    broken[1, 0] = torch.nan
    states, _ = HiddenPolicy(model).look(broken, TWO)
    assert all(x.isfinite().all() for x in seen)
    assert states.isnan().all(dim=1).tolist() == [False, True, False]
    torch.testing.assert_close(states[[0, 2]], HiddenPolicy(model).look(OBS)[0][[0, 2]])


def test_a_look_leaves_modes_statistics_generators_and_hooks_alone():
    model = nn.Sequential(
        nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(), nn.Linear(8, 2)
    )
    model[1].eval()
    before = [m.training for m in model.modules()]
    mean = model[1].running_mean.clone()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    driver = HiddenPolicy(model)
    for _ in range(3):
        driver.look(OBS, TWO)
    assert [m.training for m in model.modules()] == before
    assert torch.equal(model[1].running_mean, mean) and n_hooks(model) == 0
    assert torch.equal(states[0], torch.get_rng_state()) and states[1] == random.getstate()
    assert np.array_equal(states[2], np.random.get_state()[1])
    assert all(p.grad is None for p in model.parameters())


def test_a_policy_that_draws_in_its_pass_gets_its_generator_back():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return self.net(x) + torch.rand(len(x), 2)

    driver = HiddenPolicy(Noisy().eval())
    for _ in range(3):
        before = torch.get_rng_state()
        driver.look(OBS, TWO)
        assert torch.equal(before, torch.get_rng_state())


def test_a_policy_of_another_precision():
    states, _ = HiddenPolicy(network().double()).look(OBS)
    assert states.dtype == torch.float32
    torch.testing.assert_close(states, HiddenPolicy(network()).look(OBS)[0])


def test_layers_by_name():
    driver = HiddenPolicy(network(), layers=["0"])
    assert driver.layers == ["0"]
    assert driver.look(OBS)[0].shape == (3, 8)


@pytest.mark.parametrize(
    "layers, words",
    [(["nine"], "has no layer 'nine'"), ([], "at least one layer name"), (["1", "1"], "twice")],
)
def test_layers_that_are_not_there(layers, words):
    with pytest.raises(LayerNotFoundError, match=words):
        HiddenPolicy(network(), layers=layers)


def test_a_named_layer_that_does_not_run_or_is_no_vector():
    model = nn.ModuleDict({"used": network(), "spare": nn.Linear(2, 2)})
    model.forward = lambda x: model["used"](x[:, None])[:, 0]
    with pytest.raises(LayerNotFoundError, match="'spare' does not run when the policy acts"):
        HiddenPolicy(model, layers=["spare"]).look(OBS)
    with pytest.raises(LayerNotFoundError, match=r"'used.1' returned shape \(3, 1, 8\)"):
        HiddenPolicy(model, layers=["used.1"]).look(OBS)


def test_policies_whose_hidden_states_cannot_be_watched():
    with pytest.raises(LayerNotFoundError, match='a function has no hidden layers.*of="obs'):
        HiddenPolicy(lambda obs: 0).check_hidden()
    with pytest.raises(LayerNotFoundError, match="recurrent network carries a memory"):
        HiddenPolicy(nn.LSTM(2, 2)).check_hidden()
    with pytest.raises(StateError, match="policy: expected a torch module, .* got int"):
        HiddenPolicy(3)
    with pytest.raises(StateError, match="not called twice"):
        HiddenPolicy(lambda obs: 0).choose(OBS, TWO)


def test_a_recurrent_policy_is_never_asked_without_its_memory():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRUCell(2, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.rnn(x))

    driver = HiddenPolicy(Recurrent())
    with pytest.raises(StateError, match="expected what the policy does.*carries a memory"):
        driver.choose(OBS, TWO)
    with pytest.raises(StateError, match="give a function of an observation that keeps it"):
        driver.act(OBS[0], TWO)


def test_a_policy_that_changes_its_input_in_place_gets_a_copy():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            x /= 2.0
            return self.net(x)

    obs = OBS.clone()
    states, _ = HiddenPolicy(InPlace()).look(obs)
    assert torch.equal(obs, OBS)
    torch.testing.assert_close(states, HiddenPolicy(network()).look(OBS / 2)[0])


def test_a_look_inside_inference_mode_is_the_same():
    expected = HiddenPolicy(network()).look(OBS, TWO)
    with torch.inference_mode():
        states, actions = HiddenPolicy(network()).look(OBS.clone(), TWO)
    assert torch.equal(states, expected[0]) and torch.equal(actions, expected[1])


def test_an_agent_that_is_no_function_of_observations_alone():
    class Agent(nn.Module):
        def __init__(self):
            super().__init__()
            self.actor = network()

    with pytest.raises(ForwardError, match="NotImplementedError.*give the actor"):
        HiddenPolicy(Agent()).look(OBS)
    assert HiddenPolicy(Agent().actor).look(OBS)[0].shape == (3, 16)


# ---- stable-baselines3, untrained ----

CASES = {
    "ppo, discrete": ("PPO", "CartPole-v1", "mlp_extractor.policy_net", ActionCode(True, 2)),
    "ppo, continuous": ("PPO", "Pendulum-v1", "mlp_extractor.policy_net", ActionCode(False, 1)),
    "dqn": ("DQN", "CartPole-v1", "q_net.q_net", ActionCode(True, 2)),
    "sac": ("SAC", "Pendulum-v1", "actor.latent_pi", ActionCode(False, 1)),
    "td3": ("TD3", "Pendulum-v1", "actor.mu", ActionCode(False, 1)),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def agent(request):
    stable_baselines3 = pytest.importorskip("stable_baselines3")
    name, env, prefix, code = request.param
    return getattr(stable_baselines3, name)("MlpPolicy", env, seed=0, device="cpu"), prefix, code


def test_the_layers_are_those_of_the_actor_and_known_at_once(agent):
    algorithm, prefix, code = agent
    for policy in (algorithm, algorithm.policy):
        driver = HiddenPolicy(policy)
        driver.check_hidden()
        assert driver.layers == [f"{prefix}.1", f"{prefix}.3"]
        assert driver.code == code and driver.width == algorithm.observation_space.shape[0]


def test_states_and_actions_are_those_of_predict(agent):
    algorithm, prefix, code = agent
    obs = torch.randn(4, algorithm.observation_space.shape[0])
    before = torch.get_rng_state()
    algorithm.policy.train()
    driver = HiddenPolicy(algorithm.policy)
    states, actions = driver.look(obs, code)
    assert algorithm.policy.training and torch.equal(before, torch.get_rng_state())
    expected, _ = algorithm.predict(obs.numpy(), deterministic=True)
    np.testing.assert_array_equal(actions.numpy(), expected)
    actor = algorithm.policy.get_submodule(prefix)
    with torch.no_grad():
        first = actor[:2](obs)
        torch.testing.assert_close(states, torch.cat([first, actor[2:4](first)], dim=1))
    assert n_hooks(algorithm.policy) == 0


def test_images_of_a_policy_of_stable_baselines3_are_refused():
    sb3 = pytest.importorskip("stable_baselines3")
    from gymnasium import spaces

    policy = sb3.common.policies.ActorCriticPolicy(
        spaces.Box(0, 255, (64, 64, 3), np.uint8), spaces.Discrete(2), lambda _: 1e-3
    )
    with pytest.raises(StateError, match="observation_space: .*images are not watched"):
        HiddenPolicy(policy)
