"""How many scores lie above a line: rates with their intervals, and tables of them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from deepdrift.evidence.calibration import conformal_threshold
from deepdrift.lab.bench.evaluation import Estimate, proportion

Found = dict[str, dict[str, list[Estimate]]]


def rate(scores: Tensor, line: float | Tensor) -> Estimate:
    """Share of scores above a line, with its exact 95 % binomial interval.

    Examples
    --------
    >>> print(f"{rate(torch.tensor([1.0, 2.0, 3.0, 4.0]), 3.0):.0%}")
    25% [1%, 81%]
    """
    return proportion(int((scores > line).sum()), len(scores))


def share(flagged: Tensor) -> Estimate:
    """Share of samples with a flag, with its exact 95 % binomial interval.

    Examples
    --------
    >>> print(f"{share(torch.tensor([True, False])):.0%}")
    50% [1%, 99%]
    """
    return proportion(int(flagged.sum()), len(flagged))


def rates_by_class(flagged: Tensor, classes: Tensor, names: Sequence[str]) -> dict[str, Estimate]:
    """Share of flagged samples in each class.

    Examples
    --------
    >>> flags = torch.tensor([True, False, False, False])
    >>> found = rates_by_class(flags, torch.tensor([0, 0, 1, 1]), ["bag", "coat"])
    >>> {name: e.value for name, e in found.items()}
    {'bag': 0.5, 'coat': 0.0}
    """
    return {name: share(flagged[classes == k]) for k, name in enumerate(names)}


def by_rule(
    rules: Mapping[str, Callable[[Tensor], float]],
    calibration: Mapping[str, Tensor],
    new: Mapping[str, Tensor],
) -> dict[str, dict[str, Estimate]]:
    """Share of new scores above the line of each rule, rule -> score -> estimate.

    Examples
    --------
    >>> scores = {"a score": torch.tensor([1.0, 2.0, 3.0, 9.0])}
    >>> by_rule({"median": torch.median}, scores, scores)["median"]["a score"].value
    0.5
    """
    return {
        rule: {name: rate(new[name], line(scores)) for name, scores in calibration.items()}
        for rule, line in rules.items()
    }


def batch_rates(
    batches: Tensor, image_line: float, fewest: int, batch_line: float
) -> list[Estimate]:
    """Share of batches ``(B, N)`` with at least so many flags, and with so high a mean.

    Examples
    --------
    >>> scores = torch.tensor([[1.0, 9.0], [5.0, 6.0]])
    >>> [e.value for e in batch_rates(scores, image_line=4.0, fewest=2, batch_line=4.5)]
    [0.5, 1.0]
    """
    counts = (batches > image_line).sum(dim=1)
    return [rate(counts, fewest - 1), rate(batches.mean(dim=1), batch_line)]


def share_inside(rates: Any, bands: Sequence[tuple[float, float]]) -> list[float]:
    """Share of the rates of each size that lie in the band of that size.

    Examples
    --------
    >>> share_inside([[0.1, 0.5]], [(0.0, 0.2)])
    [0.5]
    """
    pairs = ((torch.as_tensor(r), band) for r, band in zip(rates, bands, strict=True))
    return [float(((r >= low) & (r <= high)).double().mean()) for r, (low, high) in pairs]


def wrapped(sentence: Any, width: int = 96) -> str:
    """A long sentence on several lines, none of which ends at an equals sign.

    Examples
    --------
    >>> print(wrapped("one two three", width=8))
    one two
    three
    """
    glued = str(sentence).replace(" = ", "\u00a0=\u00a0")
    return textwrap.fill(glued, width).replace("\u00a0", " ")


def found_at(
    alphas: Sequence[float],
    calibration: Mapping[str, Tensor],
    sets: Mapping[str, Mapping[str, Tensor]],
) -> Found:
    """Share of each set above conformal lines, set -> score -> one estimate per promised rate.

    Parameters
    ----------
    alphas : sequence of float
        Promised rates.
    calibration : mapping of score name to Tensor of shape (n,)
        Normal scores that draw the lines.
    sets : mapping of set name to mapping of score name to Tensor of shape (m,)
        Scores to judge.

    Examples
    --------
    >>> normal = {"a score": torch.arange(1.0, 20.0)}
    >>> found = found_at([0.05, 0.1], normal, {"new": {"a score": torch.tensor([18.5, 30.0])}})
    >>> [e.value for e in found["new"]["a score"]]
    [0.5, 1.0]
    """
    lines = {s: [conformal_threshold(x, a) for a in alphas] for s, x in calibration.items()}
    return {
        name: {s: [rate(by_score[s], line) for line in lines[s]] for s in lines}
        for name, by_score in sets.items()
    }


def in_percent(estimate: Estimate) -> str:
    """An estimate as a cell of a table.

    Examples
    --------
    >>> in_percent(proportion(43, 1000))
    '4.3 [3.1, 5.7]'
    """
    value, low, high = (100 * x for x in (estimate.value, estimate.low, estimate.high))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def found_table(found: Found, alphas: Sequence[float]) -> str:
    """`found_at` as a table, in percent with 95 % intervals.

    Examples
    --------
    >>> print(found_table({"new": {"a score": [proportion(1, 10)]}}, [0.05]))
                  at 5 %
    new, a score  10.0 [0.3, 44.5]
    """
    rows = {f"{name}, {s}": row for name, scores in found.items() for s, row in scores.items()}
    return text_table(rows, [f"at {100 * a:.3g} %" for a in alphas])


def text_table(rows: Mapping[str, Sequence[Any]], columns: Sequence[str] = ()) -> str:
    """Named rows of cells as aligned text; estimates are written in percent.

    Examples
    --------
    >>> print(text_table({"bag": [0.5, "no"], "coat": [2, "yes"]}, ["rate", "inside"]))
          rate  inside
    bag   0.5   no
    coat  2     yes
    """
    cells = [["", *columns]] if columns else []
    for name, row in rows.items():
        shown = [in_percent(x) if isinstance(x, Estimate) else str(x) for x in row]
        cells.append([name, *shown])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def rates_of_sets(pool: Tensor, choose: Any, n: int = 1000, sets: int = 200) -> Tensor:
    """True rates ``(sets,)`` of conformal 5 % lines, each from a set that ``choose`` makes.

    ``choose(pool, order)`` gets the scores and a random order of them, and may use the first n of
    that order; each line is tried on the others.

    Examples
    --------
    >>> rates = rates_of_sets(torch.arange(500.0), lambda pool, order: pool[order[:99]], 99, 9)
    >>> tuple(rates.shape), bool(rates.mean() < 0.1)
    ((9,), True)
    """
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(sets):
        order = torch.randperm(len(pool), generator=generator)
        line = conformal_threshold(choose(pool, order))
        found.append((pool[order[n:]] > line).double().mean())
    return torch.stack(found)
