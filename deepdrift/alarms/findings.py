"""The doctor's answer in three fields: which side changed, where it shows, and what changed.

Each field has evidence of its own. *Side*: a probe of known good inputs, or what is known of the
inputs; "cannot say" where neither settles it. *Place*: the first layer whose drift is unusual, to
either side. *Changes*: what was measured, in words. The names that others gave to such patterns
(`deepdrift.alarms.diagnosis`) are a lookup beside them, no finding.

Rules and borders were chosen on the faults of `deepdrift.lab.diagnosis.faults` and one network,
and judged once on other faults and networks (notebook 05).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deepdrift.alarms.diagnosis import (
    ADVICE,
    DEAD,
    GROWN,
    INSIDE,
    SHRUNKEN,
    Diagnosis,
    LayerEvidence,
    broken,
    diagnose_drift,
)
from deepdrift.alarms.input_evidence import BORDER, Change
from deepdrift.alarms.plain import plain

SIDES = ("inside", "inputs", "none", "cannot say")
JUMP = 0.8  # share of the largest |drift| that a broken layer shows at once, after silence
LOUD = 15.0  # |drift| of a jump that inputs which look normal do not make
NOT_FROM_A_BATCH = ("geometric collapse", "novel class", "spurious correlation")
_SHOWN = 4  # changes that the sentence tells


@dataclass(frozen=True)
class Evidence:
    """What is known of one batch.

    Attributes
    ----------
    layers : tuple of LayerEvidence
    fused : float
        Drift of the fused score.
    inputs : tuple of Change or None
        All statistics of the inputs, the most unusual first; None if they were not seen.
    classes : tuple of Change
        Shares of the predicted classes; empty where no output layer is watched.
    n : int
        Samples.
    """

    layers: tuple[LayerEvidence, ...]
    fused: float = 0.0
    inputs: tuple[Change, ...] | None = None
    classes: tuple[Change, ...] = ()
    n: int = 0

    @property
    def start(self) -> int | None:
        """Number of the first layer that is unusual."""
        return next((i for i, v in enumerate(self.layers) if _unusual(v.drift)), None)

    @property
    def input_changes(self) -> tuple[Change, ...]:
        """Statistics of the inputs beyond the border."""
        return tuple(c for c in self.inputs or () if _unusual(c.z))

    @property
    def shows(self) -> bool:
        """Whether the layers or the fused score are unusual."""
        return self.start is not None or _unusual(self.fused)


@dataclass(frozen=True)
class Findings:
    """What is wrong with a batch; prints as one or two sentences.

    Attributes
    ----------
    side : {"inside", "inputs", "none", "cannot say"}
        Which side of the first layer changed: the network or its inputs.
    place : str
        First layer with an unusual drift, to either side; "" if none has.
    changes : tuple of Change
        What changed, beyond |z| = 4, the most unusual first.
    reason : str
        What settles the side, or why nothing does.
    profile : Diagnosis
        What the drifts of the layers alone have been called.
    """

    side: str
    place: str
    changes: tuple[Change, ...]
    reason: str
    profile: Diagnosis
    _name: str = ""

    @property
    def name(self) -> str:
        """What such a pattern has been called, a key of `ADVICE`; see `looks_like`."""
        return self._name

    @property
    def layer(self) -> str:
        """The place, or where the largest drift is."""
        return self.place or self.profile.layer

    @property
    def evidence(self) -> tuple[LayerEvidence, ...]:
        """Drift, length and silence of every layer."""
        return self.profile.evidence

    @property
    def looks_like(self) -> str:
        """The name, and whether it is more than a guess."""
        if self.side == "cannot say":
            return f"{self.name} (a guess: the side is not known)"
        if self.name in NOT_FROM_A_BATCH:
            return f"{self.name} (a guess: no batch without labels can tell)"
        return self.name

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, with the sentence as ``message`` and what to do as ``advice``."""
        fields = {
            "side": self.side,
            "place": self.place,
            "changes": [vars(c) | {"text": str(c)} for c in self.changes],
            "reason": self.reason,
            "name": self.name,
            "looks_like": self.looks_like,
            "layer": self.layer,
            "evidence": [vars(layer) for layer in self.evidence],
            "advice": ADVICE[self.name],
            "message": str(self),
        }
        return plain(fields)

    def __str__(self) -> str:
        told: dict[str, str] = {}
        for change in self.changes:  # the strongest of every kind
            if self.side != "inputs" or change.kind not in ("states", "channels"):
                told.setdefault(change.kind, str(change))
        what = ", ".join(list(told.values())[:_SHOWN])
        if self.side == "none":
            return f"Nothing unusual: {self.reason}."
        if self.side == "inputs":
            where = f"; it shows from {self.place} on" if self.place else "; no layer shows it"
            what = what or "in nothing that was measured of them"
            return f"The inputs changed: {what}{where} ({self.reason})."
        if self.side == "inside":
            where = f" at {self.place}" if self.place else ", after the last layer watched"
            return f"The network changed{where}: {what or 'unusual states'}; {self.reason}."
        where = f" from {self.place} on" if self.place else ""
        what = f": {what}" if what else ""
        return (
            f"Something changed{where}{what}; whether the inputs or the network cannot be said: "
            f"{self.reason}."
        )


