"""From the states of a batch, its inputs and a probe to the doctor's findings."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from deepdrift.alarms.diagnosis import LayerEvidence, NormalShape
from deepdrift.alarms.findings import Evidence, Findings, find
from deepdrift.alarms.input_evidence import NormalInputs
from deepdrift.errors import StateError
from deepdrift.states.inputs import INPUT

SMALLEST_PROBE = 8  # with fewer samples a broken layer may pass as normal

States = dict[str, Tensor]


def diagnose(
    scorer: Any,
    states: States,
    probe: States | None = None,
    inputs: Tensor | None = None,
    probe_inputs: Tensor | None = None,
) -> Findings:
    """What `StateScorer.diagnose` says.

    Raises
    ------
    StateError
        For states, or a probe, unlike the calibrated ones; for a probe of too few samples.
    """
    batch = evidence_of(scorer, states, inputs)
    if probe is None:
        return find(batch)
    n = len(next(iter(probe.values()), ()))
    if n < SMALLEST_PROBE:
        raise StateError(
            f"probe: expected at least {SMALLEST_PROBE} known good samples, got {n}; keep some "
            "calibration inputs for it"
        )
    try:
        good = evidence_of(scorer, probe, probe_inputs)
    except StateError as error:
        raise StateError(f"probe: {error}") from error
    return find(batch, good)


def evidence_of(scorer: Any, states: States, inputs: Tensor | None = None) -> Evidence:
    """Drift, length and silence of every layer, and what changed in inputs and classes."""
    drifts, fused = scorer.drift(states)
    shape = NormalShape.from_tensors(scorer.calibration_scores, list(scorer.widths))
    normal = NormalInputs.from_tensors(scorer.calibration_scores)
    layers = tuple(
        LayerEvidence(name, z, *shape.compare(name, states[name]))
        for name, z in zip(scorer.widths, drifts.tolist(), strict=True)
    )
    logits = None if scorer.output_layer is None else states.get(scorer.output_layer)
    n = len(states[layers[0].name])
    if inputs is not None and len(inputs) != n:
        raise StateError(f"inputs: expected {n}, one for each state, got {len(inputs)}")
    if inputs is None and INPUT in states:
        changes = normal.compare_statistics(states[INPUT])
    else:
        changes = normal.compare(inputs)
    classes = normal.compare_classes(logits)
    return Evidence(layers, float(fused), changes, classes, n)


def normal_inputs(
    inputs: Tensor | NormalInputs | None, logits: Tensor | None, n: int
) -> NormalInputs:
    """Statistics of normal inputs that were given as they are, or as their sums.

    Raises
    ------
    StateError
        Unless there is one input for each of n states.
    """
    if isinstance(inputs, NormalInputs):
        return inputs
    if inputs is not None and len(inputs) != n:
        raise StateError(f"inputs: expected {n}, one for each state, got {len(inputs)}")
    normal = NormalInputs()
    normal.add(inputs, logits)
    return normal
