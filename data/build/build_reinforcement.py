"""Break the agents in every way and store what became of them (``data/reinforcement.npz``).

    python data/build/build_reinforcement.py --jobs 2

Signals are fitted and calibrated on clean episodes; the second key and the names are chosen on the
severities 2 and 4 with seeds of their own; all that is reported comes from 1, 3 and 5. CartPole
takes about ten minutes on one core, LunarLander three times that.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepdrift.evidence.calibration import conformal_threshold
from deepdrift.lab.reinforcement_learning import records as R
from deepdrift.lab.reinforcement_learning.controllers import controller
from deepdrift.lab.reinforcement_learning.faults import DEVELOPMENT, JUDGED, faults_of
from deepdrift.lab.reinforcement_learning.keys import (
    LEVELS,
    MEMORIES,
    Choice,
    TwoKeys,
    choose,
    compare_keys,
    danger,
)
from deepdrift.lab.reinforcement_learning.naming import NOT_SURE, Namer, Residuals, learn_names
from deepdrift.lab.reinforcement_learning.outcomes import Outcomes
from deepdrift.lab.reinforcement_learning.policies import load_policy
from deepdrift.lab.reinforcement_learning.signals import (
    FIXED,
    RULE,
    Signals,
    first_above,
    fit_signals,
)
from deepdrift.lab.reinforcement_learning.simulate import Runs, simulate
from deepdrift.lab.reinforcement_learning.traces import Trace, pack, traces_of

MAIN = "hidden innovation"  # caught most on the development severities of both plants
SEEDS = {"calibration": 0, "clean": 10_000, "judged": 20_000, "development": 30_000}
EPISODES = {  # calibration, clean, per fault and severity
    "cartpole": (900, 1000, 100),
    "lunarlander": (600, 400, 100),
}
TRACES = {"cartpole": 0, "lunarlander": 3}  # per fault and severity; carts are quick to simulate


@dataclass
class Bench:
    """One plant with its policy and fitted signals."""

    name: str
    policy: Any
    signals: Signals
    residuals: Residuals
    dangers: np.ndarray
    calibration: np.ndarray

    @property
    def signal_names(self) -> list[str]:
        return [*self.signals.thresholds, RULE]

    def seeds(self, severity: int) -> range:
        first = SEEDS["development" if severity in DEVELOPMENT else "judged"]
        return range(first, first + EPISODES[self.name][2])


def prepare(name: str) -> Bench:
    policy = load_policy(name)
    n = EPISODES[name][0]
    clean = simulate(policy, name, range(SEEDS["calibration"], SEEDS["calibration"] + n))
    survived = clean.rows(clean.lost < 0)
    signals = fit_signals(policy, survived)
    third = np.arange(len(survived)) % 3 == 0
    rest = survived.rows(~third)
    dangers = np.nanmax(danger(name, rest.observations)[:, 1:], axis=1)
    counts = np.array([n, n - len(survived), len(rest)])
    return Bench(name, policy, signals, Residuals(survived.rows(third)), dangers, counts)


@dataclass
class Seen:
    """Runs of one fault and severity with all that was computed on the way."""

    runs: Runs
    scores: dict[str, np.ndarray]
    alarms: dict[str, np.ndarray]
    dangers: np.ndarray

    @classmethod
    def of(cls, bench: Bench, runs: Runs) -> Seen:
        scores = bench.signals.smoothed(runs)
        alarms = {k: first_above(v, bench.signals.thresholds[k]) for k, v in scores.items()}
        alarms[RULE] = first_above(bench.signals.raw(runs, "hidden velocity"), FIXED)
        return cls(runs, scores, alarms, danger(bench.name, runs.observations)[:, 1:])


def choose_keys(bench: Bench, seen: list[Seen]) -> Choice:
    """The setting of the second key, by the development severities alone."""
    one = [Outcomes.of_runs(s.runs, s.alarms[MAIN]) for s in seen]
    found = []
    for level in LEVELS:
        losing = conformal_threshold(torch.from_numpy(bench.dangers), level)
        for memory in MEMORIES:
            keys = TwoKeys(bench.signals.thresholds[MAIN], level, losing, memory)
            two = [Outcomes.of_runs(s.runs, keys.alarms(s.scores[MAIN], s.dangers)) for s in seen]
            found.append(compare_keys(keys, one, two))
    return choose(found)


def named(namer: Namer, seen: Seen) -> np.ndarray:
    places = {"": -1, **{name: i for i, name in enumerate([*namer.names, NOT_SURE])}}
    return np.array([places[x] for x in namer.name(seen.runs, seen.alarms[MAIN])], np.int8)


def hand_over(bench: Bench, seen: Seen, own_sensors: bool) -> Runs:
    """The same episodes with the controller in charge from the main alarm on."""
    runs = seen.runs
    return simulate(
        bench.policy, bench.name, runs.seeds.tolist(), runs.fault, runs.severity,
        backup=controller(bench.name), switch=seen.alarms[MAIN], own_sensors=own_sensors,
    )  # fmt: skip


def swept(bench: Bench, seen: Seen) -> np.ndarray:
    return np.array(
        [
            [first_above(seen.scores[k], m * bench.signals.thresholds[k]) for m in R.MULTIPLES]
            for k in R.SWEPT
        ]
    )


def conditions(name: str) -> Iterator[tuple[int, str, int]]:
    for row, fault in enumerate(faults_of(name)):
        for severity in R.SEVERITIES:
            yield row, fault, severity


def clean_columns(bench: Bench, keys: TwoKeys) -> dict[str, np.ndarray]:
    first, n = SEEDS["clean"], EPISODES[bench.name][1]
    seen = Seen.of(bench, simulate(bench.policy, bench.name, range(first, first + n)))
    taken = hand_over(bench, seen, own_sensors=True)
    paired = simulate(bench.policy, bench.name, bench.seeds(JUDGED[0]))
    return {
        "clean_lost": seen.runs.lost,
        "clean_lengths": seen.runs.lengths,
        "clean_returns": seen.runs.returns,
        "clean_alarms": np.array([seen.alarms[k] for k in bench.signal_names]),
        "clean_key_alarms": keys.alarms(seen.scores[MAIN], seen.dangers),
        "clean_taken_returns": taken.returns,
        "clean_taken_lost": taken.lost,
        "paired_returns": paired.returns,
    }


def build(name: str) -> tuple[R.Record, list[Trace]]:
    """Everything about one plant."""
    torch.set_num_threads(1)
    start = time.time()

    def say(text: str) -> None:
        print(f"{name}, {time.time() - start:.0f} s: {text}", flush=True)

    bench = prepare(name)
    say(f"calibrated, {bench.calibration.tolist()}")
    shape = len(faults_of(name)), len(R.SEVERITIES), EPISODES[name][2]
    table: dict[str, np.ndarray] = {
        k: np.full(shape, -1) for k in ("lost", "lengths", "sensors", "key_alarms", "named")
    }
    table |= {"returns": np.full(shape, np.nan), "taken_lost": np.full((2, *shape), -2)}
    table |= {"taken_returns": np.full((2, *shape), np.nan)}
    table["alarms"] = np.full((len(bench.signal_names), *shape), -1)
    table["sweep"] = np.full((len(R.SWEPT), len(R.MULTIPLES), *shape), -1)
    traces: list[Trace] = []

    def look(fault: str, severity: int) -> Seen:
        seeds = bench.seeds(severity)
        seen = Seen.of(bench, simulate(bench.policy, name, seeds, fault, severity))
        traces.extend(traces_of(seen.runs, seen.scores, range(TRACES[name])))
        return seen

    cells = list(conditions(name))
    learnt = {(f, s): look(f, s) for _, f, s in cells if s in DEVELOPMENT}
    say("development severities simulated")
    chosen = choose_keys(bench, list(learnt.values()))
    namer = learn_names(bench.residuals, [(x.runs, x.alarms[MAIN]) for x in learnt.values()])
    say(f"second key on the development severities: {chosen}")
    for row, fault, severity in cells:
        seen = learnt.pop((fault, severity), None) or look(fault, severity)
        place = row, severity - 1
        table["lost"][place], table["lengths"][place] = seen.runs.lost, seen.runs.lengths
        table["sensors"][place], table["returns"][place] = seen.runs.sensors, seen.runs.returns
        table["alarms"][:, *place] = [seen.alarms[k] for k in bench.signal_names]
        table["key_alarms"][place] = chosen.keys.alarms(seen.scores[MAIN], seen.dangers)
        table["named"][place] = named(namer, seen)
        table["sweep"][:, :, *place] = swept(bench, seen)
        if severity in JUDGED:
            for i, senses in enumerate(R.SENSES):
                taken = hand_over(bench, seen, own_sensors=senses == "own sensors")
                table["taken_returns"][i, *place] = taken.returns
                table["taken_lost"][i, *place] = taken.lost
            say(f"{fault} {severity}: {Outcomes.of_runs(seen.runs, seen.alarms[MAIN])}")
    table |= clean_columns(bench, chosen.keys)
    keys = chosen.keys
    record = R.Record(
        plant=name,
        faults=np.array(faults_of(name)),
        signals=np.array(bench.signal_names),
        names=np.array([*namer.names, NOT_SURE]),
        thresholds=np.array([*bench.signals.thresholds.values(), FIXED]),
        keys=np.array([keys.unfamiliar, keys.level, keys.losing, keys.memory]),
        main=np.array(bench.signal_names.index(MAIN)),
        calibration=bench.calibration,
        **{k: small(k, v) for k, v in table.items()},
    )
    say("done")
    return record, traces


def small(name: str, values: np.ndarray) -> np.ndarray:
    kind = {"named": np.int8}.get(name, np.float32 if "returns" in name else np.int16)
    return values.astype(kind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="plants at the same time")
    parser.add_argument("--plants", nargs="+", choices=list(EPISODES), default=list(EPISODES))
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "reinforcement.npz")
    args = parser.parse_args()

    arrays: dict[str, np.ndarray] = {}
    if args.out.exists():  # keep the plants that are not built now
        with np.load(args.out, allow_pickle=False) as file:
            arrays = {k: file[k] for k in file}
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for record, traces in pool.map(build, args.plants):
            arrays |= R.arrays_of(record)
            if traces:
                arrays |= {f"traces-{record.plant}/{k}": v for k, v in pack(traces).items()}
    np.savez_compressed(args.out, **arrays)
    print(f"{args.out}: {args.out.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
