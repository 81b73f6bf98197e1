"""What can go wrong with an agent: its sensors, its actuators, the world, and time.

``FAULTS`` holds one entry per fault. `Fault.start` makes a *channel* for N episodes at once, which
changes what the policy sees (`Channel.sense`), what reaches the plant (`Channel.act`) and the plant
itself (`Channel.strike`); :class:`FaultyEnv` puts a channel of one episode around an environment.
Severity runs from 0 (nothing happens) to 5 and picks the parameter, linear between whole numbers.

What is made or chosen with the help of faults sees the severities ``DEVELOPMENT`` only; what is
reported comes from ``JUDGED``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepdrift.errors import require
from deepdrift.lab.reinforcement_learning import channels as C
from deepdrift.lab.reinforcement_learning.plants import LabError, Plant, plant

gymnasium = require("gymnasium", "rl")

DEVELOPMENT = (2, 4)
JUDGED = (1, 3, 5)
KINDS = ("one sensor", "all sensors", "delay", "actuator", "dynamics")
FOREVER = 10_000
Levels = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Fault:
    """A fault, where it strikes, and how hard.

    Attributes
    ----------
    name, description : str
    kind : str
        One of ``KINDS``.
    channel : type
        What carries it out, of :mod:`deepdrift.lab.reinforcement_learning.channels`.
    levels : dict
        Plant -> parameter at severity 0 to 5. Plants that it does not name cannot have the fault.
    unit : str
        What the parameter is.

    Examples
    --------
    >>> FAULTS["lag"].parameter("cartpole", 2), FAULTS["lag"].unit
    (2.0, 'steps')
    >>> print(FAULTS["lag"])
    lag (delay): the policy sees what was true some steps ago
    """

    name: str
    kind: str
    channel: type[C.Channel] = field(repr=False)
    levels: dict[str, Levels]
    unit: str
    description: str

    def parameter(self, plant_name: str, severity: float) -> float:
        """The parameter at a severity, 0 to 5.

        Raises
        ------
        LabError
            If the plant cannot have the fault, or the severity is not a number from 0 to 5.
        """
        if plant_name not in self.levels:
            raise LabError(f"{self.name} is no fault of {plant_name!r}: {', '.join(self.levels)}")
        if not isinstance(severity, Real) or not 0 <= severity <= 5:  # refuses NaN as well
            raise LabError(f"severity: expected a number from 0 to 5, got {severity!r}")
        return float(np.interp(severity, range(6), self.levels[plant_name]))

    def start(
        self,
        plant_: Plant,
        severity: float,
        seeds: Sequence[int],
        *,
        onset: int | None = None,
        sensor: int | None = None,
        policy: Any = None,
    ) -> C.Channel:
        """The channel of N episodes, one per seed.

        Parameters
        ----------
        plant_ : Plant
        onset : int, optional
            First step at which it acts; the plant's own by default.
        sensor : int, optional
            Which sensor a fault of one sensor breaks; by default each episode draws one.
        policy : Policy, optional
            Whom adversarial nudges want to mislead.
        """
        parameter = self.parameter(plant_.name, severity)
        if sensor is not None and not 0 <= sensor < plant_.n_physical:
            raise LabError(f"sensor: expected 0 to {plant_.n_physical - 1}, got {sensor!r}")
        begin = plant_.onset if onset is None else int(onset)
        return self.channel(plant_, parameter, seeds, begin, sensor, policy)

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}): {self.description}"


def _same(levels: Levels) -> dict[str, Levels]:
    return {"cartpole": levels, "lunarlander": levels, "pendulum": levels}


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in [
        Fault("white noise", "all sensors", C.WhiteNoise, _same((0, 0.5, 1, 2, 3, 5)),
              "standard deviation / usual size", "independent errors in every sensor"),
        Fault("slow noise", "all sensors", C.SlowNoise, _same((0, 0.25, 0.5, 1, 2, 3)),
              "standard deviation / usual size", "errors that last for some twenty steps"),
        Fault("bias ramp", "one sensor", C.BiasRamp, _same((0, 0.5, 1, 2, 4, 6)),
              "usual sizes per 100 steps", "one sensor's error grows steadily"),
        Fault("frozen sensor", "one sensor", C.Frozen,
              {"cartpole": (0, 2, 4, 8, 16, FOREVER), "lunarlander": (0, 5, 10, 20, 40, FOREVER),
               "pendulum": (0, 2, 4, 8, 16, FOREVER)},
              "steps", "one sensor keeps its value for a while, or for good"),
        Fault("dropped sensor", "one sensor", C.Dropped, _same((0, 0.1, 0.2, 0.4, 0.7, 1)),
              "share of readings", "one sensor reads zero now and then"),
        Fault("lag", "delay", C.Lag,
              {"cartpole": (0, 1, 2, 3, 4, 6), "lunarlander": (0, 2, 4, 8, 12, 16),
               "pendulum": (0, 1, 2, 3, 4, 6)},
              "steps", "the policy sees what was true some steps ago"),
        Fault("delayed actuator", "delay", C.DelayedActuator,
              {"cartpole": (0, 1, 2, 3, 4, 6), "lunarlander": (0, 2, 4, 8, 12, 16),
               "pendulum": (0, 1, 2, 3, 4, 6)},
              "steps", "actions arrive some steps late"),
        Fault("weak actuator", "actuator", C.WeakActuator,
              _same((0, 0.15, 0.3, 0.5, 0.7, 0.85)),
              "share lost", "the motor has lost force, or the engine misfires"),
        Fault("gravity", "dynamics", C.Gravity,
              {"cartpole": (1, 1.25, 1.5, 2, 2.5, 3), "lunarlander": (1, 1.1, 1.2, 1.4, 1.6, 2),
               "pendulum": (1, 1.1, 1.2, 1.4, 1.6, 2)},
              "times the usual", "everything weighs more"),
        Fault("pole length", "dynamics", C.PoleLength,
              {"cartpole": (1, 1.5, 2, 2.5, 3, 4), "pendulum": (1, 1.1, 1.2, 1.4, 1.6, 2)},
              "times the usual", "the pole has become longer, its mass the same"),
        Fault("wind", "dynamics", C.Wind, {"lunarlander": (0, 4, 8, 15, 22, 30)},
              "gymnasium's wind_power", "gusts and turbulence"),
        Fault("nudges", "all sensors", C.Nudges, _same((0, 0.25, 0.5, 1, 1.5, 2.5)),
              "usual sizes", "errors chosen to mislead the policy (FGSM)"),
    ]
}  # fmt: skip
"""Name -> fault."""


def faults_of(plant_name: str) -> tuple[str, ...]:
    """The faults that a plant can have.

    Examples
    --------
    >>> "wind" in faults_of("cartpole"), "wind" in faults_of("lunarlander")
    (False, True)
    """
    plant(plant_name)
    return tuple(name for name, fault in FAULTS.items() if plant_name in fault.levels)


def find_fault(name: str) -> Fault:
    """A fault by name; `LabError` if there is none."""
    if name not in FAULTS:
        raise LabError(f"fault: expected one of {', '.join(FAULTS)}, got {name!r}")
    return FAULTS[name]


class FaultyEnv(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """A noisy environment in which something breaks at a known step.

    Parameters
    ----------
    env : NoisyEnv
        Or a wrapper around one.
    name, fault : str
        Of ``PLANTS`` and ``FAULTS``.
    severity : float
        0 to 5.
    onset, sensor, policy
        See `Fault.start`.
    """

    def __init__(
        self,
        env: Any,
        name: str,
        fault: str,
        severity: float,
        onset: int | None = None,
        sensor: int | None = None,
        policy: Any = None,
    ) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, name=name, fault=fault, severity=severity, onset=onset, sensor=sensor,
            policy=policy,
        )  # fmt: skip
        gymnasium.Wrapper.__init__(self, env)
        self.fault = find_fault(fault)
        self._plant, self._severity = plant(name), severity
        self._settings: dict[str, Any] = {"onset": onset, "sensor": sensor, "policy": policy}
        self._seed, self._step = 0, 0
        self._start(0)

    def _start(self, seed: int) -> None:
        self._seed, self._step = seed, 0
        self.channel = self.fault.start(self._plant, self._severity, [seed], **self._settings)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Undo what was broken, then reset."""
        self.channel.restore([self.unwrapped])
        observation, info = self.env.reset(seed=seed, options=options)
        self._start(self._seed + 1 if seed is None else int(seed))
        return self._sense(observation), info

    def step(self, action: Any) -> Any:
        """Act, and break what breaks at this step."""
        sent = self.channel.act(self._step, np.asarray(action)[None])[0]
        self.channel.strike(self._step, [self.unwrapped])
        observation, reward, terminated, truncated, info = self.env.step(sent)
        self._step += 1
        return self._sense(observation), reward, terminated, truncated, info

    def _sense(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.channel.sense(self._step, observation[None])[0]
