"""A clinic: injure a trained network or its images, and see what the doctor says.

Rules and borders were chosen on the 22 faults of `FAULTS` and the CNN. Those of `JUDGED`, the
vision transformer and the networks with held-out classes are for judging them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepdrift.alarms.diagnosis import INSIDE
from deepdrift.alarms.findings import Findings
from deepdrift.lab import data
from deepdrift.lab.data.cue import draw_cue
from deepdrift.lab.diagnosis.faults import FAULTS, Fault, apply_fault
from deepdrift.lab.diagnosis.image_faults import HELD_OUT
from deepdrift.lab.diagnosis.judged_faults import JUDGED
from deepdrift.monitor.scorer import StateScorer
from deepdrift.states.collect import collect

__all__ = ["Case", "Clinic", "confusion", "side_of_name", "tally"]

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
    pictures : tuple of two ndarrays (H, W), or None
        If the images were broken: the one that changed most, as it was and as it came.
    """

    fault: Fault | None
    strength: int
    seed: int
    layer: str | None
    found: Findings
    probed: Findings
    pictures: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

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
        case = self._seen(ward, broken.network, broken.images, fault, strength, seed, broken.layer)
        if fault.target == "images":
            case = replace(case, pictures=_most_changed(batch, broken.images))
        return case

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


def _most_changed(before: Tensor, after: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The image that a fault changed most, before and after."""
    index = int((after - before).abs().flatten(1).sum(dim=1).argmax())
    return before[index, 0].numpy(), after[index, 0].clamp(0, 1).numpy()


def confusion(
    cases: Sequence[Case], say: Callable[[Case], str] = lambda case: case.found.side
) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Count what was said of each fault: by default the side, from the batch alone.

    Returns
    -------
    rows, columns : list of str
        Faults and answers, in the order of their first appearance.
    counts : ndarray, shape (R, C)
    """
    said = [say(case) for case in cases]
    rows, columns = (list(dict.fromkeys(v)) for v in ([case.name for case in cases], said))
    counts = np.zeros((len(rows), len(columns)))
    for case, answer in zip(cases, said, strict=True):
        counts[rows.index(case.name), columns.index(answer)] += 1
    return rows, columns, counts


def tally(cases: Sequence[Case], say: Callable[[Case], str]) -> dict[str, int]:
    """How many answers about the side are right, wrong, "cannot say", or see nothing.

    Examples
    --------
    >>> tally([], lambda case: case.found.side)
    {'right': 0, 'cannot say': 0, 'missed': 0, 'wrong': 0}
    """
    counts = dict.fromkeys(("right", "cannot say", "missed", "wrong"), 0)
    for case in cases:
        said = say(case)
        if said == case.side:
            counts["right"] += 1
        else:
            counts[{"none": "missed"}.get(said, said if said == "cannot say" else "wrong")] += 1
    return counts


def side_of_name(name: str) -> str:
    """The side that a name blames, of those that a depth profile alone has been given.

    Examples
    --------
    >>> [side_of_name(n) for n in ("broken layer", "novel class", "stable", "not sure")]
    ['inside', 'inputs', 'none', 'cannot say']
    """
    if name in INSIDE:
        return "inside"
    return {"stable": "none", "not sure": "cannot say"}.get(name, "inputs")
