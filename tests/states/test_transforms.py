"""Passes inside `torch.func`: the states of a batch where there is one, else a sentence."""

from __future__ import annotations

import pytest
import torch
from field_models import build, fitted, randn, same, states_of
from torch import Tensor, func, nn

from deepdrift import DeepDriftMonitor, StateError, record

NAMES = ["1", "3"]


def network() -> nn.Module:
    return build(
        lambda: nn.Sequential(
            nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
        )
    )


def one_by_one(net: nn.Module, x: Tensor) -> Tensor:
    return func.vmap(net)(x[:, None])


def without_a_batch_axis(net: nn.Module, x: Tensor) -> Tensor:
    return func.vmap(net)(x)


def ensemble(net: nn.Module, x: Tensor) -> Tensor:
    weights, _ = func.stack_module_state([net] * 3)
    return func.vmap(lambda w: func.functional_call(net, w, (x,)))(weights)


def gradients_per_sample(net: nn.Module, x: Tensor) -> dict:
    def loss(w: dict, x: Tensor) -> Tensor:
        return func.functional_call(net, w, (x[None],)).sum()

    return func.vmap(func.grad(loss), (None, 0))(dict(net.named_parameters()), x)


@pytest.mark.parametrize("run", [one_by_one, without_a_batch_axis, ensemble, gradients_per_sample])
@pytest.mark.parametrize("first", [True, False])
def test_rows_inside_vmap_are_no_samples(run, first):
    net, x = network(), randn(6, 4)
    right = states_of(net, NAMES, x)
    with record(net, NAMES) as states:
        if not first:
            net(x)
        run(net, x)
        with pytest.raises(StateError, match=r"vmap.*model\(x\), outside of vmap"):
            states["1"]
        net(x)  # and such a pass settles nothing
        for name in NAMES:
            same(states[name], right[name])


def test_a_monitor_whose_model_ran_inside_vmap():
    net, x = network(), randn(6, 4)
    monitor = fitted(net, lambda n, seed: randn(n, 4, seed=seed))
    right = monitor.read(x).score
    with torch.no_grad():
        one_by_one(net, x)
    with pytest.raises(StateError, match="outside of vmap"):
        monitor.read()
    same(monitor.read(x).score, right)
    fresh = DeepDriftMonitor(net, NAMES, forward=lambda net, batch: one_by_one(net, batch))
    with pytest.raises(StateError, match="outside of vmap"):
        fresh.calibrate([randn(60, 4, seed=s) for s in range(4)])


TRANSFORMS = {
    "grad": lambda net, x: func.grad(lambda x: net(x).sum())(x),
    "jvp": lambda net, x: func.jvp(net, (x,), (x,)),
    "jacrev": lambda net, x: func.jacrev(net)(x),
    "jacfwd": lambda net, x: func.jacfwd(net)(x),
    "hessian": lambda net, x: func.hessian(lambda x: net(x).sum())(x),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("n", [1, 6])
def test_other_transforms_show_the_batch_itself(name, n):
    net, x = network(), randn(n, 4)
    right = states_of(net, NAMES, x)
    with record(net, NAMES) as states:
        TRANSFORMS[name](net, x)
        for layer in NAMES:
            same(states[layer], right[layer])
            assert not states[layer].requires_grad
            assert not torch._C._functorch.is_functorch_wrapped_tensor(states[layer])
    monitor = fitted(net, lambda n, seed: randn(n, 4, seed=seed))
    score = monitor.read(x).score
    TRANSFORMS[name](net, x)
    same(monitor.read().score, score)
