"""What a profile of drifts over the layers has been called: a name, a place and what to do.

A lookup, no finding: `deepdrift.alarms.findings` says what can be known of a batch.
The rules look at calibrated evidence (`deepdrift.evidence.drift`), never at raw values, and at
where it starts, jumps and peaks. They were derived on one small residual CNN and ten injected
faults. Depth localises a broken layer well; it does not tell broken inputs from a broken network,
and *spurious correlation*, *novel class* and *geometric collapse* cannot be told from a batch
without labels at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from deepdrift.alarms.plain import plain
from deepdrift.errors import NotFittedError, StateError

THRESHOLD = 3.0
JUMP = 0.6  # a broken layer reaches this share of the peak at once, after silence
SENSOR = 0.8  # share of the peak that the first layer shows when the input itself is bad
NOVEL = 0.6  # below it the evidence is built up inside the network
SHRUNKEN, GROWN = 0.85, 2.0  # ratio of the state's length to the normal one
BRIGHTER = 1.5  # the same in the first layer: the scale of the input is wrong
DEAD = 0.1  # share of channels that fell silent
UNCERTAIN = 0.03  # ratios nearer than this to a border get no name

ADVICE = {
    "stable": "No layer is unusual.",
    "sensor failure": "Look at the inputs: camera, preprocessing, units.",
    "geometric collapse": "Look at how the inputs are framed: rotated, shifted or scaled objects.",
    "novel class": "Look at the inputs: probably objects the network was not trained on.",
    "spurious correlation": "Early layers are calm and late ones disagree: compare the predictions "
    "with and without suspected shortcuts.",
    "broken layer": "Everything before this layer is normal: compare its weights with a good copy.",
    "dead or shrunken layer": "Everything before this layer is normal and its output is too small: "
    "look for zeroed units or a skipped block.",
    "exploding": "Everything before this layer is normal and its output is too large: look at its "
    "weights and normalisation.",
    "invalid numbers": "NaN or infinity: look for overflow or damaged weights in this layer.",
    "unusual inputs": "Known good inputs still pass as normal, so the layers are sound: look at "
    "the inputs.",
    "not sure": "The evidence fits no pattern well; look at the profile.",
}


@dataclass(frozen=True)
class LayerEvidence:
    """What is known of one layer.

    Attributes
    ----------
    name : str
    drift : float
        Standard normal while all is well; infinite if a state is not finite.
    length : float
        Median length of the state over the normal median; NaN if not known.
    dead : float
        Share of channels that vary on normal data and do not now; NaN if not known.
    """

    name: str
    drift: float
    length: float = math.nan
    dead: float = math.nan


@dataclass(frozen=True)
class Diagnosis:
    """A name for what is wrong, or *not sure*; prints as one sentence.

    Attributes
    ----------
    name : str
        A key of `ADVICE`.
    layer : str
        Where the evidence starts (for ``stable``: where it is largest).
    runner_up : str
        The next best name, or "".
    confidence : float
        0 to 1: how far the deciding ratio is from the border of the rule; no probability.
    reason : str
        The numbers that decided.
    evidence : tuple of LayerEvidence
    """

    name: str
    layer: str
    runner_up: str
    confidence: float
    reason: str
    evidence: tuple[LayerEvidence, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, with the sentence as ``message`` and what to do as ``advice``.

        Examples
        --------
        >>> diagnose_drift({"a": math.inf, "b": 1.0}).to_dict()["why_null"]["evidence[0].drift"]
        'inf'
        """
        evidence = [vars(layer) for layer in self.evidence]
        fields = vars(self) | {"evidence": evidence, "advice": ADVICE[self.name]}
        return plain(fields | {"message": str(self)})

    def __str__(self) -> str:
        where = "" if self.name == "stable" else f", starting at {self.layer}"
        second = f" Runner-up: {self.runner_up}." if self.runner_up else ""
        return f"{self.name}{where}: {self.reason}. {ADVICE[self.name]}{second}"


