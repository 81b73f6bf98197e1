"""Answers to the exercises: a hint when wrong, a reason when right, never an error.

A notebook writes ``answer = None`` and ``check.ex_02_1(answer)``; the cell runs as it stands and
prints a hint. A right answer passes in any dress (`deepdrift.lab.bench.dresses`): ``"78 %"``,
``tensor([[24.0]])``, the object that the library returned. From the second wrong try on the hint
is a stronger one.

To add an exercise, add an entry to the table in the notebook's room (``lab/<room>/exercises.py``);
its key ``ex_NN_K`` is exercise K of notebook NN.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deepdrift.errors import DeepDriftError
from deepdrift.lab.bench.dresses import as_number, as_words, dresses

Test = Callable[[Any], bool | str]
LINE = 96  # characters; longer lines wrap inside words on a small screen
NO_NUMBER = "(give a number, in digits) "


def _of_number(test: Test) -> Test:
    """Mark a test that only a number can pass."""
    test.wants_number = True  # type: ignore[attr-defined]
    return test


def near(value: float, tolerance: float) -> Test:
    """Test for a number within ``tolerance`` of ``value``.

    Examples
    --------
    >>> near(0.5, 0.01)(0.505), near(0.5, 0.01)(0.52)
    (True, False)
    """
    return _of_number(lambda answer: abs(float(answer) - value) <= tolerance)


def between(low: float, high: float) -> Test:
    """Test for a number in ``[low, high]``.

    Examples
    --------
    >>> between(0, 1)(0.3), between(0, 1)(float("nan"))
    (True, False)
    """
    return _of_number(lambda answer: low <= float(answer) <= high)


def percent(low: float, high: float) -> Test:
    """Test for a percentage in ``[low, high]``; the share is as good, and is told so.

    A share passes only where no percentage can be meant: ``high`` is at most 100 times it.

    Examples
    --------
    >>> percent(17, 20)(18), percent(17, 20)(0.18), percent(17, 20)(1.8)
    (True, 'as a share; in percent it is 18', False)
    """

    def test(answer: Any) -> bool | str:
        value = float(answer)
        if low <= value <= high:
            return True
        if low <= 100 * value <= high:
            return f"as a share; in percent it is {100 * value:.3g}"
        return False

    return _of_number(test)


def says(*words: str) -> Test:
    """Test for one of several words, whatever their case and the blanks around them.

    Examples
    --------
    >>> says("lower", "less")(" Lower. "), says("lower")("higher")
    (True, False)
    """
    accepted = {as_words(word) for word in words}
    return lambda answer: isinstance(answer, str) and as_words(answer) in accepted


@dataclass(frozen=True)
class Exercise:
    """One question with its test, its hints and what to learn from the right answer.

    Parameters
    ----------
    question : str
        In one sentence; printed while the answer is still None.
    test : callable
        Answer to bool, or to words that say how a right answer differs from what was asked. It
        may raise for nonsense: that counts as wrong.
    right : str
        Printed after ``Right:``; says why.
    hint : str
        Printed for a wrong answer that no special hint fits.
    special_hints : tuple of (callable, str)
        For well-known wrong answers, first match wins.
    strong_hint : str
        Printed after the hint from the second wrong try on.

    Examples
    --------
    >>> exercise = Exercise(
    ...     question="How many steps lie between 7 layers?",
    ...     test=near(6, 0),
    ...     right="each step joins two neighbours, so there is one fewer.",
    ...     hint="count the gaps between the fingers of one hand.",
    ...     special_hints=((near(7, 0), "that is the number of layers."),),
    ...     strong_hint="Two layers have one step, three have two.",
    ... )
    >>> for answer in (None, 7, 9, "six", "6 steps"):
    ...     print(exercise.reply(answer))
    Not answered yet: How many steps lie between 7 layers?
    Not yet: that is the number of layers.
    Not yet: count the gaps between the fingers of one hand.
    Not yet: (give a number, in digits) count the gaps between the fingers of one hand.
    Right: each step joins two neighbours, so there is one fewer.
    >>> print(exercise.reply(7, tries=1))
    Not yet: that is the number of layers. Two layers have one step, three have two.
    """

    question: str
    test: Test
    right: str
    hint: str
    special_hints: tuple[tuple[Test, str], ...] = ()
    strong_hint: str = ""

    def reply(self, answer: Any, tries: int = 0) -> str:
        """One line for any answer whatsoever, after so many wrong tries."""
        if answer is None:
            return f"Not answered yet: {self.question}"
        passed = _passes(self.test, answer)
        if passed:
            how = f" ({passed})" if isinstance(passed, str) else ""
            return f"Right{how}: {self.right}"
        hint = next((hint for test, hint in self.special_hints if _passes(test, answer)), None)
        if hint is None:
            wants_number = getattr(self.test, "wants_number", False)
            lost = wants_number and as_number(answer) is None
            hint = f"{NO_NUMBER}{self.hint}" if lost else self.hint
        return f"Not yet: {hint} {self.strong_hint if tries else ''}".rstrip()

    def is_right(self, answer: Any) -> bool:
        """Whether an answer passes, in some dress."""
        return answer is not None and bool(_passes(self.test, answer))


def _passes(test: Test, answer: Any) -> bool | str:
    """What the test says to the first dress that it likes; one that breaks it has not passed."""
    for dress in dresses(answer):
        try:
            found = test(dress)
            if found if isinstance(found, str) else bool(found):
                return found if isinstance(found, str) else True
        except Exception:  # noqa: S112 (any answer whatsoever is answered)
            continue
    return False


class UnknownExerciseError(DeepDriftError, AttributeError):
    """The notebook asks for an exercise that is not in the table."""


class Check:
    """All exercises as functions: ``check.ex_00_1(answer)`` prints a reply and returns None.

    It counts wrong tries; from the second on the stronger hint is printed too.

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
        self._wrong: dict[str, int] = {}  # tries by exercise

    def __getattr__(self, name: str) -> Callable[[Any], None]:
        exercises = self.__dict__.get("_exercises", {})
        if name not in exercises:
            if name.startswith("ex"):
                close = difflib.get_close_matches(name, exercises, n=1)
                remedy = f"; did you mean {close[0]}?" if close else ""
                raise UnknownExerciseError(f"there is no exercise {name!r}{remedy}")
            raise AttributeError(name)
        exercise, wrong = exercises[name], self._wrong

        def check_answer(answer: Any = None) -> None:
            reply = exercise.reply(answer, wrong.get(name, 0))
            print(textwrap.fill(reply, LINE, subsequent_indent="    ", break_on_hyphens=False))
            if answer is not None and not exercise.is_right(answer):
                wrong[name] = wrong.get(name, 0) + 1

        check_answer.__doc__ = exercise.question
        return check_answer

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._exercises]
