"""Recorded streams of drifts: batches drawn from images whose drift is already known.

A network sees every image once; a stream then draws batches from those numbers, so that hundreds
of streams with a known beginning of the shift cost no further forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.errors import DeepDriftError

Array = NDArray[np.float64]
KINDS = ("stationary", "abrupt", "gradual", "transient", "oscillating")


class StreamError(DeepDriftError, ValueError):
    """A stream that cannot be drawn."""


def severity_schedule(
    kind: str, n_steps: int, onset: int, severity: float = 1.0, length: int = 40
) -> Array:
    """Severity of the shift at every step, 0 before ``onset``.

    Parameters
    ----------
    kind : {"stationary", "abrupt", "gradual", "transient", "oscillating"}
        No shift; full from the onset on; growing over ``length`` steps to full; full for
        ``length`` steps only; a wave between nothing and full with period ``length``.

    Raises
    ------
    StreamError
        For an unknown kind, an onset outside the stream, or a length below 1.

    Examples
    --------
    >>> severity_schedule("gradual", 6, onset=1, severity=2.0, length=4).tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]
    >>> severity_schedule("transient", 5, onset=1, length=2).tolist()
    [0.0, 1.0, 1.0, 0.0, 0.0]
    >>> severity_schedule("oscillating", 6, onset=1, length=4).round(2).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]
    """
    if kind not in KINDS:
        raise StreamError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if not 0 <= onset < n_steps or length < 1 or not 0 <= severity < math.inf:
        raise StreamError(
            "onset, length, severity: expected 0 <= onset < n_steps, a length >= 1 and a finite "
            f"severity >= 0, got {onset} of {n_steps}, {length}, {severity}"
        )
    since = np.arange(n_steps) - onset + 1  # 1 at the first shifted step
    if kind == "stationary":
        share = np.zeros(n_steps)
    elif kind == "abrupt":
        share = np.ones(n_steps)
    elif kind == "gradual":
        share = np.minimum(since / length, 1.0)
    elif kind == "transient":
        share = (since <= length).astype(np.float64)
    else:
        share = (1 - np.cos(2 * np.pi * since / length)) / 2
    return np.where(since >= 1, severity * share, 0.0)


@dataclass(frozen=True, eq=False)
class DriftStream:
    """A recorded stream: T steps, L layers.

    Attributes
    ----------
    drifts : ndarray, shape (T, L)
        Drift of the batch per layer; standard normal while all is well.
    fused : ndarray, shape (T,)
        Drift of the fused score.
    severity : ndarray, shape (T,)
    onset : int or None
        First shifted step; None for a stationary stream.
    layers : tuple of str
    pictures : ndarray of uint8, shape (T, B, H, W), or None
        The images of every batch, if the pool has any.
    """

    drifts: Array
    fused: Array
    severity: Array
    onset: int | None
    layers: tuple[str, ...]
    pictures: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.fused)


class DriftPool:
    """Drifts of single images at severities 0, 1, ..., S, to draw streams from.

    Parameters
    ----------
    by_severity : sequence of (layers, fused)
        ``StateScorer.drift_per_sample`` of clean images first, then of images at severity 1, 2,
        ...: arrays (N, L) and (N,). N may differ.
    n_calibration : int
        Normal samples behind the normal scores (``scorer.calibration.n_samples``).
    layers : sequence of str, optional
        Names of the layers.
    pictures : sequence of arrays or tensors, optional
        The images behind ``by_severity``, shape (N, H, W) or (N, 1, H, W) with values in [0, 1];
        kept as bytes. A stream drawn one by one then shows what was seen at each step.

    Examples
    --------
    >>> pool = DriftPool([([[0.0]], [0.0]), ([[2.0]], [3.0])], n_calibration=10**9)
    >>> stream = pool.draw("abrupt", n_steps=3, onset=1, batch_size=4)
    >>> stream.fused.round(3).tolist()  # four images of drift 3: 3 sqrt(4)
    [0.0, 6.0, 6.0]
    """

    def __init__(
        self,
        by_severity: Sequence[tuple[Any, Any]],
        n_calibration: int,
        layers: Sequence[str] | None = None,
        pictures: Sequence[Any] | None = None,
    ) -> None:
        if not by_severity or n_calibration < 1:
            raise StreamError("by_severity, n_calibration: expected clean drifts and a number >= 1")
        tables = []
        for k, (per_layer, fused) in enumerate(by_severity):
            rows, total = np.asarray(per_layer, np.float64), np.asarray(fused, np.float64)
            if rows.ndim != 2 or total.shape != rows.shape[:1] or total.size == 0:
                raise StreamError(
                    f"by_severity[{k}]: expected drifts of shapes (N, L) and (N,), got "
                    f"{rows.shape} and {total.shape}"
                )
            tables.append(np.column_stack([rows, total]))
        widths = {t.shape[1] for t in tables}
        if len(widths) != 1 or (layers is not None and len(layers) + 1 not in widths):
            raise StreamError("by_severity, layers: expected the same number of layers everywhere")
        self._tables, self.n_calibration = tables, n_calibration
        self.layers = tuple(layers or (f"layer {i}" for i in range(widths.pop() - 1)))
        self._pictures = None if pictures is None else [_as_bytes(p) for p in pictures]
        if self._pictures is not None and list(map(len, self._pictures)) != list(map(len, tables)):
            raise StreamError("pictures: expected one for every drift of by_severity")

    def drifts(self, severity: int = 0) -> tuple[Array, Array]:
        """Drifts of the images at a severity: per layer (N, L), and fused (N,)."""
        return self._tables[severity][:, :-1], self._tables[severity][:, -1]

    def draw(
        self,
        kind: str = "stationary",
        *,
        n_steps: int = 400,
        onset: int = 200,
        severity: float = 1.0,
        length: int = 40,
        batch_size: int = 8,
        memory: float = 0.0,
        seed: int | np.random.Generator = 0,
    ) -> DriftStream:
        """Draw one stream; `severity_schedule` explains ``kind``, ``severity`` and ``length``.

        A severity of 1.3 takes each image with probability 0.3 from severity 2, else from 1.

        Parameters
        ----------
        memory : float
            In [0, 1): each place of the batch keeps its image at the next step with this
            probability, as in a video. That is also the autocorrelation of a stationary stream at
            lag 1; the level and the spread stay.
        """
        path = severity_schedule(kind, n_steps, onset, severity, length)
        level, place = self._choose(path, batch_size, memory, seed)
        table = self._drifts(level, place, slice(None))
        start = None if kind == "stationary" else onset
        seen = None if self._pictures is None else self._seen(level, place)
        return DriftStream(table[:, :-1], table[:, -1], path, start, self.layers, seen)

    def draw_fused(self, n_streams: int, kind: str = "stationary", **how: Any) -> Array:
        """Fused drifts of many streams at once, shape ``(n_streams, T)``; arguments as `draw`."""
        rng = np.random.default_rng(how.pop("seed", 0))
        given = {"n_steps": 400, "onset": 200, "severity": 1.0, "length": 40, "batch_size": 8}
        given |= {"memory": 0.0} | how
        if "onset" not in how:
            given["onset"] = min(200, given["n_steps"] - 1)
        batch_size, memory = given.pop("batch_size"), given.pop("memory")
        path, last = severity_schedule(kind, **given), slice(-1, None)
        rows = [
            self._drifts(*self._choose(path, batch_size, memory, rng), last)
            for _ in range(n_streams)
        ]
        return np.stack([r[:, 0] for r in rows])

    def _choose(
        self, path: Array, batch_size: int, memory: float, seed: int | np.random.Generator
    ) -> tuple[NDArray[np.int64], Array]:
        """Severity and place in its table, from 0 to 1, of every image: two arrays (T, B)."""
        top = len(self._tables) - 1
        if path.max() > top or batch_size < 1 or not 0 <= memory < 1:
            raise StreamError(
                f"severity, batch_size, memory: expected at most {top}, at least 1 and a "
                f"probability below 1, got {path.max():g}, {batch_size}, {memory}"
            )
        rng = np.random.default_rng(seed)
        shape = (len(path), batch_size)
        place = rng.random(shape)
        if memory > 0:  # the step at which each place last took a new image
            renewed = np.where(rng.random(shape) >= memory, np.arange(len(path))[:, None], 0)
            place = np.take_along_axis(place, np.maximum.accumulate(renewed, axis=0), axis=0)
        level = np.floor(path)[:, None] + (rng.random(shape) < (path % 1)[:, None])
        return level.astype(np.int64), place

    def _drifts(self, level: NDArray[np.int64], place: Array, columns: slice) -> Array:
        """Drift of every batch."""
        drifts = np.empty((*level.shape, len(range(*columns.indices(len(self.layers) + 1)))))
        for k, table in enumerate(self._tables):
            here = level == k
            drifts[here] = table[(place[here] * len(table)).astype(int), columns]
        size = level.shape[1]
        return drifts.mean(axis=1) * math.sqrt(size / (1 + size / self.n_calibration))

    def _seen(self, level: NDArray[np.int64], place: Array) -> NDArray[np.uint8]:
        """The pictures of every batch."""
        tables = self._pictures or []
        seen = np.empty((*level.shape, *tables[0].shape[1:]), np.uint8)
        for k, table in enumerate(tables):
            here = level == k
            seen[here] = table[(place[here] * len(table)).astype(int)]
        return seen


def _as_bytes(pictures: Any) -> NDArray[np.uint8]:
    values = np.asarray(pictures, np.float32)
    if values.ndim == 4 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 3:
        raise StreamError(f"pictures: expected shape (N, H, W), got {values.shape}")
    return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)


def draw_all(
    pool: DriftPool, kinds: Sequence[str] = KINDS, **how: Any
) -> Mapping[str, DriftStream]:
    """One stream of every kind, with the same seed: the steps before the onset are the same."""
    return {kind: pool.draw(kind, **how) for kind in kinds}
