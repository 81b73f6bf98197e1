"""A false-alarm rate for every predicted class: ranks within the class instead of among all.

One threshold for all keeps its rate over all normal samples, not over each class: a class that
varies more is flagged more often. Here the score of a sample is ranked among normal samples that
the network puts in the same class (Mondrian conformal prediction; Vovk, Gammerman and Shafer
2005). The predicted class needs no label of the new sample.

The p-values are valid within every group of classes: given the n + 1 predicted classes, the new
sample's among them, the samples of one group are exchangeable. So the groups must not depend on
which of the n + 1 is the new one:

1. count the n + 1 samples of each class;
2. classes with fewer than ``required_samples(alpha) + 1`` form one common group, the pool;
3. if the pool itself is smaller than that, the next larger class joins it, and so on.

Ranking the samples of a pool that is too small among all samples would not do: the ranks are those
of other classes, and the pool could be flagged at any rate.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from deepdrift.errors import CalibrationError
from deepdrift.evidence.calibration import (
    calibration_scores,
    conformal_threshold,
    p_values_from_sorted,
    required_samples,
)


class ClassRanks:
    """Conformal p-values within predicted classes.

    Parameters
    ----------
    scores : Tensor, shape (n,)
        Finite scores of normal samples; larger = more unusual.
    classes : Tensor, shape (n,), integer
        Their predicted classes.
    alpha : float
        False-alarm rate that every group must support; it decides which classes are pooled.

    Attributes
    ----------
    thresholds : dict of int to float
        Class -> threshold; a score above it has p <= alpha.
    pooled : tuple of int
        Classes that are judged together; so is a class that no normal sample was put in.

    Raises
    ------
    CalibrationError
        If there is not one class per score, or if all samples together are too few for alpha.

    Examples
    --------
    Class 0 is quiet, with scores 1, 2, 3, and class 1 is loud.

    >>> scores = torch.tensor([1.0, 2.0, 3.0, 10.0, 20.0, 30.0, 40.0, 15.0])
    >>> classes = torch.tensor([0, 0, 0, 1, 1, 1, 1, 7])
    >>> ranks = ClassRanks(scores[:7], classes[:7], alpha=0.4)
    >>> ranks.p_values(torch.tensor([9.0, 9.0]), torch.tensor([0, 1])).tolist()
    [0.25, 1.0]

    Alpha needs two normal samples in a group. Class 7 has one, the score 15, and is pooled with the
    smaller of the others: of 1, 2, 3 and 15 one is larger than 9, so p = 2 / 5.

    >>> ranks = ClassRanks(scores, classes, alpha=0.4)
    >>> ranks.pooled, ranks.p_values(torch.tensor([9.0]), torch.tensor([7])).tolist()
    ((0, 7), [0.4])
    """

    def __init__(self, scores: Tensor, classes: Tensor, alpha: float) -> None:
        scores = calibration_scores(scores).flatten()
        if classes.shape != scores.shape:
            raise CalibrationError(
                f"classes: expected one per score, shape {tuple(scores.shape)}, got "
                f"{tuple(classes.shape)}"
            )
        conformal_threshold(scores, alpha)  # or the error that says how many are needed
        classes = classes.cpu()
        found, counts = classes.unique(return_counts=True)
        sizes = dict(zip(found.tolist(), counts.tolist(), strict=True))
        needed = required_samples(alpha) + 1
        unseen = int(found[-1]) + 1
        groups = {c: group_of(c, sizes, needed) for c in (*sizes, unseen)}
        ordered = {
            group: scores[torch.isin(classes, torch.tensor(group, device="cpu"))].sort().values
            for group in set(groups.values())
        }
        threshold = {group: conformal_threshold(part, alpha) for group, part in ordered.items()}
        self._ordered = {c: ordered[group] for c, group in groups.items()}
        self._unseen = self._ordered.pop(unseen)
        self.thresholds = {c: threshold[groups[c]] for c in sizes}
        self.pooled = tuple(c for c in sizes if len(groups[c]) > 1)

    def p_values(self, scores: Tensor, classes: Tensor) -> Tensor:
        """The p-values ``(N,)``, float64; 0 where a score is not finite.

        Parameters
        ----------
        scores : Tensor, shape (N,), float64
        classes : Tensor, shape (N,), integer
            Predicted classes.
        """
        classes = classes.cpu()
        p = torch.empty(len(scores), dtype=torch.float64, device="cpu")
        for c in classes.unique().tolist():
            rows = classes == c
            normal = self._ordered.get(c, self._unseen)
            p[rows] = p_values_from_sorted(normal, scores[rows])
        return p


def group_of(new: int, sizes: Mapping[int, int], needed: int) -> tuple[int, ...]:
    """Classes among which a new sample is ranked, one of which it is put in.

    Parameters
    ----------
    new : int
        Predicted class of the new sample.
    sizes : mapping of int to int
        Class -> calibration samples that are put in it.
    needed : int
        Smallest group, the new sample counted in.

    Examples
    --------
    >>> sizes = {0: 50, 1: 3, 2: 20, 3: 4}
    >>> group_of(0, sizes, needed=8), group_of(1, sizes, needed=8)
    ((0,), (1, 3))
    >>> group_of(1, sizes, needed=20)  # 8 are too few: the next larger class joins
    (1, 3, 2)
    """
    counts = dict(sizes)
    counts[new] = counts.get(new, 0) + 1
    pool: list[int] = []
    total = 0
    for c in sorted(counts, key=lambda c: (counts[c], c)):
        if counts[c] >= needed and not 0 < total < needed:
            break
        pool.append(c)
        total += counts[c]
    return tuple(pool) if new in pool else (new,)
