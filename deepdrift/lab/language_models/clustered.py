"""AUROC within cells, averaged over them, with intervals that draw whole persons or countries.

Answers about one country in five templates are no five observations. A bootstrap that draws
countries keeps them together; two scores are compared on the same draws.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepdrift.lab.bench.evaluation import Estimate, EvaluationError, as_scores

__all__ = ["Layout", "cluster_draws", "rate", "weighted_auroc"]

Array = NDArray[np.float64]


def weighted_auroc(scores: ArrayLike, positive: ArrayLike, weights: ArrayLike) -> Array:
    """AUROC under each row of weights, ties half; NaN where one kind has no weight.

    Parameters
    ----------
    scores : array, shape (n,)
        Larger is more suspicious.
    positive : array of bool, shape (n,)
    weights : array, shape (R, n), >= 0

    Returns
    -------
    array, shape (R,)

    Examples
    --------
    One positive at 2 against negatives at 1, 2 and 3: (1 + 1/2 + 0) / 3; the last one counts twice
    in the second row.

    >>> weighted_auroc([1, 2, 3, 2], [0, 0, 0, 1], [[1, 1, 1, 1], [1, 1, 2, 1]]).tolist()
    [0.5, 0.375]
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    w = np.asarray(weights, dtype=np.float64)
    order = s.argsort(kind="stable")
    s, y, w = s[order], y[order], w[:, order]
    starts = np.flatnonzero(np.r_[True, s[1:] != s[:-1]])
    up = np.add.reduceat(w * y, starts, axis=1)
    down = np.add.reduceat(w * ~y, starts, axis=1)
    below = down.cumsum(axis=1) - down / 2
    pairs = up.sum(axis=1) * down.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, (up * below).sum(axis=1) / pairs, np.nan)


def cluster_draws(cluster: ArrayLike, n_bootstrap: int = 1000, seed: int = 0) -> Array:
    """How often each sample counts when whole clusters are drawn; the first row counts all once.

    Returns
    -------
    array, shape (1 + n_bootstrap, n)

    Examples
    --------
    >>> draws = cluster_draws([7, 7, 9], n_bootstrap=100)
    >>> draws.shape, bool((draws[:, 0] == draws[:, 1]).all()), draws[0].tolist()
    ((101, 3), True, [1.0, 1.0, 1.0])
    """
    names, index = np.unique(np.asarray(cluster), return_inverse=True)
    n = len(names)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_bootstrap)
    return np.concatenate([np.ones((1, n)), counts])[:, index].astype(np.float64)


class Layout:
    """What does not depend on the score: which samples are positive, in which cell and cluster.

    Parameters
    ----------
    positive : array of bool, shape (n,)
    cell : array of int, shape (n,)
        AUROC is measured within a cell (a template) and averaged over cells of equal weight; cells
        with one kind only are left out.
    cluster : array of int, shape (n,)
        Person or country.
    n_bootstrap, seed : int
    confidence : float
        Of the intervals (percentile).

    Examples
    --------
    >>> n = 40
    >>> layout = Layout([i % 2 for i in range(n)], [i // 20 for i in range(n)], list(range(n)))
    >>> layout.auroc([i % 2 for i in range(n)]).value
    1.0
    """

    def __init__(
        self,
        positive: ArrayLike,
        cell: ArrayLike,
        cluster: ArrayLike,
        *,
        n_bootstrap: int = 1000,
        seed: int = 0,
        confidence: float = 0.95,
    ) -> None:
        self.positive = np.asarray(positive, dtype=bool)
        self.cell, self.cluster = np.asarray(cell), np.asarray(cluster)
        if not len(self.positive) == len(self.cell) == len(self.cluster):
            raise EvaluationError("positive, cell, cluster: expected one of each for each sample")
        self.confidence, self.n_bootstrap, self.seed = confidence, n_bootstrap, seed
        cells = [np.flatnonzero(self.cell == c) for c in np.unique(self.cell)]
        self.rows = [r for r in cells if 0 < self.positive[r].sum() < len(r)]
        if not self.rows:
            raise EvaluationError("positive: no cell has samples of both kinds")
        names, index = np.unique(self.cluster, return_inverse=True)
        self._index = index
        self._draws = cluster_draws(names, n_bootstrap, seed)

    def by_cell(self, scores: Any) -> Array:
        """AUROC of each draw and cell; the first row counts all samples once."""
        s = as_scores(scores)
        if len(s) != len(self.positive):
            raise EvaluationError(f"scores: expected {len(self.positive)}, got {len(s)}")
        columns = [
            weighted_auroc(s[r], self.positive[r], self._draws[:, self._index[r]])
            for r in self.rows
        ]
        return np.stack(columns, axis=1)

    def estimate(self, values: Array, confidence: float | None = None) -> Estimate:
        """Mean over cells of what `by_cell` gave, or of a difference of two, with its interval."""
        means = _mean(values)
        tail = (1 - (confidence or self.confidence)) / 2
        low, high = np.nanquantile(means[1:], [tail, 1 - tail]).tolist()
        n = int(sum(self.positive[r].sum() for r in self.rows))
        total = int(sum(map(len, self.rows)))
        return Estimate(float(means[0]), low, high, total - n, n, confidence or self.confidence)

    def auroc(self, scores: Any, confidence: float | None = None) -> Estimate:
        """Mean AUROC over cells."""
        return self.estimate(self.by_cell(scores), confidence)

    def gain(self, scores: Any, beside: Any, confidence: float | None = None) -> Estimate:
        """Mean AUROC less that of other scores, on the same draws."""
        return self.estimate(self.by_cell(scores) - self.by_cell(beside), confidence)


def _mean(values: Array) -> Array:
    """Mean over cells of each draw, without those that a draw left with one kind only."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1)


def rate(hits: ArrayLike, cluster: ArrayLike, n_bootstrap: int = 1000, seed: int = 0) -> Estimate:
    """Share of hits, with an interval that draws clusters.

    Examples
    --------
    >>> rate([1, 1, 0, 0], [0, 0, 1, 1]).value
    0.5
    """
    x = np.asarray(hits, dtype=np.float64)
    if not len(x):
        raise EvaluationError("hits: expected at least one, got none")
    draws = cluster_draws(cluster, n_bootstrap, seed)
    total = draws.sum(axis=1)
    values = (draws @ x)[total > 0] / total[total > 0]
    low, high = np.quantile(values[1:], [0.025, 0.975]).tolist()
    return Estimate(float(values[0]), low, high, len(x), 0)
