"""Refuse what is no probability, no label, no score."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.errors import DeepDriftError

__all__ = ["ConfidenceError", "check_labels", "check_pair", "check_probabilities", "check_scores"]


class ConfidenceError(DeepDriftError, ValueError):
    """Predictions or labels from which confidence cannot be judged."""


def as_tensor(values: Any) -> Tensor:
    """A detached tensor on the CPU; numbers of a list keep their 64 bits."""
    if isinstance(values, Tensor):
        return values.detach().cpu()
    return torch.from_numpy(np.array(values))


def check_probabilities(probabilities: Any) -> Tensor:
    """The same numbers as float64 on the CPU, or a sentence that says what they are instead.

    Parameters
    ----------
    probabilities : array_like, shape (N, K)
        N >= 1 predictions over K >= 2 classes; each row lies in [0, 1] and sums to 1, to 1e-4 (half
        precision: K roundings of its own, 2**-8 each for bfloat16 and 2**-11 for float16).

    Raises
    ------
    ConfidenceError
        For logits, also when they happen to lie in [0, 1]; NaN; a single column; no row.

    Examples
    --------
    >>> check_probabilities([[0.25, 0.75]]).dtype
    torch.float64
    >>> check_probabilities([[0.2, 0.9]])
    Traceback (most recent call last):
    deepdrift...ConfidenceError: probabilities: row 0 sums to 1.1, not to 1: are these logits? ...
    """
    given = as_tensor(probabilities)
    if given.ndim != 2 or len(given) == 0 or given.shape[1] < 2:
        raise ConfidenceError(
            "probabilities: expected shape (N, K), N >= 1 predictions over K >= 2 classes, got "
            f"{tuple(given.shape)}; a binary model's single p becomes the two columns 1 - p and p"
        )
    if not given.is_floating_point():
        raise ConfidenceError(f"probabilities: expected floats, got {given.dtype}")
    rounding = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}.get(given.dtype, 0.0)
    p = given.double()
    bad = ~p.isfinite().all(dim=1)
    if bad.any():
        raise ConfidenceError(
            f"probabilities: {int(bad.sum())} of {len(p)} rows hold NaN or infinity, the first is "
            f"row {int(bad.nonzero()[0])}; a prediction that is no number has no confidence"
        )
    remedy = "are these logits? Pass logits.softmax(dim=1)"
    outside = ((p < 0) | (p > 1)).any(dim=1)
    if outside.any():
        row = int(outside.nonzero()[0])
        low, high = float(p[row].min()), float(p[row].max())
        raise ConfidenceError(
            f"probabilities: row {row} reaches from {low:.4g} to {high:.4g}, outside of [0, 1]: "
            f"{remedy}"
        )
    gap = (p.sum(dim=1) - 1).abs()
    allowed = 1e-4 + rounding * p.shape[1]
    if bool((gap > allowed).any()):
        row = int(gap.argmax()) if rounding else int((gap > allowed).nonzero()[0])
        raise ConfidenceError(
            f"probabilities: row {row} sums to {float(p[row].sum()):.4g}, not to 1: {remedy}"
        )
    return p


def check_labels(labels: Any, n: int, n_classes: int, name: str = "labels") -> Tensor:
    """Labels ``(N,)`` as int64 on the CPU, each from 0 to K-1.

    Raises
    ------
    ConfidenceError
        For another length, one-hot rows, fractions, NaN, or labels outside of the K classes.

    Examples
    --------
    >>> check_labels([0, 2], n=2, n_classes=3)
    tensor([0, 2])
    """
    given = as_tensor(labels)
    if given.shape != (n,):
        raise ConfidenceError(
            f"{name}: expected shape ({n},), one class index per prediction, got "
            f"{tuple(given.shape)}" + ("; of one-hot rows take argmax(1)" if given.ndim > 1 else "")
        )
    if given.is_floating_point() and not bool((given == given.round()).all()):  # NaN too
        raise ConfidenceError(f"{name}: expected whole numbers, got fractions or NaN")
    found = given.to(torch.int64)
    wrong = (found < 0) | (found >= n_classes)
    if wrong.any():
        raise ConfidenceError(
            f"{name}: expected 0 to {n_classes - 1}, got {int(found[wrong][0])} at position "
            f"{int(wrong.nonzero()[0])} ({int(wrong.sum())} such); where the model knows no right "
            "answer, its calibration is not defined: see calibration_report(probabilities)"
        )
    return found


def check_pair(probabilities: Any, labels: Any) -> tuple[Tensor, Tensor]:
    """Both checked, and of one length."""
    p = check_probabilities(probabilities)
    return p, check_labels(labels, len(p), p.shape[1])


def check_whole(name: str, value: Any, low: int) -> int:
    """A whole number of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ConfidenceError(f"{name}: expected a whole number of at least {low}, got {value!r}")
    return value


def check_scores(scores: Any, correct: Any) -> tuple[Tensor, Tensor]:
    """Scores ``(N,)`` as float64 and right answers ``(N,)`` as bool, N >= 1.

    Infinity is the most unusual score of all; NaN has no place in an order and is refused.
    """
    s, c = as_tensor(scores), as_tensor(correct)
    if s.ndim != 1 or len(s) == 0 or s.shape != c.shape:
        raise ConfidenceError(
            "scores, correct: expected two of the same shape (N,), N >= 1, got "
            f"{tuple(s.shape)} and {tuple(c.shape)}"
        )
    if s.double().isnan().any():
        raise ConfidenceError(f"scores: {int(s.double().isnan().sum())} of {len(s)} are NaN")
    if not bool(((c == 0) | (c == 1)).all()):
        raise ConfidenceError(
            "correct: expected True or False for each prediction (prediction == label), got other "
            "numbers; are these labels?"
        )
    return s.double(), c.bool()
