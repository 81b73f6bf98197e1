"""A score of maps: unusual summaries stand out, empty maps most of all, promises are kept."""

from __future__ import annotations

import math

import torch

from deepdrift.attribution import map_summaries
from deepdrift.lab.bench.evaluation import auroc
from deepdrift.lab.bench.score_table import ScoreTable
from deepdrift.lab.explanations_under_shift.without_twin import MapScore, leads


def maps(n: int, seed: int, corner: float = 0.0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    found = torch.rand(n, 8, 8, generator=g)
    found[:, :4, :4] += corner
    return found


def test_maps_in_a_corner_are_unusual_and_empty_ones_infinitely_so():
    judge = MapScore(map_summaries(maps(400, 0)))
    normal, odd = map_summaries(maps(300, 1)), map_summaries(maps(300, 2, corner=1.0))
    assert auroc(judge.score(normal), judge.score(odd)).low > 0.95
    empty = map_summaries(torch.zeros(2, 8, 8))
    assert judge.score(empty).tolist() == [math.inf, math.inf]
    assert judge.p_values(empty).tolist() == [0.0, 0.0]
    alarms = float((judge.p_values(normal) <= 0.05).double().mean())
    assert 0.01 < alarms < 0.1 and judge.n == 200


def test_empty_maps_among_the_calibration_ones_are_left_out():
    summaries = map_summaries(maps(400, 0))
    with_empty = summaries.clone()
    with_empty[[3, 250]] = math.nan
    judge = MapScore(with_empty)
    assert judge.n == 199 and judge.score(summaries).isfinite().all()


def test_the_score_ignores_the_scale_of_a_map():
    judge = MapScore(map_summaries(maps(400, 0)))
    few = maps(5, 3)
    assert torch.allclose(
        judge.score(map_summaries(few)), judge.score(map_summaries(1000 * few)), rtol=1e-3
    )


def test_leads_are_paired_and_by_set():
    normal = {"a": torch.arange(20.0), "b": torch.arange(20.0)}
    far = {"a": torch.arange(20.0) + 40, "b": torch.arange(20.0)}
    found = leads(ScoreTable({"clothing": normal, "far": far}), "a", ["b"])
    assert found["far"]["b"].value == 0.5
