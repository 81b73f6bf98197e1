"""Ask the stored comparison: this network, this shift, this severity, these two methods.

Nothing is computed but a difference and its interval: the table holds everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError, choice_control
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.fair_comparison.table import GROUPS, Comparison

__all__ = ["ComparisonExplorer"]

MEAN = "mean"


class ComparisonExplorer(Explorer):
    """Two methods on one shift: where they rank, and how far they differ on the same images.

    Left: all methods, best on top, with their intervals. Right: both methods at every severity,
    or in every training where the shift has no severity. The sentence has both intervals of the
    difference, over test images and over trainings. Controls: ``network``, ``shift`` (or a
    group of shifts), ``severity`` ("mean", "1" to "5"), ``method`` and ``rival``.

    Parameters
    ----------
    tables : mapping of str to Comparison
        By network, all of the same shifts.
    method, rival : str
        Where the choice starts.

    Raises
    ------
    ExplorerError
        Without a table, for tables of different shifts, or for an unknown method.
    """

    _panels = (1.35, 1.0)

    def __init__(
        self,
        tables: Mapping[str, Comparison],
        *,
        method: str = "fused (default)",
        rival: str = "energy",
    ) -> None:
        if not tables:
            raise ExplorerError("tables: expected at least one comparison, got none")
        self._tables = dict(tables)
        first = next(iter(tables.values()))
        if any(table.kinds != first.kinds for table in tables.values()):
            raise ExplorerError("tables: expected the same shifts in every table")
        methods = list(dict.fromkeys(d for t in tables.values() for d in t.detectors))
        for name in (method, rival):
            if name not in methods:
                raise ExplorerError(f"method: expected one of {', '.join(methods)}, got {name!r}")
        corrupted = [key for key, kind in first.kinds.items() if kind == "corruption"]
        self._severities = sorted({key.rsplit(" ", 1)[1] for key in corrupted}, key=int)
        groups = [row for row in first.rows if row in GROUPS]
        severity = choice_control("severity", [MEAN, *self._severities])
        controls = {
            "network": choice_control("network", list(tables)),
            "shift": choice_control("shift", [*groups, *first.shifts]),
            "severity": severity,
            "method": choice_control("method", methods),
            "rival": choice_control("rival", methods),
        }
        controls["method"][0].value, controls["rival"][0].value = method, rival
        self._start(controls)

    def row(self, **values: Any) -> str:
        """Row of the table that is on display, or the one for other values. Nothing moves."""
        v = self._values_at(values)
        return self._row(v["shift"], v["severity"])[0]

    def difference(self, **values: Any) -> Estimate:
        """AUROC of the method minus that of the rival, on the same images.

        With values: there, and nothing moves.
        """
        v = self._values_at(values)
        table = self._tables[v["network"]]
        return table.difference(v["method"], v["rival"], self.row(**values))

    def _row(self, shift: str, severity: str) -> tuple[str, str]:
        """Name in the table, and in words."""
        rows = next(iter(self._tables.values())).rows
        if not self._has_severity(shift):
            group = {"near": "near (new classes)", "corruption": "all corruptions"}
            return shift, group.get(shift, shift.replace("_", " "))
        words = shift.replace("_", " ")
        key = f"{shift} {severity}"
        if severity != MEAN and key in rows:
            return key, f"{words}, severity {severity}"
        return shift, f"{words}, mean over severities"

    def _has_severity(self, shift: str) -> bool:
        table = next(iter(self._tables.values()))
        return any(f"{shift} {s}" in table.kinds for s in self._severities)

    def _sentence(self, network: str, shift: str, severity: str, method: str, rival: str) -> str:
        table, (row, words) = self._tables[network], self._row(shift, severity)
        for name in (method, rival):
            if name not in table.detectors:
                return f"{name} does not apply to the {network}: its features may be negative."
        order = [name for name, _ in table.ranking(row)]
        a, b = (
            f"{name} {table.auroc(name, row)} (number {order.index(name) + 1} of {len(order)})"
            for name in (method, rival)
        )
        gap = table.difference(method, rival, row)
        said, better = str(gap), method if gap.low > 0 else rival if gap.high < 0 else ""
        verdict = f"{better} is surely better" if better else "a tie"
        if len(table.values) > 1:
            over = table.over_trainings(method, rival, row)
            said += f" over images, [{over.low:.3f}, {over.high:.3f}] over trainings"
            if better and over.low <= 0 <= over.high:
                verdict = f"{better} is better here, open for another training"
        return f"{network}, {words}: {a}; {b}. Difference {said}: {verdict}. Best: {order[0]}."

    def _draw(
        self, axes: list[Any], network: str, shift: str, severity: str, method: str, rival: str
    ) -> None:
        table, (row, words) = self._tables[network], self._row(shift, severity)
        chosen = {rival: figures.BLUE, method: figures.VERMILLION}
        _draw_standing(axes[0], table, row, chosen)
        axes[0].set_title(f"{network}: {words}", fontsize=11)
        if self._has_severity(shift):
            rows = [f"{shift} {s}" for s in self._severities]
            _draw_lines(axes[1], table, rows, self._severities, chosen)
            axes[1].set(title="AUROC", xlabel="severity")
        else:
            _draw_trainings(axes[1], table, row, chosen)
            axes[1].set(title="AUROC", xlabel="training")


def _draw_standing(ax: Any, table: Comparison, row: str, chosen: Mapping[str, str]) -> None:
    """Every method a line of its own, best on top; the chosen two and the best have names."""
    ranking = table.ranking(row)
    names = [name for name, _ in ranking]
    for y, (name, e) in enumerate(ranking):
        colour = chosen.get(name, "#999999")
        ax.plot([e.low, e.high], [y, y], color=colour, linewidth=2)
        ax.plot(e.value, y, "o", color=colour, markersize=6 if name in chosen else 3.5)
    named = [n for n in names if n in chosen or n == names[0]]
    top = len(names)
    places = figures.spread([names.index(n) for n in named], gap=0.14 * top)
    for name, at in zip(named, places, strict=True):
        y, e = names.index(name), dict(ranking)[name]
        colour = chosen.get(name, figures.GREY)
        words = name.replace(", ", ",\n") if len(name) > 18 else name
        ax.annotate(words, (e.value, y), xytext=(1.04, at), textcoords=("data", "data"),
                    va="center", color=colour, fontweight="bold" if name in chosen else "normal",
                    arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6},
                    annotation_clip=False)  # fmt: skip
    ax.axvline(0.5, color=figures.GREY, linestyle=(0, (5, 3)), linewidth=1.2, zorder=0.9)
    ax.set_xlim(0, 1.5)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
    ax.set_ylim(top - 0.3, -1.2)
    ax.set_yticks([])
    ax.set_ylabel("best on top")
    ax.set_xlabel("AUROC")
    ax.xaxis.set_label_coords(0.33, -0.12)


def _draw_lines(
    ax: Any, table: Comparison, rows: list[str], ticks: list[str], chosen: Mapping[str, str]
) -> None:
    at = range(len(rows))
    for name, colour in chosen.items():
        if name not in table.detectors:
            continue
        found = [table.auroc(name, row) for row in rows]
        ax.plot(at, [e.value for e in found], "o-", color=colour, markersize=4)
        ax.fill_between(at, [e.low for e in found], [e.high for e in found], color=colour,
                        alpha=0.2, linewidth=0)  # fmt: skip
    _finish(ax, ticks)


def _draw_trainings(ax: Any, table: Comparison, row: str, chosen: Mapping[str, str]) -> None:
    n = len(table.values)
    for name, colour in chosen.items():
        if name in table.detectors:
            ax.plot(range(n), table.by_training(name, row), "o", color=colour, markersize=6)
    _finish(ax, [str(i + 1) for i in range(n)])


def _finish(ax: Any, ticks: list[str]) -> None:
    ax.axhline(0.5, color=figures.GREY, linestyle=(0, (5, 3)), linewidth=1.2, zorder=0.9)
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set_xlim(-0.4, len(ticks) - 0.6)
    ax.set_ylim(-0.03, 1.03)
    ax.grid(axis="y")
