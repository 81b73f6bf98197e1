"""DeepDrift: learn, teach and practise watching a neural network from the inside."""

from typing import Any

from deepdrift.alarms.config import ObserverConfig, ObserverError, State
from deepdrift.alarms.diagnosis import Diagnosis, diagnose_drift
from deepdrift.alarms.events import Event, Step
from deepdrift.alarms.fsm import DriftObserver
from deepdrift.alarms.replay import Trace, replay
from deepdrift.alarms.run_length import (
    average_run_length,
    false_alarms_per_1000,
    threshold_for_rate,
)
from deepdrift.baselines import (
    DIME,
    DriftTest,
    KSDrift,
    KSTest,
    MMDAggregated,
    MMDDrift,
    bandwidth_grid,
    median_heuristic,
    mmd2_biased,
    mmd2_linear,
    mmd2_unbiased,
)
from deepdrift.errors import (
    CalibrationError,
    DeepDriftError,
    ForwardError,
    LayerNotFoundError,
    MissingExtraError,
    NotFittedError,
    ReferenceFileError,
    StateError,
)
from deepdrift.evidence.calibration import (
    combine_p_values,
    conformal_p_values,
    conformal_threshold,
    iqr_threshold,
    quantile_threshold,
    required_samples,
)
from deepdrift.evidence.e_process import EProcess, e_process, e_value
from deepdrift.monitor.monitor import DeepDriftMonitor
from deepdrift.monitor.reference import Reference
from deepdrift.monitor.scorer import StateScorer
from deepdrift.monitor.shards import merge
from deepdrift.scores.distance import LayerDistance
from deepdrift.scores.innovation import Innovation, StepPredictor
from deepdrift.scores.velocity import spatial_velocity, temporal_acceleration, temporal_velocity
from deepdrift.states.blocks import auto_layers
from deepdrift.states.collect import Collected, collect
from deepdrift.states.hooks import record
from deepdrift.states.listing import list_layers
from deepdrift.vision import DeepDriftVision, VisionDiagnosis

__version__ = "0.1.0"

__all__ = [
    "CalibrationError",
    "Collected",
    "DIME",
    "DeepDriftError",
    "DeepDriftMonitor",
    "DeepDriftVision",
    "Diagnosis",
    "DriftObserver",
    "DriftTest",
    "EProcess",
    "Event",
    "ForwardError",
    "Innovation",
    "KSDrift",
    "KSTest",
    "LayerDistance",
    "LayerNotFoundError",
    "MMDAggregated",
    "MMDDrift",
    "MissingExtraError",
    "NotFittedError",
    "ObserverConfig",
    "ObserverError",
    "Reference",
    "ReferenceFileError",
    "State",
    "StateError",
    "StateScorer",
    "Step",
    "StepPredictor",
    "Trace",
    "VisionDiagnosis",
    "auto_layers",
    "average_run_length",
    "bandwidth_grid",
    "collect",
    "combine_p_values",
    "conformal_p_values",
    "conformal_threshold",
    "diagnose_drift",
    "e_process",
    "e_value",
    "false_alarms_per_1000",
    "iqr_threshold",
    "list_layers",
    "median_heuristic",
    "merge",
    "mmd2_biased",
    "mmd2_linear",
    "mmd2_unbiased",
    "plot_drift_profile",
    "quantile_threshold",
    "record",
    "replay",
    "required_samples",
    "spatial_velocity",
    "temporal_acceleration",
    "temporal_velocity",
    "threshold_for_rate",
]


def __getattr__(name: str) -> Any:
    """The one name that needs matplotlib, imported when it is first asked for."""
    if name == "plot_drift_profile":
        from deepdrift.lab.diagnosis.figures import plot_drift_profile

        return plot_drift_profile
    raise AttributeError(f"module 'deepdrift' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
