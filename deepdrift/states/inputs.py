"""What a model was given, in five numbers per sample: a block of its own beside the layers.

Brightness, contrast and roughness of an image need no network to be seen, and watching the inside
alone sees them late or not at all. The same numbers are defined for any floating-point tensor
whose last axes are places (images, spectrograms, series); token numbers have none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.errors import StateError

INPUT = "(input)"  # name of the input among states; no module can be called that
STATISTICS = ("mean", "standard deviation", "detail across", "detail down", "second differences")
_SMALLEST = 1e-12  # squared differences below this are none
_PLACES = 32  # of an image of more than four times as many rows every k-th is read


def input_statistics(x: Tensor) -> Tensor:
    """Mean, standard deviation and log energies of differences of every sample.

    Parameters
    ----------
    x : Tensor, shape (N, ...)
        Floating point, or bytes. Differences are taken along the last two axes after the first
        that are at least 3 long; in ``(N, H, W, C)`` with C <= 4 along H and W.

    Returns
    -------
    Tensor, shape (N, S), float32
        S = 5 with two such axes (see `STATISTICS`), 4 with one, 2 with none: mean, standard
        deviation, ``log`` of the mean squared difference of neighbours along each axis, the last
        one first, and of second differences along both. Not finite where a sample is not.

    Raises
    ------
    StateError
        For a tensor without such statistics: integers, booleans, complex numbers, one axis.

    Notes
    -----
    ``O(N D)`` for D numbers a sample; of images longer than 128 along an axis every k-th row (or
    column) is read.

    Examples
    --------
    Two images of 3 x 3: a ramp from left to right, and the same ramp twice as bright.

    >>> ramp = torch.tensor([0.0, 1.0, 2.0]).expand(1, 1, 3, 3)
    >>> found = input_statistics(torch.cat([ramp, 2 * ramp]))
    >>> found[:, 0].tolist(), found[:, 2].exp().round().tolist()
    ([1.0, 2.0], [1.0, 4.0])
    """
    if not has_statistics(x):
        kind = f"{x.dtype} of shape {tuple(x.shape)}"
        raise StateError(f"x: expected floating-point numbers (N, ...) or images, got {kind}")
    x = x.detach()
    axes = _axes(tuple(x.shape))
    if not len(x):
        return torch.zeros(0, len(axes) + 2 + bool(axes), device=x.device)
    thin = {axis: _step(x.shape[axis]) for axis in axes}
    if len(x) == 1 and x.device.type == "cpu" and not torch.compiler.is_compiling():
        with np.errstate(invalid="ignore", over="ignore"):  # infinity stays without a word
            return _of_one(_float(x).numpy()[0], axes, thin)
    variance, mean = torch.var_mean(_float(_thinned(x, thin)).flatten(1), dim=1, correction=0)
    columns = torch.stack([mean, variance.sqrt()], dim=1)
    if not axes:
        return columns
    norms, bends, numbers, n_bends = [], [], [], 0
    for axis in axes:
        lines = _float(_thinned(x, {k: n for k, n in thin.items() if k != axis}))
        first = _differences(lines, axis)
        second = _differences(first, axis).flatten(1)
        first = first.flatten(1)
        norms.append(torch.linalg.vector_norm(first, dim=1))
        bends.append(torch.linalg.vector_norm(second, dim=1))
        numbers.append(first.shape[1])
        n_bends += second.shape[1]
    norms.append(bends[0] if len(bends) == 1 else torch.hypot(*bends))
    share = torch.tensor([1 / n for n in (*numbers, n_bends)], device=x.device)
    energies = (torch.stack(norms, dim=1).square() * share).clamp(min=_SMALLEST)
    return torch.cat([columns, energies.log()], dim=1)


def _of_one(x: np.ndarray, axes: list[int], thin: Mapping[int, int]) -> Tensor:
    """The same of a single sample, to the last digits: numpy's calls cost a fifth of torch's."""
    every_row = max(thin.values(), default=1) == 1

    def thinned(kept: int | None) -> np.ndarray:
        if every_row:
            return x
        index = [slice(None)] * x.ndim
        for axis, step in thin.items():
            if axis != kept:
                index[axis - 1] = slice(None, None, step)
        return x[tuple(index)]

    values = thinned(None)
    mean = float(values.sum()) / values.size
    found, bends, n_bends = [mean, math.sqrt(_energy(values - mean) / values.size)], 0.0, 0
    for axis in axes:
        first = _neighbours(thinned(axis), axis - 1)
        second = _neighbours(first, axis - 1)
        found.append(_log(_energy(first) / first.size))
        bends, n_bends = bends + _energy(second), n_bends + second.size
    if axes:
        found.append(_log(bends / n_bends))
    return torch.tensor([found], device="cpu", dtype=torch.float32)


def _energy(values: np.ndarray) -> float:
    flat = values.ravel()
    return float(np.dot(flat, flat))


def _neighbours(x: np.ndarray, axis: int) -> np.ndarray:
    """Differences of neighbours along an axis."""
    before = (slice(None),) * axis
    return x[(*before, slice(1, None))] - x[(*before, slice(None, -1))]


def _log(energy: float) -> float:
    return math.log(max(energy, _SMALLEST)) if math.isfinite(energy) else energy


def has_statistics(x: Any) -> bool:
    """Whether `input_statistics` is defined: floating point with a batch axis, or bytes."""
    if not isinstance(x, Tensor) or x.is_nested or x.ndim < 2 or 0 in x.shape[1:]:
        return False
    return x.is_floating_point() or (x.dtype == torch.uint8 and x.ndim >= 3)


def find_input(args: tuple[Any, ...], kwargs: Mapping[str, Any], rows: int | None) -> Tensor | None:
    """The first input of a model that has statistics, one row per sample; None if there is none."""
    for value in (*args, *kwargs.values()):
        if has_statistics(value) and len(value) == rows:
            return value
    return None


def _axes(shape: tuple[int, ...]) -> list[int]:
    n = len(shape)
    places = (2, 1) if n == 4 and shape[3] <= 4 < min(shape[1:3]) else (n - 1, n - 2)
    return [axis for axis in places if axis >= 1 and shape[axis] >= 3]


def _step(length: int) -> int:
    """Every how many-th row of so many is read."""
    return -(-length // _PLACES) if length > 4 * _PLACES else 1


def _thinned(x: Tensor, every: Mapping[int, int]) -> Tensor:
    index = [slice(None)] * x.ndim
    for axis, step in every.items():
        index[axis] = slice(None, None, step)
    return x[tuple(index)] if any(step > 1 for step in every.values()) else x


def _float(x: Tensor) -> Tensor:
    return x.float() if x.dtype != torch.float32 else x


def _differences(x: Tensor, axis: int) -> Tensor:
    """Of neighbours along an axis."""
    n = x.shape[axis]
    return x.narrow(axis, 1, n - 1) - x.narrow(axis, 0, n - 1)
