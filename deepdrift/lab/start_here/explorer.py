"""One threshold on the scores of normal and strange images: histograms and ROC side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError, choice_control, nice_step, number_control
from deepdrift.lab.bench.evaluation import as_scores
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.bench.figures.roc import Roc, draw_roc, rates_above, roc_curve

LINE = 0.8  # height of the threshold's line in its panel; the words stand above it


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

    Left: both sets of scores with the line, whose slider lies along their axis. Right: the ROC
    curve, the threshold's point on it, and a diamond where the slider started. Controls:
    ``threshold``, and ``shift`` where several shifts are given.

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
    mark_name : str
        What the threshold is called with which the slider starts.

    Examples
    --------
    >>> app = ThresholdExplorer([1, 2, 3, 9], [2, 5, 8], threshold=3, names=("bags", "digits"))
    >>> print(app.summary())
    Threshold 3: 1 of 4 bags raise a false alarm (25.0 %); 1 of 3 digits are missed (33.3 %).
    >>> print(app.summary(threshold=1.5))
    Threshold 1.5: 3 of 4 bags raise a false alarm (75.0 %); 0 of 3 digits are missed (0.0 %).
    >>> app.values
    {'threshold': 3.0}
    >>> print(app.prices([3, 1.5]))
    threshold  false alarms  digits missed
            3        25.0 %         33.3 %
          1.5        75.0 %          0.0 %
    """

    _panels = (1.35, 1.0)

    def __init__(
        self,
        normal: Any,
        shifted: Any,
        *,
        threshold: float | None = None,
        names: tuple[str, str] = ("normal images", "shifted images"),
        log: bool = False,
        xlabel: str = "score (larger = more unusual)",
        mark_name: str = "start",
    ) -> None:
        self._normal_name, self._log, self._xlabel = names[0], log, xlabel
        self._mark_name = mark_name
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
        low, high, step = _around(start, low, high, log)
        controls = {"threshold": number_control("threshold", start, low, high, step, log=log)}
        if several:
            controls["shift"] = choice_control("shift", list(self._shifted))
        self._mark, self._ends, self._on_show = start, (low, high), None
        self._curves = {name: roc_curve(self._normal, s) for name, s in self._shifted.items()}
        self._start(controls, on_axis={"threshold": 0})

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

    def prices(self, thresholds: Sequence[float]) -> str:
        """Table of what some thresholds cost: false alarms, and misses of every shift."""
        columns = [f"{name} missed" for name in self._shifted]
        lines = ["  ".join(["threshold", "false alarms", *columns])]
        for threshold in thresholds:
            counts = [count_alarms(self._normal, s, threshold) for s in self._shifted.values()]
            row = [
                f"{threshold:>9.4g}",
                f"{_percent(counts[0].false_alarms, counts[0].n_normal):>12}",
            ]
            row += [
                f"{_percent(c.misses, c.n_shifted):>{len(column)}}"
                for c, column in zip(counts, columns, strict=True)
            ]
            lines.append("  ".join(row))
        return "\n".join(lines)

    def curve(self, **values: Any) -> Roc:
        """The ROC curve of the shift that is chosen, or of another one. Nothing moves."""
        return self._curves[self._name(self._values_at(values).get("shift"))]

    def _wipe(self) -> None:
        """Nothing: only what moved is drawn anew, by `_draw`."""

    def _draw(self, axes: list[Any], threshold: float, shift: str | None = None) -> None:
        name, c = self._name(shift), self._counts(threshold, shift)
        if name != self._on_show:
            self._artists = self._draw_set(axes, name)
            self._on_show = name
        rates = c.false_alarms / c.n_normal, 1 - c.misses / c.n_shifted
        axes[0].set_title(
            f"{100 * rates[0]:.1f} % false alarms, {100 * (1 - rates[1]):.1f} % missed"
        )
        for key, who, rate in zip("ab", (self._normal_name, name), rates, strict=True):
            self._artists[f"label_{key}"].set_text(f"{who}: {100 * rate:.1f} % above")
        for moved in self._artists["line"]:
            moved.remove()
        self._artists["line"] = figures.draw_threshold(
            axes[0], threshold, f"threshold {threshold:.4g}", height=LINE
        )
        self._artists["point"].set_data(*([rate] for rate in rates))

    def _draw_set(self, axes: list[Any], name: str) -> dict[str, Any]:
        """All that stays while the line moves, and the artists that do not."""
        super()._wipe()
        artists = figures.draw_two_histograms(
            axes[0], self._normal, self._shifted[name], (self._normal_name, name),
            xlabel=self._xlabel, log=self._log, edges=self._edges,
        )  # fmt: skip
        for key, height in (("a", 0.99), ("b", 0.91)):  # one below the other: a panel is narrow
            artists[f"label_{key}"].set(x=0.99, y=height, ha="right")
        axes[0].plot(self._mark, 0, "D", color="white", mec=figures.BLACK, markersize=9,
                     transform=axes[0].get_xaxis_transform(), clip_on=False, zorder=5)  # fmt: skip
        axes[0].set_xlim(*self._ends)  # before the line is drawn, whose words keep inside
        mark = rates_above(self._normal, self._shifted[name], self._mark)
        roc = draw_roc(
            axes[1], self._curves[name], "Every threshold is a point", point=mark, mark=mark,
            mark_name=self._mark_name, labels=("false alarms", f"{name} caught"),
        )  # fmt: skip
        return artists | {"point": roc["point"], "line": ()}


def _around(start: float, low: float, high: float, log: bool) -> tuple[float, float, float]:
    """Ends and step of a slider that reaches from low to high, and to the start in whole steps.

    A browser moves a handle that stands between two steps.

    Examples
    --------
    >>> _around(15.5, low=0.0, high=52.8, log=False)
    (-0.1, 52.9, 0.2)
    """
    a, at, b = (math.log10(x) if log else x for x in (low, start, high))
    step = nice_step(a, b)
    a = at - math.ceil((at - a) / step) * step
    b = at + math.ceil((b - at) / step) * step
    ends = (float(f"{10**x if log else x:.10g}") for x in (a, b))
    low, high = (
        choose(end, x) for choose, end, x in zip((min, max), ends, (low, high), strict=True)
    )
    return low, high, step


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"
