"""What notebook 09 runs: its networks, images, pairs and refusals, by one name."""

from deepdrift.lab.explanations_under_shift.comparisons import (
    kept_minus_changed,
    on_the_way,
    steadier,
)
from deepdrift.lab.explanations_under_shift.drift import FAULTS, PairedDrift, turned_back
from deepdrift.lab.explanations_under_shift.explanations import (
    EXPLANATIONS,
    STEPS,
    Explanation,
    garments,
    networks,
)
from deepdrift.lab.explanations_under_shift.refusals import (
    bad_input,
    raw_grad_cam,
    refusal,
    six_refusals,
)
from deepdrift.lab.explanations_under_shift.ruler import (
    RANDOM,
    RUNGS,
    SAME,
    UNTRAINED,
    agreement,
    clean_maps,
    rulers,
)
from deepdrift.lab.explanations_under_shift.without_twin import compare, leads, sets_for_maps

__all__ = [
    "EXPLANATIONS",
    "FAULTS",
    "RANDOM",
    "RUNGS",
    "SAME",
    "STEPS",
    "UNTRAINED",
    "Explanation",
    "PairedDrift",
    "agreement",
    "bad_input",
    "clean_maps",
    "compare",
    "garments",
    "kept_minus_changed",
    "leads",
    "networks",
    "on_the_way",
    "raw_grad_cam",
    "refusal",
    "rulers",
    "sets_for_maps",
    "six_refusals",
    "steadier",
    "turned_back",
]
