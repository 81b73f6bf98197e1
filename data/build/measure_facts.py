"""Measure the models of ``train_facts.py`` as was written down there: ``data/facts.json``.

    python data/build/measure_facts.py

For both seeds and every place of the dial: AUROC of all scores for unknown people and facts,
how often answers are right or customary, how sure they are; at both ends of the dial AUROC by the
popularity of the known people. At dial 1 the verdict of the rule. What was added after the results
had been seen stands under "afterwards": probes of every block. About a minute for each place.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.language_models.dial import (
    PLACES,
    Measured,
    load_fact_models,
    measure,
    probe_by_block,
    verdicts,
)
from deepdrift.lab.language_models.fact_model import blend
from deepdrift.lab.language_models.world import KINDS, POPULARITY

SEEDS = (0, 1)
BY_POPULARITY = ("nll", "first", "raw velocity", "innovation")


def numbers(estimate: Estimate) -> list[float]:
    """Value and interval."""
    return [round(x, 4) for x in (estimate.value, estimate.low, estimate.high)]


def shares(measured: Measured) -> dict[str, dict[str, float]]:
    """What the answers of each kind are like."""
    found = {}
    for k, kind in enumerate(KINDS):
        rows = measured.kind == k
        p = np.exp(-measured.scores["nll"][rows])
        found[kind] = {
            "right": float(measured.right[rows].mean()),
            "customary": float(measured.customary[rows].mean()),
            "mean probability": float(p.mean()),
            "above .9": float((p > 0.9).mean()),
        }
    return {kind: {k: round(v, 4) for k, v in row.items()} for kind, row in found.items()}


def popularity(measured: Measured) -> dict[str, dict[str, list[float]]]:
    """AUROC for unknown people against known people of one popularity."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in BY_POPULARITY}
    for level in POPULARITY:
        rows = measured.against(KINDS[1], level)
        layout = measured.layout(rows=rows)
        for name in BY_POPULARITY:
            found[name][str(level)] = numbers(layout.auroc(measured.scores[name][rows]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "facts.json")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    seeds: dict[str, Any] = {}
    at_one: dict[int, Measured] = {}
    for seed in SEEDS:
        world, plain, confident = load_fact_models(seed)
        dial, afterwards = {}, {}
        for place in PLACES:
            start = time.time()
            model = blend(plain, confident, place)
            measured = measure(model, world)
            table = measured.table()
            dial[f"{place:g}"] = {
                "auroc": {n: {k: numbers(e) for k, e in r.items()} for n, r in table.items()},
                "answers": shares(measured),
            }
            if place in (0.0, 1.0):
                dial[f"{place:g}"]["by popularity"] = popularity(measured)
                found = probe_by_block(model, world)
                afterwards[f"{place:g}"] = [numbers(e) for e in found]
            if place == 1.0:
                at_one[seed] = measured
            print(f"seed {seed} dial {place:g}: {time.time() - start:.0f} s", flush=True)
        seeds[str(seed)] = {"dial": dial, "afterwards": {"probe by block": afterwards}}
    rule = {
        v.name: {
            "auroc": [numbers(e) for e in v.auroc],
            "gain over nll": [numbers(e) for e in v.gain],
            "knows": v.knows,
            "worth having": v.worth_having,
        }
        for v in verdicts(at_one)
    }
    text = json.dumps({"kinds": KINDS, "seeds": seeds, "verdicts": rule}, indent=1)
    args.out.write_text(text + "\n", encoding="utf-8", newline="\n")
    print(args.out, args.out.stat().st_size, "bytes", flush=True)


if __name__ == "__main__":
    main()
