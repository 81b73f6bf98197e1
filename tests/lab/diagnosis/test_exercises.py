"""Exercises of notebook 05: the right answers pass, the usual wrong ones get their own hint."""

import pytest
import torch

from deepdrift.alarms.diagnosis import LayerEvidence
from deepdrift.alarms.findings import Evidence, find
from deepdrift.alarms.input_evidence import Change
from deepdrift.lab.diagnosis.exercises import EXERCISES


def evidence(*drifts, inputs=()):
    layers = tuple(LayerEvidence(f"layer {i}", z) for i, z in enumerate(drifts))
    return Evidence(layers, inputs=inputs)


BROKEN = evidence(0.0, 30.0, 9.0)
SPOILT = evidence(0.0, 30.0, 9.0, inputs=(Change("darker", -9.0, "light"),))


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("ex_05_1", find(evidence(0.2, 0.4, 6.0, 10.0)).side),
        ("ex_05_1", find(evidence(0.2, 0.4, 6.0, 10.0))),
        ("ex_05_1", " Cannot say. "),
        ("ex_05_2", 16),
        ("ex_05_2", "17 faults"),
        ("ex_05_2", torch.tensor([17])),
        ("ex_05_3", find(BROKEN, SPOILT)),
    ],
)
def test_right_answers(key, answer):
    assert EXERCISES[key].reply(answer).startswith("Right:")


@pytest.mark.parametrize(
    ("key", "answer", "hint"),
    [
        ("ex_05_1", "inside", "15 or more"),
        ("ex_05_1", "inputs", "beyond 4"),
        ("ex_05_1", "none", "is enough"),
        ("ex_05_1", "avalanche", "from the top"),
        ("ex_05_1", find(BROKEN), "15 or more"),
        ("ex_05_2", "many", "give a number"),
        ("ex_05_2", 0.64, "number of faults"),
        ("ex_05_2", 12, "use c.probed"),
        ("ex_05_2", 25, "c.probed.side"),
        ("ex_05_3", find(BROKEN, BROKEN), "spoil its images"),
        ("ex_05_3", find(evidence(0.0, 6.0, 9.0)), "without a probe"),
        ("ex_05_3", find(BROKEN), "spoil its images"),
        ("ex_05_3", "a blurred one", "images are changed"),
    ],
)
def test_wrong_answers_get_a_hint(key, answer, hint):
    reply = EXERCISES[key].reply(answer)
    assert reply.startswith("Not yet:") and hint in reply


@pytest.mark.parametrize("key", EXERCISES)
def test_the_second_wrong_try_gets_a_stronger_hint(key):
    first, second = (EXERCISES[key].reply("a guess", tries) for tries in (0, 1))
    assert second == f"{first} {EXERCISES[key].strong_hint}" and second != first
