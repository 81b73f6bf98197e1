"""Figures that more than one notebook uses: one finding each, readable from the last row.

Every figure has two halves. ``draw_...(ax, ...)`` is a plain function of its arguments that draws
on given axes and returns the artists; explorers and composed figures use it. The function without
the prefix makes an 800 x 300 figure in the house style, shows it and returns None, so that a
notebook cell ends with it.
"""

from deepdrift.lab.bench.figures.bars import draw_score_bars, score_bars
from deepdrift.lab.bench.figures.canvas import (
    BLACK,
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    HEIGHT,
    INK,
    ORANGE,
    PURPLE,
    SHARPNESS,
    SKY,
    VERMILLION,
    WIDTH,
    Axes,
    PlotError,
    alternative_text,
    draw_end_labels,
    draw_name,
    figure,
    halo,
    ink,
    matplotlib,
    percent_axis,
    spread,
    style,
    style_settings,
)
from deepdrift.lab.bench.figures.heatmaps import draw_heatmap, heatmap
from deepdrift.lab.bench.figures.histograms import (
    draw_threshold,
    draw_two_histograms,
    histogram_edges,
)
from deepdrift.lab.bench.figures.images import image_grid
from deepdrift.lab.bench.figures.lines import draw_rate_by_size, layer_lines, rate_by_size

__all__ = [
    "BLACK",
    "BLUE",
    "COLOURS",
    "GREEN",
    "GREY",
    "HEIGHT",
    "INK",
    "ORANGE",
    "PURPLE",
    "SHARPNESS",
    "SKY",
    "VERMILLION",
    "WIDTH",
    "Axes",
    "PlotError",
    "alternative_text",
    "draw_end_labels",
    "draw_heatmap",
    "draw_name",
    "draw_rate_by_size",
    "draw_score_bars",
    "draw_threshold",
    "draw_two_histograms",
    "figure",
    "halo",
    "heatmap",
    "histogram_edges",
    "image_grid",
    "ink",
    "layer_lines",
    "matplotlib",
    "percent_axis",
    "rate_by_size",
    "score_bars",
    "spread",
    "style",
    "style_settings",
]