def find(batch: Evidence, probe: Evidence | None = None) -> Findings:
    """Side, place and changes from the evidence of a batch, and of known good inputs run now.

    ============================================================= ==============================
    evidence, in this order                                       side
    ============================================================= ==============================
    with a probe: its own inputs are unusual                      cannot say (choose another)
    with a probe: its states are unusual                          inside
    with a probe: it passes; the batch is unusual                 inputs
    nothing is unusual                                            none
    statistics of the inputs beyond the border                    inputs
    inputs normal; then NaN, silent channels, another length,     inside
    or a jump to `LOUD` and `JUMP` of the peak, at the first
    unusual layer
    anything else; inputs not seen                                cannot say
    ============================================================= ==============================

    Parameters
    ----------
    batch, probe : Evidence

    Examples
    --------
    >>> layers = tuple(LayerEvidence(k, z) for k, z in (("a", 0.2), ("b", -9.0), ("c", 5.0)))
    >>> blur = Evidence(layers, inputs=(Change("less fine detail", -47.0, "detail"),))
    >>> print(find(blur))
    The inputs changed: less fine detail (-47 sd); it shows from b on (seen in the inputs).
    >>> find(Evidence(layers)).side, find(Evidence(layers), probe=Evidence(layers)).side
    ('cannot say', 'inside')
    """
    side, reason = _side(batch, probe)
    shown = batch if batch.start is not None or side != "inside" or probe is None else probe
    start = None if side == "none" else shown.start
    place = "" if start is None else shown.layers[start].name
    changes = batch.input_changes + tuple(c for c in batch.classes if _unusual(c.z))
    if start is not None:
        changes += _of_layer(shown.layers[start])
    changes = tuple(sorted(changes, key=lambda c: -abs(c.z))) if side != "none" else ()
    if side == "inside":  # what it did to the classes is a consequence
        changes = tuple(
            sorted(changes, key=lambda c: c.kind not in ("states", "channels", "numbers"))
        )
    profile = diagnose_drift(batch.layers)
    at = None if start is None else shown.layers[start]
    return Findings(side, place, changes, reason, profile, _name(side, changes, profile, at))


def _side(batch: Evidence, probe: Evidence | None) -> tuple[str, str]:
    unusual = batch.shows or bool(batch.input_changes) or any(_unusual(c.z) for c in batch.classes)
    if probe is not None:
        if probe.input_changes:
            if not unusual:
                return "none", _calm(batch)
            return "cannot say", f"the probe is none, its own inputs show {probe.input_changes[0]}"
        if probe.shows:
            return "inside", "known good inputs fail too"
        return ("inputs", "known good inputs pass") if unusual else ("none", _calm(batch))
    if not unusual:
        return "none", _calm(batch)
    if batch.input_changes:
        return "inputs", "seen in the inputs"
    if batch.inputs is None:
        return "cannot say", "the inputs were not seen, or have no statistics; give a probe of " \
            "known good inputs"  # fmt: skip
    if batch.start is not None:
        layer = batch.layers[batch.start]
        why = _inside(layer, max(abs(v.drift) for v in batch.layers))
        if why is not None:
            return "inside", f"the inputs and the layers before it are normal{why}"
    return "cannot say", "give a probe of known good inputs"


def _inside(layer: LayerEvidence, peak: float) -> str | None:
    """What says that this layer, the first that is unusual, is broken; None if nothing does."""
    z = abs(layer.drift)
    if not math.isfinite(z) or broken(layer)[1]:
        return ""  # the changes say it
    loud = z >= LOUD and z >= JUMP * peak
    return f", and it jumps to a drift of {layer.drift:.1f}" if loud else None


def _of_layer(layer: LayerEvidence) -> tuple[Change, ...]:
    if not math.isfinite(layer.drift):
        return (Change(f"NaN or infinity in {layer.name}", layer.drift, "numbers"),)
    found = []
    if layer.length > GROWN or layer.length < SHRUNKEN:
        what = f"states of {layer.name} {layer.length:.2g} times as long"
        found.append(Change(what, layer.drift, "states"))
    if layer.dead > DEAD:
        what = f"{layer.dead:.0%} of the channels of {layer.name} silent"
        found.append(Change(what, layer.drift, "channels"))
    return tuple(found)


def _name(
    side: str, changes: Sequence[Change], profile: Diagnosis, at: LayerEvidence | None
) -> str:
    if side == "none":
        return "stable"
    if side == "inside":
        if at is not None and not math.isfinite(at.drift):
            return "invalid numbers"
        return "broken layer" if at is None else broken(at)[0]
    if side == "cannot say":
        return "not sure" if profile.name == "stable" else profile.name
    first = next((c.kind for c in changes if c.kind in ("light", "detail", "place", "size")), "")
    if first in ("light", "detail"):
        return "sensor failure"
    if first:
        return "geometric collapse"
    outside = profile.name not in (*INSIDE, "stable", "not sure")
    return profile.name if outside else "unusual inputs"


def _calm(batch: Evidence) -> str:
    top = max(batch.layers, key=lambda v: abs(v.drift))
    return f"the largest drift is {top.drift:.1f}, in {top.name}"


def _unusual(z: float) -> bool:
    return not abs(z) < BORDER  # NaN and infinity are never healthy
