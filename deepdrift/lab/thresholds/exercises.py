"""The exercises of notebook 03: questions, tests, hints and what to learn."""

from __future__ import annotations

from deepdrift.lab.bench.exercise import Check, Exercise, percent

STEP = 100 / 201  # percent; the rates that a line on one of 200 scores can promise

EXERCISES = {
    "ex_03_1": Exercise(
        question="How likely, in percent, is a true rate above 10 % with 19 images?",
        test=percent(13, 14),
        right="all 19 must lie below what 10 % exceed: 0.9 ** 19. "
        "The average is 5 %, and still one set in seven gives twice that.",
        hint="each score lies below that line with probability 0.9; all 19 must.",
        special_hints=(
            (percent(4.9, 5.1), "that is the mean rate; ask how often one line is far above it."),
            (percent(9.9, 10.1), "that is the chance that one score lies above that line."),
            (lambda answer: 0 < float(answer) < 1e-9, "that is all 19 above; they must lie below."),
            (percent(86, 87), "that is the probability that the rate stays below 10 %."),
        ),
        strong_hint="Nineteen independent scores: multiply 0.9 by itself, 0.9 ** 19.",
    ),
    "ex_03_2": Exercise(
        question="Which alpha, in percent, keeps 95 of 100 sets of 200 images at 5 % or less?",
        test=percent(5 * STEP - 0.01, 6 * STEP - 1e-6),
        right="the 95 % point of the rate is 4.5 %, at 6/201 5.2 %. "
        "A guarantee for one line costs half of alpha here, and less with more images.",
        hint="try alpha = 0.01, 0.02, ... until the upper end passes 5 %; steps are 1/201.",
        special_hints=(
            (percent(4.9, 5.1), "5 % holds on average; its upper end is 7.7 %."),
            (percent(0.1, 5 * STEP - 0.01), "safe, but a larger alpha keeps the guarantee too."),
            (percent(6 * STEP - 1e-6, 4.9), "its upper end is above 5 %; go lower."),
        ),
        strong_hint="Compare false_alarm_interval(200, 5 / 201)[1] with that of 6 / 201.",
    ),
    "ex_03_3": Exercise(
        question="What is the 95 % quantile, in percent, with 50 images, each 20 times?",
        test=percent(10, 14.5),
        right="copies carry no news. The 1,000 scores are as lucky as "
        "50, and the rule, which counts them as 1,000, cannot know. Count scenes, not frames.",
        hint="take the first 50 of the drawn order and repeat them.",
        special_hints=(
            (percent(5.5, 7), "that is with 1,000 different images; change the line in the cell."),
            (percent(8.5, 9.99), "that is 50 scores once; repeat each of them 20 times."),
        ),
        strong_hint="The line becomes: return pool[order[:50]].repeat(20).",
    ),
}


check = Check(EXERCISES)
