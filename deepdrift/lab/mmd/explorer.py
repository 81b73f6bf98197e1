"""Slide bandwidth, sample size and number of permutations of an MMD test, and see its histogram.

All splits of all sizes go through all kernels once, when the explorer is made; a move looks the
values up. They are those of `deepdrift.MMDDrift` with the same settings, to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

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
from deepdrift.lab.mmd.figures import draw_effects, draw_permutations

DOUBLINGS = range(-4, 5)  # bandwidths: 2^k times the median heuristic


@dataclass(frozen=True)
class MMDPoint:
    """One setting of the sliders.

    Attributes
    ----------
    sigma : float
        Bandwidth.
    distance, threshold : float
        Observed MMD^2, and the smallest value that would be called drift.
    p_value, effect_size : float
    null : Tensor, shape (B,)
        Permuted values.
    """

    sigma: float
    distance: float
    threshold: float
    p_value: float
    effect_size: float
    null: Tensor


@dataclass(frozen=True)
class _Sweep:
    """Values ``(S, 1 + B)`` of all bandwidths for one pair of samples, and their rounding."""

    median: float
    values: Tensor
    slack: Tensor


def _sweep(reference: Tensor, x: Tensor, n_permutations: int) -> _Sweep:
    pooled, generator = torch.cat([x, reference]), as_generator(None)
    median = median_heuristic(pooled, generator=generator)
    members = random_splits(len(x), len(reference), n_permutations, generator)
    kernels = [partial(gaussian, sigma=median * 2.0**k) for k in DOUBLINGS]
    sums = group_sums(pooled, members, kernels)
    return _Sweep(median, sums.unbiased(), TIE * sums.mean.abs())


class MMDExplorer(Explorer):
    """Permutation histogram of an MMD test, and its effect size for every bandwidth.

    Controls: ``features`` (which pair of samples), ``n`` (samples on either side, the first n
    rows), ``doublings`` (the bandwidth is ``2 ** doublings`` times the median heuristic) and
    ``permutations``.

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
        self._alpha, self._sweeps = alpha, {}
        for name, pair in pairs.items():
            reference, new = (
                as_sample(x, f"{name}: {part}", minimum=max(sizes), error=ExplorerError)
                for x, part in zip(pair, ("reference", "new"), strict=True)
            )
            for size in sizes:
                found = _sweep(reference[:size], new[:size], n_permutations)
                self._sweeps[str(name), size] = found
        fewest, start = required_samples(alpha), sizes[len(sizes) // 2] if n is None else n
        step = 20 if (n_permutations - fewest) % 20 == 0 else 1
        self._start(
            {
                "features": choice_control("features", [str(name) for name in pairs]),
                "n": number_control("samples on either side, n", start, min(sizes), max(sizes),
                                    min(steps)),
                "doublings": number_control("bandwidth: doublings of the median heuristic", 0,
                                            min(DOUBLINGS), max(DOUBLINGS), 1),
                "permutations": number_control("permutations", min(permutations, n_permutations),
                                               fewest, n_permutations, step),
            }
        )  # fmt: skip

    def _checked(self, name: str, value: Any) -> Any:
        value = super()._checked(name, value)
        if name == "n" and (self.features.value, value) not in self._sweeps:
            known = sorted({size for _, size in self._sweeps})
            raise ExplorerError(f"n: expected one of {', '.join(map(str, known))}, got {value}")
        return value

    def _refresh(self, change: Any = None) -> None:
        sizes = [size for name, size in self._sweeps if name == self.features.value]
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

    def _point(self, features: str, n: int, doublings: int, permutations: int) -> MMDPoint:
        sweep, row = self._sweeps[features, n], DOUBLINGS.index(doublings)
        values, slack = sweep.values[row, : 1 + permutations], float(sweep.slack[row])
        p_value, threshold = decide(values, self._alpha, slack)
        null = values[1:]
        excess, spread = float(values[0] - null.mean()), float(null.std(correction=0))
        return MMDPoint(
            sigma=sweep.median * 2.0**doublings,
            distance=float(values[0]),
            threshold=threshold,
            p_value=p_value,
            effect_size=excess / spread if spread > slack else 0.0,
            null=null,
        )

    def effects(self, **values: Any) -> dict[float, float]:
        """Effect size by bandwidth, for the current features, n and permutations, or others."""
        values = self._values_at(values)
        points = [self._point(**values | {"doublings": k}) for k in DOUBLINGS]
        return {point.sigma: point.effect_size for point in points}

    def _sentence(self, features: str, n: int, doublings: int, permutations: int) -> str:
        point = self._point(features, n, doublings, permutations)
        reached = round(point.p_value * (permutations + 1))
        return (
            f"{'Drift' if point.p_value <= self._alpha else 'No drift found'} in {features}, "
            f"{n} against {n}, bandwidth {point.sigma:.3g}: MMD² {point.distance:.2g}, threshold "
            f"{point.threshold:.2g}, {point.effect_size:.1f} standard deviations above what "
            f"chance gives; p = {reached}/{permutations + 1} = {point.p_value:.2g}."
        )

    def _draw(
        self, axes: list[Any], features: str, n: int, doublings: int, permutations: int
    ) -> None:
        point = self._point(features, n, doublings, permutations)
        effects = self.effects(features=features, n=n, permutations=permutations)
        draw_permutations(
            axes[0], point.null, point.distance, point.threshold,
            title=f"{permutations} random splits of {features}, p = {point.p_value:.2g}",
        )  # fmt: skip
        draw_effects(axes[1], DOUBLINGS, {"": list(effects.values())}, {"chosen": doublings},
                     log=False, xlabel="doublings of the bandwidth")  # fmt: skip
        axes[1].set_xticks(DOUBLINGS)
