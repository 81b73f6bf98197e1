"""Answer some, pass on the others: what is wrong among the answers that are accepted?

A score orders the predictions, larger meaning more unusual; those below a threshold are accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.confidence.checks import check_scores, check_share, check_whole

__all__ = ["RiskCoverage", "augrc_difference", "augrc_interval", "risk_coverage"]

BLOCK = 2**20  # numbers of a bootstrap held at a time


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Risk against coverage, from the surest prediction to all of them.

    Attributes
    ----------
    coverage : Tensor, shape (M,)
        Share accepted, rising to 1; predictions of equal score are accepted together.
    risk : Tensor, shape (M,)
        Share of wrong ones among the accepted (selective risk).
    aurc : float
        Mean selective risk, weighted by the predictions that each step adds (Geifman et al. 2019).
    augrc : float
        Area under ``coverage * risk``, the share of all that is accepted *and* wrong (Traub et al.
        2024, Overcoming Common Flaws in the Evaluation of Selective Classification Systems): with
        e the error rate, ``e (1 - e) (1 - AUROC) + e**2 / 2``, and e / 2 for a score that knows
        nothing. Every mistake weighs the same, whereas AURC weighs those at the sure end most.
    """

    coverage: Tensor
    risk: Tensor
    aurc: float
    augrc: float


def _steps(s: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number accepted and number wrong among them, after each distinct score."""
    order = np.argsort(s, kind="stable")
    s, wrong = s[order], wrong[order]
    ends = np.append(np.flatnonzero(s[1:] != s[:-1]), len(s) - 1)
    return ends + 1, np.cumsum(wrong)[ends]


def risk_coverage(scores: Any, correct: Any) -> RiskCoverage:
    """Risk among the accepted for every threshold.

    Parameters
    ----------
    scores : array_like, shape (N,)
        Larger means more unusual; infinity is allowed, NaN is not.
    correct : array_like, shape (N,), bool
        Whether each prediction is right.

    Returns
    -------
    RiskCoverage
        Between two steps the accepted-and-wrong share is a straight line, as if ties were broken
        at random.

    Examples
    --------
    The surest two are right, the third is wrong, the last is right.

    >>> found = risk_coverage([1, 2, 3, 4], [True, True, False, True])
    >>> found.risk.tolist() == [0, 0, 1 / 3, 1 / 4]
    True
    >>> found.augrc  # trapezoids of 0, 0, 1/4, 1/4 over four steps of 1/4, after a start at 0
    0.09375
    """
    s, c = check_scores(scores, correct)
    accepted, wrong = _steps(s.numpy(), (~c).numpy())
    n = len(s)
    risk = wrong / accepted
    aurc = float((risk * np.diff(accepted, prepend=0)).sum() / n)
    coverage = torch.from_numpy(accepted / n)
    return RiskCoverage(coverage, torch.from_numpy(risk), aurc, _augrc(s.numpy(), (~c).numpy()))


def _augrc(s: np.ndarray, wrong: np.ndarray) -> float:
    accepted, count = _steps(s, wrong)
    n = len(s)
    joint = np.concatenate([[0.0], count / n])
    return float((np.diff(accepted, prepend=0) / n * (joint[1:] + joint[:-1]) / 2).sum())


def _augrc_weighted(s: np.ndarray, wrong: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUGRC for rows of bootstrap counts ``(R, N)``, ties halved."""
    order = np.argsort(s, kind="stable")
    ranked, wrong, weights = s[order], wrong[order].astype(float), weights[:, order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(s) - 1)
    accepted = np.concatenate([np.zeros((len(weights), 1)), weights.cumsum(1)[:, ends]], axis=1)
    joint = (weights * wrong).cumsum(1)[:, ends]
    joint = np.concatenate([np.zeros((len(weights), 1)), joint], axis=1)
    n = accepted[:, -1:]
    areas = np.diff(accepted, axis=1) * (joint[:, 1:] + joint[:, :-1]) / 2
    return areas.sum(axis=1) / n[:, 0] ** 2


def _bootstrap(scores: list[np.ndarray], wrong: np.ndarray, n: int, seed: int) -> np.ndarray:
    """AUGRC of each score on the same ``n`` resamples of the predictions, shape (scores, n)."""
    n = check_whole("n_bootstrap", n, 100)
    generator = np.random.default_rng(check_whole("seed", seed, 0))
    equal = np.full(len(wrong), 1 / len(wrong))
    step = max(1, BLOCK // len(wrong))
    blocks = []
    for start in range(0, n, step):
        size = min(step, n - start)
        weights = generator.multinomial(len(wrong), equal, size=size).astype(float)
        blocks.append([_augrc_weighted(s, wrong, weights) for s in scores])
    return np.concatenate(blocks, axis=1)


def _ends(drawn: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def augrc_interval(
    scores: Any, correct: Any, *, n_bootstrap: int = 1000, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float, float]:
    """AUGRC with a percentile bootstrap over predictions: value, low, high.

    Without a mistake among the predictions every resample gives 0: the interval then says nothing
    about mistakes that are rare.

    Examples
    --------
    >>> value, low, high = augrc_interval(range(100), [i < 80 for i in range(100)])
    >>> round(value, 4), low < value < high
    (0.02, True)
    """
    s, c = check_scores(scores, correct)
    confidence = check_share("confidence", confidence)
    drawn = _bootstrap([s.numpy()], (~c).numpy(), n_bootstrap, seed)
    return _augrc(s.numpy(), (~c).numpy()), *_ends(drawn[0], confidence)


def augrc_difference(
    first: Any,
    second: Any,
    correct: Any,
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """AUGRC of one score minus that of another on the same predictions; negative: first is better.

    The same resamples serve both, so that luck they share cancels.

    Examples
    --------
    >>> augrc_difference([1, 2, 3], [1, 2, 3], [True, True, False])
    (0.0, 0.0, 0.0)
    """
    (a, c), (b, _) = check_scores(first, correct, "first"), check_scores(second, correct, "second")
    confidence, wrong = check_share("confidence", confidence), (~c).numpy()
    drawn = _bootstrap([a.numpy(), b.numpy()], wrong, n_bootstrap, seed)
    value = _augrc(a.numpy(), wrong) - _augrc(b.numpy(), wrong)
    return value, *_ends(drawn[0] - drawn[1], confidence)
