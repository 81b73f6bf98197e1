"""Explorers: move a slider, and a picture and a sentence follow.

An explorer computes everything that depends on data when it is made. A move then looks numbers
up, redraws one reused figure and replaces the bytes of an image and the words of a sentence; no
Output area, so nothing flickers and no error is swallowed. ``app.set(...)`` moves the sliders from
code, ``app.summary()`` is the sentence, and where no widget can live (a saved notebook, GitHub)
the picture and the sentence remain.
"""

from __future__ import annotations

import base64
import html
import io
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepdrift.calibration import (
    conformal_threshold,
    iqr_threshold,
    quantile_threshold,
    required_samples,
)
from deepdrift.errors import DeepDriftError, require
from deepdrift.lab import plots
from deepdrift.lab.evaluation import Estimate, as_scores, auroc, false_alarm_interval

ipywidgets = require("ipywidgets", "lab")
traitlets = require("traitlets", "lab")
agg = require("matplotlib.backends.backend_agg", "lab")
matplotlib_figure = require("matplotlib.figure", "lab")
decomposition = require("sklearn.decomposition", "lab")

Array = NDArray[np.float64]
DESCRIPTION = {"description_width": "initial"}


class ExplorerError(DeepDriftError, ValueError):
    """An explorer was given data it cannot show, or moved to where its controls cannot go."""


# --- controls -----------------------------------------------------------------------------------


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


def nice_step(low: float, high: float, n_steps: int = 300) -> float:
    """Step of the form 1, 2 or 5 times a power of ten that cuts the range into at most n steps.

    Examples
    --------
    >>> nice_step(0, 43.7), nice_step(0, 1.0)
    (0.2, 0.005)
    """
    raw = (high - low) / n_steps
    power = 10.0 ** math.floor(math.log10(raw))
    return next(float(f"{m * power:.3g}") for m in (1, 2, 5, 10) if m * power >= 0.999 * raw)


# --- the base -----------------------------------------------------------------------------------


