"""How to ask a policy for actions.

Three kinds of policy: an algorithm or policy of stable-baselines3, driven through its ``predict``;
a torch module that maps observations to logits or to a mean action; and any function of an
observation, which has no hidden states to watch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepdrift.errors import ForwardError, StateError
from deepdrift.rl.spaces import ActionCode, observation_width
from deepdrift.states.forward import Quiet, unwrap

MEMORY = "a recurrent network carries a memory that a pass of the monitor's own does not have"


class Policy:
    """One policy: how it is asked for actions. `deepdrift.rl.hidden` looks inside.

    Parameters
    ----------
    policy : nn.Module, object with ``predict`` and ``policy``, or callable

    Attributes
    ----------
    module : nn.Module or None
        The network; None for a function.
    width : int or None
        Length of an observation, where the policy says so.
    code : ActionCode or None
        Its actions, where the policy says so.
    recurrent : bool
        Whether the network carries a memory from one observation to the next.
    """

    def __init__(self, policy: Any) -> None:
        self.source = policy
        inner = getattr(policy, "policy", None)
        inner = inner if isinstance(inner, nn.Module) and not _is_sb3(policy) else policy
        self.recurrent = False
        self.width: int | None = None
        self.code: ActionCode | None = None
        self._predict: Callable[..., Any] | None = None
        if isinstance(inner, nn.Module) and _is_sb3(inner):
            self.module: nn.Module | None = inner
            self._predict = policy.predict
            self.width = observation_width(inner.observation_space)
            self.code = ActionCode.of_space(inner.action_space)
        elif isinstance(policy, nn.Module):
            self.module = unwrap(policy)
        elif callable(policy):
            self.module = None
        else:
            raise StateError(
                "policy: expected a torch module, an algorithm or policy of stable-baselines3, or "
                f"a function of an observation, got {type(policy).__name__}"
            )
        if self.module is not None:
            self._modules = list(self.module.modules())
            recurrent = (nn.RNNBase, nn.RNNCellBase)
            self.recurrent = any(isinstance(m, recurrent) for m in self._modules)
            self._quiet, self._acting = Quiet(self.module), Quiet(self.module)
            self._acting.draws = False  # a policy that draws in its forward pass goes on drawing

    def act(
        self, obs: Tensor, code: ActionCode, *, deterministic: bool = True, space: Any = None
    ) -> np.ndarray:
        """The action ``()`` or ``(A,)`` for one observation ``(D,)``, as ``env.step`` takes it.

        A module gives the largest logit, or its mean action, clipped to the space; with
        ``deterministic=False`` the logits are sampled.
        """
        if self.recurrent:
            raise StateError(f"policy: {MEMORY}; give a function of an observation that keeps it")
        if self._predict is not None:
            return self._predict(obs.numpy(), deterministic=deterministic)[0]
        if self.module is None:
            action = np.asarray(self.source(obs.numpy()))
        else:
            with self.quietly(acting=True):
                output = _first(self.call(obs[None]))
            action = self._decide(output, code)[0].cpu().numpy()
            if code.discrete and not deterministic:
                return torch.distributions.Categorical(logits=output[0]).sample().cpu().numpy()
        if not code.discrete:
            action = action.astype(np.float32).reshape(code.width)
            if space is not None:
                action = np.clip(action, space.low, space.high)
        return action

    def choose(self, obs: Tensor, code: ActionCode) -> Tensor | None:
        """What the policy would do without chance, in a pass of our own; nothing is watched.

        Raises
        ------
        StateError
            For a function, which is not called behind its owner's back, and a recurrent network.
        """
        if self.module is None or self.recurrent:
            why = (
                "a policy that is a function is not called twice" if self.module is None else MEMORY
            )
            raise StateError(
                f"action: expected what the policy does, monitor.step(obs, action); {why}"
            )
        with self.quietly():
            return self.chosen(self.call(finite_rows(obs)[0]), code)

    def n_outputs(self, obs: Tensor) -> int:
        """Numbers that a module returns for one observation; 0 if it is none."""
        if self.module is None or self._predict is not None:
            return 0
        with self.quietly():
            output = _first(self.call(finite_rows(obs[:1])[0]))
        return output.shape[1] if output.ndim == 2 else 0

    def chosen(self, result: Any, code: ActionCode | None) -> Tensor | None:
        """The actions in what `call` returned; None if they cannot be told."""
        if self._predict is not None:
            return torch.as_tensor(result[0])
        return None if code is None else self._decide(_first(result), code)

    def quietly(self, acting: bool = False) -> AbstractContextManager[Any]:
        """`Quiet`, by the short way where there is nothing to give back."""
        quiet = self._acting if acting else self._quiet
        if quiet.draws is False and not any(m.training for m in self._modules):
            return torch.no_grad()
        return quiet()

    def call(self, obs: Tensor, graph: bool = False) -> Any:
        """Run the policy on observations ``(N, D)`` as it is run when it acts.

        Raises
        ------
        ForwardError
            Whatever it raises, with the likely cause.
        """
        assert self.module is not None
        try:
            if self._predict is not None:
                return self._predict(obs.numpy(), deterministic=True)
            like = next((p for p in self.module.parameters() if p.is_floating_point()), obs)
            given = obs.to(like.device, like.dtype, copy=True)
            if graph:
                given = given.requires_grad_().clone()  # that a policy may change in place
            return self.module(given)
        except Exception as error:
            raise self._refused(obs, error) from error

    def _refused(self, obs: Tensor, error: Exception) -> ForwardError:
        return ForwardError(
            f"policy: raised {type(error).__name__} on observations of shape {tuple(obs.shape)}: "
            f"{error}; expected a module that maps observations (N, D) to logits or mean actions "
            "(of an agent with several networks, give the actor)"
        )

    def _decide(self, output: Tensor, code: ActionCode) -> Tensor:
        if output.ndim != 2 or output.shape[1] != code.width:
            raise StateError(
                f"policy: expected an output (N, {code.width}), a number for each action, got "
                f"{tuple(output.shape)}"
            )
        return output.argmax(dim=1) if code.discrete else output.float()


def finite_rows(obs: Tensor) -> tuple[Tensor, Tensor | None]:
    """Observations with zeros in rows that are not finite, and which these are, if any."""
    finite = np.isfinite(obs.numpy())  # torch takes ten times as long over one row
    if finite.all():
        return obs, None
    bad = torch.from_numpy(~finite.all(axis=1))
    return torch.where(bad[:, None], 0.0, obs), bad


def _is_sb3(policy: Any) -> bool:
    """Whether it is a policy network with ``predict`` and spaces of its own."""
    return isinstance(policy, nn.Module) and all(
        hasattr(policy, name) for name in ("predict", "observation_space", "action_space")
    )


def _first(result: Any) -> Tensor:
    output = result[0] if isinstance(result, tuple | list) and result else result
    if not isinstance(output, Tensor):
        raise StateError(
            f"policy: expected a tensor (N, A) of logits or mean actions, got "
            f"{type(output).__name__}"
        )
    return output
