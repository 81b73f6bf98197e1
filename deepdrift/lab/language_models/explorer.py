"""Two explorers: a token microscope, and "answer the most certain x %"."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from deepdrift.lab.bench.controls import (
    ExplorerError,
    choice_control,
    number_control,
    toggle_control,
)
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.bench.figures import BLUE, GREEN, GREY, ORANGE, VERMILLION, ink
from deepdrift.lab.language_models import figures
from deepdrift.lab.language_models.microscope import ANSWERS, Slide
from deepdrift.lab.language_models.promises import Coverage, answer_most_certain
from deepdrift.lab.language_models.records import Records

ALL = "all five"
N_NAMED = 5
SHARES = tuple(k / 20 for k in range(1, 21))
SCORES = ("nll", "first", "mean", "maximum", "ces", "disagreement", "raw velocity", "innovation")


def block_means(records: Records) -> np.ndarray:
    """Mean velocity ``(L,)`` of each block over all tokens of the run."""
    counts = records.other["seen_counts"].astype(float)
    return counts @ records.other["seen_velocity"].astype(float) / counts.sum()


class Microscope(Explorer):
    """Velocity of every block at every token of a question and its answer; swap the answer.

    Left: blocks x tokens, in units of each block's mean velocity. Right: the blocks at the
    answer's first token, for all three answers.

    Parameters
    ----------
    slides : sequence of Slide
        Country after country, each with its three answers, as `microscope.slides` gives them.
    scale : array, shape (L,)
        Mean velocity of each block, see `block_means`.
    start : str, optional
        Country that is shown first.
    """

    _panels = (1.7, 1.0)

    def __init__(self, slides: Sequence[Slide], scale: np.ndarray, start: str = "") -> None:
        self._slides = {(s.country, s.answer): s for s in slides}
        names = list(dict.fromkeys(s.country for s in slides))
        if not names or len(self._slides) != len(ANSWERS) * len(names):
            raise ExplorerError("slides: expected three answers for each country")
        if start and start not in names:
            raise ExplorerError(f"start: expected one of {', '.join(names)}, got {start!r}")
        names.sort(key=lambda name: name != start)  # a list opens at its first entry
        self._scale = np.asarray(scale, dtype=float)
        self._start(
            {
                "country": choice_control("country", names),
                "answer": choice_control("answer", ANSWERS),
                "block": number_control("block", len(self._scale), 1, len(self._scale), 1),
                "unexplained": toggle_control("take away what the token explains"),
            }
        )

    def velocity(self, **values: Any) -> tuple[float, float]:
        """Velocity of the block at the answer's first token, and what the token leaves of it.

        In units of the block's mean; with values: there, and nothing moves.
        """
        v = self._values_at(values)
        return self._at(v["country"], v["answer"], v["block"])

    def _at(self, country: str, answer: str, block: int) -> tuple[float, float]:
        slide, k = self._slides[country, answer], block - 1
        at = (slide.velocity[slide.first, k], slide.unexplained[slide.first, k])
        return float(at[0] / self._scale[k]), float(at[1] / self._scale[k])

    def _sentence(self, country: str, answer: str, block: int, unexplained: bool) -> str:
        slide = self._slides[country, answer]
        velocity, rest = self._at(country, answer, block)
        token = figures.piece(slide.pieces[slide.first])
        left = "" if np.isnan(rest) else f", {rest:+.2f} beside the token's own mean"
        return (
            f"{country}, {answer} answer: at “{token}” block {block} moves "
            f"{velocity:.2f} times its mean{left}."
        )

    def _draw(
        self, axes: list[Any], country: str, answer: str, block: int, unexplained: bool
    ) -> None:
        left, right = axes
        slide = self._slides[country, answer]
        figures.draw_microscope(left, slide, self._scale, unexplained)
        left.axhline(block - 1, color=VERMILLION, linewidth=0.8)
        left.set_title("not explained by the token" if unexplained else figures.UNIT)
        colours = dict(zip(ANSWERS, (BLUE, GREEN, ORANGE), strict=True))
        depth = np.arange(1, len(self._scale) + 1)
        for k, (name, colour) in enumerate(colours.items()):
            other = self._slides[country, name]
            values = figures.units(other, self._scale)[int(unexplained)][:, other.first]
            right.plot(
                depth, values, color=colour, linewidth=3.5 if name == answer else 1.5,
                alpha=1 if name == answer else 0.7,
            )  # fmt: skip
            words = f"{name}: {figures.piece(other.pieces[other.first])}"
            right.text(0.03, 0.97 - 0.09 * k, words, transform=right.transAxes, va="top",
                       color=ink(colour), fontsize=9, fontweight="bold")  # fmt: skip
        right.axvline(block, color=VERMILLION, linewidth=0.8)
        if unexplained:
            right.axhline(0, color=GREY, linewidth=1)
        right.set(xlabel="block", xlim=(1, len(depth)))
        right.set_ylim((-0.6, 1.0) if unexplained else (0.4, 2.2))
        right.set_yticks((-0.5, 0, 0.5, 1) if unexplained else (0.5, 1, 1.5, 2))
        right.set_title("at the first token")


class CoverageExplorer(Explorer):
    """Answer the most certain x %: who is lost, who is caught, and which errors are confident.

    Thresholds come from one half of the countries; everything shown is about the other half.

    Parameters
    ----------
    records : Records
    """

    _panels = (1.0, 1.25)

    def __init__(self, records: Records) -> None:
        self._records = records
        self._coverage, self._curve = map(cache, (self._look, self._curves))
        self._start(
            {
                "answered": number_control("answer the most certain %", 40, 1, 100, 1),
                "score": choice_control("certain by", SCORES),
                "template": choice_control("template", (ALL, *records.templates)),
            }
        )

    def coverage(self, **values: Any) -> Coverage:
        """What is answered at the current values; with values: there, and nothing moves."""
        return self._coverage(*self._values_at(values).values())

    def _look(self, answered: int, score: str, template: str) -> Coverage:
        one = None if template == ALL else template
        return answer_most_certain(self._records, answered / 100, score, one)

    def _curves(self, score: str, template: str) -> tuple[list[float], list[float], list[float]]:
        """Share answered, wrong among them as promised and as realised, at `SHARES`."""
        found = [self._coverage(round(100 * s), score, template) for s in SHARES]
        risk = [float("nan") if c.risk is None else c.risk.value for c in found]
        return [c.share for c in found], [c.promised for c in found], risk

    def counts(self, **values: Any) -> dict[str, int]:
        """Held-out questions by what becomes of them."""
        c, r = self.coverage(**values), self._records
        return {
            "right, given": int((c.given & r.right).sum()),
            "wrong, given": int((c.given & r.wrong).sum()),
            "wrong, caught": len(c.caught(r)),
            "right, lost": len(c.lost(r)),
        }

    def _sentence(self, answered: int, score: str, template: str) -> str:
        c = self._coverage(answered, score, template)
        where = f"{score}, {template} template{'s' if template == ALL else ''}"
        if c.risk is None:
            return f"{where}: nothing is answered."
        n = self.counts(answered=answered, score=score, template=template)
        return (
            f"{where}: {c.share:.0%} of the held-out questions are answered, {c.risk.value:.0%} "
            f"[{c.risk.low:.0%}, {c.risk.high:.0%}] of these wrong, promised {c.promised:.0%}; "
            f"{n['wrong, caught']} errors caught, {n['right, lost']} right answers lost."
        )

    def _draw(self, axes: list[Any], answered: int, score: str, template: str) -> None:
        left, right = axes
        left.yaxis.labelpad = 0
        figures.draw_coverage(left, *self._curve(score, template))
        c = self._coverage(answered, score, template)
        if c.risk is not None:
            left.plot([c.share] * 2, [c.risk.low, c.risk.high], color=BLUE, linewidth=2)
            left.plot(c.share, c.risk.value, "o", color=BLUE, markersize=9)
        left.set_title("is it as wrong as promised?")
        n = self.counts(answered=answered, score=score, template=template)
        colours = (BLUE, VERMILLION, GREY, ORANGE)
        for k, ((name, count), colour) in enumerate(zip(n.items(), colours, strict=True)):
            right.barh(k, count, color=colour, height=0.7)
            right.text(count, k, f"  {count} {name}", va="center", color=ink(colour), fontsize=10)
        right.set(xlim=(0, 1.75 * max(*n.values(), 1)), ylim=(6.2, -0.6), yticks=[], xticks=[])
        found = c.errors(self._records, score)
        names = [x if x[-2:] != ": " else f"{x}(nothing)" for x in dict.fromkeys(found)][:N_NAMED]
        words = "; ".join(names) if names else "none"
        right.text(0, 4.0, "surest errors", color=ink(VERMILLION), fontsize=9, fontweight="bold")
        for k, line in enumerate(_wrapped(words, 52)[:3]):
            right.text(0, 4.65 + 0.55 * k, line, color=ink(VERMILLION), fontsize=9)
        right.set_title("what becomes of them")


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most so many characters, broken between words.

    Examples
    --------
    >>> _wrapped("one two three", 8)
    ['one two', 'three']
    """
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
