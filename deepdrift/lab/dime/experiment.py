"""What notebook 07 measures of planes through normal features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from deepdrift.baselines import DIME
from deepdrift.lab.bench.evaluation import Estimate, proportion
from deepdrift.lab.bench.rivals import simple_scores
from deepdrift.lab.bench.score_table import ScoreTable
from deepdrift.lab.bench.strange_sets import NORMAL, Judge, Recorded, StrangeSets
from deepdrift.lab.bench.tables import as_table
from deepdrift.lab.dime.explorer import DISTANCES, Array, RankSweep, auroc_by_column

SHARES = (0.9, 0.95, 0.99, 0.999, 1.0)


def ranks_by_share(features: Tensor) -> dict[str, int]:
    """Smallest rank that holds each share of the variance."""
    return {f"{share:.1%}": DIME(share).fit(features).rank for share in SHARES}


def held_by(features: Tensor, labels: Tensor, rank: int) -> float:
    """Share of the differences between class means that lies in the first directions."""
    x = features.double()
    centres = torch.stack([x[labels == c].mean(dim=0) for c in labels.unique()])
    spread = centres - centres.mean(dim=0)
    directions = DIME(rank).fit(x).hyperplane_basis_vectors
    return ((spread @ directions).square().sum() / spread.square().sum()).item()


def loudness_of_within(recorded: Recorded, rank: int) -> float:
    """Rank correlation of the distance within with the largest logit, on normal images."""
    plane = DIME(rank).fit(recorded.features["fit"])
    inside = plane.distance_within_hyperplane(recorded.features[NORMAL])
    loud = recorded.logits[NORMAL].amax(dim=1).double()
    ordered = torch.stack([inside, loud]).argsort().argsort().double()
    return torch.corrcoef(ordered)[0, 1].item()


class Curves:
    """AUROC of both distances at every rank, by strange set, for the features of one network.

    Attributes
    ----------
    by_set : dict of str to ndarray, shape (15, R)
        Distance -> one row per strange set.
    mean : dict of str to ndarray, shape (R,)
        Mean over the sets.
    shares : ndarray, shape (R,)
        Share of the variance that the first r directions hold.
    rank : int
        Smallest rank that holds 99 % of the variance.
    """

    def __init__(self, recorded: Recorded, sets: StrangeSets) -> None:
        sweep = RankSweep(recorded.features["fit"])
        far = {k: sweep.distances(recorded.features[k]) for k in (NORMAL, *sets.strange)}
        self.by_set: dict[str, Array] = {
            d: np.array([auroc_by_column(far[NORMAL][d], far[k][d]) for k in sets.strange])
            for d in DISTANCES
        }
        self.mean = {d: rows.mean(axis=0) for d, rows in self.by_set.items()}
        self.shares, self.names = sweep.shares, sets.strange
        self.rank = DIME(0.99).fit(recorded.features["fit"]).rank

    def at(self, distance: str, rank: int) -> float:
        """Mean AUROC of a distance at a rank."""
        return float(self.mean[distance][rank - 1])

    def cost_of_the_share(self) -> tuple[float, float, str]:
        """What 99 % costs against each set's own best rank: mean, largest, and where."""
        rows = self.by_set["outside"]
        cost = rows.max(axis=1) - rows[:, self.rank - 1]
        return float(cost.mean()), float(cost.max()), self.names[int(cost.argmax())]

    def best_ranks(self) -> tuple[int, int]:
        """Smallest and largest of the ranks that the single sets would have liked best."""
        places = self.by_set["outside"].argmax(axis=1)
        return int(places.min()) + 1, int(places.max()) + 1


def at_four_ranks(curves: Mapping[str, Curves]) -> dict[str, dict[str, float]]:
    """Mean AUROC of both distances at rank 1, 8, that of 99 %, and the full one."""
    return {
        f"{name}, {distance}": {
            "rank 1": c.at(distance, 1),
            "rank 8": c.at(distance, 8),
            "99 %": c.at(distance, c.rank),
            "full": c.at(distance, len(c.shares)),
        }
        for name, c in curves.items()
        for distance in c.mean
    }


