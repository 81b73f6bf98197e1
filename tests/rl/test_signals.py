"""Scores of a step against numbers on paper and against the package's own predictors."""

import numpy as np
import pytest
import torch

from deepdrift.errors import NotFittedError, StateError
from deepdrift.rl.signals import SCORES, StepScore, blend, ewma, peak_norm
from deepdrift.scores.distance import LayerDistance
from deepdrift.scores.velocity import temporal_acceleration, temporal_velocity

G = torch.Generator().manual_seed(0)
TRACE = torch.randn(50, 5, generator=G)
ACTIONS = torch.eye(2)[torch.randint(0, 2, (49,), generator=G)]
COUNT = np.arange(1, 50)


def series(step, trace=TRACE, actions=ACTIONS):
    before, now = trace[:-1], trace[1:]
    return step.score(torch.cat([trace[:1], before[:-1]]), before, actions, now, COUNT)


def fitted(name):
    return StepScore(name, [2, 3]).partial_fit(TRACE[:-1], ACTIONS, TRACE[1:])


def test_velocity_is_that_of_the_layer_that_moves_most():
    expected = [temporal_velocity(TRACE[:, part]) for part in (slice(0, 2), slice(2, 5))]
    np.testing.assert_allclose(
        series(StepScore("velocity", [2, 3])), torch.maximum(*expected).numpy(), rtol=1e-5
    )


def test_acceleration_starts_with_the_third_state():
    found = series(StepScore("acceleration", [5]))
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], temporal_acceleration(TRACE).numpy(), rtol=1e-5)


def test_distance_is_that_of_the_newest_state():
    expected = LayerDistance().fit({"z": TRACE[1:]}).score({"z": TRACE[1:]})[:, 0]
    np.testing.assert_allclose(series(fitted("distance")), expected, rtol=1e-6)


def test_innovation_knows_the_action():
    """x' = x + 2 a - 1 without noise but a little: the same step under the other action is odd."""
    g = torch.Generator().manual_seed(1)
    actions = torch.eye(2)[torch.randint(0, 2, (4000,), generator=g)]
    x = torch.randn(4000, 1, generator=g)
    y = x + actions[:, 1:] * 2 - 1 + 0.1 * torch.randn(4000, 1, generator=g)
    step = StepScore("innovation", [1]).partial_fit(x, actions, y)
    zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    count = np.array([1])
    right = step.score(zero, zero, torch.tensor([[0.0, 1.0]]), one, count)
    wrong = step.score(zero, zero, torch.tensor([[1.0, 0.0]]), one, count)
    assert right < 0.1 and 350 < wrong < 450  # an error of 2 at a deviation of 0.1: 400


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_infinitely_unusual(name, value):
    trace = TRACE.clone()
    trace[10, 3] = value
    found = series(fitted(name), trace)
    reach = {"velocity": 2, "innovation": 2, "acceleration": 3, "distance": 1}[name]
    assert np.isposinf(found).nonzero()[0].tolist() == list(range(9, 9 + reach))


def test_an_action_that_is_not_finite_spoils_the_step_it_leads_to():
    actions = ACTIONS.clone()
    actions[4] = torch.nan
    assert np.isposinf(series(fitted("innovation"), TRACE, actions)).nonzero()[0].tolist() == [4]


@pytest.mark.parametrize("name", SCORES)
def test_a_first_observation_has_no_score_unless_it_is_broken(name):
    step, nothing, none = fitted(name), torch.zeros(1, 5), np.array([0])
    assert np.isnan(step.score(nothing, nothing, None, TRACE[:1], none))
    assert np.isposinf(step.score(nothing, nothing, None, TRACE[:1] * torch.nan, none))


def test_unknown_and_unfitted_scores():
    with pytest.raises(StateError, match="score: expected one of innovation, velocity"):
        StepScore("speed", [1])
    for name in ("innovation", "distance"):
        with pytest.raises(NotFittedError, match="needs calibrate"):
            series(StepScore(name, [5]))


@pytest.mark.parametrize("weight", [1.0, 0.5, 0.1])
def test_the_running_mean_is_the_same_step_by_step(weight):
    scores = np.array([np.nan, 2.0, np.inf, 4.0, -1.0])
    mean, live = np.array([np.nan]), []
    for score in scores:
        mean = blend(mean, np.array([score]), weight)
        live.append(mean[0] if np.isfinite(score) else score)
    np.testing.assert_allclose(ewma(scores, weight), live)


def test_peak_norm_of_layers_of_any_width():
    steps = torch.tensor([[3.0, 4.0, 0.0, 6.0], [1.0, 0.0, 0.0, 0.5]])
    assert peak_norm(steps, [2, 1, 1]).tolist() == [6.0, 1.0]
    assert peak_norm(steps[:, :2], [2]).tolist() == [5.0, 1.0]
