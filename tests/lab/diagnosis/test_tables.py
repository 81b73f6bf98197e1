"""Tables of answers, places and a scripted game, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from deepdrift.alarms.input_evidence import Change
from deepdrift.lab.bench import figures as base
from deepdrift.lab.bench.controls import ExplorerError
from deepdrift.lab.diagnosis import figures, tables
from deepdrift.lab.diagnosis.clinic import Case
from deepdrift.lab.diagnosis.explorer import GuessTheFault
from deepdrift.lab.diagnosis.faults import FAULTS

PICTURES = (np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32))


def case(name, drifts, layer=None, *changes):
    found = tables.by_hand(drifts, *changes)
    shown = PICTURES if FAULTS[name].target == "images" else None
    return Case(FAULTS[name], 4, 0, layer, found, found, shown)


CASES = [
    case("blur", [9, 8, 2], None, Change("less fine detail", -47.0, "detail")),
    case("weight_noise", [0, 30, 6], "layer 1"),
    case("quantised_block", [0, 6, 9], "layer 1"),
    case("mantissa_flips", [0, 1, 0], "layer 1"),
]
DOCTORS = {"batch alone": lambda c: c.found.side, "coin": lambda c: "inputs"}


def test_the_table_of_answers():
    table = tables.tally_table(CASES, DOCTORS)
    lines = [line.split() for line in table.splitlines()]
    assert lines[1] == ["batch", "alone", "2", "1", "1", "0"]
    assert lines[2] == ["coin", "1", "0", "0", "3"]
    assert max(map(len, table.splitlines())) <= 100


def test_shares_and_places():
    shares = tables.right_by_side(CASES, DOCTORS)
    assert shares["inputs"]["coin"].value == 1 and shares["inside"]["coin"].value == 0
    assert shares["inside"]["batch alone"].value == pytest.approx(1 / 3)
    lines = [line.split() for line in tables.shares_table(shares).splitlines()]
    assert lines[0] == ["inputs", "inside"]
    assert lines[1][:4] == ["batch", "alone", "100", "%"] and lines[2][0:3] == ["coin", "100", "%"]
    assert tables.located(CASES, ["layer 0", "layer 1", "layer 2"]) == (2, 1, 2)


def test_told_keeps_its_lines_short():
    text = tables.told("word " * 60, "a name")
    assert text.startswith("a name: word") and max(map(len, text.splitlines())) <= 96


def test_a_game_by_script_says_every_round():
    game = GuessTheFault(CASES, n_rounds=4, seed=0)
    with pytest.raises(ExplorerError, match="hidden until its guess"):
        _ = game.shown
    lines = tables.play(game, lambda drifts: "inside" if drifts[0] < 4 else "inputs").splitlines()
    assert len(lines) == 6 and lines[-1] == "right: the player 4 of 4, the doctor 2 of 4"
    assert game.score == (4, 2, 4)


def test_after_the_guess_the_fault_is_shown():
    game = GuessTheFault(CASES[:2], n_rounds=2, seed=0)
    for _ in range(2):
        right = game._axes[1]
        assert [t.get_text() for t in right.texts] == ["?"] and not right.images
        game.guess("none")
        if game.shown.pictures:
            assert right.images and not right.texts
        else:
            said = [t.get_text() for t in right.texts]
            assert said[0] == "weights of layer 1" and "noise" in said[1]
        if game.score[2] < 2:
            game.next()


def test_no_game_opens_with_a_profile_that_shows_nothing():
    for seed in range(12):
        assert GuessTheFault(CASES, 4, seed)._rounds[0].name != "mantissa_flips"


def test_zeros_are_blank_and_the_right_cell_is_framed():
    with base.figure() as fig:
        ax = fig.subplots()
        figures.draw_answers(ax, [[3, 0, 0, 1], [0, 0, 0, 4]], ["blur", "dead_rows"], "inputs")
    assert [text.get_text() for text in ax.texts] == ["3", "1", "4"]
    frames = [p for p in ax.patches if p.get_linewidth() > 0]
    assert [round(p.get_x() + 0.46) for p in frames] == [0, 0]
    said = [(c.name, c.side, c.found.side) for c in CASES]
    figures.answers(said, "title", {"inputs": "images", "inside": "network"})
    with pytest.raises(base.PlotError, match="counts"):
        figures.draw_answers(ax, [[1, 2]], ["blur"], "inputs")


def test_calm_cells_of_the_profiles_are_blank():
    with base.figure() as fig:
        ax = fig.subplots()
        figures.draw_profiles(ax, [[0, -5, 31], [3.9, 4, np.inf]], ["a", "b"], "xyz", 4)
        figures.draw_profiles(ax, [[np.inf, 9]], ["c"], "xy", 4)
    assert [text.get_text() for text in ax.texts] == ["-5", "4", "not finite"]
    assert len(ax.patches) == 2 + 2 + 2
    figures.profiles([[1.0, 9.0]], ["a"], ["x", "y"], "title")
    with pytest.raises(base.PlotError, match="drifts"):
        figures.draw_profiles(ax, [[1]], ["a"], "xy", 4)
