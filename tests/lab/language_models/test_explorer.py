"""The two explorers of notebook 12: sentences that are the records' numbers, and pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepdrift.lab.bench.controls import ExplorerError
from deepdrift.lab.language_models.explorer import ALL, CoverageExplorer, Microscope, block_means
from deepdrift.lab.language_models.microscope import ANSWERS, Slide
from deepdrift.lab.language_models.promises import answer_most_certain

L = 30


def slide(country, answer, level):
    velocity = np.full((4, L), float(level))
    velocity[0] = np.nan
    rest = velocity - 2.0
    rest[2] = np.nan
    pieces = ("The", " capital", " is", f" {country[:3]}")
    return Slide(country, answer, pieces, 2 if answer == "right" else 3, velocity, rest)


@pytest.fixture
def scope():
    slides = [
        slide(c, a, k + 1 + 10 * i) for i, c in enumerate(("Kenya", "Peru"))
        for k, a in enumerate(ANSWERS)
    ]  # fmt: skip
    return Microscope(slides, np.full(L, 10.0), start="Peru")


def test_the_microscope_opens_at_its_start_and_says_velocity_in_units_of_the_block(scope):
    assert scope.summary() == (
        "Peru, own answer: at “Per” block 30 moves 1.10 times its mean, +0.90 beside the token's "
        "own mean."
    )
    assert scope.velocity(country="Kenya", answer="another country's") == (0.3, 0.1)
    assert scope.values["country"] == "Peru"


def test_a_token_that_the_run_does_not_contain_has_no_unexplained_part(scope):
    said = scope.summary(country="Kenya", answer="right")
    assert said == "Kenya, right answer: at “is” block 30 moves 0.20 times its mean."


def test_the_picture_follows_the_answer(scope):
    before = bytes(scope.image.value)
    scope.set(answer="another country's")
    assert bytes(scope.image.value) != before
    bold = [line for line in scope._axes[1].lines if line.get_linewidth() == 3.5]
    assert len(bold) == 1 and bold[0].get_ydata()[0] == 1.3  # 13 in units of 10
    scope.set(answer="own")
    assert bytes(scope.image.value) == before


def test_one_bar_says_what_the_colours_are_however_often_the_picture_changes(scope):
    for unexplained, ends in ((True, (-0.6, 0.6)), (False, (0.4, 1.6))):
        scope.set(unexplained=unexplained)
        (bar,) = scope._axes[0].child_axes
        assert bar.get_ylim() == ends and not scope._axes[1].child_axes


@pytest.mark.parametrize("bad", [[], [slide("Kenya", "own", 1)]])
def test_slides_that_lack_an_answer_are_refused(bad):
    with pytest.raises(ExplorerError, match="three answers for each country"):
        Microscope(bad, np.ones(L))


def test_a_start_that_is_not_there_is_refused(scope):
    with pytest.raises(ExplorerError, match="expected one of Kenya, Peru, got 'Mars'"):
        Microscope(list(scope._slides.values()), np.ones(L), start="Mars")


def test_block_means_weigh_tokens_by_how_often_they_stand():
    from types import SimpleNamespace

    other = {
        "seen_counts": np.array([1, 3], dtype=np.uint16),
        "seen_velocity": np.array([[1.0, 0.0], [5.0, 4.0]], dtype=np.float16),
    }
    assert block_means(SimpleNamespace(other=other)).tolist() == [4.0, 3.0]


# ---- coverage ----


def test_coverage_counts_every_held_out_answer_once(made):
    app = CoverageExplorer(made)
    for answered in (1, 40, 100):
        n = app.counts(answered=answered)
        assert sum(n.values()) == app.coverage().rows.sum() == len(made) / 2
        given = n["right, given"] + n["wrong, given"]
        assert app.coverage(answered=answered).share == pytest.approx(given * 2 / len(made))


def test_all_answered_loses_nobody_and_catches_almost_nobody(made):
    """Thresholds are the largest score of the other countries: a few lie above."""
    n = CoverageExplorer(made).counts(answered=100)
    assert n["right, lost"] + n["wrong, caught"] < 20


def test_the_sentence_is_the_library_s(made):
    app = CoverageExplorer(made)
    expected = answer_most_certain(made, 0.3, "first", "list")
    said = app.summary(answered=30, score="first", template="list")
    assert said.startswith(
        f"first, list template: {expected.share:.0%} of the held-out questions are answered, "
        f"{expected.risk.value:.0%} ["
    )
    assert f"promised {expected.promised:.0%}; " in said
    assert app.values == {"answered": 40, "score": "nll", "template": ALL}


def test_the_better_score_catches_more(made):
    app = CoverageExplorer(made)
    assert app.counts(score="nll")["wrong, given"] < app.counts(score="ces")["wrong, given"]


def test_surest_errors_are_named_surest_first(made):
    app = CoverageExplorer(made)
    errors = app.coverage().errors(made)
    words = " ".join(t.get_text() for t in app._axes[1].texts)
    assert errors and errors[0].split(":")[0] in words
    assert "surest errors" in words


def test_without_errors_none_are_named(made):
    right = replace(made, right=np.ones(len(made), dtype=bool))
    app = CoverageExplorer(right)
    assert app.counts()["wrong, given"] == 0
    assert "none" in [t.get_text() for t in app._axes[1].texts]
    assert "0% [0%, 0%] of these wrong" in app.summary()
