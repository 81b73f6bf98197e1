"""What notebook 07 measures, on features whose answers are known beforehand."""

import numpy as np
import pytest
import torch

from deepdrift.baselines import DIME
from deepdrift.baselines.plane import choose_rank
from deepdrift.lab.bench.score_table import ScoreTable
from deepdrift.lab.bench.strange_sets import NORMAL, Recorded
from deepdrift.lab.dime import experiment, figures, rank_mutants

SHARES = torch.tensor([0.5, 0.3, 0.1, 0.07, 0.03], dtype=torch.float64)


def normal(n, scale, seed):
    return torch.randn(n, len(scale), generator=torch.Generator().manual_seed(seed)) * scale


SCALE = torch.tensor([8.0, 4.0, 1.0, 0.1])


def recorded(**more):
    features = {"fit": normal(400, SCALE, 0), "calibration": normal(300, SCALE, 1)}
    features |= {NORMAL: normal(200, SCALE, 2), **more}
    logits = {name: x[:, :2].abs() for name, x in features.items()}
    states = {name: {"a": x} for name, x in features.items()}
    return Recorded(("a",), states, logits, features, {})


class Sets:
    """The names are all that the curves ask for."""

    strange = ("up", "far")


def curves():
    """One set is strange across the plane of three directions, one along its first."""
    up = normal(150, SCALE, 3) + torch.tensor([0.0, 0, 0, 2])
    far = normal(150, SCALE, 4) * torch.tensor([6.0, 1, 1, 1])
    return experiment.Curves(recorded(up=up, far=far), Sets())


@pytest.fixture
def drawn():
    """Figures that a drawing function made."""
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    yield lambda: [pyplot.figure(n) for n in pyplot.get_fignums()]
    pyplot.close("all")


# ---- ranks and curves ----


def test_ranks_by_share_grow_up_to_the_width():
    ranks = experiment.ranks_by_share(normal(500, SCALE, 0))
    assert list(ranks) == ["90.0%", "95.0%", "99.0%", "99.9%", "100.0%"]
    assert list(ranks.values()) == sorted(ranks.values())
    assert (ranks["90.0%"], ranks["99.0%"], ranks["100.0%"]) == (2, 3, 4)


def test_class_means_along_one_direction_are_held_by_it():
    labels = torch.arange(600) % 3
    x = normal(600, SCALE * 0.1, 0)
    x[:, 0] += 20.0 * labels
    assert experiment.held_by(x, labels, rank=1) > 0.999
    x[:, 3] += torch.tensor([0.0, 3, 0])[labels]  # 6 of 806, which the first cannot hold
    assert experiment.held_by(x, labels, rank=1) == pytest.approx(800 / 806, abs=1e-3)
    assert experiment.held_by(x, labels, rank=4) == pytest.approx(1.0)


def test_loudness_is_a_rank_correlation():
    data = recorded()
    inside = DIME(1).fit(data.features["fit"]).distance_within_hyperplane(data.features[NORMAL])
    loud = Recorded(
        data.layers, data.states, {NORMAL: inside[:, None].exp()}, data.features, data.inputs
    )
    assert experiment.loudness_of_within(loud, rank=1) == pytest.approx(1.0)


def test_curves_know_which_set_is_strange_where():
    found = curves()
    outside, within = found.by_set["outside"], found.by_set["within"]
    assert outside.shape == within.shape == (2, 4) and found.rank == 3
    assert outside[0, 2] > 0.99 and abs(within[0, 2] - 0.5) < 0.1  # up: across the plane
    assert within[1, 0] > 0.8 and abs(outside[1, 2] - 0.5) < 0.1  # far: along it
    assert (outside[:, 3] == 0.5).all()  # a plane of all directions leaves nothing outside
    assert found.at("outside", 3) == pytest.approx(outside[:, 2].mean())
    mean, most, where = found.cost_of_the_share()
    assert 0 <= mean <= most and where in Sets.strange
    assert 1 <= found.best_ranks()[0] <= found.best_ranks()[1] <= 4


