"""Signals that might warn of a fault, every one with a conformal threshold per episode.

All are smoothed alike (weight 0.2 for the newest score, fixed before any fault was looked at) and
calibrated alike: a third of the clean episodes fits what a signal needs, the largest value of each
other episode gives the threshold. "fixed 0.15" is the published rule and is not calibrated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from deepdrift.evidence.calibration import conformal_threshold
from deepdrift.lab.reinforcement_learning.plants import Array, LabError, plant
from deepdrift.lab.reinforcement_learning.simulate import Runs
from deepdrift.rl import DeepDriftRL, Episode
from deepdrift.rl.split import ONE_IN, split_episodes
from deepdrift.scores.distance import LayerDistance

WEIGHT = 0.2
FIXED = 0.15
WINDOW = 20


def episodes(runs: Runs) -> list[Episode]:
    """The runs as the library's episodes.

    An episode that was cut off by the time limit is truncated, any other one terminated.
    """
    found = []
    for row, length in enumerate(runs.lengths.tolist()):
        found.append(
            Episode(
                observations=torch.from_numpy(runs.observations[row, : length + 1]),
                actions=torch.from_numpy(runs.actions[row, :length]),
                rewards=torch.from_numpy(runs.rewards[row, :length]),
                terminated=bool(runs.terminated[row]),
                truncated=not runs.terminated[row],
                states=torch.from_numpy(runs.states[row, : length + 1]),
            )
        )
    return found


def smooth(scores: ArrayLike, weight: float = WEIGHT) -> Array:
    """Exponentially weighted mean along each row (N, T); NaN stays NaN.

    Examples
    --------
    >>> smooth([[4.0, 0.0, 0.0]], 0.5).tolist()
    [[4.0, 2.0, 1.0]]
    """
    values = np.asarray(scores, dtype=np.float64)
    out, mean = np.full_like(values, np.nan), np.full(len(values), np.nan)
    for step in range(values.shape[1]):
        new = values[:, step]
        mixed = np.where(np.isnan(mean), new, (1 - weight) * mean + weight * new)
        mean = np.where(np.isfinite(new), mixed, mean)
        out[:, step] = np.where(np.isnan(new), np.nan, mean)
    return out


Score = Callable[[Episode], Tensor]  # episode -> (T,), entry t for observation t + 1
Maker = Callable[[Any, list[Episode]], Score]


def _monitor(score: str, of: str) -> Maker:
    """A score of the library, which splits clean episodes as `fit_signals` does."""
    return lambda policy, clean: DeepDriftRL(policy, score=score, of=of).calibrate(clean).scores


def _observation_velocity(policy: Any, clean: list[Episode]) -> Score:
    """Length of the change of the observation, every sensor in its clean standard deviation.

    The library's raw velocity keeps the units of the observations, as published; a rival must not
    lose because of metres and degrees.
    """
    known = torch.cat([e.observations for e in _for_the_fit(clean)])
    spread = known.std(dim=0).clamp(min=1e-6)
    monitor = DeepDriftRL(policy, score="velocity", of="observation")

    def scaled(episode: Episode) -> Episode:
        return replace(episode, observations=episode.observations / spread)

    monitor.calibrate([scaled(e) for e in clean])
    return lambda episode: monitor.scores(scaled(episode))


def _for_the_fit(clean: list[Episode]) -> list[Episode]:
    return split_episodes(clean, 0.05, fit=True)[0]


def _entropies(policy: Any, episode: Episode) -> Tensor:
    with torch.no_grad():
        chances = policy(episode.observations[1:]).double().softmax(dim=1)
    return -torch.special.xlogy(chances, chances).sum(dim=1)


def _entropy(policy: Any, clean: list[Episode]) -> Score:
    """Distance of the policy's entropy from its clean mean, in standard deviations."""
    known = torch.cat([_entropies(policy, e) for e in _for_the_fit(clean)])
    mean, spread = known.mean(), known.std()
    return lambda episode: (_entropies(policy, episode) - mean).abs() / spread


def window_statistics(observations: Tensor, window: int = WINDOW) -> Tensor:
    """Mean and logarithm of the standard deviation of the newest observations, (T, 2 D).

    Row t is about the observations up to number t + 1, at most ``window`` of them.
    """
    values = observations.double()
    zeros = values.new_zeros(1, values.shape[1])
    sums, squares = (torch.cat([zeros, x.cumsum(0)]) for x in (values, values**2))
    end = torch.arange(2, len(values) + 1)
    begin = (end - window).clamp(min=0)
    n = (end - begin)[:, None]
    mean = (sums[end] - sums[begin]) / n
    variance = ((squares[end] - squares[begin]) / n - mean**2).clamp(min=0)
    return torch.cat([mean, (variance.sqrt() + 1e-3).log()], dim=1)


