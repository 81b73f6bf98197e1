"""The seven explanations of the notebook: two networks, four methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from deepdrift import attribution
from deepdrift.attribution import Attribution
from deepdrift.lab import data
from deepdrift.lab.data.images import ImageSet
from deepdrift.lab.networks.models import SmallViT

STEPS = {"CNN": 96, "ViT": 24}  # passes of integrated gradients that leave at most 5 % unexplained
LAYER = {"CNN": "blocks.5", "ViT": "blocks.3"}  # the deepest whose places reach the answer
SLOW = "integrated gradients"  # needs that many passes for each image


@dataclass(frozen=True)
class Explanation:
    """A method on one of the networks; called with images it returns their maps.

    Examples
    --------
    >>> str(Explanation("CNN", "saliency"))
    'CNN, saliency'
    """

    network: str
    method: str

    def __str__(self) -> str:
        return f"{self.network}, {self.method}"

    @property
    def slow(self) -> bool:
        """Whether it takes many passes for each image."""
        return self.method == SLOW

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor | None) -> Attribution:
        """Maps of ``images``; `targets` are left out where the method knows no class."""
        if self.method == "rollout":
            return attribution.attention_rollout(model, images)
        if self.method == "Grad-CAM":
            return attribution.grad_cam(model, images, targets, layer=LAYER[self.network])
        if self.slow:
            steps = STEPS[self.network]
            return attribution.integrated_gradients(
                model, images, targets, n_steps=steps, batch_size=128
            )
        return attribution.saliency(model, images, targets)


EXPLANATIONS = tuple(
    Explanation(network, method)
    for network, methods in {
        "CNN": ("saliency", SLOW, "Grad-CAM"),
        "ViT": ("saliency", SLOW, "Grad-CAM", "rollout"),
    }.items()
    for method in methods
)


def networks() -> dict[str, nn.Module]:
    """The CNN and the ViT that know all ten kinds of clothing."""
    return {name: data.load_network(name.lower()).requires_grad_(False) for name in ("CNN", "ViT")}


@cache
def untrained(name: str, seed: int = 0) -> nn.Module:
    """The same architecture with random weights: PyTorch's own distributions, drawn anew."""
    generator = torch.Generator().manual_seed(seed)
    network = data.load_network(name.lower()).requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = module.weight[0].numel() ** -0.5
            for values in (module.weight, module.bias):
                if values is not None:
                    values.uniform_(-bound, bound, generator=generator)
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            module.reset_parameters()
        elif isinstance(module, SmallViT):
            module.cls_token.zero_()
            module.position.normal_(0, 0.02, generator=generator)
    return network


def garments(n: int, part: ImageSet | None = None) -> ImageSet:
    """Test images of the ten classes in turn: number i has label i modulo 10.

    Raises
    ------
    ValueError
        If there are not enough of a class.
    """
    part = data.load().test if part is None else part
    each = -(-n // 10)
    piles = [(part.labels == k).nonzero().flatten()[:each] for k in range(10)]
    if min(map(len, piles)) < each:
        raise ValueError(f"n: there are {min(map(len, piles))} images of a class, {each} needed")
    return part[torch.stack(piles, dim=1).flatten()[:n]]


def predicted(models: Mapping[str, nn.Module], images: Tensor) -> dict[str, Tensor]:
    """The class that each network names, by network."""
    with torch.no_grad():
        return {
            name: torch.cat([m(x).argmax(dim=1) for x in images.split(100)])
            for name, m in models.items()
        }
