"""What watching a network costs, as a ratio to the plain forward pass. `make bench` runs it.

In every round the same network runs plain, watched, plain again (the control: its ratio would be
1 without noise) and watched with scoring. The order changes from round to round so that each way
follows each other way equally often. A ratio is taken within a round, so that a machine that slows
down for a minute slows both sides. The table prints median and quartiles over the rounds. Times
are CPU time of this process, which other programs disturb least. See README.md beside this file
for how to read the table.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torchvision
from torch import nn

from deepdrift import DeepDriftMonitor
from deepdrift.lab.networks.models import SmallResNet

ORDERS = [(0, 1, 3, 2), (1, 2, 0, 3), (2, 3, 1, 0), (3, 0, 2, 1)]  # Williams (1949)


@dataclass(frozen=True)
class Row:
    """One line of the table: a network, an input, and the ratios it is held to."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    n_channels: int | None = None
    watched: float | None = None
    scored: float | None = None


def rows() -> list[Row]:
    resnet, vit = torchvision.models.resnet18, torchvision.models.vit_b_16
    image = (3, 224, 224)
    return [
        Row("small CNN, batch 1", SmallResNet, (1, 1, 28, 28), None, 1.25, 1.3),
        Row("ResNet-18, batch 1", resnet, (1, *image), None, None, 1.03),
        Row("ResNet-18, batch 1, n_channels=64", resnet, (1, *image), 64),
        Row("ResNet-18, batch 16", resnet, (16, *image), None, 1.01, 1.01),
        Row("ResNet-18, batch 16, n_channels=64", resnet, (16, *image), 64, 1.01, 1.01),
        Row("ViT-B/16, batch 1", vit, (1, *image), None, 1.01, 1.02),
        Row("ViT-B/16, batch 1, n_channels=64", vit, (1, *image), 64, 1.01, 1.02),
        Row("ViT-B/16, batch 8", vit, (8, *image), None, 1.01, 1.01),
        Row("ViT-B/16, batch 8, n_channels=64", vit, (8, *image), 64, 1.01, 1.01),
    ]


@contextmanager
def attached(model: nn.Module, learned: DeepDriftMonitor):
    """A monitor on ``model`` that knows what ``learned`` knows; no hook is left afterwards."""
    with DeepDriftMonitor(model, n_channels=learned.n_channels, alpha=learned.alpha) as monitor:
        monitor.reference = learned.reference
        yield monitor


def calibrated(row: Row, model: nn.Module) -> DeepDriftMonitor:
    """A closed monitor, calibrated on random images.

    1,000 for a small network, as in use: up to 200 of them judge more exactly, and slower. Of the
    large networks 48 are enough, to which a few microseconds are nothing.
    """
    generator = torch.Generator().manual_seed(1)
    size = (1000 if row.shape[-1] < 64 else 48, *row.shape[1:])
    images = torch.rand(size, generator=generator)
    with DeepDriftMonitor(model, n_channels=row.n_channels, alpha=0.1) as monitor:
        monitor.calibrate(images.split(8))
        monitor.score(images[:1])  # whatever is prepared at the first call is prepared now
    return monitor


def timed(call: Callable[[], object], times: int) -> float:
    """CPU milliseconds of a call, when it has been called once before."""
    call()
    start = time.process_time()
    for _ in range(times):
        call()
    return 1e3 * (time.process_time() - start) / times


def measure(row: Row, model: nn.Module, seconds: float, least: int) -> dict[str, list[float]]:
    """CPU milliseconds of each of the four ways to run the network, round by round."""
    learned = calibrated(row, model)
    x = torch.rand(row.shape, generator=torch.Generator().manual_seed(2))

    def plain(times: int) -> float:
        return timed(lambda: model(x), times)

    def watched(times: int) -> float:
        with attached(model, learned):
            return timed(lambda: model(x), times)

    def scored(times: int) -> float:
        with attached(model, learned) as monitor:
            return timed(lambda: (model(x), monitor.score()), times)

    ways = {"plain": plain, "watched": watched, "control": plain, "scored": scored}
    found: dict[str, list[float]] = {way: [] for way in ways}
    with torch.no_grad():
        once = plain(2)
        times = max(1, round(100 / once))  # at least 100 ms a time: clocks have ticks
        end = time.perf_counter() + seconds
        while len(found["plain"]) < least or time.perf_counter() < end:
            for place in ORDERS[len(found["plain"]) % 4]:
                way = list(ways)[place]
                found[way].append(ways[way](times))
    return found


def summary(row: Row, found: dict[str, list[float]]) -> str:
    """One line of the Markdown table."""

    both = [(a + b) / 2 for a, b in zip(found["plain"], found["control"], strict=True)]

    def ratio(way: str, promise: float | None) -> str:
        base = found["plain"] if way == "control" else both
        ratios = [a / b for a, b in zip(found[way], base, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        held = "" if promise is None else f" {'<=' if middle <= promise else '**>**'} {promise:g}"
        return f"{middle:.3f} [{low:.3f}, {high:.3f}]{held}"

    cells = [
        row.name,
        f"{statistics.median(found['plain']):.2f}",
        ratio("control", None),
        ratio("watched", row.watched),
        ratio("scored", row.scored),
        str(len(found["plain"])),
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, wider quartiles")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (default 1)")
    parser.add_argument("--seconds", type=float, default=30, help="per line of the table")
    parser.add_argument("--only", default="", help="lines whose name contains this text")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    seconds = options.seconds / 10 if options.quick else options.seconds
    print(
        f"PyTorch {torch.__version__}, {options.threads} thread(s), {platform.machine()}; "
        "median [quartiles] of the ratio to the plain forward\n"
    )
    print("| network | plain, ms | plain again | watched | watched and scored | rounds |")
    print("|---|---|---|---|---|---|")
    for row in rows():
        if options.only.lower() in row.name.lower():
            model = row.make().eval()
            print(summary(row, measure(row, model, seconds, 3 if options.quick else 8)), flush=True)


if __name__ == "__main__":
    main()
