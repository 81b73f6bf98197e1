"""The live monitor: play a recorded stream, see lamp, trace, layers and log, turn every knob."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepdrift.alarms.config import ObserverConfig, State
from deepdrift.alarms.events import Event
from deepdrift.alarms.replay import Trace, replay
from deepdrift.alarms.watch import FUSED
from deepdrift.lab.alarms import figures as alarm_plots
from deepdrift.lab.alarms.streams import DriftStream
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import (
    ExplorerError,
    choice_control,
    ipywidgets,
    number_control,
    traitlets,
)
from deepdrift.lab.bench.explorer import Explorer

DETECTORS = ("slope", "ewma", "cusum", "page-hinkley")
N_LOG_LINES = 7
N_REMEMBERED = 8  # settings whose replay is kept, so that moving the step or going back is quick


@dataclass(frozen=True, eq=False)
class Replayed:
    """A stream under one setting: a trace per layer and one of the fused drift."""

    config: ObserverConfig
    layers: tuple[Trace, ...]
    fused: Trace
    events: tuple[Event, ...]

    @classmethod
    def of(cls, stream: DriftStream, config: ObserverConfig) -> Replayed:
        """Run every series of a stream through its own state machine."""
        rows = zip(stream.layers, stream.drifts.T, strict=True)
        layers = tuple(replay(values, config, name=name) for name, values in rows)
        fused = replay(stream.fused, config, name=FUSED)
        events = sorted((e for t in (*layers, fused) for e in t.events), key=lambda e: e.step)
        return cls(config, layers, fused, tuple(events))


def describe(fused: Trace, onset: int | None, step: int) -> str:
    """What a guard knows after ``step`` and what only the recording knows, in one sentence.

    Examples
    --------
    >>> trace = replay([0.0, 1.0, 0.5, 4.1], ObserverConfig(theta_high=3.0))
    >>> print(describe(trace, onset=2, step=3))
    ALERT since step 3 (fused drift 4.1 >= 3.0); the shift began at step 2: delay 1; 0 false \
alarms before.
    >>> print(describe(trace, onset=2, step=1))
    NORMAL at step 1 (fused drift 1.00); the shift has not begun; 0 false alarms so far.

    An alert that ended and came back is two things:

    >>> trace = replay([0.0, 4.0, 0.5, 4.2], ObserverConfig(theta_high=3.0))
    >>> print(describe(trace, onset=1, step=3))
    ALERT again since step 3 (fused drift 4.2 >= 3.0); the shift began at step 1; first alert at \
step 1, delay 0, ended at step 2; 0 false alarms before.
    """
    known = [e for e in fused.events if e.step <= step]
    state, value = State(str(fused.states[step])), fused.values[step]
    raised = [int(s) for s in fused.onsets(State.ALERT) if s <= step]
    before = [s for s in raised if onset is None or s < onset]
    after = raised[len(before) :]
    if state == State.NORMAL:
        now = f"NORMAL at step {step} (fused drift {value:.2f})"
    else:
        again = " again" if state == State.ALERT and len(after) > 1 else ""
        now = f"{state}{again} since step {known[-1].step} ({_reason(known[-1])})"
    count = f"{len(before)} false alarm{'' if len(before) == 1 else 's'}"
    if onset is None:
        return f"{now}; nothing shifts in this stream; {count} so far."
    if step < onset:
        return f"{now}; the shift has not begun; {count} so far."
    if onset > 0 and fused.states[onset - 1] == State.ALERT:
        delay = ": an alert stood already, so there is no delay to measure"
    elif not after:
        delay = f": no alert in the {step - onset + 1} steps since"
    elif state == State.ALERT and known[-1].step == after[0]:
        delay = f": delay {after[0] - onset}"
    else:
        delay = f"; first alert at step {after[0]}, delay {after[0] - onset}"
        left = [e for e in known if e.step > after[0] and e.previous == State.ALERT]
        if left and left[0].state != State.INVALID:
            delay += f", ended at step {left[0].step}"
    return f"{now}; the shift began at step {onset}{delay}; {count} before."


def _reason(event: Event) -> str:
    if event.state == State.ALERT and event.cause != "finite again":
        return "fused drift " + event.detail.removeprefix(f"{event.cause} (").removesuffix(")")
    if event.state == State.INVALID:
        return f"the fused drift is {event.value}"
    return f"fused drift {event.value:.2f}, {event.detail.replace(' (', ': ').rstrip(')')}"


class LiveMonitor(Explorer):
    """Play recorded streams through the alarm state machines and turn every parameter.

    Controls: ``stream``, ``step``, ``theta_high``, ``theta_low``, ``theta_slope``,
    ``window_size``, ``raise_after``, ``clear_after``, ``detector``. A moved parameter re-runs the
    whole recording. The picture holds what is known after ``step``: left the fused drift with its
    states and thresholds, right the drift of every layer.

    Parameters
    ----------
    streams : DriftStream, or mapping of str to DriftStream
        One recording, or several of equal length to choose from.
    config : ObserverConfig, optional
        Where the controls start; what has no control keeps its value.
    step : int
        Where the step slider starts; by default 0.

    Attributes
    ----------
    play : ipywidgets.Play
        Moves the step.
    lamp, log : ipywidgets.HTML
        The state as shape and word (CSS class ``dd-lamp``); the alert log (``dd-log``).

    Examples
    --------
    >>> fused = np.array([0.0, 0.5, 0.2, 3.4, 4.0, 1.0])
    >>> stream = DriftStream(fused[:, None] / 2, fused, fused > 3, 3, ("stem",))
    >>> app = LiveMonitor(stream)
    >>> print(app.set(step=4).summary())
    ALERT since step 3 (fused drift 3.4 >= 3.0); the shift began at step 3: delay 0; 0 false \
