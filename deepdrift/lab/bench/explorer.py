"""Explorers: move a slider, and a picture and a sentence follow.

An explorer computes everything that depends on data when it is made. A move then looks numbers
up, redraws one reused figure and replaces the bytes of an image and the words of a sentence; no
Output area, so nothing flickers and no error is swallowed. A slider is followed while it is
dragged: the browser holds back what the hand passed over while a picture was drawn, and sends the
newest value. ``app.summary()`` is the sentence,
``app.summary(threshold=3)`` the sentence there, without touching the reader's sliders;
``app.set(...)`` moves them from code. Where no widget can live (a saved notebook, GitHub) the
picture and the sentence remain.
"""

from __future__ import annotations

import base64
import html
import io
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from deepdrift.errors import require
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError, ipywidgets

agg = require("matplotlib.backends.backend_agg", "lab")


matplotlib_figure = require("matplotlib.figure", "lab")


PAGE = (900, 480)  # pixels that an explorer takes at most, as a laptop shows them below its bars
MARGINS = {"left": 0.085, "right": 0.97, "top": 0.88, "bottom": 0.18}
INSET = 6  # pixels by which the track of a slider is shorter at each end than the widget


class Explorer:
    """Controls in two columns above one sentence and one picture of 800 x 300 pixels.

    A subclass prepares its data, calls ``_start(controls)`` last, and implements two functions of
    the values: ``_sentence(**values)``, which changes nothing, and ``_draw(axes, **values)``.
    Other questions that it answers take values as ``summary`` does (``self._values_at(values)``).

    ``_start(controls, more=("window",), on_axis={"threshold": 0})`` hides the controls in
    ``more`` until they are asked for, and lays the slider of the threshold under the first panel,
    whose x axis then reaches from its lowest to its highest value.

    Attributes
    ----------
    view : ipywidgets.VBox
        What JupyterLab shows; CSS classes ``dd-explorer``, ``dd-controls``, ``dd-status``,
        ``dd-image``, ``dd-on-axis``.
    status, image : ipywidgets.HTML, ipywidgets.Image
        The sentence and the picture, which has twice as many dots each way as the page.
    """

    _panels: tuple[float, ...] = (1.0,)

    def _start(
        self,
        controls: Mapping[str, tuple[Any, Any]],
        more: Sequence[str] = (),
        on_axis: Mapping[str, int] | None = None,
    ) -> None:
        self._controls = {name: control for name, (control, _) in controls.items()}
        for name, control in self._controls.items():
            _check_start(name, control)
        self._quiet, self._shown = False, None
        self._on_axis = dict(on_axis or {})
        width, height = (round(100 * inches) for inches in (figures.WIDTH, figures.HEIGHT))
        with figures.style():
            self._figure = matplotlib_figure.Figure(
                figsize=(figures.WIDTH, figures.HEIGHT),
                dpi=100 * figures.SHARPNESS,
                layout="tight",
            )
            self._figure.set_layout_engine("none")  # fixed margins: fast, and nothing jumps
            self._canvas = agg.FigureCanvasAgg(self._figure)
            ratios = {"width_ratios": self._panels, "wspace": 0.24}
            axes = self._figure.subplots(1, len(self._panels), gridspec_kw=ratios, squeeze=False)
            self._axes = list(axes[0])
            self._figure.subplots_adjust(**MARGINS)
        self.status = ipywidgets.HTML()
        self.status.add_class("dd-status")
        size = {"min_width": f"{width}px", "min_height": f"{height}px"}  # a slider lies on its axis
        self.image = ipywidgets.Image(format="png", width=width, height=height, layout=size)
        self.image.add_class("dd-image")
        rows = {name: row for name, (_, row) in controls.items()}
        under = [self._under_axis(rows[name], panel) for name, panel in self._on_axis.items()]
        self.view = ipywidgets.VBox(
            [*self._columns(rows, more), self.status, self.image, *under],
            layout={"max_width": f"{PAGE[0]}px"},
        )
        self.view.add_class("dd-explorer")
        for name, control in self._controls.items():
            setattr(self, name, control)
            control.observe(self._refresh, names="value")
        self._refresh()

    def _columns(self, rows: Mapping[str, Any], more: Sequence[str]) -> list[Any]:
        """The controls side by side, and below them, if there is more, what a button opens."""
        wrap = {"flex_flow": "row wrap", "width": f"{round(100 * figures.WIDTH)}px"}
        first = ipywidgets.Box([row for k, row in rows.items() if k not in more], layout=wrap)
        first.add_class("dd-controls")
        if not more:
            return [first]
        rest = ipywidgets.Box([rows[name] for name in more], layout=wrap | {"display": "none"})
        self.more = ipywidgets.ToggleButton(
            description="more", tooltip="more parameters", layout={"width": "6em"}
        )

        def open_or_close(change: Any) -> None:
            rest.layout.display = "flex" if change["new"] else "none"

        self.more.observe(open_or_close, names="value")
        first.children = (*first.children, self.more)
        return [first, rest]

    def _under_axis(self, row: Any, panel: int) -> Any:
        """Take the slider out of its row and lay its track along the x axis of a panel."""
        box, slider = row.children
        row.children, row.layout.width = (box,), "auto"
        place = self._axes[panel].get_position()
        width = 100 * figures.WIDTH
        slider.layout.flex = "0 0 auto"
        slider.layout.width = f"{width * place.width + 2 * INSET:.0f}px"
        slider.layout.margin = f"-6px 0 0 {width * place.x0 - INSET:.0f}px"
        slider.add_class("dd-on-axis")
        return slider

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
        if isinstance(control, ipywidgets.Checkbox):
            if not isinstance(value, bool):
                raise ExplorerError(f"{name}: expected True or False, got {value!r}")
            return value
        if hasattr(control, "options"):
            if not isinstance(value, str) or value not in control.options:
                raise ExplorerError(
                    f"{name}: expected one of {', '.join(control.options)}, got {value!r}"
                )
            return value
        low, high = _ends(control)
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
        values = self.values
        if self._quiet or values == self._shown:
            return
        self._shown = values
        with figures.style():
            self._wipe()
            self._draw(self._axes, **values)
            for name, panel in self._on_axis.items():
                self._axes[panel].set_xlim(*_ends(self._controls[name]))
            buffer = io.BytesIO()
            # savefig would draw everything twice; level 1 compresses three times faster than 6
            self._canvas.print_png(buffer, pil_kwargs={"compress_level": 1})
        self.image.value = buffer.getvalue()
        self.status.value = f"<p role='status'>{html.escape(self._sentence(**values))}</p>"

    def _wipe(self) -> None:
        """Remove what was drawn; the axes stay with their ticks, which take longest to make."""
        for ax in self._axes:
            drawn = (ax.lines, ax.collections, ax.patches, ax.images, ax.texts, ax.artists,
                     ax.child_axes)  # fmt: skip
            for artist in [artist for some in drawn for artist in some]:
                artist.remove()
            if ax.get_legend() is not None:
                ax.get_legend().remove()
            ax.set_prop_cycle(None)
            ax.relim()
            ax.autoscale(enable=True)

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Live sliders in JupyterLab; the picture or the sentence where no widget can live."""
        bundle = dict(self.view._repr_mimebundle_(include=include, exclude=exclude, **kwargs))
        bundle["text/plain"] = self.summary()
        bundle["image/png"] = base64.b64encode(self.image.value).decode("ascii")
        size = {"width": int(self.image.width), "height": int(self.image.height)}
        return bundle, {"image/png": size | {"alt": self.summary()}}

    def _sentence(self, **values: Any) -> str:
        raise NotImplementedError

    def _draw(self, axes: list[Any], **values: Any) -> None:
        raise NotImplementedError


def _ends(control: Any) -> tuple[float, float]:
    """Lowest and highest value of a slider."""
    if isinstance(control, ipywidgets.FloatLogSlider):
        return control.base**control.min, control.base**control.max
    return control.min, control.max


def _check_start(name: str, control: Any) -> None:
    """Refuse a slider that starts between two of its steps: a browser moves it to one of them."""
    if not isinstance(control, ipywidgets.FloatSlider | ipywidgets.FloatLogSlider):
        return
    value = control.value
    if isinstance(control, ipywidgets.FloatLogSlider):
        value = math.log(value, control.base)
    steps = (value - control.min) / control.step
    if abs(steps - round(steps)) > 1e-6:
        raise ExplorerError(
            f"{name}: expected a start on a step of the slider, which a browser would else move; "
            f"got {control.value:.6g}, {steps:.3f} steps of {control.step:.6g} from the lower end"
        )
