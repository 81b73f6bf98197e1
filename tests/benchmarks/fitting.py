"""What learning costs: `fit` against its own sums, the first read after `load`, memory of a stream.

Every figure is a ratio of CPU times taken in turn in this process (median over rounds), or a peak
of memory. `<=` behind a ratio is the promise that it keeps, `**>**` one that it misses in this run.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peers import stage
from torch import Tensor

from deepdrift.monitor.reference import Fingerprint, Reference
from deepdrift.monitor.scorer import StateScorer

FIT, FIRST_READ, STREAM = 3.0, 2.0, 300.0  # the promises: two ratios, and MiB
RESNET_50 = [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3


def states_of(n: int, widths: list[int], seed: int) -> dict[str, Tensor]:
    """Rectified noise with a common part: states cheap to make."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(n, 1, generator=generator)
    return {
        str(i): (common + torch.randn(n, d, generator=generator)).relu()
        for i, d in enumerate(widths)
    }


def in_turn(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each call, round by round, forwards and backwards in turn."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in list(calls)[:: -1 if number % 2 else 1]:
            start = time.process_time()
            calls[name]()
            found[name].append(time.process_time() - start)
    return found


def held(value: float, promise: float) -> str:
    return f"{value:.2f} {'<=' if value <= promise else '**>**'} {promise:g}"


def ratio(found: dict[str, list[float]], name: str, base: str) -> float:
    return statistics.median(a / b for a, b in zip(found[name], found[base], strict=True))


class PlainSums:
    """The least that innovation and distance need: X^T X per layer, X^T Y per step, float64."""

    def __init__(self, widths: list[int]) -> None:
        self.square = [torch.zeros(d, d, dtype=torch.float64) for d in widths]
        pairs = zip(widths, widths[1:], strict=False)
        self.cross = [torch.zeros(a, b, dtype=torch.float64) for a, b in pairs]

    def add(self, states: dict[str, Tensor]) -> None:
        before = None
        for i, state in enumerate(states.values()):
            x = state.double()
            self.square[i].addmm_(x.T, x)
            if before is not None:
                self.cross[i - 1].addmm_(before.T, x)
            before = x


def give_back() -> None:
    """Return freed memory to the system, where that can be asked for: peaks are then our own."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        pass


def fit_table(quick: bool) -> None:
    print("| width, 3 layers | batch | classes | fit, against the plain sums |")
    print("|---|---|---|---|")
    grid = itertools.product((256, 1024) if quick else (256, 512, 1024), (16, 64, 256))
    for (width, batch), n_classes in itertools.product(grid, (0, 10, 100, 1000)):
        widths = [width] * 3
        batches = [states_of(batch, widths, seed) for seed in range(4)]
        labels = [torch.randint(n_classes or 1, (batch,)) for _ in batches]
        scorer, plain = StateScorer(), PlainSums(widths)

        def fit(scorer=scorer, batches=batches, labels=labels, n_classes=n_classes) -> None:
            for x, y in zip(batches, labels, strict=True):
                scorer.partial_fit(x, y if n_classes else None)

        def sums(plain=plain, batches=batches) -> None:
            for x in batches:
                plain.add(x)

        fit(), sums()  # the matrices are made, the classes are known
        found = in_turn({"fit": fit, "sums": sums}, 5 if quick else 15)
        print(f"| {width} | {batch} | {n_classes} | {held(ratio(found, 'fit', 'sums'), FIT)} |")


def load_table(quick: bool) -> None:
    print("\n| layers | first read after load, against a later one | file, MiB | load, ms |")
    print("|---|---|---|---|")
    for widths in ([64] * 6, [256] * 4) if quick else ([64] * 6, [256] * 4, [768] * 4, [2048] * 2):
        scorer = StateScorer().partial_fit(states_of(600, widths, 0))
        scorer.calibrate(states_of(200, widths, 1))
        x = states_of(1, widths, 2)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "reference.safetensors"
            names = tuple(scorer.widths)
            mark = Fingerprint(names, tuple(widths), (0,) * len(widths), "mean", None, "fused")
            Reference(mark, scorer.sums, scorer.calibration_scores).save(path)
            size, ratios, loads = path.stat().st_size / 2**20, [], []
            for _ in range(5):
                start = time.process_time()
                reference, _ = Reference.load(path)
                new = StateScorer()
                new.widths, new.sums = dict(zip(names, widths, strict=True)), reference.sums
                new.set_calibration(reference.calibration, "conformal")
                times = [time.process_time()]
                loads.append(1e3 * (times[0] - start))
                for _ in range(12):
                    new.read(x)
                    times.append(time.process_time())
                first, *later = (b - a for a, b in itertools.pairwise(times))
                ratios.append(first / statistics.median(later))
        text = held(statistics.median(ratios), FIRST_READ)
        name = f"{len(widths)} x {widths[0]}"
        print(f"| {name} | {text} | {size:.1f} | {statistics.median(loads):.0f} |")


def stream_table(quick: bool) -> None:
    print("\n| widths of ResNet-50 | samples | states, MiB | peak, MiB | CPU, s |")
    print("|---|---|---|---|---|")
    n, batch = 5_000 if quick else 50_000, 250
    scorer, result = StateScorer(), {}

    def fit() -> None:
        for seed in range(8):
            scorer.partial_fit(states_of(batch, RESNET_50, seed))

    def calibrate() -> None:
        stream = scorer.stream()
        for seed in range(n // batch):
            stream.add(states_of(batch, RESNET_50, seed))
        scorer.finish(stream)

    for name, call in (("fit", fit), ("solve", scorer.prepare), ("calibrate", calibrate)):
        give_back()
        stage(result, name, call)
    states = n * sum(RESNET_50) * 4 / 2**20
    for name, rows in (("fit", 8 * batch), ("solve", 0), ("calibrate", n)):
        peak = f"{result[f'{name}.peak']:.0f}"
        if name == "calibrate":
            peak = held(result["calibrate.peak"], STREAM)
        held_states = f"{states:.0f}" if name == "calibrate" else ""
        print(f"| {name} | {rows} | {held_states} | {peak} | {result[f'{name}.cpu']:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows, fewer rounds")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (default 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"PyTorch {torch.__version__}, {options.threads} thread(s), {platform.machine()}\n")
    fit_table(options.quick)
    load_table(options.quick)
    stream_table(options.quick)


if __name__ == "__main__":
    main()
