"""A trace by hand: sums, means, and what is left out of them."""

from __future__ import annotations

import math

import pytest
import torch

from deepdrift.errors import NotFittedError
from deepdrift.guard.scores import SCORES, answer_score, ces
from deepdrift.guard.trace import blank_trace, freeze, join

NAN = math.nan


def trace(log_prob: list[list[float]], lengths: list[int], layers: int = 2):
    values = torch.tensor(log_prob)
    n, width = values.shape
    mask = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
    return freeze(
        blank_trace(
            torch.arange(1, n * width + 1).reshape(n, width),
            mask,
            values,
            2 * values.abs(),
            values.abs()[..., None].repeat(1, 1, layers),
            torch.ones(n, width, layers, 3),
            torch.ones(n, layers, 3),
            tuple("ab"[:layers]),
            tuple((i,) for i in range(n)),
        )
    )


def test_scores_by_hand():
    t = trace([[-1.0, -3.0, -99.0], [-0.5, -99.0, -99.0]], [2, 1])
    want = {
        "nll": [4.0, 0.5],
        "mean": [2.0, 0.5],
        "maximum": [3.0, 0.5],
        "first": [1.0, 0.5],
        "entropy": [4.0, 1.0],
        "ces": [4.0 + 6.0, 1.0 + 1.0],
        "velocity": [2.0, 0.5],
    }
    for name, values in want.items():
        assert answer_score(t, name).tolist() == pytest.approx(values), name
    assert set(want) | {"innovation"} == set(SCORES)
    with pytest.raises(NotFittedError):
        answer_score(t, "innovation")
    assert t.mean_entropy.tolist() == [4.0, 1.0] and t.answers == [[1, 2], [4]]


def test_ces_is_the_mean_place_of_mean_and_maximum():
    t = trace([[-1.0, -3.0]], [2])  # entropies 2 and 6: mean 4, largest 6
    reference = torch.tensor([1.0, 3.0, 5.0, 6.0])
    assert ces(t, reference).tolist() == [(2 / 4 + 4 / 4) / 2]
    assert answer_score(t, "ces", reference).tolist() == [0.75]


def test_nan_and_emptiness_are_not_healthy():
    t = trace([[NAN, -1.0], [-1.0, NAN], [-1.0, -1.0]], [2, 1, 0])
    for name in ("nll", "mean", "maximum", "first"):
        values = answer_score(t, name)
        assert values.isnan().tolist() == [True, False, True], name
    assert answer_score(t, "velocity")[2].isnan() and ces(t, torch.ones(3))[2].isnan()
    impossible = trace([[-math.inf, -1.0]], [2])
    assert impossible.nll.item() == math.inf and impossible.maximum.item() == math.inf


def test_what_is_frozen_holds_nothing():
    t = trace([[-1.0, -3.0]], [1])
    assert t.tokens.tolist() == [[1, 0]] and t.state.tolist() == [[-1, -1]]
    for name in ("log_prob", "entropy", "velocity", "innovation", "sketch"):
        assert getattr(t, name)[0, 1].isnan().all(), name


def test_joined_traces_keep_their_rows():
    a, b = trace([[-1.0, -3.0]], [2]), trace([[-2.0], [-4.0]], [1, 0])
    both = join([a, b])
    assert both.tokens.shape == (3, 2) and both.lengths.tolist() == [2, 1, 0]
    assert both.nll[:2].tolist() == [4.0, 2.0] and both.nll[2].isnan()
    assert both.prompts == ((0,), (0,), (1,))
    back = both.rows([1, 0])
    assert back.nll.tolist() == [2.0, 4.0] and back.prompts == ((0,), (0,))
    assert str(both) == "3 answers, 3 tokens, 2 layers: not calibrated."