def diagnose_drift(
    profile: Sequence[float | LayerEvidence] | Mapping[str, float] | Tensor,
    threshold: float = THRESHOLD,
) -> Diagnosis:
    """Name what a profile of drifts over the layers looks like.

    =========================================== ================================================
    the profile                                 the name
    =========================================== ================================================
    a state is not finite                       invalid numbers
    no drift reaches the threshold              stable
    silence, then a jump near the peak at once  broken layer; *exploding* or *dead or shrunken*
                                                if the length of the state says so
    silence, then growing                       spurious correlation
    large from the first layer on               sensor failure (first layer >= 0.8 of the peak,
                                                or states of the wrong length)
    first layer 0.6 to 0.8 of the peak          geometric collapse
    first layer below 0.6 of the peak           novel class
    between two of these, or unusually small;   not sure
    two layers, the first calm
    =========================================== ================================================

    Parameters
    ----------
    profile : sequence of float or LayerEvidence, mapping of name to float, or Tensor
        From the first layer to the last; two layers or more.
    threshold : float
        Drift from which a layer counts as unusual; positive.

    Raises
    ------
    StateError
        For fewer than two layers, values that are no numbers, or a threshold that is not
        positive.

    Examples
    --------
    >>> print(diagnose_drift([0.3, -0.5, 9.0, 6.0]).name)
    broken layer
    >>> print(diagnose_drift({"stem": 8.0, "block": 7.0, "head": 2.0}))
    sensor failure, starting at stem: the first layer shows 1.00 of the peak. Look at the inputs: \
camera, preprocessing, units. Runner-up: geometric collapse.
    """
    if not 0 < threshold < math.inf:
        raise StateError(f"threshold: expected a positive number, got {threshold!r}")
    layers = _layers(profile)
    if len(layers) < 2:
        raise StateError(
            "profile: a diagnosis compares layers, expected at least two, got "
            f"{layers[0].name!r} alone; watch more layers"
        )
    z = [layer.drift for layer in layers]

    def verdict(
        name: str, at: int, reason: str, runner_up: str = "", confidence: float = 1.0
    ) -> Diagnosis:
        return Diagnosis(name, layers[at].name, runner_up, confidence, reason, layers)

    bad = next((i for i, v in enumerate(z) if not math.isfinite(v)), None)
    if bad is not None:
        return verdict("invalid numbers", bad, "a state is NaN or infinite")
    peak = max(z)
    top = z.index(peak)
    if peak < threshold:
        if min(z) <= -threshold:
            low = z.index(min(z))
            return verdict("not sure", low, f"states are unusually ordinary (drift {min(z):.1f})",
                           "stable", 0.0)  # fmt: skip
        margin = 1 - max(peak, 0.0) / threshold
        return verdict("stable", top, f"the largest drift is {peak:.1f}", "", margin)

    start = next(i for i, v in enumerate(z) if v >= threshold)
    share = z[start] / peak
    if start > 0:
        if abs(share - JUMP) < UNCERTAIN:
            return verdict("not sure", start, f"{share:.2f} of the peak is reached at once",
                           "broken layer", 0.0)  # fmt: skip
        sure = min(1.0, abs(share - JUMP) / (1 - JUMP))
        if share < JUMP:
            return verdict("spurious correlation", start,
                           f"early layers are calm, then drift grows to {peak:.1f}",
                           "novel class", sure)  # fmt: skip
        name, why = broken(layers[start])
        reason = f"drift jumps from {z[start - 1]:.1f} to {z[start]:.1f}{why}"
        if len(z) == 2 and not why:  # the last layer always is the peak
            return verdict("not sure", start, reason, name, 0.0)
        return verdict(name, start, reason, "spurious correlation", sure)

    if layers[0].length > BRIGHTER or layers[0].length < 1 / BRIGHTER:
        reason = f"states of the first layer are {layers[0].length:.2f} times as long as normal"
        return verdict("sensor failure", 0, reason, "geometric collapse")
    reason = f"the first layer shows {share:.2f} of the peak"
    borders = ((SENSOR, "sensor failure", "geometric collapse"),
               (NOVEL, "geometric collapse", "novel class"))  # fmt: skip
    for border, above, below in borders:
        if abs(share - border) < UNCERTAIN:
            return verdict("not sure", 0, reason, above, 0.0)
        if share > border:
            nearer = above == "geometric collapse" and SENSOR - share < share - border
            distance = SENSOR - share if nearer else share - border
            runner_up = "sensor failure" if nearer else below
            return verdict(above, 0, reason, runner_up, min(1.0, distance / 0.2))
    return verdict("novel class", 0, reason, "geometric collapse", min(1.0, (NOVEL - share) / 0.2))


