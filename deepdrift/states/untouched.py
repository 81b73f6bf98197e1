"""Passes that only try something: what a model keeps between calls is given back afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_OWN = frozenset(vars(nn.Module()))  # what every module has: parameters, hooks, mode
_HELD = (list, dict, set)
_SMALL = 2**16  # numbers


class Untouched:
    """Buffers and plain attributes of a network, given back after passes that are to leave none.

    Large tensors are copied only if the network wrote to them since this object was made: in
    evaluation mode few are (queues, caches).

    Parameters
    ----------
    network : nn.Module

    Examples
    --------
    >>> class Counts(nn.Module):
    ...     calls = 0
    ...     def forward(self, x):
    ...         self.calls += 1
    ...         return x
    >>> net = Counts()
    >>> untouched, _ = Untouched(net), net(torch.zeros(1))
    >>> with untouched():
    ...     _ = net(torch.zeros(1))
    >>> net.calls
    1
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._versions = {id(t): (t, version(t)) for t in self._tensors()}

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Try something inside."""
        places = [(where, dict(where)) for where in self._places()]
        held = [
            (value, value.copy())
            for _, before in places
            for name, value in before.items()
            if name not in _OWN and type(value) in _HELD
        ]
        written = [(t, t.detach().clone()) for t in self._written()]
        try:
            yield
        finally:
            for where, before in places:
                for name in [k for k in where if k not in before]:
                    del where[name]
                for name, value in before.items():
                    if where.get(name) is not value or name not in where:
                        where[name] = value
            for value, before in held:
                _refill(value, before)
            with torch.inference_mode():  # tensors made in that mode can be written to nowhere else
                for tensor, before in written:
                    if not torch.equal(tensor, before):
                        tensor.copy_(before)

    def _places(self) -> Iterator[dict[str, Any]]:
        """Where modules keep things: attributes of their own, and buffers."""
        for module in self._network.modules():
            yield from (x for x in (vars(module), module._buffers) if isinstance(x, dict))

    def _tensors(self) -> Iterator[Tensor]:
        for where in self._places():
            yield from (value for value in where.values() if _is_plain(value))

    def _written(self) -> list[Tensor]:
        """Tensors that are new, or were written to, since the beginning; and all small ones.

        Batch normalisation writes to its statistics and leaves their version as it is.
        """
        found = {id(t): t for t in self._tensors() if t.numel() <= _SMALL or self._is_new(t)}
        return list(found.values())

    def _is_new(self, tensor: Tensor) -> bool:
        known, before = self._versions.get(id(tensor), (None, 0))
        return known is not tensor or before != version(tensor)

    @property
    def keeps(self) -> bool:
        """Whether the network has kept or changed a tensor since the beginning."""
        return any(map(self._is_new, self._tensors()))


def would_be_noticed(network: nn.Module) -> bool:
    """Whether a pass more would wait for other processes, be compiled anew, or call others' hooks.

    Hooks keep what they see (features, logits); rows that nobody asked for have no place there.

    Examples
    --------
    >>> net = nn.Linear(2, 2)
    >>> hook = net.register_forward_hook(print)
    >>> would_be_noticed(nn.Linear(2, 2)), would_be_noticed(net)
    (False, True)
    """
    spread = torch.distributed.is_available() and torch.distributed.is_initialized()
    if spread and torch.distributed.get_world_size() > 1:
        return True
    return any(
        getattr(module, "_compiled_call_impl", None) is not None
        or hasattr(module, "_orig_mod")
        or any(
            map(_is_foreign, (*module._forward_hooks.values(), *module._forward_pre_hooks.values()))
        )
        for module in network.modules()
    )


def _is_foreign(hook: Callable[..., Any]) -> bool:
    """Whether a hook is neither a recorder's nor one of PyTorch's own (weight norm, pruning)."""
    made_in = getattr(hook, "__module__", None) or type(hook).__module__
    return not f"{made_in}.".startswith((f"{__package__}.", "torch."))


def version(tensor: Tensor) -> int:
    """How often a tensor was written to, as far as that is counted."""
    return 0 if tensor.is_inference() else tensor._version


def _is_plain(value: Any) -> bool:
    plain = type(value) is Tensor and not value.is_nested and not value.is_quantized
    return plain and value.layout is torch.strided and value.device.type != "meta"


def _refill(value: Any, before: Any) -> None:
    """Make a list, dict or set hold what it held."""
    if isinstance(value, list):
        value[:] = before
    else:
        value.clear()
        value.update(before)
