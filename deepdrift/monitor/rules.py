"""From the scores of normal samples to a threshold: the rules, and what a `Calibration` tells."""

from __future__ import annotations

import torch
from torch import Tensor

from deepdrift.errors import CalibrationError
from deepdrift.evidence import calibration as cal
from deepdrift.evidence.classes import ClassRanks
from deepdrift.monitor.results import Calibration
from deepdrift.scores.chain import ChainSums

METHODS = ("conformal", "quantile", "iqr")
PREDICTED = "second.predicted"  # classes of the second half, among the calibration scores


def check_rule(method: str, per_class: bool, output_layer: str | None) -> None:
    """Refuse what no threshold can be made from.

    Raises
    ------
    CalibrationError
        For an unknown method, and for ``per_class`` with another method than ``conformal`` or
        without an output layer.

    Examples
    --------
    >>> check_rule("quantile", per_class=True, output_layer="head")
    Traceback (most recent call last):
    deepdrift...CalibrationError: per_class: only method='conformal' keeps a rate in every class...
    """
    if method not in METHODS:
        raise CalibrationError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
    if per_class and method != "conformal":
        raise CalibrationError(
            f"per_class: only method='conformal' keeps a rate in every class, got {method!r}"
        )
    if per_class and output_layer is None:
        raise CalibrationError(
            "per_class: the predicted class is the largest logit, and no output layer is watched; "
            "name it with output_layer, or leave per_class out"
        )


def calibration_of(
    normal: Tensor,
    method: str,
    alpha: float,
    n_tails: int = 1,
    sums: ChainSums | None = None,
    classes: ClassRanks | None = None,
) -> Calibration:
    """What normal scores ``(n,)`` say, and their threshold by one of `METHODS`.

    With two tails the conformal threshold spends half of alpha on the upper one.

    Examples
    --------
    >>> found = calibration_of(torch.arange(1.0, 42.0, dtype=torch.float64), "iqr", 0.1)
    >>> found.q25, found.q75, found.threshold  # 31 + 1.5 (31 - 11)
    (11.0, 31.0, 61.0)
    """
    threshold = {
        "conformal": lambda: cal.conformal_threshold(normal, alpha / n_tails),
        "quantile": lambda: cal.quantile_threshold(normal, alpha),
        "iqr": lambda: cal.iqr_threshold(normal),
    }[method]()
    quarters = torch.tensor([0.25, 0.75], dtype=torch.float64, device="cpu")
    q25, q75 = torch.quantile(normal, quarters).tolist()
    return Calibration(
        n_samples=len(normal),
        n_fit=0 if sums is None else sums.n,
        n_classes=1 if sums is None else sums.n_classes,
        alpha=alpha,
        method=method,
        threshold=threshold,
        mean=float(normal.mean()),
        std=float(normal.std(correction=0)),
        q25=q25,
        q75=q75,
        iqr=q75 - q25,
        iqr_threshold=cal.iqr_threshold(normal),
        class_thresholds={} if classes is None else classes.thresholds,
        pooled_classes=() if classes is None else classes.pooled,
    )