INSIDE = ("broken layer", "dead or shrunken layer", "exploding", "invalid numbers")


def broken(layer: LayerEvidence) -> tuple[str, str]:
    """What a layer that breaks is called by its length and silence, and why; "" without either."""
    if layer.length > GROWN:
        return "exploding", f", its states {layer.length:.1f} times as long as normal"
    if layer.length < SHRUNKEN or layer.dead > DEAD:
        dead = f", {layer.dead:.0%} of its channels silent" if layer.dead > DEAD else ""
        return "dead or shrunken layer", f", its states {layer.length:.2f} times as long{dead}"
    return "broken layer", ""


def _layers(profile: object) -> tuple[LayerEvidence, ...]:
    if isinstance(profile, Tensor):
        profile = profile.tolist()
    try:
        if isinstance(profile, str | bytes):
            raise TypeError("text is no profile")
        if isinstance(profile, Mapping):
            profile = [LayerEvidence(str(k), float(v)) for k, v in profile.items()]
        layers = tuple(
            v if isinstance(v, LayerEvidence) else LayerEvidence(f"layer {i}", float(v))
            for i, v in enumerate(profile)
        )
    except (TypeError, ValueError) as error:
        raise StateError(f"profile: expected one drift per layer, got {profile!r}") from error
    if not layers:
        raise StateError("profile: expected at least one layer, got none")
    return layers


@dataclass(frozen=True)
class NormalShape:
    """Median length and spread per channel of normal states, per layer: what shrinks or dies.

    Examples
    --------
    >>> import torch
    >>> normal = NormalShape.of({"a": torch.tensor([[3.0, 4.0], [6.0, 8.0], [0.0, 1.0]])})
    >>> [round(v, 2) for v in normal.compare("a", torch.tensor([[1.0, 0.0], [1.0, 2.0]]))]
    [0.2, 0.5]
    """

    lengths: dict[str, Tensor]
    spreads: dict[str, Tensor]

    @classmethod
    def of(cls, states: Mapping[str, Tensor]) -> NormalShape:
        """From normal states, layer -> ``(N, D)``."""
        return cls(
            {k: v.double().norm(dim=1).median().cpu() for k, v in states.items()},
            {k: v.double().std(dim=0, correction=0).cpu() for k, v in states.items()},
        )

    def to_tensors(self) -> dict[str, Tensor]:
        """Named tensors ``shape.<i>.length`` and ``shape.<i>.spread``; inverse: `from_tensors`."""
        lengths = {f"shape.{i}.length": v[None] for i, v in enumerate(self.lengths.values())}
        return lengths | {f"shape.{i}.spread": v for i, v in enumerate(self.spreads.values())}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], layers: Sequence[str]) -> NormalShape:
        """Inverse of `to_tensors`; ``layers`` gives the names in order.

        Raises
        ------
        NotFittedError
            If the tensors hold no shape, as those of older references.
        """
        missing = [k for i, k in enumerate(layers) if f"shape.{i}.length" not in tensors]
        if missing:
            raise NotFittedError(
                f"diagnose: the calibration holds no shape of normal states for {missing}; it was "
                "saved by an older version: calibrate again"
            )
        return cls(
            {k: tensors[f"shape.{i}.length"][0] for i, k in enumerate(layers)},
            {k: tensors[f"shape.{i}.spread"] for i, k in enumerate(layers)},
        )

    def compare(self, layer: str, state: Tensor) -> tuple[float, float]:
        """Length over the normal length, and the share of channels that fell silent."""
        state = state.detach().double().cpu()
        length = float(state.norm(dim=1).median() / self.lengths[layer].clamp(min=1e-12))
        spread, normal = state.std(dim=0, correction=0), self.spreads[layer]
        alive = normal > 1e-6
        silent = (spread < 0.02 * normal) & alive
        dead = float(silent.sum() / alive.sum().clamp(min=1)) if len(state) > 1 else math.nan
        return length, dead
