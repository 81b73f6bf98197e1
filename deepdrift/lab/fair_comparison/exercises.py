"""The exercises of notebook 08: questions, tests, hints and what to learn."""

from __future__ import annotations

import math
from typing import Any

from deepdrift.lab.bench.exercise import Check, Exercise, Test, between, near


def share(low: float, high: float) -> Test:
    """Test for a share in ``[low, high]``; in percent it is as good, and is told so.

    Examples
    --------
    >>> share(0.29, 0.30)(0.294), share(0.29, 0.30)(29.4), share(0.29, 0.30)(0.5)
    (True, 'in percent; on the scale from 0 to 1 it is 0.294', False)
    """

    def test(answer: Any) -> bool | str:
        value = float(answer)
        if low <= value <= high:
            return True
        if low <= value / 100 <= high:
            return f"in percent; on the scale from 0 to 1 it is {value / 100:.3g}"
        return False

    test.wants_number = True  # type: ignore[attr-defined]
    return test


def _enough(lists: Any) -> bool:
    return len(lists) == 2 and all(
        len(x) >= 5 and all(math.isfinite(float(v)) for v in x) for x in lists
    )


def _share_above(normal: Any, shifted: Any) -> float:
    pairs = [(float(a), float(b)) for a in normal for b in shifted]
    return sum((b > a) + 0.5 * (b == a) for a, b in pairs) / len(pairs)


def _gap(normal: Any, shifted: Any) -> float:
    a, b = ([float(v) for v in part] for part in (normal, shifted))
    return sum(b) / len(b) - sum(a) / len(a)


EXERCISES = {
    "ex_08_1": Exercise(
        question="Which AUPR does a coin get with 1,000 shifted and 2,400 normal images?",
        test=share(1000 / 3400 - 0.005, 1000 / 3400 + 0.005),
        right="whatever the coin flags, 1,000 of 3,400 images are shifted: a precision of 0.29.",
        hint="a coin flags shifted and normal images alike: which share of its alarms is right?",
        special_hints=(
            (near(0.5, 1e-9), "0.5 is the coin's AUROC; its AUPR depends on the set sizes."),
            (near(1000 / 2400, 0.005), "divide by all images, not by the normal ones."),
            (near(0.2, 1e-9), "that is for 600 shifted images; here they are 1,000."),
        ),
        strong_hint="Of 100 images that it flags, as many are shifted as of any 100 of the 3,400.",
    ),
    "ex_08_2": Exercise(
        question="What is the mean of the winners over the sixteen shifts, on the ViT?",
        test=share(0.905, 0.917),
        right="no score reaches that: one must know the shift beforehand. Hence rule 2.",
        hint="for each shift take vit.ranking(shift)[0], the best there, and average the values.",
        special_hints=(
            (between(0.885, 0.9), "that is one score for all shifts; take the best of each."),
            (between(0.94, 0.955), "that is the CNN; use vit."),
        ),
        strong_hint="np.mean([float(vit.ranking(shift)[0][1]) for shift in vit.shifts]) is one "
        "way to write it.",
    ),
    "ex_08_3": Exercise(
        question="Which two lists have an AUROC below 0.5 and a larger mean of the shifted?",
        test=lambda answer: _enough(answer) and _share_above(*answer) < 0.5 and _gap(*answer) > 0,
        right="the mean follows a few, the AUROC counts heads; large batches answer for the mean.",
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
        strong_hint="Begin with normal = [1, 2, 3, 4, 5] and shifted = [0, 0, 0, 0, x]: how large "
        "must x be?",
    ),
}


check = Check(EXERCISES)
