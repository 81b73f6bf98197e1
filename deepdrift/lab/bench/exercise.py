"""Answers to the exercises: a hint when wrong, a reason when right, never an error.

A notebook writes ``answer = None`` and ``check.ex_02_1(answer)``; the cell runs as it stands and
prints a hint. What is printed depends on the answer alone, so that it can be compared.

To add an exercise, add an entry to the table in the notebook's room (``lab/<room>/exercises.py``);
its key ``ex_NN_K`` is exercise K of notebook NN.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deepdrift.errors import DeepDriftError

Test = Callable[[Any], bool]


def near(value: float, tolerance: float) -> Test:
    """Test for a number within ``tolerance`` of ``value``.

    Examples
    --------
    >>> near(0.5, 0.01)(0.505), near(0.5, 0.01)(0.52)
    (True, False)
    """
    return lambda answer: abs(float(answer) - value) <= tolerance


def between(low: float, high: float) -> Test:
    """Test for a number in ``[low, high]``.

    Examples
    --------
    >>> between(0, 1)(0.3), between(0, 1)(float("nan"))
    (True, False)
    """
    return lambda answer: low <= float(answer) <= high


def says(*words: str) -> Test:
    """Test for one of several words, whatever their case and the blanks around them.

    Examples
    --------
    >>> says("lower", "less")(" Lower "), says("lower")("higher")
    (True, False)
    """
    accepted = {word.casefold() for word in words}
    return lambda answer: isinstance(answer, str) and answer.strip().casefold() in accepted


@dataclass(frozen=True)
class Exercise:
    """One question with its test, its hints and what to learn from the right answer.

    Parameters
    ----------
    question : str
        In one sentence; printed while the answer is still None.
    test : callable
        Answer to bool. It may raise for nonsense: that counts as wrong.
    right : str
        Printed after ``Right:``; says why.
    hint : str
        Printed for a wrong answer that no special hint fits.
    special_hints : tuple of (callable, str)
        For well-known wrong answers, first match wins.

    Examples
    --------
    >>> exercise = Exercise(
    ...     question="How many steps lie between 7 layers?",
    ...     test=near(6, 0),
    ...     right="each step joins two neighbours, so there is one fewer.",
    ...     hint="count the gaps between the fingers of one hand.",
    ...     special_hints=((near(7, 0), "that is the number of layers."),),
    ... )
    >>> for answer in (None, 7, 9, "six", 6):
    ...     print(exercise.reply(answer))
    Not answered yet: How many steps lie between 7 layers?
    Not yet: that is the number of layers.
    Not yet: count the gaps between the fingers of one hand.
    Not yet: count the gaps between the fingers of one hand.
    Right: each step joins two neighbours, so there is one fewer.
    """

    question: str
    test: Test
    right: str
    hint: str
    special_hints: tuple[tuple[Test, str], ...] = ()

    def reply(self, answer: Any) -> str:
        """One line for any answer whatsoever."""
        if answer is None:
            return f"Not answered yet: {self.question}"
        if _passes(self.test, answer):
            return f"Right: {self.right}"
        for test, hint in self.special_hints:
            if _passes(test, answer):
                return f"Not yet: {hint}"
        return f"Not yet: {self.hint}"


def _passes(test: Test, answer: Any) -> bool:
    """Whether the test says yes; an answer that breaks the test has not passed it."""
    try:
        return bool(test(answer))
    except Exception:
        return False


class UnknownExerciseError(DeepDriftError, AttributeError):
    """The notebook asks for an exercise that is not in the table."""


class Check:
    """All exercises as functions: ``check.ex_00_1(answer)`` prints one line and returns None.

    Examples
    --------
    >>> coin = Exercise("Which share of coins shows heads?", near(0.5, 0), "half.", "toss one.")
    >>> check = Check({"ex_00_1": coin})
    >>> check.ex_00_1(None)
    Not answered yet: Which share of coins shows heads?
    >>> check.ex_00_1(0.5)
    Right: half.
    """

    def __init__(self, exercises: dict[str, Exercise]) -> None:
        self._exercises = exercises

    def __getattr__(self, name: str) -> Callable[[Any], None]:
        exercises = self.__dict__.get("_exercises", {})
        if name not in exercises:
            if name.startswith("ex"):
                close = difflib.get_close_matches(name, exercises, n=1)
                remedy = f"; did you mean {close[0]}?" if close else ""
                raise UnknownExerciseError(f"there is no exercise {name!r}{remedy}")
            raise AttributeError(name)
        exercise = exercises[name]

        def check_answer(answer: Any = None) -> None:
            print(exercise.reply(answer))

        check_answer.__doc__ = exercise.question
        return check_answer

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._exercises]
