"""Which of the given episodes fit a score, and which give its threshold."""

from __future__ import annotations

import math
from collections.abc import Iterable

from deepdrift.errors import CalibrationError
from deepdrift.evidence.calibration import required_samples
from deepdrift.rl.episodes import Episode
from deepdrift.rl.spaces import ActionCode

ONE_IN = 3  # the first of every three episodes fits the score, the others give the threshold


def required_episodes(false_alarms_per_episode: float, *, fit: bool) -> int:
    """Complete episodes that a calibration at this rate takes at least.

    Examples
    --------
    Nineteen for the threshold; with a fit, one more for every two of them.

    >>> required_episodes(0.05, fit=False), required_episodes(0.05, fit=True)
    (19, 29)
    """
    held_out = required_samples(false_alarms_per_episode)
    return held_out + math.ceil(held_out / (ONE_IN - 1)) if fit else held_out


def split_episodes(
    episodes: list[Episode], false_alarms_per_episode: float, *, fit: bool
) -> tuple[list[Episode], list[Episode]]:
    """Episodes to fit on, none without ``fit``, and others for the threshold.

    Raises
    ------
    CalibrationError
        If these are too few for the rate.
    """
    needed = required_episodes(false_alarms_per_episode, fit=fit)
    if len(episodes) < needed:
        raise CalibrationError(
            f"episodes: {len(episodes)} complete ones cannot support "
            f"{false_alarms_per_episode:g} false alarms per episode; at least {needed} are needed"
            + (", a third of them to fit the score" if fit else "")
            + "; or allow more false alarms"
        )
    if not fit:
        return [], episodes
    return episodes[::ONE_IN], [e for i, e in enumerate(episodes) if i % ONE_IN]


def complete_episodes(
    episodes: Iterable[Episode], width: int | None = None, steps: int = 1
) -> list[Episode]:
    """The complete ones, checked: one kind of observation and action, all of it finite.

    Parameters
    ----------
    episodes : iterable of Episode
    width : int, optional
        Width of an observation that is expected.
    steps : int
        Fewest steps with which an episode has a score.

    Raises
    ------
    CalibrationError
        Naming what is wrong, also if none is complete.
    """
    given = list(episodes)
    for i, episode in enumerate(given):
        if not isinstance(episode, Episode):
            raise CalibrationError(
                f"episodes: expected an environment or a list of Episode, got "
                f"{type(episode).__name__} at place {i}; collect_episodes(policy, env, n) makes one"
            )
    complete = [e for e in given if e.complete]
    if not complete:
        raise CalibrationError(
            f"episodes: expected complete ones, got {len(given)}, none of which terminated or was "
            "truncated; let them run to their end"
        )
    kinds = {(e.observations.shape[1], e.actions.dtype, e.actions.shape[1:]) for e in complete}
    found = sorted({kind[0] for kind in kinds})
    if len(kinds) > 1 or found != [width or found[0]]:
        raise CalibrationError(
            "episodes: expected one kind of observation and action"
            + (f", observations of width {width}" if width else "")
            + f", got {len(kinds)} kinds with widths {found}; the spaces of an environment may not "
            "change: calibrate one monitor for each"
        )
    short = sum(len(e) < steps for e in complete)
    if short:
        raise CalibrationError(
            f"episodes: {short} of {len(complete)} are shorter than {steps} steps and have no score"
        )
    broken = sum(
        not bool(e.observations.isfinite().all() and e.actions.isfinite().all()) for e in complete
    )
    if broken:
        raise CalibrationError(
            f"episodes: {broken} of {len(complete)} hold observations or actions that are NaN or "
            "infinite; leave them out"
        )
    return complete


def guess_code(episodes: list[Episode], n_outputs: int) -> ActionCode:
    """How actions become numbers, if neither the policy nor an environment says so.

    Integers are one-hot, with as many places as the policy has outputs, or as were seen.
    """
    actions = [e.actions for e in episodes]
    if actions[0].is_floating_point():
        return ActionCode(False, actions[0].shape[1])
    return ActionCode(True, max(n_outputs, 1 + max(int(a.max()) for a in actions)))
