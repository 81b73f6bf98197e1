"""What was read of a U-Net: one number per image, noise level and stage."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from deepdrift.diffusion.inputs import DiffusionError
from deepdrift.diffusion.stages import Stages
from deepdrift.errors import NotFittedError

AT_STAGES = ("norm", "depth_velocity", "level_velocity", "depth_innovation", "level_innovation")


@dataclass(frozen=True, eq=False)
class DiffusionTrace:
    """What a U-Net did with N images at K noise levels, S stages; means over the same noise.

    Attributes
    ----------
    levels : tuple of int
        K noise levels, rising.
    stages : Stages
    loss : Tensor, shape (N, K), float64
        Mean square of the error in what the network predicts.
    norm : Tensor, shape (N, K, S)
        Root mean square of all numbers in a stage's maps.
    depth_velocity : Tensor, shape (N, K, S - 1)
        From stage to stage at one level; the state of a stage is the mean of its maps over
        positions, and stages of different width are compared by their lengths.
    level_velocity : Tensor, shape (N, K - 1, S)
        From level to level at one stage.
    depth_innovation, level_innovation : Tensor or None
        The same steps by `StepPredictor`, divided by the width; None before `DiffusionWatch.fit`.
    """

    levels: tuple[int, ...]
    stages: Stages
    loss: Tensor
    norm: Tensor
    depth_velocity: Tensor
    level_velocity: Tensor
    depth_innovation: Tensor | None = None
    level_innovation: Tensor | None = None

    def __len__(self) -> int:
        return len(self.loss)

    def bottleneck(self, quantity: str) -> Tensor:
        """A quantity at the bottleneck, (N, K) or (N, K - 1): the step that leads into it.

        Parameters
        ----------
        quantity : str
            One of `AT_STAGES`.
        """
        if quantity not in AT_STAGES:
            raise DiffusionError(
                f"quantity: expected one of {', '.join(AT_STAGES)}, got {quantity!r}"
            )
        values = getattr(self, quantity)
        if values is None:
            raise NotFittedError(f"quantity: {quantity!r} needs fit(images) first")
        return values[:, :, self.stages.middle - quantity.startswith("depth")]
