"""Guess the fault: the score by hand, the rounds, and what is refused."""

from __future__ import annotations

import pytest

from deepdrift.alarms.diagnosis import LayerEvidence
from deepdrift.alarms.findings import Evidence, find
from deepdrift.alarms.input_evidence import Change
from deepdrift.lab.bench.controls import ExplorerError
from deepdrift.lab.diagnosis.clinic import Case
from deepdrift.lab.diagnosis.explorer import CHOICES, UNDECIDED, GuessTheFault
from deepdrift.lab.diagnosis.faults import FAULTS

BLUR = (Change("less fine detail", -47.0, "detail"),)
FOUND = {
    "dead_rows": ([9.0, 8.0, 2.0], BLUR),  # the inputs: the doctor is right
    "weight_noise": ([0.3, 30.0, 6.0], ()),  # inside: right
    "cue_absent": ([0.3, 30.0, 6.0], ()),  # the inputs, and called inside: wrong
    "nan_weight": ([0.3, float("inf"), float("inf")], ()),  # inside: right
}


def case(name):
    drifts, inputs = FOUND[name]
    layers = [LayerEvidence(k, z) for k, z in zip(("stem", "body", "head"), drifts, strict=True)]
    found = find(Evidence(tuple(layers), 0.0, inputs))
    return Case(FAULTS[name], 3, 0, None, found, found)


@pytest.fixture
def game():
    return GuessTheFault([case(name) for name in FOUND], n_rounds=4, seed=1)


def hidden(game):
    return game._rounds[game._round]


def test_a_game_by_hand(game):
    """Say the truth, but blame the network for the missing cue, as the doctor does."""
    for i in range(4):
        c = hidden(game)
        game.guess("inside" if c.name == "cue_absent" else c.side)
        assert c.fault.description in game.summary() and str(c.found) in game.summary()
        if i < 3:
            game.next()
    assert game.score == (3, 3, 4)
    assert game.summary().endswith("3 of 4 right; the doctor: 3 of 4.")
    with pytest.raises(ExplorerError, match="next: all 4 rounds are played; call new_game"):
        game.next()
    assert game.next_button.disabled


def test_always_the_same_word_scores_what_it_should(game):
    for i in range(4):
        game.guess("inputs")
        if i < 3:
            game.next()
    assert game.score == (2, 3, 4)  # dead rows and the cue


def test_nothing_is_given_away_before_the_guess(game):
    text = game.summary()
    assert text == "Round 1 of 4: is it the inputs, the network, or nothing?"
    c = hidden(game)
    assert c.name not in text and c.fault.description not in text
    assert game._axes[0].get_title(loc="left") + game._axes[0].get_title() == "A hidden fault"


def test_the_controls_do_what_the_methods_do(game):
    other = GuessTheFault([case(name) for name in FOUND], n_rounds=4, seed=1)
    game.guess("none").next().guess("inside")
    assert other.next_button.disabled
    other.choice.value = "none"
    assert other.choice.disabled and not other.next_button.disabled
    other.next_button.click()
    assert other.choice.value == UNDECIDED and not other.choice.disabled
    other.choice.value = "inside"
    assert (game.summary(), game.image.value) == (other.summary(), other.image.value)
    assert game.status.value == f"<p role='status'>{game.summary()}</p>"


def test_only_the_first_guess_counts(game):
    game.guess("none")
    with pytest.raises(ExplorerError, match=r"has one \(none\); call next"):
        game.guess(hidden(game).side)
    game.choice.value = hidden(game).side  # a page that ignores `disabled`
    assert game.score[0] == 0 and "you said none, wrong" in game.summary()


def test_the_seed_decides_the_rounds():
    cases = [case(name) for name in FOUND]

    def order(seed):
        return [c.name for c in GuessTheFault(cases, 4, seed)._rounds]

    assert order(3) == order(3)
    assert len({tuple(order(seed)) for seed in range(8)}) > 3
    assert sorted(order(0)) == sorted(FOUND)  # no case twice


def test_the_doctors_name_is_no_hint_in_the_list(game):
    assert game.choice.options == (UNDECIDED, *CHOICES)
    assert {"dd-explorer", "dd-game"} <= set(game.view._dom_classes)


def test_a_new_game_can_start_at_any_time(game):
    """After a guess, after the last round, and by the button: other rounds, no old score."""
    order = [c.name for c in game._rounds]
    for _ in range(3):
        game.guess("none").next()
    game.guess("none")
    assert game.next_button.disabled and not game.new_button.disabled
    game.new_button.click()
    assert (game.seed, game.score, game.choice.disabled) == (2, (0, 0, 0), False)
    assert game.summary() == "Round 1 of 4: is it the inputs, the network, or nothing?"
    assert [c.name for c in game._rounds] != order
    fresh = GuessTheFault([case(name) for name in FOUND], n_rounds=4, seed=2)
    assert (game.image.value, game.status.value) == (fresh.image.value, fresh.status.value)
    assert game.guess("none").new_game(seed=1).guess("none").score[2] == 1
    game.next()  # a round without a guess: the choice does not move, the picture must
    assert "Round 2 of 4" in game.status.value
    game.new_button.click()
    assert "Round 1 of 4" in game.status.value and game.status.value.endswith("nothing?</p>")
    assert game.image.value == fresh.image.value


def test_no_game_opens_with_a_profile_that_names_itself():
    cases = [case(name) for name in FOUND]
    openings = {GuessTheFault(cases, 4, seed)._rounds[0].name for seed in range(30)}
    assert openings == FOUND.keys() - {"nan_weight"}
    assert GuessTheFault([case("nan_weight")], 1)._rounds[0].name == "nan_weight"


def test_the_sentence_of_a_guess_that_was_not_made(game):
    """`summary(choice=...)` says what would follow, and the round stays open."""
    for _ in range(3):
        start, picture = game.values, game.image.value
        supposed = {name: game.summary(choice=name) for name in CHOICES}
        assert (game.values, game.image.value, game.answered) == (start, picture, False)
        assert not game.choice.disabled and game.summary().startswith("Round ")
        assert supposed["inputs"] == game.guess("inputs").summary()
        assert "you said inputs" in game.summary(choice="none")  # the first one counts
        game.next()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: g.guess("gremlins"), "choice: expected one of .*got 'gremlins'"),
        (lambda g: g.guess(UNDECIDED), "guess: expected one of none, "),
        (lambda g: g.next(), "next: guess first"),
        (lambda g: GuessTheFault([case("cue_absent")], 2), "n_rounds: expected 1 to 1, .*got 2"),
        (lambda g: GuessTheFault([], 1), "n_rounds: expected 1 to 0"),
    ],
)
def test_what_is_refused(game, call, message):
    before = game.summary()
    with pytest.raises(ExplorerError, match=message):
        call(game)
    assert game.summary() == before
