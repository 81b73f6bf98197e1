"""Run ours and other packages side by side: same data, same threads, one fresh process each.

The others pin old versions of NumPy, so they live in a virtual environment of their own, made once
in the user's cache folder. This file is both the library of `mmd.py` and `dime.py` beside it and
the program that runs in each process: it must import nothing but the standard library at the top.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Distribution, the module that must import, extra arguments of pip.
PEERS = {
    "alibi-detect": ("alibi_detect.cd.pytorch.mmd", []),
    "torchdrift": ("torchdrift", []),
    "frouros": ("frouros.detectors.data_drift", []),
    "dime-pytorch": ("dime", ["--no-build-isolation"]),
}
MiB = 1024 * 1024


# ---- the environment of the others ----


def environment(names: list[str], python: str | None = None) -> tuple[str, list[str]]:
    """Interpreter of the others and which of them it can import; says why others are skipped.

    Parameters
    ----------
    names : list of str
        Keys of `PEERS`.
    python : str, optional
        An interpreter that has them; nothing is installed then.
    """
    if python is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        folder = cache / "deepdrift-bench" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        python = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
        if not Path(python).exists():
            print(f"making an environment for the other packages in {folder}", flush=True)
            venv.create(folder, with_pip=True)
            _pip(python, ["setuptools", "wheel", "torch", "torchvision", "numpy<2"])
        for name in names:
            if not _imports(python, PEERS[name][0]):
                _pip(python, [name, *PEERS[name][1]])
    found = []
    for name in names:
        problem = _problem(python, PEERS[name][0])
        if problem:
            print(f"{name}: skipped, it does not import here ({problem})", flush=True)
        else:
            found.append(name)
    return python, found


def _pip(python: str, arguments: list[str]) -> None:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        print(f"pip install {' '.join(arguments)}: {last}", flush=True)


def _problem(python: str, module: str) -> str:
    """Last line of the error of importing a module, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, "-c", f"import {module}"],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
        )
    return (done.stderr.strip().splitlines() or ["unknown"])[-1] if done.returncode else ""


def _imports(python: str, module: str) -> bool:
    return not _problem(python, module)


# ---- measuring ----


def measure(python: str, script: str, method: str, data: Path, threads: int) -> dict[str, Any]:
    """What one process reports: ``cpu``, ``wall`` (s), ``peak`` (MiB) per stage, and numbers."""
    limits = {f"{k}_NUM_THREADS": str(threads) for k in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    command = [python, "-P", script, "--run", method, str(data), "--threads", str(threads)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | limits
    )
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise RuntimeError(f"{method} failed: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def rounds(
    ours: str, others: str, names: list[str], script: str, data: Path, options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Median over rounds of every method; in each round all run after one another."""
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(options.rounds):
        order = ["ours", *names]
        for name in order[:: -1 if number % 2 else 1]:
            python = ours if name == "ours" else others
            found.setdefault(name, []).append(measure(python, script, name, data, options.threads))
    return {
        name: {
            key: statistics.median(run[key] for run in runs)
            if isinstance(runs[0][key], float)
            else runs[0][key]
            for key in runs[0]
        }
        for name, runs in found.items()
    }


def ratio(theirs: float, ours: float) -> str:
    """How many times more the others need."""
    return f"{theirs / ours:.1f}" if ours > 0 else "-"


# ---- inside the process ----


def stage(result: dict[str, Any], name: str, call: Callable[[], Any]) -> Any:
    """Run a call and write its CPU time (children included), wall time and peak memory down."""
    before, cpu, wall = _reset_peak(), _cpu(), time.perf_counter()
    value = call()
    result[f"{name}.wall"] = time.perf_counter() - wall
    result[f"{name}.cpu"] = _cpu() - cpu
    peak = _status("VmHWM")
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    result[f"{name}.peak"] = max(peak - before, children - before, 0.1)
    return value


def _cpu() -> float:
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, whose))


def _status(key: str) -> float:
    """A line of /proc/self/status in MiB; 0 where there is no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def _reset_peak() -> float:
    """Start a new peak; memory in use now, MiB."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass
    return _status("VmRSS")


def program(
    description: str,
    methods: Mapping[str, Callable[[Any], dict[str, Any]]],
    main: Callable[[argparse.Namespace], None],
) -> None:
    """Command line of a benchmark: the table, or (``--run``) one method in this process."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=1, help="threads of every package")
    parser.add_argument("--rounds", type=int, default=3, help="how often each row is measured")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round")
    parser.add_argument("--peers", help="interpreter that has the other packages installed")
    parser.add_argument("--run", nargs=2, metavar=("METHOD", "DATA"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.run:
        options.rounds = 1 if options.quick else options.rounds
        print(f"{options.threads} thread(s), {options.rounds} round(s), {platform.machine()}\n")
        main(options)
        return
    import numpy as np
    import torch

    torch.set_num_threads(options.threads)
    with np.load(options.run[1]) as data:
        arrays = dict(data)
    print(json.dumps(methods[options.run[0]](arrays)))
