"""What notebook 09 prints: tables and sentences."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from deepdrift.attribution import AttributionError
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.bench.tables import as_table
from deepdrift.lab.explanations_under_shift.comparisons import kept_minus_changed, steadier
from deepdrift.lab.explanations_under_shift.drift import PairedDrift
from deepdrift.lab.explanations_under_shift.explanations import EXPLANATIONS, SLOW, Explanation
from deepdrift.lab.explanations_under_shift.ruler import (
    RANDOM,
    SAME,
    UNTRAINED,
    Ruler,
    mean,
    way,
)
from deepdrift.lab.explanations_under_shift.without_twin import Compared, leads

LINE = 96


def told(errors: Mapping[str, Exception]) -> str:
    """What was asked, the reason in brackets where the error has one, and the sentence."""
    lines = []
    for asked, error in errors.items():
        reason = f" ({error.reason})" if isinstance(error, AttributionError) else ""
        lines.append(f"{asked}{reason}:")
        lines += textwrap.wrap(str(error), LINE, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def rungs(rulers: Mapping[Explanation, Ruler]) -> str:
    """Mean overlap at the three measured rungs."""
    return as_table(
        {str(one): {r: ruler.rung(r) for r in (UNTRAINED, RANDOM, SAME)}
         for one, ruler in rulers.items()},
    )  # fmt: skip


def false_alarms(rulers: Mapping[Explanation, Ruler]) -> str:
    """How often the published rule calls two clean images a shift, by explanation and rung."""
    return as_table(
        {str(one): {r: ruler.false_alarms(r) for r in (SAME, RANDOM)}
         for one, ruler in rulers.items()},
        corner="clean pairs below 0.2",
    )  # fmt: skip


def four_measures(
    drift: PairedDrift, rulers: Mapping[Explanation, Ruler], fault: str, severity: int
) -> dict[str, dict[str, float]]:
    """Percent of the way from same class to identical, in each of the four likenesses."""
    return {
        str(one): {
            name: 100 * way(mean(values).value, mean(ruler.same[name]).value)
            for name, values in drift[one, fault, severity].alike.items()
        }
        for one, ruler in rulers.items()
        if (one, fault, severity) in drift
    }


def steadier_table(
    drift: PairedDrift, rulers: Mapping[Explanation, Ruler], methods: Sequence[str]
) -> str:
    """ViT minus CNN by method and fault: in overlap, and in shares of the way."""
    rows = {}
    for method in methods:
        for fault in ["gaussian_noise"] if method == SLOW else drift.faults:
            rows[f"{method}, {fault}"] = {
                "overlap": steadier(drift, method, fault),
                "share of the way": steadier(drift, method, fault, rulers),
            }
    return as_table(rows, corner="ViT minus CNN")


def kept_lines(drift: PairedDrift, one: Explanation, faults: Sequence[str]) -> str:
    """Kept minus changed, all severities thrown together and within each severity."""
    rows = {
        fault: {
            "mixed": kept_minus_changed(drift, one, fault, matched=False),
            "same severity": kept_minus_changed(drift, one, fault),
        }
        for fault in faults
    }
    return as_table(rows, corner=str(one))


def lead_table(compared: Compared, one: str, rivals: Sequence[str]) -> str:
    """AUROC of one score, and its paired lead over rivals, by set."""
    table = compared.table
    rows = {
        name: {"AUROC": table.auroc(one, name)} | {f"minus {r}": e for r, e in row.items()}
        for name, row in leads(table, one, rivals).items()
    }
    return as_table(rows, corner=one)


def alarm_lines(compared: Mapping[str, Compared]) -> str:
    """Realised false alarms at 5 %, beside the band for kept promises."""
    lines = []
    for network, found in compared.items():
        for name, rate in found.alarms.items():
            low, high = found.bands[name]
            lines.append(
                f"{network}, {name:<15} {rate:.1%}; band of a kept promise {low:.1%} to {high:.1%}"
            )
    return "\n".join(lines)


def gaps(drift: PairedDrift) -> dict[str, dict[str, Estimate]]:
    """Kept minus changed within each severity, by explanation (but slow ones) and fault."""
    return {
        str(one): {fault: kept_minus_changed(drift, one, fault) for fault in drift.faults}
        for one in EXPLANATIONS
        if not one.slow
    }


def auroc_lines(compared: Compared) -> str:
    """AUROC of every score (columns) for every set (rows)."""
    table = compared.table
    return as_table(
        {set_: {s: table.auroc(s, set_).value for s in table.names} for set_ in table.strange},
        corner="AUROC",
    )
