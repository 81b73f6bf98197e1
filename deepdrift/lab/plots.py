"""Figures of the notebooks: one finding each, readable from the last row.

Every figure has two halves. ``draw_...(ax, ...)`` is a plain function of its arguments that draws
on given axes and returns the artists; explorers and composed figures use it. The function without
the prefix makes an 800 x 300 figure in the house style, shows it and returns None, so that a
notebook cell ends with it.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.diagnosis import THRESHOLD as DRIFT_THRESHOLD
from deepdrift.errors import DeepDriftError, require
from deepdrift.lab.evaluation import Estimate, as_scores

matplotlib = require("matplotlib", "lab")
require("matplotlib.ticker", "lab")
require("matplotlib.lines", "lab")
patheffects = require("matplotlib.patheffects", "lab")

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
)  # fmt: skip
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
GREY, INK = "#767676", "#222222"
STYLE_FILE = Path(__file__).with_name("deepdrift.mplstyle")
WIDTH, HEIGHT = 8.0, 3.0  # inches, at 100 dots per inch

Axes = Any


class PlotError(DeepDriftError, ValueError):
    """Data that a figure cannot show honestly."""


@functools.cache
def style_settings() -> Any:
    """Settings of the house style, read once."""
    return matplotlib.rc_params_from_file(STYLE_FILE, use_default_template=False)


def style() -> Any:
    """Context manager: the house style for everything drawn inside, nothing outside."""
    return matplotlib.rc_context(style_settings())


@contextmanager
def figure(height: float = HEIGHT) -> Iterator[Any]:
    """New pyplot figure in the house style; shown on leaving, closed if the drawing fails."""
    pyplot = require("matplotlib.pyplot", "lab")
    with style():
        fig = pyplot.figure(figsize=(WIDTH, height))
        try:
            yield fig
        except BaseException:
            pyplot.close(fig)
            raise
        if matplotlib.get_backend().lower() != "agg":  # agg has no screen: keep it for savefig
            pyplot.show()


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _array(values: Any, name: str, ndim: int) -> NDArray[np.float64]:
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != ndim or values.size == 0:
        raise PlotError(f"{name}: expected {ndim} axes and some data, got shape {values.shape}")
    return values


def _ink(colour: str) -> tuple[float, ...]:
    """Darker shade of a colour, for words: the light ones of the palette are hard to read."""
    return tuple(0.78 * c for c in matplotlib.colors.to_rgb(colour))


def _percent_axis(axis: Any, n_ticks: int | None = None) -> None:
    axis.set_major_formatter(lambda x, _: f"{100 * x:.3g} %")
    if n_ticks:
        axis.set_major_locator(matplotlib.ticker.MaxNLocator(n_ticks))


def _slant(ax: Axes) -> None:
    for label in ax.get_xticklabels():
        label.set(rotation=25, ha="right", rotation_mode="anchor")


def _needs_slant(labels: Sequence[str], room: int) -> bool:
    """Whether tick labels side by side would touch: ``room`` characters fit the axis."""
    return max(map(len, labels)) * len(labels) > room


# --- pictures -----------------------------------------------------------------------------------


def image_grid(
    images: Any,
    titles: Sequence[str] | None = None,
    title: str = "",
    columns: int | None = None,
) -> None:
    """Show images side by side, each with an optional line of text above.

    Parameters
    ----------
    images : array_like, shape (N, H, W), (N, 1, H, W) or (N, 3, H, W)
        Pixel values in [0, 1]; values outside are clipped.
    titles : sequence of str, optional
        One line per image; long ones are wrapped.
    title : str
        The finding.
    columns : int, optional
        Images per row; by default all in one row up to 10, then rows of equal length.

    Raises
    ------
    PlotError
        For another shape, no image, or a number of titles that differs from N.
    """
    if hasattr(images, "detach"):
        images = images.detach().cpu().float().numpy()
    images = np.asarray(images, dtype=np.float64)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise PlotError(
            "images: expected shape (N, H, W), (N, 1, H, W) or (N, 3, H, W) with N >= 1, "
            f"got {images.shape}"
        )
    if titles is not None and len(titles) != len(images):
        raise PlotError(f"titles: expected {len(images)}, one per image, got {len(titles)}")
    room = 100 * HEIGHT - (30 if title else 0)
    line = 0 if titles is None else 18
    columns = columns or _best_columns(len(images), 100 * WIDTH, room, line)
    rows = -(-len(images) // columns)
    height = HEIGHT + max(0.0, rows * (60 + line) - room) / 100  # at least 60 pixels an image
    with figure(height) as fig:
        if title:
            fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
        grid = fig.subplots(rows, columns, squeeze=False)
        per_line = max(8, 125 // columns)
        for i, ax in enumerate(grid.flat):
            ax.set_axis_off()
            if i < len(images):
                picture = np.clip(np.moveaxis(images[i], 0, -1), 0, 1)
                ax.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture,
                          cmap="gray", vmin=0, vmax=1, interpolation="nearest")  # fmt: skip
            if titles is not None and i < len(images):
                ax.set_title(_wrapped(str(titles[i]), per_line), fontsize=9, fontweight="normal",
                             loc="center", pad=3)  # fmt: skip


def _best_columns(n: int, width: float, height: float, line: float) -> int:
    """Columns that make n square images largest, with a line of text above each."""

    def side(columns: int) -> float:
        return min(width / columns, height / -(-n // columns) - line)

    return max(range(1, n + 1), key=lambda c: (side(c), -(-(-n // c) * c - n)))


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width)) or text


# --- two sets of scores -------------------------------------------------------------------------


TAIL = 0.995  # what lies beyond this share of its set is counted in the outermost bin


def histogram_edges(
    *values: NDArray[np.float64], n_bins: int = 50, log: bool = False
) -> NDArray[np.float64]:
    """Common bin edges over finite values; equal ratios instead of equal steps for ``log``.

    The largest 0.5 % of a set (none, if it has 200 values or fewer) do not stretch the axis.

    Examples
    --------
    >>> histogram_edges(np.array([0.0, np.inf]), np.array([4.0]), n_bins=4)
    array([0., 1., 2., 3., 4.])
    >>> histogram_edges(np.array([1.0, 100.0]), n_bins=2, log=True)
    array([  1.,  10., 100.])
    """
    finite = [v[np.isfinite(v)] for v in values]
    pooled = np.concatenate(
        [np.minimum(v, np.quantile(v, TAIL, method="higher")) for v in finite if len(v)] or finite
    )
    if len(pooled) == 0:
        raise PlotError("scores: expected at least one finite score, got none")
    low, high = float(pooled.min()), float(pooled.max())
    if log and low <= 0:
        raise PlotError(
            f"log: a logarithmic axis needs positive scores, the smallest is {low:g}; use log=False"
        )
    if low == high:
        low, high = (low / 2, low * 2) if log else (low - 0.5, high + 0.5)
    return np.geomspace(low, high, n_bins + 1) if log else np.linspace(low, high, n_bins + 1)


def draw_two_histograms(
    ax: Axes,
    a: Any,
    b: Any,
    names: tuple[str, str] = ("normal", "shifted"),
    title: str = "",
    xlabel: str = "score (larger = more unusual)",
    threshold: float | None = None,
    log: bool = False,
    n_bins: int = 50,
    edges: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Draw `two_histograms` on ``ax``; returns the artists ``a``, ``b``, ``line`` and labels.

    ``edges`` fixes the bins, so that several figures can be compared; scores beyond them are
    counted in the outermost bin.
    """
    a, b = as_scores(a, names[0]), as_scores(b, names[1])
    if edges is None:
        edges = histogram_edges(a, b, n_bins=n_bins, log=log)
    artists: dict[str, Any] = {}
    peak = 0.0
    for key, values, colour in (("a", a, BLUE), ("b", b, VERMILLION)):
        inside = np.clip(values, edges[0], edges[-1])  # infinite scores fill the outer bins
        share = np.histogram(inside, edges)[0] / len(values)
        peak = max(peak, float(share.max()))
        artists[key] = ax.stairs(share, edges, fill=True, color=colour, alpha=0.55)
        ax.stairs(share, edges, color=colour, linewidth=1.2)
    if log:
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    at = edges[0] if threshold is None else threshold
    ax.set_xlim(min(edges[0], at), max(edges[-1], at))
    ax.set_ylim(0, 1.45 * peak)
    ax.set(xlabel=xlabel, ylabel="share of samples")
    _percent_axis(ax.yaxis, 4)
    if title:
        ax.set_title(title)
    left_is_a = np.median(a) <= np.median(b)
    for key, name, values, colour in (("a", names[0], a, BLUE), ("b", names[1], b, VERMILLION)):
        at_left = left_is_a == (key == "a")
        artists[f"label_{key}"] = _halo(
            ax.text(0.01 if at_left else 0.99, 0.98, _share_label(name, values, threshold),
                    color=_ink(colour), ha="left" if at_left else "right", va="top",
                    transform=ax.transAxes, fontweight="bold", fontsize=10)
        )  # fmt: skip
    if threshold is not None:
        artists["line"], artists["label_line"] = draw_threshold(
            ax, threshold, f"threshold {threshold:.4g}", height=0.86
        )
    return artists


