"""Can a stated confidence be believed? Calibration, its null, temperature, and abstention.

In: probabilities ``(N, K)`` with labels, or a score with right and wrong. Out: errors of
calibration beside what chance gives, a temperature, a threshold with a promise; a typed
`NotDefined` where labels have no meaning. A new measure of calibration goes to `reliability`.
"""

from deepdrift.confidence.acceptance import Acceptance, accept_at_risk
from deepdrift.confidence.checks import ConfidenceError, check_probabilities
from deepdrift.confidence.null import CalibrationTest, calibration_test, ece_null, reliability_band
from deepdrift.confidence.proper import Brier, brier, nll
from deepdrift.confidence.reliability import (
    Reliability,
    adaptive_ece,
    classwise_ece,
    ece,
    max_calibration_error,
    reliability,
)
from deepdrift.confidence.report import CalibrationReport, NotDefined, calibration_report
from deepdrift.confidence.selective import (
    RiskCoverage,
    augrc_difference,
    augrc_interval,
    risk_coverage,
)
from deepdrift.confidence.temperature import apply_temperature, fit_temperature

__all__ = [
    "Acceptance",
    "Brier",
    "CalibrationReport",
    "CalibrationTest",
    "ConfidenceError",
    "NotDefined",
    "Reliability",
    "RiskCoverage",
    "accept_at_risk",
    "adaptive_ece",
    "apply_temperature",
    "augrc_difference",
    "augrc_interval",
    "brier",
    "calibration_report",
    "calibration_test",
    "check_probabilities",
    "classwise_ece",
    "ece",
    "ece_null",
    "fit_temperature",
    "max_calibration_error",
    "nll",
    "reliability",
    "reliability_band",
    "risk_coverage",
]
