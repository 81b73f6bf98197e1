"""Refuse what is no probability, no label, no score."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.errors import DeepDriftError

__all__ = ["ConfidenceError", "check_labels", "check_pair", "check_probabilities", "check_scores"]

ROUNDED = 1e-6  # how far beyond 0 and 1 arithmetic alone may carry a probability


class ConfidenceError(DeepDriftError, ValueError):
    """Predictions or labels from which confidence cannot be judged."""


def as_tensor(values: Any, name: str) -> Tensor:
    """A detached tensor on the CPU; numbers of a list keep their 64 bits."""
    if isinstance(values, Tensor):
        found = values.detach().cpu()
    else:
        try:
            found = torch.from_numpy(np.array(values))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfidenceError(
                f"{name}: expected numbers in a tensor, an array or nested lists of equal length, "
                f"got {type(values).__name__} ({error})"
            ) from error
    if found.is_complex():
        raise ConfidenceError(f"{name}: expected real numbers, got {found.dtype}")
    return found


def row_tolerance(dtype: torch.dtype) -> float:
    """How far from 1 the sum of a row of probabilities may lie.

    Half precision adds four roundings, each relative to what it rounds, so that the number of
    classes does not matter: 4 * 2**-8 for bfloat16, 4 * 2**-11 for float16.

    Examples
    --------
    >>> row_tolerance(torch.float32), row_tolerance(torch.bfloat16)
    (0.0001, 0.015725)
    """
    return 1e-4 + 4 * {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}.get(dtype, 0.0)


def check_probabilities(probabilities: Any) -> Tensor:
    """The same numbers as float64 on the CPU, or a sentence that says what they are instead.

    Parameters
    ----------
    probabilities : array_like, shape (N, K)
        N >= 1 predictions over K >= 2 classes; each row lies in [0, 1] and sums to 1, to 1e-4
        (float16: to 0.0021, bfloat16: to 0.016). What exceeds [0, 1] by less than a millionth is
        rounding, and is set to 0 or 1.

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
    given = as_tensor(probabilities, "probabilities")
    if given.ndim != 2 or len(given) == 0 or given.shape[1] < 2:
        raise ConfidenceError(
            "probabilities: expected shape (N, K), N >= 1 predictions over K >= 2 classes, got "
            f"{tuple(given.shape)}; a binary model's single p becomes the two columns 1 - p and p"
        )
    if not given.is_floating_point():
        raise ConfidenceError(
            f"probabilities: expected floats, got {given.dtype}; pass what the softmax gave, not "
            "the predicted classes"
        )
    p = given.double()
    bad = ~p.isfinite().all(dim=1)
    if bad.any():
        raise ConfidenceError(
            f"probabilities: {int(bad.sum())} of {len(p)} rows hold NaN or infinity, the first is "
            f"row {int(bad.nonzero()[0])}; a prediction that is no number has no confidence"
        )
    remedy = "are these logits? Pass logits.softmax(dim=1)"
    outside = ((p < -ROUNDED) | (p > 1 + ROUNDED)).any(dim=1)
    if outside.any():
        row = int(outside.nonzero()[0])
        low, high = float(p[row].min()), float(p[row].max())
        raise ConfidenceError(
            f"probabilities: row {row} reaches from {low:.4g} to {high:.4g}, outside of [0, 1]: "
            f"{remedy}"
        )
    gap = (p.sum(dim=1) - 1).abs()
    wrong = gap > row_tolerance(given.dtype)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        if float(gap.max()) < 0.02:
            remedy += "; if they were rounded, divide each row by its sum"
        raise ConfidenceError(
            f"probabilities: row {row} sums to {float(p[row].sum()):.6g}, not to 1: {remedy}"
        )
    return p.clamp(0, 1)


def check_labels(labels: Any, n: int, n_classes: int, name: str = "labels") -> Tensor:
    """Labels ``(N,)`` as int64 on the CPU, each from 0 to K-1.

    Raises
    ------
    ConfidenceError
        For another length, one-hot rows, fractions, NaN, or labels outside of the K classes. Whole
        numbers stored as floats are taken, as a table with a gap gives them.

    Examples
    --------
    >>> check_labels([0, 2], n=2, n_classes=3)
    tensor([0, 2])
    """
    given = as_tensor(labels, name)
    if given.shape != (n,):
        remedy = ""
        if given.ndim == 2:
            column = given.shape[1] == 1
            remedy = f"; take {name}[:, 0]" if column else "; of one-hot rows take argmax(1)"
        raise ConfidenceError(
            f"{name}: expected shape ({n},), one class index per prediction, got "
            f"{tuple(given.shape)}{remedy}"
        )
    if given.is_floating_point() and not bool((given.isfinite() & (given == given.round())).all()):
        raise ConfidenceError(
            f"{name}: expected whole numbers, got fractions or NaN; a class index counts from 0"
        )
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
    """A whole number of at least ``low``, also one of NumPy's."""
    try:
        found = low - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = low - 1
    if found < low:
        raise ConfidenceError(f"{name}: expected a whole number of at least {low}, got {value!r}")
    return found


def check_number(name: str, value: Any, high: float, what: str) -> float:
    """A number above 0 and below ``high``; NaN is none."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = np.nan
    if not 0 < found < high:
        raise ConfidenceError(f"{name}: expected {what}, got {value!r}")
    return found


def check_share(name: str, value: Any) -> float:
    """A number between 0 and 1, without the ends."""
    return check_number(name, value, 1.0, "a share between 0 and 1")


def check_scores(scores: Any, correct: Any, name: str = "scores") -> tuple[Tensor, Tensor]:
    """Scores ``(N,)`` as float64 and right answers ``(N,)`` as bool, N >= 1.

    Infinity is the most unusual score of all; NaN has no place in an order and is refused.
    """
    s, c = as_tensor(scores, name), as_tensor(correct, "correct")
    if s.ndim != 1 or len(s) == 0 or s.shape != c.shape:
        raise ConfidenceError(
            f"{name}, correct: expected two of the same shape (N,), N >= 1, got "
            f"{tuple(s.shape)} and {tuple(c.shape)}"
        )
    s = s.double()
    if s.isnan().any():
        raise ConfidenceError(
            f"{name}: {int(s.isnan().sum())} of {len(s)} are NaN; what has no score is the most "
            "unusual of all: set it to infinity"
        )
    if not bool(((c == 0) | (c == 1)).all()):
        raise ConfidenceError(
            "correct: expected True or False for each prediction (prediction == label), got other "
            "numbers; are these labels?"
        )
    return s, c.bool()
