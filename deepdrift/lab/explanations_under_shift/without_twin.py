"""Explanation shift without the clean twin: is a map unusual among maps of normal images?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from deepdrift import LayerDistance, attribution, conformal_p_values
from deepdrift.attribution import map_summaries
from deepdrift.lab import data
from deepdrift.lab.bench.evaluation import Estimate, false_alarm_interval, proportion
from deepdrift.lab.bench.score_table import ScoreTable
from deepdrift.lab.bench.strange_sets import (
    NEW_CLASSES,
    NORMAL,
    Judge,
    StrangeSets,
    record_sets,
    strange_sets,
)
from deepdrift.lab.explanations_under_shift.explanations import LAYER

SETS = (NEW_CLASSES, "mnist", "gaussian_noise", "blur", "contrast", "occlusion", "rotation")
METHODS = {"CNN": ("saliency", "Grad-CAM"), "ViT": ("saliency", "rollout")}
OURS = ("innovation", "fused")
ALPHA = 0.05


class MapScore:
    """How far five numbers of a map are from those of normal maps; larger is more unusual.

    Squared Mahalanobis distance of `map_summaries` from the mean of the first half of the
    calibration maps; the second half ranks it. An empty map is infinitely unusual.

    Parameters
    ----------
    calibration : Tensor, shape (n, 5)
        Summaries of maps of normal images.
    """

    def __init__(self, calibration: Tensor) -> None:
        half = len(calibration) // 2
        fit = calibration[:half]
        known = fit.isfinite().all(dim=1)
        self._distance = LayerDistance().fit({"map": fit[known]})
        usual = self.score(calibration[half:])
        self._usual = usual[usual.isfinite()]
        self.n = len(self._usual)

    def score(self, summaries: Tensor) -> Tensor:
        """Distances, shape (N,)."""
        known = summaries.isfinite().all(dim=1)
        found = torch.full((len(summaries),), torch.inf, dtype=torch.float64)
        if known.any():
            found[known] = self._distance.score({"map": summaries[known]})[:, 0]
        return found

    def p_values(self, summaries: Tensor) -> Tensor:
        """Conformal p-values, shape (N,); 0 for an empty map."""
        return conformal_p_values(self._usual, self.score(summaries))


@dataclass(frozen=True)
class Compared:
    """Scores of one network for every set, and who raised how many alarms on normal clothing."""

    table: ScoreTable
    alarms: dict[str, Estimate]
    bands: dict[str, tuple[float, float]] = field(default_factory=dict)


def sets_for_maps(n_normal: int = 300, n_strange: int = 150, n_calibration: int = 600) -> tuple:
    """The strange sets (their fit and calibration parts cut) and all images, by name."""
    sets = strange_sets(n_fit=1000, n_calibration=n_calibration)
    images = {NORMAL: sets.images[NORMAL][:n_normal]}
    images |= {name: sets.images[name][:n_strange] for name in SETS}
    return sets, {"fit": sets.fit.images, "calibration": sets.calibration.images, **images}


def maps_of(name: str, method: str, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`map_summaries` of a network that never saw sandals and bags, by set; predicted class."""
    network = data.load_network(f"{name.lower()}-holdout").requires_grad_(False)
    explain = {
        "saliency": lambda x: attribution.saliency(network, x),
        "Grad-CAM": lambda x: attribution.grad_cam(network, x, layer=LAYER[name]),
        "rollout": lambda x: attribution.attention_rollout(network, x),
    }[method]
    return {key: map_summaries(explain(x)) for key, x in images.items() if key != "fit"}


def compare(name: str, sets: StrangeSets, images: Mapping[str, Tensor]) -> Compared:
    """Map scores beside MSP, innovation and fused, for one network.

    Alarms are counted on `NORMAL` at 5 %, for the scores that have p-values; beside them the band
    in which 90 % of kept promises lie.
    """
    recorded = record_sets(name.lower(), dict(images))
    shown = [NORMAL, *SETS]
    scores: dict[str, dict[str, Tensor]] = {
        key: {"MSP": -recorded.logits[key].softmax(dim=1).amax(dim=1)} for key in shown
    }
    p_values, sizes = {}, {}
    for score in OURS:
        judge = Judge(recorded, sets, score)
        for key in shown:
            scores[key][score] = judge.read(key).score
        p_values[score], sizes[score] = judge.read(NORMAL).p_values, len(sets.calibration)
    for method in METHODS[name]:
        found = maps_of(name, method, images)
        judge, key = MapScore(found["calibration"]), f"maps, {method}"
        for one in shown:
            scores[one][key] = judge.score(found[one])
        p_values[key], sizes[key] = judge.p_values(found[NORMAL]), judge.n
    n = len(images[NORMAL])
    return Compared(
        ScoreTable(scores),
        {key: proportion(int((p <= ALPHA).sum()), n) for key, p in p_values.items()},
        {key: false_alarm_interval(size, ALPHA, n_test=n) for key, size in sizes.items()},
    )


def leads(table: ScoreTable, one: str, rivals: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    """AUROC of one score minus that of each rival, paired, by set and rival."""
    return {name: {r: table.lead(one, r, name) for r in rivals} for name in table.strange}
