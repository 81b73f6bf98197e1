"""Traces keep what they were made of."""

from __future__ import annotations

import numpy as np
import pytest

from deepdrift.lab.reinforcement_learning.keys import danger
from deepdrift.lab.reinforcement_learning.plants import LabError
from deepdrift.lab.reinforcement_learning.policies import load_policy
from deepdrift.lab.reinforcement_learning.records import load_records
from deepdrift.lab.reinforcement_learning.simulate import simulate
from deepdrift.lab.reinforcement_learning.traces import (
    LARGEST,
    TRACED,
    load_traces,
    pack,
    traces_of,
    unpack,
)


@pytest.fixture(scope="module")
def runs():
    return simulate(load_policy("cartpole"), "cartpole", range(3), "lag", 5)


@pytest.fixture(scope="module")
def traces(runs):
    scores = {k: np.full(runs.rewards.shape, 10.0**i) for i, k in enumerate(TRACED)}
    scores[TRACED[2]] = np.full(runs.rewards.shape, 1e9)
    return traces_of(runs, scores, [0, 2])


def test_a_trace_is_its_episode(runs, traces):
    assert [len(t) for t in traces] == runs.lengths[[0, 2]].tolist()
    second = traces[1]
    assert (second.fault, second.severity, second.seed) == ("lag", 5, 2)
    assert second.lost == runs.lost[2]
    np.testing.assert_array_equal(second.actions, runs.actions[2, : len(second)])
    seen = runs.observations[2, 1 : len(second) + 1]
    np.testing.assert_allclose(second.danger, danger("cartpole", seen))
    assert second.margin[-1] == pytest.approx(1 - danger("cartpole", second.states[-1]))


def test_packing_keeps_three_digits(traces):
    again = unpack("cartpole", pack(traces))
    for one, two in zip(traces, again, strict=True):
        assert (one.fault, one.seed, one.lost, one.onset) == (
            two.fault, two.seed, two.lost, two.onset,
        )  # fmt: skip
        np.testing.assert_allclose(one.states, two.states, rtol=1e-3, atol=1e-6)
        np.testing.assert_array_equal(one.actions, two.actions)
        assert two.scores[TRACED[1]][0] == 10
        assert two.scores[TRACED[2]][0] == pytest.approx(LARGEST, rel=1e-3)


def test_traces_of_two_plants_are_not_mixed():
    with pytest.raises(LabError, match="same plant"):
        pack([])


def test_the_shipped_traces_of_the_lander():
    traces = load_traces("lunarlander")
    record = load_records()["lunarlander"]
    assert {t.fault for t in traces} == set(record.faults)
    assert {t.severity for t in traces} == {1, 2, 3, 4, 5}
    for trace in traces[:20]:
        row = list(record.faults).index(trace.fault)
        same = record.lost[row, trace.severity - 1]
        assert trace.lost in same[:3]
        assert trace.states.shape == (len(trace) + 1, 8)


def test_carts_have_no_traces():
    with pytest.raises(LabError, match="no traces of 'cartpole'"):
        load_traces("cartpole")
