"""Observations and actions become rows of numbers, or an error says what to do."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from deepdrift.errors import StateError
from deepdrift.rl.spaces import ActionCode, as_observations, observation_width

BOX = spaces.Box(-1, 1, (3,), np.float32)


@pytest.mark.parametrize(
    "space, words",
    [
        (spaces.Box(0, 255, (84, 84, 3), np.uint8), "images are not watched"),
        (spaces.Dict({"a": BOX}), "FlattenObservation"),
        (spaces.Tuple((BOX, BOX)), "FlattenObservation"),
        (spaces.Discrete(4), "FlattenObservation"),
    ],
)
def test_spaces_that_are_no_vectors_are_refused_with_a_remedy(space, words):
    with pytest.raises(StateError, match=f"observation_space: .*{words}"):
        observation_width(space)


def test_a_box_with_one_axis_has_a_width():
    assert observation_width(BOX) == 3


@pytest.mark.parametrize(
    "obs, words",
    [
        (np.zeros((84, 84, 3)), r"expected shape \(4,\), got \(84, 84, 3\); images"),
        (np.zeros(3), r"expected shape \(4,\), got \(3,\); the spaces of an environment"),
        (np.zeros((2, 4)), r"got \(2, 4\); for many environments"),
        (np.zeros((0, 4)), r"got \(0, 4\)"),
        (np.float32(1), r"got \(\); for a Discrete space"),
        ({"a": np.zeros(4)}, "got dict; for a Dict"),
        ((np.zeros(4), {}), r"got tuple.*is \(obs, info\): give obs alone"),
        (np.array(["a"] * 4), "real numbers, got dtype <U1"),
        (np.zeros(4, complex), "real numbers, got dtype complex"),
        (np.array([None] * 4), "real numbers, got dtype object"),
    ],
)
def test_observations_of_another_shape_or_kind(obs, words):
    with pytest.raises(StateError, match=f"obs: .*{words}"):
        as_observations(obs, 1, 4)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int64, bool])
def test_numbers_of_every_kind_become_float32(dtype):
    rows = as_observations(np.ones(4, dtype), 1, 4)
    assert rows.dtype == torch.float32 and rows.tolist() == [[1.0] * 4]


def test_the_rows_are_a_copy_and_nan_stays():
    obs = np.array([1.0, np.nan], np.float32)
    rows = as_observations(obs)
    obs[0] = 9.0
    assert rows[0, 0] == 1.0 and rows[0, 1].isnan()


def test_discrete_actions_are_one_hot():
    code = ActionCode.of_space(spaces.Discrete(3))
    assert code.encode(np.int64(1), 1).tolist() == [[0.0, 1.0, 0.0]]
    assert code.encode(np.array([[2], [0]]), 2).tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert ActionCode.of_space(spaces.Discrete(2, start=1)).encode(2, 1).tolist() == [[0, 0, 1]]


def test_continuous_actions_are_themselves():
    code = ActionCode.of_space(spaces.Box(-1, 1, (2,), np.float32))
    assert code.encode([0.5, -0.5], 1).tolist() == [[0.5, -0.5]]
    assert ActionCode(False, 1).encode(np.float64(0.25), 1).tolist() == [[0.25]]


@pytest.mark.parametrize(
    "space",
    [spaces.MultiDiscrete([2, 2]), spaces.Box(-1, 1, (2, 2)), spaces.Discrete(3, start=-1)],
)
def test_other_action_spaces_are_refused(space):
    with pytest.raises(StateError, match="action_space: expected Discrete"):
        ActionCode.of_space(space)


@pytest.mark.parametrize(
    "code, action, words",
    [
        (ActionCode(True, 2), 2, r"expected 0..1, got 2..2"),
        (ActionCode(True, 2), -1, r"expected 0..1, got -1..-1"),
        (ActionCode(True, 2), 0.5, "expected integers in 0..1, got float64"),
        (ActionCode(True, 2), [0, 1], "expected integers"),
        (ActionCode(False, 2), [0.0] * 3, r"expected shape \(2,\), got \(3,\)"),
        (ActionCode(False, 1), "up", r"expected shape \(1,\)"),
    ],
)
def test_actions_of_another_kind(code, action, words):
    with pytest.raises(StateError, match=f"action: {words}"):
        code.encode(action, 1)
