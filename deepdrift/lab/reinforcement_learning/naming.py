"""A name for a fault from the direction of the residual: which sensor, actuator, world, delay?

Every sensor's next reading is predicted from all present ones and the action, on clean episodes;
what remains is counted in standard deviations. A window of residuals around the alarm gives a few
numbers per sensor: how large, in which direction, does it follow the action of now or an earlier
one. A linear discriminant learns the names on some severities. One rule needs no learning: a sensor
that errs never gives the same number again and again, so one that does is broken (`stuck_sensor`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from deepdrift.errors import require
from deepdrift.lab.reinforcement_learning.faults import find_fault
from deepdrift.lab.reinforcement_learning.plants import Array, LabError, plant
from deepdrift.lab.reinforcement_learning.simulate import Runs
from deepdrift.scores.innovation import StepPredictor

NOT_SURE = "not sure"
BEFORE, AFTER = 20, 20  # steps of the window before and after the alarm
DELAYS = (0, 1, 2, 3, 4, 6, 8, 12, 16)  # whose action explains the residual?
FEWEST = 3  # examples of a fault that the rules may be learnt from
AGAIN = 3
_OF = " by "
LARGEST = 10.0  # standard deviations; a leg that touches the ground is no direction
PER_SENSOR = ("mean", "relative size", "spikes", "memory", "repeats", "zeros", "follows the action")
POOLED = (
    "effect of this action", "largest of an earlier one", "sum of earlier ones",
    "size in all sensors", "size in the middle sensor", "size in one sensor",
)  # fmt: skip


def true_names(runs: Runs) -> list[str]:
    """What the fault of each episode should be called.

    One of "sensor: angle" and the like, "all sensors", "delay", "actuator", "dynamics".
    """
    kind = find_fault(runs.fault).kind
    if kind != "one sensor":
        return [kind] * len(runs)
    return [f"sensor: {plant(runs.plant).sensors[i]}" for i in runs.sensors]


class Residuals:
    """One-step predictions of every physical sensor, fitted on clean runs.

    Parameters
    ----------
    clean : Runs
    """

    def __init__(self, clean: Runs) -> None:
        place = plant(clean.plant)
        self.n_sensors, self.n_actions = place.n_physical, place.n_actions
        seen = clean.observations.reshape(-1, clean.observations.shape[2])
        self._spread = torch.from_numpy(np.nanstd(seen, axis=0)).float().clamp(min=1e-6)
        source, target = self._pairs(clean, np.arange(len(clean)))
        self._idle = source[:, clean.observations.shape[2] :].mean(dim=0)
        self._steps = [
            StepPredictor().fit(source, target[:, [i]]) for i in range(self.n_sensors)
        ]  # fmt: skip

    def _code(self, actions: NDArray[Any]) -> Tensor:
        given = torch.from_numpy(np.asarray(actions))
        if self.n_actions is None:
            return given.float()
        return torch.nn.functional.one_hot(given.long(), self.n_actions).float()

    def _pairs(self, runs: Runs, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        parts = [self._episode(runs, int(row)) for row in rows]
        return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])

    def _episode(self, runs: Runs, row: int) -> tuple[Tensor, Tensor]:
        length = int(runs.lengths[row])
        seen = torch.from_numpy(runs.observations[row, : length + 1]) / self._spread
        return torch.cat([seen[:-1], self._code(runs.actions[row, :length])], dim=1), seen[1:]

    def of(self, runs: Runs, row: int) -> tuple[Array, Array]:
        """Residual and effect of the action, each (T, sensors), in standard deviations.

        Entry t is about observation t + 1. The effect is the prediction's change against the
        action's clean mean.
        """
        source, target = self._episode(runs, row)
        width = runs.observations.shape[2]
        idle = source.clone()
        idle[:, width:] = self._idle
        residual, effect = [], []
        for i, step in enumerate(self._steps):
            found = step.residual(source, target[:, [i]])
            residual.append(found)
            effect.append(step.residual(idle, target[:, [i]]) - found)
        left, moved = (torch.cat(x, dim=1).double().numpy() for x in (residual, effect))
        return left, moved


def _together(a: Array, b: Array) -> Array:
    """Uncentred correlation of columns, (sensors,); 0 where one is constant zero."""
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return (a * b).sum(axis=0) / np.maximum(size, 1e-9)


def action_profile(residual: Array, effect: Array, begin: int, end: int) -> Array:
    """How much of the effect of each action the residual holds, one number for each of ``DELAYS``.

    Ridge regression over all sensors and the steps ``begin`` to ``end`` at once. A motor that has
    lost 30 % gives -0.3 for the action of now; an action that comes four steps late gives -1 for
    now and +1 for four steps ago.

    Examples
    --------
    >>> effect = np.random.default_rng(0).choice([-1.0, 1.0], (60, 1))
    >>> late = np.concatenate([np.zeros((4, 1)), effect[:-4]]) - effect
    >>> found = dict(zip(DELAYS, action_profile(late, effect, 20, 60).round(1).tolist()))
    >>> found[0], found[2], found[4]
    (-0.9, 0.0, 0.9)
    """
    target = np.clip(residual[begin:end], -LARGEST, LARGEST).ravel()
    columns = []
    for delay in DELAYS:
        earlier = np.zeros_like(effect[begin:end])
        source = effect[max(begin - delay, 0) : max(end - delay, 0)]
        earlier[len(earlier) - len(source) :] = source
        columns.append(earlier.ravel())
    matrix = np.stack(columns, axis=1)
    square = matrix.T @ matrix
    ridge = 0.05 * np.trace(square) / len(square) + 1e-9
    return np.linalg.solve(square + ridge * np.eye(len(square)), matrix.T @ target)


def features(residuals: Residuals, runs: Runs, row: int, alarm: int) -> Array:
    """Numbers of one alarm: ``PER_SENSOR`` sensor by sensor, then ``POOLED``."""
    residual, effect = residuals.of(runs, row)
    seen = runs.observations[row, : len(residual) + 1, : residuals.n_sensors]
    begin, end = max(alarm - 1 - BEFORE, 0), min(alarm + AFTER, len(residual))
    e = np.clip(residual[begin:end], -50, 50)
    size = np.sqrt((e**2).mean(axis=0))
    logs = np.log(size + 1e-3)
    profile = action_profile(residual, effect, begin, end)
    per_sensor = [
        np.abs(e.mean(axis=0)) / np.maximum(size, 1e-9),
        logs - np.median(logs),
        np.log(np.abs(e).max(axis=0) / np.maximum(size, 1e-9) + 1e-3),
        _together(e[1:], e[:-1]) if len(e) > 1 else np.zeros(residuals.n_sensors),
        (seen[begin + 1 : end + 1] == seen[begin:end]).mean(axis=0),
        (seen[begin + 1 : end + 1] == 0).mean(axis=0),
        _together(e, effect[begin:end]),
    ]
    pooled = [profile[0], profile[1:].max(), profile[1:].sum()]
    pooled += [logs.min(), float(np.median(logs)), logs.max()]
    return np.concatenate([np.stack(per_sensor, axis=1).ravel(), pooled])


@dataclass(frozen=True, eq=False)
class Namer:
    """Rules that name a fault, or say that they are not sure.

    Attributes
    ----------
    names : tuple of str
    least : float
        Probability below which the answer is "not sure".
    """

    residuals: Residuals
    names: tuple[str, ...]
    least: float
    _model: Any

    def probabilities(self, runs: Runs, alarms: ArrayLike) -> tuple[NDArray[np.int64], Array]:
        """Rows with an alarm, and the chance of each name there, (rows, names)."""
        alarms = np.asarray(alarms)
        rows, values = alarm_features(self.residuals, runs, alarms)
        if not len(rows):
            return rows, np.zeros((0, len(self.names)))
        chances = self._model.predict_proba(values)
        owner = np.array([str(label).split(_OF)[0] for label in self._model.classes_])
        chances = np.stack([chances[:, owner == x].sum(axis=1) for x in self.names], axis=1)
        sensors = plant(runs.plant).sensors
        for i, row in enumerate(rows.tolist()):
            stuck = stuck_sensor(runs.observations[row], int(alarms[row]), self.residuals.n_sensors)
            if stuck is not None and f"sensor: {sensors[stuck]}" in self.names:
                chances[i] = np.array(self.names) == f"sensor: {sensors[stuck]}"
        return rows, chances

    def name(self, runs: Runs, alarms: ArrayLike) -> list[str]:
        """The name for each episode: "" without an alarm, else one of `names` or "not sure"."""
        rows, chances = self.probabilities(runs, alarms)
        found = [""] * len(runs)
        for row, chance in zip(rows.tolist(), chances, strict=True):
            best = int(chance.argmax())
            found[row] = self.names[best] if chance[best] >= self.least else NOT_SURE
        return found


def stuck_sensor(observations: ArrayLike, alarm: int, n_sensors: int) -> int | None:
    """The one sensor that repeated itself ``AGAIN`` times or more around an alarm, if one did.

    Parameters
    ----------
    observations : array, shape (T + 1, D)
        Of one episode, NaN after its end.
    alarm : int
        Number of the observation that raised it.
    n_sensors : int
        Continuous ones, the first of the observation.

    Examples
    --------
    >>> readings = np.array([[0.1, 0.3], [0.2, 0.3], [0.3, 0.3], [0.4, 0.3], [0.5, 0.2]])
    >>> stuck_sensor(readings, alarm=2, n_sensors=2), stuck_sensor(readings[2:], 0, 2)
    (1, None)
    """
    window = slice(max(alarm - 1 - BEFORE, 0), alarm + AFTER + 1)
    seen = np.asarray(observations)[window, :n_sensors]
    often = np.flatnonzero((seen[1:] == seen[:-1]).sum(axis=0) >= AGAIN)
    return int(often[0]) if len(often) == 1 else None


def alarm_features(
    residuals: Residuals, runs: Runs, alarms: ArrayLike
) -> tuple[NDArray[np.int64], Array]:
    """Rows with an alarm after the onset, and their features."""
    alarms = np.asarray(alarms)
    rows = np.flatnonzero((alarms >= runs.onset) & (alarms >= 1))
    values = [features(residuals, runs, int(row), int(alarms[row])) for row in rows]
    return rows, np.array(values)


def learn_names(
    residuals: Residuals, examples: list[tuple[Runs, ArrayLike]], least: float = 0.7
) -> Namer:
    """A linear discriminant with a shrunk covariance (Ledoit and Wolf), every name equally likely.

    A frozen and a drifting sensor look different and have one name: the discriminant tells faults
    apart, and a name gets the sum over its faults (mixture discriminant analysis, Hastie and
    Tibshirani 1996).

    Parameters
    ----------
    residuals : Residuals
    examples : list of (Runs, alarms)
        Faulty runs of the severities that may be learnt from.
    least : float
        See `Namer`.
    """
    if not examples:
        raise LabError("examples: expected faulty runs with their alarms, got none")
    analysis = require("sklearn.discriminant_analysis", "lab").LinearDiscriminantAnalysis
    pipeline = require("sklearn.pipeline", "lab")
    scaler = require("sklearn.preprocessing", "lab").StandardScaler
    values, labels = [], []
    for runs, alarms in examples:
        rows, found = alarm_features(residuals, runs, alarms)
        names = true_names(runs)
        values += [*found]
        labels += [f"{names[row]}{_OF}{runs.fault}" for row in rows]
    kept = [x for x in sorted(set(labels)) if labels.count(x) >= FEWEST]
    rows = [i for i, label in enumerate(labels) if label in kept]
    names = sorted({x.split(_OF)[0] for x in kept})
    faults_of_name = [sum(y.split(_OF)[0] == x.split(_OF)[0] for y in kept) for x in kept]
    priors = np.array([1 / len(names) / n for n in faults_of_name])
    model = pipeline.make_pipeline(
        scaler(), analysis(solver="lsqr", shrinkage="auto", priors=priors)
    )
    model.fit(np.array(values)[rows], [labels[i] for i in rows])
    return Namer(residuals, tuple(names), least, model)


def confusion(truth: list[str], named: list[str]) -> dict[str, dict[str, int]]:
    """True name -> given name -> count, episodes without an alarm left out.

    Examples
    --------
    >>> confusion(["delay", "delay", "actuator"], ["delay", "not sure", ""])
    {'delay': {'delay': 1, 'not sure': 1}}
    """
    pairs = [(t, n) for t, n in zip(truth, named, strict=True) if n]
    columns = sorted({n for _, n in pairs} - {NOT_SURE}) + [NOT_SURE]
    return {
        t: {n: pairs.count((t, n)) for n in columns} for t in sorted({t for t, _ in pairs})
    }  # fmt: skip
