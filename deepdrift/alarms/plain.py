"""Results as plain JSON: dicts, lists, strings, finite numbers, and null with a reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np
from torch import Tensor


def plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that `json.dumps` writes and every reader of JSON understands.

    JSON has no NaN and no infinity. They become null, and ``why_null`` says which null stands for
    what, so that nothing is lost and nothing that is not finite passes as healthy.

    Raises
    ------
    TypeError
        For an object that has no plain form, with its place.

    Examples
    --------
    >>> plain({"p": [0.5, math.inf], "n": np.int64(2)})
    {'p': [0.5, None], 'n': 2, 'why_null': {'p[1]': 'inf'}}
    """
    reasons: dict[str, str] = {}
    out = {key: _plain(value, str(key), reasons) for key, value in fields.items()}
    if reasons:
        out["why_null"] = reasons
    return out


def _plain(value: Any, place: str, reasons: dict[str, str]) -> Any:
    if isinstance(value, Enum):
        value = value.value
    elif isinstance(value, Tensor):
        value = value.detach().cpu().tolist()
    elif isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        reasons[place] = repr(value)
        return None
    if isinstance(value, Mapping):
        return {str(k): _plain(v, f"{place}.{k}", reasons) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v, f"{place}[{i}]", reasons) for i, v in enumerate(value)]
    raise TypeError(f"{place}: {type(value).__name__} has no plain form")
