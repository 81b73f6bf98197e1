"""What notebook 02b measures, on two layers of random numbers whose answers are known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from matplotlib import pyplot

from deepdrift.lab.bench import figures
from deepdrift.lab.bench.strange_sets import Judge, Recorded
from deepdrift.lab.innovation.experiment import (
    as_lines,
    auroc_by_step,
    average_garments,
    contributions,
    distance_by_layer,
    start_and_steps,
    typical,
)
from deepdrift.lab.innovation.figures import draw_prediction, draw_sums
from deepdrift.states.inputs import input_statistics

LABELS = torch.arange(400) % 2


def batch(n, seed, start=0.0, step=0.0):
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(n, 3, generator=g) + 4 * LABELS[:n, None] + start
    b = a.flip(1) + torch.randn(n, 3, generator=g) + step
    return {"a": a, "b": b}


@pytest.fixture(scope="module")
def world():
    states = {"fit": batch(400, 0), "calibration": batch(400, 1), "clothing": batch(200, 2)}
    states |= {"far": batch(200, 3, start=9.0), "odd": batch(200, 4, step=9.0)}
    g = torch.Generator().manual_seed(5)
    images = {k: torch.rand(len(v["a"]), 1, 6, 6, generator=g) for k, v in states.items()}
    logits = {k: v["b"][:, :2] for k, v in states.items()}
    inputs = {k: input_statistics(x) for k, x in images.items()}
    recorded = Recorded(("a", "b"), states, logits, logits, inputs)
    labelled = SimpleNamespace(labels=LABELS)
    return recorded, SimpleNamespace(fit=labelled, calibration=labelled, strange=["far", "odd"])


def test_a_start_far_out_and_an_odd_step_are_told_apart(world):
    recorded, _ = world
    found = start_and_steps(recorded, ["far", "odd"])
    assert found["far"]["start"].low > 0.95 > 0.7 > found["far"]["steps"].high
    assert found["odd"]["steps"].low > 0.95 > 0.7 > found["odd"]["start"].high


def test_steps_and_layers_alone(world):
    recorded, sets = world
    by_step = auroc_by_step(Judge(recorded, sets, "innovation"), ["far", "odd"])
    assert list(by_step["odd"]) == ["a to b"] and by_step["odd"]["a to b"].value > 0.95
    alone = distance_by_layer(Judge(recorded, sets, "distance"), sets)
    assert list(alone) == ["a", "b"] and alone["b"] > alone["a"] > 0.5


@pytest.mark.parametrize("name", ["clothing", "far", "odd"])
def test_what_the_blocks_add_is_the_score(world, name):
    recorded, sets = world
    judge = Judge(recorded, sets, "fused")
    added, score = contributions(judge, name)
    assert list(added) == ["innovation", "distance", "relative", "output", "input"]
    assert sum(added.values()) == pytest.approx(score, rel=1e-6)
    scores = judge.read(name).score
    assert abs(float(scores[typical(judge, name)] - scores.median())) < 1e-9
    assert contributions(judge, name, 3)[1] == float(scores[3])


def test_averages_of_garments():
    labels = torch.arange(80) % 8
    spare = SimpleNamespace(
        images=labels[:, None, None, None] / 8 * torch.ones(80, 1, 4, 4), labels=labels
    )
    found = average_garments(SimpleNamespace(spare=spare), n=5, each=2)
    assert (
        found.shape == (16, 1, 4, 4) and found[:, 0, 0, 0].tolist() == [k / 8 for k in range(8)] * 2
    )


def test_lines_of_numbers():
    lines = as_lines({"a": {"x": 0.25, "y": 1.0}, "longer": {"x": 0.5, "y": 0.0}}).splitlines()
    assert len({len(line) for line in lines}) == 1 and lines[1].split() == ["a", "0.25", "1.00"]


@pytest.fixture
def ax():
    with figures.style():
        yield pyplot.figure().subplots()
    pyplot.close("all")


def test_residuals_end_on_the_line(ax):
    draw_prediction(ax, [(-1, -2), (1, 2)], [(4, 8), (1, 4)], 2.0)
    residuals = [line.get_ydata().tolist() for line in ax.lines if len(line.get_xdata()) == 2]
    assert [8.0, 8] in residuals and [2.0, 4] in residuals
    assert "(1, 4)  residual +2" in {t.get_text() for t in ax.texts}


def test_bars_add_up(ax):
    draw_sums(ax, {"bag": {"innovation": 1.0, "output": 12.0}}, 5.0)
    assert sum(bar.get_width() for bar in ax.patches) == 13.0
    assert "13" in {t.get_text() for t in ax.texts}
