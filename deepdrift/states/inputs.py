"""What a model was given, in five numbers per sample: a block of its own beside the layers.

Brightness, contrast and roughness of an image need no network to be seen, and watching the inside
alone sees them late or not at all. The same numbers are defined for any floating-point tensor
whose last axes are places (images, spectrograms, series); token numbers have none.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from deepdrift.errors import StateError
from deepdrift.states.transforms import in_transform

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
    return torch.as_tensor(statistics_of(x), dtype=torch.float32, device=x.device)


def statistics_of(x: Tensor) -> Tensor | list[list[float]]:
    """`input_statistics` of what is known to have them; of one sample as a list.

    In the middle of a forward pass a tensor of five numbers costs as much as half of them.
    """
    if x.requires_grad:
        x = x.detach()
    plain = x.device.type == "cpu" and not torch.compiler.is_compiling() and not in_transform()
    if plain and len(x) == 1:
        return [_of_one(_float(x).numpy()[0])]
    axes = _axes(tuple(x.shape))
    if not len(x):
        return torch.zeros(0, len(axes) + 2 + bool(axes), device=x.device)
    thin = {axis: _step(x.shape[axis]) for axis in axes}
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


def _of_one(x: np.ndarray) -> list[float]:
    """The same of a single sample, to the last digits: numpy's calls cost a fifth of torch's."""
    parts = _parts(x.shape)
    with np.errstate(invalid="ignore", over="ignore"):  # infinity stays without a word
        values = x[parts.read] if parts.thin else x
        mean = float(np.add.reduce(values, axis=None)) / values.size
        gaps = (values - mean).ravel()
        found = [mean, math.sqrt(float(gaps.dot(gaps)) / values.size)]
        bends, n_bends = 0.0, 0
        for after, before, next_after, next_before in parts.pairs:
            first = x[after] - x[before]
            second = (first[next_after] - first[next_before]).ravel()
            first = first.ravel()
            found.append(_log(float(first.dot(first)) / first.size))
            bends, n_bends = bends + float(second.dot(second)), n_bends + second.size
    if parts.pairs:
        found.append(_log(bends / n_bends))
    return found


class _Parts(NamedTuple):
    """Which numbers of a sample are read: for the mean, and as pairs of neighbours by axis."""

    thin: bool
    read: tuple[slice, ...]
    pairs: tuple[tuple[tuple[slice, ...], ...], ...]  # after, before; the same of differences


@functools.lru_cache(maxsize=64)
def _parts(shape: tuple[int, ...]) -> _Parts:
    axes = [axis - 1 for axis in _axes((1, *shape))]
    read = [slice(None)] * len(shape)
    for axis in axes:
        step = _step(shape[axis])
        read[axis] = slice(None, None, step) if step > 1 else slice(None)
    pairs = []
    for axis in axes:
        thin, whole = list(read), [slice(None)] * len(shape)
        found = []
        for index in (thin, whole):
            for part in (slice(1, None), slice(None, -1)):
                index[axis] = part
                found.append(tuple(index))
        pairs.append(tuple(found))
    return _Parts(any(part != slice(None) for part in read), tuple(read), tuple(pairs))


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