def _share_label(name: str, values: NDArray[np.float64], threshold: float | None) -> str:
    if threshold is None:
        return f"{name} (n = {len(values)})"
    return f"{name}: {100 * float(np.mean(values > threshold)):.1f} % above"


def _halo(text: Any) -> Any:
    """White outline, so that words stay readable on top of data."""
    text.set_path_effects([patheffects.withStroke(linewidth=3, foreground="white")])
    return text


def draw_threshold(ax: Axes, at: float, label: str, height: float = 1.0) -> tuple[Any, Any]:
    """Dashed vertical line with its label beside it, on the side that has room."""
    line = ax.plot([at, at], [0, height], transform=ax.get_xaxis_transform(), color=BLACK,
                   linestyle=(0, (5, 3)), linewidth=1.6, clip_on=True)[0]  # fmt: skip
    from_left = ax.transAxes.inverted().transform(ax.transData.transform((at, 0)))[0]
    side = "left" if from_left < 0.6 else "right"
    text = ax.annotate(label, (at, height), xycoords=("data", "axes fraction"), ha=side, va="top",
                       xytext=(5 if side == "left" else -5, 0), textcoords="offset points",
                       fontsize=10, color=BLACK, annotation_clip=True)  # fmt: skip
    return line, _halo(text)


def two_histograms(
    a: Any,
    b: Any,
    names: tuple[str, str] = ("normal", "shifted"),
    title: str = "",
    xlabel: str = "score (larger = more unusual)",
    threshold: float | None = None,
    *,
    log: bool = False,
    n_bins: int = 50,
) -> None:
    """Compare two sets of scores over common bins, each as shares of its own set.

    Parameters
    ----------
    a, b : array_like, shapes (N,) and (M,)
        Scores. Infinite ones are counted in the outermost bin; NaN is refused.
    names : tuple of str
        What the two sets are.
    title : str
        The finding.
    threshold : float, optional
        Drawn as a labelled dashed line; the labels then give the share of each set above it.
    log : bool
        Logarithmic score axis, for positive scores over several powers of ten.
    """
    with figure() as fig:
        draw_two_histograms(
            fig.subplots(), a, b, names, title, xlabel, threshold, log=log, n_bins=n_bins
        )


