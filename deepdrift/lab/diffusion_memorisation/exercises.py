"""The exercises of notebook 13: questions, tests, hints and what to learn."""

from __future__ import annotations

from deepdrift.lab.bench.exercise import Check, Exercise, between, near

EXERCISES = {
    "ex_13_1": Exercise(
        question="A sample is 1.5 from its nearest training image, 3.0 from the next. Its ratio?",
        test=near(0.5, 0.001),
        right="0.5 is above a third: the sample has two neighbours, it is no copy.",
        hint="the smallest distance by the second smallest.",
        special_hints=(
            (near(2.0, 0.001), "the other way round: the nearest stands above."),
            (near(1.5, 0.001), "that is a difference, or the distance itself; divide."),
        ),
        strong_hint="1.5 / 3.0.",
    ),
    "ex_13_2": Exercise(
        question="Of 120 quantities that know nothing, how many have a 95 % interval without 0.5?",
        test=between(5, 7),
        right="about 6: whoever may choose among 120 will find one, with a sign and a story.",
        hint="each misses the truth in 5 % of draws; how many of 120 is that?",
        special_hints=(
            (near(0.05, 0.001), "that is the share; how many of 120?"),
            (near(3, 0.001), "that counts one side; which side it is was open as well."),
            (near(0, 0.001), "95 % is not always: some are called by luck."),
            (between(113, 115), "those are the ones whose interval holds 0.5."),
        ),
        strong_hint="0.05 * 120.",
    ),
    "ex_13_3": Exercise(
        question="How many twins do you expect among 400 samples drawn from 500 images?",
        test=between(158, 162),
        right="400 x 399 / 2 pairs, each the same image with chance 1/500: about 160.",
        hint="count the pairs of samples; each pair is the same image with chance 1 in 500.",
        special_hints=(
            (between(318, 321), "pairs are counted twice: A with B is B with A."),
            (near(0.8, 0.01), "that is samples per image; twins are pairs."),
            (between(79000, 81000), "those are the pairs; each is a twin with chance 1 in 500."),
        ),
        strong_hint="400 * 399 / 2 / 500.",
    ),
}


check = Check(EXERCISES)
