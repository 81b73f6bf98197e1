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

from deepdrift.errors import StateError

Pooling = str | Callable[[Tensor], Tensor]

METHODS = ("auto", "mean", "cls", "last", "flatten")
LAYOUTS = ("ND", "NTD", "TND", "NCL", "NCHW", "NHWC", "NCDHW")
_DEFAULT_LAYOUT = {2: "ND", 3: "NTD", 4: "NCHW", 5: "NCDHW"}
_CHANNELS_FIRST_1D = (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.InstanceNorm1d)


def layout_of(module: nn.Module, output: Tensor) -> str:
    """Layout of a module's output, from its type where that is known, else from the axes.

    ``batch_first=False`` of recurrent and attention modules gives ``TND``; 1-D convolutions give
    ``NCL``; anything else ``NTD`` (3 axes), ``NCHW`` (4) or ``NCDHW`` (5).

    Examples
    --------
    >>> layout_of(nn.LSTM(3, 4), torch.zeros(7, 2, 4))
    'TND'
    >>> layout_of(nn.Conv1d(3, 4, 1), torch.zeros(2, 4, 7))
    'NCL'
    """
    if output.ndim == 3:
        if isinstance(module, _CHANNELS_FIRST_1D):
            return "NCL"
        attention = getattr(module, "self_attn", module)
        if getattr(attention, "batch_first", True) is False:
            return "TND"
    if output.ndim == 4 and isinstance(module, nn.LayerNorm | nn.Linear):
        return "NHWC"
    layout = _DEFAULT_LAYOUT.get(output.ndim)
    if layout is None:
        raise StateError(
            f"a layer output of shape {tuple(output.shape)} has no sample axis and channel axis; "
            "expected 2 to 5 axes: choose another layer or give a function as pooling"
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
    output = output.detach()
    if callable(method):
        state = method(output)
        if not isinstance(state, Tensor) or state.ndim != 2:
            shape = tuple(state.shape) if isinstance(state, Tensor) else type(state).__name__
            raise StateError(f"pooling: the function must return a tensor (N, D), got {shape}")
        return state.detach().to(torch.float32, copy=True)
    if output.ndim == 1:
        output = output[:, None]
    if layout == "auto":
        layout = layout_of(nn.Identity(), output)
    if len(layout) != output.ndim:
        raise StateError(
            f"layout: {layout!r} has {len(layout)} axes, the layer output has shape "
            f"{tuple(output.shape)}"
        )
    if layout == "ND":
        return output.to(torch.float32, copy=True)
    output = output.movedim(layout.index("N"), 0)
    axes = layout.replace("N", "")
    if method == "flatten":
        return output.flatten(1).to(torch.float32, copy=True)
    if method in ("cls", "last", "last_token") and "T" in axes:
        return output[:, 0 if method == "cls" else -1].to(torch.float32, copy=True)
    channel = "D" if axes in ("TD",) else "C"
    positions = [1 + i for i, axis in enumerate(axes) if axis != channel]
    return output.mean(dim=positions, dtype=torch.float32)


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
