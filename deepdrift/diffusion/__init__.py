"""Watch a diffusion model over noise levels, and ask its samples whether they are copies.

In: a U-Net that predicts noise, images. Out: a `DiffusionTrace` (norms, velocity and innovation of
every stage and noise level), copied samples, and a collision count that needs no data at all.
"""

from deepdrift.diffusion.collisions import Collisions, collisions, samples_needed
from deepdrift.diffusion.copies import Copies, copied
from deepdrift.diffusion.inputs import DiffusionError
from deepdrift.diffusion.stages import Stages, find_stages
from deepdrift.diffusion.trace import DiffusionTrace
from deepdrift.diffusion.watch import DiffusionWatch

__all__ = [
    "Collisions",
    "Copies",
    "DiffusionError",
    "DiffusionTrace",
    "DiffusionWatch",
    "Stages",
    "collisions",
    "copied",
    "find_stages",
    "samples_needed",
]
