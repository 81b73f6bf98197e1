"""Many episodes of a policy on a plant with a fault, with the true state kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from deepdrift.lab.reinforcement_learning.bodies import bodies
from deepdrift.lab.reinforcement_learning.channels import Channel
from deepdrift.lab.reinforcement_learning.faults import find_fault
from deepdrift.lab.reinforcement_learning.noise import PLANT, SENSOR, Streams
from deepdrift.lab.reinforcement_learning.plants import Array, LabError, plant

Controller = Callable[[NDArray[np.float32]], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Runs:
    """N episodes, padded with NaN to the longest, T steps.

    Attributes
    ----------
    plant, fault : str
        ``fault`` is "" for clean runs.
    severity : float
    onset : int
        First step at which the fault acts; for clean runs where it would.
    seeds, sensors : array, shape (N,)
        ``sensors``: which one is broken, -1 for none in particular.
    observations : array, shape (N, T + 1, D), float32
        What the policy saw.
    states : array, shape (N, T + 1, D), float32
        What was true, in the same order.
    actions : array, shape (N, T) of integers, -1 after the end, or (N, T, A) of floats
        What the policy (or whoever took over) asked for.
    rewards : array, shape (N, T)
    lengths : array, shape (N,)
        Steps until the episode ended.
    lost : array, shape (N,)
        Step in which control was lost, by the true state (`plants.Plant.lost`), or -1. The
        observation of that step, number ``lost + 1``, is the first that can show it.
    terminated : array of bool, shape (N,)
        The environment ended the episode, not the time limit.
    """

    plant: str
    fault: str
    severity: float
    onset: int
    seeds: NDArray[np.int64]
    sensors: NDArray[np.int64]
    observations: NDArray[np.float32]
    states: NDArray[np.float32]
    actions: NDArray[Any]
    rewards: Array
    lengths: NDArray[np.int64]
    lost: NDArray[np.int64]
    terminated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.seeds)

    def __str__(self) -> str:
        what = f"{self.fault}, severity {self.severity:g}" if self.fault else "no fault"
        return (
            f"{len(self)} episodes of {self.plant} ({what}): mean return "
            f"{self.returns.mean():.0f}, control lost in {int((self.lost >= 0).sum())}"
        )

    @property
    def returns(self) -> Array:
        """Sum of rewards of each episode, shape (N,)."""
        return np.nansum(self.rewards, axis=1)

    def rows(self, chosen: Any) -> Runs:
        """Some of the episodes, by index or mask."""
        picked = np.arange(len(self))[chosen]
        per_episode = ("seeds", "sensors", "observations", "states", "actions", "rewards",
                       "lengths", "lost", "terminated")  # fmt: skip
        kept = {name: getattr(self, name)[picked] for name in per_episode}
        return Runs(self.plant, self.fault, self.severity, self.onset, **kept)


def _policy(policy: torch.nn.Module, discrete: bool) -> Controller:
    def act(readings: NDArray[np.float32]) -> NDArray[Any]:
        with torch.no_grad():
            outputs = policy(torch.from_numpy(readings))
        return (outputs.argmax(dim=1) if discrete else outputs).numpy()

    return act


def simulate(
    policy: torch.nn.Module,
    name: str,
    seeds: Sequence[int],
    fault: str = "",
    severity: float = 0.0,
    *,
    onset: int | None = None,
    sensor: int | None = None,
    noise: float = 1.0,
    backup: Controller | None = None,
    switch: ArrayLike | None = None,
    own_sensors: bool = False,
) -> Runs:
    """Run N episodes in step with each other, one per seed.

    Parameters
    ----------
    policy : Module
        Observations (N, D) -> logits or actions.
    name : str
        Of ``PLANTS``.
    fault : str
        Of ``FAULTS``; none if empty.
    severity, onset, sensor
        See `faults.Fault.start`.
    noise : float
        Multiple of the noise that is always there.
    backup : callable, optional
        Readings (N, D) -> actions: who takes over.
    switch : array of int, shape (N,), optional
        First step at which ``backup`` acts in each episode; -1 for never.
    own_sensors : bool
        Whether ``backup`` reads sensors of its own that the fault spares.

    Returns
    -------
    Runs
        The same seeds give the same starts, pushes and sensor noise, whatever breaks.

    Raises
    ------
    LabError
        For names that do not exist, no seeds, or a switch without a backup.
    """
    place = plant(name)
    if len(seeds) == 0:
        raise LabError("seeds: expected at least one")
    if (backup is None) != (switch is None):
        raise LabError("backup, switch: pass both or neither")
    n, begin = len(seeds), place.onset if onset is None else int(onset)
    change = np.full(n, -1) if switch is None else np.asarray(switch)
    if change.shape != (n,):
        raise LabError(f"switch: expected one step for each of {n} seeds, got {change.shape}")
    channel = (
        find_fault(fault).start(
            place, severity, seeds, onset=begin, sensor=sensor, policy=policy
        )
        if fault
        else Channel(place, 0.0, seeds, begin)
    )  # fmt: skip
    act = _policy(policy, place.n_actions is not None)
    body, pushes, errors = bodies(place, seeds), Streams(seeds, PLANT), Streams(seeds, SENSOR)
    alive, lengths, lost = np.ones(n, dtype=bool), np.zeros(n, dtype=np.int64), np.full(n, -1)
    terminated = np.zeros(n, dtype=bool)
    width = len(place.noise)

    def read(
        step: int, moved: NDArray[np.bool_]
    ) -> tuple[Array, NDArray[np.float32], NDArray[np.float32]]:
        true = body.states()
        error = noise * np.array(place.noise) * errors.normal(width, moved)
        clean = (true.astype(np.float32).astype(np.float64) + error).astype(np.float32)
        return true, clean, channel.sense(step, clean)

    true, clean, seen = read(0, alive)
    kept: list[tuple[Any, ...]] = [(true.astype(np.float32), seen)]
    moves: list[tuple[Any, ...]] = []
    for step in range(place.n_steps):
        actions = act(seen)
        if backup is not None:
            taken = (change >= 0) & (step >= change) & alive
            if taken.any():
                actions[taken] = backup((clean if own_sensors else seen)[taken])
        sent = channel.act(step, actions)
        channel.strike(step, body.parts)
        body.push(noise * np.array(place.kick) * pushes.normal(len(place.kick), alive), alive)
        rewards, ended, failed = body.step(sent, alive)
        moved = alive
        moves.append((actions, rewards, moved))
        lengths[moved] += 1
        lost = np.where((lost < 0) & failed & (step >= place.grace), step, lost)
        terminated |= ended
        alive = alive & ~ended
        true, clean, seen = read(step + 1, moved)
        kept.append((true.astype(np.float32), seen))
        if not alive.any():
            break

    running = np.stack([m[2] for m in moves], axis=1)  # (N, T)
    shown = np.concatenate([np.ones((n, 1), dtype=bool), running], axis=1)[..., None]
    states, observations = (
        np.where(shown, np.stack(x, axis=1), np.float32("nan")) for x in zip(*kept, strict=True)
    )
    done = np.stack([m[0] for m in moves], axis=1)
    padded = (
        np.where(running, done, -1).astype(np.int16)
        if done.ndim == 2
        else np.where(running[..., None], done, np.float32("nan"))
    )
    earned = np.where(running, np.stack([m[1] for m in moves], axis=1), np.nan)
    return Runs(name, fault, float(severity), begin, np.asarray(seeds), channel.sensors,
                observations, states, padded, earned, lengths, lost, terminated)  # fmt: skip
