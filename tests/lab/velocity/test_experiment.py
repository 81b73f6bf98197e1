"""What notebook 02 measures of raw velocity, on states whose steps are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from matplotlib import pyplot

from deepdrift import spatial_velocity
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.evaluation import Estimate, auroc
from deepdrift.lab.bench.score_table import ScoreTable
from deepdrift.lab.bench.strange_sets import Recorded
from deepdrift.lab.velocity.experiment import (
    RULES,
    flip,
    four_rules,
    random_aurocs,
    share_of_peaks,
    sides,
    state_lengths,
    velocity_aurocs,
    what_velocity_follows,
)
from deepdrift.lab.velocity.figures import (
    draw_gap,
    draw_length_ratios,
    draw_pair,
    draw_steps,
    paired,
)


def batch(n, seed, factor=1.0):
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(n, 3, generator=g)
    return {"a": a, "b": a + factor * torch.randn(n, 3, generator=g)}


@pytest.fixture(scope="module")
def world():
    """The set "slow" takes steps half as long as clothing, the set "fast" twice as long."""
    states = {"calibration": batch(200, 0), "clothing": batch(200, 1)}
    states |= {"slow": batch(200, 2, 0.5), "fast": batch(200, 3, 2.0)}
    loud = {k: (v["b"] - v["a"]).norm(dim=1, keepdim=True) for k, v in states.items()}
    recorded = Recorded(("a", "b"), states, loud, loud, {})
    return recorded, SimpleNamespace(strange=["slow", "fast"])


def test_fast_means_strange_by_the_definition(world):
    recorded, sets = world
    found = velocity_aurocs(recorded, sets)
    speeds = {k: spatial_velocity(z).amax(dim=1) for k, z in recorded.states.items()}
    assert found["slow"].value == auroc(speeds["clothing"], speeds["slow"]).value < 0.3
    assert sides(found) == (1, 1) and share_of_peaks(recorded) == [1.0]


def test_four_rules(world):
    recorded, sets = world
    slow, fast = map(float, velocity_aurocs(recorded, sets).values())
    row = four_rules(recorded, sets)
    assert tuple(row) == RULES
    assert row["fast = strange"] == pytest.approx((slow + fast) / 2)
    assert row["flipped"] == pytest.approx((1 - slow + fast) / 2)
    assert 0.5 < row["two-sided"] < row["flipped"]


def test_velocity_follows_what_is_as_loud(world):
    recorded, _ = world
    loud, light = what_velocity_follows(
        recorded, torch.ones(200, 1, 2, 2) * torch.rand(200, 1, 1, 1)
    )
    assert loud == pytest.approx(1.0) and abs(light) < 0.3


def test_the_flip_never_loses():
    assert min(flip(random_aurocs(20))) >= 0.5 > min(random_aurocs(20))


@pytest.fixture
def ax():
    with figures.style():
        yield pyplot.figure().subplots()
    pyplot.close("all")


def words(ax):
    return [t.get_text() for t in ax.texts]


def test_steps_carry_their_lengths(ax):
    draw_steps(ax, {"one": [(0, 0), (3, 4), (3, 0)], "two": [(1, 1), (1, 1)]})
    assert {"5", "4", "one", "two"} <= set(words(ax)) and "0" not in words(ax)


def test_ratios_divide_medians(ax, world):
    lengths = state_lengths(world[0], ["clothing", "fast"])
    draw_length_ratios(ax, lengths, ["a", "b"])
    usual, fast = (lengths[k].median(dim=0).values for k in ("clothing", "fast"))
    assert ax.lines[-1].get_ydata() == pytest.approx((fast / usual).tolist())


def test_a_pair_shows_what_both_intervals_hold(ax):
    one, other = Estimate(0.92, 0.90, 0.94, 9, 9), Estimate(0.9, 0.88, 0.91, 9, 9)
    draw_pair(ax, {"a": one, "b": Estimate(0.8, 0.7, 0.85, 9, 9)})
    assert "both" not in words(ax)
    draw_pair(ax, {"a": one, "b": other})
    assert "both" in words(ax)
    for gap in (Estimate(0.02, 0.01, 0.03, 9, 9), Estimate(-0.02, -0.03, -0.01, 9, 9)):
        draw_gap(ax, gap)
        low, high = ax.get_xlim()
        assert low < min(gap.low, 0) and high > max(gap.high, 0)


def test_two_scores_of_one_set():
    g = torch.Generator().manual_seed(0)
    scores = {k: {s: torch.randn(50, generator=g) + gap for s in "ab"}
              for k, gap in (("clothing", 0), ("bags", 1))}  # fmt: skip
    paired(ScoreTable(scores), "a", "b", "bags", "t")
    left, right = pyplot.gcf().axes
    assert right.get_xlabel() == "AUROC of a minus that of b" and left.get_xlabel() == "AUROC"
    pyplot.close("all")
