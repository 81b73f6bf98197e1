"""What a hidden score adds: beside the first token alone, and beside the whole answer.

A hidden score that is joined to a weak base looks useful because it knows, roughly, what the base
left out. The toggle of notebook 12 changes the base and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deepdrift.errors import require
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.language_models.clustered import Layout, weighted_auroc
from deepdrift.lab.language_models.doubt import INSIDE
from deepdrift.lab.language_models.records import Records

__all__ = [
    "BASES",
    "best_inside",
    "controlled",
    "fused",
    "gains",
    "standardised",
    "token_removed",
]

BASES = {"first token": "first", "whole answer": "nll"}


def standardised(values: np.ndarray, template: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Values less the mean, over the standard deviation, of the training rows of their template.

    Examples
    --------
    >>> standardised(np.array([1.0, 3, 9]), np.zeros(3), np.array([True, True, False])).tolist()
    [-1.0, 1.0, 7.0]
    """
    out = np.zeros(len(values))
    for t in np.unique(template):
        rows = template == t
        known = values[rows & train].astype(float)
        out[rows] = (values[rows] - known.mean()) / (known.std() or 1.0)
    return out


def _fit(x: np.ndarray, y: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Log odds of all rows by a logistic regression on the training rows."""
    linear = require("sklearn.linear_model", "lab")
    model = linear.LogisticRegression(C=1.0).fit(x[train], y[train])
    return model.decision_function(x)


def fused(
    columns: Sequence[np.ndarray],
    wrong: np.ndarray,
    template: np.ndarray,
    fold: np.ndarray,
    inside: np.ndarray | None = None,
) -> np.ndarray:
    """Log odds of being wrong from several scores, each row by what the other folds teach.

    Parameters
    ----------
    columns : sequence of array, shape (N,)
    wrong, template, fold : array, shape (N,)
    inside : array of bool, shape (N,), optional
        Rows that exist for this purpose; the others stay 0.
    """
    inside = np.ones(len(wrong), dtype=bool) if inside is None else inside
    out = np.zeros(len(wrong))
    for k in np.unique(fold[inside]):
        train, test = inside & (fold != k), inside & (fold == k)
        x = np.stack([standardised(c, template, train) for c in columns], axis=1)
        out[test] = _fit(x, wrong, train)[test]
    return out


def gains(
    records: Records,
    base: str,
    names: Sequence[str] = (*INSIDE, "disagreement", "sample entropy"),
    layout: Layout | None = None,
) -> dict[str, Estimate]:
    """AUROC of a base and one more score, less that of the base alone, for every score.

    Parameters
    ----------
    records : Records
    base : {"first token", "whole answer"}
    """
    layout = layout or records.layout()
    how = records.wrong, records.template, records.fold
    start = records.scores[BASES[base]]
    alone = fused([start], *how)
    return {name: layout.gain(fused([start, records.scores[name]], *how), alone) for name in names}


def best_inside(
    records: Records, base: str, layout: Layout | None = None
) -> tuple[Estimate, list[str]]:
    """Gain of the hidden score that gains most inside the other folds, and its name per fold."""
    layout = layout or records.layout()
    wrong, template, fold = records.wrong, records.template, records.fold
    start = records.scores[BASES[base]]
    alone, joint, chosen = fused([start], wrong, template, fold), np.zeros(len(records)), []
    for k in np.unique(fold):
        train = fold != k
        inner = {
            name: _macro(fused([start, records.scores[name]], wrong, template, fold, train),
                         wrong, template, train)
            for name in INSIDE
        }  # fmt: skip
        name = max(inner, key=inner.__getitem__)
        x = np.stack(
            [standardised(records.scores[s], template, train) for s in (BASES[base], name)], axis=1
        )
        joint[~train] = _fit(x, wrong, train)[~train]
        chosen.append(name)
    return layout.gain(joint, alone), chosen


def _macro(scores: np.ndarray, wrong: np.ndarray, template: np.ndarray, rows: np.ndarray) -> float:
    cells = [rows & (template == t) for t in np.unique(template)]
    each = [weighted_auroc(scores[c], wrong[c], np.ones((1, c.sum())))[0] for c in cells]
    return float(np.nanmean(each))


def controlled(records: Records, values: np.ndarray) -> np.ndarray:
    """What of a score the four controls do not explain, within a template and outside the fold."""
    out = np.zeros(len(records))
    for k in np.unique(records.fold):
        train = records.fold != k
        for t in range(len(records.templates)):
            rows = records.template == t
            x = np.stack([np.ones(len(records)), *records.controls.values()], axis=1)
            known = rows & train
            beta = np.linalg.lstsq(x[known], values[known].astype(float), rcond=None)[0]
            here = rows & ~train
            out[here] = values[here] - x[here] @ beta
    return out


def token_removed(records: Records, block: int = -1) -> np.ndarray:
    """Mean velocity over the answer, each less the mean velocity where that token stands.

    The state that predicts token t stands at token t - 1: for the first one at the last token of
    the prompt, the same in a whole template. Means come from the other folds; a token that they do
    not contain gets the mean of all.
    """
    velocity = records.velocity[..., block].astype(float)
    n, t = velocity.shape
    here = np.arange(t) < records.lengths[:, None]
    before = np.concatenate([-1 - records.template[:, None], records.tokens[:, :-1]], axis=1)
    left = np.zeros_like(velocity)
    for k in np.unique(records.fold):
        test = records.fold == k
        known = here & ~test[:, None]
        later = known.copy()
        later[:, 0] = False
        means = _means(before[known], velocity[known])
        usual = velocity[later].mean() if later.any() else 0.0
        expected = np.array([[means.get(int(x), usual) for x in row] for row in before[test]])
        left[test] = velocity[test] - expected
    return np.where(here, left, 0).sum(axis=1) / records.lengths


def _means(keys: np.ndarray, values: np.ndarray) -> Mapping[int, float]:
    names, index = np.unique(keys, return_inverse=True)
    sums = np.bincount(index, values) / np.bincount(index)
    return dict(zip(names.tolist(), sums.tolist(), strict=True))
