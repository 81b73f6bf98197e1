"""One explanation under a growing fault, on its ruler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError, choice_control, number_control
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.bench.figures import GREY, INK
from deepdrift.lab.explanations_under_shift import tiles
from deepdrift.lab.explanations_under_shift.drift import SEVERITIES, PairedDrift
from deepdrift.lab.explanations_under_shift.explanations import Explanation
from deepdrift.lab.explanations_under_shift.figures import draw_sheet
from deepdrift.lab.explanations_under_shift.ruler import (
    CHANCE,
    IDENTICAL,
    RANDOM,
    SAME,
    UNTRAINED,
    Ruler,
    mean,
    way,
)

FEWEST = 5  # pairs for a mean with an interval
PREDICTION = {"all": "all", "prediction kept": "kept", "prediction changed": "changed"}


class MapExplorer(Explorer):
    """Left: an image, its map and the map's top before and after a fault. Right: the ruler.

    The image shown is the one of the chosen group whose overlap is the group's median. Controls:
    ``explanation``, ``fault``, ``severity``, ``pairs`` (all, prediction kept, prediction changed).

    Parameters
    ----------
    drift : PairedDrift
    rulers : mapping of Explanation to Ruler
        Only explanations that were computed for every fault and severity are offered.
    severity : int
        Where the slider starts.

    Raises
    ------
    ExplorerError
        If no explanation is complete.
    """

    _panels = (1.0, 1.1)

    def __init__(
        self, drift: PairedDrift, rulers: Mapping[Explanation, Ruler], severity: int = 2
    ) -> None:
        self._drift, self._rulers = drift, rulers
        self._known = {
            str(one): one
            for one in rulers
            if all((one, f, s) in drift for f in drift.faults for s in SEVERITIES)
        }
        if not self._known:
            raise ExplorerError("drift: no explanation has every fault at every severity")
        self._means: dict[tuple[str, str, str, int], Estimate | None] = {}
        self._rungs = {
            name: {rung: e.value for rung, e in rulers[one].rungs.items()}
            for name, one in self._known.items()
        }
        for name, one in self._known.items():
            for fault in drift.faults:
                for s in (0, *SEVERITIES):
                    for said, group in PREDICTION.items():
                        values = drift[one, fault, s].of(group)
                        enough = int((~values.isnan()).sum()) >= FEWEST
                        self._means[name, fault, said, s] = mean(values) if enough else None
        controls = {
            "explanation": choice_control("explanation", list(self._known)),
            "fault": choice_control("fault", drift.faults),
            "severity": number_control("severity", severity, 0, SEVERITIES[-1], 1),
            "pairs": choice_control("pairs", list(PREDICTION)),
        }
        self._start(controls)

    def overlap(self, **values: Any) -> Estimate | None:
        """Mean overlap of the chosen pairs, None below `FEWEST` of them; nothing moves."""
        v = self._values_at(values)
        return self._means[v["explanation"], v["fault"], v["pairs"], v["severity"]]

    def _sentence(self, explanation: str, fault: str, severity: int, pairs: str) -> str:
        kept = self._drift[self._known[explanation], fault, severity].kept
        n, where = len(kept), f"{explanation}, {fault.replace('_', ' ')} at severity {severity}"
        found = self._means[explanation, fault, pairs, severity]
        which = "" if pairs == "all" else f" with the {pairs}"
        if found is None:
            return f"{where}: fewer than {FEWEST} of {n} pairs{which}, too few for a mean."
        share = way(found.value, self._rungs[explanation][SAME])
        changed = f"; {int((~kept).sum())} of {n} predictions changed" if pairs == "all" else ""
        return (
            f"{where}: overlap {found:.2f} over {found.n_in} pairs{which}, {share:.0%} of the way "
            f"from same class to identical{changed}."
        )

    def _typical(self, explanation: str, fault: str, severity: int, pairs: str) -> int:
        found = self._drift[self._known[explanation], fault, severity]
        overlap, kept = found.alike["iou"], found.kept
        group = {"all": kept | True, "kept": kept, "changed": ~kept}[PREDICTION[pairs]]
        chosen = group & ~overlap.isnan()
        if not chosen.any():
            chosen = ~overlap.isnan()
        gap = (overlap - overlap[chosen].median()).abs().masked_fill(~chosen, float("inf"))
        return int(gap.argmin())

    def _draw(
        self, axes: list[Any], explanation: str, fault: str, severity: int, pairs: str
    ) -> None:
        one, (left, right) = self._known[explanation], axes
        index = self._typical(explanation, fault, severity, pairs)
        clean = self._drift[one, fault, 0].maps[index]
        shifted = self._drift[one, fault, severity].maps[index]
        self._draw_tiles(left, index, clean, shifted, fault, severity)
        self._draw_curve(right, explanation, fault, severity, pairs)

    def _draw_tiles(
        self, ax: Any, index: int, clean: Tensor, shifted: Tensor, fault: str, severity: int
    ) -> None:
        drift = self._drift
        rows = [
            [tiles.grey(drift.shifted[fault, s][index]), tiles.heat(m), tiles.tops(clean, m)]
            for s, m in ((0, clean), (severity, shifted))
        ]
        draw_sheet(ax, rows, ["image", "map", "top 20 %"], ["clean", f"severity\n{severity}"])
        height, width = 2 * (clean.shape[0] + tiles.GAP), 3 * (clean.shape[1] + tiles.GAP)
        words = (("both", INK, 0.42), ("clean only", figures.BLUE, 0.70),
                 ("shifted only", figures.VERMILLION, 1.0))  # fmt: skip
        for said, colour, x in words:
            ax.text(x * width - 2, height + 1, said, ha="right", va="top", fontsize=9,
                    fontweight="bold", color=figures.ink(colour))  # fmt: skip

    def _draw_curve(self, ax: Any, explanation: str, fault: str, severity: int, pairs: str) -> None:
        one, rungs = self._known[explanation], self._rungs[explanation]
        order = (CHANCE, UNTRAINED, RANDOM, SAME, IDENTICAL)
        heights = figures.spread([rungs[name] for name in order], gap=0.075)
        for name, y in zip(order, heights, strict=True):
            style = "-" if name in (CHANCE, IDENTICAL, SAME) else (0, (2, 2))
            ax.plot([-0.3, 5.3], [rungs[name]] * 2, color="#bbbbbb", linewidth=1, linestyle=style)
            ax.text(5.45, y, name, va="center", fontsize=9, color=GREY,
                    fontweight="bold" if name == SAME else "normal")  # fmt: skip
        found = {s: self._means[explanation, fault, pairs, s] for s in (0, *SEVERITIES)}
        known = {s: e for s, e in found.items() if e is not None}
        if known:
            low, high, value = np.array([[e.low, e.high, e.value] for e in known.values()]).T
            ax.fill_between(list(known), low, high, color=INK, alpha=0.15, linewidth=0)
            ax.plot(list(known), value, color=INK, marker="o", markersize=4)
        values = self._drift[one, fault, severity].of(PREDICTION[pairs]).numpy()
        spots = severity + 0.24 * np.linspace(-1, 1, max(len(values), 2))[: len(values)]
        ax.plot(spots, values, ".", color=figures.GREEN, markersize=4, zorder=1.5)
        if severity in known:
            ax.plot(severity, known[severity].value, "o", color=INK, markersize=10, zorder=4)
        ax.set_xlim(-0.4, 8.2)
        ax.set_ylim(-0.03, 1.05)
        ax.set_xticks((0, *SEVERITIES))
        ax.set(xlabel="severity                          ", ylabel="overlap of the top 20 % (IoU)")
