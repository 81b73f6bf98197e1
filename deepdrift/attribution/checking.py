"""Maps that another library made, held against the network that they are said to explain."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepdrift.attribution.places import deepest, in_stack, layers_of, layout_of, places_of
from deepdrift.attribution.question import ask, gradients
from deepdrift.attribution.result import AttributionError, finish
from deepdrift.states.blocks import parts

_VECTORS = ("NTD", "TND", "ND")  # layouts with embedding dimensions


def check_maps(maps: Tensor, model: nn.Module, images: Tensor) -> Tensor:
    """Refuse maps that explain nothing; give the others at the images' resolution.

    Parameters
    ----------
    maps : Tensor, shape (N, h, w) or (N, 1, h, w)
        Of any method, signed or not; negative values become zero.
    model : nn.Module
        The network, in evaluation mode.
    images : Tensor, shape (N, C, H, W)

    Returns
    -------
    Tensor, shape (N, H, W), float32

    Raises
    ------
    AttributionError
        ``embedding_axis`` if h x w is neither the images' size nor a grid of places in the
        network, and some layer has h w embedding dimensions; ``not_spatial`` if it has not;
        ``all_zero``, ``constant`` or ``not_finite``.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 2, 2), nn.Flatten(), nn.Linear(8, 2)).eval()
    >>> check_maps(torch.rand(3, 1, 2, 2), model, torch.rand(3, 1, 4, 4)).shape
    torch.Size([3, 4, 4])
    >>> check_maps(torch.rand(3, 1, 3, 3), model, torch.rand(3, 1, 4, 4))
    Traceback (most recent call last):
    deepdrift.attribution.result.AttributionError: maps: 3 x 3 numbers are no places: no layer ...
    """
    question = ask(model, images, None, 64)
    given = torch.as_tensor(maps).detach()
    shape = tuple(given.shape)
    if given.ndim == 4 and given.shape[1] == 1:
        given = given[:, 0]
    elif given.ndim == 2:
        given = given[:, None]
    if given.ndim != 3 or len(given) != len(images) or 0 in shape:
        raise AttributionError(
            f"maps: expected (N, h, w) or (N, 1, h, w) for {len(images)} images, got {shape}"
        )
    layers = layers_of(question.network, question.images)
    grids = {p.grid for x in layers if (p := places_of(x, question.size, layers)) is not None}
    rows, columns = given.shape[1:]
    if (rows, columns) not in {*grids, question.size}:
        with gradients(question.network):
            name = deepest(question.network, question.images, int(question.targets[0]), layers)
        use = f"use grad_cam with layer={name!r}" if name else "use saliency"
        wide = [x for x in layers if x.width == rows * columns and layout_of(x) in _VECTORS]
        modules = dict(parts(question.network))
        wide = [x for x in wide if in_stack(x.name, modules)] or wide
        numbers = f"{rows} x {columns}" if rows > 1 else str(columns)
        start = f"maps: {numbers} numbers are no places: no layer of {type(model).__name__} has "
        if wide:
            raise AttributionError(
                f"{start}such a grid, but the output of {wide[-1].name!r} has {wide[-1].width} "
                f"embedding dimensions, which a library for convolutions takes for places; {use}",
                "embedding_axis",
            )
        raise AttributionError(
            f"{start}such a grid, and the images have {question.size[0]} x {question.size[1]} "
            f"pixels; {use}",
            "not_spatial",
        )
    return finish(
        given.clamp(min=0),
        question.size,
        "maps",
        zero=lambda: "maps: all are zero or negative everywhere; use another layer or method",
        constant=lambda: "maps: all are the same at every place; use another layer or method",
    ).maps
