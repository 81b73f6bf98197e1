"""Replay the drifts of a flight record, under the recorded thresholds or others."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

from deepdrift.alarms.config import STATES, ObserverConfig
from deepdrift.alarms.events import Event
from deepdrift.alarms.replay import Trace, replay
from deepdrift.export.flight import Flight, counted, read_flight
from deepdrift.export.recorder import ExportError


@dataclass(frozen=True, eq=False)
class FlightReplay:
    """A flight replayed; prints as one sentence.

    Attributes
    ----------
    flight : Flight
    traces : tuple of tuple of Trace
        One row per stream, one trace per name of `FlightStream`: ``traces[-1][-1]`` is the fused
        drift of the last stream.
    """

    flight: Flight
    traces: tuple[tuple[Trace, ...], ...]

    @property
    def events(self) -> tuple[Event, ...]:
        """All events, stream by stream, in the order in which a monitor would have given them."""
        found = []
        for row in self.traces:
            order = {step: i for i, step in enumerate(row[0].steps.tolist())}
            events = [(order[e.step], k, e) for k, trace in enumerate(row) for e in trace.events]
            found += [e for _, _, e in sorted(events, key=lambda item: item[:2])]
        return tuple(found)

    @property
    def n_changed(self) -> int:
        """States that differ from the recorded ones, over all readings and names."""
        return sum(
            int((trace.states != stream.states[:, k]).sum())
            for stream, row in zip(self.flight.streams, self.traces, strict=True)
            for k, trace in enumerate(row)
        )

    def __str__(self) -> str:
        counts = Counter(str(e.state) for e in self.events if e.cause != "finite again")
        said = ", ".join(f"{counts[s]} x {s}" for s in STATES[1:])
        total = sum(stream.states.size for stream in self.flight.streams)
        missing = sum(stream.n_missing for stream in self.flight.streams)
        note = f" {counted(missing, 'reading')} missing in the record." if missing else ""
        return f"{said}; {self.n_changed} of {total} states differ from the recorded ones.{note}"


def replay_flight(
    flight: Flight | str | os.PathLike[str], config: ObserverConfig | None = None
) -> FlightReplay:
    """Run the recorded drifts through the alarm state machines again.

    Parameters
    ----------
    flight : Flight or path
    config : ObserverConfig, optional
        Other thresholds; by default the recorded ones, which give bit for bit what the live state
        machines gave if no reading is missing (`FlightStream.n_missing`).
    """
    if not isinstance(flight, Flight):
        flight = read_flight(flight)
    if not isinstance(config, ObserverConfig | None):
        raise ExportError(f"config: expected an ObserverConfig, got {type(config).__name__}")
    return FlightReplay(
        flight,
        tuple(
            tuple(
                replay(stream.drifts[:, k], config or stream.config, stream.steps, name)
                for k, name in enumerate(stream.names)
            )
            for stream in flight.streams
        ),
    )
