"""How far a state moves in one step: through depth (layers) or through time.

The raw quantities, exactly as published for DeepDrift (Evtushenko 2026): Euclidean lengths of
differences. They say nothing about what is normal; see `deepdrift.scores.innovation` for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from deepdrift.errors import StateError

StatesLike = Mapping[str, Tensor] | Sequence[Tensor]


def as_states(states: StatesLike, at_least: int = 1) -> dict[str, Tensor]:
    """Layer name -> ``(N, D)``, checked; sequences are named ``"0", "1", ...``.

    Raises
    ------
    StateError
        For fewer layers than needed, other axes than (N, D), or differing N.
    """
    if isinstance(states, Tensor):
        raise StateError("states: expected a mapping or list of tensors (N, D), got one tensor")
    named = (
        dict(states)
        if isinstance(states, Mapping)
        else {str(i): as_tensor(s) for i, s in enumerate(states)}
    )
    if len(named) < at_least:
        raise StateError(
            f"states: expected at least {at_least} layers, got {len(named)}"
            + (": was the model run?" if not named else f" ({', '.join(named)})")
        )
    sizes = {name: tuple(s.shape) for name, s in named.items()}
    if any(len(size) != 2 for size in sizes.values()):
        raise StateError(f"states: expected shape (N, D) for every layer, got {sizes}")
    if len({size[0] for size in sizes.values()}) > 1:
        raise StateError(
            f"states: the layers disagree on the number of samples: {sizes}; a layer whose first "
            "axis is not the sample needs a layout such as 'TND'"
        )
    return named


def spatial_velocity(states: StatesLike, across_widths: str | None = None) -> Tensor:
    """Distance between the states of consecutive layers, for each sample.

    ``v_l = ||z_{l+1} - z_l||_2`` (the spatial velocity that DeepDrift published).

    Parameters
    ----------
    states : mapping or sequence of Tensor, each (N, D_l)
        In execution order, as `deepdrift.record` gives them; at least two layers.
    across_widths : {None, "norm"}
        A difference needs equal widths. Where they differ, ``None`` is an error and ``"norm"``
        takes ``| ||z_{l+1}|| - ||z_l|| |``, which is blind to direction.

    Returns
    -------
    Tensor, shape (N, L - 1), float32, >= 0; NaN where a state is NaN.

    Raises
    ------
    StateError
        Fewer than two layers, or different widths without ``across_widths="norm"``.

    Examples
    --------
    >>> states = {"a": torch.tensor([[0.0, 0.0]]), "b": torch.tensor([[3.0, 4.0]])}
    >>> spatial_velocity(states)
    tensor([[5.]])
    """
    if across_widths not in (None, "norm"):
        raise StateError(f"across_widths: expected None or 'norm', got {across_widths!r}")
    named = list(as_states(states, at_least=2).items())
    steps = []
    for (name_a, a), (name_b, b) in zip(named, named[1:], strict=False):
        if a.shape[1] == b.shape[1]:
            steps.append((b.float() - a.float()).norm(dim=1))
        elif across_widths == "norm":
            steps.append((b.float().norm(dim=1) - a.float().norm(dim=1)).abs())
        else:
            raise StateError(
                f"states: layer {name_a!r} has width {a.shape[1]} and {name_b!r} width "
                f"{b.shape[1]}; a distance needs equal widths. Watch layers of one width, use "
                "Innovation (any widths), or ask for across_widths='norm'"
            )
    return torch.stack(steps, dim=1)


def _trace(trace: Tensor, at_least: int) -> Tensor:
    trace = as_tensor(trace)
    if trace.ndim not in (2, 3):
        raise StateError(f"trace: expected shape (T, D) or (N, T, D), got {tuple(trace.shape)}")
    if trace.shape[-2] < at_least:
        raise StateError(f"trace: expected at least {at_least} steps, got {trace.shape[-2]}")
    return trace if trace.dtype == torch.float64 else trace.float()


def temporal_velocity(trace: Tensor) -> Tensor:
    """Distance between consecutive steps of a trace: ``u_t = ||z_t - z_{t-1}||_2``.

    Parameters
    ----------
    trace : Tensor, shape (T, D) or (N, T, D)
        States of one layer over time; T >= 2.

    Returns
    -------
    Tensor, shape (T - 1,) or (N, T - 1), >= 0.

    Examples
    --------
    >>> temporal_velocity(torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]]))
    tensor([5., 0.])
    """
    return _trace(trace, 2).diff(dim=-2).norm(dim=-1)


def temporal_acceleration(trace: Tensor) -> Tensor:
    """Length of the second difference: ``a_t = ||z_t - 2 z_{t-1} + z_{t-2}||_2``.

    A vector quantity: turning at constant speed has acceleration too, so it differs from
    ``|u_t - u_{t-1}|``.

    Parameters
    ----------
    trace : Tensor, shape (T, D) or (N, T, D)
        T >= 3.

    Returns
    -------
    Tensor, shape (T - 2,) or (N, T - 2), >= 0.

    Examples
    --------
    One step right, then one step up: the same speed, yet not straight.

    >>> temporal_acceleration(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))
    tensor([1.4142])
    """
    return _trace(trace, 3).diff(n=2, dim=-2).norm(dim=-1)


def as_tensor(values: Any) -> Tensor:
    """A tensor where it is; other values on the CPU, whatever the default device."""
    return values if isinstance(values, Tensor) else torch.as_tensor(values, device="cpu")
