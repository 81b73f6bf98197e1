"""One number that makes a network as sure as it may be, on the data that chose it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deepdrift.confidence.checks import (
    ConfidenceError,
    as_tensor,
    check_labels,
    check_number,
    row_tolerance,
)

__all__ = ["apply_temperature", "fit_temperature"]

LIMITS = (1e-4, 1e4)


def _check_logits(logits: Any) -> Tensor:
    """Finite logits ``(N, K)``, float64, of which each row's largest is moved to 0."""
    z = as_tensor(logits, "logits")
    if z.ndim != 2 or len(z) == 0 or z.shape[1] < 2 or not z.is_floating_point():
        raise ConfidenceError(
            "logits: expected floats of shape (N, K), N >= 1 predictions over K >= 2 classes, got "
            f"{z.dtype}, {tuple(z.shape)}"
        )
    allowed, z = row_tolerance(z.dtype), z.double()
    if not bool(z.isfinite().all()):
        raise ConfidenceError(
            "logits: expected finite numbers, got NaN or infinity; of a class that is ruled out by "
            "minus infinity, leave the column away"
        )
    if bool((z >= 0).all()) and bool(((z.sum(dim=1) - 1).abs() <= allowed).all()):
        raise ConfidenceError(
            "logits: every row lies in [0, 1] and sums to 1: these are probabilities. Pass what "
            "comes before the softmax, or probabilities.log()"
        )
    return z - z.amax(dim=1, keepdim=True)


def _check_best(z: Tensor, right: Tensor, y: Tensor) -> None:
    """Refuse data whose likelihood has no largest value at a temperature between 0 and infinity."""
    if bool((y == y[0]).all()):
        raise ConfidenceError(
            f"labels: all {len(y)} are class {int(y[0])}; expected held-out data of several "
            "classes. Are the rows sorted by class?"
        )
    if bool((z == 0).all()):
        raise ConfidenceError(
            "logits: every row is constant, so each temperature gives the same probabilities"
        )
    if bool((right == 0).all()):  # no logit is larger than that of the right class
        raise ConfidenceError(
            f"labels: all {len(z)} predictions are right, so the likeliest temperature is 0; fit "
            "on more held-out data, which has mistakes"
        )
    if float((right - z.mean(dim=1)).sum()) <= 0:  # slope of the likelihood in 1/T, at 1/T = 0
        raise ConfidenceError(
            "labels: the logits of the right classes are not larger than the others, so the "
            "likeliest temperature is infinite; are these the labels of these logits?"
        )


def _loss(z: Tensor, right: Tensor, log_t: Tensor) -> tuple[Tensor, Tensor]:
    """Mean negative log-likelihood, and its slope in log T."""
    scaled, own = z * (-log_t).exp(), right * (-log_t).exp()
    value = scaled.logsumexp(dim=1) - own
    slope = own - (scaled.softmax(dim=1) * scaled).sum(dim=1)
    return value.mean(), slope.mean()


def fit_temperature(logits: Any, labels: Any) -> float:
    """The T that makes ``softmax(logits / T)`` most likely (Guo et al. 2017, section 4.2).

    T > 1 makes a network less sure; the predicted class never changes. Use held-out data of the
    kind that will come: what is learnt here holds there alone.

    Parameters
    ----------
    logits : array_like, shape (N, K)
        What comes before the softmax, of any scale.
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
        If no T is best: every prediction is right (T would fall to 0), the logits say nothing
        about the labels (T would grow without end), or the labels are of one class.

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
    right = z[torch.arange(len(z)), y]
    _check_best(z, right, y)
    log_t = torch.zeros((), dtype=torch.float64)
    optimizer = torch.optim.LBFGS(
        [log_t],
        max_iter=200,
        tolerance_grad=1e-12,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        value, log_t.grad = _loss(z, right, log_t)  # by hand: works in inference mode too
        return value

    optimizer.step(closure)  # type: ignore[arg-type]
    t = float(log_t.exp())
    if not LIMITS[0] <= t <= LIMITS[1]:
        raise ConfidenceError(
            f"logits: the likeliest temperature is {t:.3g}, outside of {LIMITS[0]:g} to "
            f"{LIMITS[1]:g}; check that logits and labels belong together"
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
    t = check_number("temperature", temperature, float("inf"), "a positive, finite number")
    return (z / t).softmax(dim=1)
