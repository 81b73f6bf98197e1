"""Ours beside the published package `deepdrift`, versions 1.1.4 and 0.2.1: what watching costs.

All watch the same layers of the same network in this process; one is attached at a time, in turn.
*Scored* is what each calls a score: ours one p-value per sample from every layer and step; 1.1.4
the largest mean velocity of the batch; 0.2.1 (``step``) one drift per layer of the batch mean.
A version that does not install is skipped, and the table says so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from overhead import Row, attached, calibrated, rows, timed

VERSIONS = ("1.1.4", "0.2.1")


def published(version: str, folder: Path | None = None) -> ModuleType | None:
    """The published package of a version, from a folder of its own, or None with a word why."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "deepdrift-bench"
    folder = (folder or cache / "rivals") / version
    if not (folder / "deepdrift").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        command += [str(folder), f"deepdrift=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{version}: skipped, {(done.stderr.strip() or 'no message').splitlines()[-1]}")
            return None

    def mine() -> list[str]:
        return [name for name in sys.modules if name.split(".")[0] == "deepdrift"]

    ours = {name: sys.modules.pop(name) for name in mine()}  # both are called deepdrift
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("deepdrift")
    except Exception as error:
        print(f"{version}: skipped, it does not import here ({error})")
        return None
    finally:
        sys.path.remove(str(folder))
        for name in mine():
            del sys.modules[name]
        sys.modules.update(ours)


def measure(
    row: Row, rivals: dict[str, ModuleType], seconds: float, least: int
) -> tuple[list[str], dict[str, list[float]]]:
    """CPU milliseconds of every way, round by round."""
    model = row.make().eval()
    learned = calibrated(row, model)
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(row.shape, generator=generator)
    normal = [torch.rand((4, *row.shape[1:]), generator=generator) for _ in range(4)]
    layers = list(learned.layers)

    def ours(scored: bool, times: int) -> float:
        with attached(model, learned) as monitor:
            return timed(lambda: (model(x), monitor.score() if scored else None), times)

    def v1(scored: bool, times: int) -> float:
        monitor = rivals["1.1.4"].DeepDriftMonitor(model, layer_names=layers, pooling="mean")
        try:
            return timed(
                lambda: (model(x), max(monitor.get_spatial_velocity()) if scored else None), times
            )
        finally:
            monitor.remove_hooks()

    def v0(scored: bool, times: int) -> float:
        modules = dict(model.named_modules())
        monitor = rivals["0.2.1"].DeepDriftMonitor(
            model, layers_map={k: modules[k] for k in layers}
        )
        try:
            if scored:
                with contextlib.redirect_stdout(io.StringIO()):
                    monitor.calibrate(normal)
            return timed(lambda: monitor.step(x) if scored else model(x), times)
        finally:
            monitor.close()

    who = {"ours": ours} | {k: {"1.1.4": v1, "0.2.1": v0}[k] for k in rivals}
    ways: dict[str, Callable[[int], float]] = {"plain": lambda n: timed(lambda: model(x), n)}
    for name, way in who.items():
        for scored in (False, True):
            ways[f"{name} {scored}"] = lambda n, way=way, scored=scored: way(scored, n)
    found: dict[str, list[float]] = {way: [] for way in ways}
    with torch.no_grad():
        times = max(1, round(100 / ways["plain"](2)))
        end = time.perf_counter() + seconds
        while len(found["plain"]) < least or time.perf_counter() < end:
            shift = len(found["plain"]) % len(ways)
            order = list(ways)[shift:] + list(ways)[:shift]
            for way in order[:: -1 if len(found["plain"]) % 2 else 1]:
                found[way].append(ways[way](times))
    return list(who), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, wider quartiles")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (default 1)")
    parser.add_argument("--seconds", type=float, default=60, help="per network")
    parser.add_argument("--only", default="", help="networks whose name contains this text")
    parser.add_argument("--folder", type=Path, help="where the published packages are or will be")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rivals = {v: m for v in VERSIONS if (m := published(v, options.folder)) is not None}
    seconds = options.seconds / 10 if options.quick else options.seconds
    print(
        f"PyTorch {torch.__version__}, {options.threads} thread(s), {platform.machine()}; "
        "median [quartiles] of the ratio to the plain forward\n"
    )
    print("| network | who | watched | watched and scored |\n|---|---|---|---|")
    for row in rows():
        if row.n_channels is None and options.only.lower() in row.name.lower():
            who, found = measure(row, rivals, seconds, 3 if options.quick else 7)
            for name in who:
                cells = [cell(found, name, scored) for scored in (False, True)]
                print(f"| {' | '.join([row.name, name, *cells])} |", flush=True)


def cell(found: dict[str, list[float]], name: str, scored: bool) -> str:
    pairs = zip(found[f"{name} {scored}"], found["plain"], strict=True)
    low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4, method="inclusive")
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
