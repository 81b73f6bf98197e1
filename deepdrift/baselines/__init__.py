"""The established methods that hidden-state monitoring is compared with, exact and fast."""

from deepdrift.baselines.dime import DIME
from deepdrift.baselines.discrepancy import mmd2_biased, mmd2_linear, mmd2_unbiased
from deepdrift.baselines.kernels import bandwidth_grid, median_heuristic
from deepdrift.baselines.ks import KSDrift, KSTest
from deepdrift.baselines.mmd import DriftTest, MMDDrift
from deepdrift.baselines.mmd_aggregated import MMDAggregated

__all__ = [
    "DIME",
    "DriftTest",
    "KSDrift",
    "KSTest",
    "MMDAggregated",
    "MMDDrift",
    "bandwidth_grid",
    "median_heuristic",
    "mmd2_biased",
    "mmd2_linear",
    "mmd2_unbiased",
]
