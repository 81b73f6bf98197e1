"""The drawn ROC curve: by hand, against scikit-learn, and what stands in the picture."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from sklearn import metrics

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.evaluation import EvaluationError, auroc
from deepdrift.lab.bench.figures.roc import draw_roc, rates_above, roc, roc_curve, thinned

RNG = np.random.default_rng(0)
NORMAL, STRANGE = RNG.normal(size=300).round(1), RNG.normal(1, size=200).round(1)


def test_curve_by_hand():
    """Thresholds 8, 5, 3, 2, 1: a score is flagged when the threshold falls below it."""
    curve = roc_curve([1, 2, 3], [2, 5, 8])
    assert curve.false_alarms.tolist() == pytest.approx([0, 0, 0, 1 / 3, 2 / 3, 1])
    assert curve.caught.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1, 1])
    assert curve.auroc == pytest.approx((3 + 3 + 1.5) / 9), "8 and 5 win three pairs, 2 ties one"


def test_curve_is_that_of_scikit_learn():
    curve = roc_curve(NORMAL, STRANGE)
    truth, scores = [0] * 300 + [1] * 200, np.r_[NORMAL, STRANGE]
    x, y, _ = metrics.roc_curve(truth, scores, drop_intermediate=False)
    assert curve.false_alarms == pytest.approx(x) and curve.caught == pytest.approx(y)
    assert curve.auroc == pytest.approx(auroc(NORMAL, STRANGE).value)


def test_infinite_scores_are_flagged_by_every_threshold():
    curve = roc_curve([1.0, 2.0], [np.inf, 0.0])
    assert (curve.false_alarms[1], curve.caught[1]) == (0.0, 0.5) and curve.auroc == 0.5


def test_every_threshold_lies_on_the_curve():
    curve = roc_curve(NORMAL, STRANGE)
    points = {(round(x, 9), round(y, 9)) for x, y in zip(*curve[:2], strict=True)}
    for threshold in (-9, -0.5, 0.0, 0.7, 9):
        x, y = rates_above(NORMAL, STRANGE, threshold)
        assert (round(x, 9), round(y, 9)) in points


def test_thinning_keeps_the_ends_and_the_area():
    curve = roc_curve(RNG.normal(size=3000), RNG.normal(1, size=2000))
    few = thinned(curve, 50)
    assert len(few.caught) == 50 and few.auroc == curve.auroc
    assert (few.false_alarms[0], few.caught[0]) == (0, 0)
    assert (few.false_alarms[-1], few.caught[-1]) == (1, 1)


def test_what_is_drawn():
    with figures.style():
        ax = Figure(layout="constrained").subplots()
        curve = roc_curve([1, 3], [2, 3, 4])
        artists = draw_roc(ax, curve, "T", point=(0.5, 1.0), mark=(0.0, 1 / 3), mark_name="strict")
    assert artists["point"].get_xydata().tolist() == [[0.5, 1.0]]
    assert artists["mark"].get_xydata().tolist() == [[0.0, 1 / 3]]
    assert artists["curve"].get_xydata()[-1].tolist() == [1.0, 1.0]
    assert artists["auroc"].get_text().startswith("AUROC 0.75: share of pairs")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("false alarms", "caught")
    bare = draw_roc(Figure().subplots(), curve)
    assert not {"point", "mark", "mark_name"} & bare.keys()


def test_the_figure_of_its_own():
    pyplot.close("all")
    assert roc(NORMAL, STRANGE, "Most are caught", threshold=1.0, mark=1.6, mark_name="5 %") is None
    (ax,) = pyplot.gcf().axes
    points = [tuple(x.get_xydata()[0]) for x in ax.lines if len(x.get_xydata()) == 1]
    assert points == [rates_above(NORMAL, STRANGE, at) for at in (1.6, 1.0)]
    pyplot.close("all")


def test_nan_is_refused():
    with pytest.raises(EvaluationError, match="strange: 1 of 2 scores are NaN"):
        roc_curve([1, 2], [np.nan, 1])