# --- one value per layer ------------------------------------------------------------------------


def layer_lines(
    series: Mapping[str, Mapping[str, Estimate]],
    title: str = "",
    *,
    ylabel: str = "AUROC",
    level: tuple[float, str] | None = (0.5, "a coin"),
    limits: tuple[float, float] = (0.0, 1.0),
) -> None:
    """One measured value per layer with its interval, for several series.

    Parameters
    ----------
    series : mapping of str to mapping of layer name to Estimate
        From the input side to the output side; the names of the longest series are shown.
    title : str
        The finding.
    level : (float, str) or None
        A labelled dashed level to compare with.
    limits : tuple of float
        Ends of the value axis.
    """
    if not series or not all(series.values()):
        raise PlotError("series: expected at least one set of estimates with one layer, got none")
    names = list(max(series.values(), key=len))
    with figure() as fig:
        ax = fig.subplots()
        for i, estimates in enumerate(series.values()):
            low, value, high = np.array([[e.low, e.value, e.high] for e in estimates.values()]).T
            ax.fill_between(range(len(value)), low, high, alpha=0.2, color=_colour(i))
            ax.plot(range(len(value)), value, color=_colour(i), marker="o")
        ax.set(xticks=range(len(names)), xticklabels=names, ylabel=ylabel, xlabel="layer")
        ax.set_xlim(-0.15, len(names) - 0.85)
        ax.set_ylim(*limits)
        if level is not None:
            ax.axhline(level[0], color=GREY, linestyle="--", linewidth=1)
            ax.annotate(level[1], (len(names) - 1, level[0]), xytext=(0, 3), ha="right",
                        textcoords="offset points", fontsize=9, color=GREY)  # fmt: skip
        ax.set_title(title)
        ends = {name: list(e.values())[-1].value for name, e in series.items()}
        draw_end_labels(ax, ends, {name: _colour(i) for i, name in enumerate(series)})


