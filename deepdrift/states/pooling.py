"""From a layer's output to one state vector per sample, by an explicit layout.

A layout names the axes: N sample, C or D channel (D is depth where there is a C), H and W image,
L or T position.
``(N, C, H, W) -> (N, C)`` and ``(N, T, D) -> (N, D)`` are averages over positions unless you ask
for the class token (``"cls"``), the last token (``"last"``) or everything (``"flatten"``).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from deepdrift.errors import LayerNotFoundError, StateError
from deepdrift.states.layout import LAYOUTS

Pooling = str | Callable[[Tensor], Tensor]
Layouts = str | Mapping[str, str]

METHODS = ("auto", "mean", "cls", "last", "flatten")
_POSITIONS = {  # the axes to average over; what remains is (N, channel)
    "NTD": (1,), "TND": (0,), "NCL": (2,), "NCHW": (2, 3), "NHWC": (1, 2),
    "NCDHW": (2, 3, 4), "NDHWC": (1, 2, 3),
}  # fmt: skip
IMAGES = {name: axes for name, axes in _POSITIONS.items() if len(name) > 3}  # no tokens, no masks
_DEFAULT_LAYOUT = {2: "ND", 3: "NTD", 4: "NCHW", 5: "NCDHW"}


def pool(
    output: Tensor,
    layout: str = "auto",
    method: Pooling = "auto",
    keep: Tensor | None = None,
) -> Tensor:
    """Reduce one layer output to one float32 vector per sample, as a detached copy.

    Parameters
    ----------
    output : Tensor
        Axes as in ``layout``; half precision is accumulated in float32.
    layout : str
        One of ``ND, NTD, TND, NCL, NCHW, NHWC, NCDHW, NDHWC``, or ``auto``: by the number of
        axes.
    method : str or callable
        ``auto`` and ``mean`` average over positions, ``cls`` takes the first token, ``last``
        (also ``last_token``) the last, ``flatten`` keeps everything; a function receives the
        output and returns ``(N, D)``. With ``cls`` and ``last``, layers without a token axis
        are averaged.
    keep : bool Tensor, shape (N, T), optional
        Which tokens are real, for the layouts ``NTD``, ``TND`` and ``NCL``. Others do not count:
        not in the mean, nor as first or last token. A sample without any real token is NaN.

    Returns
    -------
    Tensor, shape (N, D), float32, sharing no memory with ``output``.

    Examples
    --------
    >>> tokens = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])  # one sample, two tokens
    >>> pool(tokens), pool(tokens, method="cls")
    (tensor([[2., 4.]]), tensor([[1., 2.]]))
    >>> pool(tokens, keep=torch.tensor([[False, True]]))
    tensor([[3., 6.]])
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
        layout = _DEFAULT_LAYOUT[output.ndim]
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
    tokens = method in ("cls", "last", "last_token") and "T" in layout
    if keep is not None and layout in ("NTD", "TND", "NCL"):
        order = (layout.index("N"), layout.index("L" if "L" in layout else "T"))
        output = output.movedim(order, (0, 1))  # (N, T, D)
        if not tokens:
            return _mean_of(output, keep)
        return _token_of(output, keep, first=method == "cls")
    if tokens:
        token = output.select(layout.index("T"), 0 if method == "cls" else -1)
        return token.to(torch.float32, copy=True)
    return output.mean(dim=_POSITIONS[layout], dtype=torch.float32)


def _mean_of(output: Tensor, keep: Tensor) -> Tensor:
    """Mean over the real tokens of ``(N, T, D)``."""
    real = torch.where(keep[..., None], output, 0.0).sum(dim=1, dtype=torch.float32)
    return real / keep.sum(dim=1, keepdim=True)


def _token_of(output: Tensor, keep: Tensor, first: bool) -> Tensor:
    """The first or the last real token of ``(N, T, D)``."""
    place = torch.arange(keep.shape[1], device=keep.device).expand_as(keep)
    chosen = place.where(keep, keep.shape[1]).amin(1) if first else place.where(keep, -1).amax(1)
    inside = chosen.clamp(0, keep.shape[1] - 1)
    token = output[torch.arange(len(output), device=output.device), inside].to(torch.float32)
    return token.masked_fill(~keep.any(dim=1, keepdim=True), float("nan"))


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


def check_layouts(layout: Layouts, layers: Sequence[str]) -> dict[str, str]:
    """Layout of every layer by name; layers that are not in it are ``auto``.

    Raises
    ------
    StateError, LayerNotFoundError
        Listing the layouts that exist, or the layers that are watched.

    Examples
    --------
    >>> check_layouts("TND", ["a", "b"]), check_layouts({"b": "NHWC"}, ["a", "b"])
    ({'a': 'TND', 'b': 'TND'}, {'b': 'NHWC'})
    """
    named = dict(layout) if isinstance(layout, Mapping) else dict.fromkeys(layers, layout)
    for name, value in named.items():
        if name not in layers:
            near = difflib.get_close_matches(str(name), layers, n=3) or list(layers)[:4]
            raise LayerNotFoundError(f"layout: {name!r} is not watched; nearest: {', '.join(near)}")
        if value != "auto" and value not in LAYOUTS:
            raise StateError(
                f"layout: expected 'auto' or one of {', '.join(LAYOUTS)}, got {value!r}"
            )
    return named


def describe(pooling: Pooling, layout: Layouts) -> str:
    """How states are made, in words that are the same in another process."""
    named = pooling if isinstance(pooling, str) else getattr(pooling, "__qualname__", None)
    named = named or type(pooling).__qualname__
    return named if layout == "auto" else f"{named}, layout {layout}"
