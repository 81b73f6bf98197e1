"""A drift test by MMD: ours against alibi-detect, torchdrift and frouros. `make bench` runs it.

Everybody gets the same two samples and the same number of permutations, in a process of their own,
and is timed from the reference sample to the p-value, after a warm-up on a few rows. Bandwidths
are everybody's default (frouros has none and gets ours). The last column compares the statistic
with ours at *their* bandwidth; torchdrift's is larger by 1 / (n - 1) + 1 / (m - 1) by its
definition, which is taken off before. See README.md beside this file for how to read the table.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # last, so that it hides no installed package

import peers

PERMUTATIONS, FEATURES = 100, 64
NAMES = ["alibi-detect", "torchdrift", "frouros"]
PROMISE = {("alibi-detect", 2000): 40}  # how many times faster ours must be


def ours(data):
    from deepdrift.baselines import MMDDrift, mmd2_unbiased

    def test(x, y):
        return MMDDrift(x, n_permutations=PERMUTATIONS).test(y)

    x, y = data["x"], data["y"]
    result = {}
    test(x[:50], y[:50])
    found = peers.stage(result, "test", lambda: test(x, y))
    result |= {"distance": found.distance, "sigma": found.sigma[0]}
    for key in ("alibi-detect", "torchdrift", "frouros"):  # ours at their bandwidths
        if f"sigma.{key}" in data:
            result[f"at.{key}"] = mmd2_unbiased(x, y, float(data[f"sigma.{key}"]))
    return result


def alibi_detect(data):
    from alibi_detect.cd.pytorch.mmd import MMDDriftTorch

    def test(x, y):
        detector = MMDDriftTorch(x, n_permutations=PERMUTATIONS)
        return detector, detector.score(y)

    x, y = data["x"], data["y"]
    result = {}
    test(x[:50], y[:50])
    detector, (_, distance, _) = peers.stage(result, "test", lambda: test(x, y))
    return result | {"distance": float(distance), "sigma": float(detector.kernel.sigma)}


def torchdrift(data):
    import torch
    from torchdrift.detectors.mmd import GaussianKernel, kernel_mmd

    def test(x, y):
        return kernel_mmd(x, y, n_perm=PERMUTATIONS, kernel=GaussianKernel())

    x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    result = {}
    test(x[:50], y[:50])
    distance, _ = peers.stage(result, "test", lambda: test(x, y))
    bias = 1 / (len(x) - 1) + 1 / (len(y) - 1)
    sigma = torch.cdist(torch.cat([x, y]), torch.cat([x, y])).median()
    return result | {"distance": float(distance) - bias, "sigma": float(sigma)}


def frouros(data):
    from frouros.callbacks import PermutationTestDistanceBased
    from frouros.detectors.data_drift import MMD
    from frouros.utils.kernels import rbf_kernel

    sigma = float(data["sigma"])

    def test(x, y):
        permutations = PermutationTestDistanceBased(
            num_permutations=PERMUTATIONS, random_state=0, num_jobs=1, name="test"
        )
        detector = MMD(kernel=functools.partial(rbf_kernel, sigma=sigma), callbacks=[permutations])
        detector.fit(X=x)
        return detector.compare(X=y)[0].distance

    x, y = data["x"], data["y"]
    result = {}
    test(x[:50], y[:50])
    distance = peers.stage(result, "test", lambda: test(x, y))
    return result | {"distance": float(distance), "sigma": sigma}


METHODS = {
    "ours": ours, "alibi-detect": alibi_detect, "torchdrift": torchdrift, "frouros": frouros
}  # fmt: skip


def main(options):
    import numpy as np

    python, names = peers.environment(NAMES, options.peers)
    print(f"\n{PERMUTATIONS} permutations, {FEATURES} features, float32; ours is 1 in each ratio\n")
    print(
        "| package | N = M | CPU s, ours | CPU s | CPU ratio | wall ratio | peak MiB, ours "
        "| peak MiB | peak ratio | statistic, difference |"
    )
    print("|" + "---|" * 10)
    for n in (200, 500) if options.quick else (500, 2000):
        generator = np.random.default_rng(n)
        x, y = (generator.normal(shift, 1, (n, FEATURES)).astype("f4") for shift in (0, 0.02))
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data.npz"
            np.savez(data, x=x, y=y)
            sigma = peers.measure(sys.executable, __file__, "ours", data, options.threads)["sigma"]
            np.savez(data, x=x, y=y, sigma=sigma)
            found = peers.rounds(sys.executable, python, names, __file__, data, options)
            theirs = {f"sigma.{name}": found[name]["sigma"] for name in names}
            np.savez(data, x=x, y=y, **theirs)
            check = peers.measure(sys.executable, __file__, "ours", data, options.threads)
        mine = found["ours"]
        for name in names:
            other = found[name]
            faster = other["test.cpu"] / mine["test.cpu"]
            promise = PROMISE.get((name, n))
            held = "" if promise is None else f" {'>=' if faster >= promise else '**<**'} {promise}"
            cells = [
                name,
                f"{n:,}",
                f"{mine['test.cpu']:.3f}",
                f"{other['test.cpu']:.2f}",
                f"{faster:.1f}{held}",
                peers.ratio(other["test.wall"], mine["test.wall"]),
                f"{mine['test.peak']:.0f}",
                f"{other['test.peak']:.0f}",
                peers.ratio(other["test.peak"], mine["test.peak"]),
                f"{abs(other['distance'] - check[f'at.{name}']):.0e} of {other['distance']:.1e}",
            ]
            print("| " + " | ".join(cells) + " |", flush=True)
    large = 4_000 if options.quick else 20_000
    generator = np.random.default_rng(large)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        x, y = (generator.normal(size=(large, FEATURES)).astype("f4") for _ in range(2))
        np.savez(data, x=x, y=y)
        mine = peers.measure(sys.executable, __file__, "ours", data, options.threads)
    matrix = (2 * large) ** 2 * 8 / peers.MiB
    print(
        f"\nOurs alone, {large:,} + {large:,} samples: {mine['test.cpu']:.1f} s, peak "
        f"{mine['test.peak']:.0f} MiB (the kernel matrix alone would be {matrix:,.0f} MiB)"
    )


if __name__ == "__main__":
    peers.program(__doc__.splitlines()[0], METHODS, main)
