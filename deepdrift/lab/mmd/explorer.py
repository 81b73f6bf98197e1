"""Slide bandwidth, sample size and number of permutations of an MMD test, and see its histogram.

The splits of all sizes, and the curve over the bandwidths, are made once; a move puts one kernel
through the splits. The values are those of `deepdrift.MMDDrift` with the same settings, to its
rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepdrift.baselines.kernels import as_generator, gaussian, median_heuristic
from deepdrift.baselines.permutation import (
    TIE,
    check_permutations,
    decide,
    group_sums,
    random_splits,
)
from deepdrift.baselines.samples import as_sample
from deepdrift.evidence.calibration import required_samples
from deepdrift.lab.bench.controls import ExplorerError, choice_control, number_control
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.bench.figures import VERMILLION
from deepdrift.lab.mmd.figures import draw_effects, draw_permutations

WIDEST = 16  # the slider goes from the median heuristic / 16 to 16 times it
STEP = math.log10(WIDEST) / 120  # of the slider, in powers of ten: the median is on a step
CURVE = 9  # bandwidths at which the effect size is drawn


@dataclass(frozen=True)
class MMDPoint:
    """One setting of the sliders.

    Attributes
    ----------
    sigma, median : float
        Bandwidth, and the one of the median heuristic.
    distance, threshold : float
        Observed MMD^2, and the smallest value that would be called drift.
    p_value, effect_size : float
    null : Tensor, shape (B,)
        Permuted values.
    """

    sigma: float
    median: float
    distance: float
    threshold: float
    p_value: float
    effect_size: float
    null: Tensor


@dataclass(frozen=True)
class _Samples:
    """A pair of samples, their random splits, and the values of the drawn bandwidths."""

    median: float
    pooled: Tensor
    members: Tensor
    values: Tensor
    slack: Tensor

    def at(self, sigma: float, permutations: int) -> tuple[Tensor, float]:
        """Values ``(1 + B,)`` of the true and the random groups, and their rounding."""
        members = self.members[:, : 1 + permutations]
        sums = group_sums(self.pooled, members, [partial(gaussian, sigma=sigma)])
        return sums.unbiased()[0], float(TIE * sums.mean[0].abs())


def _prepared(
    reference: Tensor, x: Tensor, n_permutations: int, sigmas: Sequence[float]
) -> _Samples:
    pooled, generator = torch.cat([x, reference]), as_generator(None)
    median = median_heuristic(pooled, generator=generator)
    members = random_splits(len(x), len(reference), n_permutations, generator)
    sums = group_sums(pooled, members, [partial(gaussian, sigma=sigma) for sigma in sigmas])
    return _Samples(median, pooled, members, sums.unbiased(), TIE * sums.mean.abs())


def _effect(values: Tensor, slack: float) -> float:
    """Standard deviations of the first value above the mean of the others."""
    null = values[1:]
    excess, spread = float(values[0] - null.mean()), float(null.std(correction=0))
    return excess / spread if spread > slack else 0.0


class MMDExplorer(Explorer):
    """Permutation histogram of an MMD test, and its effect size for every bandwidth.

    Controls: ``sigma`` (the bandwidth, under the axis of the effect sizes), ``n`` (samples on
    either side, the first n rows), ``features`` (which pair of samples) and ``permutations``. It
    starts at the first pair's median heuristic.

    Parameters
    ----------
    pairs : mapping of str to (reference, new)
        Name of the features -> two samples ``(N, D)``; all need ``max(sizes)`` rows.
    sizes : sequence of int
        Values of n; equally spaced.
    n_permutations : int
        The most that can be asked for.
    alpha : float
        Level of the test.
    n, permutations : int, optional
        Where these sliders start; by default in the middle, and at 99.

    Raises
    ------
    ExplorerError
        Without pairs, for sizes that are not equally spaced, or samples shorter than the
        largest of them.
    CalibrationError
        For fewer permutations than alpha needs.
    """

    _panels = (1.5, 1.0)

    def __init__(
        self,
        pairs: Mapping[str, tuple[Any, Any]],
        *,
        sizes: Sequence[int] = range(25, 301, 25),
        n_permutations: int = 499,
        alpha: float = 0.05,
        n: int | None = None,
        permutations: int = 99,
    ) -> None:
        steps = {b - a for a, b in zip(sizes, sizes[1:], strict=False)} or {1}
        if not pairs or len(steps) != 1 or min(steps) < 1 or min(sizes) < 2:
            raise ExplorerError(
                "pairs, sizes: expected at least one pair of samples and equally spaced sizes "
                f"from 2 on, got {len(pairs)} pairs and sizes {list(sizes)}"
            )
        check_permutations(n_permutations, alpha)
        samples = {}
        for name, pair in pairs.items():
            samples[str(name)] = [
                as_sample(x, f"{name}: {part}", minimum=max(sizes), error=ExplorerError)
                for x, part in zip(pair, ("reference", "new"), strict=True)
            ]
        start = sizes[len(sizes) // 2] if n is None else n
        first = torch.cat([x[:start] for x in next(iter(samples.values()))])
        median = median_heuristic(first)
        low, high = median / WIDEST, median * WIDEST
        self._alpha, self._sigmas = alpha, np.geomspace(low, high, CURVE).tolist()
        self._samples = {
            (name, size): _prepared(x[:size], y[:size], n_permutations, self._sigmas)
            for name, (x, y) in samples.items()
            for size in sizes
        }
        fewest = required_samples(alpha)
        step = 20 if (n_permutations - fewest) % 20 == 0 else 1
        few, many = min(permutations, n_permutations), n_permutations
        self._start(
            {
                "features": choice_control("features", list(samples)),
                "n": number_control("images on either side, n", start, min(sizes), max(sizes),
                                    min(steps)),
                "sigma": number_control("bandwidth σ", median, low, high, STEP, log=True),
                "permutations": number_control("permutations", few, fewest, many, step),
            },
            on_axis={"sigma": 1},
        )  # fmt: skip

    def _checked(self, name: str, value: Any) -> Any:
        value = super()._checked(name, value)
        if name == "n" and (self.features.value, value) not in self._samples:
            known = sorted({size for _, size in self._samples})
            raise ExplorerError(f"n: expected one of {', '.join(map(str, known))}, got {value}")
        return value

    def _refresh(self, change: Any = None) -> None:
        sizes = [size for name, size in self._samples if name == self.features.value]
        nearest = min(sizes, key=lambda size: abs(size - self.n.value))
        if nearest == self.n.value:
            super()._refresh(change)
        else:  # a number typed into the box; the correction comes back here
            self.n.value = nearest

    def point(self, **values: Any) -> MMDPoint:
        """Numbers of the current setting, those of the `deepdrift.MMDDrift` test.

        With values: of that setting, and nothing moves.
        """
        return self._point(**self._values_at(values))

    def _point(self, features: str, n: int, sigma: float, permutations: int) -> MMDPoint:
        samples = self._samples[features, n]
        values, slack = samples.at(sigma, permutations)
        p_value, threshold = decide(values, self._alpha, slack)
        return MMDPoint(
            sigma=sigma,
            median=samples.median,
            distance=float(values[0]),
            threshold=threshold,
            p_value=p_value,
            effect_size=_effect(values, slack),
            null=values[1:],
        )

    def effects(self, **values: Any) -> dict[float, float]:
        """Effect size by bandwidth, for the current features, n and permutations, or others."""
        values = self._values_at(values)
        samples = self._samples[values["features"], values["n"]]
        seen = samples.values[:, : 1 + values["permutations"]]
        found = map(_effect, seen, samples.slack.tolist())
        return dict(zip(self._sigmas, found, strict=True))

    def _sentence(self, features: str, n: int, sigma: float, permutations: int) -> str:
        point = self._point(features, n, sigma, permutations)
        reached = round(point.p_value * (permutations + 1))
        return (
            f"{'Drift' if point.p_value <= self._alpha else 'No drift found'} in {features}, "
            f"{n} against {n}, σ = {sigma:.3g} (median heuristic {point.median:.3g}): "
            f"MMD² {point.distance:.2g}, threshold {point.threshold:.2g}, effect "
            f"{point.effect_size:.1f} sd; p = {reached}/{permutations + 1} = {point.p_value:.2g}."
        )

    def _draw(
        self, axes: list[Any], features: str, n: int, sigma: float, permutations: int
    ) -> None:
        point = self._point(features, n, sigma, permutations)
        effects = self.effects(features=features, n=n, permutations=permutations)
        draw_permutations(
            axes[0], point.null, point.distance, point.threshold,
            title=f"{permutations} random deals of {features}, p = {point.p_value:.2g}",
        )  # fmt: skip
        draw_effects(axes[1], list(effects), {"": list(effects.values())},
                     {"median": point.median}, xlabel="bandwidth σ")  # fmt: skip
        axes[1].plot(sigma, point.effect_size, "o", markersize=11, color=VERMILLION, zorder=5)
