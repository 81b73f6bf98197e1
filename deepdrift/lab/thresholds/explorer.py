"""The false-alarm rate that a rule keeps, over many calibration sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from deepdrift.evidence.calibration import (
    conformal_threshold,
    iqr_threshold,
    quantile_threshold,
    required_samples,
)
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError, choice_control, number_control
from deepdrift.lab.bench.evaluation import Array, as_scores, false_alarm_interval
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.thresholds.figures import draw_rate_histogram

RULES = ("conformal", "quantile", "IQR")


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
    ``alpha`` (promised rate), ``n`` (calibration size), ``rule`` (conformal, quantile, IQR).

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

    Examples
    --------
    >>> app = FalseAlarmExplorer(np.random.default_rng(0).normal(size=1000), alpha=0.01, n=50)
    >>> print(app.summary())
    Conformal rule, alpha 1 %: 50 calibration images are too few to promise this; at least 99 are \
needed.
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
    ) -> None:
        pool = as_scores(scores_pool, "scores_pool", at_least=50)
        if not np.isfinite(pool).all():
            raise ExplorerError("scores_pool: expected finite scores of normal samples")
        self._unit = unit
        draws = np.random.default_rng(seed).permuted(np.tile(pool, (n_draws, 1)), axis=1)
        self._draws = torch.from_numpy(draws)
        own_test = test_scores is not None
        self._test = np.sort(as_scores(test_scores, "test_scores") if own_test else pool)
        self._own_test = own_test
        self._rates: dict[tuple[str, float, int], Array | None] = {}
        largest = len(pool) if own_test else 4 * len(pool) // 5
        largest -= largest % 10
        self._start(
            {
                "alpha": number_control("promised rate alpha", alpha, 0.005, 0.2, 0.005),
                "n": number_control("calibration size n", min(n, largest), 20, largest, 10),
                "rule": choice_control("rule", RULES),
            }
        )

    def rates(self, **values: Any) -> Array:
        """Realised false-alarm rate of each draw; empty if n is too small.

        With values: there, and nothing moves.
        """
        rates = self._realised(**self._values_at(values))
        return np.empty(0) if rates is None else rates.copy()

    def _realised(self, alpha: float, n: int, rule: str) -> Array | None:
        alpha = round(alpha, 6)
        key = (rule, 0.0 if rule == "IQR" else alpha, n)
        if key not in self._rates:
            if rule == "conformal" and n < required_samples(alpha):
                return None
            sets = self._draws[:, :n]
            find = {
                "conformal": lambda s: conformal_threshold(s, alpha),
                "quantile": lambda s: quantile_threshold(s, alpha),
                "IQR": iqr_threshold,
            }[rule]
            thresholds = np.array([find(s) for s in sets])
            above = len(self._test) - np.searchsorted(self._test, thresholds, side="right")
            if not self._own_test:  # the pool minus the calibration set itself
                above = above - (sets.numpy() > thresholds[:, None]).sum(axis=1)
            self._rates[key] = above / self._n_test(n)
        return self._rates[key]

    def _n_test(self, n: int) -> int:
        return len(self._test) if self._own_test else len(self._test) - n

    def _sentence(self, alpha: float, n: int, rule: str) -> str:
        name = rule[0].upper() + rule[1:]
        rates = self._realised(alpha, n, rule)
        if rates is None:
            return (
                f"{name} rule, alpha {100 * alpha:.3g} %: {n} calibration {self._unit} are too few "
                f"to promise this; at least {required_samples(round(alpha, 6))} are needed."
            )
        s = RateSummary.of(rates, alpha)
        promise = (
            f"{name} rule, which promises no rate"
            if rule == "IQR"
            else f"{name} rule, alpha {100 * alpha:.3g} %"
        )
        digits = 1 if alpha < 0.02 else 0  # the ends of the range hang on single draws
        return (
            f"{promise}, {n} calibration {self._unit}, {len(rates)} draws: "
            f"{100 * s.mean:.1f} % false alarms on average, 5 to 95 % of the draws between "
            f"{100 * s.low:.{digits}f} % and {100 * s.high:.{digits}f} %; "
            f"{100 * s.share_above:.0f} % of the draws exceed {100 * alpha:.3g} %."
        )

    def _draw(self, axes: list[Any], alpha: float, n: int, rule: str) -> None:
        ax = axes[0]
        rates = self._realised(alpha, n, rule)
        if rates is None:
            needed = required_samples(round(alpha, 6))
            ax.set_axis_off()
            ax.set_title(f"{n} calibration {self._unit} cannot promise {100 * alpha:.3g} %")
            ax.text(0.5, 0.55, f"alpha = {100 * alpha:.3g} % needs at least {needed} {self._unit}\n"
                    f"(n ≥ 1/alpha − 1)", ha="center", va="center", fontsize=14,
                    color=figures.INK, transform=ax.transAxes)  # fmt: skip
            return
        band = None
        if rule == "conformal":
            band = false_alarm_interval(n, alpha, n_test=self._n_test(n))
        title = f"{rule}, n = {n}: {100 * float(rates.mean()):.1f} % false alarms on average"
        draw_rate_histogram(
            ax, rates, alpha, title, band, "promised" if rule != "IQR" else "alpha (not used)"
        )
