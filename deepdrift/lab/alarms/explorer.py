"""The live monitor: play a recorded stream, see images, lamp, trace, layers and log."""

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
from deepdrift.lab.alarms.sentences import describe
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
N_LOG_LINES = 3
TIGHT = "<style>.dd-live .dd-status p { line-height: 1.35; margin: 2px 0 }</style>"
MORE = ("theta_slope", "window_size", "raise_after", "clear_after", "detector")
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


class LiveMonitor(Explorer):
    """Play recorded streams through the alarm state machines and turn every parameter.

    Controls: ``stream``, ``step``, ``theta_high``, ``theta_low``; behind the button "more"
    ``theta_slope``, ``window_size``, ``raise_after``, ``clear_after``, ``detector``. A moved
    parameter re-runs the whole recording. The picture holds what is known after ``step``: the fused
    drift with its states and thresholds, the drift of every layer, and the images of the batch, if
    the stream has any.

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
    ALERT since step 3 (fused drift 3.4 >= 3.0). It is the first since the shift began at step 3: \
delay 0. False alarms before: 0.
    >>> app.log_lines()
    ['step 3 ALERT [fused]: threshold breach (3.4 >= 3.0)']
    """

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
        shown = all(s.pictures is not None for s in self._streams.values())
        self._panels = (2.4, 1.0, 0.85) if shown else (2.5, 1.0)
        controls = {} if single else {"stream": choice_control("stream", list(self._streams))}
        controls["step"] = number_control("step", min(step, self._last), 0, self._last, 1)
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
            value=min(step, self._last), min=0, max=self._last, step=1, interval=150
        )
        self._start(controls, more=MORE)
        traitlets.link((self.play, "value"), (self.step, "value"))
        self._arrange({name: row for name, (_, row) in controls.items()})

    def _arrange(self, rows: dict[str, Any]) -> None:
        """Two rows of controls, then lamp, words and log beside each other, then the picture."""
        first, rest, status, image = self.view.children
        rows["step"].children = (self.play, *rows["step"].children)
        host = rows["stream" if "stream" in rows else "step"]
        host.children = (*host.children, self.more)
        first.children = [row for name, row in rows.items() if name not in MORE]
        for row in rest.children:  # three beside each other
            row.layout.width = "264px"
        for widget, width in ((self.lamp, 110), (status, 360), (self.log, 322)):
            widget.layout.width, widget.layout.flex = f"{width}px", "0 0 auto"
        words = ipywidgets.HBox([self.lamp, status, self.log], layout={"min_height": "78px"})
        self.view.children = (first, rest, words, image)
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
            f"{TIGHT}<span "
            f"style='color:{colour};font-size:1.6em' aria-hidden='true'>{symbol}</span> "
            f"<b style='font-size:1.1em'>{word}</b>"
        )
        lines = self.log_lines()
        shown = [f"({len(lines) - N_LOG_LINES} earlier lines)"] if len(lines) > N_LOG_LINES else []
        shown += lines[-N_LOG_LINES:] or ["no alerts so far"]
        body = html.escape("\n".join(shown))
        self.log.value = f"<pre role='log' style='font-size:10px;line-height:1.4'>{body}</pre>"

    def _wipe(self) -> None:
        """Remove what was drawn; the axes and their ticks, slow to make, are the same for ever."""
        for ax in self._axes:
            for artist in [*ax.lines, *ax.collections, *ax.patches, *ax.texts, *ax.images]:
                artist.remove()
        if not self._axes[0].get_xlabel():
            left, right, *seen = self._axes
            if seen:  # room for the names of the layers
                left.get_gridspec().update(wspace=0.42)
                self._figure.subplots_adjust()  # moves the axes
            left.set(xlabel="step", ylabel="fused drift")
            left.set(xlim=(0, self._last + 1), ylim=self._limits)
            right.set(xlabel="drift", title="layers now", xlim=self._limits)
            layers = next(iter(self._streams.values())).layers
            right.set_yticks(range(len(layers)), layers, fontsize=8.5)
            right.set_ylim(len(layers) - 0.4, -0.6)
            for ax in seen:
                ax.set_axis_off()
                ax.set_title("seen now", fontsize=11)

    def _draw(self, axes: list[Any], step: int, stream: str | None = None, **values: Any) -> None:
        left, right, *seen = axes
        recorded = self._stream(stream)
        for ax in seen:
            alarm_plots.draw_batch(ax, recorded.pictures[step])
        run = self._run(step=step, **({} if stream is None else {"stream": stream}), **values)
        if run is None:
            left.plot(recorded.fused[: step + 1], color=figures.GREY, linewidth=1.1)
            left.set_title("theta_low above theta_high: no monitor runs")
            return
        known = _until(run.fused, step)
        onset = recorded.onset if recorded.onset is not None and step >= recorded.onset else None
        alarm_plots.draw_trace(left, known, run.config, onset)
        alarm_plots.draw_names(left, run.config, onset)
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
