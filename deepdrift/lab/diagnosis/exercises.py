"""The exercises of notebook 05: questions, tests, hints and what to learn."""

from __future__ import annotations

from deepdrift.lab.bench.exercise import Check, Exercise, between, says

EXERCISES = {
    "ex_05_1": Exercise(
        question="Which side is it, if the drifts are 0.2, 0.4, 6.0, 10.0 and the inputs normal?",
        test=says("cannot say"),
        right="two calm layers, then 6.0: neither loud nor at once, and the inputs are normal. "
        "A learnt cue that is gone looks like that, and so may weights that are a little off.",
        hint="go through the table of section 1 from the top; the first row that holds decides.",
        special_hints=(
            (says("inside"), "that needs a jump: 15 or more, and 0.8 of the largest."),
            (says("inputs"), "that needs a statistic of the inputs beyond 4, or a probe."),
            (says("none"), "one drift beyond 4 is enough to say that something changed."),
        ),
    ),
    "ex_05_2": Exercise(
        question="Of the 25 judged faults at strength 1, on how many is the side right, probed?",
        test=between(13, 19),
        right="the weakest faults are mostly missed, not mistaken: nothing passes the border of 4.",
        hint="sum(c.probed.side == c.side for c in vit.cases(JUDGED, strengths=[1])).",
        special_hints=(
            (between(0.52, 0.76), "right, as a share: give the number of faults."),
            (between(9, 12), "that is without the probe: use c.probed."),
        ),
    ),
    "ex_05_3": Exercise(
        question="With which probe can the doctor say nothing of a broken network? Its findings?",
        test=lambda f: f.side == "cannot say" and "probe is none" in f.reason,
        right="a probe must be what good looks like: its own inputs are tested first.",
        hint="give monitor.diagnose a probe whose images are changed themselves.",
        special_hints=(
            (lambda f: f.side == "inside", "this probe is good, and settles it; spoil its images."),
            (lambda f: f.side == "cannot say", "without a probe; give one that is none."),
        ),
    ),
}


check = Check(EXERCISES)
