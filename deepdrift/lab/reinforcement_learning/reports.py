"""Tables of the recorded results as text: faults, signals, names and lead times."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deepdrift.lab.bench.evaluation import Estimate, proportion
from deepdrift.lab.reinforcement_learning.naming import NOT_SURE
from deepdrift.lab.reinforcement_learning.outcomes import Outcomes
from deepdrift.lab.reinforcement_learning.records import Record

LINE = 96


def _cell(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate:.2f}"


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:<27}" + "".join(f"{cell:>23}" for cell in cells)


def fault_table(rows: Mapping[str, Outcomes]) -> str:
    """Failures, share of them caught in time, and share of survivors with an alarm, with 95 %.

    Examples
    --------
    >>> o = Outcomes.of(lost=[29, 29, -1], lengths=[30, 30, 99], alarms=[20, -1, 40], onset=10)
    >>> print(fault_table({"lag": o}))
                                        control lost         caught in time       benign with alarm
    lag                                       2 of 3      0.50 [0.01, 0.99]       1.00 [0.03, 1.00]
    """
    lines = [f"{'':<27}{'control lost':>21}{'caught in time':>23}{'benign with alarm':>24}"]
    for name, o in rows.items():
        lost = f"{int(o.failed.sum())} of {len(o)}"
        lines.append(
            f"{name:<27}{lost:>21}{_cell(o.caught):>23}{_cell(o.benign_alarms):>24}".rstrip()
        )
    return "\n".join(lines)


def signal_table(record: Record, signals: Sequence[str] = ()) -> str:
    """Every signal over all faults: false alarms on clean episodes, caught, benign with alarm."""
    lines = [_row("", ["clean, false alarm", "caught in time", "benign with alarm"])]
    for name in map(str, record.signals if len(signals) == 0 else signals):
        o = record.all_outcomes(name)
        clean = record.clean_outcomes(name).share("false alarm")
        lines.append(_row(name, [_cell(clean), _cell(o.caught), _cell(o.benign_alarms)]))
    return "\n".join(lines)


def caught_shares(record: Record, signals: Sequence[str]) -> NDArray[np.float64]:
    """Share of failures caught in time, faults by signals; NaN where none failed."""
    shares = []
    for fault in record.faults:
        found = [record.outcomes(str(fault), signal).caught for signal in signals]
        shares.append([np.nan if e is None else e.value for e in found])
    return np.array(shares)


def lead_lines(rows: Mapping[str, Outcomes], steps: int = 5) -> str:
    """The sentence about lead time of each case, wrapped."""
    return "\n".join(
        textwrap.fill(f"{name}: {o.sentence(steps)}", LINE, subsequent_indent="    ")
        for name, o in rows.items()
    )


def right_names(table: Mapping[str, Mapping[str, int]], *, sure: bool = False) -> Estimate:
    """Share of right names in a confusion table; with ``sure`` among those that got a name.

    Examples
    --------
    >>> table = {"delay": {"delay": 3, "actuator": 0, "not sure": 1}}
    >>> float(right_names(table)), float(right_names(table, sure=True))
    (0.75, 1.0)
    """
    right = sum(row.get(name, 0) for name, row in table.items())
    n = sum(
        count for row in table.values() for k, count in row.items() if not (sure and k == NOT_SURE)
    )
    return proportion(right, n)


def name_shares(
    table: Mapping[str, Mapping[str, int]],
) -> tuple[NDArray[np.float64], list[str], list[str]]:
    """Rows of a confusion table as shares, with the names of rows and columns, no blanks first.

    All sensors of a kind keep their own name; columns that nobody was given are left out.
    """
    columns = [c for c in next(iter(table.values())) if any(row[c] for row in table.values())]
    counts = np.array([[row[c] for c in columns] for row in table.values()], dtype=np.float64)
    short = [name.removeprefix("sensor: ") for name in columns]
    rows = [f"{name.removeprefix('sensor: ')} ({int(n)})" for name, n in
            zip(table, counts.sum(axis=1), strict=True)]  # fmt: skip
    return counts / counts.sum(axis=1, keepdims=True), rows, short
