"""What counts as right, and where a country stands in its prompt."""

from __future__ import annotations

import json
import re

import pytest

from deepdrift.lab.data import shipped
from deepdrift.lab.language_models.capitals import (
    TEMPLATES,
    Country,
    ask,
    is_right,
    load_countries,
    normalise,
    prompt_of,
    stop_tokens,
)

KYIV = Country("Ukraine", "Kyiv", ("Kiev",), 40_000_000)
DUTCH = Country("Netherlands", "Amsterdam", (), 17_000_000)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (" Kyiv", True),
        ("kiev", True),
        (" KYIV\n", True),
        ("Kyiv and its people", True),
        ("the city of Kyiv", False),
        ("Kyivan", False),
        ("Lviv", False),
        ("", False),
    ],
)
def test_strict_match(answer, right):
    assert is_right(answer, KYIV) is right


def test_accents_and_dashes_do_not_matter():
    assert is_right("Yaoundé", Country("Cameroon", "Yaounde", (), 1))
    assert is_right("Port au Prince", Country("Haiti", "Port-au-Prince", (), 1))
    assert is_right("N’Djamena", Country("Chad", "N'Djamena", (), 1))


def test_prompts_have_an_article_where_english_has_one():
    assert prompt_of(DUTCH, "statement") == "The capital city of the Netherlands is called"
    assert prompt_of(DUTCH, "list") == "Country: Netherlands\nCapital:"
    assert prompt_of(KYIV, "aside") == "Every child knows the capital of Ukraine, which is"
    assert all("{country}" in template for template in TEMPLATES.values())


class Words:
    """A tokenizer of words and single marks."""

    all_special_ids = (0,)
    pieces = ["<s>", " Paris", ",", ".\n", " and", "a.b"]

    def __call__(self, text, return_offsets_mapping=False):
        spans = [m.span() for m in re.finditer(r"\s?\w+|\s|[^\w\s]", text)]
        return {"input_ids": list(range(len(spans))), "offset_mapping": spans, "text": text}

    def __len__(self):
        return len(self.pieces)

    def batch_decode(self, rows):
        return [self.pieces[i] for (i,) in rows]


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_place_is_the_countrys_last_token(template):
    burkina = Country("Burkina Faso", "Ouagadougou", (), 1)
    prompts, places = ask(Words(), [KYIV, burkina], template)
    for country, prompt, place in zip([KYIV, burkina], prompts, places, strict=True):
        coded = Words()(prompt_of(country, template))
        spans = coded["offset_mapping"]
        assert len(prompt) == len(spans)
        text = coded["text"]
        word = text[slice(*spans[place])].strip()
        assert word == country.name.split()[-1]
        assert country.name not in text[spans[place][1] :]  # the last time it is named


def test_stops_are_special_tokens_and_all_with_marks():
    assert stop_tokens(Words()) == {0, 2, 3, 5}


def test_the_shipped_countries():
    countries = load_countries()
    assert len(countries) == len({c.name for c in countries}) == 160
    populations = [c.population for c in countries]
    assert populations == sorted(populations, reverse=True)
    for c in countries:
        assert not set(normalise(c.name).split()) & set(normalise(c.capital).split())
        assert is_right(c.capital, c) and all(is_right(x, c) for x in c.also)
    capitals = {c.name: c.capital for c in countries}
    assert (capitals["Kazakhstan"], capitals["France"]) == ("Astana", "Paris")
    header = json.loads(shipped("capitals.json").read_text(encoding="utf-8"))
    assert "GeoNames" in header["source"] and "CC BY 4.0" in header["licence"]
