"""Explorers: move a slider, and a picture and a sentence follow.

An explorer computes everything that depends on data when it is made. A move then looks numbers
up, redraws one reused figure and replaces the bytes of an image and the words of a sentence; no
Output area, so nothing flickers and no error is swallowed. ``app.summary()`` is the sentence,
``app.summary(threshold=3)`` the sentence there, without touching the reader's sliders;
``app.set(...)`` moves them from code. Where no widget can live (a saved notebook, GitHub) the
picture and the sentence remain.
"""

from __future__ import annotations

import base64
import html
import io
import numbers
from collections.abc import Mapping
from typing import Any

from deepdrift.errors import require
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError, ipywidgets

agg = require("matplotlib.backends.backend_agg", "lab")


matplotlib_figure = require("matplotlib.figure", "lab")


class Explorer:
    """Sliders above one sentence and one picture of 800 x 300 pixels.

    A subclass prepares its data, calls ``_start(controls)`` last, and implements two functions of
    the values: ``_sentence(**values)``, which changes nothing, and ``_draw(axes, **values)``.
    Other questions that it answers take values as ``summary`` does (``self._values_at(values)``).

    Attributes
    ----------
    view : ipywidgets.VBox
        What JupyterLab shows; CSS classes ``dd-explorer``, ``dd-status``, ``dd-image``.
    status, image : ipywidgets.HTML, ipywidgets.Image
        The sentence and the picture.
    """

    _panels: tuple[float, ...] = (1.0,)

    def _start(self, controls: Mapping[str, tuple[Any, Any]]) -> None:
        self._controls = {name: control for name, (control, _) in controls.items()}
        self._quiet = False
        with figures.style():
            self._figure = matplotlib_figure.Figure(
                figsize=(figures.WIDTH, figures.HEIGHT), dpi=100, layout="tight"
            )
            self._figure.set_layout_engine("none")  # fixed margins: fast, and nothing jumps
            self._canvas = agg.FigureCanvasAgg(self._figure)
            ratios = {"width_ratios": self._panels, "wspace": 0.24}
            axes = self._figure.subplots(1, len(self._panels), gridspec_kw=ratios, squeeze=False)
            self._axes = list(axes[0])
            self._figure.subplots_adjust(left=0.085, right=0.97, top=0.88, bottom=0.18)
        self.status = ipywidgets.HTML()
        self.status.add_class("dd-status")
        self.image = ipywidgets.Image(format="png", width=800, height=300)
        self.image.add_class("dd-image")
        rows = [row for _, row in controls.values()]
        self.view = ipywidgets.VBox([*rows, self.status, self.image])
        self.view.add_class("dd-explorer")
        for name, control in self._controls.items():
            setattr(self, name, control)
            control.observe(self._refresh, names="value")
        self._refresh()

    @property
    def values(self) -> dict[str, Any]:
        """Current value of every control, by name."""
        return {name: control.value for name, control in self._controls.items()}

    def set(self, **values: Any) -> Explorer:
        """Move controls from code, several at once; nothing moves if one value is impossible.

        Raises
        ------
        ExplorerError
            For an unknown control, a value outside its range, or not among its options.
        """
        values = {name: self._checked(name, value) for name, value in values.items()}
        self._quiet = True
        try:
            for name, value in values.items():
                self._controls[name].value = value
        finally:
            self._quiet = False
            self._refresh()
        return self

    def summary(self, **values: Any) -> str:
        """The sentence on display; with values, the sentence there. Nothing moves.

        Controls that are not named stand as they are.

        Raises
        ------
        ExplorerError
            As ``set``.
        """
        return self._sentence(**self._values_at(values))

    def _values_at(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of all controls if these were set."""
        return self.values | {name: self._checked(name, value) for name, value in values.items()}

    def _checked(self, name: str, value: Any) -> Any:
        control = self._controls.get(name)
        if control is None:
            known = ", ".join(self._controls)
            raise ExplorerError(f"{name}: no such control; this explorer has {known}")
        if hasattr(control, "options"):
            if not isinstance(value, str) or value not in control.options:
                raise ExplorerError(
                    f"{name}: expected one of {', '.join(control.options)}, got {value!r}"
                )
            return value
        low, high = control.min, control.max
        if isinstance(control, ipywidgets.FloatLogSlider):
            low, high = control.base**low, control.base**high
        whole = isinstance(control, ipywidgets.IntSlider)
        is_number = isinstance(value, numbers.Integral if whole else numbers.Real)
        slack = 0 if whole else 1e-9 * max(abs(low), abs(high))  # bounds are rounded themselves
        inside = is_number and low - slack <= value <= high + slack
        if not inside or isinstance(value, bool):
            kind = "a whole number" if whole else "a number"
            raise ExplorerError(
                f"{name}: expected {kind} from {low:.6g} to {high:.6g}, got {value!r}"
            )
        return int(value) if whole else min(max(float(value), low), high)

    def _refresh(self, _change: Any = None) -> None:
        if self._quiet:
            return
        values = self.values
        with figures.style():
            self._wipe()
            self._draw(self._axes, **values)
            buffer = io.BytesIO()
            # savefig would draw everything twice; level 1 compresses three times faster than 6
            self._canvas.print_png(buffer, pil_kwargs={"compress_level": 1})
        self.image.value = buffer.getvalue()
        self.status.value = f"<p role='status'>{html.escape(self._sentence(**values))}</p>"

    def _wipe(self) -> None:
        """Make room for the next picture; where the axes stay, override it to keep their ticks."""
        for ax in self._axes:
            ax.clear()

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Live sliders in JupyterLab; the picture or the sentence where no widget can live."""
        bundle = dict(self.view._repr_mimebundle_(include=include, exclude=exclude, **kwargs))
        bundle["text/plain"] = self.summary()
        bundle["image/png"] = base64.b64encode(self.image.value).decode("ascii")
        return bundle

    def _sentence(self, **values: Any) -> str:
        raise NotImplementedError

    def _draw(self, axes: list[Any], **values: Any) -> None:
        raise NotImplementedError
