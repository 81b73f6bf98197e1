"""One threshold on the scores of normal and strange images: false alarms against misses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError, choice_control, nice_step, number_control
from deepdrift.lab.bench.evaluation import as_scores
from deepdrift.lab.bench.explorer import Explorer


@dataclass(frozen=True)
class ThresholdCounts:
    """What one threshold does to two sets of scores; an alarm is a score above the threshold.

    Examples
    --------
    >>> print(count_alarms([1, 2, 3, 9], [2, 5, 8], threshold=3))
    1 of 4 false alarms (25.0 %), 1 of 3 missed (33.3 %)
    """

    false_alarms: int
    n_normal: int
    misses: int
    n_shifted: int

    def __str__(self) -> str:
        return (
            f"{self.false_alarms} of {self.n_normal} false alarms "
            f"({100 * self.false_alarms / self.n_normal:.1f} %), "
            f"{self.misses} of {self.n_shifted} missed ({100 * self.misses / self.n_shifted:.1f} %)"
        )


def count_alarms(normal: Any, shifted: Any, threshold: float) -> ThresholdCounts:
    """Count false alarms (normal above the threshold) and misses (shifted not above it)."""
    normal, shifted = as_scores(normal, "normal"), as_scores(shifted, "shifted")
    return ThresholdCounts(
        int((normal > threshold).sum()), len(normal),
        int((shifted <= threshold).sum()), len(shifted),
    )  # fmt: skip


class ThresholdExplorer(Explorer):
    """Move one threshold between normal and shifted scores; count false alarms and misses.

    Controls: ``threshold``, and ``shift`` where several shifts are given.

    Parameters
    ----------
    normal : array_like, shape (N,)
        Scores of unseen normal samples; larger means more unusual.
    shifted : array_like, shape (M,), or mapping of str to array_like
        Scores of the shifted samples, or several named shifts to choose from.
    threshold : float, optional
        Where the slider starts; by default the 95 % quantile of the normal scores.
    names : (str, str)
        What the two sets are, in the plural. With several shifts only the first is used.
    log : bool
        Logarithmic slider and axis, for positive scores over several powers of ten.
    xlabel : str
        What the score is, with its unit.

    Examples
    --------
    >>> app = ThresholdExplorer([1, 2, 3, 9], [2, 5, 8], threshold=3, names=("bags", "digits"))
    >>> print(app.summary())
    Threshold 3: 1 of 4 bags raise a false alarm (25.0 %); 1 of 3 digits are missed (33.3 %).
    >>> print(app.summary(threshold=1.5))
    Threshold 1.5: 3 of 4 bags raise a false alarm (75.0 %); 0 of 3 digits are missed (0.0 %).
    >>> app.values
    {'threshold': 3.0}
    """

    def __init__(
        self,
        normal: Any,
        shifted: Any,
        *,
        threshold: float | None = None,
        names: tuple[str, str] = ("normal images", "shifted images"),
        log: bool = False,
        xlabel: str = "score (larger = more unusual)",
    ) -> None:
        self._normal_name, self._log, self._xlabel = names[0], log, xlabel
        self._normal = as_scores(normal, names[0])
        several = isinstance(shifted, Mapping)
        sets = shifted if several else {names[1]: shifted}
        if not sets:
            raise ExplorerError("shifted: expected at least one set of scores, got none")
        self._shifted = {str(name): as_scores(s, str(name)) for name, s in sets.items()}
        edges = figures.histogram_edges(self._normal, *self._shifted.values(), log=log)
        self._edges, low, high = edges, float(edges[0]), float(edges[-1])
        start = float(np.quantile(self._normal, 0.95)) if threshold is None else float(threshold)
        if threshold is None:
            start = min(max(start, low), high)
        elif not math.isfinite(start) or (log and start <= 0):
            raise ExplorerError(
                f"threshold: expected a finite{' positive' if log else ''} number, "
                f"got {threshold!r}"
            )
        low, high = min(low, start), max(high, start)
        if log:
            step = nice_step(math.log10(low), math.log10(high))
        else:
            step = nice_step(low, high)
            low, high = (
                float(f"{rounded(x / step) * step:.10g}")
                for rounded, x in ((math.floor, low), (math.ceil, high))
            )
        controls = {"threshold": number_control("threshold", start, low, high, step, log=log)}
        if several:
            controls["shift"] = choice_control("shift", list(self._shifted))
        self._start(controls)

    def counts(self, **values: Any) -> ThresholdCounts:
        """False alarms and misses at the current threshold, or at other values. Nothing moves."""
        return self._counts(**self._values_at(values))

    def _counts(self, threshold: float, shift: str | None = None) -> ThresholdCounts:
        return count_alarms(self._normal, self._shifted[self._name(shift)], threshold)

    def _name(self, shift: str | None) -> str:
        return next(iter(self._shifted)) if shift is None else shift

    def _sentence(self, threshold: float, shift: str | None = None) -> str:
        c = self._counts(threshold, shift)
        return (
            f"Threshold {threshold:.4g}: {c.false_alarms} of {c.n_normal} {self._normal_name} "
            f"raise a false alarm ({100 * c.false_alarms / c.n_normal:.1f} %); {c.misses} of "
            f"{c.n_shifted} {self._name(shift)} are missed ({100 * c.misses / c.n_shifted:.1f} %)."
        )

    def _draw(self, axes: list[Any], threshold: float, shift: str | None = None) -> None:
        c = self._counts(threshold, shift)
        title = (
            f"{100 * c.false_alarms / c.n_normal:.1f} % false alarms, "
            f"{100 * c.misses / c.n_shifted:.1f} % missed"
        )
        figures.draw_two_histograms(
            axes[0], self._normal, self._shifted[self._name(shift)],
            (self._normal_name, self._name(shift)), title, self._xlabel, threshold, log=self._log,
            edges=self._edges,
        )  # fmt: skip