class Explorer:
    """Sliders above one sentence and one picture of 800 x 300 pixels.

    A subclass prepares its data, calls ``_start(controls)`` last, and implements two functions of
    the current values: ``_sentence(**values)`` and ``_draw(axes, **values)``.

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
        with plots.style():
            self._figure = matplotlib_figure.Figure(
                figsize=(plots.WIDTH, plots.HEIGHT), dpi=100, layout="tight"
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

    def summary(self) -> str:
        """The sentence that is on display."""
        return self._sentence(**self.values)

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
        return int(value) if whole else float(value)

    def _refresh(self, _change: Any = None) -> None:
        if self._quiet:
            return
        values = self.values
        with plots.style():
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


# --- one threshold ------------------------------------------------------------------------------


@dataclass(frozen=True)
class ThresholdCounts:
    """What one threshold does to two sets of scores; an alarm is a score above the threshold.

    Examples
    --------
    >>> print(count_alarms([1, 2, 3, 9], [2, 5, 8], threshold=3))
    1 of 4 false alarms (25.0 %), 1 of 3 missed (33.3 %)
    """

    false_alarms: int
    n_normal: int
    misses: int
    n_shifted: int

    def __str__(self) -> str:
        return (
            f"{self.false_alarms} of {self.n_normal} false alarms "
            f"({100 * self.false_alarms / self.n_normal:.1f} %), "
            f"{self.misses} of {self.n_shifted} missed ({100 * self.misses / self.n_shifted:.1f} %)"
        )


def count_alarms(normal: Any, shifted: Any, threshold: float) -> ThresholdCounts:
    """Count false alarms (normal above the threshold) and misses (shifted not above it)."""
    normal, shifted = as_scores(normal, "normal"), as_scores(shifted, "shifted")
    return ThresholdCounts(
        int((normal > threshold).sum()), len(normal),
        int((shifted <= threshold).sum()), len(shifted),
    )  # fmt: skip


class ThresholdExplorer(Explorer):
    """Move one threshold between normal and shifted scores; count false alarms and misses.

    Controls: ``threshold``, and ``shift`` where several shifts are given.

    Parameters
    ----------
    normal : array_like, shape (N,)
        Scores of unseen normal samples; larger means more unusual.
    shifted : array_like, shape (M,), or mapping of str to array_like
        Scores of the shifted samples, or several named shifts to choose from.
    threshold : float, optional
        Where the slider starts; by default the 95 % quantile of the normal scores.
    names : (str, str)
        What the two sets are, in the plural. With several shifts only the first is used.
    log : bool
        Logarithmic slider and axis, for positive scores over several powers of ten.
    xlabel : str
        What the score is, with its unit.

    Examples
    --------
    >>> app = ThresholdExplorer([1, 2, 3, 9], [2, 5, 8], threshold=3, names=("bags", "digits"))
    >>> print(app.summary())
    Threshold 3: 1 of 4 bags raise a false alarm (25.0 %); 1 of 3 digits are missed (33.3 %).
    >>> print(app.set(threshold=1.5).summary())
    Threshold 1.5: 3 of 4 bags raise a false alarm (75.0 %); 0 of 3 digits are missed (0.0 %).
    """

    def __init__(
        self,
        normal: Any,
        shifted: Any,
        *,
        threshold: float | None = None,
        names: tuple[str, str] = ("normal images", "shifted images"),
        log: bool = False,
        xlabel: str = "score (larger = more unusual)",
    ) -> None:
        self._normal_name, self._log, self._xlabel = names[0], log, xlabel
        self._normal = as_scores(normal, names[0])
        several = isinstance(shifted, Mapping)
        sets = shifted if several else {names[1]: shifted}
        if not sets:
            raise ExplorerError("shifted: expected at least one set of scores, got none")
        self._shifted = {str(name): as_scores(s, str(name)) for name, s in sets.items()}
        edges = plots.histogram_edges(self._normal, *self._shifted.values(), log=log)
        self._edges, low, high = edges, float(edges[0]), float(edges[-1])
        start = float(np.quantile(self._normal, 0.95)) if threshold is None else float(threshold)
        if threshold is None:
            start = min(max(start, low), high)
        elif not math.isfinite(start) or (log and start <= 0):
            raise ExplorerError(
                f"threshold: expected a finite{' positive' if log else ''} number, "
                f"got {threshold!r}"
            )
        low, high = min(low, start), max(high, start)
        if log:
            step = nice_step(math.log10(low), math.log10(high))
        else:
            step = nice_step(low, high)
            low, high = (
                float(f"{rounded(x / step) * step:.10g}")
                for rounded, x in ((math.floor, low), (math.ceil, high))
            )
        controls = {"threshold": number_control("threshold", start, low, high, step, log=log)}
        if several:
            controls["shift"] = choice_control("shift", list(self._shifted))
        self._start(controls)

    def counts(self) -> ThresholdCounts:
        """False alarms and misses at the current threshold."""
        return self._counts(**self.values)

    def _counts(self, threshold: float, shift: str | None = None) -> ThresholdCounts:
        return count_alarms(self._normal, self._shifted[self._name(shift)], threshold)

    def _name(self, shift: str | None) -> str:
        return next(iter(self._shifted)) if shift is None else shift

    def _sentence(self, threshold: float, shift: str | None = None) -> str:
        c = self._counts(threshold, shift)
        return (
            f"Threshold {threshold:.4g}: {c.false_alarms} of {c.n_normal} {self._normal_name} "
            f"raise a false alarm ({100 * c.false_alarms / c.n_normal:.1f} %); {c.misses} of "
            f"{c.n_shifted} {self._name(shift)} are missed ({100 * c.misses / c.n_shifted:.1f} %)."
        )

    def _draw(self, axes: list[Any], threshold: float, shift: str | None = None) -> None:
        c = self._counts(threshold, shift)
        title = (
            f"{100 * c.false_alarms / c.n_normal:.1f} % false alarms, "
            f"{100 * c.misses / c.n_shifted:.1f} % missed"
        )
        plots.draw_two_histograms(
            axes[0], self._normal, self._shifted[self._name(shift)],
            (self._normal_name, self._name(shift)), title, self._xlabel, threshold, log=self._log,
            edges=self._edges,
        )  # fmt: skip


# --- one layer ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _LayerView:
    width: int
    explained: float
    points: dict[str, Array]  # (n, 2) per set
    norms: dict[str, Array]  # (N,) per set


class LayerPicker(Explorer):
    """Pick a layer; see where its states lie and how long they are.

    Left: states projected on the two directions in which the *normal* states of that layer spread
    most (PCA fitted on the first set). Right: lengths of the states. Control: ``layer``.

    Parameters
    ----------
    states_by_set : mapping of str to mapping of layer name to array_like, shape (N, D)
        The first set is the normal one; all sets hold the same layers.
    n_points : int
        At most so many points per set are drawn (the first ones); numbers use all.

    Examples
    --------
    >>> normal = {"stem": [[3.0, 4.0], [0.0, 5.0]]}
    >>> app = LayerPicker({"bags": normal, "digits": {"stem": [[0.6, 0.8]]}})
    >>> print(app.summary())
    Layer stem (2 numbers per image): two directions hold 100 % of the spread of bags. Median \
