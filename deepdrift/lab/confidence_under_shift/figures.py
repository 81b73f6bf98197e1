"""Reliability diagrams with the band of chance, falls, promises, and a dashboard of one shift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from deepdrift import confidence
from deepdrift.attribution import chance_iou
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.bench.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Axes,
    ink,
    percent_axis,
)
from deepdrift.lab.confidence_under_shift.measures import Promise

SEVERITIES = range(6)
CHANCE = chance_iou(28 * 28)  # overlap of two random maps
TEXT = {"fontsize": 10, "fontweight": "bold"}
DRIFTS = (0, 3, 10, 30, 100, 300, 1000)  # ticks of an axis that is logarithmic above 2


def draw_reliability(
    ax: Axes,
    probabilities: Any,
    labels: Any,
    n_bins: int = 15,
    title: str = "",
) -> None:
    """Accuracy against confidence, and where a calibrated model of this size would be."""
    found = confidence.reliability(probabilities, labels, n_bins)
    low, high = confidence.reliability_band(probabilities, n_bins)
    left, width = found.edges[:-1].numpy(), found.edges.diff().numpy()
    filled = (found.count > 0).numpy()
    for k in np.flatnonzero(filled):
        ax.fill_between(
            [left[k], left[k] + width[k]], low[k], high[k], color=SKY, alpha=0.45, linewidth=0
        )
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1.2, linestyle=(0, (5, 3)))
    x, y = found.confidence[filled].numpy(), found.accuracy[filled].numpy()
    inside = ((y >= low[filled].numpy() - 1e-9) & (y <= high[filled].numpy() + 1e-9)).tolist()
    share = (found.count[filled] / found.n).sqrt().numpy()
    for a, b, size, good in zip(x, y, share, inside, strict=True):
        ax.plot([a, a], [a, b], color=VERMILLION if not good else BLUE, linewidth=1.6)
        ax.plot(a, b, "o", markersize=4 + 9 * size, color=BLUE if good else VERMILLION)
    ax.set(xlim=(0, 1), ylim=(-0.02, 1.02), xlabel="confidence", ylabel="accuracy")
    for axis in (ax.xaxis, ax.yaxis):
        percent_axis(axis, 5)
    if title:
        ax.set_title(title)


def reliability(cases: Mapping[str, tuple[Any, Any]], title: str, n_bins: int = 15) -> None:
    """One diagram for each name: probabilities and labels."""
    with figures.figure(3.4) as fig:
        axes = fig.subplots(1, len(cases), sharey=True, squeeze=False)[0]
        for ax, (name, (p, y)) in zip(axes, cases.items(), strict=True):
            draw_reliability(ax, p, y, n_bins)
            test = confidence.calibration_test(p, y, n_bins)
            words = f"{name}\nECE {test.ece:.3f}, by chance up to {test.null_high:.3f}"
            ax.text(0.98, 0.05, words, transform=ax.transAxes, ha="right", color=INK, **TEXT)
            if ax is not axes[0]:
                ax.set_ylabel("")
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)


def draw_fall(ax: Axes, rows: Sequence[Mapping[str, float]], names: Mapping[str, str]) -> None:
    """Some columns of a table against severity, each in the colour of its name."""
    lines = {name: [row[name] for row in rows] for name in names}
    for name, values in lines.items():
        ax.plot(SEVERITIES, values, marker="o", markersize=4, color=names[name], linewidth=2)
    ax.set(xlabel="severity", ylim=(0, 1.02), xlim=(-0.15, 5.15))
    ax.set_xticks(list(SEVERITIES))
    percent_axis(ax.yaxis, 5)


def falls(tables: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]], title: str) -> None:
    """Accuracy and confidence: a row of panels for each network, a panel for each shift."""
    colours = {"accuracy": VERMILLION, "confidence": BLUE}
    shifts = list(next(iter(tables.values())))
    with figures.figure(4.2) as fig:
        grid = fig.subplots(len(tables), len(shifts), sharex=True, sharey=True, squeeze=False)
        for line, (network, by_shift) in zip(grid, tables.items(), strict=True):
            top = network == next(iter(tables))
            for ax, (shift, rows) in zip(line, by_shift.items(), strict=True):
                draw_fall(ax, rows, colours)
                gap = [row[name] for row in rows for name in colours]
                ax.fill_between(SEVERITIES, gap[::2], gap[1::2], color=ORANGE, alpha=0.25)
                if top:
                    ax.set_title(shift.replace("_", " "), fontweight="normal", fontsize=11)
                    ax.set_xlabel("")
            line[0].set_ylabel(network, fontweight="bold")
        first = next(iter(tables.values()))
        roomy = max(shifts, key=lambda shift: min(row["accuracy"] for row in first[shift][:4]))
        ax = grid[0][shifts.index(roomy)]  # below its curves, on the left, the names have room
        for name, y in (("confidence", 0.24), ("accuracy", 0.08)):
            ax.text(0.05, y, name, color=ink(colours[name]), transform=ax.transAxes, **TEXT)
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)


def risk_coverage(curves: Mapping[str, confidence.RiskCoverage], title: str) -> None:
    """Share of wrong answers among the accepted, against the share accepted."""
    colours = dict(zip(curves, (BLUE, GREEN, PURPLE, ORANGE), strict=False))
    with figures.figure() as fig:
        ax = fig.subplots()
        for name, curve in curves.items():
            ax.plot(curve.coverage, curve.risk, color=colours[name], linewidth=2)
        handles = [
            figures.matplotlib.lines.Line2D(
                [], [], color=colours[n], linewidth=2, label=f"{n}: AUGRC {c.augrc:.3f}"
            )
            for n, c in curves.items()
        ]
        ax.legend(handles=handles, loc="upper left")
        ax.set(xlabel="share answered", ylabel="wrong among the answers", xlim=(0, 1.005))
        ax.set_ylim(bottom=0)
        percent_axis(ax.xaxis, 5)
        percent_axis(ax.yaxis, 5)
        ax.set_title(title)


def draw_promise(axes: Sequence[Axes], kept: Promise) -> None:
    """Left: wrong answers against severity beside the promise. Right: how much is answered."""
    left, right = axes
    line = kept.chosen.max_risk
    left.axhline(line, color=INK, linestyle=(0, (5, 3)), linewidth=1.4)
    left.text(
        5.3, line, f"promised {100 * line:g} %", color=INK, ha="right", va="bottom", fontsize=10
    )
    for severity, risk in enumerate(kept.risk):
        if risk is None:
            left.text(severity, 0.5, "none", ha="center", va="center", color=GREY,
                      fontsize=8)  # fmt: skip
            continue
        colour = VERMILLION if risk.low > line else BLUE
        left.plot([severity] * 2, [risk.low, risk.high], color=colour, linewidth=2)
        left.plot(severity, risk.value, "o", color=colour, markersize=7)
    left.set(xlabel="severity", ylabel="wrong among the answers", ylim=(-0.02, 1.02))
    right.bar(list(SEVERITIES), kept.coverage, color=GREEN, width=0.7)
    right.set(xlabel="severity", ylabel="share answered", ylim=(0, 1.02))
    for ax in axes:
        ax.set_xticks(list(SEVERITIES))
        ax.set_xlim(-0.5, 5.5)
        percent_axis(ax.yaxis, 5)


def draw_dashboard(
    axes: Sequence[Axes],
    rows: Sequence[Mapping[str, float]],
    overlap: Sequence[Estimate],
    drift: Sequence[float],
    chance: float = CHANCE,
    theta: float = 3.0,
) -> None:
    """Four panels against severity: performance, confidence, attribution, hidden states."""
    first, second, third, fourth = axes
    draw_fall(first, rows, {"accuracy": VERMILLION, "F1": ORANGE})
    draw_fall(second, rows, {"confidence": BLUE, "ECE": PURPLE})
    values = [[e.low, e.value, e.high] for e in overlap]
    low, value, high = np.array(values).T
    third.fill_between(SEVERITIES, low, high, color=GREEN, alpha=0.25)
    third.plot(SEVERITIES, value, marker="o", markersize=4, color=GREEN, linewidth=2)
    third.axhline(chance, color=GREY, linestyle=(0, (5, 3)), linewidth=1.2)
    third.set(ylim=(0, 1.02), xlabel="severity")
    percent_axis(third.yaxis, 5)
    fourth.plot(SEVERITIES, drift, marker="o", markersize=4, color=INK, linewidth=2)
    fourth.axhline(theta, color=VERMILLION, linestyle=(0, (5, 3)), linewidth=1.2)
    fourth.set(xlabel="severity", yscale="symlog", ylim=(0, 1.4 * max(*drift, theta)))
    ticks = [t for t in DRIFTS if t <= 1.4 * max(*drift, theta)]
    fourth.set_yticks(ticks, [f"{t:g}" for t in ticks])
    fourth.minorticks_off()
    for ax, title in zip(
        axes,
        ("performance", "confidence", "explanation", "hidden states"),
        strict=True,
    ):
        ax.set_title(title, fontsize=11)
        ax.set_xticks(list(SEVERITIES))
    for ax, y, words, colour in (
        (first, 0.20, "accuracy", VERMILLION),
        (first, 0.06, "F1", ORANGE),
        (second, 0.56, "confidence", BLUE),
        (second, 0.42, "ECE", PURPLE),
        (third, 0.62, "IoU of\ntop 20 %", GREEN),
    ):
        ax.text(
            0.42 if ax is third else 0.06,
            y,
            words,
            color=ink(colour),
            transform=ax.transAxes,
            **TEXT,
        )
    third.text(0, chance - 0.02, "chance", color=GREY, va="top", fontsize=9)
    fourth.annotate(f"alarm at {theta:g}", (5, theta), xytext=(0, -3), textcoords="offset points",
                    color=ink(VERMILLION), ha="right", va="top", fontsize=9)  # fmt: skip
    fourth.text(0.52, 0.74, "drift", color=INK, transform=fourth.transAxes, **TEXT)


def dashboard(
    rows: Sequence[Mapping[str, float]],
    overlap: Sequence[Estimate],
    drift: Sequence[float],
    title: str,
) -> None:
    """`draw_dashboard` as a figure."""
    with figures.figure(3.2) as fig:
        draw_dashboard(list(fig.subplots(1, 4)), rows, overlap, drift)
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)


def confidences(sets: Mapping[str, torch.Tensor], title: str) -> None:
    """Histograms of confidence, one above the other."""
    edges = np.linspace(0, 1, 21)
    colours = (BLUE, VERMILLION, ORANGE, GREEN, PURPLE)
    with figures.figure(3.4) as fig:
        axes = fig.subplots(len(sets), 1, sharex=True, squeeze=False)[:, 0]
        for ax, colour, (name, values) in zip(axes, colours, sets.items(), strict=False):
            share = np.histogram(values.numpy(), edges)[0] / len(values)
            ax.stairs(share, edges, fill=True, color=colour)
            ax.text(0.01, 0.9, f"{name}: mean {values.mean():.2f}", va="top", color=ink(colour),
                    transform=ax.transAxes, **TEXT)  # fmt: skip
            ax.set(xlim=(0, 1), ylim=(0, 1), yticks=[0, 0.5, 1])
            percent_axis(ax.yaxis)
        axes[-1].set_xlabel("confidence of a prediction")
        fig.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=13)
