"""Which axis of a layer's output holds samples, and which channels: decided by what ran.

The class of a block says little (a Swin block hands on ``(N, H, W, C)``, a ConvNeXt block of the
same parts ``(N, C, H, W)``). What says it is the last layer with weights that ran before the
output was seen: its width, and where that width stood in its own output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from deepdrift.errors import StateError

LAYOUTS = ("ND", "NTD", "TND", "NCL", "NCHW", "NHWC", "NCDHW", "NDHWC")
CHANNEL_AXIS = {name: name.index("C" if "C" in name else "D") for name in LAYOUTS}
_BY_AXIS = {  # (number of axes, channel axis): the layout with samples first
    (3, 1): "NCL", (3, 2): "NTD", (4, 1): "NCHW", (4, 3): "NHWC", (5, 1): "NCDHW", (5, 4): "NDHWC",
}  # fmt: skip
_DEFAULT = {1: "ND", 2: "ND", 3: "NTD", 4: "NCHW", 5: "NCDHW"}

_CONVOLUTIONS = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)
_ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
    nn.Sigmoid, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.LogSigmoid, nn.Softplus, nn.Softsign,
    nn.PReLU, nn.RReLU, nn.GLU, nn.Dropout, nn.modules.dropout._DropoutNd, nn.Identity,
)  # fmt: skip
TIME_FIRST = (
    nn.RNNBase, nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer,
    nn.TransformerEncoder, nn.TransformerDecoder, nn.Transformer,
)  # fmt: skip
_CHANNELS_FIRST_1D = (
    nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.InstanceNorm1d, nn.MaxPool1d, nn.AvgPool1d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveAvgPool1d,
)  # fmt: skip
_FEATURES_LAST = (nn.Linear, nn.Embedding, nn.Bilinear, *TIME_FIRST)


class Leaf(NamedTuple):
    """A layer with weights that ran: its output's shape and its channel axis, if that is known."""

    module: nn.Module
    shape: tuple[int, ...]
    axis: int | None
    fault: str = ""  # why this output has no samples

    @property
    def width(self) -> int | None:
        """Number of channels."""
        return None if self.axis is None else self.shape[self.axis]


class Axes(NamedTuple):
    """Layout of an output, the width of its state, and whether another reading is possible."""

    layout: str
    width: int
    doubtful: bool = False
    time_first: bool | None = None


def leaf(module: nn.Module, shape: tuple[int, ...]) -> Leaf:
    """What a layer with weights says about the axes of its own output.

    Convolutions, batch and group normalisation hold channels on axis 1, linear layers,
    embeddings, attention and recurrent layers on the last. Layer normalisation and layers of
    other people hold them where the length is that of their weights, if there is one such axis.

    An output without an axis for samples is a fault, which `axes_of` raises.

    Examples
    --------
    >>> leaf(nn.Conv1d(3, 8, 1), (2, 8, 50)).axis, leaf(nn.Linear(3, 8), (2, 50, 8)).axis
    (1, 2)
    """
    if isinstance(module, _CONVOLUTIONS):
        axes = _image_axes(module)
        if axes and len(shape) == axes + 1:
            return Leaf(module, shape, None, _no_batch(module, shape))
        return Leaf(module, shape, 1 if len(shape) > 1 else None)
    if isinstance(module, _FEATURES_LAST) or isinstance(getattr(module, "out_features", None), int):
        if len(shape) == 1 and not isinstance(module, nn.Embedding):
            return Leaf(module, shape, None, _no_batch(module, shape))
        return Leaf(module, shape, len(shape) - 1)
    if type(module) is nn.LayerNorm or type(module).__name__ == "RMSNorm":
        plain = len(getattr(module, "normalized_shape", (1,))) == 1
        return Leaf(module, shape, len(shape) - 1 if plain else None)
    widths = {size for p in module.parameters(recurse=False) for size in p.shape}
    found = [axis for axis in range(1, len(shape)) if shape[axis] in widths]
    return Leaf(module, shape, found[0] if len(found) == 1 else None)


def _no_batch(module: nn.Module, shape: tuple[int, ...]) -> str:
    return (
        f"its input has no batch axis (the output of {type(module).__name__} has shape {shape}): "
        "pass batches, for one sample x[None], for a data set a DataLoader"
    )


def _image_axes(module: nn.Module) -> int:
    """Position axes that a convolution demands, 0 where any number will do."""
    if isinstance(module, nn.modules.conv._ConvNd):
        return len(module.kernel_size)
    return 0


