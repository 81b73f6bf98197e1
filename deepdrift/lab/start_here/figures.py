"""Figures of notebook 00: what the network names wrongly, and which layer flags it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.bench.figures.canvas import colour, draw_end_labels
from deepdrift.lab.start_here.kinds import Answers

CONFIDENT = 0.95  # pictures are shown from this confidence on


def draw_gallery(
    grid: Sequence[Sequence[figures.Axes]],
    rows: Mapping[str, Sequence[tuple[Tensor, str]]],
) -> None:
    """Draw one row of pictures with their captions per name on a grid of axes."""
    for axes, (name, row) in zip(grid, rows.items(), strict=True):
        for ax in axes:
            ax.set_axis_off()
        for ax, (picture, caption) in zip(axes, row, strict=False):
            ax.imshow(
                picture.squeeze().numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest"
            )
            ax.set_anchor("W")
            ax.text(1.06, 0.5, caption, transform=ax.transAxes, va="center", fontsize=9,
                    color=figures.INK, linespacing=1.35)  # fmt: skip
        axes[0].text(-0.12, 0.5, name, transform=axes[0].transAxes, ha="right", va="center",
                     fontweight="bold", fontsize=10.5, color=figures.INK)  # fmt: skip


def wrong_and_sure(
    kinds: Mapping[str, Tensor],
    answers: Mapping[str, Answers],
    class_names: Sequence[str],
    title: str = "",
    columns: int = 4,
) -> None:
    """The first pictures of each strange kind that the network names wrongly, and is sure.

    Parameters
    ----------
    kinds : mapping of str to Tensor, shape (N, 1, H, W)
        The first kind is the normal one and is left out.
    answers : mapping of str to Answers
    class_names : sequence of str
        What a label means.
    title : str
        The finding.
    columns : int
        Pictures per kind.
    """
    rows = {
        name: _row(kinds[name], answers[name], class_names, columns) for name in list(kinds)[1:]
    }
    captions = {k: ", ".join(text.replace("\n", " ") for _, text in r) for k, r in rows.items()}
    alt = f"{title}: " + "; ".join(f"{name}: {text}" for name, text in captions.items())
    with figures.figure(alt=alt) as fig:
        fig.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold")
        fig.get_layout_engine().set(rect=(0, 0, 0.98, 1))  # room for the words at the right
        draw_gallery(fig.subplots(len(rows), columns, squeeze=False), rows)


def _row(
    pictures: Tensor, a: Answers, class_names: Sequence[str], columns: int
) -> list[tuple[Tensor, str]]:
    chosen = torch.nonzero(a.wrong & (a.confidence > CONFIDENT))[:columns, 0].tolist()
    return [(pictures[i], _caption(a, i, class_names)) for i in chosen]


def _caption(a: Answers, i: int, class_names: Sequence[str]) -> str:
    """What the network says; and what it is, where the network has a word for it."""
    said = f"“{class_names[a.label[i]]}”\n{a.confidence[i]:.0%} sure"
    return said if a.truth[i] < 0 else f"{said}\nis: {class_names[a.truth[i]]}"


def flagged_by_layer(
    shares: Mapping[str, Mapping[str, Estimate]],
    title: str = "",
    normal: tuple[float, str] = (0.05, "clothing: 5 %"),
) -> None:
    """Share that each layer flags on its own, a line per kind, named at its end.

    Parameters
    ----------
    shares : mapping of str to mapping of layer name to Estimate
        From the input side to the output side, the same layers for all kinds.
    title : str
        The finding.
    normal : (float, str)
        What normal pictures give, dashed, and its name.
    """
    layers = list(next(iter(shares.values())))
    ends, colours = {normal[1]: normal[0]}, {normal[1]: figures.GREY}
    with figures.figure() as fig:
        ax = fig.subplots()
        for i, (name, by_layer) in enumerate(shares.items()):
            at = range(len(layers))
            low, high = ([getattr(e, x) for e in by_layer.values()] for x in ("low", "high"))
            ax.fill_between(at, low, high, alpha=0.2, color=colour(i + 1), linewidth=0)
            ax.plot(at, list(map(float, by_layer.values())), color=colour(i + 1), marker="o")
            ends[name], colours[name] = float(by_layer[layers[-1]]), colour(i + 1)
        ax.axhline(normal[0], color=figures.GREY, linestyle=(0, (5, 3)), linewidth=1.2)
        ax.set(xlabel="layer", ylabel="share flagged by the layer", ylim=(0, 1.02))
        ax.set_xticks(range(len(layers)), layers)
        ax.set_xlim(-0.15, len(layers) - 0.85)
        figures.percent_axis(ax.yaxis, 5)
        ax.set_title(title)
        draw_end_labels(ax, ends, colours)
