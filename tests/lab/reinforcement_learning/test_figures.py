"""What the drawings of notebook 11 show, read back from their artists."""

from __future__ import annotations

import matplotlib.figure
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgba

from deepdrift.lab.bench.figures import BLUE, GREY, INK, ORANGE, VERMILLION
from deepdrift.lab.reinforcement_learning import figures
from deepdrift.lab.reinforcement_learning.outcomes import OUTCOMES, Outcomes, Survival
from deepdrift.lab.reinforcement_learning.traces import TRACED, Trace


@pytest.fixture
def ax():
    return matplotlib.figure.Figure().subplots()


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def trace(scores, fault="lag", lost=-1, onset=4):
    """A cart upright in the middle whose signals all have these scores."""
    n = len(scores)
    states = np.zeros((n + 1, 4))
    states[:, 0] = np.linspace(0, 1.2, n + 1)
    return Trace("cartpole", fault, 3, onset, 7, -1, lost, states, np.zeros(n, int),
                 {name: np.array(scores, float) for name in TRACED}, np.zeros(n))  # fmt: skip


QUIET = [1.0] * 10
LOUD = [1, 1, 1, 1, 1, 1, 30, 30, 30, 30]


def test_a_score_is_drawn_over_its_line_with_the_number_of_its_observation(ax):
    alarm = figures.draw_score(ax, trace(LOUD), "hidden innovation", 10.0)
    assert alarm == 7  # entry 6 of the scores is about observation 7
    curve = ax.lines[0]
    assert curve.get_xdata().tolist() == list(range(1, 11)) and curve.get_color() == BLUE
    assert curve.get_ydata()[[0, 6]].tolist() == pytest.approx([-1, np.log10(3)])
    assert figures.draw_score(ax, trace(QUIET), "hidden innovation", 10.0) == -1


def test_a_score_can_be_shown_up_to_a_step(ax):
    figures.draw_score(ax, trace(LOUD), "hidden velocity", 10.0, until=4)
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3, 4]


def test_moments_that_did_not_happen_are_left_out(ax):
    figures.draw_moments(ax, {"lost": (9, VERMILLION), "alarm": (-1, INK), "fault": (4, GREY)})
    assert [t.get_text() for t in ax.texts] == ["fault", "lost"]
    assert [line.get_xdata()[0] for line in ax.lines] == [4, 9]
    heights = [t.xy[1] for t in ax.texts]
    assert heights[0] > heights[1]


@pytest.mark.parametrize(
    ("steps", "sides"),
    [
        ((80, 130, 180), ("left", "left", "left")),  # every word has room to its right
        ((100, 150, 160), ("left", "right", "left")),  # the loss is too near to the alarm
        ((100, 150, 198), ("left", "left", "right")),  # the edge is too near to the loss
        ((100, 105, 110), ("right", "left", "left")),  # the alarm has no room on either side
    ],
)
def test_a_word_avoids_the_line_beside_it(ax, steps, sides):
    ax.set_xlim(0, 200)  # 496 pixels; a word with its margins takes less than 50 of them, 20 steps
    names = dict(zip(("fault", "alarm", "lost"), steps, strict=True))
    figures.draw_moments(ax, {name: (step, INK) for name, step in names.items()})
    assert tuple(t.get_ha() for t in ax.texts) == sides
    for text, step in zip(ax.texts, steps, strict=True):
        assert text.xyann[0] == (3 if text.get_ha() == "left" else -3) and text.xy[0] == step


def test_episodes_stand_beside_each_other_with_their_margin():
    healthy = trace(QUIET, fault="")
    broken = trace(LOUD, lost=9)
    figures.episodes([healthy, broken], "hidden innovation", 10.0, "one breaks")
    fig = pyplot.gcf()
    assert fig.get_suptitle() == "one breaks"
    poses, scores, margins = (fig.axes[k : k + 2] for k in (0, 2, 4))
    assert [ax.get_title(loc="left") for ax in poses] == ["healthy", "lag, severity 3"]
    assert [t.get_text() for t in scores[0].texts] == []
    assert [t.get_text() for t in scores[1].texts] == ["fault", "alarm", "lost"]
    shown = margins[1].lines[0]
    assert shown.get_xdata()[-1] == 9  # the last step before the loss is seen
    assert shown.get_ydata()[-1] == pytest.approx(1 - 1.08 / 2.4)
    colours = {line.get_color() for line in poses[1].lines} - {GREY}
    assert colours == {INK, ORANGE} and {x.get_color() for x in poses[0].lines} == {GREY, INK}


