"""The exercises of notebook 00: questions, tests, hints and what to learn."""

from __future__ import annotations

from deepdrift.lab.bench.exercise import Check, Exercise, between, near, percent, says

EXERCISES = {
    "ex_00_0": Exercise(
        question="What AUROC does a score reach that knows nothing?",
        test=near(0.5, 1e-9),
        right="a coin puts the shifted sample above the normal one in half of the pairs.",
        hint="think of a score that throws a coin for every pair of samples.",
        special_hints=(
            (near(0.0, 1e-9), "0 is always wrong, and always wrong is a lot of knowledge."),
        ),
        strong_hint="Of ten pairs a coin gets five right.",
    ),
    "ex_00_1": Exercise(
        question="How many of 2,400 normal pictures are flagged at alpha = 0.01, on average?",
        test=near(24, 0.5),
        right="1 % of 2,400 is 24; one calibration gives 15 or 35, the average keeps it.",
        hint="alpha is the share of normal pictures that is flagged.",
        special_hints=(
            (near(120, 0.5), "that is alpha = 0.05."),
            (between(0.009, 0.011), "that is the share; how many pictures of 2,400 is it?"),
        ),
        strong_hint="Multiply 2,400 by 0.01.",
    ),
    "ex_00_2": Exercise(
        question="How many percent of the digits are missed at 1 % false alarms?",
        test=percent(17, 20),
        right="a fifth of the false alarms, and six times the misses: that is the price.",
        hint="move the line until the title says 1.0 % false alarms, with shift = digits.",
        special_hints=(
            (percent(2, 4), "that is at the line for 5 %; move further to the right."),
            (percent(80, 83), "that is the share that is caught; the missed ones are the rest."),
            (percent(90, 97.5), "that is what is caught at the line for 5 %."),
        ),
        strong_hint='app.summary(threshold=22.1, shift="digits") says it in its last number.',
    ),
    "ex_00_3": Exercise(
        question="A monitor calibrated on noisy pictures flags noisy pictures how often?",
        test=says("rarely", "seldom", "rare"),
        right="about one in twenty: normal is whatever you calibrate on.",
        hint="the promise holds for pictures like those it was calibrated on.",
        special_hints=((says("never"), "not never: alpha is 5 %."),),
        strong_hint="For this monitor a noisy picture is a normal one, and of those it flags 5 %.",
    ),
}


check = Check(EXERCISES)
