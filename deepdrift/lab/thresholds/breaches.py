"""Experiments that break the promise of a line, each with what repairs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from deepdrift.evidence.calibration import combine_p_values
from deepdrift.lab.bench.evaluation import Estimate, false_alarm_interval
from deepdrift.lab.thresholds.counting import rates_by_class, share, text_table
from deepdrift.monitor.results import Reading
from deepdrift.monitor.scorer import StateScorer

States = dict[str, Tensor]
PROMISES = ("one line", "a line per class")


def keep(states: Mapping[str, Tensor], rows: Tensor | slice) -> States:
    """Some samples of recorded states.

    Examples
    --------
    >>> keep({"stem": torch.arange(4.0)[:, None]}, slice(0, 2))["stem"].tolist()
    [[0.0], [1.0]]
    """
    return {layer: z[rows] for layer, z in states.items()}


def join(*parts: Mapping[str, Tensor]) -> States:
    """Recorded states one after another.

    Examples
    --------
    >>> join({"stem": torch.zeros(2, 3)}, {"stem": torch.zeros(4, 3)})["stem"].shape
    torch.Size([6, 3])
    """
    return {layer: torch.cat([part[layer] for part in parts]) for layer in parts[0]}


def with_logits(run: Any) -> States:
    """States of a run, and the outputs as one more layer, ``logits``."""
    return run.states | {"logits": run.outputs}


def scorer_from(states: States, labels: Tensor, fitted: Tensor, calibrated: Tensor) -> StateScorer:
    """Score fitted on some samples and its line drawn from others, or from the same."""
    scorer = StateScorer().partial_fit(keep(states, fitted), labels[fitted])
    scorer.calibrate(keep(states, calibrated), labels[calibrated])
    return scorer


def reused(states: States, labels: Tensor, new: States, n: int) -> tuple[Tensor, Tensor, float]:
    """Fit and calibrate on the first n samples: their scores, those of ``new``, and the line."""
    first = torch.arange(n)
    scorer = scorer_from(states, labels, first, first)
    line = scorer.calibration.threshold
    return scorer.read(keep(states, first)).score, scorer.read(new).score, line


def reuse(
    states: States,
    labels: Tensor,
    new: States,
    sizes: Sequence[int],
    generator: torch.Generator,
    draws: int = 8,
) -> dict[int, tuple[float, float]]:
    """Mean false-alarm rate on ``new`` of lines from the fitted samples, and from others.

    Parameters
    ----------
    states : dict of layer name to Tensor of shape (N, D)
        Normal samples to draw from; ``labels`` has their classes.
    new : dict of layer name to Tensor
        Normal samples to count on.
    sizes : sequence of int
        Samples to fit on, and as many to calibrate on.
    draws : int
        Draws of samples whose rates are averaged.
    """
    found = {}
    for n in sizes:
        rates = []
        for _ in range(draws):
            a, b = torch.randperm(len(labels), generator=generator)[: 2 * n].split(n)
            pair = (scorer_from(states, labels, a, then) for then in (a, b))
            rates.append([s.read(new).flagged.double().mean().item() for s in pair])
        same, others = torch.tensor(rates).mean(dim=0).tolist()
        found[n] = (same, others)
    return found


def combined(p: Tensor, alpha: float = 0.05) -> dict[str, Estimate]:
    """False-alarm rates of four decisions from p-values ``(N, K)`` of normal samples.

    Examples
    --------
    >>> {k: e.value for k, e in combined(torch.tensor([[0.04, 0.9], [0.5, 0.6]])).items()}
    {'any of 2': 0.5, 'Fisher': 0.0, 'Bonferroni': 0.0, 'Simes': 0.0}
    """
    found = {f"any of {p.shape[1]}": share((p <= alpha).any(dim=1))}
    for method in ("fisher", "bonferroni", "simes"):
        found[method.capitalize()] = share(combine_p_values(p, method) <= alpha)
    return found


def crowds(normal: Tensor, digits: Tensor, occluded: Tensor) -> dict[str, Tensor]:
    """Batches ``(B, 64)`` of scores: normal ones, 8 digits among 56, and occluded ones."""
    few = digits[: len(digits) // 8 * 8].view(-1, 8)[: len(normal) // 64]
    most = normal[: 56 * len(few)].view(-1, 56)
    return {
        "64 garments": normal[: len(normal) // 64 * 64].view(-1, 64),
        "8 digits hidden": torch.cat([most, few], dim=1),
        "64 occluded": occluded[: len(occluded) // 64 * 64].view(-1, 64),
    }


def best_line(normal: Tensor, strange: Tensor) -> float:
    """Line that separates two sets best: most strange samples above, fewest normal ones.

    Examples
    --------
    >>> best_line(torch.tensor([1.0, 2.0, 3.0, 9.0]), torch.tensor([4.0, 5.0]))
    3.0
    """
    lines = normal.sort().values
    found, wrong = (
        (x.sort().values.numel() - torch.searchsorted(x.sort().values, lines, right=True)).double()
        / len(x)
        for x in (strange, normal)
    )
    return float(lines[(found - wrong).argmax()])


def two_promises(
    scorer: StateScorer, calibration: States, sets: Mapping[str, States]
) -> dict[str, dict[str, Reading]]:
    """Readings of each set with one line for all, then with a line per predicted class."""
    found = {}
    for name in PROMISES:
        scorer.calibrate(calibration, per_class=name == PROMISES[1])
        found[name] = {key: scorer.read(states) for key, states in sets.items()}
    return found


def promise_table(both: Mapping[str, Mapping[str, Reading]], alphas: Sequence[float]) -> str:
    """`two_promises` on "normal" at several promised rates and on "digits", in percent."""
    rows = {
        name: [
            *(share(read["normal"].p_values <= a) for a in alphas),
            share(read["digits"].flagged),
        ]
        for name, read in both.items()
    }
    return text_table(rows, [*(f"normal at {100 * a:.3g} %" for a in alphas), "digits found"])


def class_bands(
    calibration: Tensor, new: Tensor, alpha: float = 0.05, confidence: float = 0.99
) -> list[tuple[float, float]]:
    """Where luck puts the rate of each class: half of its calibration images draw its line.

    Parameters
    ----------
    calibration, new : Tensor of int, shapes (n,) and (m,)
        Predicted classes, 0, 1, ...

    Examples
    --------
    >>> [(round(low, 2), round(high, 2)) for low, high in class_bands(
    ...     torch.zeros(400, dtype=torch.int64), torch.zeros(300, dtype=torch.int64))]
    [(0.01, 0.11)]
    """
    sizes = zip((calibration.bincount() // 2).tolist(), new.bincount().tolist(), strict=True)
    return [false_alarm_interval(n, alpha, confidence, n_test=m) for n, m in sizes]


def rates_of_promises(
    both: Mapping[str, Mapping[str, Reading]], classes: Tensor, names: Sequence[str]
) -> dict[str, dict[str, Estimate]]:
    """False-alarm rates of `two_promises` on their set "normal", class -> promise -> rate."""
    rates = {
        promise: rates_by_class(read["normal"].flagged, classes, names)
        for promise, read in both.items()
    }
    return {name: {promise: row[name] for promise, row in rates.items()} for name in names}


def outside(
    rates: Mapping[str, Mapping[str, Estimate]], bands: Sequence[tuple[float, float]]
) -> dict[str, list[str]]:
    """Classes whose rate lies outside of their band, promise -> names.

    Examples
    --------
    >>> e = Estimate(0.2, 0.1, 0.3, n_in=50, n_out=0)
    >>> outside({"bag": {"one line": e}}, [(0.0, 0.1)])
    {'one line': ['bag']}
    """
    found: dict[str, list[str]] = {}
    for (name, row), (low, high) in zip(rates.items(), bands, strict=True):
        for promise, e in row.items():
            found.setdefault(promise, [])
            if not low <= e.value <= high:
                found[promise].append(name)
    return found


def cut_rates(
    scorer: StateScorer, states: States, generator: torch.Generator, cuts: int = 12
) -> dict[str, Tensor]:
    """Rates by predicted class over random cuts: one half draws the lines, the other is judged.

    Returns
    -------
    dict of str to Tensor of shape (cuts, C)
        "one line" and "a line per class".
    """
    predicted = states["logits"].argmax(dim=1)
    n, classes = len(predicted), range(states["logits"].shape[1])
    found: dict[str, list[list[float]]] = {name: [] for name in PROMISES}
    for _ in range(cuts):
        old, new = torch.randperm(n, generator=generator).split(-(-n // 2))
        for name, rates in found.items():
            scorer.calibrate(keep(states, old), per_class=name == PROMISES[1])
            flagged = scorer.read(keep(states, new)).flagged.double()
            rates.append([flagged[predicted[new] == k].mean().item() for k in classes])
    return {name: torch.tensor(rates) for name, rates in found.items()}