alarms before.
    >>> app.log_lines()
    ['step 3 ALERT [fused]: threshold breach (3.4 >= 3.0)']
    """

    _panels = (2.5, 1.0)

    def __init__(
        self,
        streams: DriftStream | Mapping[str, DriftStream],
        config: ObserverConfig | None = None,
        *,
        step: int = 0,
    ) -> None:
        single = isinstance(streams, DriftStream)
        self._streams = {"recorded": streams} if single else dict(streams)
        lengths = {len(s) for s in self._streams.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise ExplorerError(
                f"streams: expected one or several of equal length >= 1, got {sorted(lengths)}"
            )
        if len({s.layers for s in self._streams.values()}) != 1:
            raise ExplorerError("streams: expected the same layers in all of them")
        self._base = config or ObserverConfig()
        self._cache: dict[tuple[Any, ...], Replayed] = {}
        base, self._last = self._base, lengths.pop() - 1
        drifts = np.concatenate(
            [np.column_stack([s.drifts, s.fused]).ravel() for s in self._streams.values()]
        )
        finite = drifts[np.isfinite(drifts)]
        ends = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        self._limits = (float(min(ends[0], -2.5)) - 0.3, float(max(ends[1], 4.0)) + 0.5)
        controls = {"step": number_control("step", min(step, self._last), 0, self._last, 1)}
        if not single:
            controls["stream"] = choice_control("stream", list(self._streams))
        high, low, slope = base.theta_high, base.theta_low, base.theta_slope
        bottom = (0.1, 0.1) if base.two_sided else (0.0, -2.0)
        controls |= {
            "theta_high": number_control("theta_high", high, bottom[0], max(8.0, high), 0.1),
            "theta_low": number_control("theta_low", low, min(bottom[1], low), max(8.0, low), 0.1),
            "theta_slope": number_control("theta_slope", slope, 0.0, max(0.5, slope), 0.01),
            "window_size": number_control("window_size", base.window_size, 5, 60, 1),
            "raise_after": number_control("raise_after", base.raise_after, 1, 10, 1),
            "clear_after": number_control("clear_after", base.clear_after, 1, 20, 1),
            "detector": choice_control("early warning", DETECTORS),
        }
        controls["detector"][0].value = base.detector
        self.lamp, self.log = ipywidgets.HTML(), ipywidgets.HTML()
        for widget, name in ((self.lamp, "dd-lamp"), (self.log, "dd-log")):
            widget.add_class(name)
        self.play = ipywidgets.Play(
            value=min(step, self._last), min=0, max=self._last, step=1, interval=150,
            description="play",
        )  # fmt: skip
        self._start(controls)
        traitlets.link((self.play, "value"), (self.step, "value"))
        self._arrange({name: row for name, (_, row) in controls.items()})

    def _arrange(self, rows: dict[str, Any]) -> None:
        """Player on top, two columns of parameters, then words, picture and log."""
        for name, row in rows.items():
            if name not in ("step", "stream", "detector"):
                row.children[1].layout.width = "12em"
        first = ["theta_high", "theta_low", "theta_slope", "window_size"]
        second = [
            "raise_after",
            "clear_after",
            "detector",
            *(["stream"] if "stream" in rows else []),
        ]
        columns = [ipywidgets.VBox([rows[n] for n in names]) for names in (first, second)]
        self.view.children = (
            ipywidgets.HBox([self.play, rows["step"]]),
            ipywidgets.HBox(columns),
            self.lamp,
            self.status,
            self.image,
            self.log,
        )
        self.view.add_class("dd-live")

    @property
    def config(self) -> ObserverConfig:
        """Parameters as the controls stand.

        Raises
        ------
        ObserverError
            If theta_low lies above theta_high.
        """
        return self._config(**self.values)

    def log_lines(self, **values: Any) -> list[str]:
        """Everything logged up to the current step, oldest first; empty for impossible settings.

        With values: there, and nothing moves.
        """
        values = self._values_at(values)
        run = self._run(**values)
        events = () if run is None else run.events
        return [f"step {e.step} {e}" for e in events if e.step <= values["step"]]

    def _config(self, **values: Any) -> ObserverConfig:
        kept = {k: v for k, v in values.items() if k not in ("step", "stream")}
        rest = {k: getattr(self._base, k) for k in self._base.__dataclass_fields__}
        return ObserverConfig(**(rest | kept))

    def _run(self, **values: Any) -> Replayed | None:
        """The recording under these settings; the latest settings are remembered."""
        if values["theta_low"] > values["theta_high"]:
            return None
        key = tuple(values[name] for name in self._controls if name != "step")
        if key not in self._cache:
            if len(self._cache) == N_REMEMBERED:
                del self._cache[next(iter(self._cache))]
            stream = self._streams[values.get("stream", next(iter(self._streams)))]
            self._cache[key] = Replayed.of(stream, self._config(**values))
        return self._cache[key]

    def _stream(self, stream: str | None) -> DriftStream:
        return self._streams[next(iter(self._streams)) if stream is None else stream]

    def _sentence(self, step: int, stream: str | None = None, **values: Any) -> str:
        run = self._run(step=step, **({} if stream is None else {"stream": stream}), **values)
        if run is None:
            return (
                f"No monitor runs with theta_low {values['theta_low']:.3g} above theta_high "
                f"{values['theta_high']:.3g}: an alert could never end above the value that raises "
                "it. Lower theta_low or raise theta_high."
            )
        return describe(run.fused, self._stream(stream).onset, step)

    def _refresh(self, _change: Any = None) -> None:
        if self._quiet:
            return
        super()._refresh(_change)
        values = self.values
        run = self._run(**values)
        if run is None:
            symbol, word, colour = "?", "NO MONITOR", figures.GREY
        else:
            state = State(str(run.fused.states[values["step"]]))
            _, symbol, colour = alarm_plots.LOOKS[state]
            word = str(state)
        self.lamp.value = (
            f"<span style='color:{colour};font-size:2em' aria-hidden='true'>{symbol}</span> "
            f"<b style='font-size:1.3em'>{word}</b>"
        )
        lines = self.log_lines()
        shown = [f"({len(lines) - N_LOG_LINES} earlier lines)"] if len(lines) > N_LOG_LINES else []
        shown += lines[-N_LOG_LINES:] or ["no alerts so far"]
        body = html.escape("\n".join(shown))
        self.log.value = f"<pre role='log' style='line-height:1.3'>{body}</pre>"

    def _wipe(self) -> None:
        """Remove what was drawn; the axes and their ticks, slow to make, are the same for ever."""
        for ax in self._axes:
            for artist in [*ax.lines, *ax.collections, *ax.patches]:
                artist.remove()
        if not self._axes[0].get_xlabel():
            left, right = self._axes
            left.set(xlabel="step", ylabel="fused drift")
            left.set(xlim=(0, self._last + 1), ylim=self._limits)
            right.set(xlabel="drift", title="layers now", xlim=self._limits)
            layers = next(iter(self._streams.values())).layers
            right.set_yticks(range(len(layers)), layers, fontsize=9)
            right.set_ylim(len(layers) - 0.4, -0.6)

    def _draw(self, axes: list[Any], step: int, stream: str | None = None, **values: Any) -> None:
        left, right = axes
        recorded = self._stream(stream)
        run = self._run(step=step, **({} if stream is None else {"stream": stream}), **values)
        if run is None:
            left.plot(recorded.fused[: step + 1], color=figures.GREY, linewidth=1.1)
            left.set_title("theta_low above theta_high: no monitor runs")
            return
        known = _until(run.fused, step)
        onset = recorded.onset if recorded.onset is not None and step >= recorded.onset else None
        alarm_plots.draw_trace(left, known, run.config, onset)
        alarm_plots.draw_latest(left, known, self._limits)
        left.set_title(f"step {step}: {known.states[-1]}")
        states = [t.states[step] for t in run.layers]
        alarm_plots.draw_layer_bars(right, recorded.drifts[step], states, run.config, self._limits)


def _until(trace: Trace, step: int) -> Trace:
    """What was known after a step."""
    cut = slice(step + 1)
    return Trace(
        trace.steps[cut], trace.values[cut], trace.states[cut], trace.slopes[cut],
        trace.slope_errors[cut], trace.statistics[cut],
        tuple(e for e in trace.events if e.step <= step),
    )  # fmt: skip
