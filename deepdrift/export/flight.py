"""Read a flight record: its readings, and the streams of its alarm state machines."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.alarms.config import STATES, ObserverConfig
from deepdrift.alarms.watch import FUSED
from deepdrift.export.recorder import FORMAT, ExportError

_NAMES = {str(state) for state in STATES}


@dataclass(frozen=True, eq=False)
class FlightStream:
    """What one set of alarm state machines saw and said, in their order.

    Attributes
    ----------
    stream, monitor, reference : str
        Names of the stream, of the monitor, and digest of its reference.
    alpha : float or None
    config : ObserverConfig
        Thresholds in force.
    names : tuple of str
        The layers, and ``fused`` at the end.
    counts, steps, times : ndarray, shape (n,)
        Number within the stream from 1, step, and time of recording.
    drifts, states : ndarray, shape (n, K)
        A column per name.
    events : tuple of str
    """

    stream: str
    monitor: str
    reference: str | None
    alpha: float | None
    config: ObserverConfig
    names: tuple[str, ...]
    counts: NDArray[np.int64]
    steps: NDArray[Any]
    times: NDArray[np.datetime64]
    drifts: NDArray[np.float64]
    states: NDArray[np.str_]
    events: tuple[str, ...]

    @property
    def n_missing(self) -> int:
        """Readings that the state machines saw and the record does not hold."""
        return int(self.counts[-1]) - len(self.counts) if len(self.counts) else 0


@dataclass(frozen=True, eq=False)
class Flight:
    """A flight record; prints as one sentence.

    Attributes
    ----------
    readings : tuple of dict
        The lines of kind ``reading`` in the order of the file, ``p`` as an array and ``time`` as a
        datetime.
    streams : tuple of FlightStream
        In the order in which they begin.
    cut : tuple of int
        Numbers of lines that were cut off when a writer stopped; they are left out.
    """

    readings: tuple[dict[str, Any], ...]
    streams: tuple[FlightStream, ...]
    cut: tuple[int, ...]

    def flagged(self, alpha: float | None = None) -> tuple[int, int]:
        """Samples flagged and samples read: as recorded, or at another alpha from the p-values."""
        rows = [r for r in self.readings if "p" in r]
        n = sum(len(r["p"]) for r in rows)
        if alpha is None:
            return sum(len(r["flagged"]) for r in rows), n
        if not 0 < alpha < 1:
            raise ExportError(f"alpha: expected a rate between 0 and 1, got {alpha!r}")
        return sum(int((~(r["p"] > alpha + 1e-12)).sum()) for r in rows), n

    def __str__(self) -> str:
        found, n = self.flagged()
        cut = f" Cut off and left out: line {', '.join(map(str, self.cut))}." if self.cut else ""
        return (
            f"{counted(len(self.readings), 'reading')}, {found} of {n} samples flagged; "
            f"{counted(len(self.streams), 'stream')} of the alarm state machines.{cut}"
        )


def read_flight(path: str | os.PathLike[str]) -> Flight:
    """Read what a `FlightRecorder` wrote.

    Raises
    ------
    ExportError
        If there is no such file, or for a line that is no line of a flight record, with its
        number. Only a line that was cut off when its writer stopped is left out, and named in
        ``cut``.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ExportError(f"path: {str(path)!r} cannot be read ({error.strerror})") from error
    unfinished = lines.pop()  # empty if the last line is whole
    rows: list[tuple[int, dict[str, Any]]] = []
    broken: tuple[int, Exception] | None = None
    cut = []
    for number, line in enumerate([*lines, *([unfinished] if unfinished else [])], start=1):
        try:
            row = _row(line)
        except (ValueError, RecursionError) as error:
            if number > len(lines):
                cut.append(number)
            elif broken is None:
                broken = number, error
                continue
        else:
            if broken is not None and row["kind"] == "cut" and broken[0] == number - 1:
                cut.append(broken[0])
                broken = None
            rows.append((number, row))
        if broken is not None:
            break
    if broken is not None:
        raise ExportError(
            f"path: {path.name}, line {broken[0]} is no line of a flight record ({broken[1]}); "
            "restore the file, or delete this line"
        )
    return Flight(
        tuple(row for _, row in rows if row["kind"] == "reading"), _streams(path, rows), tuple(cut)
    )


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _row(line: bytes) -> dict[str, Any]:
    """One line, decoded and checked; raises ValueError with what is wrong."""
    row = json.loads(line, parse_constant=_constant)
    kind = row.get("kind") if isinstance(row, dict) else None
    try:
        if kind == "stream":
            if row["format"] != FORMAT:
                raise ValueError(f"expected format {FORMAT}, found {row['format']!r}")
            row["config"] = _config(row["config"])
            row["layers"] = tuple(map(str, row["layers"]))
        elif kind == "reading":
            row["time"] = datetime.fromisoformat(row["time"])
            if "p" in row:
                row["p"] = np.array([_decode(p) for p in row["p"]])
                row["flagged"] = [int(i) for i in row["flagged"]]
            if "stream" in row:
                row["drift"] = {k: _decode(v) for k, v in row["drift"].items()}
                row["fused"]["drift"] = _decode(row["fused"]["drift"])
                if not {row["fused"]["state"], *row["state"].values()} <= _NAMES:
                    raise ValueError("unknown state")
                if not isinstance(row["step"], int | float) or not isinstance(row["count"], int):
                    raise ValueError("step and count must be numbers")
        elif kind != "cut":
            raise ValueError(f"kind {kind!r} instead of stream, reading or cut")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{kind} line: {type(error).__name__} {error}") from error
    return row


