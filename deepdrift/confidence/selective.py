"""Answer some, pass on the others: what is wrong among the answers that are accepted?

A score orders the predictions, larger meaning more unusual; those below a threshold are accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.confidence.checks import ConfidenceError, check_scores, check_whole

__all__ = [
    "Acceptance",
    "RiskCoverage",
    "accept_at_risk",
    "augrc_difference",
    "augrc_interval",
    "risk_coverage",
]

N_STEPS = 20  # coverages that `accept_at_risk` tests


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
        2024, eq. 8); half the error rate for a score that knows nothing. Every mistake weighs the
        same, whereas AURC weighs those at the sure end without bound.
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


def _resamples(n: int, n_bootstrap: int, seed: int) -> np.ndarray:
    check_whole("n_bootstrap", n_bootstrap, 100)
    generator = np.random.default_rng(seed)
    return generator.multinomial(n, np.full(n, 1 / n), size=n_bootstrap).astype(float)


def augrc_interval(
    scores: Any, correct: Any, *, n_bootstrap: int = 1000, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float, float]:
    """AUGRC with a percentile bootstrap over predictions: value, low, high.

    Examples
    --------
    >>> value, low, high = augrc_interval(range(100), [i < 80 for i in range(100)])
    >>> round(value, 4), low < value < high
    (0.02, True)
    """
    s, c = check_scores(scores, correct)
    weights = _resamples(len(s), n_bootstrap, seed)
    drawn = _augrc_weighted(s.numpy(), (~c).numpy(), weights)
    return _augrc(s.numpy(), (~c).numpy()), *_ends(drawn, confidence)


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
    (a, c), (b, _) = check_scores(first, correct), check_scores(second, correct)
    weights, wrong = _resamples(len(a), n_bootstrap, seed), (~c).numpy()
    drawn = [_augrc_weighted(s.numpy(), wrong, weights) for s in (a, b)]
    value = _augrc(a.numpy(), wrong) - _augrc(b.numpy(), wrong)
    return value, *_ends(drawn[0] - drawn[1], confidence)


def _ends(drawn: np.ndarray, confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise ConfidenceError(f"confidence: expected a share between 0 and 1, got {confidence!r}")
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Acceptance:
    """A threshold with a promise: at most ``max_risk`` of the accepted are wrong.

    Attributes
    ----------
    threshold : float
        Accept scores up to it; minus infinity accepts none.
    coverage, risk : float
        Share accepted and share of wrong ones among them, on the data that chose it (risk is NaN
        if none is accepted).
    bound : float
        Upper confidence bound of that risk; NaN if none is accepted.
    max_risk, confidence : float
        What is promised, and with which probability over the data that chose.
    n : int
        Predictions that chose.
    """

    threshold: float
    coverage: float
    risk: float
    bound: float
    max_risk: float
    confidence: float
    n: int

    def accepts(self, scores: Any) -> Tensor:
        """Which predictions are accepted, shape (N,), bool; NaN never is."""
        s = torch.as_tensor(scores).detach().cpu().double()
        return (s <= self.threshold) & (self.coverage > 0)

    def __str__(self) -> str:
        if self.coverage == 0:
            return (
                f"No promise: with n = {self.n:,} nothing keeps the risk below {self.max_risk:.1%} "
                f"with {self.confidence:.0%} confidence."
            )
        return (
            f"Accept {self.coverage:.1%} of {self.n:,}: {self.risk:.2%} wrong, with "
            f"{self.confidence:.0%} confidence below {self.bound:.2%} (promised: "
            f"{self.max_risk:.1%})."
        )


def accept_at_risk(
    scores: Any, correct: Any, max_risk: float, confidence: float = 0.9
) -> Acceptance:
    """The largest share of predictions of which at most ``max_risk`` are wrong, with confidence.

    Coverages 1/20, 2/20, ..., 1 are tested from the sure end, each by an exact binomial
    (Clopper-Pearson) bound. Steps too small to pass whatever the answers are left out, and the
    first that fails ends the search: the order is fixed before the answers are seen, so the whole
    keeps the confidence without dividing it (fixed-sequence testing, Angelopoulos et al. 2021,
    Learn then Test; Geifman and El-Yaniv 2017 divide it instead). A score of infinity is never
    accepted.

    Parameters
    ----------
    scores, correct
        As in `risk_coverage`; data that the scores were not fitted on.
    max_risk : float
        Between 0 and 1.
    confidence : float
        Probability, over this draw of data, that the promise holds for data of the same kind.

    Examples
    --------
    The 190 surest of 200 are right: accepting them bounds the risk by 1 - 0.1 ** (1 / 190).

    >>> found = accept_at_risk(range(200), [i < 190 for i in range(200)], max_risk=0.02)
    >>> found.coverage, found.threshold, round(found.bound, 4)
    (0.95, 189.0, 0.012)
    """
    from scipy.stats import beta

    s, c = check_scores(scores, correct)
    for name, value in (("max_risk", max_risk), ("confidence", confidence)):
        if not 0 < value < 1:
            raise ConfidenceError(f"{name}: expected a share between 0 and 1, got {value!r}")
    accepted, wrong = _steps(s.numpy(), (~c).numpy())
    ordered, n = s.sort().values, len(s)
    best = Acceptance(-np.inf, 0.0, np.nan, np.nan, max_risk, confidence, n)
    for step in range(1, N_STEPS + 1):
        limit = float(ordered[-(-step * n // N_STEPS) - 1])
        if limit == np.inf:
            break
        at = int(np.searchsorted(accepted, int((s <= limit).sum())))
        k, m = int(wrong[at]), int(accepted[at])
        bound = 1.0 if k == m else float(beta.ppf(confidence, k + 1, m - k))
        if bound <= max_risk:
            best = Acceptance(limit, m / n, k / m, bound, max_risk, confidence, n)
        elif best.coverage or 1 - (1 - confidence) ** (1 / m) <= max_risk:
            break  # a step of this size can pass, and did not
    return best
