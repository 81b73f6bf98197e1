"""A promise about the answers that are given: at most this share of them is wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from deepdrift.confidence.checks import as_tensor, check_scores, check_share

__all__ = ["Acceptance", "accept_at_risk"]

N_STEPS = 20  # coverages that `accept_at_risk` tests


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
        s = as_tensor(scores, "scores").double()
        return (s <= self.threshold) & (self.coverage > 0)

    def __str__(self) -> str:
        if self.coverage > 0:
            return (
                f"Accept {self.coverage:.1%} of {self.n:,}: {self.risk:.2%} wrong, with "
                f"{self.confidence:.0%} confidence below {self.bound:.2%} (promised: "
                f"{self.max_risk:.1%})."
            )
        least = _fewest(self.max_risk, self.confidence)
        if self.n < least:
            return (
                f"No promise: n = {self.n:,} is too few to keep the risk below {self.max_risk:.1%} "
                f"with {self.confidence:.0%} confidence; it takes {least:,} without a mistake."
            )
        return (
            f"No promise: with n = {self.n:,} nothing keeps the risk below {self.max_risk:.1%} "
            f"with {self.confidence:.0%} confidence."
        )


def _upper(wrong: int, n: int, confidence: float) -> float:
    """Clopper-Pearson: the risk at which so few wrong ones, or fewer, have 1 - confidence.

    Examples
    --------
    >>> round(_upper(0, 29, 0.95), 4), _upper(3, 3, 0.9)  # 1 - 0.05 ** (1 / 29)
    (0.0981, 1.0)
    """
    from scipy.stats import beta

    return 1.0 if wrong == n else float(beta.ppf(confidence, wrong + 1, n - wrong))


def _fewest(max_risk: float, confidence: float) -> int:
    """Fewest predictions that can keep the promise, if all of them are right.

    Examples
    --------
    >>> _fewest(0.05, 0.9)  # 0.95 ** 44 > 0.1 > 0.95 ** 45
    45
    """
    return math.ceil(math.log1p(-confidence) / math.log1p(-max_risk))


def accept_at_risk(
    scores: Any, correct: Any, max_risk: float, confidence: float = 0.9
) -> Acceptance:
    """The largest share of predictions of which at most ``max_risk`` are wrong, with confidence.

    Coverages 1/20, 2/20, ..., 1 are tested from the sure end, each by an exact binomial
    (Clopper-Pearson) bound. Steps too small to pass whatever the answers are left out, and the
    first that fails ends the search: the order is fixed before the answers are seen, so the whole
    keeps the confidence without dividing it (fixed-sequence testing, Angelopoulos et al. 2021,
    Learn then Test; Geifman and El-Yaniv 2017 divide it instead). To break the promise the first
    step whose true risk is too large has to pass, and that has probability 1 - confidence at most.
    The price: mistakes among the surest few end the search early. A score of infinity is never
    accepted.

    The promise is for data of the same kind as these; under a shift it is none.

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
    s, c = check_scores(scores, correct)
    max_risk = check_share("max_risk", max_risk)
    confidence = check_share("confidence", confidence)
    ordered, n = s.sort().values, len(s)
    best = Acceptance(-math.inf, 0.0, math.nan, math.nan, max_risk, confidence, n)
    for step in range(1, N_STEPS + 1):
        limit = float(ordered[-(-step * n // N_STEPS) - 1])
        if limit == math.inf:
            break
        kept = s <= limit
        m, wrong = int(kept.sum()), int((kept & ~c).sum())
        if m < _fewest(max_risk, confidence):
            continue
        bound = _upper(wrong, m, confidence)
        if bound > max_risk:
            break
        best = Acceptance(limit, m / n, wrong / m, bound, max_risk, confidence, n)
    return best
