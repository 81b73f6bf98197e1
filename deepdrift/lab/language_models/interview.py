"""Ask a language model about capitals, and look inside while it answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from deepdrift.lab.language_models.answering import decode
from deepdrift.lab.language_models.capitals import (
    N_TOKENS,
    Country,
    ask,
    is_right,
    stop_tokens,
)
from deepdrift.lab.language_models.passes import Reading, read

__all__ = ["Interview", "interview"]


@dataclass(frozen=True, eq=False)
class Interview:
    """Questions of one template, answers, and what went on inside; N of each.

    Attributes
    ----------
    prompts, answers : list of list of int
    texts : list of str
    right : list of bool
    reading : Reading
    """

    prompts: list[list[int]]
    answers: list[list[int]]
    texts: list[str]
    right: list[bool]
    reading: Reading

    def __len__(self) -> int:
        return len(self.texts)


def interview(
    model: nn.Module,
    tokenizer: Any,
    countries: Sequence[Country],
    template: str,
    stops: Collection[int] | None = None,
    batch: int = 16,
) -> Interview:
    """Greedy answers of at most ten tokens, up to the first mark or line break.

    Parameters
    ----------
    model, tokenizer
        As `deepdrift.lab.language_models.smollm.load_smollm` gives them.
    countries : sequence of Country
    template : str
        One of `deepdrift.lab.language_models.capitals.TEMPLATES`.
    stops : collection of int, optional
        `stop_tokens` of the tokenizer, where they are known already.
    batch : int
    """
    stops = stop_tokens(tokenizer) if stops is None else stops
    prompts, places = ask(tokenizer, countries, template)
    answers = decode(model, prompts, stops, N_TOKENS, batch)
    texts = [tokenizer.decode(answer) for answer in answers]
    right = [is_right(text, country) for text, country in zip(texts, countries, strict=True)]
    return Interview(prompts, answers, texts, right, read(model, prompts, answers, places, batch))
