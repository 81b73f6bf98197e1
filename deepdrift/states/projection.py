"""Random projection of wide states: the same map for every layer of one width."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepdrift.errors import StateError


class Projection:
    """Map states wider than ``n_channels`` to that width by a fixed Gaussian matrix.

    The matrix is drawn from a generator seeded with the width, so that two processes, and two
    layers of one width, project alike; distances are kept on average (Johnson and Lindenstrauss).
    ``None`` leaves every state as it is.

    Examples
    --------
    >>> project = Projection(4)
    >>> project(torch.ones(2, 3)).shape, project(torch.ones(2, 9)).shape
    (torch.Size([2, 3]), torch.Size([2, 4]))
    """

    def __init__(self, n_channels: int | None) -> None:
        if n_channels is not None and n_channels < 1:
            raise StateError(f"n_channels: expected a positive number or None, got {n_channels!r}")
        self.n_channels = n_channels
        self._matrices: dict[int, Tensor] = {}

    def __call__(self, state: Tensor) -> Tensor:
        """State ``(N, D)`` to ``(N, min(D, n_channels))``, on its own device."""
        width, k = state.shape[1], self.n_channels
        if k is None or width <= k:
            return state
        matrix = self._matrices.get(width)
        if matrix is None or matrix.device != state.device:
            generator = torch.Generator("cpu").manual_seed(width)
            matrix = torch.randn(width, k, generator=generator, dtype=torch.float32, device="cpu")
            matrix /= math.sqrt(k)
            matrix = self._matrices[width] = matrix.to(state.device)
        with torch.autocast(state.device.type, enabled=False):
            return state @ matrix
