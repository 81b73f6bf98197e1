"""Single modules are heard during one call, and never after it."""

import pytest
import torch
from rl_toys import n_hooks, network
from torch import nn

from deepdrift.errors import LayerNotFoundError
from deepdrift.states.leaves import hidden_leaves, listening

X = torch.tensor([[1.0, -2.0]])


class ActorCritic(nn.Module):
    """Logits and a value, as many agents return them; activations are functions."""

    def __init__(self):
        super().__init__()
        self.critic, self.value = nn.Linear(2, 8), nn.Linear(8, 1)
        self.actor, self.more, self.logits = nn.Linear(2, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        value = self.value(torch.tanh(self.critic(x)))
        return self.logits(torch.tanh(self.more(torch.tanh(self.actor(x))))), value


def test_outputs_are_copies_that_a_later_layer_does_not_change():
    model = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    with listening({"0": model[0]}) as outputs:
        model(X.clone())
    assert outputs["0"].tolist() == [[1.0, -2.0]]


def test_hooks_go_also_when_the_call_fails():
    model = network()
    with pytest.raises(RuntimeError), listening({"1": model[1], "3": model[3]}):
        assert n_hooks(model) == 2
        model(torch.zeros(1, 5))
    assert n_hooks(model) == 0


def test_the_value_network_does_not_lead_to_the_action():
    model = ActorCritic()
    assert hidden_leaves(model, lambda: model(X)) == ["actor", "more"]


def test_without_a_graph_everything_that_ran_is_a_candidate():
    model = ActorCritic()
    with torch.no_grad():
        assert hidden_leaves(model, lambda: model(X)) == ["critic", "value", "actor", "more"]


def test_an_activation_of_the_output_is_not_hidden():
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1), nn.Tanh())
    assert hidden_leaves(model, lambda: model(X)) == ["1"]


@pytest.mark.parametrize("model", [nn.Linear(2, 2), nn.Sequential(nn.Flatten(), nn.Linear(2, 2))])
def test_a_linear_policy_has_no_hidden_layer(model):
    with pytest.raises(LayerNotFoundError, match='of="observation"'):
        hidden_leaves(model, lambda: model(X))


def test_parametrised_layers_are_leaves():
    spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(2, 4))
    model = nn.Sequential(spectral, nn.Linear(4, 2))
    assert hidden_leaves(model, lambda: model(X)) == ["0"]
