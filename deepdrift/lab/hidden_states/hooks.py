"""How many hooks a model carries."""

from __future__ import annotations

from torch import nn


def count_hooks(model: nn.Module) -> int:
    """Forward hooks and pre-hooks on a model and all modules inside.

    Examples
    --------
    >>> model = nn.Sequential(nn.Identity())
    >>> handle = model[0].register_forward_hook(lambda *_: None)
    >>> count_hooks(model)
    1
    >>> handle.remove()
    >>> count_hooks(model)
    0
    """
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
