"""Channels: what a fault does to N episodes that run in step with each other.

Readings are (N, D) float32, actions (N,) integers or (N, A) floats, and *bodies* what the plant
consists of: environments of gymnasium, or one `carts.Carts` that holds N of them. Reading ``t`` is
seen before action ``t``. From the onset on, readings and actions of that number are changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepdrift.lab.reinforcement_learning.noise import FAULT, Streams
from deepdrift.lab.reinforcement_learning.plants import LabError, Plant

Readings = NDArray[np.float32]
Actions = NDArray[Any]


class Channel:
    """A fault that does nothing; the others override one of its three methods.

    Attributes
    ----------
    sensors : array, shape (N,)
        The broken sensor of each episode; -1 for faults that break no single one.
    """

    one_sensor = False

    def __init__(
        self,
        plant: Plant,
        parameter: float,
        seeds: Sequence[int],
        onset: int,
        sensor: int | None = None,
        policy: Any = None,
    ) -> None:
        self.plant, self.parameter, self.onset, self.policy = plant, parameter, onset, policy
        self.n, self.scale = len(seeds), np.array(plant.scale)
        self.streams = Streams(seeds, FAULT)
        drawn = (self.streams.uniform(1)[:, 0] * plant.n_physical).astype(int)
        self.signs = np.where(self.streams.uniform(1)[:, 0] < 0.5, -1.0, 1.0)
        fixed = drawn if sensor is None else np.full(self.n, sensor)
        self.sensors = fixed if self.one_sensor else np.full(self.n, -1)
        self.begin()

    def begin(self) -> None:
        """Prepare what the fault remembers."""

    def sense(self, step: int, readings: Readings) -> Readings:
        """What the policy sees of the readings."""
        return readings

    def act(self, step: int, actions: Actions) -> Actions:
        """What reaches the plant of the actions."""
        return actions

    def strike(self, step: int, bodies: Sequence[Any]) -> None:
        """Change the plant itself."""

    def restore(self, bodies: Sequence[Any]) -> None:
        """Undo what `strike` did, before a reset."""

    def _chosen(self, readings: Readings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return np.arange(len(readings)), self.sensors


class _Error(Channel):
    """An error (N, physical sensors) is added, in the usual sizes of the sensors."""

    def error(self, step: int) -> NDArray[np.float64]:
        raise NotImplementedError

    def sense(self, step: int, readings: Readings) -> Readings:
        if step < self.onset or self.parameter == 0:
            return readings
        seen = readings.astype(np.float64)
        seen[:, : len(self.scale)] += self.scale * self.error(step)
        return seen.astype(np.float32)


class WhiteNoise(_Error):
    """Independent normal errors in all physical sensors."""

    def error(self, step: int) -> NDArray[np.float64]:
        return self.parameter * self.streams.normal(len(self.scale))


class SlowNoise(_Error):
    """Errors that remember: a stationary autoregression of order one."""

    memory = 0.95

    def begin(self) -> None:
        self._level = np.zeros((self.n, len(self.scale)))

    def error(self, step: int) -> NDArray[np.float64]:
        fresh = self.streams.normal(len(self.scale))
        grown = self.memory * self._level + np.sqrt(1 - self.memory**2) * fresh
        self._level = fresh if step == self.onset else grown
        return self.parameter * self._level


class BiasRamp(_Error):
    """One sensor's error grows in a straight line, up or down."""

    one_sensor = True

    def error(self, step: int) -> NDArray[np.float64]:
        error = np.zeros((self.n, len(self.scale)))
        size = self.parameter * (step - self.onset) / 100
        error[np.arange(self.n), self.sensors] = self.signs * size
        return error


class Nudges(_Error):
    """The sign of the gradient that brings the policy nearest to another action.

    Goodfellow, Shlens and Szegedy 2015. A policy that answers with a number is pushed away from
    its answer, up or down as the episode's sign says.
    """

    def begin(self) -> None:
        if self.policy is None:
            raise LabError("nudges: pass policy=, whom they are to mislead")

    def sense(self, step: int, readings: Readings) -> Readings:
        self._readings = readings
        return super().sense(step, readings)

    def error(self, step: int) -> NDArray[np.float64]:
        seen = torch.from_numpy(self._readings).requires_grad_()
        outputs = self.policy(seen)
        if self.plant.n_actions is None:
            margin = -outputs[:, 0] * torch.from_numpy(self.signs)
        else:
            best = outputs.topk(2, dim=1).values
            margin = best[:, 0] - best[:, 1]
        (slope,) = torch.autograd.grad(margin.sum(), seen)
        return -self.parameter * np.sign(slope.numpy()[:, : len(self.scale)])


