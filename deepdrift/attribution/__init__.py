"""Where a network looks: maps of pixels, maps that refuse, and how alike two maps are.

In: a classifier in evaluation mode and images ``(N, C, H, W)``. Out: an `Attribution` with maps
``(N, H, W)``, or an `AttributionError` whose ``reason`` says why there is none. `gradients`, `cam`
and `attention` hold the methods, `places` how a layer's numbers are read as places, `checking` the
refusal of other people's maps, `compare` and `summaries` what is done with maps. A new method is a
function that ends in `result.finish`.
"""

from deepdrift.attribution.attention import attention_rollout, rollout
from deepdrift.attribution.cam import grad_cam
from deepdrift.attribution.checking import check_maps
from deepdrift.attribution.compare import (
    chance_iou,
    pearson,
    similarity,
    spearman,
    ssim,
    top_iou,
)
from deepdrift.attribution.gradients import integrated_gradients, saliency
from deepdrift.attribution.result import Attribution, AttributionError
from deepdrift.attribution.summaries import SUMMARIES, map_summaries

__all__ = [
    "SUMMARIES",
    "Attribution",
    "AttributionError",
    "attention_rollout",
    "chance_iou",
    "check_maps",
    "grad_cam",
    "integrated_gradients",
    "map_summaries",
    "pearson",
    "rollout",
    "saliency",
    "similarity",
    "spearman",
    "ssim",
    "top_iou",
]
