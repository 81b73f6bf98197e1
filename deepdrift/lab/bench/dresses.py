"""One answer in the dresses it may come in: ``[24]``, ``"24 pictures"`` and 24 say the same."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

NUMBER = re.compile(r"(?<![\w.,])[+-]?(?:\d[\d.,]*|\.\d+)(?:[eE][+-]?\d+)?(?!\w)")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")


def dresses(answer: Any) -> Iterator[Any]:
    """An answer as given, then what it plainly means.

    - one number in a tensor, an array, a list: the number; larger tensors and arrays without
      their axes of length one, as lists;
    - a text with one number in it: the number, and with a percent sign also its share;
    - an object with a name (an Enum, a diagnosis): the name.

    Examples
    --------
    >>> list(dresses("2.5 %"))
    ['2.5 %', 2.5, 0.025]
    >>> list(dresses([torch.tensor([24.0])]))
    [[tensor([24.])], 24.0]
    >>> list(dresses(np.array([[2.0, 4.0]])))[1:]
    [[2.0, 4.0]]
    """
    yield answer.detach() if isinstance(answer, torch.Tensor) else answer
    try:
        yield from _meanings(answer)
    except Exception:  # an object may raise whatever is done with it
        return


def _meanings(answer: Any) -> Iterator[Any]:
    if isinstance(answer, enum.Enum):
        yield from (answer.name, answer.value)
    elif isinstance(answer, torch.Tensor | np.ndarray):
        values = answer.detach().cpu().numpy() if isinstance(answer, torch.Tensor) else answer
        yield values.squeeze().tolist()
    elif isinstance(getattr(answer, "name", None), str):
        yield answer.name
    elif isinstance(answer, list | tuple) and len(answer) == 1:
        yield from list(dresses(answer[0]))[-1:]
    elif isinstance(answer, list | tuple):
        yield [list(dresses(part))[-1] for part in answer]
    elif isinstance(answer, str):
        found = NUMBER.findall(answer)
        if len(found) == 1:
            value = _read(found[0])
            yield value
            if "%" in answer or "percent" in answer.casefold():
                yield value / 100


def _read(text: str) -> float:
    """A number as people write it: ``1,000`` is a thousand, ``0,5`` a half."""
    text = text.rstrip(".,")
    if THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    return float(text.replace(",", "."))


def as_number(answer: Any) -> float | None:
    """The number that an answer is in one of its dresses, or None.

    Examples
    --------
    >>> as_number("about 1,000 pictures"), as_number([0.5]), as_number("six")
    (1000.0, 0.5, None)
    """
    for dress in dresses(answer):
        try:
            return float(dress)
        except Exception:  # noqa: S112 (what is no number is the next dress)
            continue
    return None


def as_words(text: str) -> str:
    """Words as they are compared: no case, no blanks, quotes and full stops around them.

    Examples
    --------
    >>> as_words("  Cannot   say. ")
    'cannot say'
    """
    return " ".join(text.casefold().split()).strip(" .!\"'`")
