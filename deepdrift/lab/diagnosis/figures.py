"""Drift by layer, as the diagnosis sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepdrift.alarms.diagnosis import THRESHOLD as DRIFT_THRESHOLD
from deepdrift.lab.bench.figures.canvas import (
    BLACK,
    BLUE,
    GREY,
    INK,
    VERMILLION,
    Axes,
    PlotError,
    colour,
    draw_end_labels,
    figure,
    halo,
    matplotlib,
    needs_slant,
    slant,
)


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
            colours = [VERMILLION if abs(v) >= threshold else BLUE for v in shown]
            artists[name] = ax.bar(range(len(layers)), shown, 0.6, color=colours)
        else:
            artists[name] = ax.plot(range(len(layers)), shown, color=colour(i), marker="o")[0]
            ends[name] = float(shown[-1])
        for k in np.flatnonzero(~np.isfinite(values)):
            halo(ax.text(k, top, "not finite", ha="center", va="top", fontsize=9, color=INK))
    for side in (threshold, -threshold) if bottom <= -threshold else (threshold,):
        ax.axhline(side, color=BLACK, linestyle=(0, (5, 3)), linewidth=1.4)
    halo(ax.annotate(f"threshold {threshold:g}", (0, threshold), xytext=(4, 2), va="bottom",
                      xycoords=("axes fraction", "data"), textcoords="offset points",
                      fontsize=9))  # fmt: skip
    left = -1.4 if len(profiles) == 1 else -0.8  # room for the threshold's name beside bars
    ax.set(xlabel="layer", ylabel="drift", ylim=(bottom, top), xlim=(left, len(layers) - 0.4))
    ax.set_xticks(range(len(layers)), layers)
    if needs_slant(layers, 62):
        slant(ax)
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
        |drift| from which a layer counts as unusual; bars that reach it have another colour.

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
    deepdrift.lab.bench.figures.PlotError
        For anything else, or no layer.
    """
    drift_profile({"": profile}, title, threshold=threshold)


SIDES = ("inputs", "inside", "none", "cannot say")
MOST = 30.0  # drift from which the colour of a cell grows no more


def draw_answers(ax: Axes, counts: Any, rows: Sequence[str], right: str) -> None:
    """Draw a table of answers: zeros blank, the right cell of each row framed."""
    counts = np.asarray(counts, np.float64)
    if counts.shape != (len(rows), len(SIDES)):
        raise PlotError(f"counts: expected shape {(len(rows), len(SIDES))}, got {counts.shape}")
    top = max(counts.max(), 1.0)
    for (i, j), value in np.ndenumerate(counts):
        if value:
            cell = {"facecolor": GREY, "alpha": 0.1 + 0.45 * value / top, "linewidth": 0}
            ax.add_patch(_cell(i, j, **cell))
            ax.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=9, color=INK)
        if SIDES[j] == right:
            ax.add_patch(_cell(i, j, facecolor="none", edgecolor=BLUE, linewidth=1.6))
    ax.set(xlim=(-0.5, len(SIDES) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    ax.set_yticks(range(len(rows)), [row.replace("_", " ") for row in rows], fontsize=9)
    ax.set_xticks(range(len(SIDES)), SIDES, fontsize=9)
    _as_table(ax)


def _as_table(ax: Axes) -> None:
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _cell(row: int, column: int, **style: Any) -> Any:
    return matplotlib.patches.Rectangle((column - 0.46, row - 0.42), 0.92, 0.84, **style)


def answers(
    said: Sequence[tuple[str, str, str]], title: str = "", names: Mapping[str, str] | None = None
) -> None:
    """What was said of each fault, one panel for each side it may be on.

    Parameters
    ----------
    said : sequence of (fault, side, answer)
        One for each run; answers are "inputs", "inside", "none" or "cannot say".
    title : str
        The finding.
    names : mapping of str to str, optional
        Side -> what to write above its panel; every side that occurs, by default.
    """
    names = names or {side: side for side in dict.fromkeys(side for _, side, _ in said)}
    faults = {k: list(dict.fromkeys(f for f, side, _ in said if side == k)) for k in names}
    height = 1.0 + 0.23 * max(map(len, faults.values()))
    with figure(height, alt=f"{title}. Rows: faults. Columns: {', '.join(SIDES)}.") as fig:
        for ax, (side, rows) in zip(
            np.atleast_1d(fig.subplots(1, len(names))), faults.items(), strict=True
        ):
            counts = [
                [sum(s == (fault, side, answer) for s in said) for answer in SIDES]
                for fault in rows
            ]
            blank = max(map(len, faults.values())) - len(rows)
            draw_answers(ax, counts, rows, side)
            ax.set_ylim(len(rows) + blank - 0.5, -0.5)  # rows of one height in all panels
            ax.set_title(
                f"{names[side]}; the doctor says:", fontsize=10, fontweight="normal", pad=21
            )
        fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")


def draw_profiles(
    ax: Axes, drifts: Any, rows: Sequence[str], layers: Sequence[str], border: float
) -> None:
    """Draw profiles as a table: cells within the border are blank, darker ones drift more.

    The first cell of a row that reaches the border says its drift.
    """
    drifts = np.asarray(drifts, np.float64)
    if drifts.shape != (len(rows), len(layers)):
        raise PlotError(f"drifts: expected shape {(len(rows), len(layers))}, got {drifts.shape}")
    for (i, j), value in np.ndenumerate(drifts):
        if not abs(value) < border:
            size = min(abs(value), MOST) if np.isfinite(value) else MOST
            shade = 0.1 + 0.1 * np.ceil(4 * size / MOST)  # four of them
            ax.add_patch(_cell(i, j, facecolor=VERMILLION, alpha=shade, linewidth=0))
            if all(abs(z) < border for z in drifts[i, :j]):  # the first of its row
                shown = f"{value:.0f}" if np.isfinite(value) else "not finite"
                ax.text(j, i, shown, ha="center", va="center", fontsize=8.5, color=INK)
    ax.set(xlim=(-0.5, len(layers) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    ax.set_yticks(range(len(rows)), [row.replace("_", " ") for row in rows], fontsize=9)
    ax.set_xticks(range(len(layers)), layers, fontsize=9)
    _as_table(ax)


def profiles(
    drifts: Any,
    rows: Sequence[str],
    layers: Sequence[str],
    title: str = "",
    *,
    border: float = DRIFT_THRESHOLD,
) -> None:
    """Many profiles below each other; what is within the border stays blank.

    Parameters
    ----------
    drifts : array_like, shape (R, L)
    rows, layers : sequences of R and L str
    title : str
        The finding.
    border : float
        |drift| from which a layer counts as unusual.
    """
    with figure(0.75 + 0.21 * len(rows), alt=f"{title}. A row for each fault.") as fig:
        ax = fig.subplots()
        draw_profiles(ax, drifts, rows, layers, border)
        fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
