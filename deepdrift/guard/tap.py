"""The hooks of a guard: what the watched layers hold, and the logits, at the end of every pass.

They keep references and compute nothing, so that a pass of thirty blocks costs thirty assignments.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deepdrift.errors import StateError
from deepdrift.guard.decoder import Decoder
from deepdrift.states.hooks import Uncopied
from deepdrift.states.layers import remove_hooks


class Listener(Protocol):
    """What a tap tells of a pass."""

    def entered(self, call: dict[str, Any]) -> None:
        """The pass begins, with these arguments; may refuse it."""

    def left(self, states: list[Tensor], result: Any) -> None:
        """It is over: each layer's states ``(B, T, D)``, and what the model returned.

        Called without gradients, so that nothing made of them has any.
        """


class _Hook(Uncopied):
    """One function as a hook; a copy of the model must not tell of its passes to our listener."""

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> None:
        self._call(*args)


class Tap:
    """Hooks on a decoder, for as long as this object lives or until `close`.

    Parameters
    ----------
    decoder : Decoder
    listener : Listener
        Is told of each pass. It must not hold the tap, or nothing would ever free it.
    """

    def __init__(self, decoder: Decoder, listener: Listener) -> None:
        handles: list[RemovableHandle] = []
        outputs: dict[str, Tensor] = {}

        def enter(_: nn.Module, args: tuple, kwargs: dict) -> None:
            outputs.clear()
            listener.entered(decoder.given(args, kwargs))

        def leave(_: nn.Module, __: Any, result: Any) -> None:
            states = [_tokens(outputs.get(name), name) for name in decoder.layers]
            outputs.clear()
            with torch.no_grad():
                listener.left(states, result)

        def keep(name: str) -> Any:
            def hook(_: nn.Module, __: Any, output: Any) -> None:
                outputs[name] = output

            return hook

        self._remove = weakref.finalize(self, remove_hooks, handles)
        root = decoder.network
        try:
            handles.append(root.register_forward_pre_hook(_Hook(enter), with_kwargs=True))
            handles.extend(
                m.register_forward_hook(_Hook(keep(k))) for k, m in decoder.modules.items()
            )
            handles.append(root.register_forward_hook(_Hook(leave)))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the hooks; may be called twice."""
        self._remove()

    @property
    def closed(self) -> bool:
        """Whether they are gone."""
        return not self._remove.alive

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _tokens(output: Any, name: str) -> Tensor:
    """A block's states, one for each token: its output, or the first part of it."""
    state = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(state, Tensor) or state.ndim != 3:
        came = tuple(state.shape) if isinstance(state, Tensor) else type(state).__name__
        raise StateError(
            f"layers: expected {name!r} to return states of shape (B, T, D) in every pass, got "
            f"{came}; name layers that do: layers=[...]"
        )
    return state
