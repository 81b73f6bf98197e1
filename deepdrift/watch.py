"""One alarm state machine per layer, and one for the fused score, fed batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from deepdrift.fsm import DriftObserver, Event, ObserverConfig, State, Step


class LayerStatus(TypedDict):
    """Drift of one layer (standard normal while all is well), its slope per step, its state."""

    drift: float
    slope: float
    state: State


class Status(dict[str, LayerStatus]):
    """Layer -> `LayerStatus`, in execution order; ``fused`` is that of the fused score."""

    def __init__(self, layers: dict[str, LayerStatus], fused: LayerStatus) -> None:
        super().__init__(layers)
        self.fused = fused


FUSED = "fused"


class Watch:
    """The observers of one monitored stream.

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
        self._observers = {name: DriftObserver(self.config, name) for name in (*layers, FUSED)}

    def update(
        self, drifts: Sequence[float], fused: float, step: int | None = None
    ) -> tuple[Status, list[Event]]:
        """Feed the drifts of one batch; returns the status and what has just changed."""
        observers = self._observers.values()
        values = [*drifts, fused]
        steps = [o.update(v, step) for o, v in zip(observers, values, strict=True)]
        rows = {name: _status(s) for name, s in zip(self._observers, steps, strict=True)}
        total = rows.pop(FUSED)
        return Status(rows, total), [s.event for s in steps if s.event is not None]


def _status(step: Step) -> LayerStatus:
    return {"drift": step.value, "slope": step.slope, "state": step.state}
