"""A clinic: injure a trained network or its images, and see what the doctor says.

The ten faults of `DERIVATION` were looked at, on the CNN, while the rules of `diagnose_drift`
were written. The other twelve, and the vision transformer, are for judging them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepdrift.alarms.findings import Findings
from deepdrift.lab import data
from deepdrift.lab.data.cue import draw_cue
from deepdrift.lab.diagnosis.faults import FAULTS, Fault, apply_fault
from deepdrift.lab.diagnosis.image_faults import HELD_OUT
from deepdrift.lab.diagnosis.judged_faults import JUDGED
from deepdrift.monitor.scorer import StateScorer
from deepdrift.states.collect import collect

__all__ = ["DERIVATION", "UNSEEN", "Case", "Clinic", "confusion", "five_rules"]

DERIVATION = (
    "gaussian_noise", "dead_rows", "wrong_normalisation", "dropped_block", "weight_gain",
    "rotation", "novel_classes", "cue_reversed", "nan_weight", "weight_noise",
)  # fmt: skip
"""Faults that the rules of the doctor were derived on."""

UNSEEN = tuple(name for name in FAULTS if name not in DERIVATION)
"""Faults that they were not derived on."""

BATCH, OUTPUT = 64, "head"
@dataclass(frozen=True)
class Case:
    """One batch of images through a network that may be broken, and what the doctor said.

    Attributes
    ----------
    fault : Fault or None
        None for a clean batch.
    strength, seed : int
    layer : str or None
        The block that was broken, if one was.
    found : Findings
        From the batch alone.
    probed : Findings
        With known good images run through the same network.
    """

    fault: Fault | None
    strength: int
    seed: int
    layer: str | None
    found: Findings
    probed: Findings

    @property
    def name(self) -> str:
        """Name of the fault, or "clean"."""
        return self.fault.name if self.fault else "clean"

    @property
    def expected(self) -> str:
        """What the fault has been called."""
        return self.fault.expected if self.fault else "stable"

    @property
    def side(self) -> str:
        """Where the fault is: ``inside`` the network, the ``inputs``, or ``none`` if clean."""
        if self.fault is None:
            return "none"
        return "inputs" if self.fault.target == "images" else "inside"

    @property
    def drifts(self) -> list[float]:
        """Drift of every layer, from the first to the last."""
        return [layer.drift for layer in self.found.evidence]


class _Ward(NamedTuple):
    network: Any
    scorer: StateScorer
    images: Tensor


class Clinic:
    """Fit and calibrate the doctor on one kind of network, then show it faults.

    A fault that needs a variant of the network (classes held out, a cue learnt) gets it; each is
    fitted when first needed. Batches have 64 images of the test part. The probe is its last 64
    images, which are never in a batch.

    Parameters
    ----------
    kind : {"cnn", "vit", "cnn-holdout-1", "vit-holdout-1", ...}
        A shipped network. Those with held-out classes are shown images of the others.
    n_fit, n_calibration : int
        Images to fit and to calibrate on.
    """

    def __init__(self, kind: str = "cnn", n_fit: int = 1500, n_calibration: int = 1000) -> None:
        self.kind, self.layers = kind, data.NETWORK_LAYERS[kind]
        self._n_fit, self._n_calibration = n_fit, n_calibration
        self._wards: dict[str, _Ward] = {}

    def clean(self, seed: int = 0) -> Case:
        """A batch with nothing wrong."""
        ward = self._ward("")
        return self._seen(ward, ward.network, self._batch(ward, seed), None, 0, seed, None)

    def case(
        self, fault: str | Fault, strength: int = 3, seed: int = 0, layer: str | None = None
    ) -> Case:
        """A batch with a fault, of `FAULTS` or `JUDGED` by name; see `apply_fault`."""
        if not isinstance(fault, Fault):
            fault = (FAULTS | JUDGED)[fault]
        ward = self._ward(fault.variant)
        batch = self._batch(ward, seed)
        broken = apply_fault(fault, ward.network, batch, strength, seed, layer)
        return self._seen(ward, broken.network, broken.images, fault, strength, seed, broken.layer)

    def cases(
        self,
        faults: Iterable[str],
        strengths: Sequence[int] = (2, 3, 4, 5),
        n_seeds: int = 1,
        everywhere: bool = False,
    ) -> list[Case]:
        """Every fault at every strength, with seeds 0 to n_seeds - 1.

        ``everywhere`` breaks one block after the other instead of the one in the middle.
        """
        blocks, found = [k for k in self.layers if k.startswith("blocks.")], []
        for name in faults:
            at_a_place = everywhere and (FAULTS | JUDGED)[name].target == "block"
            for strength in strengths:
                for seed in range(n_seeds):
                    layer = blocks[(strength + seed) % len(blocks)] if at_a_place else None
                    found.append(self.case(name, strength, seed, layer))
        return found

    def _batch(self, ward: _Ward, seed: int) -> Tensor:
        n = (len(ward.images) - BATCH) // BATCH  # the last 64 images are the probe's
        start = BATCH * (seed % n)
        return ward.images[start : start + BATCH]

    def _seen(self, ward: _Ward, network: Any, images: Tensor, *what: Any) -> Case:
        states, good = self._states(network, images), ward.images[-BATCH:]
        probe = self._states(network, good)
        alone = ward.scorer.diagnose(states, inputs=images)
        both = ward.scorer.diagnose(states, probe, inputs=images, probe_inputs=good)
        return Case(*what, alone, both)

    def _states(self, network: Any, images: Tensor) -> dict[str, Tensor]:
        return collect(network, images, [*self.layers, OUTPUT]).states

    def _ward(self, variant: str) -> _Ward:
        if variant not in self._wards:
            network = data.load_network(self.kind + variant)
            parts = data.load()
            if "-holdout" in self.kind + variant:
                parts = parts.without(HELD_OUT)

            def images(part: data.ImageSet) -> Tensor:
                return draw_cue(part.images, part.labels) if variant == "-cue" else part.images

            fit, normal = parts.fit[: self._n_fit], parts.calibration[: self._n_calibration]
            scorer = StateScorer(output_layer=OUTPUT)
            scorer.partial_fit(self._states(network, images(fit)), fit.labels)
            seen = images(normal)
            scorer.calibrate(self._states(network, seen), inputs=seen)
            self._wards[variant] = _Ward(network, scorer, images(parts.test))
        return self._wards[variant]


def confusion(cases: Sequence[Case]) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Count what each fault was called.

    Returns
    -------
    rows, columns : list of str
        Faults and names, in the order of their first appearance.
    counts : ndarray, shape (R, C)
    """
    rows = list(dict.fromkeys(case.name for case in cases))
    columns = list(dict.fromkeys(case.diagnosis.name for case in cases))
    counts = np.zeros((len(rows), len(columns)))
    for case in cases:
        counts[rows.index(case.name), columns.index(case.diagnosis.name)] += 1
    return rows, columns, counts


def five_rules(drifts: Sequence[float], threshold: float = 3.0) -> str:
    """Name a profile by the five rules of the published package deepdrift 0.2.

    Only the first three layers and the last are looked at, apart from the mean. Its names are
    translated to ours; what it calls a global collapse or leaves without a name is "not sure".

    Examples
    --------
    >>> five_rules([9.0, 1.0, 1.0, 0.5]), five_rules([0.3, -0.5, 9.0, 6.0])
    ('sensor failure', 'not sure')
    """
    if len(drifts) < 4:
        return "not sure"
    if max(drifts) < threshold:
        return "stable"
    first, middle, deep, last = drifts[0], drifts[1], drifts[2], drifts[-1]
    if first > threshold > last and last < 0.6 * first:
        return "sensor failure"
    if last > deep > middle and last > threshold:
        return "geometric collapse"
    if middle > max(threshold, first, last):
        return "spurious correlation"
    return "not sure"
