"""Exercise checks: right for right answers, a hint for everything else, never an error."""

from __future__ import annotations

import enum
import importlib
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepdrift import lab
from deepdrift.lab.bench.dresses import dresses
from deepdrift.lab.bench.exercise import (
    NO_NUMBER,
    Check,
    Exercise,
    UnknownExerciseError,
    between,
    near,
    percent,
    says,
)

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


class Side(enum.Enum):
    INSIDE = "inside"


class Diagnosis(NamedTuple):
    name: str
    score: float


SIXES = [
    6, 6.0, "6", " 6 steps", "6.0", "+6", "about 6.", "6,0", [6], (6.0,), [[6]], np.float32(6),
    np.array(6), np.array([[6.0]]), torch.tensor([6.0]), [torch.tensor(6)],
    torch.tensor([[6.0]], requires_grad=True),
]  # fmt: skip


@pytest.mark.parametrize("answer", SIXES, ids=str)
def test_right_answers_of_any_number_type(answer):
    assert SIX.reply(answer) == "Right: one fewer than layers."


def test_unanswered_wrong_and_well_known_wrong_answers():
    assert SIX.reply(None) == "Not answered yet: How many steps lie between 7 layers?"
    assert SIX.reply(7) == "Not yet: that is the number of layers."
    assert SIX.reply(5) == "Not yet: count the gaps."


@pytest.mark.parametrize("answer", NONSENSE, ids=lambda a: type(a).__name__)
def test_nonsense_gets_a_hint_and_never_raises(answer):
    assert SIX.reply(answer).replace(NO_NUMBER, "") == "Not yet: count the gaps."
    assert SIX.reply(answer, tries=3).startswith("Not yet: ")


def test_who_gives_no_number_is_told_so():
    for answer in ("six", "6 or 7", [], [1, 2], Hostile(), b"six"):
        assert SIX.reply(answer) == f"Not yet: {NO_NUMBER}count the gaps."
    for answer in (5, "5", [5], float("nan")):
        assert SIX.reply(answer) == "Not yet: count the gaps."


SHARE = Exercise("Which share?", near(0.78, 0.005), "so.", "look again.")
PERCENT = Exercise("How many percent?", percent(77, 79), "so.", "look again.")
MANY = Exercise("How many?", near(1000, 0), "so.", "look again.")
WORD = Exercise("Which side?", says("inside", "Cannot say"), "so.", "look again.")
PAIR = Exercise("Which two?", lambda a: [float(v) for v in a] == [2.0, 4.0], "so.", "look again.")


@pytest.mark.parametrize(
    ("exercise", "answers"),
    [
        (SHARE, [0.78, "0.78", "0,78", "0,780", "78 %", "78%", "78 percent", torch.tensor(0.78)]),
        (PERCENT, [78, "78", "78 %", "78.2 percent", np.array([78.0])]),
        (MANY, [1000, "1,000", "1000 pictures", "1,000 of them", "1e3", "1,000.0"]),
        (WORD, ["Inside", " 'inside' ", "inside.", Side.INSIDE, Diagnosis("inside", 3.0)]),
        (WORD, ["cannot  say", "CANNOT SAY!", ["inside"]]),
        (PAIR, [[2, 4], (2.0, 4.0), torch.tensor([[2.0, 4.0]]), np.array([[2], [4]]), ["2", "4"]]),
    ],
)
def test_a_right_answer_passes_in_any_dress(exercise, answers):
    for answer in answers:
        assert exercise.reply(answer) == "Right: so.", answer


def test_a_share_for_a_percentage_is_right_and_told_so():
    for answer in (0.78, "0.78", [0.78]):
        assert PERCENT.reply(answer) == "Right (as a share; in percent it is 78): so."
    assert PERCENT.reply(7.8) == PERCENT.reply("0.0078") == "Not yet: look again."


@pytest.mark.parametrize("answer", ["78", 78, "7.8 %", "78 of 100", "-0.78", "x78 y"])
def test_another_number_is_not_taken_for_the_right_one(answer):
    assert SHARE.reply(answer).startswith("Not yet")


@given(st.one_of(st.floats(allow_nan=False), st.integers(), st.text(), st.lists(st.floats())))
def test_the_answer_itself_is_the_first_dress(answer):
    assert next(dresses(answer)) is answer


def test_the_second_wrong_try_gets_a_stronger_hint(capsys):
    strong = Exercise("How many?", near(6, 0), "so.", "count.", (), "Seven minus one.")
    own = Check({"ex_09_1": strong, "ex_09_2": strong})
    for answer in (None, 5, None, 7, 6, 4):
        own.ex_09_1(answer)
    own.ex_09_2(5)
    assert capsys.readouterr().out.splitlines() == [
        "Not answered yet: How many?",
        "Not yet: count.",
        "Not answered yet: How many?",
        "Not yet: count. Seven minus one.",
        "Right: so.",
        "Not yet: count. Seven minus one.",
        "Not yet: count.",
    ]


def test_no_two_rooms_have_an_exercise_of_the_same_name():
    assert len(EXERCISES) == sum(len(table.EXERCISES) for table in TABLES.values()) >= 28
    for table in TABLES.values():
        assert len({name.split("_")[1] for name in table.EXERCISES}) == 1


@pytest.mark.parametrize("name", EXERCISES)
def test_every_exercise_of_the_table_is_complete(name, capsys):
    assert re.fullmatch(r"ex_\d\d[a-z]?_\d", name)
    exercise, check = EXERCISES[name]
    texts = [exercise.question, exercise.right, exercise.hint, exercise.strong_hint]
    texts += [hint for _, hint in exercise.special_hints]
    for text in texts:
        assert text, "every exercise has a question, a reason, a hint and a stronger hint"
        assert text.strip() == text and text[-1] in ".?!" and "\n" not in text
    for answer in [None, *NONSENSE]:
        assert getattr(check, name)(answer) is None
        printed = capsys.readouterr().out
        assert printed.startswith(("Not answered yet: ", "Not yet: ", "Right: "))
    assert exercise.reply(None).startswith("Not answered yet")
    assert exercise.reply(Hostile()).replace(NO_NUMBER, "") == f"Not yet: {exercise.hint}"


def test_a_long_reply_is_wrapped_between_words(capsys):
    words = "a reason of many words " * 12
    Check({"ex_09_1": Exercise("How many?", near(6, 0), words.strip(), "count.")}).ex_09_1(6)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and max(map(len, lines)) <= 96
    assert " ".join(" ".join(lines).split()) == f"Right: {words}".strip()


def test_check_prints_one_line_whatever_was_asked_before(capsys):
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
