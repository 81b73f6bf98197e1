"""The exercises of notebook 03: questions, tests, hints and what to learn."""

from __future__ import annotations

from deepdrift.lab.bench.exercise import Check, Exercise, between, near

EXERCISES = {
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
}


check = Check(EXERCISES)
