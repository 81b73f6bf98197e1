"""Sliders, number boxes and lists of an explorer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from deepdrift.errors import DeepDriftError, require

ipywidgets = require("ipywidgets", "lab")


traitlets = require("traitlets", "lab")


DESCRIPTION = {"description_width": "initial"}
COLUMN = "396px"  # two columns beside each other are as wide as a picture


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
    handle of a slider; a typed value outside the range becomes the nearest one inside. With
    integers for ``value`` and ``step`` both hold integers.

    While the handle is dragged the browser sends a value as soon as the one before is dealt with,
    the newest one only, so that the picture follows as fast as it can be drawn. The box is set
    from here, before the picture is drawn: linked in the browser it would show every digit of a
    number whose rounding belongs to the words.
    """
    if isinstance(step, int):
        slider_type, box_type = ipywidgets.IntSlider, ipywidgets.BoundedIntText
    else:
        slider_type, box_type = ipywidgets.FloatSlider, ipywidgets.BoundedFloatText
    limits = {"min": low, "max": high, "step": step}
    common = {"continuous_update": True, "readout": False, "layout": {"flex": "1 1 6em"}}
    if log:
        exponents = {"min": math.log10(low), "max": math.log10(high)}
        slider = ipywidgets.FloatLogSlider(value=value, base=10, step=step, **exponents, **common)
        limits["step"] = None
    else:
        slider = slider_type(value=value, **limits, **common)
    shown = slider.value if isinstance(step, int) else _tidy(slider.value)
    box = box_type(
        value=shown, description=label, style=DESCRIPTION, layout=_width_for(label, 7), **limits
    )
    transform = None if isinstance(step, int) else (_tidy, lambda x: x)
    traitlets.link((slider, "value"), (box, "value"), transform=transform)
    return slider, ipywidgets.HBox([box, slider], layout={"width": COLUMN})


def choice_control(label: str, options: Sequence[str]) -> tuple[Any, Any]:
    """Labelled list to choose from."""
    longest = max(map(len, options), default=0)
    layout = _width_for(label, min(longest, 30) * 0.6 + 4)
    control = ipywidgets.Dropdown(
        options=list(options), description=label, style=DESCRIPTION, layout=layout
    )
    return control, ipywidgets.HBox([control], layout={"width": COLUMN})


def toggle_control(label: str, value: bool = False) -> tuple[Any, Any]:
    """Labelled box to tick."""
    control = ipywidgets.Checkbox(
        value=value, description=label, indent=False, layout={"width": "auto"}
    )
    return control, ipywidgets.HBox([control], layout={"width": COLUMN})


def _width_for(label: str, more: float) -> dict[str, str]:
    """Layout of a control whose label needs its room and whose field so many em."""
    return {"width": f"{0.58 * len(label) + more:.1f}em", "flex": "0 0 auto"}


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
