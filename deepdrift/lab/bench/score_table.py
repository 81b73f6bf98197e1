"""Many scores of many sets: who ranks strange above normal, and who does it better, in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from torch import Tensor

from deepdrift.lab.bench.evaluation import Estimate, EvaluationError, auroc, auroc_difference
from deepdrift.lab.bench.rivals import simple_scores
from deepdrift.lab.bench.strange_sets import NORMAL, Judge, Recorded, StrangeSets, peak_velocity


@dataclass(frozen=True)
class Verdicts:
    """Sets on which one score is surely better than others, surely worse, or neither."""

    won: tuple[str, ...]
    tied: tuple[str, ...]
    lost: tuple[str, ...]

    def __str__(self) -> str:
        counts = f"{len(self.won)} wins, {len(self.tied)} ties, {len(self.lost)} losses"
        return counts + (f" ({', '.join(self.lost)})" if 0 < len(self.lost) <= 3 else "")


class ScoreTable:
    """Scores of normal and strange sets, larger = more unusual, compared by AUROC.

    Parameters
    ----------
    scores : mapping of set to mapping of score to Tensor, shape (N,)
        The first set is the normal one; every set has the same scores.

    Examples
    --------
    >>> import torch
    >>> normal = {"a": torch.tensor([1.0, 4.0, 6.0]), "b": torch.tensor([1.0, 2.0, 3.0])}
    >>> strange = {"a": torch.tensor([5.0, 7.0]), "b": torch.tensor([5.0, 7.0])}
    >>> table = ScoreTable({"clothing": normal, "digits": strange})
    >>> round(float(table.auroc("a", "digits")), 3)  # 5 of 6 pairs
    0.833
    >>> table.means()
    {'b': 1.0, 'a': 0.833}
    """

    def __init__(self, scores: Mapping[str, Mapping[str, Tensor]]) -> None:
        self._scores = {name: dict(own) for name, own in scores.items()}
        kinds = {tuple(own) for own in self._scores.values()}
        if len(self._scores) < 2 or len(kinds) != 1 or not next(iter(kinds)):
            raise EvaluationError(
                "scores: expected a normal and at least one strange set, each with the same "
                f"scores, got { {name: list(own) for name, own in self._scores.items()} }"
            )
        self.normal, *self.strange = self._scores
        self.names = list(self._scores[self.normal])
        self.auroc = cache(self._auroc)

    def __getitem__(self, name: str) -> dict[str, Tensor]:
        """Every score of one set."""
        return self._scores[name]

    def _auroc(self, score: str, name: str) -> Estimate:
        """Share of pairs in which the strange one of a set has the larger score."""
        return auroc(self[self.normal][score], self[name][score])

    def lead(self, one: str, other: str, name: str) -> Estimate:
        """AUROC of one score minus that of another on the same images of a set, paired."""
        pairs = [self[k][score] for score in (one, other) for k in (self.normal, name)]
        return auroc_difference(*pairs)

    def against(self, one: str, rivals: Sequence[str]) -> Verdicts:
        """One score beside the best of several, which is picked for each set after the fact."""
        found: dict[str, list[str]] = {"won": [], "tied": [], "lost": []}
        for name in self.strange:
            best = max(rivals, key=lambda score: float(self.auroc(score, name)))
            gap = self.lead(one, best, name)
            found["won" if gap.low > 0 else "lost" if gap.high < 0 else "tied"].append(name)
        return Verdicts(*(tuple(names) for names in found.values()))

    def mean(self, score: str, names: Sequence[str] | None = None) -> float:
        """Mean AUROC over all strange sets, or over some."""
        return fmean(float(self.auroc(score, name)) for name in names or self.strange)

    def means(self) -> dict[str, float]:
        """Mean AUROC of every score over all strange sets, best first."""
        found = {score: round(self.mean(score), 3) for score in self.names}
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def by_group(
        self, groups: Mapping[str, Sequence[str]], scores: Sequence[str]
    ) -> list[list[float]]:
        """Mean AUROC of each score (rows) over each group, and over all sets (last column)."""
        return [
            [*(self.mean(score, names) for names in groups.values()), self.mean(score)]
            for score in scores
        ]


OURS = ("innovation", "distance", "fused, layers only", "fused, without input", "fused")


def all_scores(
    recorded: Recorded, sets: StrangeSets, ours: Sequence[str] = OURS
) -> dict[str, dict[str, Tensor]]:
    """Raw velocity, some scores of ours, and the simple rivals, for every set of a network."""
    judges = {score: Judge(recorded, sets, score) for score in ours}
    known = recorded.features["fit"], sets.fit.images
    found = {}
    for seed, name in enumerate([NORMAL, *sets.strange]):
        inside = recorded.logits[name], recorded.features[name]
        found[name] = {"raw velocity": peak_velocity(recorded.states[name])}
        found[name] |= {score: judge.read(name).score for score, judge in judges.items()}
        found[name] |= simple_scores(sets.images[name], *inside, *known, seed=seed)
    return found
