"""Grad-CAM for layers whose numbers have places, and a refusal for the others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepdrift.attribution.places import (
    Places,
    deepest,
    is_attention,
    layers_of,
    layout_of,
    on_grid,
    places_of,
    tensor_in,
)
from deepdrift.attribution.question import Question, Targets, ask, gradients
from deepdrift.attribution.result import Attribution, AttributionError, finish
from deepdrift.errors import LayerNotFoundError, require
from deepdrift.states.forward import quiet
from deepdrift.states.layers import LayerInfo, find_layer

_UNUSED = {"allow_unused": True, "materialize_grads": True}


def grad_cam(
    model: nn.Module, images: Tensor, targets: Targets = None, *, layer: str, batch_size: int = 64
) -> Attribution:
    """Where a layer holds evidence: its channels, weighted by their mean gradients, cut at zero.

    ``ReLU(sum over channels of mean over places (d logit / d A_c) * A_c)``, enlarged bilinearly
    to the image. Selvaraju et al. (2017), eq. 1 and 2, computed by captum.

    Parameters
    ----------
    model, images, targets
        See `saliency`.
    layer : str
        Name of the layer, as in ``model.named_modules()``. Its output is ``(N, C, h, w)``, ``(N,
        h, w, C)``, or tokens ``(N, T, D)`` whose last T - k are the patches of the image, row by
        row: then D are the channels, and the k tokens before them (the class token) are left out.
        A layer that runs several times in a pass is read at its last.
    batch_size : int
        Images in one pass; bounds the memory.

    Returns
    -------
    Attribution
        Maps of single images may be empty: the layer then holds evidence against the class only.

    Raises
    ------
    AttributionError
        ``not_spatial`` for a layer without places (a linear layer, pooled features, attention
        maps), ``embedding_axis`` where the embedding dimensions of a vector or of tokens without
        a grid would be taken for places, ``all_zero`` (the last block of a transformer whose
        answer is read from the class token), ``constant``, ``training_mode``, ``input``,
        ``not_finite``.
    LayerNotFoundError
        If there is no such layer, or it did not run.
    MissingExtraError
        Without captum.

    Examples
    --------
    One channel, which is the image; the gradient of its mean is 1/4 everywhere.

    >>> class Mean(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.same = nn.Conv2d(1, 1, 1, bias=False)
    ...     def forward(self, x):
    ...         return self.same(x).mean(dim=(2, 3))
    >>> model = Mean().eval()
    >>> _ = model.same.weight.data.fill_(1.0)
    >>> grad_cam(model, torch.tensor([[[[4.0, 8.0], [0.0, -4.0]]]]), layer="same").maps
    tensor([[[1., 2.],
             [0., 0.]]])
    """
    captum = require("captum.attr", "explain")
    question = ask(model, images, targets, batch_size)
    network = question.network
    if not isinstance(layer, str) or not layer:
        came = repr(layer) if isinstance(layer, str | list | None) else type(layer).__name__
        raise LayerNotFoundError(
            f"layer: expected the name of one layer, as in model.named_modules(), got {came}"
        )
    module = find_layer(network, layer)
    name = next(k for k, m in network.named_modules() if m is module)
    layers = layers_of(network, question.images)
    ran = [info for info in layers if info.name == name]
    if not ran:
        raise LayerNotFoundError(
            f"layer: {layer!r} did not run in the forward pass; {_advice(question, layers)}"
        )
    places = _places(question, module, ran[-1], layers)

    with gradients(network), on_grid(module, places) as behind:

        def answer(x: Tensor) -> Tensor:
            with behind():  # captum has hooked the layer by now
                return question.answer(x)

        method = captum.LayerGradCam(answer, module)
        found = [
            method.attribute(x, t, grad_kwargs=_UNUSED).detach()[:, 0] for x, t in question.chunks()
        ]
    evidence = torch.cat(found)
    return finish(
        evidence.clamp(min=0),
        question.size,
        "Grad-CAM",
        targets=question.targets,
        layer=layer,
        zero=lambda: _nothing(question, layer, places, evidence, layers),
        constant=lambda: (
            f"layer: at {layer!r} every map is the same at all places, so it points nowhere; "
            + _advice(question, layers, but=layer)
        ),
    )


def _places(
    question: Question, module: nn.Module, info: LayerInfo, layers: list[LayerInfo]
) -> Places:
    """How to read the layer, or why it cannot be read."""
    places = places_of(info, question.size, layers)
    shape = "no tensor" if info.shape is None else f"shape {('N', *info.shape[1:])}"
    shape = shape.replace("'", "")
    start = f"layer: the output of {info.name!r} ({info.kind}) has {shape}"
    if places is not None and _gives_attention(question, module):
        raise AttributionError(
            f"{start}: attention, whose rows and columns are pairs of tokens and no places of the "
            f"image; {_advice(question, layers)}, or use attention_rollout",
            "not_spatial",
        )
    if places is not None:
        return places
    if info.shape is not None and len(info.shape) == 3:
        n, width = info.shape[1:] if layout_of(info) == "NTD" else (info.shape[-1], info.shape[1])
        height, across = question.size
        raise AttributionError(
            f"{start}: {n} token{'s' * (n != 1)}, which {'are' if n != 1 else 'is'} no grid of "
            f"patches of a {height} x {across} image, and {width} embedding dimensions, which are "
            f"no places either, even where they can be arranged in a square; "
            + _advice(question, layers),
            "embedding_axis",
        )
    raise AttributionError(
        f"{start}: its numbers have no places in the image; {_advice(question, layers)}",
        "not_spatial",
    )


def _gives_attention(question: Question, module: nn.Module) -> bool:
    seen: list[bool] = []
    handle = module.register_forward_hook(
        lambda m, _, out: seen.append(is_attention(tensor_in(out)))
    )
    try:
        with quiet(question.network):
            question.network(question.images[:1])
    finally:
        handle.remove()
    return bool(seen and seen[-1])


def _advice(question: Question, layers: list[LayerInfo], but: str = "") -> str:
    """What to use instead: the deepest layer with places, or another method."""
    with gradients(question.network):
        name = deepest(question.network, question.images, int(question.targets[0]), layers)
    if name is not None and name != but:
        return f"use layer={name!r}, the deepest one with places on which the answer depends"
    if name is not None:
        return "use saliency or integrated_gradients"
    return (
        f"{type(question.network).__name__} has no layer with places on which the answer depends, "
        "use saliency or integrated_gradients"
    )


def _nothing(
    question: Question, layer: str, places: Places, evidence: Tensor, layers: list[LayerInfo]
) -> str:
    """Why all maps are zero."""
    n = len(evidence)
    if evidence.any():
        return (
            f"layer: at {layer!r} the evidence speaks against the class at every place, in each of "
            f"{n} image{'s' * (n != 1)}, and Grad-CAM shows evidence for it only; explain another "
            "class (targets=), or use saliency"
        )
    advice = _advice(question, layers, but=layer)
    start = f"layer: at {layer!r} Grad-CAM is zero for every image: "
    if places.prefix and "layer=" in advice:
        return (
            f"{start}the answer is read from the class token there, so no gradient reaches the "
            f"patches; {advice}, or use attention_rollout"
        )
    return (
        f"{start}no gradient of the answer reaches this layer, or its channels are silent; {advice}"
    )
