"""One alarm state machine per layer, and one for the fused score, fed batch by batch."""

from __future__ import annotations

import math
import os
import uuid
import warnings
from collections.abc import Sequence
from typing import Any, TypedDict

from deepdrift.alarms.config import ObserverConfig, State
from deepdrift.alarms.events import Event, Step
from deepdrift.alarms.fsm import DriftObserver
from deepdrift.alarms.plain import plain
from deepdrift.errors import StateError


class LayerStatus(TypedDict):
    """Drift of one layer (standard normal while all is well), slope per typical step, state."""

    drift: float
    slope: float
    state: State


class Status(dict[str, LayerStatus]):
    """Layer -> `LayerStatus`, in execution order; ``fused`` is that of the fused score.

    Attributes
    ----------
    fused : LayerStatus
    stream : str
        Unique name of the stream. State machines that start anew, are copied or forked have
        another one.
    count : int
        Readings of this stream so far, this one included.
    step : int or float
        Step of this reading, as the state machines took it.
    config : ObserverConfig
        The thresholds in force.
    """

    def __init__(
        self,
        layers: dict[str, LayerStatus],
        fused: LayerStatus,
        stream: str = "",
        count: int = 0,
        step: float = 0,
        config: ObserverConfig | None = None,
    ) -> None:
        super().__init__(layers)
        self.fused, self.stream, self.count, self.step = fused, stream, count, step
        self.config = config or ObserverConfig()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; a drift or slope that is not finite is null, and ``why_null`` says why.

        Examples
        --------
        >>> status, _ = Watch(["a"]).update([0.5], fused=9.0)
        >>> status.to_dict()["fused"]["state"], status.to_dict()["layers"]["a"]["drift"]
        ('ALERT', 0.5)
        """
        place = {"stream": self.stream, "count": self.count, "step": self.step}
        return plain(place | {"layers": dict(self), "fused": self.fused})


FUSED = "fused"


class Watch:
    """The observers of one monitored stream.

    Warns once if the drifts do not change at all for ``window_size`` steps: that is no state, and
    it is wrong.

    Parameters
    ----------
    layers : sequence of str
    config : ObserverConfig, optional
        Shared by all observers.

    Examples
    --------
    >>> watch = Watch(["a", "b"], ObserverConfig(theta_high=3.0))
    >>> status, alerts = watch.update([0.2, 4.5], fused=1.0)
    >>> [str(alert) for alert in alerts]
    ['ALERT [b]: threshold breach (4.5 >= 3.0)']
    >>> max(d["drift"] for d in status.values())
    4.5
    """

    def __init__(self, layers: Sequence[str], config: ObserverConfig | None = None) -> None:
        self.config = config or ObserverConfig()
        self._layers = tuple(layers)
        self._observers = [DriftObserver(self.config, name) for name in (*layers, FUSED)]
        self.count, self._same = 0, 0
        self._values: list[float] = []
        self._said = False
        self._name_stream()

    def _name_stream(self) -> None:
        self.stream, self._process = uuid.uuid4().hex[:16], os.getpid()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy goes its own way: another stream, with the count and history so far."""
        vars(self).update(state)
        self._name_stream()

    def update(
        self, drifts: Sequence[float], fused: float, step: Any = None
    ) -> tuple[Status, list[Event]]:
        """Feed the drifts of one batch; returns the status and what has just changed.

        Raises
        ------
        StateError
            Unless there is one number per layer. No observer has moved then.
        ObserverError
            For a step that does not increase. No observer has moved then either.
        """
        try:
            values = [float(v) for v in (*drifts, fused)]
        except (TypeError, ValueError) as error:
            raise StateError(f"drifts: expected numbers, got {drifts!r}, {fused!r}") from error
        if len(values) != len(self._observers):
            raise StateError(
                f"drifts: expected one per layer {list(self._layers)}, got {len(values) - 1}"
            )
        steps = [o.update(v, step) for o, v in zip(self._observers, values, strict=True)]
        self.count += 1
        if self._process != os.getpid():  # a fork is a copy too
            self._name_stream()
        *rows, total = map(_status, steps)
        layers, place = dict(zip(self._layers, rows, strict=True)), (self.stream, self.count)
        status = Status(layers, total, *place, steps[-1].step, self.config)
        self._look_at(values)
        return status, [s.event for s in steps if s.event is not None]

    def _look_at(self, values: list[float]) -> None:
        """Say once per stream what no state says: it is frozen."""
        self._same = self._same + 1 if values == self._values and self._same else 1
        self._values = values
        if not math.isfinite(sum(values)):  # that is a state
            return
        if self._same == self.config.window_size and not self._said:
            self._said = True
            warnings.warn(
                f"drift: exactly the same in every layer for {self._same} steps "
                f"({FUSED} {values[-1]:.1f}): the input is frozen, or the same batch comes again "
                "and again; look at the sensor",
                stacklevel=4,
            )


def _status(step: Step) -> LayerStatus:
    return {"drift": step.value, "slope": step.slope, "state": step.state}
