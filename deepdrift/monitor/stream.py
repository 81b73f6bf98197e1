"""Scores of normal states as they come by: only the scores are kept, never the states.

Rows are scored in pieces of one size, whatever the batches were, because the last digit of a score
depends on how many samples are scored together. So a stream gives bit for bit what the same rows
give at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from deepdrift.alarms.diagnosis import NormalShape
from deepdrift.errors import CalibrationError
from deepdrift.evidence import calibration as cal

PIECE = 256

States = dict[str, Tensor]


class ScoreStream:
    """Collect scores, lengths of states, and the spread of every channel.

    Memory: one float64 per sample for every score and layer, and `PIECE` rows of states.

    Parameters
    ----------
    score : callable
        From states, layer -> ``(n, D_l)``, to scores ``(n, K)``.
    layers : sequence of str
        The layers whose shape is wanted.

    Examples
    --------
    >>> stream = ScoreStream(lambda states: states["a"].double(), ["a"])
    >>> for batch in torch.arange(6.0)[:, None].split(4):
    ...     stream.add({"a": batch})
    >>> stream.finish().scores.flatten().tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """

    def __init__(self, score: Callable[[States], Tensor], layers: list[str]) -> None:
        self._score, self._layers = score, layers
        self.n = 0
        self._waiting: list[States] = []
        self._n_waiting = 0
        self._scores: list[Tensor] = []
        self._lengths: list[Tensor] = []
        self._spreads = {name: _Spread() for name in layers}

    def add(self, states: Mapping[str, Tensor]) -> None:
        """Take the states of some more samples."""
        n, start = len(next(iter(states.values()))), 0
        self.n += n
        while self._n_waiting + n - start >= PIECE:
            stop = start + PIECE - self._n_waiting
            self._waiting.append({k: v[start:stop] for k, v in states.items()})
            self._flush()
            start = stop
        if start < n:  # a copy: a view would keep the whole batch
            self._waiting.append({k: v[start:].clone() for k, v in states.items()})
            self._n_waiting += n - start

    def finish(self) -> Scored:
        """What all samples gave, in the order in which they came."""
        if self._waiting:
            self._flush()
        spreads = {name: spread.value() for name, spread in self._spreads.items()}
        scores, self._scores = torch.cat(self._scores), []
        lengths, self._lengths = torch.cat(self._lengths), []
        return Scored(scores, lengths, spreads)

    def part(self) -> tuple[Tensor, Tensor, dict[str, _Spread]]:
        """All that was collected, to be sent to other processes; see `take`."""
        if self._waiting:
            self._flush()
        return torch.cat(self._scores), torch.cat(self._lengths), self._spreads

    def take(self, parts: Sequence[tuple[Tensor, Tensor, dict[str, _Spread]]]) -> None:
        """Hold what several streams collected, in this order, instead of one's own."""
        self.n = sum(len(scores) for scores, _, _ in parts)
        self._scores = [scores for scores, _, _ in parts]
        self._lengths = [lengths for _, lengths, _ in parts]
        self._spreads = {name: _Spread() for name in self._layers}
        for name, spread in self._spreads.items():
            for _, _, spreads in parts:
                spread.merge(spreads[name])

    def _flush(self) -> None:
        states = {k: torch.cat([part[k] for part in self._waiting]) for k in self._waiting[0]}
        self._waiting, self._n_waiting = [], 0
        self._scores.append(self._score(states))
        watched = {name: states[name].double() for name in self._layers}
        lengths = [v.norm(dim=1).cpu() for v in watched.values()]
        self._lengths.append(torch.stack(lengths, dim=1))
        for name, state in watched.items():
            self._spreads[name].add(state)


class Scored:
    """Scores ``(n, K)`` and lengths ``(n, L)`` of samples, and the spread of their channels."""

    def __init__(self, scores: Tensor, lengths: Tensor, spreads: dict[str, Tensor]) -> None:
        self.scores, self.lengths, self.spreads = scores, lengths, spreads

    def shape(self, rows: Tensor) -> NormalShape:
        """Median length of the states of some rows, and the spread over all."""
        medians = self.lengths[rows].median(dim=0).values
        return NormalShape(dict(zip(self.spreads, medians, strict=True)), self.spreads)


class _Spread:
    """Standard deviation per channel from pieces (Chan, Golub and LeVeque 1983)."""

    def __init__(self) -> None:
        self._n, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, state: Tensor) -> None:
        mean = state.mean(dim=0)
        self._add(len(state), mean, (state - mean).square().sum(dim=0))

    def merge(self, other: _Spread) -> None:
        self._add(other._n, other._mean, other._squares)

    def _add(self, n: int, mean: Tensor, squares: Tensor) -> None:
        gap, total = mean - self._mean, self._n + n
        self._squares = self._squares + squares
        self._squares += gap.square() * (self._n * n / total)
        self._mean, self._n = self._mean + gap * (n / total), total

    def value(self) -> Tensor:
        return (self._squares / self._n).sqrt().cpu()


def split_rows(
    n: int, alpha: float, n_parts: int, n_tails: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Row numbers to fit on, and of the two calibration halves: a function of ``n`` alone.

    Four parts: half for fitting, a quarter for each half. Two parts: none for fitting. One: as
    two, but it is the whole set that must support alpha. With two tails each gets alpha / 2.

    Raises
    ------
    CalibrationError
        If n is too small for alpha.

    Examples
    --------
    >>> [len(part) for part in split_rows(100, alpha=0.05, n_parts=4)]
    [50, 25, 25]
    """
    needed = n_parts * cal.required_samples(alpha / n_tails)
    if n < needed:
        raise CalibrationError(
            f"{n} normal samples cannot support a false-alarm rate of {alpha:g}: at least {needed} "
            f"are needed ({n_parts} x ({n_tails} / alpha - 1)), or a larger alpha"
        )
    order = torch.randperm(n, generator=torch.Generator().manual_seed(n), device="cpu")
    n_fit = n // 2 if n_parts == 4 else 0
    half = (n - n_fit) // 2
    return order[:n_fit], order[n_fit : n_fit + half], order[n_fit + half :]
