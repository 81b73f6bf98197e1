"""Steps of a U-Net's state through depth and through noise level, and what is measured of them."""

from __future__ import annotations

import torch
from torch import Tensor

from deepdrift.scores.innovation import StepPredictor
from deepdrift.scores.velocity import spatial_velocity, temporal_velocity

StepKey = tuple[str, int, int]
"""``"depth"`` or ``"level"``, and the places of the noise level and stage that it starts from."""


def steps(states: list[list[Tensor]]) -> list[tuple[StepKey, Tensor, Tensor]]:
    """Every step through depth and through noise level: its key, source and target.

    Parameters
    ----------
    states : list of list of Tensor, shape (N, C_s)
        By noise level and stage.

    Examples
    --------
    >>> a, b, c = (torch.full((1, 2), x) for x in (0.0, 3.0, 9.0))
    >>> [key for key, _, _ in steps([[a, b], [b, c]])]
    [('depth', 0, 0), ('depth', 1, 0), ('level', 0, 0), ('level', 0, 1)]
    """
    n_levels, n_stages = len(states), len(states[0])
    depth = [
        (("depth", k, s), states[k][s], states[k][s + 1])
        for k in range(n_levels)
        for s in range(n_stages - 1)
    ]
    level = [
        (("level", k, s), states[k][s], states[k + 1][s])
        for k in range(n_levels - 1)
        for s in range(n_stages)
    ]
    return depth + level


def velocities(states: list[list[Tensor]]) -> dict[str, Tensor]:
    """Lengths of the steps: depth (N, K, S - 1) and level (N, K - 1, S), float64.

    Examples
    --------
    >>> a, b, c = (torch.full((1, 1), x) for x in (0.0, 3.0, 9.0))
    >>> found = velocities([[a, b], [b, c]])
    >>> found["depth_velocity"].tolist(), found["level_velocity"].tolist()
    ([[[3.0], [6.0]]], [[[3.0, 6.0]]])
    """
    depth = [spatial_velocity(at_level, across_widths="norm").double() for at_level in states]
    level = [temporal_velocity(torch.stack(s, dim=1)) for s in zip(*states, strict=True)]
    return {"depth_velocity": torch.stack(depth, 1), "level_velocity": torch.stack(level, 2)}


def innovations(
    states: list[list[Tensor]], predictors: dict[StepKey, StepPredictor]
) -> dict[str, Tensor]:
    """Surprise of every step by a fitted predictor, divided by the width; shapes as above."""
    shape = {"depth": (len(states), len(states[0]) - 1), "level": (len(states) - 1, len(states[0]))}
    found = {
        f"{axis}_innovation": states[0][0].new_zeros(len(states[0][0]), *size)
        for axis, size in shape.items()
    }
    for (axis, k, s), source, target in steps(states):
        score = predictors[axis, k, s].score(source, target) / target.shape[1]
        found[f"{axis}_innovation"][:, k, s] = score
    return found
