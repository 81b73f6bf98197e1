"""The flight recorder: what a monitor said, as JSON lines that can be replayed.

A line is one JSON object, written by one call to the operating system in append mode: threads and
processes may share a file, and a crash can cut only the last line. Whoever opens the file next
notes the cut on a line of its own, and `read_flight` knows what that means. Numbers are written so
that reading gives the same bits; NaN and infinity are the strings "nan", "inf" and "-inf".

=========== ====================================================================================
kind        fields
=========== ====================================================================================
stream      format, time, monitor, stream, layers, config, reference, alpha: a stream of the alarm
            state machines begins
reading     time, monitor, reference, alpha, n; of a `Reading`: flagged (positions), p,
            invalid_layers; of a `Status`: stream, count, step, drift, state, fused, events
cut         the line before was cut off when an earlier writer stopped
=========== ====================================================================================
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepdrift.alarms.events import Event
from deepdrift.alarms.watch import Status
from deepdrift.errors import DeepDriftError
from deepdrift.monitor.monitor import DeepDriftMonitor
from deepdrift.monitor.reference import Reference
from deepdrift.monitor.results import Reading
from deepdrift.states.storage import read_tensors

FORMAT = "deepdrift-flight-1"
START = b'{"kind":"'  # every line begins so, even one that was cut off soon after


class ExportError(DeepDriftError, ValueError):
    """Something that cannot be recorded or exported, or a record that cannot be read."""


def reference_digest(source: DeepDriftMonitor | Reference | str | os.PathLike[str]) -> str:
    """Sixteen hexadecimal digits that name a reference: a monitor's, or that of a saved file.

    The same for a monitor, the file it saved and the monitor that loaded it; alpha does not enter.

    Raises
    ------
    NotFittedError, ReferenceFileError
        For a monitor that has learned nothing, and for a file that holds no reference.
    """
    if isinstance(source, DeepDriftMonitor):
        source = source.reference
    elif not isinstance(source, Reference):
        source, _ = Reference.load(source)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reference.safetensors"
        source.save(path)
        _, header = read_tensors(path, what="reference", again="calibrate")
    return str(header["sha256"])[:16]


class FlightRecorder:
    """Writes what a monitor said, one JSON line per reading; safe to share between threads.

    Parameters
    ----------
    path : path
        Appended to, and made if it is not there. Its folder must exist.
    source : DeepDriftMonitor or str, optional
        The monitor, whose reference digest and alpha are then on every line and follow a new
        calibration; or a digest alone (`reference_digest`).
    name : str, optional
        Of the monitor, on every line; by default its ``arch_name``.
    sync : bool
        Wait until each line is on the disk, not only with the operating system.

    Raises
    ------
    ExportError
        If the file cannot be opened, or exists and is no flight record: it is left alone then.

    Examples
    --------
    >>> from deepdrift.alarms.watch import Watch
    >>> from deepdrift.export import read_flight
    >>> watch = Watch(["a"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with FlightRecorder(Path(folder) / "flight.jsonl", "0123456789abcdef") as flight:
    ...         flight.write(None, *watch.update([0.25], fused=3.5))
    ...     print(read_flight(flight.path))
    1 reading, 0 of 0 samples flagged; 1 stream of the alarm state machines.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        source: DeepDriftMonitor | str | None = None,
        *,
        name: str | None = None,
        sync: bool = False,
    ) -> None:
        if not isinstance(source, DeepDriftMonitor | str | None):
            raise ExportError(
                "source: expected a DeepDriftMonitor or a digest (deepdrift.export."
                f"reference_digest), got {type(source).__name__}"
            )
        self._monitor = source if isinstance(source, DeepDriftMonitor) else None
        self._calibration: Any = None
        self._digest = source if isinstance(source, str) else None
        self.name = name if name is not None else getattr(self._monitor, "arch_name", "")
        self.path, self._sync = Path(path), sync
        self._lock, self._torn = threading.Lock(), False
        self._streams: set[str] = set()  # whose first line is written
        self._file: int | None = self._open()

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        try:
            file = os.open(self.path, flags, 0o666)
        except OSError as error:
            raise ExportError(
                f"path: {str(self.path)!r} cannot be written ({error.strerror}); give a file in a "
                "folder that exists and is yours"
            ) from error
        size = os.fstat(file).st_size
        if size:
            os.lseek(file, 0, os.SEEK_SET)
            start = os.read(file, len(START))
            os.lseek(file, -1, os.SEEK_END)
            self._torn = os.read(file, 1) != b"\n"
            if start != START[: len(start)]:
                os.close(file)
                raise ExportError(
                    f"path: {str(self.path)!r} exists and is no flight record; give another name"
                )
        return file

    def write(
        self,
        reading: Reading | None = None,
        status: Status | None = None,
        events: Sequence[Event] = (),
        *,
        n: int | None = None,
    ) -> None:
        """Append one line.

        Parameters
        ----------
        reading : Reading, optional
            Of `DeepDriftMonitor.read`.
        status, events : Status, sequence of Event, optional
            Of `DeepDriftMonitor.step` or a `Gather` window. Write every status of a stream, or
            the replay cannot tell what the state machines saw.
        n : int, optional
            Samples behind the status where there is no reading.

        Raises
        ------
        ExportError
            For other things than these, and after `close`.
        OSError
            If the disk is full. The next line then says that one was cut.
        """
        if not isinstance(reading, Reading | None):
            raise ExportError(f"reading: expected a Reading, got {type(reading).__name__}")
        if not isinstance(status, Status | None):
            raise ExportError(f"status: expected a Status, got {type(status).__name__}")
        if reading is None and status is None:
            raise ExportError("reading, status: expected at least one of them, got None twice")
        fields: dict[str, Any] = {"n": len(reading.score) if reading is not None else n}
        if reading is not None:
            fields["flagged"] = reading.flagged.nonzero().flatten().tolist()
            fields["p"] = [encode(p) for p in reading.p_values.tolist()]
            fields["invalid_layers"] = list(reading.invalid_layers)
        if status is not None:
            fields |= {"stream": status.stream, "count": status.count, "step": status.step}
            fields["drift"] = {k: encode(row["drift"]) for k, row in status.items()}
            fields["state"] = {k: str(row["state"]) for k, row in status.items()}
            fused = status.fused
            fields["fused"] = {"drift": encode(fused["drift"]), "state": str(fused["state"])}
            fields["events"] = [str(event) for event in events]
        with self._lock:
            if self._file is None:
                raise ExportError("flight recorder: it is closed; make a new one to go on")
            about = self._about()
            if status is not None and status.stream not in self._streams:
                self._line("stream", {"format": FORMAT} | about | _head(status))
                self._streams.add(status.stream)
            self._line("reading", about | fields)

    def close(self) -> None:
        """Close the file; may be called twice."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def __enter__(self) -> FlightRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _about(self) -> dict[str, Any]:
        monitor = self._monitor
        if monitor is not None and monitor.calibration is not self._calibration:
            self._digest, self._calibration = reference_digest(monitor), monitor.calibration
        return {
            "time": datetime.now(UTC).isoformat(timespec="microseconds"),
            "monitor": self.name,
            "reference": self._digest,
            "alpha": None if monitor is None else monitor.alpha,
        }

    def _line(self, kind: str, fields: dict[str, Any]) -> None:
        if self._torn:
            self._write(b"\n" + _dump({"kind": "cut"}))
        self._write(_dump({"kind": kind} | fields))
        if self._sync:
            os.fsync(self._file)

    def _write(self, line: bytes) -> None:
        self._torn = True  # until all of it is written
        done = os.write(self._file, line)
        while done < len(line):  # a full disk, mostly: the next call raises
            done += os.write(self._file, line[done:])
        self._torn = False


def encode(value: float) -> float | str:
    """A float as JSON can hold it: the same bits, or one of the words nan, inf, -inf."""
    return value if math.isfinite(value) else repr(float(value))


def _head(status: Status) -> dict[str, Any]:
    config = {k: encode(v) if isinstance(v, float) else v for k, v in vars(status.config).items()}
    return {"stream": status.stream, "layers": list(status), "config": config}


def _dump(fields: dict[str, Any]) -> bytes:
    text = json.dumps(fields, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii") + b"\n"
