"""The exercises of notebook 04: questions, tests, hints and what to learn."""

from __future__ import annotations

from deepdrift.lab.bench.exercise import Check, Exercise, near, says

EXERCISES = {
    "ex_04_1": Exercise(
        question="After how many of the values 1.2, 2.0, 1.2, 1.2 is the state NORMAL again?",
        test=near(4, 0),
        right="two calm values running are needed, and the 2.0 starts the count afresh.",
        hint="count values at or below theta_low that follow each other without a break.",
        special_hints=(
            (near(3, 0), "the first and third are not running: 2.0 lies between them."),
            (near(1, 0), "that would be clear_after=1."),
            (near(2, 0), "the second value is 2.0, above theta_low: it is not calm."),
        ),
        strong_hint="Mark the calm ones: yes, no, yes, yes. Where do two stand side by side?",
    ),
    "ex_04_2": Exercise(
        question="Fewer or more changes of state, if one value is enough to raise the alert?",
        test=says("more", "more changes", "more changes of state"),
        right="one high value raises it again soon after each recovery.",
        hint="what does it take to raise the alert again after a recovery?",
        special_hints=(
            (says("the same", "same", "equal"), "to raise it takes one value now, not three."),
        ),
        strong_hint="Try it: tables.changes_per_1000(hovering, dd.ObserverConfig(clear_after=3)).",
    ),
    "ex_04_3": Exercise(
        question="Which state does an observer report for NaN?",
        test=says("INVALID"),
        right="a value that is no number is never healthy, and no ordinary alarm either.",
        hint="it is neither NORMAL nor ALERT; try observer.update(float('nan')).state.",
        strong_hint="There are four states: NORMAL, WARNING, ALERT, and the one asked for.",
    ),
}


check = Check(EXERCISES)
