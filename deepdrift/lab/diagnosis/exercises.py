"""The exercises of notebook 05: questions, tests, hints and what to learn."""

from __future__ import annotations

from deepdrift.lab.bench.exercise import Check, Exercise, Test, between, says


def _of(side: str, *words: str) -> Test:
    """Test for a side: the word, or the findings that the library returned."""
    return lambda answer: says(side, *words)(getattr(answer, "side", answer))


EXERCISES = {
    "ex_05_1": Exercise(
        question="Which side is it, if the drifts are 0.2, 0.4, 6.0, 10.0 and the inputs normal?",
        test=_of("cannot say", "can not say", "can't say"),
        right="it rises and does not jump, like a learnt cue that is gone.",
        hint="go through the table of section 1 from the top; the first row that holds decides.",
        special_hints=(
            (_of("inside"), "that needs a jump: 15 or more, and 0.8 of the largest."),
            (_of("inputs"), "that needs a statistic of the inputs beyond 4, or a probe."),
            (_of("none"), "one drift beyond 4 is enough to say that something changed."),
        ),
        strong_hint="Rows 1 and 2 need a probe. Is row 3 true? Row 4? For row 5: is 6 at least 15?",
    ),
    "ex_05_2": Exercise(
        question="Of the 25 judged faults at strength 1, on how many is the side right, probed?",
        test=between(13, 19),
        right="the others are missed, not mistaken: nothing passes the border of 4.",
        hint="sum(c.probed.side == c.side for c in vit.cases(JUDGED, strengths=[1])).",
        special_hints=(
            (between(0.52, 0.76), "as a share; give the number of faults."),
            (between(9, 12), "that is without the probe: use c.probed."),
        ),
        strong_hint="A loop over the 25 cases counts where c.probed.side equals c.side.",
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
        strong_hint="Divide the pixels of good images by 3, and give these as the probe.",
    ),
}


check = Check(EXERCISES)
