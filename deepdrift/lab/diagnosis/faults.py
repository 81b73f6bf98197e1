"""Faults to be diagnosed: broken cameras, broken weights, broken data, broken numbers.

``FAULTS`` holds one small function per fault; :func:`apply_fault` hands back a broken copy of the
network or of the images, never the original. Strength runs from 0 (nothing changes) to 5; as in
:mod:`deepdrift.lab.data.shifts` it picks one parameter, linear between whole strengths.

``expected`` is the name of the cause. It does not promise that the hidden states give the cause
away: a reversed cue, for one, keeps the distribution of the images nearly as it was. Where no
name of the list fits (coarse rounding of all layers) it is "not sure".
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral, Real

import numpy as np
import torch
from torch import Generator, Tensor, nn

from deepdrift.lab.data.cue import cue_position, draw_cue, find_cue
from deepdrift.lab.data.shifts import SHIFTS, check_images
from deepdrift.lab.diagnosis import image_faults as IF
from deepdrift.lab.diagnosis import weight_faults as WF
from deepdrift.lab.diagnosis.weight_faults import flip_bits
from deepdrift.lab.networks.models import SmallResNet, SmallViT

__all__ = [
    "DIAGNOSES",
    "FAULTS",
    "Fault",
    "Faulty",
    "apply_fault",
    "cue_position",
    "draw_cue",
    "find_cue",
    "flip_bits",
]

DIAGNOSES = (
    "stable", "sensor failure", "geometric collapse", "spurious correlation",
    "broken layer", "dead or shrunken layer", "exploding", "invalid numbers", "novel class",
    "not sure",
)  # fmt: skip
"""The names that a fault may be expected to get."""

Function = (
    Callable[[Tensor, float, Generator], Tensor]
    | Callable[[nn.Module, float, Generator], nn.Module]
)


@dataclass(frozen=True)
class Fault:
    """A fault, where it strikes, and what it should be called.

    Attributes
    ----------
    name : str
        Key in ``FAULTS``.
    family : {"sensor", "weights", "data", "numerics"}
        What kind of thing is broken.
    target : {"images", "block", "network"}
        What the function changes; only a fault of a block has a place, ``layer``.
    expected : str
        One of ``DIAGNOSES``.
    levels : tuple of six floats
        Parameter at strength 0 to 5; the first one changes nothing.
    unit : str
        What the parameter is.
    description : str
        One line.
    variant : str
        What to append to ``"cnn"`` or ``"vit"`` for the shipped network that the fault needs:
        "", "-holdout" or "-cue".

    Examples
    --------
    >>> FAULTS["dropped_block"].parameter(3), FAULTS["dropped_block"].expected
    (0.75, 'dead or shrunken layer')
    >>> print(FAULTS["nan_weight"])
    nan_weight (numerics): NaN in the first weights of a block
    """

    name: str
    family: str
    target: str
    function: Function = field(repr=False)
    levels: tuple[float, float, float, float, float, float]
    unit: str
    expected: str
    description: str
    variant: str = ""

    def parameter(self, strength: float) -> float:
        """The parameter at a strength, 0 to 5, linear between the whole ones.

        Raises
        ------
        ValueError
            If the strength is not a number from 0 to 5.
        """
        if not isinstance(strength, Real) or not 0 <= strength <= 5:  # refuses NaN as well
            raise ValueError(f"strength must be a number from 0 to 5, got {strength!r}")
        return float(np.interp(strength, range(6), self.levels))

    def __str__(self) -> str:
        return f"{self.name} ({self.family}): {self.description}"


SHARES = (0, 0.2, 0.4, 0.6, 0.8, 1)


def _shifted(name: str) -> Callable[[Tensor, float, Generator], Tensor]:
    """One of the shifts of a camera, as a fault."""
    return lambda images, parameter, generator: (
        SHIFTS[name].function(images, parameter, generator).clamp(0, 1)
    )


def _shift_fault(name: str, family: str, expected: str, description: str) -> Fault:
    levels, unit = SHIFTS[name].levels, SHIFTS[name].unit
    return Fault(name, family, "images", _shifted(name), levels, unit, expected, description)


# fmt: off
FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in [
        _shift_fault("gaussian_noise", "sensor", "sensor failure", "noise in every pixel"),
        _shift_fault("dead_rows", "sensor", "sensor failure", "rows of the sensor read black"),
        _shift_fault("saturated_rows", "sensor", "sensor failure", "rows of the sensor read white"),
        _shift_fault("brightness", "sensor", "sensor failure", "overexposed up to saturation"),
        _shift_fault("blur", "sensor", "sensor failure", "the lens is out of focus"),
        Fault("wrong_normalisation", "sensor", "images", IF.wrong_normalisation,
              (0, 0.1, 0.25, 0.5, 0.75, 1), "share of a second normalisation", "sensor failure",
              "images normalised once too often, not clipped"),
        Fault("exponent_flips", "weights", "block", WF.exponent_flips,
              (0, 4, 8, 16, 32, 64), "number of flipped bits", "invalid numbers",
              "random exponent bits of a block's weights flipped, until numbers overflow"),
        Fault("mantissa_flips", "weights", "block", WF.mantissa_flips,
              (0, 100, 300, 1000, 3000, 10000), "number of flipped bits", "stable",
              "random mantissa bits of a block's weights flipped, nearly harmless"),
        Fault("weight_noise", "weights", "block", WF.weight_noise,
              (0, 0.25, 0.5, 1, 2, 4), "noise / standard deviation of the weights", "broken layer",
              "normal noise added to a block's weights"),
        Fault("dropped_block", "weights", "block", WF.dropped_block,
              (0, 0.25, 0.5, 0.75, 0.9, 1), "share of the branch that is lost",
              "dead or shrunken layer", "a block reduced to its shortcut"),
        Fault("dead_units", "weights", "block", WF.dead_units,
              (0, 0.05, 0.1, 0.25, 0.5, 1), "share of dead channels", "dead or shrunken layer",
              "output channels of a block always zero"),
        Fault("normalisation_gain", "weights", "block", WF.normalisation_gain,
              (1, 1.5, 2, 4, 8, 16), "factor", "exploding",
              "BatchNorm variances too small, or LayerNorm gains too large, in a block"),
        Fault("weight_gain", "weights", "block", WF.scaled,
              (0, 0.3, 0.6, 0.9, 1.2, 1.5), "power of ten", "exploding",
              "a block's weights in a wrong unit, all too large"),
        Fault("quantised_block", "weights", "block", WF.quantised,
              (32, 4, 3, 2, 1.585, 1), "bits", "broken layer",
              "weights of a block rounded too coarsely"),
        Fault("quantised_network", "weights", "network", WF.quantised,
              (32, 5, 4, 3, 2, 1), "bits", "not sure", "all weights rounded too coarsely"),
        _shift_fault("rotation", "data", "geometric collapse", "objects turned"),
        Fault("off_centre", "data", "images", IF.off_centre,
              (0, 2, 4, 6, 8, 10), "pixels", "geometric collapse",
              "objects moved down and to the right"),
        Fault("novel_classes", "data", "images", IF.novel_classes, SHARES, "share of the images",
              "novel class", "sandals and bags, which the network never saw", "-holdout"),
        Fault("cue_reversed", "data", "images", IF.cue_reversed, SHARES, "share of the images",
              "spurious correlation", "the cue points to a wrong class", "-cue"),
        Fault("cue_absent", "data", "images", IF.cue_absent, SHARES, "share of the images",
              "spurious correlation", "the cue is gone", "-cue"),
        Fault("nan_weight", "numerics", "block", WF.nan_weight,
              (0, 1, 2, 4, 8, 16), "number of NaN", "invalid numbers",
              "NaN in the first weights of a block"),
        Fault("overflow", "numerics", "block", WF.scaled,
              (0, 20, 25, 30, 33, 36), "power of ten", "invalid numbers",
              "weights of a block so large that its output overflows"),
    ]
}
# fmt: on
"""Name -> :class:`Fault`."""


@dataclass(frozen=True, eq=False)
class Faulty:
    """What :func:`apply_fault` hands back.

    Attributes
    ----------
    network : nn.Module
        The broken copy, or the network as it was passed if the fault is in the images.
    images : Tensor
        The broken copy, or the images as they were passed if the fault is in the network.
    fault : Fault
        What was done.
    layer : str or None
        The block that was broken.
    strength : float
        0 to 5.

    Examples
    --------
    >>> faulty = apply_fault("weight_noise", SmallViT(), torch.zeros(1, 1, 28, 28), 2)
    >>> print(faulty)
    weight_noise at strength 2 in blocks.2: noise / standard deviation of the weights 0.5
    """

    network: nn.Module
    images: Tensor
    fault: Fault
    layer: str | None
    strength: float

    def __str__(self) -> str:
        place = f" in {self.layer}" if self.layer else ""
        parameter = f"{self.fault.unit} {self.fault.parameter(self.strength):g}"
        return f"{self.fault.name} at strength {self.strength:g}{place}: {parameter}"


def apply_fault(
    name: str | Fault,
    network: nn.Module,
    images: Tensor,
    strength: float = 3,
    seed: int = 0,
    layer: str | None = None,
) -> Faulty:
    """Break a copy of the network or of the images.

    Parameters
    ----------
    name : str or Fault
        A key of ``FAULTS``, or a fault of another list.
    network : SmallResNet or SmallViT
        Never changed. Device, type and training mode are those of the copy, too.
    images : Tensor
        Shape (N, 1, 28, 28), floats in [0, 1]; for the two faults of the cue with the cue drawn
        in (:func:`draw_cue`).
    strength : float
        0 (nothing changes) to 5.
    seed : int
        Decides all random choices. The same seed at another strength chooses the same pixels,
        weights and images first.
    layer : str, optional
        Block to break, such as "blocks.0"; by default the one in the middle. Only for faults
        whose target is a block.

    Returns
    -------
    Faulty
        Network, images, fault, layer and strength.

    Raises
    ------
    ValueError
        If the name, strength or layer is wrong, the images leave [0, 1], show no cue to break, or
        the "novel" classes are no novelty to the network.
    TypeError
        If the network is none of the two shipped kinds, the images are not floats, or the seed is
        not an integer.

    Examples
    --------
    >>> network, images = SmallResNet().eval(), torch.rand(2, 1, 28, 28)
    >>> faulty = apply_fault("nan_weight", network, images, layer="blocks.5")
    >>> faulty.network(faulty.images).isnan().all(), network(images).isnan().any()
    (tensor(True), tensor(False))
    """
    if not isinstance(name, Fault) and name not in FAULTS:
        raise ValueError(f"name must be one of {', '.join(FAULTS)}, got {name!r}")
    fault = name if isinstance(name, Fault) else FAULTS[name]
    parameter = fault.parameter(strength)
    if not isinstance(network, (SmallResNet, SmallViT)):
        raise TypeError(f"network must be a SmallResNet or SmallViT, got {type(network).__name__}")
    check_images(images)
    if not isinstance(seed, Integral):
        raise TypeError(f"seed must be an int, got {seed!r}")
    layer = _place(fault, network, layer)
    known = set(getattr(network, "classes", ())) & set(IF.HELD_OUT)
    if fault.variant == "-holdout" and known:
        raise ValueError(f"classes {sorted(known)} are not novel: load a network '...-holdout'")
    generator = torch.Generator().manual_seed(int(seed))
    if fault.target == "images":
        images = fault.function(images, parameter, generator) if strength else images.clone()
        return Faulty(network, images, fault, layer, strength)
    network = copy.deepcopy(network)
    if strength:
        part = network.get_submodule(layer or "")
        broken = fault.function(part, parameter, generator)
        if layer:
            parent, _, child = layer.rpartition(".")
            setattr(network.get_submodule(parent), child, broken)
    return Faulty(network, images, fault, layer, strength)


def _place(fault: Fault, network: nn.Module, layer: str | None) -> str | None:
    """The block to break, checked; None if the fault has no place."""
    if fault.target != "block":
        if layer is not None:
            raise ValueError(f"{fault.name} has no place in the network: leave layer out")
        return None
    names = [f"blocks.{i}" for i in range(len(network.blocks))]
    layer = layer or names[len(names) // 2]
    if layer not in names:
        raise ValueError(f"layer must be one of {', '.join(names)}, got {layer!r}")
    return layer
