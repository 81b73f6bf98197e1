"""Answers to the exercises of notebook 12, right and usual wrong ones."""

import math

import pytest

from deepdrift.lab.language_models.exercises import EXERCISES

RIGHT = {
    "ex_12_1": (2.41, "2.41 nats", -math.log(0.09)),
    "ex_12_2": (64, "64 %", 0.64),
    "ex_12_3": ("no", "No.", "nothing"),
    "ex_12_4": (24, "24 people", [24]),
}
WRONG = {
    "ex_12_1": {
        0.105: "first token",
        2.303: "second token",
        1.204: "the sum",
        0.09: "natural logarithm",
        -2.408: "turn the sign",
        1.046: "base 10",
        3.474: "bits",
    },
    "ex_12_2": {36: "moves more", 50: "a coin", 14: "distance from a coin"},
    "ex_12_3": {"yes": "beside the whole answer too", "perhaps": "log-probability"},
    "ex_12_4": {160: "of these are wrong", 60: "only 40 %", 136: "right ones", 0.06: "of 400"},
}


@pytest.mark.parametrize(("name", "answer"), [(k, a) for k, row in RIGHT.items() for a in row])
def test_right_in_any_dress(name, answer):
    assert EXERCISES[name].reply(answer).startswith("Right")


@pytest.mark.parametrize(
    ("name", "answer", "words"), [(k, a, w) for k, row in WRONG.items() for a, w in row.items()]
)
def test_usual_wrong_answers_get_their_hint(name, answer, words):
    said = EXERCISES[name].reply(answer)
    assert said.startswith("Not yet") and words in said
    assert EXERCISES[name].strong_hint in EXERCISES[name].reply(answer, tries=1)


def test_nothing_is_said_before_an_answer():
    for exercise in EXERCISES.values():
        assert exercise.reply(None) == f"Not answered yet: {exercise.question}"