length of a state: bags 5, digits 1 (0.20 times as long).
    """

    _panels = (1.0, 1.25)

    def __init__(
        self, states_by_set: Mapping[str, Mapping[str, Any]], *, n_points: int = 400
    ) -> None:
        if not states_by_set or not next(iter(states_by_set.values())):
            raise ExplorerError("states_by_set: expected at least one set with one layer, got none")
        self._sets = [str(name) for name in states_by_set]
        layers = list(next(iter(states_by_set.values())))
        for name, states in states_by_set.items():
            if set(states) != set(layers):
                raise ExplorerError(
                    f"states_by_set[{name!r}]: expected the layers {', '.join(layers)}, "
                    f"got {', '.join(states)}"
                )
        self._views = {layer: self._project(states_by_set, layer, n_points) for layer in layers}
        self._start({"layer": choice_control("layer", layers)})

    @staticmethod
    def _project(states_by_set: Mapping[str, Any], layer: str, n_points: int) -> _LayerView:
        states = {}
        for name, by_layer in states_by_set.items():
            x = by_layer[layer]
            x = x.detach().cpu().double().numpy() if hasattr(x, "detach") else np.asarray(x, float)
            if x.ndim != 2 or x.size == 0 or not np.isfinite(x).all():
                raise ExplorerError(
                    f"states_by_set[{name!r}][{layer!r}]: expected finite states of shape (N, D), "
                    f"got shape {x.shape}" + (" with NaN or infinity" if x.ndim == 2 else "")
                )
            states[str(name)] = x
        normal = next(iter(states.values()))
        n, width = normal.shape
        points = {name: np.zeros((len(x[:n_points]), 2)) for name, x in states.items()}
        explained = 1.0
        if normal.std(axis=0).any():  # a dead layer has no directions
            pca = decomposition.PCA(min(2, n, width), svd_solver="full").fit(normal)
            explained = float(pca.explained_variance_ratio_.sum())
            for name, x in states.items():
                flat = pca.transform(x[:n_points])
                points[name][:, : flat.shape[1]] = flat
        norms = {name: np.linalg.norm(x, axis=1) for name, x in states.items()}
        return _LayerView(width, explained, points, norms)

    def _sentence(self, layer: str) -> str:
        view = self._views[layer]
        first = self._sets[0]
        base = float(np.median(view.norms[first]))
        lengths = [f"{first} {base:.3g}"]
        for name in self._sets[1:]:
            median = float(np.median(view.norms[name]))
            ratio = f" ({median / base:.2f} times as long)" if base > 0 else ""
            lengths.append(f"{name} {median:.3g}{ratio}")
        return (
            f"Layer {layer} ({view.width} numbers per image): two directions hold "
            f"{100 * view.explained:.0f} % of the spread of {first}. "
            f"Median length of a state: {', '.join(lengths)}."
        )

    def _draw(self, axes: list[Any], layer: str) -> None:
        view = self._views[layer]
        cloud, lengths = axes
        for i, name in enumerate(self._sets):
            x, y = view.points[name].T
            cloud.plot(x, y, "o", markersize=3, alpha=0.45, color=plots.COLOURS[i % 7], mew=0)
        cloud.set(xlabel="first direction of the normal states", ylabel="second direction")
        cloud.set_title(f"{layer}: where the states lie")
        cloud.locator_params(nbins=5)
        edges = plots.histogram_edges(*view.norms.values(), n_bins=40)
        peak = 0.0
        for i, name in enumerate(self._sets):
            share = np.histogram(view.norms[name], edges)[0] / len(view.norms[name])
            peak = max(peak, float(share.max()))
            lengths.stairs(share, edges, fill=True, alpha=0.45, color=plots.COLOURS[i % 7])
        lengths.set_ylim(0, peak * (1.1 + 0.12 * len(self._sets)))
        lengths.set_title("how long they are")
        lengths.set(xlabel="length of the state (Euclidean norm)", yticks=[])
        lengths.spines["left"].set_visible(False)
        for i, name in enumerate(self._sets):
            plots.draw_name(lengths, name, i)


# --- one shift, growing -------------------------------------------------------------------------


class ShiftExplorer(Explorer):
    """Let a shift grow and compare how well two or more scores see it.

    Left: the chosen score for normal and for shifted samples. Right: AUROC of every score against
    severity, in fixed orientation (larger score = more unusual), so that a score that sinks below
    0.5 is seen to point the wrong way. Controls: ``severity``, ``score``, and ``shift`` where
    several shifts are given.

    Parameters
    ----------
    scores : mapping of score name to mapping of severity to array_like, shape (N,)
        Severities 0, 1, ..., S; severity 0 is the normal set. For several shifts: a mapping of
        shift name to such mappings.
    shift : str
        Name of the shift, if there is only one.
    severity : int
        Where the slider starts.
    log : bool
        Logarithmic score axis.

    Examples
    --------
    >>> scores = {"velocity": {0: range(10, 20), 1: range(10)}}
    >>> app = ShiftExplorer(scores, shift="blur", severity=1)
    >>> print(app.summary())
    Blur at severity 1: velocity has an AUROC of 0.000 [0.000, 0.308]: it takes the shifted \