def test_each_signal_races_against_its_own_line():
    lines = {"hidden velocity": 50.0, "hidden innovation": 10.0}
    figures.race(trace(LOUD, lost=9), lines, "a race")
    first, second = pyplot.gcf().axes
    assert [ax.get_title(loc="left") for ax in (first, second)] == list(lines)
    assert [t.get_text() for t in first.texts] == ["fault", "lost"]
    assert [t.get_text() for t in second.texts] == ["fault", "alarm", "lost"]


def test_the_fixed_number_stands_in_the_panel_of_the_velocity():
    values = np.linspace(2.0, 4.0, 20)
    figures.maxima({"hidden velocity": (values, 3.9), "hidden innovation": (values, 3.9)}, 0.15, "")
    velocity, innovation = pyplot.gcf().axes
    assert {t.get_text() for t in velocity.texts} == {"line 3.9", "fixed 0.15"}
    assert {t.get_text() for t in innovation.texts} == {"line 3.9"}
    assert sum(patch.get_height() for patch in innovation.patches) == 20
    assert velocity.get_xlim()[0] < np.log10(0.15) < velocity.get_xlim()[1]


HAND = Outcomes.of(lost=[29, 29, -1, -1], lengths=[30, 30, 99, 99], alarms=[20, 28, 40, -1],
                   onset=10)  # fmt: skip


def test_bars_are_stacked_shares_in_the_order_of_the_outcomes(ax):
    figures.draw_outcomes(ax, {"lag": HAND})
    bars = [(b.get_x(), b.get_width()) for b in ax.patches]
    assert bars == [(0, 0.25), (0.25, 0.25), (0.5, 0), (0.5, 0), (0.5, 0.25), (0.75, 0.25)]
    tints = [b.get_facecolor() for b in ax.patches]
    assert tints == [to_rgba(figures.TINTS[name]) for name in OUTCOMES]


def test_two_bars_say_their_counts(ax):
    figures.draw_two_outcomes(ax, {"with the fault": HAND, "clean": HAND})
    said = [t.get_text() for t in ax.texts]
    assert said[:5] == [
        "1 caught in time", "1 too late", "1 benign, alarm", "1 benign, quiet",
        "with the fault, 4 episodes",
    ]  # fmt: skip
    assert len(ax.patches) == 8  # outcomes that nobody had are left out


def test_panels_of_outcomes_have_one_legend():
    figures.outcome_bars({"cart": {"lag": HAND}, "lander": {"lag": HAND}}, "all of it")
    fig = pyplot.gcf()
    assert [t.get_text() for t in fig.legends[0].get_texts()] == list(OUTCOMES)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["cart", "lander"]


def test_a_curve_ends_at_the_edge_of_its_panel(ax):
    curve = Survival.of([1, 2, 80], [True, True, True])
    figures.draw_survival(ax, curve, BLUE, most=50)
    step = ax.lines[0]
    assert step.get_xdata().tolist() == [0, 1, 2, 50]
    assert step.get_ydata().tolist() == pytest.approx([1, 2 / 3, 1 / 3, 1 / 3])


def test_lead_and_allowance_stand_in_one_panel():
    figures.lead_times({"cart": HAND}, "time")
    panel = pyplot.gcf().axes[0]
    grey, blue = panel.lines
    assert (grey.get_color(), blue.get_color()) == (GREY, BLUE)
    # the plant left 20 steps to both that failed; the alarms left 10 and 2 of them
    assert grey.get_xdata()[grey.get_ydata() < 1][0] == 20
    assert blue.get_xdata()[blue.get_ydata() < 1][0] == 2


def test_without_any_alarm_only_the_plant_is_drawn():
    o = Outcomes.of(lost=[-1, -1], lengths=[99, 99], alarms=[-1, -1], onset=10)
    figures.lead_times({"quiet": o}, "time")
    assert [line.get_color() for line in pyplot.gcf().axes[0].lines] == [GREY]


def test_a_phase_has_its_line_from_its_first_step_on():
    clean, faulty = np.full((3, 40), 10.0), np.full((3, 40), 100.0)
    figures.phases(clean, faulty, {"one": (1000.0, 0), "late": (20.0, 16)}, "two lines")
    panel = pyplot.gcf().axes[0]
    dashed = [x for x in panel.lines if x.get_color() == INK]
    assert [x.get_xdata()[0] for x in dashed] == [0, 16]
    assert [x.get_ydata()[0] for x in dashed] == pytest.approx([3, np.log10(20)])
    medians = [x for x in panel.lines if x.get_color() in (GREY, VERMILLION)]
    assert [x.get_ydata()[0] for x in medians] == pytest.approx([1, 2])
    assert medians[0].get_xdata()[:3].tolist() == [1, 9, 17]
