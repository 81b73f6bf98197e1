"""What an explanation is, and the error that stands where none can be given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from deepdrift.errors import DeepDriftError

REASONS = (
    "all_zero",
    "not_spatial",
    "embedding_axis",
    "constant",
    "class_blind",
    "incomplete",
    "training_mode",
    "input",
    "not_finite",
)
FLAT = 1e-5  # a map whose values differ by less, relative to its maximum, shows rounding alone


class AttributionError(DeepDriftError, ValueError):
    """A map that would explain nothing, or a question that cannot be asked.

    Parameters
    ----------
    message : str
        Ends with what to do instead.
    reason : str
        One of `REASONS`: ``all_zero`` (no map of the batch has anything in it), ``not_spatial``
        (the layer has no places), ``embedding_axis`` (embedding dimensions would be taken for
        places), ``constant`` (every map is as large everywhere), ``class_blind`` (the method does
        not know classes), ``incomplete`` (integrated gradients that do not add up),
        ``training_mode`` (of the model), ``input`` (images, targets or outputs of the wrong
        form), ``not_finite`` (NaN or infinity).

    Examples
    --------
    >>> AttributionError("layer: ...", "not_spatial").reason
    'not_spatial'
    """

    def __init__(self, message: str, reason: str = "input") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, eq=False)
class Attribution:
    """Maps of one method for a batch of images.

    Attributes
    ----------
    maps : Tensor, shape (N, H, W), float32
        At the images' resolution, >= 0; larger: the pixel counts more. The scale means nothing
        across methods, and little across images.
    method : str
        ``"saliency"``, ``"integrated gradients"``, ``"Grad-CAM"`` or ``"attention rollout"``.
    targets : Tensor, shape (N,), int64, or None
        The explained class of each image; None where the method does not know classes.
    layer : str or None
        That Grad-CAM read.
    residual : Tensor, shape (N,), float64, or None
        Of integrated gradients: share of the answer that the map does not account for.
    empty : Tensor, shape (N,), bool
        Images whose own map is zero everywhere. Not all of a batch are.
    """

    maps: Tensor
    method: str
    targets: Tensor | None
    layer: str | None
    residual: Tensor | None
    empty: Tensor

    def __str__(self) -> str:
        n, height, width = self.maps.shape
        where = f" at layer {self.layer}" if self.layer else ""
        said = [f"{self.method}{where}: {n} map{'s' * (n != 1)} of {height} x {width}"]
        if self.targets is None:
            said.append("the same for every class")
        else:
            k = len(self.targets.unique())
            said.append(f"for {k} class{'es' * (k != 1)}")
        if self.residual is not None:
            said.append(f"median residual {100 * float(self.residual.quantile(0.5)):.2g} %")
        if self.empty.any():
            said.append(f"{int(self.empty.sum())} of them empty")
        return ", ".join(said) + "."


def is_constant(maps: Tensor) -> Tensor:
    """Which maps are as large everywhere, up to rounding; zero everywhere included.

    Parameters
    ----------
    maps : Tensor, shape (N, H, W)

    Returns
    -------
    Tensor, shape (N,), bool

    Examples
    --------
    >>> is_constant(torch.tensor([[[0.0, 0.0]], [[3.0, 3.0]], [[0.0, 1e-9]]])).tolist()
    [True, True, False]
    """
    flat = maps.flatten(1)
    low, high = flat.amin(dim=1), flat.amax(dim=1)
    return high - low <= FLAT * torch.maximum(low.abs(), high.abs())


def finish(
    grid: Tensor,
    size: tuple[int, int],
    method: str,
    *,
    targets: Tensor | None = None,
    layer: str | None = None,
    residual: Tensor | None = None,
    zero: Callable[[], str],
    constant: Callable[[], str],
) -> Attribution:
    """Maps at the images' resolution, or the refusal of a batch that shows nothing.

    Parameters
    ----------
    grid : Tensor, shape (N, h, w)
        Not negative. Enlarged bilinearly to ``size``, with pixel centres kept in place.
    zero, constant : callable
        Give the sentence for a batch whose maps are all zero, or all constant.

    Raises
    ------
    AttributionError
        ``not_finite``, ``all_zero`` or ``constant``.
    """
    bad = ~grid.flatten(1).isfinite().all(dim=1)
    if bad.any():
        raise AttributionError(
            f"{method}: {int(bad.sum())} of {len(bad)} maps have NaN or infinite values; the "
            "gradients overflow: compute in float32, or look for the layer that makes them",
            "not_finite",
        )
    maps = grid.detach().to(torch.float32)
    if tuple(maps.shape[1:]) != size:
        maps = F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    maps = maps.clamp(min=0)
    empty = maps.flatten(1).amax(dim=1) == 0
    if empty.all():
        raise AttributionError(zero(), "all_zero")
    if is_constant(maps).all():
        raise AttributionError(constant(), "constant")
    return Attribution(maps, method, targets, layer, residual, empty)
