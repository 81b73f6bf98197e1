"""What one update of the state machine costs, beside refitting a line to the window. Run it with

    python tests/benchmarks/fsm.py

In every round each way works through the same stream, in forward and backward order by turns; the
table prints medians and quartiles over the rounds. The ratio is taken within a round, so that a
machine that slows down for a minute slows both sides. Times are CPU time of this process.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from deepdrift.alarms.config import ObserverConfig
from deepdrift.alarms.fsm import DriftObserver
from deepdrift.alarms.replay import replay

PROMISED_MICROSECONDS, PROMISED_REPLAY_MS = 5.0, 100.0
REFIT, REPLAY, REPLAYED = "numpy.polyfit on the window", "replay of 10,000 steps", 10_000


def refit(values: list[float], window: int) -> None:
    """Keep the last values and fit a line to them at every step, as published."""
    kept: deque[tuple[int, float]] = deque(maxlen=window)
    for step, value in enumerate(values):
        kept.append((step, value))
        if len(kept) >= 5:
            steps, seen = zip(*kept, strict=True)
            np.polyfit(steps, seen, 1)


def observe(values: list[float], config: ObserverConfig) -> None:
    """The state machine, step by step."""
    update = DriftObserver(config, "layer").update
    for value in values:
        update(value)


def measure(window: int, rounds: int) -> dict[str, list[float]]:
    """CPU microseconds per step of each way, round by round."""
    stream = np.random.default_rng(0).normal(size=REPLAYED)
    values, short = stream.tolist(), stream[:500].tolist()
    ways: dict[str, tuple[Callable[[], object], int]] = {
        REFIT: (lambda: refit(short, window), len(short))
    }
    for detector in ("slope", "ewma", "cusum", "page-hinkley"):
        config = ObserverConfig(window_size=window, detector=detector)
        ways[f"update, {detector}"] = (lambda c=config: observe(values, c), len(values))
    config = ObserverConfig(window_size=window)
    ways[REPLAY] = (lambda: replay(stream, config), len(values))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-1, rounds):
        for name in list(ways) if turn % 2 else reversed(ways):
            run, steps = ways[name]
            start = time.process_time()
            run()
            if turn >= 0:  # the first round only warms up
                times[name].append(1e6 * (time.process_time() - start) / steps)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--windows", type=int, nargs="+", default=[20, 200])
    options = parser.parse_args()
    print(f"{'':<32}{'microseconds per step':>28}{'times faster than polyfit':>32}")
    for window in options.windows:
        times = measure(window, options.rounds)
        print(f"window {window}")
        for name, taken in times.items():
            ratios = [a / b for a, b in zip(times[REFIT], taken, strict=True)]
            columns = [statistics.quantiles(x, n=4) for x in (taken, ratios)]
            cells = "".join(f"{m:>14.2f} ({a:.2f} to {b:.2f})".rjust(30) for a, m, b in columns)
            print(f"  {name:<30}{cells}")
        worst = max(statistics.median(t) for n, t in times.items() if n.startswith("update"))
        whole = statistics.median(times[REPLAY]) * REPLAYED / 1000
        for what, value, limit, unit in [
            ("one update", worst, PROMISED_MICROSECONDS, "microseconds"),
            (REPLAY, whole, PROMISED_REPLAY_MS, "ms"),
        ]:
            verdict = "kept" if value < limit else "NOT KEPT"
            print(f"  {what} below {limit:g} {unit}: {verdict} ({value:.2f})")


if __name__ == "__main__":
    main()
