"""Guess the fault: the score by hand, the rounds, and what is refused."""

from __future__ import annotations

import pytest

from deepdrift.alarms.diagnosis import diagnose_drift
from deepdrift.lab.bench.controls import ExplorerError
from deepdrift.lab.diagnosis.clinic import Case
from deepdrift.lab.diagnosis.explorer import UNDECIDED, GuessTheFault
from deepdrift.lab.diagnosis.faults import DIAGNOSES, FAULTS

PROFILES = {
    "dead_rows": [9.0, 8.0, 2.0],  # sensor failure: the doctor is right
    "weight_noise": [0.3, 9.0, 6.0],  # broken layer: right
    "blur": [0.3, 9.0, 6.0],  # sensor failure, and called a broken layer: wrong
    "nan_weight": [0.3, float("inf"), float("inf")],  # invalid numbers: right
}


def case(name):
    found = diagnose_drift(dict(zip(("stem", "body", "head"), PROFILES[name], strict=True)))
    return Case(FAULTS[name], 3, 0, None, found, found)


@pytest.fixture
def game():
    return GuessTheFault([case(name) for name in PROFILES], n_rounds=4, seed=1)


def hidden(game):
    return game._rounds[game._round]


def test_a_game_by_hand(game):
    """Say the truth, but call the blurred camera a broken layer, as the doctor does."""
    for i in range(4):
        c = hidden(game)
        game.guess("broken layer" if c.name == "blur" else c.expected)
        assert c.fault.description in game.summary() and c.diagnosis.reason in game.summary()
        if i < 3:
            game.next()
    assert game.score == (3, 3, 4)
    assert game.summary().endswith("3 of 4 right; the doctor: 3 of 4.")
    with pytest.raises(ExplorerError, match="next: all 4 rounds are played; call new_game"):
        game.next()
    assert game.next_button.disabled


def test_always_the_same_word_scores_what_it_should(game):
    for i in range(4):
        game.guess("sensor failure")
        if i < 3:
            game.next()
    assert game.score == (2, 3, 4)  # dead rows and blur


def test_nothing_is_given_away_before_the_guess(game):
    text = game.summary()
    assert text == "Round 1 of 4: which fault has this profile?"
    c = hidden(game)
    assert c.name not in text and c.expected not in text
    assert game._axes[0].get_title(loc="left") + game._axes[0].get_title() == "A hidden fault"


def test_the_controls_do_what_the_methods_do(game):
    other = GuessTheFault([case(name) for name in PROFILES], n_rounds=4, seed=1)
    game.guess("not sure").next().guess("broken layer")
    assert other.next_button.disabled
    other.choice.value = "not sure"
    assert other.choice.disabled and not other.next_button.disabled
    other.next_button.click()
    assert other.choice.value == UNDECIDED and not other.choice.disabled
    other.choice.value = "broken layer"
    assert (game.summary(), game.image.value) == (other.summary(), other.image.value)
    assert game.status.value == f"<p role='status'>{game.summary()}</p>"


def test_only_the_first_guess_counts(game):
    game.guess("not sure")
    with pytest.raises(ExplorerError, match=r"has one \(not sure\); call next"):
        game.guess(hidden(game).expected)
    game.choice.value = hidden(game).expected  # a page that ignores `disabled`
    assert game.score[0] == 0 and "you said not sure, wrong" in game.summary()


def test_the_seed_decides_the_rounds():
    cases = [case(name) for name in PROFILES]

    def order(seed):
        return [c.name for c in GuessTheFault(cases, 4, seed)._rounds]

    assert order(3) == order(3)
    assert len({tuple(order(seed)) for seed in range(8)}) > 3
    assert sorted(order(0)) == sorted(PROFILES)  # no case twice


def test_the_doctors_name_is_no_hint_in_the_list(game):
    assert game.choice.options == (UNDECIDED, *DIAGNOSES)
    assert {"dd-explorer", "dd-game"} <= set(game.view._dom_classes)


def test_a_new_game_can_start_at_any_time(game):
    """After a guess, after the last round, and by the button: other rounds, no old score."""
    order = [c.name for c in game._rounds]
    for _ in range(3):
        game.guess("not sure").next()
    game.guess("stable")
    assert game.next_button.disabled and not game.new_button.disabled
    game.new_button.click()
    assert (game.seed, game.score, game.choice.disabled) == (2, (0, 0, 0), False)
    assert game.summary() == "Round 1 of 4: which fault has this profile?"
    assert [c.name for c in game._rounds] != order
    fresh = GuessTheFault([case(name) for name in PROFILES], n_rounds=4, seed=2)
    assert (game.image.value, game.status.value) == (fresh.image.value, fresh.status.value)
    assert game.guess("stable").new_game(seed=1).guess("stable").score[2] == 1


def test_no_game_opens_with_a_profile_that_names_itself():
    cases = [case(name) for name in PROFILES]
    openings = {GuessTheFault(cases, 4, seed)._rounds[0].name for seed in range(30)}
    assert openings == PROFILES.keys() - {"nan_weight"}
    assert GuessTheFault([case("nan_weight")], 1)._rounds[0].name == "nan_weight"


def test_the_sentence_of_a_guess_that_was_not_made(game):
    """`summary(choice=...)` says what would follow, and the round stays open."""
    for _ in range(3):
        start, picture = game.values, game.image.value
        supposed = {name: game.summary(choice=name) for name in DIAGNOSES}
        assert (game.values, game.image.value, game.answered) == (start, picture, False)
        assert not game.choice.disabled and game.summary().startswith("Round ")
        assert supposed["novel class"] == game.guess("novel class").summary()
        assert "you said novel class" in game.summary(choice="stable")  # the first one counts
        game.next()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: g.guess("gremlins"), "choice: expected one of .*got 'gremlins'"),
        (lambda g: g.guess(UNDECIDED), "guess: expected one of stable, "),
        (lambda g: g.next(), "next: guess first"),
        (lambda g: GuessTheFault([case("blur")], 2), "n_rounds: expected 1 to 1, .*got 2"),
        (lambda g: GuessTheFault([], 1), "n_rounds: expected 1 to 0"),
    ],
)
def test_what_is_refused(game, call, message):
    before = game.summary()
    with pytest.raises(ExplorerError, match=message):
        call(game)
    assert game.summary() == before
