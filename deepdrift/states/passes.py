"""One forward pass and what was recorded in it; each thread and task has its own.

A server runs one model in many threads. What a pass records lies in a context variable, so that
a thread, and an asyncio task, reads the states of its own last pass and of no other.
"""

from __future__ import annotations

import contextvars
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from deepdrift.errors import StateError

if TYPE_CHECKING:
    from deepdrift.states.owners import Taken
    from deepdrift.states.probe import Probe

_PASSES: contextvars.ContextVar[WeakKeyDictionary[_Key, Pass]] = contextvars.ContextVar("passes")


class NotCalledError(StateError):
    """A module that hooks did not see, though parts of it ran; others can still be read."""

    def __init__(self, parts: Sequence[str]) -> None:
        some = ", ".join(map(repr, parts[:3])) + (", ..." if len(parts) > 3 else "")
        super().__init__(
            f"its parts ran ({some}), and it was not called itself: the model calls its "
            ".forward(), another of its methods or its parts directly, and hooks do not run there. "
            "In the model write block(x) instead of block.forward(x), or watch its parts"
        )


class _Key:
    """Stands for one `States` in the context variable and lets go of it."""

    __slots__ = ("__weakref__",)


class Pass:
    """What is known of one forward pass while it runs and after it."""

    training = False
    transformed = False  # inside a transform of torch.func
    decoding = False  # a decoder has begun
    outside = False  # a submodule was called directly
    rows: int | None = None  # samples in the inputs
    shape: tuple[int, ...] = ()  # of the input that says it
    input: Tensor | list[list[float]] | None = None  # its statistics, where wanted and defined
    given: Tensor | None = None  # mask that the user named or computed
    lengths: Tensor | None = None  # of packed sequences on the way
    probe: Probe | None = None  # what only a first pass collects

    def __init__(self, previous: Pass | None, compiled: bool = False) -> None:
        self.values: dict[str, Tensor] = {}
        self.errors: dict[str, Exception] = {}
        self.previous = {} if previous is None else previous.values
        self.compiled = compiled  # traced by torch.compile: belongs to no thread
        self.running: list[int] = []  # which of the model's roots are in their forward pass
        self.shapes: dict[str, tuple[int, ...]] = {}  # of the outputs, in a first pass
        self.layouts: dict[str, str] = {}  # how the axes of each output were read
        self.unread = 1 if previous is None else previous.unread + 1  # passes since a reading
        self.doubts: dict[str, tuple[str, Tensor]] = {}  # said on reading, if the number is true
        self.masks: dict[str, Taken] = {}  # module that takes a mask -> what it got

    def doubt(self, name: str, text: str, true: Tensor) -> None:
        """Say this of a module on reading, if the number is true; not in a compiled pass."""
        if not torch.compiler.is_compiling():
            self.doubts.setdefault(name, (text, true))


