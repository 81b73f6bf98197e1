"""AUROC of the scores of notebook 08 for another image set, on the shipped CIFAR-10 networks.

    python data/build/measure_far.py --set svhn --images FOLDER --root ROOT --download

``--images`` as in ``train_cifar.py``; the other set is read by torchvision from ``--root``, which
``--download`` fills where there is a connection. Fit, calibration and test images are those of
``measure_cifar.py``. Prints a table, a row for each score: AUROC with its interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from measure_cifar import NETWORKS, floats, read
from torch import Tensor

from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.bench.tables import as_table
from deepdrift.lab.data.full_sets import FULL_SETS, default_root, read_full
from deepdrift.lab.data.sets import NETWORK_LAYERS, load_network
from deepdrift.lab.fair_comparison.detectors import DETECTORS
from deepdrift.lab.fair_comparison.protocol import Protocol, ShiftedSet


def table(
    parts: dict[str, Any],
    name: str,
    strange: Tensor,
    networks: Iterable[str] = NETWORKS,
    detectors: Iterable[str] = tuple(DETECTORS),
) -> dict[str, dict[str, Estimate]]:
    """AUROC of strange images ``(M, 3, 32, 32)`` by score and network, where a score applies."""
    shifted = [ShiftedSet(name, "far", strange)]
    protocol = Protocol(parts["fit"], parts["calibration"], parts["test"], shifted)
    rows: dict[str, dict[str, Estimate]] = {}
    for network in networks:
        scores = protocol.run(load_network(network), NETWORK_LAYERS[network], detectors)
        for score in scores.detectors:
            rows.setdefault(score, {})[network] = scores.auroc(score, name)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=FULL_SETS, default="svhn")
    parser.add_argument("--images", type=Path, default=None, help="folder of CIFAR")
    parser.add_argument("--root", type=Path, default=None, help="torchvision's root")
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--first", type=int, default=5000, help="use only the first so many")
    args = parser.parse_args()
    root = args.root or default_root()
    images, _, _ = read_full(args.set, root, train=False, download=args.download)
    parts, _ = read(args.images)
    rows = table(parts, args.set, floats(images[: args.first]))
    for network in NETWORKS:
        mine = {s: {network: row[network]} for s, row in rows.items() if network in row}
        print(as_table(mine, args.set, spec=".3f"), "\n")


if __name__ == "__main__":
    main()
