"""Tables of the recorded results as text: faults, signals, names and lead times."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from deepdrift.lab.bench.evaluation import Estimate, proportion
from deepdrift.lab.reinforcement_learning.naming import NOT_SURE
from deepdrift.lab.reinforcement_learning.outcomes import Outcomes
from deepdrift.lab.reinforcement_learning.records import MULTIPLES, SWEPT, Record

LINE = 96
SHORT = {"actuator": "motor", "all sensors": "all", "dynamics": "world", "not sure": "unsure",
         "position": "place", "speed across": "v side", "speed of climb": "climb",
         "turning": "turn"}  # fmt: skip


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


def caught_table(record: Record, signals: Sequence[str]) -> str:
    """Percent of failures caught in time, faults by signals; a dash where none failed."""
    heads = [name.split() for name in signals]
    first = [words[0] for words in heads]
    second = [" ".join(words[1:2]) for words in heads]
    lines = [f"{'':<17}" + "".join(f"{x:>13}" for x in row) for row in (first, second)]
    for fault in map(str, record.faults):
        found = [record.outcomes(fault, signal).caught for signal in signals]
        cells = ["-" if e is None else f"{e.value:.0%}" for e in found]
        lines.append(f"{fault:<17}" + "".join(f"{x:>13}" for x in cells))
    return "\n".join(lines)


def operating_points(record: Record, signal: str) -> list[tuple[float, float, float]]:
    """Multiple of the threshold, share caught in time and share of benign faults with an alarm."""
    found = []
    for multiple in MULTIPLES:
        parts = [record.outcomes(str(f), signal, multiple=multiple) for f in record.faults]
        o = Outcomes.pooled(parts)
        caught, benign = o.caught, o.benign_alarms
        if caught is not None and benign is not None:
            found.append((multiple, caught.value, benign.value))
    return found


def line_table(record: Record, multiples: Sequence[float] = (0.7, 1.0, 2.0, 5.0)) -> str:
    """Caught failures and benign alarms in percent while the line is multiplied."""
    heads = [f"line x {m:g}" for m in multiples]
    lines = [f"{record.plant:<25}" + "".join(f"{x:>14}" for x in heads)]
    for signal in SWEPT:
        points = {m: f"{a:.0%} / {b:.0%}" for m, a, b in operating_points(record, signal)}
        lines.append(f"{signal:<25}" + "".join(f"{points.get(m, '-'):>14}" for m in multiples))
    return "\n".join(lines)


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


def name_table(table: Mapping[str, Mapping[str, int]]) -> str:
    """A confusion table in percent of its rows; sensors by their own names, columns by `SHORT`.

    Examples
    --------
    >>> print(name_table({"sensor: tilt": {"sensor: tilt": 3, "not sure": 1}}))
                            tilt unsure
    tilt (4)                  75     25
    """
    columns = [c for c in next(iter(table.values())) if any(row[c] for row in table.values())]
    names = [c.removeprefix("sensor: ") for c in columns]
    lines = [f"{'':<21}" + "".join(f"{SHORT.get(c, c):>7}" for c in names)]
    for name, row in table.items():
        n = sum(row.values())
        cells = [f"{100 * row[c] / n:.0f}" if row[c] else "." for c in columns]
        label = f"{name.removeprefix('sensor: ')} ({n})"
        lines.append(f"{label:<21}" + "".join(f"{c:>7}" for c in cells))
    return "\n".join(lines)
