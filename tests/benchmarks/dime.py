"""DIME: ours against dime-pytorch. `make bench` runs it.

Both get the same features and a whole rank (a share of variance always gives rank one in
dime-pytorch 1.0.1), and ours is not centred here, since theirs never is. Each runs in a process of
its own. The last column compares distances, relative to the largest. See README.md beside this
file for how to read the table.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

# A module called `dime` is also what dime-pytorch installs: this folder must come last.
sys.path.append(str(Path(__file__).parent))

import peers

RANK = 32
STAGES = {
    "fit": "fit",
    "calibrate": "calibrate",
    "distances": "both distances",
    "levels": "both, as probabilities",
}


def run(make, data):
    """Time every step of one package and keep its distances."""
    import torch

    x, calibration, new = (torch.from_numpy(data[k]) for k in ("x", "calibration", "new"))
    both = ("distance_to_hyperplane", "distance_within_hyperplane")
    warm = make().fit(x[:100]).calibrate(calibration[:100])
    [getattr(warm, name)(new[:100], return_probabilities=True) for name in both]
    result, dime = {}, make()
    peers.stage(result, "fit", lambda: dime.fit(x))
    peers.stage(result, "calibrate", lambda: dime.calibrate(calibration))
    found = peers.stage(result, "distances", lambda: [getattr(dime, n)(new) for n in both])
    levels = peers.stage(
        result, "levels", lambda: [getattr(dime, n)(new, return_probabilities=True) for n in both]
    )
    result["values.distances"] = [d[:200].tolist() for d in found]
    result["values.levels"] = [p[:200].tolist() for p in levels]
    return result


def ours(data):
    from deepdrift.baselines import DIME

    return run(lambda: DIME(RANK, centered=False), data)


def dime_pytorch(data):
    from dime import DIME

    return run(lambda: DIME(RANK), data)


METHODS = {"ours": ours, "dime-pytorch": dime_pytorch}


def main(options):
    import numpy as np

    python, names = peers.environment(["dime-pytorch"], options.peers)
    if not names:
        return
    sizes = [(1_000, 64, 2_000)] if options.quick else [(2_000, 64, 5_000), (10_000, 512, 20_000)]
    print(f"\nrank {RANK}, float32; ours is 1 in each ratio\n")
    print(
        "| step | fitted x features, queries | CPU ms, ours | CPU ms | CPU ratio | wall ratio "
        "| peak MiB, ours | peak MiB | difference |"
    )
    print("|" + "---|" * 9)
    for n, width, queries in sizes:
        generator = np.random.default_rng(n)
        scales = (0.97 ** np.arange(width)).astype("f4")
        sample = {
            k: (generator.normal(size=(m, width)) * scales).astype("f4")
            for k, m in (("x", n), ("calibration", n // 2), ("new", queries))
        }
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data.npz"
            np.savez(data, **sample)
            found = peers.rounds(sys.executable, python, names, __file__, data, options)
        mine, other = found["ours"], found["dime-pytorch"]
        for key, label in STAGES.items():
            difference = ""
            if f"values.{key}" in mine:
                a, b = (np.array(r[f"values.{key}"]) for r in (mine, other))
                difference = f"{np.abs(a - b).max() / np.abs(a).max():.0e}"
            cells = [
                label,
                f"{n:,} x {width}, {queries:,}",
                f"{1e3 * mine[f'{key}.cpu']:.0f}",
                f"{1e3 * other[f'{key}.cpu']:.0f}",
                peers.ratio(other[f"{key}.cpu"], mine[f"{key}.cpu"]),
                peers.ratio(other[f"{key}.wall"], mine[f"{key}.wall"]),
                f"{mine[f'{key}.peak']:.0f}",
                f"{other[f'{key}.peak']:.0f}",
                difference,
            ]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    peers.program(__doc__.splitlines()[0], METHODS, main)
