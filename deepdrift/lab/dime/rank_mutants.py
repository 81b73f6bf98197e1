"""Four wrong ways to choose the rank of a plane, and what a test is worth against them.

A mutant is a small, plausible mistake made on purpose. A test that passes on every mutant says
nothing about the mistake it should find. `deepdrift.baselines.plane.choose_rank` is the right one:
the smallest rank whose cumulative share of the variance reaches the wanted share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

RankFunction = Callable[[Any, float], int]


def _total(shares: Any) -> np.ndarray:
    return np.cumsum(np.asarray(shares, dtype=float))


def first_short(shares: Any, wanted: float) -> int:
    """Asks an argmax, which gives the *first* rank that falls short: 1, unless 1 is enough too."""
    return int(np.argmax(_total(shares) < wanted)) + 1


def one_too_few(shares: Any, wanted: float) -> int:
    """Forgets to count the direction that reaches the share."""
    return max(1, int(np.sum(_total(shares) < wanted)))


def one_too_many_at_a_tie(shares: Any, wanted: float) -> int:
    """Wants more than the share, where reaching it exactly is enough."""
    return min(len(shares), int(np.sum(_total(shares) <= wanted)) + 1)


def sizes_not_squares(shares: Any, wanted: float) -> int:
    """Adds up standard deviations in place of variances."""
    sizes = np.sqrt(np.asarray(shares, dtype=float))
    return min(len(shares), int(np.sum(_total(sizes / sizes.sum()) < wanted)) + 1)


MUTANTS: dict[str, RankFunction] = {
    "first short": first_short,
    "one too few": one_too_few,
    "one too many at a tie": one_too_many_at_a_tie,
    "sizes for squares": sizes_not_squares,
}
"""Name -> wrong function of (shares, wanted share)."""


def survivors(test: Callable[[RankFunction], bool]) -> list[str]:
    """Names of the mutants that pass a test; a test that cannot fail lets all of them live.

    Parameters
    ----------
    test : callable
        Rank function to bool, True for "passed".

    Examples
    --------
    Shares 0.8 and 0.2: rank 1 reaches 0.8, which is a tie.

    >>> survivors(lambda rank: rank([0.8, 0.2], 0.8) == 1)
    ['first short', 'one too few']
    >>> survivors(lambda rank: 1 <= rank([0.8, 0.2], 0.8) <= 2) == list(MUTANTS)
    True
    """
    return [name for name, rank in MUTANTS.items() if test(rank)]
