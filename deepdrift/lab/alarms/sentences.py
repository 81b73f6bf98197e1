"""What a live monitor knows at a step, in words."""

from __future__ import annotations

from deepdrift.alarms.config import State
from deepdrift.alarms.events import Event
from deepdrift.alarms.replay import Trace


def describe(fused: Trace, onset: int | None, step: int) -> str:
    """What a guard knows after ``step``, and what only the recording knows: a few sentences.

    The first one is about now, the second about the first alert since the shift began.

    Examples
    --------
    >>> from deepdrift.alarms.config import ObserverConfig
    >>> from deepdrift.alarms.replay import replay
    >>> trace = replay([0.0, 1.0, 0.5, 4.1], ObserverConfig(theta_high=3.0))
    >>> print(describe(trace, onset=2, step=3))
    ALERT since step 3 (fused drift 4.1 >= 3.0). It is the first since the shift began at step 2: \
delay 1. False alarms before: 0.
    >>> print(describe(trace, onset=2, step=1))
    NORMAL at step 1 (fused drift 1.00). The shift has not begun. False alarms so far: 0.

    An alert that ended and came back is two things:

    >>> trace = replay([0.0, 4.0, 0.5, 4.2], ObserverConfig(theta_high=3.0))
    >>> print(describe(trace, onset=1, step=3))
    ALERT again since step 3 (fused drift 4.2 >= 3.0). The first since the shift began at step 1 \
came at step 1: delay 0; it ended at step 2. False alarms before: 0.
    """
    known = [e for e in fused.events if e.step <= step]
    state, value = State(str(fused.states[step])), fused.values[step]
    raised = [int(s) for s in fused.onsets(State.ALERT) if s <= step]
    before = [s for s in raised if onset is None or s < onset]
    after = raised[len(before) :]
    if state == State.NORMAL:
        now = f"NORMAL at step {step} (fused drift {value:.2f})."
    else:
        again = " again" if state == State.ALERT and len(after) > 1 else ""
        now = f"{state}{again} since step {known[-1].step} ({_reason(known[-1])})."
    if onset is None:
        return f"{now} Nothing shifts in this stream. False alarms so far: {len(before)}."
    if step < onset:
        return f"{now} The shift has not begun. False alarms so far: {len(before)}."
    began = f"the shift began at step {onset}"
    if onset > 0 and fused.states[onset - 1] == State.ALERT:
        first = f"T{began[1:]}: an alert stood already, so there is no delay to measure."
    elif not after:
        first = f"T{began[1:]}: no alert in the {step - onset + 1} steps since."
    elif state == State.ALERT and known[-1].step == after[0]:
        first = f"It is the first since {began}: delay {after[0] - onset}."
    else:
        first = f"The first since {began} came at step {after[0]}: delay {after[0] - onset}"
        left = [e for e in known if e.step > after[0] and e.previous == State.ALERT]
        ended = bool(left) and left[0].state != State.INVALID
        first += f"; it ended at step {left[0].step}." if ended else "."
        if state != State.ALERT:
            first = first.replace("The first since", "The first alert since", 1)
    return f"{now} {first} False alarms before: {len(before)}."


def _reason(event: Event) -> str:
    if event.state == State.ALERT and event.cause != "finite again":
        return "fused drift " + event.detail.removeprefix(f"{event.cause} (").removesuffix(")")
    if event.state == State.INVALID:
        return f"the fused drift is {event.value}"
    return f"fused drift {event.value:.2f}, {event.detail.replace(' (', ': ').rstrip(')')}"
