"""How likely is an answer wrong, given its score: a rising curve and a band around it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from deepdrift.guard.checks import GuardError

Method = Literal["platt", "isotonic"]
LEAST = 5  # right answers and wrong answers below which no curve is drawn


def fit_platt(scores: np.ndarray, wrong: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of ``P(wrong) = 1 / (1 + exp(-(a s + b)))``, by maximum likelihood.

    Platt (1999) with his targets ``(N+ + 1) / (N+ + 2)`` and ``1 / (N- + 2)`` in place of 1 and 0,
    so that separable scores have a finite slope. The slope is kept >= 0.

    Examples
    --------
    >>> a, b = fit_platt(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0, 1, 0, 1]))
    >>> a > 0, round(-b / a, 6)  # an even chance in the middle
    (True, 1.5)
    """
    from scipy.optimize import minimize

    n_wrong, n_right = int(wrong.sum()), int((wrong == 0).sum())
    target = np.where(wrong, (n_wrong + 1) / (n_wrong + 2), 1 / (n_right + 2))
    centre, scale = float(scores.mean()), float(scores.std()) or 1.0
    x = (scores - centre) / scale

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        z = theta[0] * x + theta[1]
        gap = 1 / (1 + np.exp(-np.clip(z, -500, 500))) - target
        return float((np.logaddexp(0, z) - target * z).sum()), np.array(
            [(gap * x).sum(), gap.sum()]
        )

    start = np.array([0.0, np.log((n_wrong + 1) / (n_right + 1))])
    bounds = [(0.0, None), (None, None)]
    options = {"ftol": 1e-15, "gtol": 1e-10}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    slope = float(found[0]) / scale
    return slope, float(found[1]) - slope * centre


def fit_isotonic(scores: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best rising step function: distinct scores, ascending, and the share of wrong ones at each.

    Least squares by pooling adjacent violators (Ayer and others, 1955), equal scores together.

    Examples
    --------
    >>> fit_isotonic(np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1]))[1].tolist()
    [0.5, 0.5, 1.0]
    """
    from scipy.optimize import isotonic_regression

    x, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    share = np.bincount(place, weights=wrong) / counts
    return x, isotonic_regression(share, weights=counts).x


def rising_band(
    scores: np.ndarray, wrong: np.ndarray, at: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limit of a rising curve at some scores, each with this confidence.

    The share of wrong answers among the 1, 2, 4, ... nearest scores that are not above ``at``
    bounds the curve from below, among those that are not below it from above: by exact binomial
    limits (Clopper and Pearson 1934), of which the best counts; each has its share of the error
    (Bonferroni). Nothing is assumed but that the curve rises.

    Parameters
    ----------
    scores, wrong : array, shape (N,)
        Of known answers, wrong as 0 and 1.
    at : array, shape (B,)

    Examples
    --------
    Twenty wrong answers of twenty, all at scores below: above them the rate is high too.

    >>> low, high = rising_band(np.arange(20.0), np.ones(20), np.array([25.0]), 0.9)
    >>> bool(low[0] > 0.7), high.tolist()
    (True, [1.0])
    """
    from scipy.stats import beta

    order = np.argsort(scores, kind="stable")
    s, total = scores[order], np.concatenate([[0], np.cumsum(wrong[order])])
    sizes = 2 ** np.arange(len(s).bit_length())
    each = (1 - confidence) / 2 / len(sizes)
    end = np.searchsorted(s, at, side="right")[:, None]
    start = np.searchsorted(s, at)[:, None]
    below = total[end] - total[np.maximum(end - sizes, 0)]  # wrong among the nearest below
    above = total[np.minimum(start + sizes, len(s))] - total[start]
    n_below, n_above = np.minimum(sizes, end), np.minimum(sizes, len(s) - start)
    with np.errstate(invalid="ignore"):
        lows = beta.ppf(each, below, n_below - below + 1)
        highs = beta.isf(each, above + 1, n_above - above)
    low = np.where(below == 0, 0.0, lows).max(axis=1)
    return low, np.where(above == n_above, 1.0, highs).min(axis=1)


class WrongCurve:
    """Probability that an answer is wrong, as a rising function of its score, with a band.

    Parameters
    ----------
    scores : Tensor, shape (N,)
        Of answers that are known to be right or wrong; larger is more doubtful.
    wrong : Tensor, shape (N,), bool
    method : {"platt", "isotonic"}
        A logistic curve, for some dozens of answers; or the best rising steps, for hundreds.
    confidence : float
        Of the band, at the score of each answer.
    where : str
        What the answers belong to, for messages.

    Raises
    ------
    GuardError
        For fewer than `LEAST` right or wrong answers, or scores that are not finite.

    Examples
    --------
    >>> scores = torch.arange(40.0)
    >>> curve = WrongCurve(scores, scores % 4 == 3, "isotonic")  # one in four is wrong
    >>> p, low, high = curve(torch.tensor([20.0]))
    >>> bool(low < p < high), round(p.item(), 2)
    (True, 0.25)
    """

    def __init__(
        self,
        scores: Tensor,
        wrong: Tensor,
        method: Method = "platt",
        confidence: float = 0.9,
        where: str = "",
    ) -> None:
        if method not in ("platt", "isotonic"):
            raise GuardError(f"method: expected 'platt' or 'isotonic', got {method!r}")
        if not 0 < confidence < 1:
            raise GuardError(f"confidence: expected a share between 0 and 1, got {confidence!r}")
        n_wrong, n = int(wrong.sum()), len(wrong)
        for name, count in (("wrong", n_wrong), ("right", n - n_wrong)):
            if count < LEAST:
                raise GuardError(
                    f"correct: a probability of being wrong needs {LEAST} {name} answers or more"
                    f"{where}, got {count} of {n}; add some, or leave `correct` out: right answers "
                    "alone give a threshold, no probability"
                )
        if not bool(scores.isfinite().all()):
            raise GuardError(
                f"scores: {int((~scores.isfinite()).sum())} of {n} are NaN or infinite; look at "
                "the answers they come from"
            )
        self.method, self.confidence, self.n = method, float(confidence), n
        s, w = scores.double().numpy(), wrong.long().numpy()
        self._curve: Any = fit_platt(s, w) if method == "platt" else fit_isotonic(s, w)
        self._known = s, w

    def __call__(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probability, lower and upper limit ``(B,)``, float64; NaN where a score is NaN."""
        s = scores.double().numpy()
        if self.method == "platt":
            slope, intercept = self._curve
            p = 1 / (1 + np.exp(-np.clip(slope * s + intercept, -500, 500)))
        else:
            p = np.interp(s, *self._curve)
        low, high = rising_band(*self._known, s, self.confidence)
        bad = np.isnan(s)
        found = (p, np.minimum(low, p), np.maximum(high, p))
        p, low, high = (torch.from_numpy(np.where(bad, np.nan, x)) for x in found)
        return p, low, high
