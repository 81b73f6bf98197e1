"""Prometheus alert rules, as YAML, from the configuration of the alarm state machines."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deepdrift.alarms.config import ObserverConfig, State
from deepdrift.alarms.run_length import false_alarms_per_1000
from deepdrift.export.recorder import ExportError

_STREAMS, _STEPS = 40, 5_000  # of standard normal values, for the expected false alarms
_WHERE = "layer {{ $labels.layer }} of {{ $labels.monitor }}"


def alert_rules(
    config: ObserverConfig,
    monitor: str,
    *,
    step_seconds: float,
    source: str = "drift",
    alpha: float | None = None,
    normal: ArrayLike | None = None,
) -> str:
    """A file of rules for ``rule_files`` of Prometheus.

    ======================= ====================================================================
    DeepDriftAlert          the drift of a layer is high, or as low, if two-sided (critical)
    DeepDriftWarning        the early warning of its state machine has fired (warning)
    DeepDriftInvalid        NaN or infinity in a hidden state, at the last step (critical)
    DeepDriftInvalidSamples the same in any sample of the last ten minutes (critical)
    DeepDriftFlagged        with ``alpha``: more samples flagged in an hour than alpha explains
    ======================= ====================================================================

    Parameters
    ----------
    config : ObserverConfig
    monitor : str
        Name of the `PrometheusExporter`.
    step_seconds : float
        Seconds from one step of the state machines to the next: thresholds count steps, Prometheus
        counts time. Where steps come irregularly, use ``source="state"``.
    source : {"drift", "state"}
        ``drift``: Prometheus judges ``deepdrift_drift`` itself, with theta_high and theta_low,
        ``for`` and ``keep_firing_for`` half a step beyond the raise_after-th and clear_after-th
        value. ``state``: it fires while the state machine, which counts steps, says ALERT.
    alpha : float, optional
        False-alarm rate per sample of the monitor.
    normal : array, shape (steps,) or (streams, steps), optional
        Drifts of normal batches, for the expected false alarms in the annotation; by default a
        standard normal stream is simulated, which is what drift promises to be.

    Raises
    ------
    ExportError
        For a parameter out of range.

    Examples
    --------
    >>> rules = alert_rules(ObserverConfig(raise_after=3, clear_after=2), "camera", step_seconds=30)
    >>> [line.strip() for line in rules.splitlines() if "for: " in line][:2]
    ['for: 75s', 'keep_firing_for: 45s']
    """
    if not isinstance(config, ObserverConfig):
        raise ExportError(f"config: expected an ObserverConfig, got {type(config).__name__}")
    if not isinstance(monitor, str) or not monitor:
        raise ExportError(f"monitor: expected the name of an exporter, got {monitor!r}")
    if not isinstance(step_seconds, int | float) or not 0 < step_seconds < math.inf:
        raise ExportError(f"step_seconds: expected seconds > 0, got {step_seconds!r}")
    if source not in ("drift", "state"):
        raise ExportError(f"source: expected 'drift' or 'state', got {source!r}")
    if alpha is not None and not 0 < alpha < 1:
        raise ExportError(f"alpha: expected a rate between 0 and 1, got {alpha!r}")
    return _yaml(
        f"deepdrift {monitor}", _rules(config, monitor, step_seconds, source, alpha, normal)
    )


def _rules(
    config: ObserverConfig,
    monitor: str,
    step_seconds: float,
    source: str,
    alpha: float | None,
    normal: ArrayLike | None,
) -> list[dict[str, Any]]:
    name = json.dumps(monitor, ensure_ascii=False)

    def state(of: State) -> str:
        return f'deepdrift_state{{monitor={name},state="{of}"}} == 1'

    rates = {s: _expected(config, normal, s) for s in (State.ALERT, State.WARNING)}
    drift = f"deepdrift_drift{{monitor={name}}}"
    firing = f'ALERTS{{alertname="DeepDriftAlert",alertstate="firing",monitor={name}}}'
    high, low = float(config.theta_high), float(config.theta_low)
    size = f"abs({drift})" if config.two_sided else drift
    floor = f", or at or below -{high:g}," if config.two_sided else ""
    alert, dwell, keep = state(State.ALERT), 0.0, 0.0
    if source == "drift":
        # between the thresholds it goes on if it is firing already
        same = "and on (job, instance, monitor, layer)"
        alert = f"{size} >= {high!r} or ({size} > {low!r} {same} {firing})"
        # half way between the k-th value and the next: k - 1 values are never enough
        dwell, keep = (
            (k - 0.5) * step_seconds if k > 1 else 0.0
            for k in (config.raise_after, config.clear_after)
        )
    invalid = f'increase(deepdrift_invalid_total{{monitor={name},where="state"}}[10m]) > 0'
    rules = [
        _rule("DeepDriftAlert", alert, dwell, keep, "critical", f"Unusual drift in {_WHERE}",
              f"Drift is at or above {high:g}{floor} for {config.raise_after} steps and has not "
              f"come back to {low:g} for {config.clear_after}. {rates[State.ALERT]}"),
        _rule("DeepDriftWarning", state(State.WARNING), 0.0, 0.0, "warning",
              f"Early warning in {_WHERE}",
              f"Detector {config.detector}, level {config.warning_level:.3g}, window "
              f"{config.window_size} steps. {rates[State.WARNING]}"),
        _rule("DeepDriftInvalid", state(State.INVALID), 0.0, 0.0, "critical",
              f"NaN or infinity in {_WHERE}",
              "A hidden state is not finite. Look for overflow, damaged weights or damaged inputs. "
              "No false alarms are expected."),
        _rule("DeepDriftInvalidSamples", invalid, 0.0, 0.0, "critical",
              "Samples of {{ $labels.monitor }} with NaN or infinity in a hidden state",
              "At least one in the last ten minutes. No false alarms are expected."),
    ]  # fmt: skip
    if alpha is not None:
        seen, flagged = (
            f"increase(deepdrift_{k}_total{{monitor={name}}}[1h])" for k in ("samples", "flagged")
        )
        sure = f"{alpha!r} * {seen} + 4 * sqrt({alpha * (1 - alpha)!r} * {seen}) + 4"
        rules.append(
            _rule("DeepDriftFlagged", f"{flagged} > {sure}", 0.0, 0.0, "warning",
                  "Too many flagged samples of {{ $labels.monitor }}",
                  "In the last hour more samples were flagged than a false-alarm rate of "
                  f"{alpha:g} explains, by four standard deviations of independent samples.")
        )  # fmt: skip
    return rules


def _rule(
    name: str, expr: str, dwell: float, keep: float, severity: str, summary: str, text: str
) -> dict[str, Any]:
    kept = {"keep_firing_for": _duration(keep)} if keep else {}  # Prometheus 2.42 or newer
    return {
        "alert": name,
        "expr": expr,
        "for": _duration(dwell),
        **kept,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": text},
    }


def _expected(config: ObserverConfig, normal: ArrayLike | None, state: State) -> str:
    """How often a state is entered while all is well, as a sentence."""
    where = "on the normal drifts given"
    if normal is None:
        normal = np.random.default_rng(0).normal(size=(_STREAMS, _STEPS))
        where = "for a standard normal drift"
    steps = np.size(normal)
    rate = false_alarms_per_1000(config, normal, state)
    about = f"about {rate:.2g}" if rate else f"fewer than {3000 / steps:.2g}"  # rule of three
    return f"Expected false alarms: {about} per 1,000 steps and layer, {where} ({steps:,} steps)."


def _duration(seconds: float) -> str:
    milliseconds = round(1000 * seconds)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def _yaml(group: str, rules: list[dict[str, Any]]) -> str:
    """The file; strings are written as in JSON, which is YAML too."""
    lines = ["groups:", f"  - name: {_quoted(group)}", "    rules:"]
    for rule in rules:
        mark = "- "
        for key, value in rule.items():
            if isinstance(value, dict):
                lines.append(f"        {key}:")
                lines += [f"          {k}: {_quoted(v)}" for k, v in value.items()]
            else:
                plain = key in ("alert", "for", "keep_firing_for")
                lines.append(f"      {mark}{key}: {value if plain else _quoted(value)}")
            mark = "  "
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