samples for more normal than the normal ones.
    """

    _panels = (1.3, 1.0)

    def __init__(
        self,
        scores: Mapping[str, Mapping[Any, Any]],
        *,
        shift: str = "the shift",
        severity: int = 3,
        log: bool = False,
        xlabel: str = "{score} (larger = more unusual)",
    ) -> None:
        if not scores:
            raise ExplorerError("scores: expected at least one score, got none")
        inner = next(iter(scores.values()))
        several = all(isinstance(v, Mapping) for v in inner.values()) and len(inner) > 0
        by_shift = scores if several else {shift: scores}
        self._log, self._xlabel = log, xlabel
        self._scores: dict[tuple[str, str], list[Array]] = {}
        names = list(next(iter(by_shift.values())))
        for shift_name, by_score in by_shift.items():
            if list(by_score) != names:
                raise ExplorerError(
                    f"scores[{shift_name!r}]: expected the scores {', '.join(names)}, "
                    f"got {', '.join(map(str, by_score))}"
                )
            for name, by_severity in by_score.items():
                self._scores[str(shift_name), str(name)] = self._series(by_severity, name)
        self._edges = {key: _common_edges(s, log) for key, s in self._scores.items()}
        lengths = {len(series) for series in self._scores.values()}
        if len(lengths) != 1:
            raise ExplorerError(
                "scores: expected the same severities everywhere, got up to "
                + " and ".join(str(n - 1) for n in sorted(lengths))
            )
        self._estimates: dict[tuple[str, str], list[Estimate]] = {
            key: [auroc(series[0], s) for s in series] for key, series in self._scores.items()
        }
        self._names = [str(name) for name in names]
        self._shifts = [str(name) for name in by_shift]
        top = lengths.pop() - 1
        controls = {
            "severity": number_control("severity", min(severity, top), 0, top, 1),
            "score": choice_control("score", self._names),
        }
        if several:
            controls["shift"] = choice_control("shift", self._shifts)
        self._start(controls)

    @staticmethod
    def _series(by_severity: Mapping[Any, Any], name: str) -> list[Array]:
        severities = sorted(by_severity)
        if severities != list(range(len(severities))) or len(severities) < 2:
            raise ExplorerError(
                f"scores of {name!r}: expected the severities 0, 1, ..., S with S >= 1, "
                f"got {severities}"
            )
        return [as_scores(by_severity[s], f"{name}, severity {s}", 2) for s in severities]

    def auroc(self) -> Estimate:
        """AUROC of the chosen score at the chosen severity, against severity 0."""
        values = self.values
        key = values.get("shift", self._shifts[0]), values["score"]
        return self._estimates[key][values["severity"]]

    def _sentence(self, severity: int, score: str, shift: str | None = None) -> str:
        shift = shift or self._shifts[0]
        start = shift[:1].upper() + shift[1:]
        if severity == 0:
            return f"{start} at severity 0 changes nothing: the AUROC of any score is 0.5."
        e = self._estimates[shift, score][severity]
        if e.low > 0.5:
            reading = (
                f"a shifted sample scores higher than a normal one in "
                f"{100 * e.value:.0f} of 100 pairs"
            )
        elif e.high < 0.5:
            reading = "it takes the shifted samples for more normal than the normal ones"
        else:
            reading = "not told apart from a coin flip"
        return f"{start} at severity {severity}: {score} has an AUROC of {e}: {reading}."

    def _draw(self, axes: list[Any], severity: int, score: str, shift: str | None = None) -> None:
        shift = shift or self._shifts[0]
        left, right = axes
        series = self._scores[shift, score]
        plots.draw_two_histograms(
            left, series[0], series[severity], ("normal", f"severity {severity}"),
            f"{shift}, severity {severity}", self._xlabel.format(score=score), log=self._log,
            edges=self._edges[shift, score],
        )  # fmt: skip
        chosen = self._estimates[shift, score][severity].value
        plots.draw_growth(
            right,
            {n: [e.value for e in self._estimates[shift, n]] for n in self._names},
            score,
            severity,
            f"AUROC {chosen:.3f}",
        )


def _common_edges(series: Sequence[Array], log: bool) -> Array:
    """Bins for all severities together, so that a growing shift is seen to move."""
    if not log:  # a few extreme scores must not squeeze the rest: they go to the outermost bins
        series = [
            np.clip(s, *np.quantile(s[np.isfinite(s)], [0.002, 0.99]))
            for s in series
            if np.isfinite(s).any()
        ]
    return plots.histogram_edges(*series, n_bins=40, log=log)


# --- what a rule promises, and what it keeps ----------------------------------------------------

RULES = ("conformal", "quantile", "IQR")


@dataclass(frozen=True)
class RateSummary:
    """Realised false-alarm rates of many thresholds, each from its own calibration draw."""

    mean: float
    low: float
    high: float
    share_above: float

    @classmethod
    def of(cls, rates: Array, alpha: float) -> RateSummary:
        """Mean, 5 % and 95 % quantile, and the share of draws whose rate exceeds ``alpha``.

        Examples
        --------
        >>> RateSummary.of(np.array([0.0, 0.1, 0.2]), alpha=0.1).share_above
        0.3333333333333333
        """
        low, high = np.quantile(rates, [0.05, 0.95])
        above = float(np.mean(rates > alpha + 1e-12))
        return cls(float(rates.mean()), float(low), float(high), above)


class FalseAlarmExplorer(Explorer):
    """See the false-alarm rate that a threshold rule keeps on unseen normal data.

    Many calibration sets of size ``n`` are drawn from the normal scores; each sets its own
    threshold, and each threshold is tried on normal scores that it has not seen. Controls:
    ``alpha`` (promised rate), ``n`` (calibration size), ``rule`` (conformal, quantile, IQR).

    Parameters
    ----------
    scores_pool : array_like, shape (N,)
        Finite scores of normal samples to draw calibration sets from.
    test_scores : array_like, shape (M,), optional
        Unseen normal scores. Without them each draw is tried on the rest of the pool, which takes
        the luck of one particular test set out of the picture.
    seed : int or numpy.random.Generator
        Source of the draws.
    n_draws : int
        Number of calibration sets.

    Examples
    --------
    >>> app = FalseAlarmExplorer(np.random.default_rng(0).normal(size=1000), alpha=0.01, n=50)
    >>> print(app.summary())
    Conformal rule, alpha 1 %: 50 calibration images are too few to promise this; at least 99 are \
