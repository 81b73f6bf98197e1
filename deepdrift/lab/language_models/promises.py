"""Promises about answers, made on some countries and kept, or not, on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from deepdrift.confidence import accept_at_risk
from deepdrift.evidence.calibration import conformal_threshold
from deepdrift.lab.bench.evaluation import Estimate
from deepdrift.lab.language_models.clustered import rate
from deepdrift.lab.language_models.records import Records

__all__ = [
    "Coverage",
    "answer_most_certain",
    "conformal_rates",
    "held_out",
    "risk_promises",
]


def held_out(records: Records, seed: int = 0) -> np.ndarray:
    """Answers about the half of the countries that choose nothing, bool ``(N,)``."""
    n = len(records.countries)
    return (np.random.default_rng(seed).permutation(n) >= n // 2)[records.country]


@dataclass(frozen=True, eq=False)
class Coverage:
    """Answers given to held-out countries, by a threshold that the others chose.

    Attributes
    ----------
    promised : float
        The most that was promised, or the share of wrong answers where the threshold was chosen.
    share : float
        Share of held-out questions that are answered.
    risk : Estimate or None
        Share of wrong ones among these, countries as clusters; None where nothing is answered.
    given, rows : array of bool, shape (N,)
        Which answers are given; which are held out.
    """

    promised: float
    share: float
    risk: Estimate | None
    given: np.ndarray
    rows: np.ndarray

    def lost(self, records: Records) -> list[str]:
        """Right answers that are not given."""
        return _named(records, self.rows & ~self.given & records.right)

    def caught(self, records: Records) -> list[str]:
        """Wrong answers that are not given."""
        return _named(records, self.rows & ~self.given & records.wrong)

    def errors(self, records: Records, score: str = "nll") -> list[str]:
        """Wrong answers that are given, the most certain first."""
        rows = np.flatnonzero(self.given & records.wrong)
        order = rows[records.scores[score][rows].argsort(kind="stable")]
        return [_name(records, i) for i in order]


def _name(records: Records, i: int) -> str:
    country = records.countries[records.country[i]]
    text = str(records.text[i]).strip()
    return f"{country.name}: {text}"


def _named(records: Records, rows: np.ndarray) -> list[str]:
    return [_name(records, i) for i in np.flatnonzero(rows)]


def _covered(records: Records, given: np.ndarray, rows: np.ndarray, promised: float) -> Coverage:
    given = given & rows
    risk = rate(records.wrong[given], records.country[given]) if given.any() else None
    return Coverage(promised, float(given.sum() / rows.sum()), risk, given, rows)


def risk_promises(
    records: Records, score: str = "nll", max_risks: Sequence[float] = (0.1, 0.2, 0.3)
) -> dict[float, Coverage]:
    """Promise at most so many wrong answers, template by template (one answer a country)."""
    rows = held_out(records)
    found = {}
    for max_risk in max_risks:
        given = np.zeros(len(records), dtype=bool)
        for template in records.templates:
            mine = records.rows(template)
            s, right = records.scores[score], records.right
            chosen = accept_at_risk(s[mine & ~rows], right[mine & ~rows], max_risk)
            given[mine] = chosen.accepts(s[mine]).numpy()
        found[max_risk] = _covered(records, given, rows, max_risk)
    return found


def answer_most_certain(
    records: Records, share: float, score: str = "nll", template: str | None = None
) -> Coverage:
    """Answer what lies below the quantile ``share`` of the other countries, template by template.

    Promised is the share of wrong answers below it among the countries that chose it.
    """
    rows, s = held_out(records), records.scores[score]
    wanted = records.templates if template is None else (template,)
    given, inside = np.zeros(len(records), dtype=bool), np.zeros(len(records), dtype=bool)
    for name in wanted:
        mine = records.rows(name)
        limit = np.quantile(s[mine & ~rows], share)
        given[mine], inside[mine] = s[mine] <= limit, True
    chose = given & ~rows
    promised = float(records.wrong[chose].mean()) if chose.any() else float("nan")
    return _covered(records, given, rows & inside, promised)


def conformal_rates(
    records: Records, alpha: float = 0.1, n_splits: int = 200, score: str = "nll"
) -> np.ndarray:
    """Share of right answers that a threshold of ``alpha`` flags: where chosen x where spent.

    The threshold is conformal, from the right answers of a template and one half of the countries;
    the rate is that of the other half, mean over random halves.

    Returns
    -------
    array, shape (5, 5)
    """
    n, k = len(records.countries), len(records.templates)
    s = records.scores[score].reshape(k, n)
    right = records.right.reshape(k, n)
    total = np.zeros((k, k))
    rng = np.random.default_rng(0)
    for _ in range(n_splits):
        half = rng.permutation(n) < n // 2
        for i in range(k):
            limit = conformal_threshold(torch.from_numpy(s[i, half & right[i]]), alpha)
            for j in range(k):
                spent = s[j, ~half & right[j]]
                total[i, j] += (spent > limit).mean()
    return total / n_splits
