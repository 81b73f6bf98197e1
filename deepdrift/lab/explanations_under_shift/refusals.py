"""Maps that look right and are not, and what is said in their place."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepdrift import attribution
from deepdrift.attribution import AttributionError
from deepdrift.errors import DeepDriftError, require


def refusal(ask: Callable[[], object]) -> DeepDriftError:
    """The error that a question is answered with.

    Raises
    ------
    ValueError
        If it is answered.
    """
    try:
        ask()
    except DeepDriftError as error:
        return error
    raise ValueError("this question was answered with a map")


def raw_grad_cam(network: nn.Module, images: Tensor, layer: str) -> Tensor:
    """What captum's Grad-CAM itself returns for a layer, predicted class."""
    captum = require("captum.attr", "explain")
    with torch.no_grad():
        targets = network(images).argmax(dim=1)
    module = network.get_submodule(layer)
    x = images.clone().requires_grad_()  # the networks' own parameters may be frozen
    found = captum.LayerGradCam(network, module).attribute(x, targets, relu_attributions=True)
    return found.detach()


def six_refusals(cnn: nn.Module, vit: nn.Module, images: Tensor) -> dict[str, AttributionError]:
    """Six questions without an answer, by what was done."""
    raw = raw_grad_cam(vit, images, "blocks.3")
    grey = nn.Sequential(nn.AvgPool2d(28), nn.Flatten(), nn.Linear(1, 2)).eval()

    def ask(name: str, *rest: object, **more: object) -> Callable[[], object]:
        return lambda: getattr(attribution, name)(*rest, **more)

    return {
        "Grad-CAM at the ViT's last block": refusal(ask("grad_cam", vit, images, layer="blocks.4")),
        "Grad-CAM at a linear layer": refusal(ask("grad_cam", cnn, images, layer="head")),
        "captum's 64 numbers of the ViT": refusal(ask("check_maps", raw, vit, images)),
        "a network that sees the mean alone": refusal(ask("saliency", grey, images)),
        "rollout for a chosen class": refusal(ask("attention_rollout", vit, images, targets=3)),
        "integrated gradients in 8 steps": refusal(
            ask("integrated_gradients", cnn, images, n_steps=8)
        ),
    }


def bad_input(cnn: nn.Module, images: Tensor) -> dict[str, DeepDriftError]:
    """Mistakes in what is handed in, by what was done; the network is left as it was."""
    broken = images.clone()
    broken[2, 0, 14, 14] = torch.nan

    def in_training() -> object:
        try:
            return attribution.saliency(cnn.train(), images)
        finally:
            cnn.eval()

    return {
        "training mode": refusal(in_training),
        "class 10 of 10": refusal(lambda: attribution.saliency(cnn, images, targets=10)),
        "bytes": refusal(lambda: attribution.saliency(cnn, (255 * images).byte())),
        "one NaN": refusal(lambda: attribution.saliency(cnn, broken)),
        "a name with a slip": refusal(lambda: attribution.grad_cam(cnn, images, layer="block.5")),
    }
