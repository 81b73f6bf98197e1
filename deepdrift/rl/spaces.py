"""Observations and actions as rows of numbers, and what cannot be made such."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.errors import StateError

_FLATTEN = "wrap the environment in gymnasium.wrappers.FlattenObservation, for the policy too"
_IMAGE = (
    "images are not watched: give the monitor the vector of features that the policy computes "
    "from them, and the part of the policy that reads it"
)


def is_space(space: Any, kind: str) -> bool:
    """Whether a space of gymnasium (or of the old gym) is of a kind, without importing either."""
    return any(c.__name__ == kind for c in type(space).__mro__)


def observation_width(space: Any) -> int:
    """Length of the observations of a space.

    Raises
    ------
    StateError
        For anything but a Box with one axis, with what to do.
    """
    if is_space(space, "Box") and len(space.shape) == 1:
        return int(space.shape[0])
    remedy = _IMAGE if is_space(space, "Box") and len(space.shape) > 1 else _FLATTEN
    raise StateError(
        f"observation_space: expected a Box with one axis, for vectors (D,), got {space}; {remedy}"
    )


def as_observations(obs: Any, n: int | None = None, width: int | None = None) -> Tensor:
    """Observations as rows ``(N, D)``, a float32 copy on the CPU; NaN stays NaN.

    Parameters
    ----------
    obs : array-like, shape (D,) or (N, D)
    n, width : int, optional
        Rows and numbers that are expected.

    Raises
    ------
    StateError
        For another shape, or what is not made of real numbers.

    Examples
    --------
    >>> as_observations([1, 2, 3])
    tensor([[1., 2., 3.]])
    """
    if isinstance(obs, Mapping | tuple):
        raise StateError(
            f"obs: expected one vector (D,), got {type(obs).__name__}; for a Dict or Tuple space "
            f"{_FLATTEN}; the pair of env.reset() is (obs, info): give obs alone"
        )
    array = obs.detach().cpu().numpy() if isinstance(obs, Tensor) else np.asarray(obs)
    if array.dtype.kind not in "fiub":
        raise StateError(f"obs: expected real numbers, got dtype {array.dtype}")
    rows = array[None] if array.ndim == 1 else array
    wanted = "D" if width is None else str(width)
    wanted = f"({wanted},)" if n in (None, 1) else f"({n}, {wanted})"
    fits = rows.ndim == 2 and rows.size and n in (None, len(rows))
    if not fits or width not in (None, rows.shape[1]):
        if array.ndim == 0:
            hint = f"; for a Discrete space {_FLATTEN}"
        elif array.ndim > 2:
            hint = f"; {_IMAGE}"
        elif n == 1 and array.ndim == 2:
            hint = "; for many environments at once use MonitorVectorWrapper"
        elif width is not None:
            hint = "; the spaces of an environment may not change: calibrate a new monitor"
        else:
            hint = ""
        raise StateError(f"obs: expected shape {wanted}, got {array.shape}{hint}")
    return torch.from_numpy(np.array(rows, dtype=np.float32))


@dataclass(frozen=True)
class ActionCode:
    """How an action becomes numbers: one-hot of ``width``, or the vector itself.

    Examples
    --------
    >>> ActionCode(discrete=True, width=3).encode([2, 0])
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """

    discrete: bool
    width: int

    @classmethod
    def of_space(cls, space: Any) -> ActionCode:
        """From an action space, Discrete or a Box with one axis.

        Raises
        ------
        StateError
            For other spaces.
        """
        if is_space(space, "Discrete"):
            start = int(getattr(space, "start", 0))
            if start >= 0:
                return cls(True, start + int(space.n))
        elif is_space(space, "Box") and len(space.shape) == 1:
            return cls(False, int(space.shape[0]))
        raise StateError(
            f"action_space: expected Discrete (from 0) or a Box with one axis, got {space}; wrap "
            "the environment so that actions are numbers or vectors"
        )

    def encode(self, actions: Any, n: int | None = None) -> Tensor:
        """Actions ``(N,)`` or ``(N, A)`` as rows ``(N, width)``, float32.

        Raises
        ------
        StateError
            For another shape, fractions, or numbers outside the range.
        """
        array = actions.detach().cpu().numpy() if isinstance(actions, Tensor) else actions
        array = np.asarray(array)
        if not self.discrete:
            rows = array.reshape(1, -1) if array.ndim < 2 and n in (None, 1) else array
            if array.dtype.kind not in "fiub" or rows.shape != (n or len(rows), self.width):
                raise StateError(
                    f"action: expected shape ({self.width},), got {array.shape}, {array.dtype}"
                )
            return torch.from_numpy(np.array(rows, dtype=np.float32))
        flat = array.reshape(-1)
        if flat.dtype.kind not in "iub" or (n is not None and len(flat) != n):
            raise StateError(
                f"action: expected {'integers' if n in (None, 1) else f'{n} integers'} in "
                f"0..{self.width - 1}, got {array.dtype} of shape {array.shape}"
            )
        if flat.min() < 0 or flat.max() >= self.width:
            raise StateError(
                f"action: expected 0..{self.width - 1}, got {flat.min()}..{flat.max()}; calibrate "
                "on episodes of the same environment"
            )
        rows = np.zeros((len(flat), self.width), dtype=np.float32)
        rows[np.arange(len(flat)), flat.astype(np.int64)] = 1.0
        return torch.from_numpy(rows)
