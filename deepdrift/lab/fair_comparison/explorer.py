"""Ask the stored comparison: this network, this shift, and how a rival stands to one score.

Nothing is computed but a difference and its interval: the table holds everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError, choice_control
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.fair_comparison.detectors import FUSED
from deepdrift.lab.fair_comparison.table import GROUPS, Comparison

__all__ = ["ComparisonExplorer"]


class ComparisonExplorer(Explorer):
    """One score against a rival on one shift: where they rank, how far they differ on same images.

    Left: all scores, best on top, with their intervals. Right: the difference at every severity
    with its interval, or in every training where the shift has no severity. The sentence has both
    intervals of the difference, over test images and over trainings. Controls: ``network``,
    ``shift`` (or a group of shifts) and ``rival``, which is any score but the one that is asked
    about.

    Parameters
    ----------
    tables : mapping of str to Comparison
        By network, all of the same shifts.
    method : str
        The score that is compared with the others.
    rival : str
        Where the choice starts.

    Raises
    ------
    ExplorerError
        Without a table, for tables of different shifts, for an unknown score, or if a score
        should be its own rival.
    """

    _panels = (1.35, 1.0)

    def __init__(
        self, tables: Mapping[str, Comparison], *, method: str = FUSED, rival: str = "energy"
    ) -> None:
        if not tables:
            raise ExplorerError("tables: expected at least one comparison, got none")
        self._tables, self._method = dict(tables), method
        first = next(iter(tables.values()))
        if any(table.kinds != first.kinds for table in tables.values()):
            raise ExplorerError("tables: expected the same shifts in every table")
        known = list(dict.fromkeys(d for t in tables.values() for d in t.detectors))
        rivals = [name for name in known if name != method]
        for what, name, names in (("method", method, known), ("rival", rival, rivals)):
            if name not in names:
                raise ExplorerError(f"{what}: expected one of {', '.join(names)}, got {name!r}")
        corrupted = [key for key, kind in first.kinds.items() if kind == "corruption"]
        self._severities = sorted({key.rsplit(" ", 1)[1] for key in corrupted}, key=int)
        groups = [row for row in first.rows if row in GROUPS]
        controls = {
            "network": choice_control("network", list(tables)),
            "shift": choice_control("shift", [*groups, *first.shifts]),
            "rival": choice_control("rival", rivals),
        }
        controls["rival"][0].value = rival
        self._start(controls)

    def difference(self, severity: str | int | None = None, **values: Any) -> Estimate:
        """AUROC of the score minus that of the rival, on the same images.

        With values: there, and nothing moves. With a severity: at that one alone.
        """
        v = self._values_at(values)
        row = v["shift"] if severity is None else f"{v['shift']} {severity}"
        return self._tables[v["network"]].difference(self._method, v["rival"], row)

    def _words(self, shift: str) -> str:
        if self._has_severity(shift):
            return f"{shift.replace('_', ' ')}, mean over severities"
        group = {"near": "near (new classes)", "corruption": "all corruptions"}
        return group.get(shift, shift.replace("_", " "))

    def _has_severity(self, shift: str) -> bool:
        table = next(iter(self._tables.values()))
        return any(f"{shift} {s}" in table.kinds for s in self._severities)

    def _sentence(self, network: str, shift: str, rival: str) -> str:
        table, method = self._tables[network], self._method
        for name in (method, rival):
            if name not in table.detectors:
                return f"{name} does not apply to the {network}: its features may be negative."
        order = [name for name, _ in table.ranking(shift)]
        a, b = (
            f"{name} {table.auroc(name, shift)} (number {order.index(name) + 1} of {len(order)})"
            for name in (method, rival)
        )
        gap = table.difference(method, rival, shift)
        said, better = str(gap), method if gap.low > 0 else rival if gap.high < 0 else ""
        verdict = f"{better} is surely better" if better else "a tie"
        if len(table.values) > 1:
            over = table.over_trainings(method, rival, shift)
            said += f" over images, [{over.low:.3f}, {over.high:.3f}] over trainings"
            if better and over.low <= 0 <= over.high:
                verdict = f"{better} is better here, open for another training"
        words = f"{network}, {self._words(shift)}: {a}; {b}. Difference {said}: {verdict}."
        if self._has_severity(shift):
            ends = [s for s in self._severities if f"{shift} {s}" in table.kinds]
            first, last = (
                f"{s} {table.difference(method, rival, f'{shift} {s}').value:+.3f}"
                for s in (ends[0], ends[-1])
            )
            words += f" At severity {first}, at {last}."
        return f"{words} Best: {order[0]}."

    def _draw(self, axes: list[Any], network: str, shift: str, rival: str) -> None:
        table = self._tables[network]
        chosen = {rival: figures.BLUE, self._method: figures.VERMILLION}
        _draw_standing(axes[0], table, shift, chosen)
        axes[0].set_title(f"{network}: {self._words(shift)}", fontsize=11)
        if self._has_severity(shift):
            rows = [f"{shift} {s}" for s in self._severities]
            _draw_severities(axes[1], table, rows, self._severities, chosen)
        else:
            _draw_trainings(axes[1], table, shift, chosen)
        axes[1].set_title(f"{self._method} minus {rival.split(',')[0]}", fontsize=11)


def _draw_standing(ax: Any, table: Comparison, row: str, chosen: Mapping[str, str]) -> None:
    """Every method a line of its own, best on top; the chosen two and the best have names."""
    ranking = table.ranking(row)
    names = [name for name, _ in ranking]
    colours = [chosen.get(name, "#999999") for name in names]
    sizes = [36 if name in chosen else 12 for name in names]
    found = [e for _, e in ranking]
    ax.hlines(range(len(names)), [e.low for e in found], [e.high for e in found], colours)
    ax.scatter([e.value for e in found], range(len(names)), sizes, colours)
    named = [n for n in names if n in chosen or n == names[0]]
    top = len(names)
    places = figures.spread([names.index(n) for n in named], gap=0.14 * top)
    for name, at in zip(named, places, strict=True):
        y, e = names.index(name), dict(ranking)[name]
        colour = chosen.get(name, figures.GREY)
        words = name.replace(", ", ",\n") if len(name) > 14 else name
        ax.annotate(words, (e.value, y), xytext=(1.04, at), textcoords=("data", "data"),
                    va="center", color=colour, fontsize=9.5,
                    fontweight="bold" if name in chosen else "normal",
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


def _draw_severities(
    ax: Any, table: Comparison, rows: list[str], ticks: list[str], chosen: Mapping[str, str]
) -> None:
    """The paired difference at each severity, in the colour of the better one."""
    rival, method = chosen
    values = []
    if {rival, method} <= set(table.detectors):
        for x, row in enumerate(rows):
            gap = table.difference(method, rival, row)
            colour = chosen[method if gap.value > 0 else rival]
            ax.plot([x, x], [gap.low, gap.high], color=colour, linewidth=3)
            ax.plot(x, gap.value, "o", color=colour, markersize=7)
            values += [gap.low, gap.high]
    _finish(ax, ticks, values)
    ax.set_xlabel("severity")


def _draw_trainings(ax: Any, table: Comparison, row: str, chosen: Mapping[str, str]) -> None:
    """The difference in each training, in the colour of the better one."""
    rival, method = chosen
    n, gaps = len(table.values), []
    if {rival, method} <= set(table.detectors):
        gaps = (table.by_training(method, row) - table.by_training(rival, row)).tolist()
        for x, gap in enumerate(gaps):
            ax.plot(x, gap, "o", color=chosen[method if gap > 0 else rival], markersize=7)
    _finish(ax, [str(i + 1) for i in range(n)], gaps)
    ax.set_xlabel("training")


def _finish(ax: Any, ticks: list[str], values: list[float]) -> None:
    reach = 1.15 * max([0.04, *map(abs, values)])
    ax.axhline(0, color=figures.GREY, linestyle=(0, (5, 3)), linewidth=1.2, zorder=0.9)
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set_xlim(-0.4, len(ticks) - 0.6)
    ax.set_ylim(-reach, reach)
    ax.grid(axis="y")