def _config(settings: dict[str, Any]) -> ObserverConfig:
    """Settings as recorded; those without ``two_sided`` are of alarms that looked upwards only."""
    if "two_sided" not in settings:
        floor = settings.pop("theta_floor", None)
        if floor is not None:
            raise ValueError(
                f"theta_floor {floor:g} cannot be replayed; alarms now mirror theta_high"
            )
        settings = settings | {"two_sided": False}
    return ObserverConfig(**settings)


def _decode(value: Any) -> float:
    if isinstance(value, bool) or (isinstance(value, str) and value not in ("nan", "inf", "-inf")):
        raise ValueError(f"expected a number, nan, inf or -inf, found {value!r}")
    return float(value)


def _streams(path: Path, rows: Sequence[tuple[int, dict[str, Any]]]) -> tuple[FlightStream, ...]:
    heads = {row["stream"]: row for _, row in reversed(rows) if row["kind"] == "stream"}
    parts: dict[str, dict[int, dict[str, Any]]] = {}
    for number, row in rows:
        if row["kind"] != "reading" or "stream" not in row:
            continue
        head, part = heads.get(row["stream"]), parts.setdefault(row["stream"], {})
        problem = ""
        if head is None:
            problem = "belongs to a stream whose first line is missing"
        elif tuple(row["drift"]) != head["layers"] or tuple(row["state"]) != head["layers"]:
            problem = f"has other layers than its stream, {list(head['layers'])}"
        elif row["count"] in part:
            problem = f"is a second reading number {row['count']} of its stream"
        if problem:
            raise ExportError(f"path: {path.name}, line {number} {problem}")
        part[row["count"]] = row
    return tuple(_stream(heads[name], part) for name, part in parts.items())


def _stream(head: dict[str, Any], part: dict[int, dict[str, Any]]) -> FlightStream:
    rows = [part[count] for count in sorted(part)]
    times = [row["time"].replace(tzinfo=None) for row in rows]
    return FlightStream(
        *(head[k] for k in ("stream", "monitor", "reference", "alpha", "config")),
        names=(*head["layers"], FUSED),
        counts=np.array(sorted(part), dtype=np.int64),
        steps=np.array([row["step"] for row in rows]),
        times=np.array(times, dtype="datetime64[us]"),
        drifts=np.array([[*row["drift"].values(), row["fused"]["drift"]] for row in rows]),
        states=np.array([[*row["state"].values(), row["fused"]["state"]] for row in rows]),
        events=tuple(event for row in rows for event in row["events"]),
    )


def counted(n: int, what: str) -> str:
    """A number and its noun: ``1 reading``, ``2 readings``."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"
