"""The false-alarm rate that a rule keeps, over many calibration sets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.evidence.calibration import required_samples
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError, choice_control, number_control
from deepdrift.lab.bench.evaluation import Array, as_scores, false_alarm_interval
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.thresholds.figures import draw_rate_histogram

RULES = ("conformal", "quantile", "IQR")
HIGHEST = 0.2  # promised rate, and end of the axis


@dataclass(frozen=True)
class RateSummary:
    """Realised false-alarm rates of many thresholds, each from its own calibration draw."""

    mean: float
    low: float
    high: float
    share_above: float

    @classmethod
    def of(cls, rates: Array, alpha: float) -> RateSummary:
        """Mean, 5 % and 95 % quantile, and the share of draws whose rate exceeds ``alpha``.

        Examples
        --------
        >>> RateSummary.of(np.array([0.0, 0.1, 0.2]), alpha=0.1).share_above
        0.3333333333333333
        """
        low, high = np.quantile(rates, [0.05, 0.95])
        above = float(np.mean(rates > alpha + 1e-12))
        return cls(float(rates.mean()), float(low), float(high), above)


class FalseAlarmExplorer(Explorer):
    """See the false-alarm rate that a threshold rule keeps on unseen normal data.

    Many calibration sets of size ``n`` are drawn from the normal scores; each sets its own
    threshold, and each threshold is tried on normal scores that it has not seen. Controls:
    ``alpha`` (promised rate, on the axis of the picture; the IQR rule has none), ``n``
    (calibration size), ``rule`` (conformal, quantile, IQR), ``draw`` (the one set that is yours).

    Parameters
    ----------
    scores_pool : array_like, shape (N,)
        Finite scores of normal samples to draw calibration sets from.
    test_scores : array_like, shape (M,), optional
        Unseen normal scores. Without them each draw is tried on the rest of the pool, which takes
        the luck of one particular test set out of the picture.
    seed : int or numpy.random.Generator
        Source of the draws.
    n_draws : int
        Number of calibration sets.
    score : str
        What was scored with, for the axis.

    Examples
    --------
    >>> app = FalseAlarmExplorer(np.random.default_rng(0).normal(size=1000), alpha=0.01, n=50)
    >>> print(app.summary())
    Conformal rule, alpha 1 %: 50 calibration images are too few; at least 99 are needed.
    """

    _panels = (1.0,)

    def __init__(
        self,
        scores_pool: Any,
        test_scores: Any = None,
        seed: int | np.random.Generator = 0,
        *,
        n_draws: int = 200,
        alpha: float = 0.05,
        n: int = 100,
        unit: str = "images",
        score: str = "",
    ) -> None:
        pool = as_scores(scores_pool, "scores_pool", at_least=50)
        if not np.isfinite(pool).all():
            raise ExplorerError("scores_pool: expected finite scores of normal samples")
        self._unit, self._score = unit, score
        draws = np.random.default_rng(seed).permuted(np.tile(pool, (n_draws, 1)), axis=1)
        self._draws = torch.from_numpy(draws)
        own_test = test_scores is not None
        self._test = np.sort(as_scores(test_scores, "test_scores") if own_test else pool)
        self._own_test = own_test
        self._ordered: tuple[int, Tensor] = (0, torch.empty(0))
        self._rates: dict[tuple[str, float, int], Array] = {}
        largest = len(pool) if own_test else 4 * len(pool) // 5
        largest -= largest % 10
        slider, row = number_control("promised rate alpha", alpha, 0.0, HIGHEST, 0.005)
        self._alpha_box = row.children[0]
        self._start(
            {
                "rule": choice_control("rule", RULES),
                "n": number_control("calibration size n", min(n, largest), 20, largest, 10),
                "alpha": (slider, row),
                "draw": number_control("draw again: set", 1, 1, n_draws, 1),
            },
            on_axis={"alpha": 0},
        )

    def rates(self, **values: Any) -> Array:
        """Realised false-alarm rate of each draw; empty if the rate cannot be promised.

        With values: there, and nothing moves.
        """
        at = self._values_at(values)
        rates = self._realised(at["alpha"], at["n"], at["rule"])
        return np.empty(0) if rates is None else rates.copy()

    def _realised(self, alpha: float, n: int, rule: str) -> Array | None:
        if self._refusal(alpha, n, rule):
            return None
        alpha = 0.0 if rule == "IQR" else round(alpha, 6)
        key = (rule, alpha, n)
        if key not in self._rates:
            if self._ordered[0] != n:
                self._ordered = (n, self._draws[:, :n].sort(dim=1).values)
            sets = self._ordered[1]
            lines = _lines(sets, alpha, rule)
            above = len(self._test) - np.searchsorted(self._test, lines.numpy(), side="right")
            if not self._own_test:  # the pool minus the calibration set itself
                inside = torch.searchsorted(sets, lines[:, None], right=True)[:, 0]
                above = above - (n - inside.numpy())
            self._rates[key] = above / self._n_test(n)
        return self._rates[key]

    def _n_test(self, n: int) -> int:
        return len(self._test) if self._own_test else len(self._test) - n

    def _refusal(self, alpha: float, n: int, rule: str) -> str:
        """Why this rate cannot be promised, or nothing."""
        alpha = round(alpha, 6)
        if rule == "IQR":
            return ""
        if alpha == 0:
            return "no line can promise that no normal image is ever flagged."
        if rule == "conformal" and n < required_samples(alpha):
            needed = required_samples(alpha)
            return f"{n} calibration {self._unit} are too few; at least {needed} are needed."
        return ""

    def _sentence(self, rule: str, n: int, alpha: float, draw: int) -> str:
        promise = "which promises no rate" if rule == "IQR" else f"alpha {100 * alpha:.3g} %"
        start = f"{rule[0].upper()}{rule[1:]} rule, {promise}"
        if refusal := self._refusal(alpha, n, rule):
            return f"{start}: {refusal}"
        rates = self._realised(alpha, n, rule)
        s = RateSummary.of(rates, alpha)
        digits = 1 if alpha < 0.02 and rule != "IQR" else 0  # the ends hang on single draws
        exceed = f"; {100 * s.share_above:.0f} % exceed {100 * alpha:.3g} %"
        return (
            f"{start}, {n} calibration {self._unit}: draw {draw} gives "
            f"{100 * rates[draw - 1]:.1f} % false alarms.\n"
            f"All {len(rates)} draws: {100 * s.mean:.1f} % on average, 90 % of them from "
            f"{100 * s.low:.{digits}f} % to {100 * s.high:.{digits}f} %"
            f"{'' if rule == 'IQR' else exceed}."
        )

    def _draw(self, axes: list[Any], rule: str, n: int, alpha: float, draw: int) -> None:
        ax = axes[0]
        self.alpha.disabled = self._alpha_box.disabled = rule == "IQR"
        if refusal := self._refusal(alpha, n, rule):
            ax.set(title=f"{rule}, n = {n}: {100 * alpha:.3g} % cannot be promised", ylim=(0, 1))
            ax.text(0.5, 0.55, refusal, ha="center", va="center", fontsize=14, color=figures.INK,
                    transform=ax.transAxes)  # fmt: skip
            return
        rates = self._realised(alpha, n, rule)
        band = None
        if rule == "conformal":
            band = false_alarm_interval(n, alpha, n_test=self._n_test(n))
        title = f"{rule}, n = {n}: {100 * float(rates.mean()):.1f} % false alarms on average"
        promised = None if rule == "IQR" else alpha
        draw_rate_histogram(ax, rates, promised, title, band, draw, (0.0, HIGHEST), self._score)


def _lines(ordered: Tensor, alpha: float, rule: str) -> Tensor:
    """The line of each row of sorted scores, as the library's rules draw it from one row."""
    if rule == "conformal":
        n = ordered.shape[1]
        return ordered[:, math.ceil((1 - alpha) * (n + 1) - 1e-9) - 1].contiguous()
    if rule == "quantile":
        return torch.quantile(ordered, 1 - alpha, dim=1)
    first, third = torch.quantile(ordered, torch.tensor([0.25, 0.75]).double(), dim=1)
    return third + 1.5 * (third - first)
