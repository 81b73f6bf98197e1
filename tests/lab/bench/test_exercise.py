"""Exercise checks: right for right answers, a hint for everything else, never an error."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepdrift import lab
from deepdrift.lab.bench.exercise import Check, Exercise, UnknownExerciseError, between, near, says

ROOMS = sorted(p.parent.name for p in Path(lab.__file__).parent.glob("*/exercises.py"))
TABLES = {room: importlib.import_module(f"deepdrift.lab.{room}.exercises") for room in ROOMS}
EXERCISES = {
    name: (exercise, table.check)
    for table in TABLES.values()
    for name, exercise in table.EXERCISES.items()
}

SIX = Exercise(
    question="How many steps lie between 7 layers?",
    test=near(6, 0),
    right="one fewer than layers.",
    hint="count the gaps.",
    special_hints=((near(7, 0), "that is the number of layers."),),
)


class Hostile:
    """Raises whatever is done with it."""

    def __float__(self):
        raise RuntimeError("no")

    __eq__ = __bool__ = __str__ = __len__ = __hash__ = __float__


NONSENSE = [
    "six", "", [], [1, 2], {}, object(), Hostile(), print, float("nan"), float("inf"), 1j,
    np.arange(3), torch.zeros(2, 2), torch.tensor([]), b"six", type, NotImplemented, 10**400,
]  # fmt: skip


@pytest.mark.parametrize("answer", [6, 6.0, "6", np.float32(6), np.array(6), torch.tensor([6.0])])
def test_right_answers_of_any_number_type(answer):
    assert SIX.reply(answer) == "Right: one fewer than layers."


def test_unanswered_wrong_and_well_known_wrong_answers():
    assert SIX.reply(None) == "Not answered yet: How many steps lie between 7 layers?"
    assert SIX.reply(7) == "Not yet: that is the number of layers."
    assert SIX.reply(5) == "Not yet: count the gaps."


@pytest.mark.parametrize("answer", NONSENSE, ids=lambda a: type(a).__name__)
def test_nonsense_gets_a_hint_and_never_raises(answer):
    assert SIX.reply(answer) == "Not yet: count the gaps."


def test_no_two_rooms_have_an_exercise_of_the_same_name():
    assert len(EXERCISES) == sum(len(table.EXERCISES) for table in TABLES.values()) == 28
    assert all(len({name[3:5] for name in table.EXERCISES}) == 1 for table in TABLES.values())


@pytest.mark.parametrize("name", EXERCISES)
def test_every_exercise_of_the_table_is_complete(name, capsys):
    assert re.fullmatch(r"ex_\d\d_\d", name)
    exercise, check = EXERCISES[name]
    texts = [exercise.question, exercise.right, exercise.hint]
    texts += [hint for _, hint in exercise.special_hints]
    for text in texts:
        assert text.strip() == text and text[-1] in ".?!" and "\n" not in text
    for answer in [None, *NONSENSE]:
        assert getattr(check, name)(answer) is None
        printed = capsys.readouterr().out
        assert printed.startswith(("Not answered yet: ", "Not yet: ", "Right: "))
    assert exercise.reply(None).startswith("Not answered yet")
    assert exercise.reply(Hostile()) == f"Not yet: {exercise.hint}"


def test_check_prints_one_line_that_depends_on_the_answer_alone(capsys):
    own = Check({"ex_09_1": SIX})
    for _ in range(3):
        own.ex_09_1(7)
    assert capsys.readouterr().out == "Not yet: that is the number of layers.\n" * 3
    own.ex_09_1()
    assert capsys.readouterr().out.startswith("Not answered yet")


def test_names_are_listed_and_a_typing_error_is_answered():
    own = Check({"ex_09_1": SIX, "ex_10_2": SIX})
    assert {"ex_09_1", "ex_10_2"} <= set(dir(own))
    assert own.ex_09_1.__doc__ == SIX.question
    with pytest.raises(UnknownExerciseError, match="'ex_9_1'; did you mean ex_09_1?"):
        own.ex_9_1  # noqa: B018
    assert not hasattr(own, "_ipython_display_"), "Jupyter probes objects for such names"


@given(st.floats(-10, 10), st.floats(0, 3), st.floats(allow_nan=True))
def test_near_is_a_closed_interval(value, tolerance, answer):
    assert near(value, tolerance)(answer) == (abs(answer - value) <= tolerance)


def test_between_and_says_at_their_edges():
    assert between(0, 1)(0) and between(0, 1)(1) and not between(0, 1)(1.001)
    assert says("Lower")(" lower\n") and not says("lower")("low") and not says("6")(6)
