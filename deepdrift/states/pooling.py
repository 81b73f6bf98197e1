"""From a layer's output to one state vector per sample, by an explicit layout.

A layout names the axes: N sample, C or D channel, H and W image, L or T position.
``(N, C, H, W) -> (N, C)`` and ``(N, T, D) -> (N, D)`` are averages over positions unless you ask
for the class token (``"cls"``), the last token (``"last"``) or everything (``"flatten"``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from deepdrift.errors import StateError

Pooling = str | Callable[[Tensor], Tensor]

METHODS = ("auto", "mean", "cls", "last", "flatten")
LAYOUTS = ("ND", "NTD", "TND", "NCL", "NCHW", "NHWC", "NCDHW")
_POSITIONS = {  # the axes to average over; what remains is (N, channel)
    "NTD": (1,), "TND": (0,), "NCL": (2,), "NCHW": (2, 3), "NHWC": (1, 2), "NCDHW": (2, 3, 4),
}  # fmt: skip
_DEFAULT_LAYOUT = {1: "ND", 2: "ND", 3: "NTD", 4: "NCHW", 5: "NCDHW"}
_CHANNELS_FIRST_1D = (
    nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.InstanceNorm1d, nn.MaxPool1d, nn.AvgPool1d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveAvgPool1d,
)  # fmt: skip
_CHANNELS_LAST_1D = (
    nn.Linear, nn.LayerNorm, nn.Embedding, nn.MultiheadAttention, nn.RNNBase,
)  # fmt: skip


def sequence_layout(network: nn.Module, module: nn.Module) -> str:
    """What the axes of a module's output mean when there are three of them.

    ``TND`` in recurrent, attention and transformer modules with ``batch_first=False``. Else the
    last layer of known kind decides, inside the module or defined before it: ``NCL`` behind a 1-D
    convolution, ``NTD`` behind a linear layer or layer normalisation. Where a network transposes
    on its own, give the layout to `deepdrift.record`.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv1d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(28, 2))
    >>> sequence_layout(network, network[1])
    'NCL'
    >>> network = nn.TransformerEncoderLayer(d_model=4, nhead=2, batch_first=False)
    >>> sequence_layout(network, network.linear1)
    'TND'
    """
    modules = list(network.modules())
    for owner in filter(_time_first, modules):
        if any(part is module for part in owner.modules()):
            return "TND"
    start = next(i for i, m in enumerate(modules) if m is module)
    for m in (*reversed([*module.modules()]), *reversed(modules[:start]), *modules[start:]):
        if isinstance(m, _CHANNELS_FIRST_1D + _CHANNELS_LAST_1D):
            return "NCL" if isinstance(m, _CHANNELS_FIRST_1D) else "NTD"
    return "NTD"


def _time_first(module: nn.Module) -> bool:
    if isinstance(module, nn.TransformerEncoder | nn.TransformerDecoder):
        module = module.layers[0]
    attention = getattr(module, "self_attn", getattr(module, "attn", module))
    return getattr(attention, "batch_first", True) is False


def layout_of(module: nn.Module, output: Tensor, sequence: str = "NTD") -> str:
    """Layout of a module's output, from the number of axes and the module's type.

    ``ND`` (1 or 2 axes), ``sequence`` (3 axes, see `sequence_layout`), ``NCHW`` (4; ``NHWC``
    behind linear layers and layer normalisation) or ``NCDHW`` (5).

    Examples
    --------
    >>> layout_of(nn.ReLU(), torch.zeros(2, 4, 7, 7)), layout_of(nn.Linear(4, 4), torch.zeros(2, 4))
    ('NCHW', 'ND')
    """
    if output.ndim == 3:
        return sequence
    if output.ndim == 4 and isinstance(module, nn.LayerNorm | nn.Linear):
        return "NHWC"
    layout = _DEFAULT_LAYOUT.get(output.ndim)
    if layout is None:
        raise StateError(
            f"a layer output of shape {tuple(output.shape)} has no sample axis and channel axis; "
            "expected 1 to 5 axes: choose another layer or give a function as pooling"
        )
    return layout


def find_tensor(output: Any) -> Tensor:
    """The hidden state in what a layer returned.

    A tensor is itself; of a tuple or list the first tensor counts (``LSTM``, attention); of a
    mapping or ModelOutput ``last_hidden_state``, else ``logits``, else the first tensor.

    Raises
    ------
    StateError
        If there is none, or if it does not hold floating-point numbers.

    Examples
    --------
    >>> find_tensor((torch.zeros(2, 3), None)).shape
    torch.Size([2, 3])
    """
    found = _first_tensor(output)
    if found is None:
        raise StateError(
            f"the layer returned {type(output).__name__} without a tensor; choose another layer"
        )
    if not found.is_floating_point():
        raise StateError(
            f"the layer returned numbers of type {found.dtype}; expected floating point: choose "
            "a layer behind the embedding"
        )
    return found


def _first_tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, PackedSequence):
        raise StateError(
            "the layer returned a PackedSequence, whose rows are tokens and not samples; watch a "
            "layer behind pad_packed_sequence"
        )
    if isinstance(output, Mapping):
        named = [output[k] for k in ("last_hidden_state", "logits") if k in output]
        candidates = named + list(output.values())
    elif isinstance(output, tuple | list):
        candidates = list(output)
    else:
        named = [getattr(output, k, None) for k in ("last_hidden_state", "logits", "sample")]
        candidates = [c for c in named if c is not None]
    for candidate in candidates:
        found = _first_tensor(candidate)
        if found is not None:
            return found
    return None


def pool(output: Tensor, layout: str = "auto", method: Pooling = "auto") -> Tensor:
    """Reduce one layer output to one float32 vector per sample, as a detached copy.

    Parameters
    ----------
    output : Tensor
        Axes as in ``layout``; half precision is accumulated in float32.
    layout : str
        One of ``ND, NTD, TND, NCL, NCHW, NHWC, NCDHW``, or ``auto``: by the number of axes.
    method : str or callable
        ``auto`` and ``mean`` average over positions, ``cls`` takes the first token, ``last``
        (also ``last_token``) the last, ``flatten`` keeps everything; a function receives the
        output and returns ``(N, D)``. With ``cls`` and ``last``, layers without a token axis
        are averaged.

    Returns
    -------
    Tensor, shape (N, D), float32, sharing no memory with ``output``.

    Examples
    --------
    >>> tokens = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])  # one sample, two tokens
    >>> pool(tokens), pool(tokens, method="cls")
    (tensor([[2., 4.]]), tensor([[1., 2.]]))
    """
    if output.requires_grad:
        output = output.detach()
    if callable(method):
        state = method(output)
        if not isinstance(state, Tensor) or state.ndim != 2:
            shape = tuple(state.shape) if isinstance(state, Tensor) else type(state).__name__
            raise StateError(f"pooling: the function must return a tensor (N, D), got {shape}")
        return state.detach().to(torch.float32, copy=True)
    if output.ndim == 1:  # one number per sample
        return output[:, None].to(torch.float32, copy=True)
    if layout == "auto":
        layout = layout_of(nn.Identity(), output)
    if len(layout) != output.ndim:
        raise StateError(
            f"layout: {layout!r} has {len(layout)} axes, the layer output has shape "
            f"{tuple(output.shape)}"
        )
    if layout == "ND":
        return output.to(torch.float32, copy=True)
    if method == "flatten":
        output = output.movedim(layout.index("N"), 0)
        return output.flatten(1).to(torch.float32, copy=True)
    if method in ("cls", "last", "last_token") and "T" in layout:
        token = output.select(layout.index("T"), 0 if method == "cls" else -1)
        return token.to(torch.float32, copy=True)
    return output.mean(dim=_POSITIONS[layout], dtype=torch.float32)


def check_method(method: Pooling) -> Pooling:
    """Return ``method`` if `pool` knows it.

    Raises
    ------
    StateError
        Listing the names that exist.
    """
    if callable(method) or method in METHODS or method == "last_token":
        return method
    raise StateError(f"pooling: expected one of {', '.join(METHODS)} or a function, got {method!r}")


def check_layout(layout: str) -> str:
    """Return ``layout`` if it is ``auto`` or one of the known layouts.

    Raises
    ------
    StateError
        Listing the layouts that exist.
    """
    if layout == "auto" or layout in LAYOUTS:
        return layout
    raise StateError(f"layout: expected 'auto' or one of {', '.join(LAYOUTS)}, got {layout!r}")


def describe(pooling: Pooling, layout: str) -> str:
    """How states are made, in words that are the same in another process."""
    named = pooling if isinstance(pooling, str) else getattr(pooling, "__qualname__", None)
    named = named or type(pooling).__qualname__
    return named if layout == "auto" else f"{named}, layout {layout}"
