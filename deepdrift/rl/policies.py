"""How to ask a policy for actions, and how to see what its hidden layers hold.

Three kinds of policy: an algorithm or policy of stable-baselines3, driven through its ``predict``;
a torch module that maps observations to logits or to a mean action; and any function of an
observation, which has no hidden states to watch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepdrift.errors import ForwardError, LayerNotFoundError, StateError
from deepdrift.rl.spaces import ActionCode, observation_width
from deepdrift.states.forward import Quiet, unwrap
from deepdrift.states.layers import as_names, find_layer, refuse_twins
from deepdrift.states.leaves import hidden_leaves, listening


class Driver:
    """One policy: its actions, and the states of its hidden layers.

    Parameters
    ----------
    policy : nn.Module, object with ``predict`` and ``policy``, or callable
    layers : sequence of str, optional
        Layers to watch, with outputs ``(N, D)``. Default: see `hidden_leaves`.

    Attributes
    ----------
    module : nn.Module or None
        The network; None for a function.
    width : int or None
        Length of an observation, where the policy says so.
    code : ActionCode or None
        Its actions, where the policy says so.
    """

    def __init__(self, policy: Any, layers: Sequence[str] | None = None) -> None:
        self.policy = policy
        inner = getattr(policy, "policy", None)
        inner = inner if isinstance(inner, nn.Module) and not _is_sb3(policy) else policy
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
            self._quiet, self._acting = Quiet(self.module), Quiet(self.module)
            self._acting.draws = False  # a policy that draws in its forward pass goes on drawing
        self._named = None if layers is None else as_names(layers)
        self._watched: dict[str, nn.Module] = {}
        if self.module is not None and self._named is not None:
            self._watched = {name: find_layer(self.module, name) for name in self._named}
            refuse_twins(self._watched)

    @property
    def layers(self) -> list[str]:
        """Watched layers; empty until the first look, which finds them."""
        return list(self._watched)

    def check_hidden(self) -> None:
        """Refuse a policy whose hidden states cannot be watched.

        Raises
        ------
        LayerNotFoundError
            For functions, recurrent networks, and networks without hidden layers, if that can be
            known before the first observation.
        """
        use = 'watch the observations with of="observation"'
        if self.module is None:
            raise LayerNotFoundError(f"policy: a function has no hidden layers; {use}")
        recurrent = (nn.RNNBase, nn.RNNCellBase)
        if any(isinstance(m, recurrent) for m in self.module.modules()):
            raise LayerNotFoundError(
                "policy: a recurrent network carries a memory that a pass of the monitor's own "
                f"does not have; {use}"
            )
        if self.width is not None:
            self._find(torch.zeros(1, self.width))

    # ---- actions ----

    def act(
        self, obs: Tensor, code: ActionCode, *, deterministic: bool = True, space: Any = None
    ) -> np.ndarray:
        """The action ``()`` or ``(A,)`` for one observation ``(D,)``, as ``env.step`` takes it.

        A module gives the largest logit, or its mean action, clipped to the space; with
        ``deterministic=False`` the logits are sampled.
        """
        if self._predict is not None:
            return self._predict(obs.numpy(), deterministic=deterministic)[0]
        if self.module is None:
            action = np.asarray(self.policy(obs.numpy()))
        else:
            with self._quietly(acting=True):
                output = _first(self._call(obs[None]))
            action = self._decide(output, code)[0].cpu().numpy()
            if code.discrete and not deterministic:
                return torch.distributions.Categorical(logits=output[0]).sample().cpu().numpy()
        if not code.discrete:
            action = action.astype(np.float32).reshape(code.width)
            if space is not None:
                action = np.clip(action, space.low, space.high)
        return action

    # ---- states ----

    def look(self, obs: Tensor, code: ActionCode | None = None) -> tuple[Tensor, Tensor | None]:
        """Hidden states ``(N, W)`` of all watched layers side by side, and the actions.

        Our own pass, in evaluation mode: hooks, mode and random numbers are as before. A row that
        is not finite is not shown to the policy; its states are NaN.

        Returns
        -------
        states : Tensor, shape (N, W), float32, on the CPU
        actions : Tensor or None
            What the policy would do, without chance; None if ``code`` is not known.
        """
        shown, bad = _finite(obs)
        self._find(shown)
        with self._quietly(), listening(self._watched) as outputs:
            result = self._call(shown)
        parts = [self._row(name, outputs, len(obs)) for name in self._watched]
        states = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        if bad is not None:
            states[bad] = torch.nan
        return states, self._chosen(result, code)

    def choose(self, obs: Tensor, code: ActionCode) -> Tensor | None:
        """What the policy would do without chance, in a pass of our own; nothing is watched.

        Raises
        ------
        StateError
            For a function, which is not called behind its owner's back.
        """
        if self.module is None:
            raise StateError(
                "action: expected what the policy does, monitor.step(obs, action); a policy that "
                "is a function is not called twice"
            )
        with self._quietly():
            return self._chosen(self._call(_finite(obs)[0]), code)

    def widths(self, obs: Tensor) -> list[int]:
        """Widths of the watched layers, from a look at one observation."""
        shown, _ = _finite(obs[:1])
        self._find(shown)
        with self._quietly(), listening(self._watched) as outputs:
            self._call(shown)
        return [self._row(name, outputs, 1).shape[1] for name in self._watched]

    def n_outputs(self, obs: Tensor) -> int:
        """Numbers that a module returns for one observation; 0 if it is none."""
        if self.module is None or self._predict is not None:
            return 0
        with self._quietly():
            output = _first(self._call(_finite(obs[:1])[0]))
        return output.shape[1] if output.ndim == 2 else 0

    def _chosen(self, result: Any, code: ActionCode | None) -> Tensor | None:
        if self._predict is not None:
            return torch.as_tensor(result[0])
        return None if code is None else self._decide(_first(result), code)

    def _row(self, name: str, outputs: dict[str, Tensor], n: int) -> Tensor:
        state = outputs.get(name)
        if state is None:
            raise LayerNotFoundError(
                f"layers: {name!r} does not run when the policy acts; leave it out"
            )
        if state.ndim != 2 or len(state) != n:
            raise LayerNotFoundError(
                f"layers: {name!r} returned shape {tuple(state.shape)}, expected ({n}, D); watch "
                "a layer whose output is one vector for each observation"
            )
        return state.float().cpu()

    def _quietly(self, acting: bool = False) -> AbstractContextManager[Any]:
        """`Quiet`, by the short way where there is nothing to give back."""
        quiet = self._acting if acting else self._quiet
        if quiet.draws is False and not any(m.training for m in self._modules):
            return torch.no_grad()
        return quiet()

    def _find(self, obs: Tensor) -> None:
        """Find the layers to watch, once."""
        if self._watched or self.module is None:
            return
        with self._quietly(), torch.enable_grad():  # the graph tells what leads to the action
            names = hidden_leaves(self.module, lambda: self._call(obs[:1], graph=True))
        self._watched = {name: find_layer(self.module, name) for name in names}

    def _call(self, obs: Tensor, graph: bool = False) -> Any:
        assert self.module is not None
        try:
            if self._predict is not None:
                return self._predict(obs.numpy(), deterministic=True)
            like = next((p for p in self.module.parameters() if p.is_floating_point()), obs)
            given = obs.to(like.device, like.dtype, copy=True)
            return self.module(given.requires_grad_() if graph else given)
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


def _finite(obs: Tensor) -> tuple[Tensor, Tensor | None]:
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
