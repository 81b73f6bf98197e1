"""Questions about capitals: five templates, and what counts as right."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deepdrift.lab.data import shipped

__all__ = [
    "N_TOKENS",
    "TEMPLATES",
    "Country",
    "ask",
    "is_right",
    "load_countries",
    "normalise",
    "prompt_of",
    "stop_tokens",
]

TEMPLATES: dict[str, str] = {
    "chat": "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
    "Face<|im_end|>\n<|im_start|>user\nWhat is the capital of {country}?<|im_end|>\n"
    "<|im_start|>assistant\nThe capital of {country} is",
    "question": "Question: What is the capital of {country}?\nAnswer: The capital is",
    "statement": "The capital city of {country} is called",
    "list": "Country: {country}\nCapital:",
    "aside": "Every child knows the capital of {country}, which is",
}
N_TOKENS = 10
_ARTICLE = (
    "Bahamas, Central African Republic, Comoros, Czech Republic, Democratic Republic of the Congo, "
    "Dominican Republic, Gambia, Maldives, Marshall Islands, Netherlands, Philippines, Republic of "
    "the Congo, Seychelles, Solomon Islands, United Arab Emirates, United Kingdom, United States"
).split(", ")


@dataclass(frozen=True)
class Country:
    """A country, its capital, other accepted spellings of it, and how many people live there."""

    name: str
    capital: str
    also: tuple[str, ...]
    population: int

    @property
    def in_a_sentence(self) -> str:
        """With "the" where English has it."""
        return f"the {self.name}" if self.name in _ARTICLE else self.name


def load_countries(path: str | Path | None = None) -> list[Country]:
    """The shipped countries, by population, largest first."""
    text = Path(path or shipped("capitals.json")).read_text(encoding="utf-8")
    rows = json.loads(text)["countries"]
    return [Country(r["name"], r["capital"], tuple(r["also"]), r["population"]) for r in rows]


def normalise(text: str) -> str:
    """Small letters and digits without accents, one blank between words.

    Examples
    --------
    >>> normalise(" N'Djamena "), normalise("Port-au-Prince"), normalise("Yaoundé")
    ('ndjamena', 'port au prince', 'yaounde')
    """
    plain = unicodedata.normalize("NFKD", text.lower().replace("'", "").replace("’", ""))
    kept = (c if c.isalnum() else " " for c in plain if not unicodedata.combining(c))
    return " ".join("".join(kept).split())


def is_right(answer: str, country: Country) -> bool:
    """Whether an answer begins with the capital, whole words: the strict match.

    Examples
    --------
    >>> france = Country("France", "Paris", (), 67_000_000)
    >>> [is_right(x, france) for x in (" Paris", "paris and", "the city of Paris", "Parish")]
    [True, True, False, False]
    """
    said = normalise(answer) + " "
    return any(said.startswith(normalise(name) + " ") for name in (country.capital, *country.also))


def prompt_of(country: Country, template: str) -> str:
    """A question in words, with the special tokens of a chat where the template has them."""
    name = country.name if template == "list" else country.in_a_sentence
    return TEMPLATES[template].format(country=name)


def ask(
    tokenizer: Any, countries: Sequence[Country], template: str
) -> tuple[list[list[int]], list[int]]:
    """Token ids of a template's prompts, and the place of the country's last token in each.

    The country as it is named last, for the chat names it twice.
    """
    prompts, places = [], []
    for country in countries:
        text = prompt_of(country, template)
        end = text.rindex(country.name) + len(country.name)
        coded = tokenizer(text, return_offsets_mapping=True)
        starts = torch.tensor([a for a, _ in coded["offset_mapping"]])
        prompts.append(list(coded["input_ids"]))
        places.append(int((starts < end).sum()) - 1)
    return prompts, places


def stop_tokens(tokenizer: Any, marks: Collection[str] = ".,;:!?(\n") -> set[int]:
    """Tokens that end an answer: special ones, and all that contain a mark or a line break."""
    stops = set(tokenizer.all_special_ids)
    pieces = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    return stops | {i for i, piece in enumerate(pieces) if any(m in piece for m in marks)}