class Frozen(Channel):
    """One sensor shows its reading at the onset for ``parameter`` steps."""

    one_sensor = True

    def sense(self, step: int, readings: Readings) -> Readings:
        if step == self.onset:
            self._held = readings[self._chosen(readings)].copy()
        if not 0 <= step - self.onset < round(self.parameter):
            return readings
        seen = readings.copy()
        seen[self._chosen(readings)] = self._held
        return seen


class Dropped(Channel):
    """One sensor reads zero, each time with probability ``parameter``."""

    one_sensor = True

    def sense(self, step: int, readings: Readings) -> Readings:
        if step < self.onset:
            return readings
        seen, lost = readings.copy(), self.streams.uniform(1)[:, 0] < self.parameter
        rows, columns = self._chosen(readings)
        seen[rows[lost], columns[lost]] = 0
        return seen


class Lag(Channel):
    """All readings are ``parameter`` steps old."""

    def begin(self) -> None:
        self._past: deque[Readings] = deque(maxlen=round(self.parameter) + 1)

    def sense(self, step: int, readings: Readings) -> Readings:
        self._past.append(readings)
        return readings if step < self.onset else self._past[0]


class DelayedActuator(Channel):
    """Every action arrives ``parameter`` steps late."""

    def begin(self) -> None:
        self._past: deque[Actions] = deque(maxlen=round(self.parameter) + 1)

    def act(self, step: int, actions: Actions) -> Actions:
        self._past.append(actions)
        return actions if step < self.onset else self._past[0]


class _Strike(Channel):
    """Attributes of the bodies are multiplied at the onset, and put back before a reset."""

    names: dict[str, str] = {}

    def begin(self) -> None:
        self._before: list[float] = []

    def factor(self) -> float:
        return self.parameter

    def strike(self, step: int, bodies: Sequence[Any]) -> None:
        if step == self.onset and self.plant.name in self.names:
            self._before = [getattr(body, self.names[self.plant.name]) for body in bodies]
            for body, before in zip(bodies, self._before, strict=True):
                self.put(body, before * self.factor())

    def restore(self, bodies: Sequence[Any]) -> None:
        for body, before in zip(bodies, self._before, strict=bool(self._before)):
            self.put(body, before)
        self._before = []

    def put(self, body: Any, value: float) -> None:
        setattr(body, self.names[self.plant.name], value)


class WeakActuator(_Strike):
    """The cart's motor and the pendulum's lose a share of their force; the lander misfires.

    An engine of the lander fails to answer with probability ``parameter``, step by step.
    """

    names = {"cartpole": "force_mag"}

    def factor(self) -> float:
        return 1 - self.parameter

    def act(self, step: int, actions: Actions) -> Actions:
        if step < self.onset or self.plant.name in self.names:
            return actions
        if self.plant.n_actions is None:
            return actions * np.asarray(1 - self.parameter, dtype=actions.dtype)
        failed = self.streams.uniform(1)[:, 0] < self.parameter
        return np.where(failed, 0, actions)


class Gravity(_Strike):
    """Everything weighs ``parameter`` times as much."""

    names = {"cartpole": "gravity", "pendulum": "g", "lunarlander": "gravity"}

    def put(self, body: Any, value: float) -> None:
        """The lander's world has its own copy, and a new one after each reset."""
        super().put(body, value)
        if self.plant.name == "lunarlander":
            body.world.gravity = (0, value)


class PoleLength(_Strike):
    """The pole is ``parameter`` times as long; its mass stays."""

    names = {"cartpole": "length", "pendulum": "l"}

    def put(self, body: Any, value: float) -> None:
        """CartPole keeps mass times length from its construction: without this, no such pole."""
        super().put(body, value)
        if self.plant.name == "cartpole":
            body.polemass_length = body.masspole * value


class Wind(Channel):
    """Gymnasium's wind and turbulence, switched on at the onset."""

    turbulence = 0.1  # gymnasium's usual 1.5 beside a wind of 15

    def strike(self, step: int, bodies: Sequence[Any]) -> None:
        if step != self.onset or self.parameter == 0:
            return
        phases = (self.streams.uniform(2) * 19_998 - 9999).astype(int)
        for body, (wind, torque) in zip(bodies, phases.tolist(), strict=True):
            body.wind_idx, body.torque_idx = wind, torque
            body.wind_power = self.parameter
            body.turbulence_power = self.turbulence * self.parameter
            body.enable_wind = True

    def restore(self, bodies: Sequence[Any]) -> None:
        for body in bodies:
            body.enable_wind = False