needed.
    """

    _panels = (1.0,)

    def __init__(
        self,
        scores_pool: Any,
        test_scores: Any = None,
        seed: int | np.random.Generator = 0,
        *,
        n_draws: int = 200,
        alpha: float = 0.05,
        n: int = 100,
        unit: str = "images",
    ) -> None:
        pool = as_scores(scores_pool, "scores_pool", at_least=50)
        if not np.isfinite(pool).all():
            raise ExplorerError("scores_pool: expected finite scores of normal samples")
        self._unit = unit
        draws = np.random.default_rng(seed).permuted(np.tile(pool, (n_draws, 1)), axis=1)
        self._draws = torch.from_numpy(draws)
        own_test = test_scores is not None
        self._test = np.sort(as_scores(test_scores, "test_scores") if own_test else pool)
        self._own_test = own_test
        self._rates: dict[tuple[str, float, int], Array | None] = {}
        largest = len(pool) if own_test else 4 * len(pool) // 5
        largest -= largest % 10
        self._start(
            {
                "alpha": number_control("promised rate alpha", alpha, 0.005, 0.2, 0.005),
                "n": number_control("calibration size n", min(n, largest), 20, largest, 10),
                "rule": choice_control("rule", RULES),
            }
        )

    def rates(self) -> Array:
        """Realised false-alarm rate of each draw at the current values; empty if n is too small."""
        rates = self._realised(**self.values)
        return np.empty(0) if rates is None else rates.copy()

    def _realised(self, alpha: float, n: int, rule: str) -> Array | None:
        alpha = round(alpha, 6)
        key = (rule, 0.0 if rule == "IQR" else alpha, n)
        if key not in self._rates:
            if rule == "conformal" and n < required_samples(alpha):
                return None
            sets = self._draws[:, :n]
            find = {
                "conformal": lambda s: conformal_threshold(s, alpha),
                "quantile": lambda s: quantile_threshold(s, alpha),
                "IQR": iqr_threshold,
            }[rule]
            thresholds = np.array([find(s) for s in sets])
            above = len(self._test) - np.searchsorted(self._test, thresholds, side="right")
            if not self._own_test:  # the pool minus the calibration set itself
                above = above - (sets.numpy() > thresholds[:, None]).sum(axis=1)
            self._rates[key] = above / self._n_test(n)
        return self._rates[key]

    def _n_test(self, n: int) -> int:
        return len(self._test) if self._own_test else len(self._test) - n

    def _sentence(self, alpha: float, n: int, rule: str) -> str:
        name = rule[0].upper() + rule[1:]
        rates = self._realised(alpha, n, rule)
        if rates is None:
            return (
                f"{name} rule, alpha {100 * alpha:.3g} %: {n} calibration {self._unit} are too few "
                f"to promise this; at least {required_samples(round(alpha, 6))} are needed."
            )
        s = RateSummary.of(rates, alpha)
        promise = (
            f"{name} rule, which promises no rate"
            if rule == "IQR"
            else f"{name} rule, alpha {100 * alpha:.3g} %"
        )
        return (
            f"{promise}, {n} calibration {self._unit}, {len(rates)} draws: "
            f"{100 * s.mean:.1f} % false alarms on average, 5 to 95 % of the draws between "
            f"{100 * s.low:.1f} % and {100 * s.high:.1f} %; {100 * s.share_above:.0f} % of the "
            f"draws exceed {100 * alpha:.3g} %."
        )

    def _draw(self, axes: list[Any], alpha: float, n: int, rule: str) -> None:
        ax = axes[0]
        rates = self._realised(alpha, n, rule)
        if rates is None:
            needed = required_samples(round(alpha, 6))
            ax.set_axis_off()
            ax.set_title(f"{n} calibration {self._unit} cannot promise {100 * alpha:.3g} %")
            ax.text(0.5, 0.55, f"alpha = {100 * alpha:.3g} % needs at least {needed} {self._unit}\n"
                    f"(n ≥ 1/alpha − 1)", ha="center", va="center", fontsize=14,
                    color=plots.INK, transform=ax.transAxes)  # fmt: skip
            return
        band = None
        if rule == "conformal":
            band = false_alarm_interval(n, alpha, n_test=self._n_test(n))
        title = f"{rule}, n = {n}: {100 * float(rates.mean()):.1f} % false alarms on average"
        plots.draw_rate_histogram(
            ax, rates, alpha, title, band, "promised" if rule != "IQR" else "alpha (not used)"
        )
