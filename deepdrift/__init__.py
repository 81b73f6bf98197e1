"""DeepDrift: learn, teach and practise watching a neural network from the inside."""

from deepdrift.calibration import (
    combine_p_values,
    conformal_p_values,
    conformal_threshold,
    iqr_threshold,
    quantile_threshold,
    required_samples,
)
from deepdrift.collect import Collected, collect
from deepdrift.distance import LayerDistance
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
from deepdrift.hooks import auto_layers, list_layers, record
from deepdrift.innovation import Innovation, StepPredictor
from deepdrift.monitor import DeepDriftMonitor
from deepdrift.reference import Reference
from deepdrift.scorer import StateScorer
from deepdrift.velocity import spatial_velocity, temporal_acceleration, temporal_velocity
from deepdrift.vision import DeepDriftVision, VisionDiagnosis

__version__ = "0.1.0"

__all__ = [
    "CalibrationError",
    "Collected",
    "DeepDriftError",
    "DeepDriftMonitor",
    "DeepDriftVision",
    "ForwardError",
    "Innovation",
    "LayerDistance",
    "LayerNotFoundError",
    "MissingExtraError",
    "NotFittedError",
    "Reference",
    "ReferenceFileError",
    "StateError",
    "StateScorer",
    "StepPredictor",
    "VisionDiagnosis",
    "auto_layers",
    "collect",
    "combine_p_values",
    "conformal_p_values",
    "conformal_threshold",
    "iqr_threshold",
    "list_layers",
    "quantile_threshold",
    "record",
    "required_samples",
    "spatial_velocity",
    "temporal_acceleration",
    "temporal_velocity",
]
