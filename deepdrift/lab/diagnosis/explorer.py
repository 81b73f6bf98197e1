"""Guess the fault: a profile, a choice, the answer with its reason, and a score."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Sequence
from math import inf, isfinite
from typing import Any

import numpy as np

from deepdrift.alarms.input_evidence import BORDER
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import DESCRIPTION, ExplorerError, ipywidgets
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.diagnosis.clinic import Case
from deepdrift.lab.diagnosis.figures import draw_drift_profile

UNDECIDED = "choose a side"
CHOICES = {"none": "nothing is wrong", "inputs": "the inputs", "inside": "the network"}


class GuessTheFault(Explorer):
    """Show the drift profile of a hidden fault, take a guess, tell the answer, keep the score.

    A guess is the side, a key of `CHOICES`; it is right if the fault is there, and so is the
    doctor's, who sees the batch, its inputs and no probe. The first guess of a round counts.
    Control: ``choice``; buttons and code do the same. After the guess the fault is shown: an image
    as it was and as it came, or in words what was done to which block. A game never opens with a
    profile that gives itself away: one that is not finite, or shows nothing.

    Parameters
    ----------
    cases : sequence of Case
        Recorded faults (`deepdrift.lab.diagnosis.clinic`), computed beforehand.
    n_rounds : int
        How many are played.
    seed : int
        Decides which, and in which order; the button "New game" counts it up.

    Raises
    ------
    ExplorerError
        For fewer cases than rounds, a guess that is no choice or comes twice, and a next round
        that is asked for too early or after the last (`new_game` starts again).
    """

    _panels = (3.2, 1.0)

    def __init__(
        self,
        cases: Sequence[Case],
        n_rounds: int = 6,
        seed: int = 0,
    ) -> None:
        if not 1 <= n_rounds <= len(cases):
            raise ExplorerError(
                f"n_rounds: expected 1 to {len(cases)}, the number of cases, got {n_rounds!r}"
            )
        self._cases, self._n_rounds = list(cases), n_rounds
        self._deal(seed)
        names = ipywidgets.Dropdown(
            options=[UNDECIDED, *CHOICES], description="What is wrong", style=DESCRIPTION
        )
        self.next_button = ipywidgets.Button(
            description="Next round", tooltip="after the answer", disabled=True
        )
        self.next_button.on_click(lambda _: self.next())
        self.new_button = ipywidgets.Button(
            description="New game", tooltip="other faults, from round 1"
        )
        self.new_button.on_click(lambda _: self.new_game())
        row = ipywidgets.HBox([names, self.next_button, self.new_button])
        self._start({"choice": (names, row)})
        self.view.add_class("dd-game")

    def _deal(self, seed: int) -> None:
        """Shuffle the cases; the first round is one that does not give itself away, if any."""
        self.seed = seed
        rounds = random.Random(seed).sample(self._cases, self._n_rounds)
        hard = (i for i, case in enumerate(rounds) if BORDER <= max(map(_size, case.drifts)) < inf)
        first = next(hard, 0)
        rounds[0], rounds[first] = rounds[first], rounds[0]
        self._rounds: list[Case] = rounds
        self._guesses: list[str] = []
        self._round = 0

    @property
    def answered(self) -> bool:
        """Whether the present round has its guess."""
        return len(self._guesses) > self._round

    @property
    def hidden(self) -> list[float]:
        """The drifts that the present round shows."""
        return self._rounds[self._round].drifts

    @property
    def n_rounds(self) -> int:
        """Rounds of this game."""
        return self._n_rounds

    @property
    def shown(self) -> Case:
        """The fault of the present round, once it has its guess.

        Raises
        ------
        ExplorerError
            While it is hidden.
        """
        if not self.answered:
            raise ExplorerError("shown: this round's fault is hidden until its guess")
        return self._rounds[self._round]

    @property
    def score(self) -> tuple[int, int, int]:
        """Right guesses, right diagnoses of the doctor, and rounds answered."""
        return self._score(self._guesses)

    def _score(self, guesses: Sequence[str]) -> tuple[int, int, int]:
        played = self._rounds[: len(guesses)]
        mine = sum(g == c.side for g, c in zip(guesses, played, strict=True))
        return mine, sum(c.found.side == c.side for c in played), len(played)

    def guess(self, name: str) -> GuessTheFault:
        """Answer the present round."""
        if self.answered:
            raise ExplorerError(f"guess: this round has one ({self._guesses[-1]}); call next()")
        if name == UNDECIDED:
            raise ExplorerError(f"guess: expected one of {', '.join(self.choice.options[1:])}")
        self.set(choice=name)
        return self

    def next(self) -> GuessTheFault:
        """Go to the next round."""
        if not self.answered:
            raise ExplorerError("next: guess first")
        if self._round + 1 == len(self._rounds):
            raise ExplorerError(f"next: all {len(self._rounds)} rounds are played; call new_game()")
        self._round += 1
        self.set(choice=UNDECIDED)
        return self

    def new_game(self, seed: int | None = None) -> GuessTheFault:
        """Start again at round 1 with another seed, by default the next one."""
        self._deal(self.seed + 1 if seed is None else seed)
        self._shown = None  # drawn anew although the choice may stand where it stood
        self.set(choice=UNDECIDED)
        return self

    def _refresh(self, change: Any = None) -> None:
        if not self._quiet:
            if self.choice.value != UNDECIDED and not self.answered:
                self._guesses.append(self.choice.value)
            self.choice.disabled = self.answered
            last = self._round + 1 == len(self._rounds)
            self.next_button.disabled = last or not self.answered
        super()._refresh(change)

    def _sentence(self, choice: str) -> str:
        case, guesses = self._rounds[self._round], self._guesses
        if choice != UNDECIDED and not self.answered:  # what it would say after this guess
            guesses = [*guesses, choice]
        mine, doctor, n = self._score(guesses)
        text = f"Round {self._round + 1} of {len(self._rounds)}: "
        if len(guesses) > self._round:
            guess = guesses[self._round]
            verdict = "right" if guess == case.side else "wrong"
            what = f"{case.name}: {case.fault.description}" if case.fault else "clean images"
            text += (
                f"you said {guess}, {verdict}. It was {case.side} ({what}). "
                f"The doctor: {case.found} "
            )
        else:
            text += "is it the inputs, the network, or nothing? "
        score = f"{mine} of {n} right; the doctor: {doctor} of {n}." if n else ""
        return (text + score).rstrip()

    def _draw(self, axes: list[Any], choice: str) -> None:
        case = self._rounds[self._round]
        title = f"It was {case.name.replace('_', ' ')}" if self.answered else "A hidden fault"
        draw_drift_profile(axes[0], {"": case.found}, title, BORDER)
        _draw_fault(axes[1], case if self.answered else None)


def _size(drift: float) -> float:
    return abs(drift) if isfinite(drift) else inf


def _draw_fault(ax: Any, case: Case | None) -> None:
    """What was done: an image before and after, or words; a question mark while it is hidden."""
    ax.set_axis_off()
    ax.set_title("")
    if case is not None and case.pictures is not None:
        before, after = case.pictures
        gap = np.ones((max(1, len(before) // 12), before.shape[1]), before.dtype)
        ax.imshow(np.vstack([before, gap, after]), cmap="gray", vmin=0, vmax=1)
        ax.set_title("before and after", fontsize=10, fontweight="normal")
        return
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="auto")
    if case is None:
        ax.text(0.5, 0.5, "?", fontsize=44, ha="center", va="center", color=figures.GREY)
        return
    what = case.fault.description if case.fault else "nothing was done"
    place = f"weights of {case.layer}" if case.layer else "weights" if case.fault else ""
    words = textwrap.fill(what, 20)
    ax.text(0.0, 0.8, place, fontsize=10.5, fontweight="bold", va="bottom", color=figures.INK)
    ax.text(0.0, 0.75, words, fontsize=10.5, va="top", color=figures.INK)