def axes_of(
    module: nn.Module,
    shape: tuple[int, ...],
    ran: Sequence[Leaf],
    inside: Sequence[Leaf],
    as_it_was: bool = False,
    given: int | None = None,
) -> Axes:
    """Layout of an output with samples first, by the layers that ran.

    Parameters
    ----------
    module : nn.Module
        Whose output it is.
    shape : tuple of int
    ran : sequence of Leaf
        Layers with weights that ran in this pass before the output was seen, in order.
    inside : sequence of Leaf
        Those of them that ran inside ``module``.
    as_it_was : bool
        Whether the output is the very tensor that the last of them returned.
    given : int, optional
        Channel axis of what ``module`` was given, if that has the shape of its output.

    Returns
    -------
    Axes
        ``doubtful`` if two axes are of the layer's width and nothing tells them apart. Then a
        series is likely turned as its input is, and an image with a convolution inside likely has
        channels first: most such blocks turn the axes for their linear layers alone.

    Raises
    ------
    StateError
        For more than five axes, or none for samples.

    Examples
    --------
    >>> linear = leaf(nn.Linear(4, 8), (2, 7, 7, 8))
    >>> axes_of(nn.Sequential(), (2, 7, 7, 8), [linear], [linear])
    Axes(layout='NHWC', width=8, doubtful=False, time_first=None)
    >>> axes_of(nn.Sequential(), (2, 8, 7, 7), [linear], [linear]).layout
    'NCHW'
    """
    n = len(shape)
    if ran and ran[-1].fault:
        raise StateError(ran[-1].fault)
    if n not in _DEFAULT:
        raise StateError(
            f"a layer output of shape {shape} has no sample axis and channel axis; "
            "expected 1 to 5 axes: choose another layer or give a function as pooling"
        )
    if n <= 2:
        return Axes("ND", shape[-1] if n == 2 else 1)
    if isinstance(module, _CONVOLUTIONS):
        return _axes(n, 1, shape)
    evidence = [x for x in (inside or ran[-1:]) if len(x.shape) >= 3 and x.axis is not None]
    own = inside and inside[-1].module is module
    same_place = own or isinstance(module, _ELEMENTWISE)
    allowed = [axis for count, axis in _BY_AXIS if count == n]
    alike = {x.axis for x in evidence if x.shape == shape}  # where a layer made just this shape
    for found in reversed(evidence):
        if (same_place or (as_it_was and found is ran[-1])) and found.shape == shape:
            return _axes(n, found.axis, shape)
        wide = [axis for axis in allowed if shape[axis] == found.width]
        placed = [
            axis for axis in allowed if _without(shape, axis) == _without(found.shape, found.axis)
        ]
        both = [axis for axis in wide if axis in placed]
        fits = both or wide
        if len(fits) == 1:  # the width alone may fit by chance
            if not both:
                fits = placed if len(placed) == 1 else [*alike] if len(alike) == 1 else fits
            return _axes(n, fits[0], shape)
        if len(fits) > 1:  # as long as wide: one kind of layers only, or there is no telling
            ends = {x.axis == len(x.shape) - 1 for x in evidence}
            last = found.axis == len(found.shape) - 1
            if n == 3 and len(ends) > 1 and given in allowed:
                last = given == n - 1
            elif n == 4 and len(ends) > 1:
                last = not any(isinstance(x.module, nn.modules.conv._ConvNd) for x in inside)
            return _axes(n, allowed[-1] if last else allowed[0], shape, doubtful=len(ends) > 1)
        if len(placed) == 1:  # other channels at the same positions: a concatenation
            return _axes(n, placed[0], shape)
    for found in reversed(evidence):
        if len(found.shape) == n:
            last = found.axis == n - 1
            return _axes(n, allowed[-1] if last else allowed[0], shape)
    return Axes(_DEFAULT[n], shape[CHANNEL_AXIS[_DEFAULT[n]]], doubtful=n == 3)


def _axes(n: int, axis: int | None, shape: tuple[int, ...], doubtful: bool = False) -> Axes:
    layout = _BY_AXIS[n, axis if (n, axis) in _BY_AXIS else n - 1]
    return Axes(layout, shape[CHANNEL_AXIS[layout]], doubtful)


def _without(shape: tuple[int, ...], axis: int | None) -> list[int]:
    """Lengths of the axes of positions, in order."""
    return [size for i, size in enumerate(shape) if i not in (0, axis)]


def static_axes(network: nn.Module, module: nn.Module, shape: tuple[int, ...]) -> Axes:
    """The same from the order of definition alone, where no first pass could be listened to.

    The last layer of known kind decides, inside the module or defined before it.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv1d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(28, 2))
    >>> static_axes(network, network[1], (2, 4, 7)).layout
    'NCL'
    """
    n = len(shape)
    if n == 3:
        modules = list(network.modules())
        start = [m is module for m in modules].index(True) if module in modules else 0
        for m in (*reversed([*module.modules()]), *reversed(modules[:start]), *modules[start:]):
            if isinstance(m, _CHANNELS_FIRST_1D):
                return _axes(n, 1, shape)
            if isinstance(m, (*_FEATURES_LAST, nn.LayerNorm)):
                return _axes(n, 2, shape)
    elif n == 4 and isinstance(module, nn.LayerNorm | nn.Linear):
        return _axes(n, 3, shape)
    return axes_of(module, shape, (), ())


def said_of(plan: Axes, name: str, shape: tuple[int, ...]) -> str:
    """What to say of a layer whose axes are doubtful, with the remedy."""
    remedy = f'taken for {plan.layout}. Say which it is with layout={{"{name}": "..."}}'
    if sum(size == plan.width for size in shape[1:]) > 1:
        return (
            f"layer {name!r}: two axes of its output {shape} are as long as the layer is wide "
            f"({plan.width}); {remedy}, or show it an input of another size first"
        )
    return (
        f"layer {name!r}: no layer that ran says which axis of its output {shape} holds positions "
        f"and which channels; {remedy}"
    )
