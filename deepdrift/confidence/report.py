"""All of it at once, or the reason why it has no meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from deepdrift.confidence.checks import check_pair, check_probabilities
from deepdrift.confidence.null import CalibrationTest, calibration_test
from deepdrift.confidence.proper import Brier, brier, nll
from deepdrift.confidence.reliability import adaptive_ece, classwise_ece, max_calibration_error

__all__ = ["CalibrationReport", "NotDefined", "calibration_report"]


@dataclass(frozen=True)
class NotDefined:
    """The typed answer where a number would be a mistake.

    Examples
    --------
    >>> answer = NotDefined("no right answer exists")
    >>> print(f"{answer}.")
    not defined: no right answer exists.
    >>> float(answer)
    Traceback (most recent call last):
    TypeError: not defined: no right answer exists
    """

    reason: str

    def __str__(self) -> str:
        return f"not defined: {self.reason}"

    def __float__(self) -> NoReturn:
        raise TypeError(str(self))

    __int__ = __index__ = __bool__ = __float__  # type: ignore[assignment]

    def __format__(self, spec: str) -> str:
        if spec:  # such as ``.3f``, which wants a number
            raise TypeError(str(self))
        return str(self)


@dataclass(frozen=True)
class CalibrationReport:
    """How far confidence can be trusted on labelled predictions.

    Attributes
    ----------
    n : int
    accuracy, confidence : float
        Share of right predictions, and mean confidence.
    test : CalibrationTest
        ECE beside what a calibrated model would show.
    adaptive_ece, classwise_ece, max_calibration_error, nll : float
    brier : Brier
    """

    n: int
    accuracy: float
    confidence: float
    test: CalibrationTest
    adaptive_ece: float
    classwise_ece: float
    max_calibration_error: float
    brier: Brier
    nll: float

    def __str__(self) -> str:
        return f"Accuracy {self.accuracy:.3f}, mean confidence {self.confidence:.3f}. {self.test}"


def calibration_report(
    probabilities: Any,
    labels: Any = None,
    n_bins: int = 15,
    *,
    n_simulations: int = 1000,
    seed: int = 0,
) -> CalibrationReport | NotDefined:
    """Every measure of this package for one set of predictions.

    Parameters
    ----------
    probabilities : array_like, shape (N, K)
    labels : array_like, shape (N,), or None
        None where the right answer is none of the K classes, as for images of another data set:
        their calibration is not defined. Comparing with the other set's class numbers gives the
        mean confidence back and nothing else, ``ECE = confidence - 0``.
    n_bins, n_simulations, seed
        As in `deepdrift.confidence.calibration_test`.

    Examples
    --------
    >>> print(calibration_report([[0.9, 0.1]]))
    not defined: no label is right here; look at confidence (mean 0.900) and at the AUROC of a score
    """
    if labels is None:
        p = check_probabilities(probabilities)
        sure = float(p.amax(dim=1).mean())
        return NotDefined(
            f"no label is right here; look at confidence (mean {sure:.3f}) and at the AUROC of a "
            "score"
        )
    p, y = check_pair(probabilities, labels)
    top, guess = p.max(dim=1)
    return CalibrationReport(
        len(p),
        float((guess == y).double().mean()),
        float(top.mean()),
        calibration_test(p, y, n_bins, n_simulations=n_simulations, seed=seed),
        adaptive_ece(p, y, n_bins),
        classwise_ece(p, y, n_bins),
        max_calibration_error(p, y, n_bins),
        brier(p, y, n_bins),
        nll(p, y),
    )
