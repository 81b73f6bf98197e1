"""Exercises of notebook 05: the right answers pass, the usual wrong ones get their own hint."""

import pytest

from deepdrift.alarms.diagnosis import diagnose_drift
from deepdrift.lab.diagnosis.clinic import five_rules
from deepdrift.lab.diagnosis.exercises import EXERCISES


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("ex_05_1", diagnose_drift([0.2, 0.4, 5.0, 10.0]).name),
        ("ex_05_2", 25),
        ("ex_05_3", [4.0, 1.0, 1.0, 50.0, 2.0]),
        ("ex_05_3", (5, 20, 1, 1, -1)),
    ],
)
def test_right_answers(key, answer):
    assert EXERCISES[key].reply(answer).startswith("Right:")


@pytest.mark.parametrize("profile", [[4.0, 1.0, 1.0, 50.0, 2.0], [5, 20, 1, 1, -1]])
def test_what_passes_fools_the_five_rules(profile):
    assert five_rules(profile) == "sensor failure"
    assert diagnose_drift(profile).name == "novel class"


@pytest.mark.parametrize(
    ("key", "answer", "hint"),
    [
        ("ex_05_1", "broken layer", "this is 0.5"),
        ("ex_05_1", "novel class", "first layer"),
        ("ex_05_1", "avalanche", "divide it by the peak"),
        ("ex_05_2", 0.625, "number of runs"),
        ("ex_05_2", 62.5, "in percent"),
        ("ex_05_2", 40, "c.expected"),
        ("ex_05_3", [4, 1, 1, 2], "five drifts"),
        ("ex_05_3", [4.0, 1.0, 1.0, 5.0, 2.0], "twice the first"),
        ("ex_05_3", [1.0, 1.0, 1.0, 50.0, 2.0], "where do the rules not look"),
        ("ex_05_3", "high", "five drifts"),
    ],
)
def test_wrong_answers_get_a_hint(key, answer, hint):
    reply = EXERCISES[key].reply(answer)
    assert reply.startswith("Not yet:") and hint in reply
