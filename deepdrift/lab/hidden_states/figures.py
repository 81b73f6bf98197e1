"""Figure of notebook 01: how well each layer tells strange pictures from normal ones."""

from __future__ import annotations

from collections.abc import Mapping

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.bench.figures.canvas import colour, draw_end_labels

COIN = 0.5


def auroc_by_layer(seen: Mapping[str, Mapping[str, Estimate]], title: str = "") -> None:
    """AUROC in every layer with its interval, a line per kind of strange pictures.

    Colours are those of the layer picker, whose first one, blue, is the normal set.

    Parameters
    ----------
    seen : mapping of str to mapping of layer name to Estimate
        From the input side to the output side, the same layers for all kinds.
    title : str
        The finding.
    """
    if not seen or not all(seen.values()):
        raise figures.PlotError("seen: expected at least one kind with one layer, got none")
    layers = list(next(iter(seen.values())))
    at = range(len(layers))
    colours = {name: colour(i) for i, name in enumerate(seen, 1)} | {"a coin": figures.GREY}
    lowest = min(e.low for row in seen.values() for e in row.values())
    with figures.figure() as fig:
        ax = fig.subplots()
        for name, row in seen.items():
            low, value, high = zip(*((e.low, e.value, e.high) for e in row.values()), strict=True)
            ax.fill_between(at, low, high, alpha=0.2, color=colours[name], linewidth=0)
            ax.plot(at, value, color=colours[name], marker="o", clip_on=False)
        ax.axhline(COIN, color=figures.GREY, linestyle=(0, (5, 3)), linewidth=1.2)
        ax.set(xlabel="layer", ylabel="AUROC", xticks=at, xticklabels=layers, title=title)
        ax.set_xlim(-0.15, len(layers) - 0.85)
        ax.set_ylim(min(0.4, lowest - 0.05), 1.0)
        ends = {name: row[layers[-1]].value for name, row in seen.items()} | {"a coin": COIN}
        draw_end_labels(ax, ends, colours)
