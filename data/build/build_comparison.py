"""Score every detector on every shift with every training, and store the table of notebook 08.

    python data/build/build_comparison.py --jobs 2

Takes about four minutes a network on one core; needs only what lies in ``data/``.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from deepdrift.lab.data.sets import NETWORK_LAYERS, load_network
from deepdrift.lab.fair_comparison.protocol import Scores, fashion_protocol
from deepdrift.lab.fair_comparison.table import Comparison, save_comparisons

KINDS = ("cnn", "vit")
TRAININGS = (1, 2, 3)


def run(name: str) -> Scores:
    """Scores of one network on all sets."""
    torch.set_num_threads(1)
    start = time.time()
    scores = fashion_protocol().run(load_network(name), NETWORK_LAYERS[name])
    print(f"{name} in {time.time() - start:.0f} s", flush=True)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="networks at the same time")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "comparison.npz")
    args = parser.parse_args()

    names = [f"{kind}-holdout-{training}" for kind in KINDS for training in TRAININGS]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        runs = dict(zip(names, pool.map(run, names), strict=True))
        kinds = next(iter(runs.values())).kinds
        rows = [key for key, kind in kinds.items() if kind != "corruption" or key.endswith(" 3")]
        tables = [
            pool.submit(Comparison.of, [runs[f"{kind}-holdout-{t}"] for t in TRAININGS], rows)
            for kind in KINDS
        ]
        save_comparisons(args.out, {k: t.result() for k, t in zip(KINDS, tables, strict=True)})


if __name__ == "__main__":
    main()