def test_costs_are_against_each_sets_best_rank():
    found = curves()
    found.by_set["outside"] = np.array([[0.5, 0.9, 0.7, 0.5], [0.8, 0.6, 0.75, 0.5]])
    mean, most, where = found.cost_of_the_share()
    assert (round(mean, 9), round(most, 9), where) == (0.125, 0.2, "up")
    assert found.best_ranks() == (1, 2)


# ---- alarms ----


def test_grid_and_conformal_are_the_two_rules_at_five_percent():
    data = recorded()
    rates = experiment.grid_and_conformal(data, normal(2000, SCALE, 5), [20, 200], draws=8)
    assert {n: r.shape for n, r in rates.items()} == {20: (8, 4), 200: (8, 4)}
    for r in rates.values():
        assert (r[:, 0] >= r[:, 1]).all() and (r[:, 3] == 0).all()  # p counts the new one in
    assert rates[20][:, 2].mean() > rates[200][:, 2].mean() > 0
    again = experiment.grid_and_conformal(data, normal(2000, SCALE, 5), [20], draws=8)
    assert (again[20] == rates[20]).all()


def test_a_plane_that_calibrates_itself_alarms_more():
    # 40 images for a plane of dozens of directions: near to all of its own
    wide = torch.ones(60)
    features = {"fit": normal(80, wide, 0), "calibration": normal(400, wide, 1)}
    data = Recorded(("a",), {}, {}, features, {})
    found = experiment.held_out_or_own(data, normal(400, wide, 2), 40, 0.05)
    assert found["others"].low <= 0.05 <= found["others"].high
    assert found["its own"].low > 0.5


# ---- scores in a table ----


def test_surely_counts_paired_differences():
    x = normal(400, torch.ones(1), 0)[:, 0].double()
    sets = {NORMAL: x[:200], "a": x[200:] + 3, "b": x[200:]}
    found = {k: {"good": v, "blind": torch.zeros_like(v)} for k, v in sets.items()}
    table = ScoreTable(found)
    assert experiment.surely(table, "good", "blind") == (1, 0)
    assert experiment.surely(table, "blind", "good") == (0, 1)
    means = experiment.means({"net": table})
    assert means["blind"]["net"] == 0.5 and 0.7 < means["good"]["net"] < 0.8


def test_lines_are_aligned():
    text = experiment.as_lines({"one": {"a": 0.5, "b": 1.0}, "three": {"a": 0.25, "b": 0.0}})
    assert text.split("\n") == [
        "             a        b",
        "one       0.50     1.00",
        "three     0.25     0.00",
    ]


# ---- mutants ----


def test_three_tests_pass_on_the_right_function_and_miss_what_the_lesson_says():
    tests = experiment.three_tests(SHARES)
    assert all(test(choose_rank) for test in tests.values())
    alive = {name: rank_mutants.survivors(test) for name, test in tests.items()}
    everyone = list(rank_mutants.MUTANTS)
    assert alive["in range"] == alive["never less for more"] == everyone
    assert alive["by hand"] == ["one too many at a tie"]


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("in range", lambda shares, wanted: 0),
        ("in range", lambda shares, wanted: len(shares) + 1),
        ("never less for more", lambda shares, wanted: 3 if wanted < 0.6 else 2),
        ("by hand", lambda shares, wanted: 2),
    ],
)
def test_each_of_the_three_tests_can_fail(name, rank):
    assert not experiment.three_tests(SHARES)[name](rank)


def test_the_picture_of_the_mutants_says_what_the_tests_say(drawn):
    functions = {"right": choose_rank, **rank_mutants.MUTANTS}
    choices = {name: rank(SHARES, 0.85) for name, rank in functions.items()}
    alive = {k: rank_mutants.survivors(t) for k, t in experiment.three_tests(SHARES).items()}
    figures.mutants_at_work(SHARES, 0.85, choices, alive, "finding")
    (figure,) = drawn()
    left, right = figure.axes
    assert {"right", *rank_mutants.MUTANTS} <= {t.get_text() for t in left.texts}
    words = [t.get_text() for t in right.texts]
    assert (words.count("lives"), words.count("found")) == (9, 3)
    assert [t.get_text() for t in right.get_yticklabels()] == list(alive)
