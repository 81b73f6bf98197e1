"""Answers to the exercises: a hint when wrong, a reason when right, never an error.

A notebook writes ``answer = None`` and ``check.ex_02_1(answer)``; the cell runs as it stands and
prints a hint. What is printed depends on the answer alone, so that it can be compared.

To add an exercise, add an entry to `EXERCISES`; its key ``ex_NN_K`` is exercise K of notebook NN.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from deepdrift.baselines.plane import choose_rank
from deepdrift.errors import DeepDriftError
from deepdrift.lab.exact_test import exact_p_value
from deepdrift.lab.rank_mutants import survivors

Test = Callable[[Any], bool]


def near(value: float, tolerance: float) -> Test:
    """Test for a number within ``tolerance`` of ``value``.

    Examples
    --------
    >>> near(0.5, 0.01)(0.505), near(0.5, 0.01)(0.52)
    (True, False)
    """
    return lambda answer: abs(float(answer) - value) <= tolerance


def between(low: float, high: float) -> Test:
    """Test for a number in ``[low, high]``.

    Examples
    --------
    >>> between(0, 1)(0.3), between(0, 1)(float("nan"))
    (True, False)
    """
    return lambda answer: low <= float(answer) <= high


def says(*words: str) -> Test:
    """Test for one of several words, whatever their case and the blanks around them.

    Examples
    --------
    >>> says("lower", "less")(" Lower "), says("lower")("higher")
    (True, False)
    """
    accepted = {word.casefold() for word in words}
    return lambda answer: isinstance(answer, str) and answer.strip().casefold() in accepted


@dataclass(frozen=True)
class Exercise:
    """One question with its test, its hints and what to learn from the right answer.

    Parameters
    ----------
    question : str
        In one sentence; printed while the answer is still None.
    test : callable
        Answer to bool. It may raise for nonsense: that counts as wrong.
    right : str
        Printed after ``Right:``; says why.
    hint : str
        Printed for a wrong answer that no special hint fits.
    special_hints : tuple of (callable, str)
        For well-known wrong answers, first match wins.

    Examples
    --------
    >>> exercise = Exercise(
    ...     question="How many steps lie between 7 layers?",
    ...     test=near(6, 0),
    ...     right="each step joins two neighbours, so there is one fewer.",
    ...     hint="count the gaps between the fingers of one hand.",
    ...     special_hints=((near(7, 0), "that is the number of layers."),),
    ... )
    >>> for answer in (None, 7, 9, "six", 6):
    ...     print(exercise.reply(answer))
    Not answered yet: How many steps lie between 7 layers?
    Not yet: that is the number of layers.
    Not yet: count the gaps between the fingers of one hand.
    Not yet: count the gaps between the fingers of one hand.
    Right: each step joins two neighbours, so there is one fewer.
    """

    question: str
    test: Test
    right: str
    hint: str
    special_hints: tuple[tuple[Test, str], ...] = ()

    def reply(self, answer: Any) -> str:
        """One line for any answer whatsoever."""
        if answer is None:
            return f"Not answered yet: {self.question}"
        if _passes(self.test, answer):
            return f"Right: {self.right}"
        for test, hint in self.special_hints:
            if _passes(test, answer):
                return f"Not yet: {hint}"
        return f"Not yet: {self.hint}"


def _passes(test: Test, answer: Any) -> bool:
    """Whether the test says yes; an answer that breaks the test has not passed it."""
    try:
        return bool(test(answer))
    except Exception:
        return False


class UnknownExerciseError(DeepDriftError, AttributeError):
    """The notebook asks for an exercise that is not in the table."""


def _is_spectrum(shares: Any) -> bool:
    falls = all(a >= b > 0 for a, b in itertools.pairwise(shares))
    return falls and abs(sum(shares) - 1) < 1e-9


def _living_mutants(shares: Any, wanted: float) -> list[str]:
    right = choose_rank(torch.tensor(shares, dtype=torch.float64), float(wanted))
    return survivors(lambda rank: rank(shares, wanted) == right)


def _moved_up(x: Any, y: Any) -> bool:
    return len(x) == len(y) == 3 and all(b - a >= 2 for a, b in zip(x, y, strict=True))


def _enough(lists: Any) -> bool:
    return len(lists) == 2 and all(
        len(x) >= 5 and all(math.isfinite(float(v)) for v in x) for x in lists
    )


def _share_above(normal: Any, shifted: Any) -> float:
    pairs = [(a, b) for a in normal for b in shifted]
    return sum((b > a) + 0.5 * (b == a) for a, b in pairs) / len(pairs)


def _gap(normal: Any, shifted: Any) -> float:
    return sum(shifted) / len(shifted) - sum(normal) / len(normal)


# One entry per exercise, in the order of the notebooks. `ex_00_0` shows the form.
EXERCISES: dict[str, Exercise] = {
    "ex_00_0": Exercise(
        question="What AUROC does a score reach that knows nothing?",
        test=near(0.5, 1e-9),
        right="a coin puts the shifted sample above the normal one in half of the pairs.",
        hint="think of a score that throws a coin for every pair of samples.",
        special_hints=(
            (near(0.0, 1e-9), "0 is always wrong, and always wrong is a lot of knowledge."),
        ),
    ),
    "ex_00_1": Exercise(
        question="How many of 2,400 normal pictures are flagged at alpha = 0.01, on average?",
        test=near(24, 0.5),
        right="1 % of 2,400 is 24; one calibration may give 15 or 35, the average keeps the "
        "promise.",
        hint="alpha is the share of normal pictures that is flagged.",
        special_hints=((near(120, 0.5), "that is alpha = 0.05."),),
    ),
    "ex_00_2": Exercise(
        question="How many percent of the digits are missed at 1 % false alarms?",
        test=between(76, 80.5),
        right="a fifth of the false alarms, and more than twice the misses: that is the price.",
        hint="raise the threshold until the sentence says 1.0 % for normal images, with "
        "shift='digits'.",
        special_hints=(
            (between(0.76, 0.805), "right, as a share: give it in percent."),
            (between(30, 40), "that is at the threshold for 5 %; move further to the right."),
            (between(19.5, 24), "that is the share that is caught; the missed ones are the rest."),
        ),
    ),
    "ex_00_3": Exercise(
        question="A monitor calibrated on noisy pictures flags noisy pictures how often?",
        test=says("rarely"),
        right="about one in twenty: normal is whatever you calibrate on, and the monitor keeps its "
        "promise for that.",
        hint="the promise holds for pictures like those it was calibrated on.",
        special_hints=((says("never"), "not never: alpha is 5 %."),),
    ),
    "ex_01_1": Exercise(
        question="What is the mean-pooled state of the tokens (0, 0), (2, 4) and (4, 8)?",
        test=lambda answer: [float(v) for v in answer] == [2.0, 4.0],
        right="each coordinate is averaged over the three tokens: (0 + 2 + 4) / 3 and "
        "(0 + 4 + 8) / 3.",
        hint="average over the tokens, coordinate by coordinate; the result has two numbers.",
        special_hints=(
            (lambda answer: [float(v) for v in answer] == [4.0, 8.0], "that is the last token."),
            (lambda answer: [float(v) for v in answer] == [0.0, 0.0], "that is the first token."),
        ),
    ),
    "ex_01_2": Exercise(
        question="How many percent does the class token of the ViT's blocks.4 get right?",
        test=between(88.5, 91),
        right="the class token carries the answer; averaged over all tokens it was diluted.",
        hint='collect(vit, ..., ["blocks.4"], pooling="cls") for the fit and the test images, then '
        "nearest_mean; divide the hits by 30.",
        special_hints=(
            (between(0.885, 0.91), "right, as a share: give it in percent."),
            (between(75, 78), "that is mean pooling again: pass pooling='cls' to collect."),
        ),
    ),
    "ex_01_3": Exercise(
        question="In which layer of vit-holdout do sandals and bags stand out most?",
        test=says("blocks.0"),
        right="the ViT sees them best right after the first block, where the CNN needs two blocks "
        "more: which layer to trust depends on the network.",
        hint="six layers this time: use data.NETWORK_LAYERS['vit-holdout'] everywhere.",
        special_hints=(
            (says("blocks.2", "blocks.3"), "that is the CNN's answer; did you swap the network?"),
        ),
    ),
    "ex_02_1": Exercise(
        question="How long is the step from z0 to 3 z0 in half the light?",
        test=near(2.0, 1e-6),
        right="the step is 3 z0 - z0 = 2 z0, so 4 in full light and 2 in half of it; the state is "
        "exactly as usual in its direction, only shorter.",
        hint="the step is z1 - z0 = 3 z0 - z0; how long is that when z0 has length 1?",
        special_hints=(
            (near(4.0, 1e-6), "that is the step in full light; now halve z0."),
            (near(3.0, 1e-6), "that is the length of z1 in half the light, not of the step."),
        ),
    ),
    "ex_02_2": Exercise(
        question="What mean AUROC do random numbers reach after the flip, with 5 images per set?",
        test=between(0.6, 0.75),
        right="the fewer images, the more luck, and the flip turns all luck into merit.",
        hint="draw torch.rand(2, 15, 5, ...), 15 AUROCs, flip each, take the mean.",
        special_hints=(
            (between(0.53, 0.5999), "that is with 20 images per set; draw 5."),
            (between(0.4, 0.53), "that is the mean without the flip: an honest coin."),
        ),
    ),
    "ex_02_3": Exercise(
        question="Which start and innovation does your pair have, as (start, innovation)?",
        test=lambda answer: float(answer[0]) > 100 and 0 <= float(answer[1]) < 0.5,
        right="a start that was never seen, and then a step exactly as usual: innovation is calm, "
        "the whole trajectory is not.",
        hint="the rule is target = 2 x source: go far out, and then obey it.",
        special_hints=(
            (lambda answer: float(answer[0]) <= 100, "start further out: 20 is far enough."),
            (lambda answer: float(answer[1]) >= 0.5, "you are far out; now obey target = 2 x."),
        ),
    ),
    "ex_03_1": Exercise(
        question="With which probability is the rate of a line from 19 images above 10 %?",
        test=between(0.13, 0.14),
        right="all 19 scores must lie below the line that 10 % of normal images exceed: 0.9 ** 19, "
        "that is 0.135. The average is 5 %, and still one set in seven gives twice that.",
        hint="each score lies below that line with probability 0.9; all 19 must.",
        special_hints=(
            (near(0.05, 1e-9), "that is the mean rate; ask how often one line is far above it."),
            (near(0.1**19, 1e-9), "that is all 19 above the line; they must lie below it."),
            (between(13, 14), "right number in percent; give it as a probability from 0 to 1."),
            (near(1 - 0.9**19, 0.005), "that is the probability that the rate stays below 10 %."),
        ),
    ),
    "ex_03_2": Exercise(
        question="Which alpha keeps the rate at or below 5 % in 95 of 100 sets of 200 images?",
        test=lambda answer: 5 / 201 - 1e-4 <= float(answer) < 6 / 201,
        right="at 5/201 = 2.5 % the 95 % point of the rate is 4.5 %, at 6/201 already 5.2 %: a "
        "guarantee for one line costs half of alpha here, and less with more images.",
        hint="try alpha = 0.01, 0.02, ... until the upper end passes 5 %; steps are 1/201.",
        special_hints=(
            (near(0.05, 1e-9), "5 % holds on average; its upper end is 7.7 %."),
            (between(1, 4), "give alpha as a rate, not in percent."),
            (between(1e-9, 5 / 201), "safe, but a larger alpha keeps the guarantee too."),
            (between(6 / 201, 0.05), "its upper end is above 5 %; go lower."),
        ),
    ),
    "ex_03_3": Exercise(
        question="What is the 95 % quantile of the rate with 50 images, each 20 times?",
        test=between(0.1, 0.145),
        right="copies carry no news: the 1,000 scores are as lucky as 50, and the rule, which "
        "counts them as 1,000, cannot know. Count scenes, not frames.",
        hint="take the first 50 of the drawn order and repeat them: scores = pool[...].repeat(20).",
        special_hints=(
            (between(0.055, 0.07), "that is with 1,000 different images; change scores."),
            (between(0.085, 0.0999), "that is 50 scores once; repeat each of them 20 times."),
            (between(10, 14.5), "give it as a rate from 0 to 1."),
        ),
    ),
    "ex_04_1": Exercise(
        question="After how many of the values 1.2, 2.0, 1.2, 1.2 is the state NORMAL again?",
        test=near(4, 0),
        right="two calm values running are needed, and the 2.0 starts the count afresh.",
        hint="count values at or below theta_low that follow each other without a break.",
        special_hints=(
            (near(3, 0), "the first and third are not running: 2.0 lies between them."),
            (near(1, 0), "that would be clear_after=1."),
        ),
    ),
    "ex_04_2": Exercise(
        question="Fewer or more changes of state, if one value is enough to raise the alert?",
        test=says("more"),
        right="one high value raises it again soon after each recovery; the dwell on both sides "
        "prevents that.",
        hint="what does it take to raise the alert again after a recovery?",
    ),
    "ex_04_3": Exercise(
        question="Which state does an observer report for NaN?",
        test=says("INVALID"),
        right="a value that is no number is never healthy, and no ordinary alarm either.",
        hint="it is neither NORMAL nor ALERT; try observer.update(float('nan')).state.",
    ),
    "ex_05_1": Exercise(
        question="What does diagnose_drift call the profile 0.2, 0.4, 5.0, 10.0?",
        test=says("spurious correlation"),
        right="two calm layers, then 5 / 10 = 0.5 of the peak, less than 0.6: it grows and does "
        "not jump.",
        hint="find the first drift of 3 or more and divide it by the peak.",
        special_hints=(
            (says("broken layer"), "a broken layer reaches 0.6 of the peak at once; this is 0.5."),
            (says("novel class", "sensor failure"), "that needs drift in the first layer."),
        ),
    ),
    "ex_05_2": Exercise(
        question="How many of the 40 runs of the derivation faults does the ViT's doctor name?",
        test=between(23, 27),
        right="old faults on a new architecture: broken weights keep their names, and the rotated "
        "images and the reversed cue are called a broken layer.",
        hint="sum(c.diagnosis.name == c.expected for c in vit.cases(clinic.DERIVATION)).",
        special_hints=(
            (between(0.57, 0.68), "right, as a share: give the number of runs."),
            (between(57, 68), "right, in percent: give the number of runs."),
        ),
    ),
    "ex_05_3": Exercise(
        question="Which five drifts do the five rules call a sensor failure, wrongly?",
        test=lambda p: len(p) == 5 and p[0] > 3 > p[4] and p[4] < 0.6 * p[0] and max(p) > 2 * p[0],
        right="the rules ask the first layer and the last; what the others show is not looked at.",
        hint="the first drift above 3, the last below 3 and below 0.6 of the first; where do the "
        "rules not look?",
        special_hints=(
            (lambda p: len(p) != 5, "five drifts, please."),
            (
                lambda p: p[0] > 3 > p[4] and p[4] < 0.6 * p[0],
                "the rules say sensor failure; now let another layer exceed twice the first.",
            ),
        ),
    ),
    "ex_06_1": Exercise(
        question="From which group size n can an exact test of n against n reach p <= 0.05?",
        test=near(4, 0),
        right="8 values split in 70 ways, and the true groups and their mirror image make 2/70, "
        "below 0.03; 3 against 3 stops at 2/20.",
        hint="2n values split in (2n choose n) ways; how many of these reach the true groups' "
        "value at least?",
        special_hints=(
            (near(3, 0), "1/20 would do, but the mirror image always ties: 2/20."),
            (near(20, 0), "that is the number of splits, not the size of a group."),
            (lambda n: float(n) > 4, "that is enough; a smaller one is enough too."),
        ),
    ),
    "ex_06_2": Exercise(
        question="Which false-alarm rate does the smallest p of five bandwidths give?",
        test=between(0.08, 0.16),
        right="five chances instead of one. It is not five times 5 %, since the five tests look "
        "at the same values; the aggregated test knows that and keeps 5 %.",
        hint="doublings = [-2, -1, 0, 1, 2], and run the cell.",
        special_hints=(
            (between(0.2, 0.26), "five times 5 % would need five unrelated tests; run the cell."),
            (between(0, 0.08), "that is one bandwidth, or too few; take all five."),
            (between(8, 16), "give it as a rate from 0 to 1."),
        ),
    ),
    "ex_06_3": Exercise(
        question="Which x and y, each y at least 2 larger, have p = 1, as (x, y)?",
        test=lambda answer: _moved_up(*answer) and exact_p_value(*answer) == 1,
        right="each y is nearest to its own x, and the pairs lie far apart: any other split joins "
        "some twins and looks less alike than the true groups.",
        hint="three pairs of twins, far from each other: every y near its own x and far from all "
        "else.",
        special_hints=(
            (
                lambda answer: not _moved_up(*answer),
                "give three numbers x and three numbers y, each y at least 2 above its x.",
            ),
            (
                lambda answer: exact_p_value(*answer) < 0.5,
                "the test sees this change; keep each y close to its own x, the pairs far apart.",
            ),
        ),
    ),
    "ex_07_1": Exercise(
        question="How far is (9.6, 7.2) outside and within, as (outside, within)?",
        test=lambda answer: abs(answer[0] - 1) < 0.01 and abs(answer[1] - 10**0.5) < 0.01,
        right="minus the mean it is (4.6, 2.2): 5 along (0.8, 0.6) and 1 across; 5 divided by the "
        "standard deviation, the root of 2.5, is 3.16.",
        hint="subtract (5, 5), then multiply with (0.8, 0.6) and with (-0.6, 0.8).",
        special_hints=(
            (
                lambda answer: abs(answer[0] - 10**0.5) < 0.01 and abs(answer[1] - 1) < 0.01,
                "right numbers, wrong order: (outside, within).",
            ),
            (
                lambda answer: abs(answer[0] - 1) < 0.01 and abs(answer[1] - 5) < 0.01,
                "5 along the line is in units of the features; divide by the root of 2.5.",
            ),
            (
                lambda answer: abs(answer[0] - 1) < 0.01 and abs(answer[1] - 2) < 0.01,
                "divide by the standard deviation, the root of the variance.",
            ),
            (lambda answer: answer[0] < 0, "a distance is never negative."),
        ),
    ),
    "ex_07_2": Exercise(
        question="Which false-alarm rate does a plane of 70 images give that calibrates itself?",
        test=between(0.7, 0.95),
        right="a plane of 27 directions laid through 70 images lies close to these 70: new images "
        "are nearly twice as far away. Calibrate on images the plane never saw.",
        hint="change 200 to 70 in both places it counts: fit and calibration are one call.",
        special_hints=(
            (between(0.3, 0.5), "that is with 200 images."),
            (between(70, 95), "give it as a rate from 0 to 1."),
            (between(0.0, 0.1), "that is the promise; change one number and run the cell."),
        ),
    ),
    "ex_07_3": Exercise(
        question="Which shares and wanted share are too much for all four mutants?",
        test=lambda answer: _is_spectrum(answer[0]) and not _living_mutants(*answer),
        right="the rank is more than 1, a sum of the shares meets the wanted share exactly, and "
        "the square roots are more even than the shares. One example kills four mistakes.",
        hint="give (shares, wanted), such as ([0.5, 0.3, 0.2], 0.6).",
        special_hints=(
            (
                lambda answer: not _is_spectrum(answer[0]),
                "the shares must be positive, fall and add up to 1.",
            ),
            (
                lambda answer: "first short" in _living_mutants(*answer),
                "where rank 1 is right, a constant 1 is right as well: ask for more.",
            ),
            (
                lambda answer: "one too many at a tie" in _living_mutants(*answer),
                "make a tie: let the first two shares add up to exactly the wanted share.",
            ),
            (
                lambda answer: "sizes for squares" in _living_mutants(*answer),
                "let the shares fall off steeply, so that their roots tell another story.",
            ),
        ),
    ),
    "ex_08_1": Exercise(
        question="Which AUPR does a coin get with 1,000 shifted and 2,400 normal images?",
        test=near(1000 / 3400, 0.005),
        right="whatever the coin flags, 1,000 of 3,400 images are shifted: a precision of 0.29 at "
        "every recall.",
        hint="a coin flags shifted and normal images alike: which share of its alarms is right?",
        special_hints=(
            (near(0.5, 1e-9), "0.5 is the coin's AUROC; its AUPR depends on the set sizes."),
            (near(1000 / 2400, 0.005), "divide by all images, not by the normal ones."),
            (near(0.2, 1e-9), "that is for 600 shifted images; here they are 1,000."),
            (between(29, 30), "give it as a share from 0 to 1."),
        ),
    ),
    "ex_08_2": Exercise(
        question="What is the mean of the winners over the sixteen shifts, on the ViT?",
        test=between(0.868, 0.885),
        right="no score reaches that: it takes a person who knows the shift before choosing. Rule "
        "2 exists because of this gap.",
        hint="for each shift take table.ranking(shift)[0], the best there, and average the values.",
        special_hints=(
            (between(0.82, 0.84), "that is one score for all shifts; take the best of each."),
            (between(0.93, 0.95), "that is the CNN; use tables['ViT']."),
            (between(80, 100), "give it as an AUROC from 0 to 1."),
        ),
    ),
    "ex_08_3": Exercise(
        question="Which two lists have an AUROC below 0.5 and a larger mean of the shifted?",
        test=lambda answer: _enough(answer) and _share_above(*answer) < 0.5 and _gap(*answer) > 0,
        right="most shifted scores lie below the normal ones and a few far above: the mean follows "
        "the few, the AUROC counts heads. Large batches answer for the mean.",
        hint="give (normal, shifted), two lists of at least five finite numbers.",
        special_hints=(
            (lambda answer: not _enough(answer), "two lists of at least five finite numbers."),
            (
                lambda answer: _gap(*answer) <= 0,
                "the mean of the shifted scores must be larger: make one of them very large.",
            ),
            (
                lambda answer: _share_above(*answer) >= 0.5,
                "too many shifted scores lie above the normal ones: let most of them lie below.",
            ),
        ),
    ),
}


class Check:
    """All exercises as functions: ``check.ex_00_0(answer)`` prints one line and returns None.

    Examples
    --------
    >>> check.ex_00_0(None)
    Not answered yet: What AUROC does a score reach that knows nothing?
    >>> check.ex_00_0(0.5)
    Right: a coin puts the shifted sample above the normal one in half of the pairs.
    """

    def __init__(self, exercises: dict[str, Exercise]) -> None:
        self._exercises = exercises

    def __getattr__(self, name: str) -> Callable[[Any], None]:
        exercises = self.__dict__.get("_exercises", {})
        if name not in exercises:
            if name.startswith("ex"):
                close = difflib.get_close_matches(name, exercises, n=1)
                remedy = f"; did you mean {close[0]}?" if close else ""
                raise UnknownExerciseError(f"there is no exercise {name!r}{remedy}")
            raise AttributeError(name)
        exercise = exercises[name]

        def check_answer(answer: Any = None) -> None:
            print(exercise.reply(answer))

        check_answer.__doc__ = exercise.question
        return check_answer

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._exercises]


check = Check(EXERCISES)