def planes_and_rivals(recorded: Recorded, sets: StrangeSets) -> ScoreTable:
    """Planes of 99 % and their strongest rivals on the same images.

    ``DIME, outside`` and ``DIME, within`` see the last features; ``DIME, all layers`` has a plane
    in every layer, whose conformal p-values add up as ``-log p``.
    """
    names = [NORMAL, *sets.strange]
    plane = DIME(0.99).fit(recorded.features["fit"])
    layers = {n: DIME(0.99).fit(x) for n, x in recorded.states["fit"].items()}
    for name, own in layers.items():
        own.calibrate(recorded.states["calibration"][name])
    judge = Judge(recorded, sets, "fused, layers only")
    known = recorded.features["fit"], sets.fit.images
    found = {}
    for name in names:
        features, states = recorded.features[name], recorded.states[name]
        p = torch.stack([own.p_values(states[n], "out") for n, own in layers.items()], dim=1)
        simple = simple_scores(sets.images[name], recorded.logits[name], features, *known)
        found[name] = {
            "DIME, outside": plane.distance_to_hyperplane(features),
            "DIME, within": plane.distance_within_hyperplane(features),
            "DIME, all layers": -p.log().sum(dim=1),
            "kNN": simple["kNN"],
            "energy": simple["energy"],
            "pixel statistics": simple["pixel statistics"],
            "fused, layers only": judge.read(name).score,
        }
    return ScoreTable(found)


def surely(table: ScoreTable, one: str, other: str) -> tuple[int, int]:
    """On how many sets one score is surely better than another, and surely worse (paired)."""
    gaps = [table.lead(one, other, name) for name in table.strange]
    return sum(e.low > 0 for e in gaps), sum(e.high < 0 for e in gaps)


def where(table: ScoreTable, one: str, other: str) -> list[str]:
    """The sets on which one score is surely better than another."""
    return [name for name in table.strange if table.lead(one, other, name).low > 0]


def grid_and_conformal(
    recorded: Recorded, unseen: Tensor, sizes: Sequence[int], draws: int = 100
) -> dict[int, Array]:
    """False-alarm rates of two rules at 5 % for calibration sets of several sizes.

    Each array is ``(draws, 4)``: probability on the percentile grid >= 0.95; conformal p <= 0.05;
    share of probabilities that are exactly 1; share of p-values that are 0.
    """
    plane = DIME(0.99).fit(recorded.features["fit"])
    normal = torch.cat([recorded.features["calibration"], unseen])
    generator = torch.Generator().manual_seed(0)
    kept = {}
    for n in sizes:
        rates = []
        for _ in range(draws):
            order = torch.randperm(len(normal), generator=generator)
            rest = normal[order[n : n + 1500]]
            plane.calibrate(normal[order[:n]])
            q = plane.distance_to_hyperplane(rest, return_probabilities=True)
            p = plane.p_values(rest, "out")
            flags = (q >= 0.95, p <= 0.05 + 1e-12, q == 1.0, p == 0.0)
            rates.append([x.double().mean().item() for x in flags])
        kept[n] = np.array(rates)
    return kept


def held_out_or_own(
    recorded: Recorded, unseen: Tensor, n: int, alpha: float
) -> dict[str, Estimate]:
    """False-alarm rate of a plane through n images, calibrated on others or on the same n."""
    x = recorded.features["fit"][:n]
    planes = {
        "others": DIME(0.99).fit(x).calibrate(recorded.features["calibration"]),
        "its own": DIME(0.99).fit(x, calibrate_against_trainingset=True),
    }
    alarms = {k: plane.p_values(unseen, "out") <= alpha + 1e-12 for k, plane in planes.items()}
    return {k: proportion(int(flags.sum()), len(flags)) for k, flags in alarms.items()}


RankTest = Callable[[Callable[[Tensor, float], int]], bool]


def three_tests(shares: Tensor) -> dict[str, RankTest]:
    """Three tests of a rank function: in range, never less for more, one number by hand."""
    generator = torch.Generator().manual_seed(0)
    spectra = torch.rand(50, 8, generator=generator).sort(descending=True).values
    spectra = (spectra / spectra.sum(dim=1, keepdim=True)).double()
    return {
        "in range": lambda rank: all(1 <= rank(s, 0.9) <= len(s) for s in spectra),
        "never less for more": lambda rank: all(
            rank(s, 0.5) <= rank(s, 0.9) <= rank(s, 0.99) for s in spectra
        ),
        "by hand": lambda rank: rank(shares, 0.85) == 3,
    }


def as_lines(rows: Mapping[str, Mapping[str, float]]) -> str:
    """`deepdrift.lab.bench.tables.as_table` with narrow columns."""
    return as_table(rows, width=9)


def means(tables: Mapping[str, ScoreTable]) -> dict[str, dict[str, float]]:
    """Mean AUROC of every score, by score and network."""
    first = next(iter(tables.values()))
    return {
        score: {network: fmean([table.mean(score)]) for network, table in tables.items()}
        for score in first.names
    }