class States(Mapping[str, Tensor]):
    """Layer name -> state ``(N, D)`` of the last forward pass, float32, in execution order.

    A layer that ran twice (a shared module) is stored as ``name`` and ``name#2``. The pass is the
    last one of the present thread or asyncio task.
    """

    def __init__(self, layers: Sequence[str]) -> None:
        self.layers = tuple(layers)
        self._key = _Key()
        self.said: set[str] = set()
        self.not_called: dict[str, NotCalledError] = {}  # in the first pass
        self._newest: Pass | None = None  # begun last by any thread, for compiled passes

    def current(self) -> Pass | None:
        """The last pass of this thread or task, if there is one."""
        newest = self._newest
        if torch.compiler.is_compiling() or (newest is not None and newest.compiled):
            return newest
        known = _PASSES.get(None)
        return None if known is None else known.get(self._key)

    def begin(self, previous: Pass | None) -> Pass:
        """Start a pass of this thread or task, whose last one is the `current`."""
        traced = torch.compiler.is_compiling()
        new = self._newest = Pass(previous, traced)
        if not traced:
            self._put(new, replaces=previous is not None and not previous.compiled)
        return new

    def _put(self, new: Pass | None, replaces: bool = False) -> None:
        # a new mapping: a task that was started before keeps the one that it knows
        known = _PASSES.get(None)
        alone = known is None or (replaces and len(known) == 1)
        mine = WeakKeyDictionary() if alone else known.copy()
        if new is None:
            mine.pop(self._key, None)
        else:
            mine[self._key] = new
        _PASSES.set(mine)

    @property
    def previous(self) -> dict[str, Tensor]:
        """States of the pass before the last."""
        current = self.current()
        return current.previous if current else {}

    def forget(self) -> None:
        """Drop what was recorded, so that the next pass has no predecessor."""
        self._newest = None
        self._put(None)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Passes inside are forgotten; the last one before is the last one again."""
        current, newest = self.current(), self._newest
        try:
            yield
        finally:
            self._newest = newest
            self._put(current, replaces=True)

    def check(self) -> States:
        """Return self, or raise what went wrong during the last forward pass.

        Raises
        ------
        StateError
            If a layer's output could not be pooled, or no watched layer ran.
        """
        self.checked()
        return self

    def checked(self) -> Pass:
        """The last pass, in which nothing went wrong; else raise as `check`.

        Raises
        ------
        StateError
            If a layer's output could not be pooled, or no watched layer ran.
        """
        current = self.current()
        errors = {} if current is None else current.errors
        if current is not None and current.values:
            errors = {k: e for k, e in errors.items() if not isinstance(e, NotCalledError)}
        if errors:
            layer, error = next(iter(errors.items()))
            raise StateError(f"layer {layer!r}: {error}" if layer else str(error)) from error
        if current is None or not current.values:
            if current is not None:
                what = "none of the layers ran"
            elif self._newest is not None:
                what = (
                    "the model ran in another thread or task; states belong to the one whose "
                    "forward pass made them: run the model here, or read there"
                )
            else:
                what = "run the model first"
            raise StateError(
                f"no hidden state was recorded: {what}; hooks do not fire in a model that "
                "torch.compile, torch.jit or a direct .forward() call runs without them: watch "
                "the model before its first compiled call, and call model(x)"
            )
        if current.doubts:
            self._say(current)
        return current

    def _say(self, current: Pass) -> None:
        """Warn of what was doubted in a pass and is true; only now need one wait for the device."""
        for name, (text, true) in current.doubts.items():
            if name not in self.said and bool(true):
                self.said.add(name)
                warnings.warn(text, UserWarning, stacklevel=4)
        current.doubts.clear()

    def __getitem__(self, layer: str) -> Tensor:
        values = self.checked().values
        if layer in values:
            return values[layer]
        if layer in self.not_called:
            raise StateError(f"layer {layer!r}: {self.not_called[layer]}")
        if layer in self.layers:
            raise StateError(
                f"layer {layer!r} did not run in the last forward pass; these did: "
                + ", ".join(values)
            )
        raise KeyError(f"{layer!r} is not watched; watched: {', '.join(self.layers)}")

    def __iter__(self) -> Iterator[str]:
        current = self.current()
        if current is not None and current.errors:
            self.check()
        return iter(tuple(current.values if current else ()))

    def __len__(self) -> int:
        current = self.current()
        return len(current.values) if current else 0

    def __repr__(self) -> str:
        current = self.current()
        values: Mapping[str, Any] = current.values if current else {}
        return f"States({', '.join(f'{k}: {tuple(v.shape)}' for k, v in values.items())})"


def ancestors(name: str, modules: Mapping[str, nn.Module]) -> list[str]:
    """Names of the modules around a layer, itself first, the whole model (``""``) last.

    Examples
    --------
    >>> ancestors("a.0.b", {"": None, "a": None, "a.0": None, "a.0.b": None})
    ['a.0.b', 'a.0', 'a', '']
    """
    parts = name.split(".")
    names = [".".join(parts[:i]) for i in range(len(parts), 0, -1)]
    return [*(n for n in names if n in modules), ""]
