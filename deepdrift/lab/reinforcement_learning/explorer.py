"""Two explorers: when would you have stopped, and what line and state machine do to outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from deepdrift.alarms.config import ObserverConfig, State
from deepdrift.alarms.replay import Trace as Replay
from deepdrift.alarms.replay import replay
from deepdrift.lab.bench.controls import (
    ExplorerError,
    choice_control,
    number_control,
    toggle_control,
)
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.bench.figures import GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION
from deepdrift.lab.reinforcement_learning import figures
from deepdrift.lab.reinforcement_learning.outcomes import OUTCOMES, Outcomes
from deepdrift.lab.reinforcement_learning.signals import first_above
from deepdrift.lab.reinforcement_learning.sketches import draw_scene
from deepdrift.lab.reinforcement_learning.traces import TRACED, Trace

SHADES = {State.WARNING: "#fbf7c4", State.ALERT: "#f0e442"}  # no colour of an outcome


class Scrubber(Explorer):
    """Go through an episode, stop it where you would, and only then see the monitor.

    Left: the plant at ``step``, drawn from its true state. Middle: the true margin so far. Right,
    once ``stop`` is ticked: the signal over its threshold. The tick also locks the step, names the
    fault and compares both delays; another episode takes it off again.

    Parameters
    ----------
    episodes : mapping of str to Trace
        Names that do not give the fault away.
    thresholds : mapping of str to float
        Plant -> threshold of ``signal``.
    signal : str
        Of `traces.TRACED`.
    """

    _panels = (1.25, 1.0, 1.0)

    def __init__(
        self,
        episodes: Mapping[str, Trace],
        thresholds: Mapping[str, float],
        signal: str = "hidden innovation",
    ) -> None:
        if not episodes:
            raise ExplorerError("episodes: expected at least one, got none")
        lacking = {t.plant for t in episodes.values()} - set(thresholds)
        if lacking:
            raise ExplorerError(f"thresholds: expected one for {', '.join(sorted(lacking))}")
        if signal not in TRACED:
            raise ExplorerError(f"signal: expected one of {', '.join(TRACED)}, got {signal!r}")
        self._episodes, self._signal = dict(episodes), signal
        self._lines = dict(thresholds)
        longest = max(map(len, episodes.values()))
        self._start(
            {
                "episode": choice_control("episode", list(episodes)),
                "stop": toggle_control("I would stop here"),
                "step": number_control("step", 0, 0, longest, 1),
            }
        )
        self.episode.observe(self._begin, names="value")
        self.stop.observe(self._lock, names="value")

    def _begin(self, _change: Any) -> None:
        if not self._quiet:  # a hand chose another episode; `set` says all at once
            self.set(stop=False, step=0)

    def _anew(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Another episode begins at step 0, not stopped, unless the values say otherwise."""
        if values.get("episode", self.values["episode"]) == self.values["episode"]:
            return dict(values)
        return {"stop": False, "step": 0, **values}

    def set(self, **values: Any) -> Scrubber:
        """As any explorer; another episode begins at step 0 unless a step is given."""
        super().set(**self._anew(values))
        return self

    def _values_at(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return super()._values_at(self._anew(values))

    def _lock(self, change: Any) -> None:
        """A decision is a decision."""
        self.step.disabled = change["new"]

    def alarm(self, episode: str) -> int:
        """Observation of the first alarm, -1 for none."""
        trace = self._episodes[episode]
        line = self._lines[trace.plant]
        return int(first_above(trace.scores[self._signal][None], line)[0])

    def _sentence(self, episode: str, stop: bool, step: int) -> str:
        trace = self._episodes[episode]
        over = step >= len(trace)
        if not stop:
            now = min(step, len(trace))
            end = "control is lost" if trace.lost >= 0 else "it is over, and nothing was lost"
            return (
                f"{episode}, step {now}: true margin {trace.margin[now]:.2f}"
                + (f"; {end}." if over else ". Would you stop here?")
            )  # fmt: skip
        return f"{_truth(trace)} {_who('You', step, trace)} {self._monitor(episode)}"

    def _monitor(self, episode: str) -> str:
        return _who("The monitor", self.alarm(episode), self._episodes[episode])

    def _draw(self, axes: list[Any], episode: str, stop: bool, step: int) -> None:
        scene, margin, score = axes
        trace = self._episodes[episode]
        now = min(step, len(trace))
        broken = stop and trace.fault and now >= trace.onset
        draw_scene(scene, trace.plant, trace.states, now, ORANGE if broken else INK)
        scene.set(xticks=[], yticks=[], title=f"step {now}")
        for spine in scene.spines.values():
            spine.set_visible(False)
        longest = max(len(t) for t in self._episodes.values() if t.plant == trace.plant)
        for ax in (margin, score):  # an axis that tells nothing about this episode's end
            ax.set_xlim(0, longest)
        seen = slice(None) if stop else slice(now + 1)
        margin.plot(np.maximum(trace.margin, -0.25)[seen], color=GREEN, linewidth=1.5)
        margin.plot(now, max(trace.margin[now], -0.25), "o", color=GREEN)
        margin.set(ylim=(-0.3, 1.08), title="true margin", xlabel="step")
        score.set(title="the monitor", xlabel="step")
        if stop:
            alarm = figures.draw_score(score, trace, self._signal, self._lines[trace.plant])
            lost = trace.lost + 1 if trace.lost >= 0 else -1
            fault = trace.onset if trace.fault else -1
            marks = {"fault": (fault, GREY), "alarm": (alarm, PURPLE), "you": (now, INK)}
            figures.draw_moments(score, marks | {"lost": (lost, VERMILLION)})
            figures.draw_moments(margin, {"you": (now, INK)})
        else:
            figures.log_axis(score)
            score.text(0.5, 0.5, "after your stop", transform=score.transAxes, ha="center",
                       color=GREY)  # fmt: skip


def _truth(trace: Trace) -> str:
    if not trace.fault:
        return "Nothing was broken."
    end = f"control was lost at {trace.lost + 1}" if trace.lost >= 0 else "nothing was lost"
    return f"{trace.fault.capitalize()} from step {trace.onset}, {end}."


def _who(name: str, step: int, trace: Trace) -> str:
    """What a stop at a step was worth."""
    end = trace.lost + 1 if trace.lost >= 0 else len(trace)
    if step < 0 or step >= end:
        return f"{name}: no stop before the end."
    if not trace.fault or step < trace.onset:
        return f"{name}: {step}, a false alarm."
    steps = "1 step" if end - step == 1 else f"{end - step} steps"
    left = f", {steps} before the loss" if trace.lost >= 0 else ", needlessly"
    return f"{name}: {step}, delay {step - trace.onset}{left}."


def run_machine(trace: Trace, signal: str, threshold: float, config: ObserverConfig) -> Replay:
    """Scores of an episode, in units of the threshold, through the alarm state machine.

    Step numbers are those of the observations.
    """
    return replay(trace.scores[signal] / threshold, config, np.arange(1, len(trace) + 1))


def machine_outcomes(
    traces: Sequence[Trace], signal: str, threshold: float, config: ObserverConfig
) -> Outcomes:
    """What becomes of the episodes of one condition if the first ALERT is the alarm."""
    if not traces:
        raise ExplorerError("traces: expected at least one episode of this condition, got none")
    alarms = []
    for trace in traces:
        first = ()
        if not trace.scores[signal].max() < threshold * config.theta_high:  # else no ALERT
            first = run_machine(trace, signal, threshold, config).onsets(State.ALERT)
        alarms.append(int(first[0]) if len(first) else -1)
    return Outcomes.of(
        [t.lost for t in traces], list(map(len, traces)), alarms, traces[0].onset,
        clean=not traces[0].fault,
    )  # fmt: skip


class AlarmExplorer(Explorer):
    """Fault, severity, line and the state machine of notebook 04; what becomes of the episodes.

    Left: one episode, its signal over the calibrated threshold, and the states of the machine.
    Right: outcomes of all its sister episodes, and of clean ones. ``line`` multiplies the
    threshold, ``low`` is where an ALERT ends as a share of the line, ``raise_after`` and
    ``clear_after`` are the steps that it takes to raise and to clear it.

    Parameters
    ----------
    traces : sequence of Trace
        Of one plant, the same number of every fault and severity, and clean ones.
    thresholds : mapping of str to float
        Of the signals in `traces.TRACED`.
    fault : str
        Where the controls start; the first one by default.
    """

    _panels = (1.35, 1.0)

    def __init__(
        self, traces: Sequence[Trace], thresholds: Mapping[str, float], fault: str = ""
    ) -> None:
        by: dict[tuple[str, int], list[Trace]] = {}
        for trace in traces:
            by.setdefault((trace.fault, trace.severity if trace.fault else 0), []).append(trace)
        self._by = by
        faults = list(dict.fromkeys(f for f, _ in by if f))
        severities = sorted({s for f, s in by if f})
        whole = all((f, s) in by for f in faults for s in severities)
        if not faults or ("", 0) not in by or not whole or len({t.plant for t in traces}) != 1:
            raise ExplorerError(
                "traces: expected one plant, clean episodes, and every fault at every severity"
            )
        if lacking := set(TRACED) - set(thresholds):
            raise ExplorerError(f"thresholds: expected one for {', '.join(sorted(lacking))}")
        self._lines = {name: thresholds[name] for name in TRACED}
        self._judge = lru_cache(maxsize=32)(self._run)
        fewest = min(len(v) for (f, _), v in by.items() if f)
        low, high = severities[0], severities[-1]
        choice = choice_control("fault", faults)
        if fault and fault not in faults:
            raise ExplorerError(f"fault: expected one of {', '.join(faults)}, got {fault!r}")
        choice[0].value = fault or faults[0]
        self._start(
            {
                "fault": choice,
                "signal": choice_control("signal", TRACED),
                "severity": number_control("severity", high, low, high, 1),
                "line": number_control("line x", 1.0, 0.5, 5.0, 0.1),
                "raise_after": number_control("raise_after", 1, 1, 20, 1),
                "low": number_control("low / line", 0.7, 0.1, 1.0, 0.1),
                "clear_after": number_control("clear_after", 1, 1, 20, 1),
                "episode": number_control("episode", 1, 1, fewest, 1),
            },
            more=("low", "clear_after", "episode"),
        )

    def outcomes(self, **values: Any) -> tuple[Outcomes, Outcomes]:
        """With the fault and clean, at the current values; with values: there, nothing moves."""
        v = self._values_at(values)
        del v["episode"]
        return self._both(**v)

    def _both(self, fault: str, severity: int, **rest: Any) -> tuple[Outcomes, Outcomes]:
        settings = tuple(round(x, 6) if isinstance(x, float) else x for x in rest.values())
        return self._judge(fault, severity, *settings), self._judge("", 0, *settings)

    def _run(self, fault: str, severity: int, signal: str, *settings: float) -> Outcomes:
        config = _config(*settings)
        return machine_outcomes(self._by[fault, severity], signal, self._lines[signal], config)

    def _sentence(self, episode: int, **values: Any) -> str:
        o, quiet = self._both(**values)
        kinds = ", ".join(f"{o.count(k)} {k}" for k in OUTCOMES if o.count(k)).replace(
            "benign, ", "benign with "
        )
        kinds = kinds.replace("with quiet", "without alarm")
        return (
            f"{values['fault']} at severity {values['severity']}, {len(o)} episodes: {kinds}. "
            f"Clean: a false alarm in {quiet.count('false alarm')} of {len(quiet)}."
        )

    def _draw(self, axes: list[Any], episode: int, **values: Any) -> None:
        left, right = axes
        faulty, clean = self._both(**values)
        fault, signal, severity, *settings = values.values()
        trace = self._by[fault, severity][episode - 1]
        run = run_machine(trace, signal, self._lines[signal], _config(*settings))
        scores = figures.log_ratio(run.values, 1.0)
        left.plot(run.steps, scores, color=INK, linewidth=1.2)
        edges = np.append(run.steps, run.steps[-1] + 1)
        for state, tint in SHADES.items():
            inside = run.states == state
            on = np.append(inside, False)  # each step is shaded up to the next one
            on[1:] |= inside
            left.fill_between(edges, 0, 1, where=on, color=tint, linewidth=0,
                              transform=left.get_xaxis_transform())  # fmt: skip
        top, bottom = np.log10(values["line"]), np.log10(values["line"] * values["low"])
        left.axhline(top, color=INK, linestyle=figures.DASHES, linewidth=1.2)
        left.axhline(bottom, color=INK, linestyle=(0, (1, 2)), linewidth=1)
        left.set(xlim=(0, len(trace) + 1), xlabel="observation", title=f"episode {episode}")
        first = run.onsets(State.ALERT)
        figures.draw_moments(
            left,
            {"fault": (trace.onset, GREY), "ALERT": (int(first[0]) if len(first) else -1, INK),
             "lost": (trace.lost + 1 if trace.lost >= 0 else -1, INK)},
        )  # fmt: skip
        figures.log_axis(left)
        figures.draw_two_outcomes(right, {"with the fault": faulty, "clean": clean})
        right.set_title("outcomes")


def _config(line: float, raise_after: int, low: float, clear_after: int) -> ObserverConfig:
    return ObserverConfig(
        theta_high=line, theta_low=low * line, raise_after=raise_after, clear_after=clear_after,
        two_sided=False,
    )  # fmt: skip
