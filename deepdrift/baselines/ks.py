"""Kolmogorov-Smirnov test of every feature, corrected for their number: the simple contrast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deepdrift.baselines.samples import Features
from deepdrift.errors import CalibrationError, require
from deepdrift.evidence.calibration import combine_p_values
from deepdrift.states.batches import Forward
from deepdrift.states.padding import MaskSource
from deepdrift.states.pooling import Layouts


@dataclass(frozen=True)
class KSTest:
    """Outcome of D two-sample tests.

    Attributes
    ----------
    is_drift : bool
        ``p_value <= alpha``.
    p_value : float
        ``min(1, D min p_values)``.
    alpha : float
        Largest probability of calling drift where there is none.
    worst_feature : int
        Column with the smallest p-value.
    n_reference, n_test : int
    statistics, p_values : Tensor, shape (D,)
        Largest gap between the two distribution functions, in [0, 1], and its p-value.
    """

    is_drift: bool
    p_value: float
    alpha: float
    worst_feature: int
    n_reference: int
    n_test: int
    statistics: Tensor = field(repr=False, compare=False)
    p_values: Tensor = field(repr=False, compare=False)

    def __str__(self) -> str:
        return (
            f"{'Drift' if self.is_drift else 'No drift found'}: feature {self.worst_feature} of "
            f"{len(self.p_values)} differs most (gap {self.statistics[self.worst_feature]:.3g}, "
            f"corrected p = {self.p_value:.3g}, alpha = {self.alpha:g}, {self.n_reference} "
            f"reference and {self.n_test} test samples)."
        )


class KSDrift:
    """Compare each feature's distribution function with the reference, Bonferroni-corrected.

    Sees changes of single features only: two features whose *relation* changes look the same. The
    p-values are SciPy's (`scipy.stats.ks_2samp`), exact for small samples and, with ties, too
    large rather than too small.

    Parameters
    ----------
    reference : Tensor or array (N, D); or whatever ``feature_map`` takes; or a loader
    alpha : float
        Level, between 0 and 1.
    feature_map, layer, layout, mask, forward
        As for `deepdrift.baselines.mmd.MMDDrift`.

    Raises
    ------
    CalibrationError
        For an unusable reference or alpha.
    MissingExtraError
        In `test`, if SciPy is not installed.

    Examples
    --------
    >>> g = torch.Generator().manual_seed(0)
    >>> shifted = torch.randn(60, 3, generator=g) + torch.tensor([0.0, 0.0, 2.0])
    >>> test = KSDrift(torch.randn(60, 3, generator=g)).test(shifted)
    >>> test.is_drift, test.worst_feature
    (True, 2)
    """

    def __init__(
        self,
        reference: Any,
        *,
        alpha: float = 0.05,
        feature_map: Callable[[Any], Any] | None = None,
        layer: str | None = None,
        layout: Layouts = "auto",
        mask: MaskSource = None,
        forward: Forward | None = None,
    ) -> None:
        if not 0 < alpha < 1:
            raise CalibrationError(f"alpha: expected a rate between 0 and 1, got {alpha!r}")
        self.alpha = float(alpha)
        self.features = Features(feature_map, layer, layout=layout, mask=mask, forward=forward)
        self.reference = self.features(reference, "reference", minimum=2, error=CalibrationError)

    def test(self, x: Any) -> KSTest:
        """Compare new samples ``(M, D)``, M >= 2, with the reference.

        Raises
        ------
        StateError
            For another width, fewer than two samples, NaN or infinity.
        """
        stats = require("scipy.stats", "lab")
        x = self.features(x, "x", minimum=2, width=self.reference.shape[1])
        found = stats.ks_2samp(self.reference.numpy(), x.numpy(), axis=0)
        p_values = torch.as_tensor(found.pvalue, dtype=torch.float64, device="cpu")
        p_value = float(combine_p_values(p_values, "bonferroni"))
        return KSTest(
            is_drift=p_value <= self.alpha,
            p_value=p_value,
            alpha=self.alpha,
            worst_feature=int(p_values.argmin()),
            n_reference=len(self.reference),
            n_test=len(x),
            statistics=torch.as_tensor(found.statistic, dtype=torch.float64, device="cpu"),
            p_values=p_values,
        )
