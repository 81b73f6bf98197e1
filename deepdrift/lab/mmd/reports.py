"""Outcomes of tests as lines of text: one row each, the columns under each other."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from torch import Tensor

from deepdrift.baselines import DriftTest
from deepdrift.lab.bench.evaluation import Estimate

__all__ = [
    "dealt",
    "outcomes",
    "rates",
    "rates_by_size",
    "refused",
    "shapes",
    "verdicts",
    "wrapped",
]


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(header), *map(list, rows)] if any(header) else [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def outcomes(tests: Mapping[str, DriftTest]) -> str:
    """Verdict, MMD², threshold, p-value and effect size of each test.

    Examples
    --------
    >>> test = DriftTest(True, 0.05, 0.7, 0.5, 0.05, 19, 3, 4, 2.25, (1.0,))
    >>> print(outcomes({"moved": test}))
           verdict  MMD²  threshold  p     effect
    moved  drift    0.7   0.5        0.05  2.2 sd
    """
    rows = [
        [
            name,
            "drift" if test.is_drift else "no drift found",
            f"{test.distance:.2g}",
            f"{test.distance_threshold:.2g}",
            f"{test.p_value:.2g}",
            f"{test.effect_size:.1f} sd",
        ]
        for name, test in tests.items()
    ]
    return _aligned(["", "verdict", "MMD²", "threshold", "p", "effect"], rows)


def verdicts(rows: Mapping[str, tuple[Estimate, DriftTest]]) -> str:
    """Accuracy beside the p-value and effect size of a test.

    Examples
    --------
    >>> test = DriftTest(True, 0.05, 0.7, 0.5, 0.05, 19, 3, 4, 2.25, (1.0,))
    >>> print(verdicts({"plain": (Estimate(0.74, 0.7, 0.78, 0, 0), test)}))
           accuracy               p     effect
    plain  74.0% [70.0%, 78.0%]   0.05  2.2 sd
    """
    found = [
        [name, f"{accuracy:.1%} ", f"{test.p_value:.2g}", f"{test.effect_size:.1f} sd"]
        for name, (accuracy, test) in rows.items()
    ]
    return _aligned(["", "accuracy", "p", "effect"], found)


def rates(found: Mapping[str, Estimate], of: str) -> str:
    """Shares with their exact intervals.

    Examples
    --------
    >>> print(rates({"MMD": Estimate(0.05, 0.02, 0.1, 0, 0)}, "false alarms"))
    MMD  5.0% [2.0%, 10.0%] false alarms
    """
    return _aligned(["", ""], [[name, f"{rate:.1%} {of}"] for name, rate in found.items()])


def rates_by_size(sizes: Sequence[int], curves: Mapping[str, Sequence[Estimate]]) -> str:
    """How often each test calls drift, one column for each n.

    Examples
    --------
    >>> print(rates_by_size([25], {"MMD": [Estimate(0.5, 0.3, 0.7, 0, 0)]}))
         n = 25
    MMD  50%
    """
    rows = [[name, *(f"{e.value:.0%}" for e in curve)] for name, curve in curves.items()]
    return _aligned(["", *(f"n = {n}" for n in sizes)], rows)


def shapes(features: Mapping[str, Mapping[str, Tensor]], part: str = "clean") -> str:
    """How many numbers of how many images every feature map gives.

    Examples
    --------
    >>> import torch
    >>> print(shapes({"pixels": {"clean": torch.zeros(1000, 784)}}))
    pixels  784 numbers of each of 1,000 images
    """
    sizes = {name: parts[part].shape for name, parts in features.items()}
    rows = [[k, f"{width} numbers of each of {n:,} images"] for k, (n, width) in sizes.items()]
    return _aligned(["", ""], rows)


def dealt(values: Sequence[float]) -> str:
    """MMD² of every way to deal, the largest first.

    Examples
    --------
    >>> print(dealt([0.7, -0.3, 0.28]))
     0.70  0.28 -0.30
    """
    words = [f"{v:5.2f}" for v in sorted(values, reverse=True)]
    rows = (words[i : i + 10] for i in range(0, len(words), 10))
    return "\n".join(" ".join(row) for row in rows)


def refused(error: Exception) -> str:
    """What the library says, in lines that fit.

    Examples
    --------
    >>> print(refused(ValueError("n: too few")))
    Refused: n: too few
    """
    return wrapped(f"Refused: {error}")


def wrapped(words: str) -> str:
    """A long sentence, in lines that fit.

    Examples
    --------
    >>> print(wrapped("Drift in plain."))
    Drift in plain.
    """
    return textwrap.fill(words, 88, subsequent_indent="    ")
