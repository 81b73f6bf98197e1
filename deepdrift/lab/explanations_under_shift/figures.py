"""Pictures of notebook 09."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION
from deepdrift.lab.explanations_under_shift import tiles
from deepdrift.lab.explanations_under_shift.comparisons import on_the_way
from deepdrift.lab.explanations_under_shift.drift import SEVERITIES, PairedDrift
from deepdrift.lab.explanations_under_shift.explanations import EXPLANATIONS, Explanation
from deepdrift.lab.explanations_under_shift.ruler import (
    CHANCE,
    PUBLISHED,
    RANDOM,
    SAME,
    UNTRAINED,
    Ruler,
)

Axes = Any
METHOD_COLOURS = {
    "saliency": BLUE,
    "integrated gradients": GREEN,
    "Grad-CAM": VERMILLION,
    "rollout": PURPLE,
}
RUNG_MARKS = {UNTRAINED: ("s", PURPLE), RANDOM: ("^", ORANGE), SAME: ("o", BLUE)}
SHORT = {"integrated gradients": "integrated\ngradients"}


def draw_sheet(
    ax: Axes, rows: Sequence[Sequence[Any]], columns: Sequence[str], names: Sequence[str] = ()
) -> None:
    """Tiles with a word above each column and before each row."""
    height, width = rows[0][0].shape[:2]
    ax.set_axis_off()
    ax.imshow(tiles.sheet(rows), interpolation="nearest")
    for j, name in enumerate(columns):
        ax.text(j * (width + tiles.GAP) + width / 2, -1.5, name, ha="center", va="bottom",
                fontsize=9, color=INK)  # fmt: skip
    for i, name in enumerate(names):
        ax.text(-1.5, i * (height + tiles.GAP) + height / 2, name, ha="right", va="center",
                fontsize=9, color=INK)  # fmt: skip


def four_pixels(image: Sequence[float], maps: Mapping[str, Sequence[float]], title: str) -> None:
    """An image of four pixels as it looks, and maps of it whose larger sizes are darker blue."""
    with figures.figure(2.3) as fig:
        fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
        rows = {"image": image} | dict(maps)
        for k, (ax, name) in enumerate(zip(fig.subplots(1, len(rows)), rows, strict=True)):
            shown = np.asarray(rows[name], dtype=float).reshape(2, 2)
            if k == 0:
                ax.imshow(shown, cmap="gray", vmin=0, vmax=1)
            else:
                ax.imshow(np.abs(shown), cmap="Blues", vmin=0, vmax=2 * np.abs(shown).max())
            for (i, j), value in np.ndenumerate(shown):
                colour = "white" if k == 0 and value < 0.3 else INK
                ax.text(j, i, f"{value:g}", ha="center", va="center", fontsize=13, color=colour)
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set(visible=True, color=GREY)
            ax.set_title(name, fontsize=10, fontweight="normal", loc="center")


def seven_maps(image: Tensor, maps: Mapping[Explanation, Tensor], title: str) -> None:
    """One image and its maps, a row for each network; each map in its own scale."""
    with figures.figure(3.4) as fig:
        fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
        ax = fig.subplots()
        names = list(dict.fromkeys(one.network for one in maps))
        rows = [
            [tiles.grey(image), *(tiles.heat(m) for one, m in maps.items() if one.network == name)]
            for name in names
        ]
        methods = list(dict.fromkeys(one.method for one in maps))
        draw_sheet(ax, rows, ["image", *(SHORT.get(m, m) for m in methods)], names)


def not_places(image: Tensor, numbers: Tensor, real: Tensor, title: str, seed: int = 1) -> None:
    """64 embedding numbers as a picture, the same in another order, and a map of places."""
    order = torch.randperm(numbers.numel(), generator=torch.Generator().manual_seed(seed))
    size = tuple(image.shape[-2:])

    def enlarged(values: Tensor) -> Tensor:
        grid = values.reshape(1, 1, 8, 8)
        return torch.nn.functional.interpolate(grid, size=size, mode="bilinear")[0, 0]

    flat = numbers.flatten().clamp(min=0)
    shown = [tiles.grey(image), tiles.heat(enlarged(flat)), tiles.heat(enlarged(flat[order]))]
    columns = ["image", "64 numbers as 8 x 8", "the same, another order", "a map of places"]
    with figures.figure(2.6) as fig:
        fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
        draw_sheet(fig.subplots(), [[*shown, tiles.heat(real)]], columns)


def draw_ruler(ax: Axes, rulers: Mapping[Explanation, Ruler]) -> None:
    """The rungs of every explanation on one axis from nothing to identical."""
    for y, ruler in enumerate(rulers.values()):
        start = ruler.rung(SAME).value
        ax.plot([start, 1], [y, y], color="#dddddd", linewidth=7, solid_capstyle="butt", zorder=0.8)
        for k, (name, (mark, colour)) in enumerate(RUNG_MARKS.items()):
            e, at = ruler.rung(name), y + 0.22 * (k - 1)
            ax.plot([e.low, e.high], [at, at], color=colour, linewidth=2)
            ax.plot(e.value, at, mark, color=colour, markersize=6)
    chance = next(iter(rulers.values())).rung(CHANCE).value
    for x, said, style in ((chance, "chance", "-"), (PUBLISHED, "  rule: 0.2", (0, (5, 3)))):
        ax.axvline(x, color=GREY if said == "chance" else INK, linestyle=style, linewidth=1.3)
        ax.annotate(said, (x, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
                    textcoords="offset points", ha="right" if said == "chance" else "left",
                    va="bottom", fontsize=9, color=GREY if said == "chance" else INK)  # fmt: skip
    ax.annotate("identical", (1.0, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
                textcoords="offset points", ha="center", va="bottom", fontsize=9,
                color=GREY)  # fmt: skip
    ax.set_yticks(range(len(rulers)), [str(one) for one in rulers])
    ax.set_ylim(len(rulers) - 0.5, -0.6)
    ax.set_xlim(0, 1)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("overlap of the top 20 % (IoU); grey: from same class to identical")
    handles = [
        figures.matplotlib.lines.Line2D([], [], color=colour, marker=mark, linestyle="")
        for mark, colour in RUNG_MARKS.values()
    ]
    ax.legend(handles, list(RUNG_MARKS), loc="lower center", bbox_to_anchor=(0.62, 0.985), ncol=3,
              fontsize=9, handlelength=1, columnspacing=1.4, borderpad=0)  # fmt: skip


def ruler(rulers: Mapping[Explanation, Ruler], title: str) -> None:
    """`draw_ruler` as a figure."""
    with figures.figure(3.9) as fig:
        ax = fig.subplots()
        draw_ruler(ax, rulers)
        ax.set_title(title, pad=20)


def drift_lines(drift: PairedDrift, rulers: Mapping[Explanation, Ruler], title: str) -> None:
    """Way from same class to identical, by severity: a panel for each fault."""
    with figures.figure() as fig:
        fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
        panels = fig.subplots(1, len(drift.faults), sharey=True)
        for ax, fault in zip(panels, drift.faults, strict=True):
            for one in EXPLANATIONS:
                if (one, fault, 1) not in drift:
                    continue
                line = on_the_way(drift, one, fault, rulers[one])
                cnn = one.network == "CNN"
                ax.plot(list(line), [100 * y for y in line.values()], "s" if cnn else "o",
                        linestyle="--" if cnn else "-", color=METHOD_COLOURS[one.method],
                        markersize=4, linewidth=1.6, antialiased=False)  # fmt: skip
            ax.axhline(0, color=GREY, linewidth=1)
            ax.set_title(fault.replace("_", " "), fontsize=10, fontweight="normal")
            ax.set_xticks((0, *SEVERITIES))
            ax.set_xlabel("severity")
        panels[0].set_ylabel("%: same class 0, identical 100")
        line = figures.matplotlib.lines.Line2D
        handles = [line([], [], color=c, linewidth=2.4) for c in METHOD_COLOURS.values()]
        handles += [line([], [], color=INK, linestyle="--", marker="s", markersize=4),
                    line([], [], color=INK, marker="o", markersize=4)]  # fmt: skip
        names = [*(SHORT.get(m, m) for m in METHOD_COLOURS), "CNN", "ViT"]
        panels[-1].legend(handles, names, loc="center left", bbox_to_anchor=(1.02, 0.5))


def gallery(drift: PairedDrift, shown: Mapping[int, Sequence[int]], fault: str, title: str) -> None:
    """Images, each at some severities, with all maps; in each the overlap with the clean map."""
    rows, words, names = [], [], []
    for index, severities in shown.items():
        for s in severities:
            row, said = [tiles.grey(drift.shifted[fault, s][index])], [""]
            for one in EXPLANATIONS:
                pairs = drift[one, fault, s]
                tile = tiles.heat(pairs.maps[index])
                row.append(tile if pairs.kept[index] else tiles.framed(tile))
                said.append(f"{float(pairs.alike['iou'][index]):.2f}" if s else "")
            rows.append(row)
            words.append(said)
            names.append(f"severity {s}" if s else "clean")
    columns = ["image", *(f"{one.network}\n{_SMALL.get(one.method, one.method)}"
                          for one in EXPLANATIONS)]  # fmt: skip
    side = rows[0][0].shape[0] + tiles.GAP
    with figures.figure(0.9 + 0.7 * len(rows)) as fig:
        fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
        ax = fig.subplots()
        draw_sheet(ax, rows, columns, names)
        for i, said in enumerate(words):
            for j, word in enumerate(said):
                if word:
                    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
                    ax.text((j + 1) * side - 2.5, (i + 1) * side - 2.5, word, ha="right",
                            va="bottom", fontsize=8, color=INK, bbox=box)  # fmt: skip


_SMALL = {"integrated gradients": "int. grad."}
