"""What notebook 05 counts and says: answers beside each other, places, a game by script."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from deepdrift.alarms.diagnosis import LayerEvidence
from deepdrift.alarms.findings import Evidence, Findings, find
from deepdrift.alarms.input_evidence import Change
from deepdrift.lab.bench.evaluation import Estimate, proportion
from deepdrift.lab.diagnosis.clinic import Case, tally

Say = Callable[[Case], str]
WIDTH = 96  # characters in a line of what is printed
ANSWERS = ("right", "cannot say", "missed", "wrong")


def by_hand(drifts: Sequence[float], *changes: Change) -> Findings:
    """Findings from drifts and changes of the inputs that were typed in.

    Examples
    --------
    >>> by_hand([0.3, -0.5, 30, 26]).side, by_hand([0, 9], Change("darker", -9.0, "light")).side
    ('inside', 'inputs')
    """
    layers = tuple(LayerEvidence(f"layer {i}", float(z)) for i, z in enumerate(drifts))
    return find(Evidence(layers, inputs=changes))


def told(text: Any, name: str = "") -> str:
    """A finding as text of at most 96 characters a line, after a name if there is one.

    Examples
    --------
    >>> print(told(by_hand([0.3, 2, 8, 20]), "rises"))
    rises: Something changed from layer 2 on; whether the inputs or the network cannot be said: give
      a probe of known good inputs.
    """
    full = f"{name}: {text}" if name else str(text)
    return textwrap.fill(full, WIDTH, subsequent_indent="  ")


def tally_table(cases: Sequence[Case], doctors: Mapping[str, Say]) -> str:
    """How many answers of each doctor are right, open, missed, wrong; a line each."""
    lines = [" " * 20 + "".join(f"{answer:>12}" for answer in ANSWERS)]
    for name, say in doctors.items():
        counts = tally(cases, say)
        lines.append(f"{name:<20}" + "".join(f"{counts[answer]:12d}" for answer in ANSWERS))
    return "\n".join(lines)


def right_by_side(
    cases: Sequence[Case], doctors: Mapping[str, Say]
) -> dict[str, dict[str, Estimate]]:
    """Side of the fault -> doctor -> share of right answers with its interval."""
    table = {}
    for side in ("inputs", "inside"):
        runs = [case for case in cases if case.side == side]
        table[side] = {
            name: proportion(tally(runs, say)["right"], len(runs)) for name, say in doctors.items()
        }
    return table


def shares_table(shares: Mapping[str, Mapping[str, Estimate]]) -> str:
    """`right_by_side` as text, in percent with intervals: doctors below, sides across.

    Examples
    --------
    >>> print(shares_table({"inputs": {"coin": Estimate(0.5, 0.4, 0.6, 90, 0)}}).strip())
    inputs
    coin                   50 % [40, 60]
    """
    lines = [" " * 20 + "".join(f"{side:>16}" for side in shares)]
    for name in next(iter(shares.values())):
        parts = (row[name] for row in shares.values())
        cells = (f"{100 * e.value:.0f} % [{100 * e.low:.0f}, {100 * e.high:.0f}]" for e in parts)
        lines.append(f"{name:<20}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def located(cases: Sequence[Case], layers: Sequence[str]) -> tuple[int, int, int]:
    """Broken blocks named by the doctor, by the largest drift in size, and how many there are.

    Only faults in one block that show, with a probe.
    """
    struck = [case for case in cases if case.layer and case.probed.place]
    first = sum(case.probed.place == case.layer for case in struck)
    largest = sum(layers[int(np.argmax(np.abs(case.drifts)))] == case.layer for case in struck)
    return first, largest, len(struck)


def play(game: Any, say: Callable[[Sequence[float]], str]) -> str:
    """Play all rounds of a game by a rule from drifts to a side; a line for each round.

    Parameters
    ----------
    game : GuessTheFault
        Played to its end.
    say : callable
        Drifts of all layers -> "none", "inputs" or "inside".
    """
    lines = [f"{'fault':<22}{'it was':<10}{'player':<10}doctor"]
    for i in range(game.n_rounds):
        if i:
            game.next()
        guess = say(game.hidden)
        game.guess(guess)
        case = game.shown
        name = case.name.replace("_", " ")
        lines.append(f"{name:<22}{case.side:<10}{guess:<10}{case.found.side}")
    mine, doctor, n = game.score
    return "\n".join([*lines, f"right: the player {mine} of {n}, the doctor {doctor} of {n}"])
