"""One number that makes a network as sure as it may be, on the data that chose it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from deepdrift.confidence.checks import ConfidenceError, as_tensor, check_labels

__all__ = ["apply_temperature", "fit_temperature"]

LIMITS = (0.01, 100.0)


def _check_logits(logits: Any) -> Tensor:
    z = as_tensor(logits)
    if z.ndim != 2 or len(z) == 0 or z.shape[1] < 2 or not z.is_floating_point():
        raise ConfidenceError(
            "logits: expected floats of shape (N, K), N >= 1 predictions over K >= 2 classes, got "
            f"{z.dtype}, {tuple(z.shape)}"
        )
    z = z.double()
    if not bool(z.isfinite().all()):
        raise ConfidenceError("logits: expected finite numbers, got NaN or infinity")
    if bool((z >= 0).all()) and bool(((z.sum(dim=1) - 1).abs() < 1e-4).all()):
        raise ConfidenceError(
            "logits: every row lies in [0, 1] and sums to 1: these are probabilities. Pass what "
            "comes before the softmax, or probabilities.log()"
        )
    return z


def fit_temperature(logits: Any, labels: Any) -> float:
    """The T that makes ``softmax(logits / T)`` most likely (Guo et al. 2017, section 4.2).

    T > 1 makes a network less sure; the predicted class never changes. Use held-out data of the
    kind that will come: what is learnt here holds there alone.

    Parameters
    ----------
    logits : array_like, shape (N, K)
    labels : array_like, shape (N,)
        Right classes, 0 to K-1.

    Returns
    -------
    float
        Divides the logits (some packages multiply by theirs, which is 1 / T). Found by LBFGS on
        log T, in float64.

    Raises
    ------
    ConfidenceError
        If no T is best: every prediction is right (T would fall to 0) or the logits say nothing
        about the labels (T would grow without end).

    Examples
    --------
    The logit gap is log 9, so confidence is 0.9, but only 3 of 4 are right: log 9 / T = log 3.

    >>> gap = torch.log(torch.tensor(9.0, dtype=torch.float64))
    >>> logits = torch.stack([gap, 0 * gap]).expand(4, 2)
    >>> round(fit_temperature(logits, [0, 0, 0, 1]), 4)
    2.0
    """
    z = _check_logits(logits)
    y = check_labels(labels, len(z), z.shape[1])
    if bool((z.argmax(dim=1) == y).all()):
        raise ConfidenceError(
            f"labels: all {len(z)} predictions are right, so the likeliest temperature is 0; fit "
            "on more held-out data, which has mistakes"
        )
    right = z[torch.arange(len(z)), y]
    if (
        float((right - z.mean(dim=1)).sum()) <= 0
    ):  # the likelihood still grows as T goes to infinity
        raise ConfidenceError(
            "labels: the logits of the right classes are not larger than the others, so the "
            "likeliest temperature is infinite; are these the labels of these logits?"
        )
    with torch.enable_grad():
        log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([log_t], max_iter=200, line_search_fn="strong_wolfe")
        optimizer.defaults["tolerance_grad"] = 1e-10

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = cross_entropy(z / log_t.exp(), y)
            value.backward()
            return value

        optimizer.step(loss)
    t = float(log_t.detach().exp())
    if not LIMITS[0] <= t <= LIMITS[1]:
        raise ConfidenceError(
            f"logits: the likeliest temperature is {t:.3g}, outside of {LIMITS[0]} to {LIMITS[1]}; "
            "check that logits and labels belong together"
        )
    return t


def apply_temperature(logits: Any, temperature: float) -> Tensor:
    """``softmax(logits / temperature)``, shape (N, K), float64.

    Examples
    --------
    >>> apply_temperature([[4.0, 0.0]], 2.0).tolist() == apply_temperature([[2.0, 0.0]], 1).tolist()
    True
    """
    z = _check_logits(logits)
    t = float(temperature)
    if not 0 < t < float("inf"):
        raise ConfidenceError(f"temperature: expected a positive number, got {temperature!r}")
    return (z / t).softmax(dim=1)