def draw_layer_profile(
    ax: Axes,
    profile_by_name: Mapping[str, Any],
    layers: Sequence[str],
    title: str = "",
    ylabel: str = "velocity",
    xlabel: str = "layer",
    log: bool = False,
) -> dict[str, Any]:
    """Draw `layer_profile` on ``ax``; returns the median line of each set."""
    if not profile_by_name:
        raise PlotError("profile_by_name: expected at least one set, got none")
    x = np.arange(len(layers))
    lines, ends, tops = {}, {}, []
    for i, (name, profile) in enumerate(profile_by_name.items()):
        profile = _array(profile, f"profile of {name!r}", 2)
        if profile.shape[1] != len(layers):
            raise PlotError(
                f"profile of {name!r}: expected {len(layers)} columns, one per entry of layers, "
                f"got shape {profile.shape}"
            )
        low, median, high = np.nanquantile(profile, [0.1, 0.5, 0.9], axis=0)
        ax.fill_between(x, low, high, color=_colour(i), alpha=0.16)
        lines[name] = ax.plot(x, median, color=_colour(i), marker="o", label=name)[0]
        ends[name] = float(median[-1])
        tops += [low, high]
    if log:
        ax.set_yscale("log")
    ax.set_xlim(-0.15, len(layers) - 1 + 0.15)
    ax.set_xticks(x, layers)
    if _needs_slant(layers, 62):
        _slant(ax)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if title:
        ax.set_title(title)
    draw_end_labels(ax, ends, {name: line.get_color() for name, line in lines.items()})
    return lines


