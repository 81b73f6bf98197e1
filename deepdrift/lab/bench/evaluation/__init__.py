"""How well scores separate normal from shifted samples, and how sure we can be.

One orientation, never chosen after the fact: a larger score means more unusual, and the shifted
samples are the positive class. An AUROC below 0.5 is reported as such. Every measure here depends
on the order of the scores alone, so infinity is allowed (the most unusual of all) and ties count
half; NaN has no place in an order and is refused.
"""

from deepdrift.lab.bench.evaluation.curves import aupr, fpr_at_tpr
from deepdrift.lab.bench.evaluation.estimates import (
    Array,
    Estimate,
    EvaluationError,
    Seed,
    as_scores,
)
from deepdrift.lab.bench.evaluation.rates import binomial_interval, false_alarm_interval, proportion
from deepdrift.lab.bench.evaluation.roc import auroc, auroc_difference, placements

__all__ = [
    "Array",
    "Estimate",
    "EvaluationError",
    "Seed",
    "as_scores",
    "aupr",
    "auroc",
    "auroc_difference",
    "binomial_interval",
    "false_alarm_interval",
    "fpr_at_tpr",
    "placements",
    "proportion",
]
