"""Tables of notebook 08 about other measures than the AUROC: AUPR, FPR95, and kept promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deepdrift.lab.bench.evaluation import Array, false_alarm_interval
from deepdrift.lab.fair_comparison.detectors import FUSED
from deepdrift.lab.fair_comparison.table import Comparison
from deepdrift.lab.fair_comparison.text_table import TextTable

__all__ = [
    "measure_counts",
    "measure_table",
    "promise_rows",
    "promise_table",
    "rate_table",
    "value_table",
]

Tables = Mapping[str, Comparison]


def value_table(table: Comparison, names: Sequence[str], row: str) -> TextTable:
    """AUROC, AUPR and FPR95 of some scores on one set, of the first training."""
    rows = []
    for name in names:
        found = table.aupr(name, row), table.fpr95(name, row)
        rows.append([name, f"{table.by_training(name, row)[0]:.2f}", *(f"{e:.2f}" for e in found)])
    return TextTable(["score", "AUROC", "AUPR", "FPR95"], rows)


def measure_counts(table: Comparison, a: str, b: str) -> tuple[int, int, int]:
    """On how many measured rows a has the higher AUROC, the higher AUPR and the lower FPR95.

    All of the first training.
    """
    rows = table.measured_rows
    auroc = sum(table.by_training(a, r)[0] > table.by_training(b, r)[0] for r in rows)
    aupr = sum(table.aupr(a, r).value > table.aupr(b, r).value for r in rows)
    fpr = sum(table.fpr95(a, r).value < table.fpr95(b, r).value for r in rows)
    return int(auroc), aupr, fpr


def measure_table(tables: Tables, name: str, rivals: Sequence[str]) -> TextTable:
    """`measure_counts` of one score against several."""
    header = ["network", f"{name} against", "higher AUROC", "higher AUPR", "lower FPR95"]
    rows = [
        [network, rival, *map(str, measure_counts(t, name, rival))]
        for network, t in tables.items()
        for rival in rivals
    ]
    n = len(next(iter(tables.values())).measured_rows)
    return TextTable(header, rows, caption=f"on how many of {n} sets")


# --- promises -----------------------------------------------------------------------------------


def promise_rows(
    tables: Tables, alpha: float, halved: Sequence[str], n_calibration: int = 2400
) -> dict[str, tuple[Array, tuple[float, float]]]:
    """Realised false-alarm rates, and where 95 % of those of a perfect rule lie.

    Two rows for each network: scores that set their threshold with one half of the calibration
    images, and all others.

    Parameters
    ----------
    alpha : float
        The promised rate, one of the tables' ``alphas``.
    halved : sequence of str
        Scores that need the other half of the calibration images to compare layers.
    n_calibration : int
        All calibration images.
    """
    rows = {}
    for network, table in tables.items():
        split = np.array([name in halved for name in table.detectors])
        rates = table.false_alarms[:, table.alphas.index(alpha)]
        for word, which, n in (
            ("halved", split, n_calibration // 2),
            ("whole", ~split, n_calibration),
        ):
            band = false_alarm_interval(n, alpha, 0.95, n_test=table.n_test)
            rows[f"{word}, {network}"] = rates[:, which], band
    return rows


def promise_table(tables: Tables, halved: Sequence[str], n_calibration: int = 2400) -> TextTable:
    """What *fused* kept in every training, and how many rates of all scores left their bands."""
    rows = []
    for alpha in next(iter(tables.values())).alphas:
        found = promise_rows(tables, alpha, halved, n_calibration)
        for network, table in tables.items():
            own = table.false_alarms[:, table.alphas.index(alpha), table.detectors.index(FUSED)]
            low, high = found[f"halved, {network}"][1]
            parts = [found[f"{word}, {network}"] for word in ("halved", "whole")]
            out = sum(int(((r < band[0]) | (r > band[1])).sum()) for r, band in parts)
            n = sum(r.size for r, _ in parts)
            kept = ", ".join(f"{rate:.1%}" for rate in own)
            band = f"{low:.1%} to {high:.1%}"
            rows.append([f"{alpha:.0%}", network, kept, band, f"{out} of {n}"])
    header = ["promised", "network", "fused, by training", "its band", "all scores outside"]
    return TextTable(header, rows)


def rate_table(rates: Array, alphas: Sequence[float]) -> TextTable:
    """Mean rate of many cuts, and how far another such mean may lie off.

    Parameters
    ----------
    rates : Array, shape (n_cuts, A)
    alphas : sequence of A float
    """
    rows = []
    for alpha, column in zip(alphas, rates.T, strict=True):
        half = 2 * column.std() / len(column) ** 0.5
        rows.append([f"{alpha:.0%}", f"{column.mean():.1%}", f"± {half:.1%}"])
    return TextTable(["promised", f"mean of {len(rates)} cuts", "give or take"], rows)
