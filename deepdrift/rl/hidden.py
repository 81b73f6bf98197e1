"""What the hidden layers of a policy hold at an observation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepdrift.errors import ForwardError, LayerNotFoundError
from deepdrift.rl.policies import MEMORY, Policy, finite_rows
from deepdrift.rl.spaces import ActionCode
from deepdrift.states.layers import as_names, find_layer, refuse_twins
from deepdrift.states.leaves import hidden_leaves, listening


class HiddenPolicy(Policy):
    """A policy whose hidden layers are looked at, in passes of our own.

    Parameters
    ----------
    policy : nn.Module, object with ``predict`` and ``policy``, or callable
    layers : sequence of str, optional
        Layers to watch, with outputs ``(N, D)``. Default: see `hidden_leaves`.
    """

    def __init__(self, policy: Any, layers: Sequence[str] | None = None) -> None:
        super().__init__(policy)
        self._watched: dict[str, nn.Module] = {}
        names = [] if layers is None else as_names(layers)
        if self.module is not None:
            self._watched = {name: find_layer(self.module, name) for name in names}
            refuse_twins(self._watched)

    @property
    def layers(self) -> list[str]:
        """Watched layers; empty until the first look, which finds them."""
        return list(self._watched)

    @property
    def kinds(self) -> dict[str, str]:
        """Class of every watched layer, by name."""
        return {name: type(module).__name__ for name, module in self._watched.items()}

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
        if self.recurrent:
            raise LayerNotFoundError(f"policy: {MEMORY}; {use}")
        if self.width is not None:
            self._find(torch.zeros(1, self.width))

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
        shown, bad = finite_rows(obs)
        self._find(shown)
        with self.quietly(), listening(self._watched) as outputs:
            result = self.call(shown)
        parts = [self._row(name, outputs, len(obs)) for name in self._watched]
        states = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        if bad is not None:
            states[bad] = torch.nan
        return states, self.chosen(result, code)

    def widths(self, obs: Tensor) -> list[int]:
        """Widths of the watched layers, from a look at one observation."""
        shown, _ = finite_rows(obs[:1])
        self._find(shown)
        with self.quietly(), listening(self._watched) as outputs:
            self.call(shown)
        return [self._row(name, outputs, 1).shape[1] for name in self._watched]

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

    def _find(self, obs: Tensor) -> None:
        """Find the layers to watch, once."""
        if self._watched or self.module is None:
            return
        with self.quietly():
            try:  # the graph tells what leads to the action, also where the caller wants none
                with torch.inference_mode(False), torch.enable_grad():
                    names = hidden_leaves(self.module, lambda: self.call(obs[:1], graph=True))
            except ForwardError:  # weights made in inference mode have no graph
                names = hidden_leaves(self.module, lambda: self.call(obs[:1]))
        self._watched = {name: find_layer(self.module, name) for name in names}