def _statistics(policy: Any, clean: list[Episode]) -> Score:
    distance = LayerDistance()
    for episode in _for_the_fit(clean):
        distance.partial_fit({"window": window_statistics(episode.observations)[WINDOW:]})

    def score(episode: Episode) -> Tensor:
        scores = distance.score({"window": window_statistics(episode.observations)})[:, 0]
        scores[: min(WINDOW, len(scores))] = scores.new_tensor(0.0)  # the window is not full yet
        return scores

    return score


SIGNALS: dict[str, Maker] = {
    "hidden innovation": _monitor("innovation", "hidden"),
    "observation innovation": _monitor("innovation", "observation"),
    "hidden velocity": _monitor("velocity", "hidden"),
    "observation velocity": _observation_velocity,
    "hidden distance": _monitor("distance", "hidden"),
    "policy entropy": _entropy,
    "running mean and variance": _statistics,
}
"""Name -> (policy, clean episodes, of which every third is for the fit) -> score of an episode."""
RULE = "fixed 0.15"


@dataclass(frozen=True, eq=False)
class Signals:
    """Fitted signals of one policy, with their thresholds.

    Attributes
    ----------
    thresholds : dict
        Signal -> what the smoothed score must exceed; `RULE` judges the raw hidden velocity.
    maxima : dict
        Signal -> largest smoothed score of each calibration episode.
    alpha : float
        False alarms per episode that the thresholds promise.
    """

    thresholds: dict[str, float]
    maxima: dict[str, Array]
    alpha: float
    _scores: dict[str, Score]

    def raw(self, runs: Runs, name: str) -> Array:
        """Scores as they are, (N, T); entry t judges observation t + 1, NaN after the end."""
        return _padded(self._scores[name], runs)

    def smoothed(self, runs: Runs, names: Any = None) -> dict[str, Array]:
        """Smoothed scores of some signals, or of all."""
        return {name: smooth(self.raw(runs, name)) for name in names or self._scores}

    def alarms(self, runs: Runs) -> dict[str, NDArray[np.int64]]:
        """First alarm of every signal in each episode: the observation's number, or -1."""
        found = {k: first_above(v, self.thresholds[k]) for k, v in self.smoothed(runs).items()}
        if "hidden velocity" in self._scores:
            found[RULE] = first_above(self.raw(runs, "hidden velocity"), FIXED)
        return found


def _padded(score: Score, runs: Runs) -> Array:
    out = np.full(runs.rewards.shape, np.nan)
    for row, episode in enumerate(episodes(runs)):
        out[row, : len(episode)] = score(episode).numpy()
    return out


def first_above(scores: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """Number of the first observation whose score exceeds the threshold, (N,); -1 for none.

    Examples
    --------
    Entry t of the scores is about observation t + 1.

    >>> first_above([[0.0, 2.0, 3.0], [0.0, 0.0, 1.0]], 1.5).tolist()
    [2, -1]
    """
    with np.errstate(invalid="ignore"):
        above = np.asarray(scores) > threshold
    return np.where(above.any(axis=1), above.argmax(axis=1) + 1, -1)


def _names(name: str) -> Iterator[str]:
    discrete = plant(name).n_actions is not None
    return (signal for signal in SIGNALS if discrete or signal != "policy entropy")


def fit_signals(policy: Any, clean: Runs, alpha: float = 0.05) -> Signals:
    """Fit all signals on clean runs and calibrate them on others.

    Parameters
    ----------
    policy : Policy
    clean : Runs
        Without a fault; the first of every three fits, the other two calibrate.
    alpha : float
        False alarms per episode.

    Raises
    ------
    LabError
        If the runs have a fault, or control was lost in some: then they are no measure of health.
    CalibrationError
        If they are too few.
    """
    if clean.fault:
        raise LabError(f"clean: expected runs without a fault, got {clean.fault!r}")
    if (clean.lost >= 0).any():
        raise LabError(
            f"clean: control was lost in {int((clean.lost >= 0).sum())} of {len(clean)} episodes; "
            "leave those out, and say so"
        )
    normal = episodes(clean)
    scores = {name: SIGNALS[name](policy, normal) for name in _names(clean.plant)}
    rest = clean.rows(np.arange(len(clean)) % ONE_IN != 0)
    maxima = {name: np.nanmax(smooth(_padded(s, rest)), axis=1) for name, s in scores.items()}
    thresholds = {k: conformal_threshold(torch.from_numpy(v), alpha) for k, v in maxima.items()}
    return Signals(thresholds, maxima, alpha, scores)
