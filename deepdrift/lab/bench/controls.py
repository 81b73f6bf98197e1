"""Sliders, number boxes and lists of an explorer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from deepdrift.errors import DeepDriftError, require

ipywidgets = require("ipywidgets", "lab")


traitlets = require("traitlets", "lab")


DESCRIPTION = {"description_width": "initial"}


class ExplorerError(DeepDriftError, ValueError):
    """An explorer was given data it cannot show, or moved to where its controls cannot go."""


def _tidy(value: float) -> float:
    """Four significant digits, as shown to the reader."""
    return float(f"{value:.4g}")


def number_control(
    label: str, value: float, low: float, high: float, step: float, *, log: bool = False
) -> tuple[Any, Any]:
    """Slider and a labelled number box that follow each other; returns (slider, row to show).

    The box carries the label and takes typed values, because a screen reader finds no name on the
    handle of a slider. With integers for ``value`` and ``step`` both hold integers.
    """
    if isinstance(step, int):
        slider_type, box_type = ipywidgets.IntSlider, ipywidgets.BoundedIntText
    else:
        slider_type, box_type = ipywidgets.FloatSlider, ipywidgets.BoundedFloatText
    limits = {"min": low, "max": high, "step": step}
    common = {"continuous_update": False, "readout": False, "layout": {"width": "24em"}}
    if log:
        exponents = {"min": math.log10(low), "max": math.log10(high)}
        slider = ipywidgets.FloatLogSlider(value=value, base=10, step=step, **exponents, **common)
        limits["step"] = None
    else:
        slider = slider_type(value=value, **limits, **common)
    shown = slider.value if isinstance(step, int) else _tidy(slider.value)
    width = f"{max(16, len(label) // 2 + 11)}em"
    box = box_type(
        value=shown, description=label, style=DESCRIPTION, layout={"width": width}, **limits
    )
    transform = None if isinstance(step, int) else (_tidy, lambda x: x)
    traitlets.link((slider, "value"), (box, "value"), transform=transform)
    return slider, ipywidgets.HBox([box, slider])


def choice_control(label: str, options: Sequence[str]) -> tuple[Any, Any]:
    """Labelled list to choose from."""
    control = ipywidgets.Dropdown(options=list(options), description=label, style=DESCRIPTION)
    return control, control


def nice_step(low: float, high: float) -> float:
    """Step of the form 1, 2 or 5 times a power of ten that cuts the range into 300 or fewer.

    Examples
    --------
    >>> nice_step(0, 43.7), nice_step(0, 1.0)
    (0.2, 0.005)
    """
    raw = (high - low) / 300
    power = 10.0 ** math.floor(math.log10(raw))
    return next(float(f"{m * power:.3g}") for m in (1, 2, 5, 10) if m * power >= 0.999 * raw)