def draw_end_labels(ax: Axes, ends: Mapping[str, float], colours: Mapping[str, str]) -> None:
    """Name each line at its right end; neighbours are moved apart instead of overlapping."""
    ax.figure.draw_without_rendering()  # settles limits, so that heights are known
    to_share = ax.transData + ax.transAxes.inverted()
    x_end = ax.get_lines()[0].get_xdata()[-1]
    share = {name: to_share.transform((x_end, y))[1] for name, y in ends.items()}
    pixels = ax.get_window_extent().height
    at = spread([share[name] for name in ends], gap=15 / pixels)
    for (name, _), y in zip(ends.items(), at, strict=True):
        ax.annotate(name, (1.0, y), xycoords="axes fraction", xytext=(6, 0),
                    textcoords="offset points", color=_ink(colours[name]), va="center",
                    fontweight="bold", fontsize=10, annotation_clip=False)  # fmt: skip


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Nearest positions in the same order that keep at least ``gap`` between neighbours.

    Examples
    --------
    >>> spread([0.5, 0.0, 0.5], gap=0.2)
    [0.4, 0.0, 0.6]
    """
    order = np.argsort(np.asarray(positions, float), kind="stable")
    groups: list[tuple[list[float], float]] = []  # members of a cluster, and its lowest place
    for index in order:
        members = [float(positions[index])]
        start = members[0]
        while groups and groups[-1][1] + gap * len(groups[-1][0]) > start + 1e-12:
            members = groups.pop()[0] + members
            start = float(np.mean([p - gap * k for k, p in enumerate(members)]))
        groups.append((members, start))
    placed = [start + gap * k for members, start in groups for k in range(len(members))]
    result = [0.0] * len(placed)
    for index, place in zip(order, placed, strict=True):
        result[index] = round(place, 12)
    return result


def layer_profile(
    profile_by_name: Mapping[str, Any],
    layers: Sequence[str],
    title: str = "",
    *,
    ylabel: str = "velocity",
    xlabel: str = "layer",
    log: bool = False,
) -> None:
    """Median and 10 to 90 % band per layer (or per step between layers), for several sets.

    Parameters
    ----------
    profile_by_name : mapping of str to array_like, each of shape (N, K)
        One profile per sample: K numbers from the input side to the output side.
    layers : sequence of K str
        Names on the axis.
    title : str
        The finding.
    log : bool
        Logarithmic value axis.
    """
    with figure() as fig:
        draw_layer_profile(fig.subplots(), profile_by_name, layers, title, ylabel, xlabel, log)


# --- drift per layer ----------------------------------------------------------------------------


def _drifts(profile: Any) -> dict[str, float]:
    """Layer -> drift, from a status, a diagnosis, a mapping or a sequence of numbers."""
    if hasattr(profile, "evidence"):
        profile = {layer.name: layer.drift for layer in profile.evidence}
    if hasattr(profile, "tolist"):
        profile = profile.tolist()
    if not isinstance(profile, Mapping):
        if not isinstance(profile, Sequence) or isinstance(profile, str):
            raise PlotError(f"profile: expected one drift per layer, got {profile!r}")
        profile = {f"layer {i}": value for i, value in enumerate(profile)}
    try:
        drifts = {
            str(layer): float(value["drift"] if isinstance(value, Mapping) else value)
            for layer, value in profile.items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise PlotError(
            "profile: expected a number, or a mapping with 'drift', for every layer, "
            f"got {profile!r}"
        ) from error
    if not drifts:
        raise PlotError("profile: expected at least one layer, got none")
    return drifts


def draw_drift_profile(
    ax: Axes,
    profile_by_name: Mapping[str, Any],
    title: str = "",
    threshold: float = DRIFT_THRESHOLD,
) -> dict[str, Any]:
    """Draw `drift_profile` on ``ax``; returns the bars or the line of each profile."""
    if not profile_by_name:
        raise PlotError("profile_by_name: expected at least one profile, got none")
    profiles = {name: _drifts(profile) for name, profile in profile_by_name.items()}
    layers = list(next(iter(profiles.values())))
    for name, drifts in profiles.items():
        if list(drifts) != layers:
            raise PlotError(f"profile of {name!r}: expected layers {layers}, got {list(drifts)}")
    finite = [v for drifts in profiles.values() for v in drifts.values() if np.isfinite(v)]
    top = 1.18 * max([threshold, *finite])
    bottom = min([0.0, *finite]) * 1.1 - 0.02 * top
    artists, ends = {}, {}
    for i, (name, drifts) in enumerate(profiles.items()):
        values = np.array(list(drifts.values()))
        shown = np.where(np.isfinite(values), values, top)
        if len(profiles) == 1:
            colours = [VERMILLION if v >= threshold else BLUE for v in shown]
            artists[name] = ax.bar(range(len(layers)), shown, 0.6, color=colours)
        else:
            artists[name] = ax.plot(range(len(layers)), shown, color=_colour(i), marker="o")[0]
            ends[name] = float(shown[-1])
        for k in np.flatnonzero(~np.isfinite(values)):
            _halo(ax.text(k, top, "not finite", ha="center", va="top", fontsize=9, color=INK))
    ax.axhline(threshold, color=BLACK, linestyle=(0, (5, 3)), linewidth=1.4)
    _halo(ax.annotate(f"threshold {threshold:g}", (0, threshold), xytext=(4, 2), va="bottom",
                      xycoords=("axes fraction", "data"), textcoords="offset points",
                      fontsize=9))  # fmt: skip
    ax.set(xlabel="layer", ylabel="drift", ylim=(bottom, top), xlim=(-0.8, len(layers) - 0.4))
    ax.set_xticks(range(len(layers)), layers)
    if _needs_slant(layers, 62):
        _slant(ax)
    if title:
        ax.set_title(title)
    if ends:
        draw_end_labels(ax, ends, {name: line.get_color() for name, line in artists.items()})
    return artists


def drift_profile(
    profile_by_name: Mapping[str, Any], title: str = "", *, threshold: float = DRIFT_THRESHOLD
) -> None:
    """Drift of every layer with the threshold: bars for one profile, lines for several.

    Parameters
    ----------
    profile_by_name : mapping of str to profile
        What `plot_drift_profile` accepts, all of the same layers.
    title : str
        The finding.
    threshold : float
        Drift from which a layer counts as unusual; bars that reach it have another colour.

    Raises
    ------
    PlotError
        For no profile, different layers, or something that is not one drift per layer.
    """
    with figure() as fig:
        draw_drift_profile(fig.subplots(), profile_by_name, title, threshold)


def plot_drift_profile(
    profile: Any, title: str = "Drift of every layer", threshold: float = DRIFT_THRESHOLD
) -> None:
    """Bar per layer with the threshold; needs ``pip install "deepdrift[lab]"``.

    Parameters
    ----------
    profile : Status, Diagnosis, mapping of str to float, sequence of float, or Tensor
        What `DeepDriftMonitor.step` or `diagnose_drift` hand back, or the drifts themselves from
        the first layer to the last. NaN and infinity reach the top and are labelled.
    title : str
    threshold : float

    Raises
    ------
    deepdrift.lab.plots.PlotError
        For anything else, or no layer.
    """
    drift_profile({"": profile}, title, threshold=threshold)


# --- tables of results --------------------------------------------------------------------------


def draw_score_bars(
    ax: Axes,
    estimates: Mapping[str, Estimate | Mapping[str, Estimate]],
    title: str = "",
    xlabel: str = "AUROC",
    chance: float | None = 0.5,
    limits: tuple[float, float] = (0.0, 1.0),
    chance_name: str = "coin flip",
) -> None:
    """Draw `score_bars` on ``ax``."""
    if not estimates:
        raise PlotError("estimates: expected at least one, got none")
    rows = {name: e if isinstance(e, Mapping) else {"": e} for name, e in estimates.items()}
    series = list(dict.fromkeys(s for row in rows.values() for s in row))
    step = 0.7 / max(len(series), 2)
    for y, (_, row) in enumerate(rows.items()):
        for s, e in row.items():
            k = series.index(s)
            at = y + (k - (len(series) - 1) / 2) * step
            ax.plot([e.low, e.high], [at, at], color=_colour(k), linewidth=2.4)
            ax.plot(e.value, at, "o", color=_colour(k), markersize=6, clip_on=False)
            if len(series) == 1:
                ax.annotate(str(e), (1.0, at), xycoords=("axes fraction", "data"), xytext=(8, 0),
                            textcoords="offset points", va="center", fontsize=9, color=INK,
                            annotation_clip=False)  # fmt: skip
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(*limits)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")
    ax.set_xlabel(xlabel)
    if chance is not None:
        ax.axvline(chance, color=GREY, linestyle=(0, (5, 3)), linewidth=1.4, zorder=0.9)
        ax.annotate(chance_name, (chance, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
                    textcoords="offset points", ha="center", va="bottom", fontsize=9,
                    color=GREY)  # fmt: skip
    if title:
        ax.set_title(title, pad=18 if chance is not None else 8)
    if len(series) > 1:
        handles = [matplotlib.lines.Line2D([], [], color=_colour(k), marker="o", linewidth=2.4)
                   for k in range(len(series))]  # fmt: skip
        ax.legend(handles, series, loc="center left", bbox_to_anchor=(1.01, 0.5),
                  labelcolor=[_ink(_colour(k)) for k in range(len(series))])  # fmt: skip
        for y in range(1, len(rows)):
            ax.axhline(y - 0.5, color="#eeeeee", linewidth=1, zorder=0.5)


def score_bars(
    estimates: Mapping[str, Estimate | Mapping[str, Estimate]],
    title: str = "",
    *,
    xlabel: str = "AUROC (right = separates better)",
    chance: float | None = 0.5,
    limits: tuple[float, float] = (0.0, 1.0),
    chance_name: str = "coin flip",
) -> None:
    """One row per name: the value as a dot, its interval as a line, the chance level dashed.

    Parameters
    ----------
    estimates : mapping of str to Estimate, or to a mapping of series name to Estimate
        With one estimate per row its numbers are printed at the right; with several, each series
        has a colour and a name at the right. Long lists make the figure taller.
    title : str
        The finding.
    chance : float or None
        Value of a score that knows nothing, or another one worth a dashed line.
    chance_name : str
        What that line is.
    """
    n_series = max((len(e) if isinstance(e, Mapping) else 1 for e in estimates.values()), default=1)
    height = max(HEIGHT, 1.0 + len(estimates) * max(0.23, 0.12 * n_series))
    with figure(height) as fig:
        draw_score_bars(fig.subplots(), estimates, title, xlabel, chance, limits, chance_name)


def draw_heatmap(
    ax: Axes,
    table: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    middle: float | None = None,
    limits: tuple[float, float] | None = None,
    fmt: str = ".2f",
) -> Any:
    """Draw `heatmap` on ``ax``; returns the image."""
    table = _array(table, "table", 2)
    if table.shape != (len(rows), len(columns)):
        raise PlotError(
            f"table: expected shape {(len(rows), len(columns))} for the given rows and columns, "
            f"got {table.shape}"
        )
    shown = np.ma.masked_invalid(table)
    low, high = limits or ((shown.min(), shown.max()) if shown.count() else (0.0, 1.0))
    if middle is not None:
        reach = max(high - middle, middle - low) or 1.0
        low, high = middle - reach, middle + reach
    cmap = matplotlib.colormaps["PuOr_r" if middle is not None else "cividis"].with_extremes(
        bad="#eeeeee"
    )
    image = ax.imshow(shown, cmap=cmap, vmin=low, vmax=high, aspect="auto")
    for (i, j), value in np.ndenumerate(table):
        red, green, blue, _ = image.to_rgba(value)
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        ax.text(j, i, format(value, fmt) if np.isfinite(value) else "–", ha="center", va="center",
                fontsize=9, color="white" if dark and np.isfinite(value) else INK)  # fmt: skip
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(range(len(columns)), columns)
    if _needs_slant(columns, 80):
        _slant(ax)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    if title:
        ax.set_title(title)
    return image


def heatmap(
    table: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    *,
    middle: float | None = None,
    limits: tuple[float, float] | None = None,
    fmt: str = ".2f",
) -> None:
    """Show a table of numbers with its cells coloured; every number is printed.

    Parameters
    ----------
    table : array_like, shape (R, C)
        NaN cells are left blank with a dash.
    rows, columns : sequences of R and C str
        Their names.
    title : str
        The finding.
    middle : float, optional
        Value without a colour, such as 0.5 for an AUROC: orange above, purple below.
    limits : tuple of float, optional
        Range of the colours; that of the table by default.
    """
    slanted = _needs_slant(columns, 80)
    height = max(HEIGHT, 0.7 + 0.26 * len(rows) + (0.5 if slanted else 0.0))
    with figure(height) as fig:
        draw_heatmap(fig.subplots(), table, rows, columns, title, middle, limits, fmt)


# --- promised and kept false-alarm rates --------------------------------------------------------


def draw_realised_rate(
    ax: Axes,
    nominal: Any,
    realised: Mapping[str, Any],
    title: str = "",
    band: tuple[Any, Any] | None = None,
    band_name: str = "expected",
) -> None:
    """Draw `realised_rate` on ``ax``."""
    nominal = _array(nominal, "nominal", 1)
    if not realised:
        raise PlotError("realised: expected at least one rule, got none")
    ends, colours = {}, {}
    for i, (name, rates) in enumerate(realised.items()):
        rates = np.asarray(rates, dtype=np.float64)
        rates = _array(np.atleast_2d(rates), f"realised rates of {name!r}", 2)
        if rates.shape[1] != len(nominal):
            raise PlotError(
                f"realised rates of {name!r}: expected {len(nominal)} columns, one per nominal "
                f"rate, got shape {rates.shape}"
            )
        mean = rates.mean(axis=0)
        if len(rates) > 1:
            ax.fill_between(nominal, *np.quantile(rates, [0.05, 0.95], axis=0), color=_colour(i),
                            alpha=0.14)  # fmt: skip
        ax.plot(nominal, mean, color=_colour(i), marker="o", markersize=4)
        ends[name], colours[name] = float(mean[-1]), _colour(i)
    ax.plot(nominal, nominal, color=BLACK, linestyle=(0, (5, 3)), linewidth=1.6)
    ends["promised"], colours["promised"] = float(nominal[-1]), BLACK
    if band is not None:
        for edge in band:
            ax.plot(nominal, edge, color=GREY, linewidth=1, linestyle=":")
        ends[band_name], colours[band_name] = float(np.asarray(band[1])[-1]), GREY
    _percent_axis(ax.xaxis)
    _percent_axis(ax.yaxis, 5)
    ax.set_xlim(0, nominal.max())
    ax.set_ylim(bottom=0)
    ax.set(xlabel="promised false-alarm rate", ylabel="realised rate")
    if title:
        ax.set_title(title)
    draw_end_labels(ax, ends, colours)


def realised_rate(
    nominal: Any,
    realised: Mapping[str, Any],
    title: str = "",
    *,
    band: tuple[Any, Any] | None = None,
    band_name: str = "expected",
) -> None:
    """Promised against realised false-alarm rate; a kept promise lies on the dashed diagonal.

    Parameters
    ----------
    nominal : array_like, shape (K,)
        Promised rates, increasing.
    realised : mapping of str to array_like, each of shape (K,) or (R, K)
        Rates on unseen normal data per rule; R repetitions are drawn as mean and 5 to 95 % band.
    title : str
        The finding.
    band : pair of array_like, shape (K,), optional
        Bounds that the rate of one calibration set should respect (`false_alarm_interval`),
        dotted.
    """
    with figure() as fig:
        draw_realised_rate(fig.subplots(), nominal, realised, title, band, band_name)


def draw_rate_by_size(
    ax: Axes,
    sizes: Sequence[int],
    rates: Mapping[str, Sequence[Any]],
    alpha: float,
    title: str = "",
    bands: Sequence[tuple[float, float]] | None = None,
) -> None:
    """Draw `rate_by_size` on ``ax``."""
    for name, draws in rates.items():
        if len(draws) != len(sizes):
            raise PlotError(
                f"rates of {name!r}: expected {len(sizes)} sets of draws, one per calibration "
                f"size, got {len(draws)}"
            )
    width = 0.8 / max(len(rates), 1)
    for i, (name, draws) in enumerate(rates.items()):
        at = np.arange(len(sizes)) + (i - (len(rates) - 1) / 2) * width
        for x, drawn in zip(at, draws, strict=True):
            ax.plot([x, x], np.quantile(as_scores(drawn, name), [0.05, 0.95]), color=_colour(i),
                    linewidth=3, alpha=0.6, solid_capstyle="butt")  # fmt: skip
        ax.plot(at, [float(np.mean(drawn)) for drawn in draws], "os^Dv"[i % 5], color=_colour(i))
        draw_name(ax, name, i)
    for x, (low, high) in enumerate(bands or ()):
        ax.fill_between([x - 0.45, x + 0.45], low, high, color=GREY, alpha=0.18, linewidth=0)
    ax.axhline(alpha, color=BLACK, linestyle=(0, (5, 3)), linewidth=1.6)
    _percent_axis(ax.yaxis, 5)
    ax.set_xticks(range(len(sizes)), [f"{n:,}" for n in sizes])
    ax.set_xlim(-0.6, len(sizes) - 0.4)
    ax.set_ylim(bottom=0)
    ax.set(xlabel="calibration size n", ylabel="realised rate")
    if title:
        ax.set_title(title)


def rate_by_size(
    sizes: Sequence[int],
    rates: Mapping[str, Sequence[Any]],
    alpha: float,
    title: str = "",
    *,
    bands: Sequence[tuple[float, float]] | None = None,
) -> None:
    """Realised false-alarm rate of several rules as the calibration set grows.

    Parameters
    ----------
    sizes : sequence of K int
        Calibration sizes.
    rates : mapping of str to K arrays, each of shape (R,)
        Rule -> for each size, the rates of R calibration draws: the mean as a marker, 5 to 95 % of
        the draws as a bar.
    alpha : float
        Promised rate, dashed.
    title : str
        The finding.
    bands : K pairs of float, optional
        Where theory expects the rates (`false_alarm_interval`), shaded.
    """
    with figure() as fig:
        draw_rate_by_size(fig.subplots(), sizes, rates, alpha, title, bands)


# --- parts of explorers -------------------------------------------------------------------------


def draw_rate_histogram(
    ax: Axes,
    rates: Any,
    alpha: float,
    title: str = "",
    band: tuple[float, float] | None = None,
    alpha_name: str = "promised",
) -> None:
    """Histogram of realised false-alarm rates, alpha as a line, its expected band shaded."""
    rates = as_scores(rates, "rates")
    right = max(1.05 * float(rates.max()), 2 * alpha, 0.01)
    counts, edges = np.histogram(rates, np.linspace(0, right, 41))
    ax.stairs(counts, edges, fill=True, color=BLUE, alpha=0.75)
    ax.set_xlim(0, right)
    ax.set_ylim(0, 1.4 * counts.max())
    if band is not None:
        ax.axvspan(*band, color=ORANGE, alpha=0.22, linewidth=0, zorder=0.5)
        ax.text(0.99, 0.86, "shaded: 90 % of draws belong here", color=_ink(ORANGE), ha="right",
                va="top", fontweight="bold", fontsize=10, transform=ax.transAxes)  # fmt: skip
    draw_threshold(ax, alpha, f"{alpha_name} {100 * alpha:.3g} %", height=0.97)
    _percent_axis(ax.xaxis)
    ax.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, integer=True))
    ax.set(xlabel="realised false-alarm rate on unseen normal samples", ylabel="number of draws")
    if title:
        ax.set_title(title)


def draw_name(ax: Axes, name: str, index: int) -> None:
    """Name of set number ``index`` in its colour, in the upper right corner, one below another."""
    ax.annotate(name, (0.99, 0.98), xycoords="axes fraction", xytext=(0, -14 * index),
                textcoords="offset points", ha="right", va="top", fontweight="bold", fontsize=10,
                color=_ink(_colour(index)))  # fmt: skip


def draw_growth(
    ax: Axes, values: Mapping[str, Sequence[float]], chosen: str, at: int, title: str = ""
) -> None:
    """AUROC of each score against severity; the chosen score in colour, the point at ``at``."""
    top = len(next(iter(values.values()))) - 1
    ax.plot([0, top], [0.5, 0.5], color=GREY, linestyle=(0, (5, 3)), linewidth=1.2)
    for name, line in values.items():
        is_chosen = name == chosen
        ax.plot(line, marker="o", markersize=4, color=VERMILLION if is_chosen else "#999999",
                linewidth=2.4 if is_chosen else 1.4, zorder=3 if is_chosen else 2)  # fmt: skip
    ax.plot(at, values[chosen][at], "o", markersize=11, color=VERMILLION, zorder=4)
    ax.set_xlim(-0.15 * top / 5, 1.62 * top)
    ax.set_ylim(-0.03, 1.03)
    ax.set_xticks(range(top + 1))
    ax.set(xlabel="severity", ylabel="AUROC")
    heights = spread([*(line[-1] for line in values.values()), 0.5], gap=0.085)
    for name, y in zip([*values, "coin flip"], heights, strict=True):
        ax.text(1.05 * top, y, name, va="center", fontsize=10,
                color=_ink(VERMILLION) if name == chosen else GREY,
                fontweight="bold" if name == chosen else "normal")  # fmt: skip
    if title:
        ax.set_title(title)
