"""Slide the rank of a plane through normal features, and see what each rank can find.

Both distances of `deepdrift.DIME` split one sum over the main directions: those inside the plane
and those outside. So one decomposition gives every rank at once, which makes a slider quick.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepdrift.baselines import DIME
from deepdrift.baselines.samples import as_sample
from deepdrift.errors import require
from deepdrift.evidence.calibration import conformal_threshold, required_samples
from deepdrift.lab.bench import figures
from deepdrift.lab.bench.controls import ExplorerError, choice_control, number_control
from deepdrift.lab.bench.evaluation import auroc
from deepdrift.lab.bench.explorer import Explorer
from deepdrift.lab.dime.figures import draw_rank_curves

stats = require("scipy.stats", "lab")

Array = NDArray[np.float64]
DISTANCES = ("outside", "within")
_FLOOR = 1e-10  # smallest variance inside a plane, relative to the largest, as DIME has it
_ROUNDING = 1e-6  # of float32 features: less than this share of the way to the mean is nothing


class RankSweep:
    """Distances outside and within planes of every rank, through the mean of normal features.

    With coordinates t_1, ..., t_R along the main directions, variances v_i and the squared rest e
    that lies in no direction, rank r has ``outside^2 = e + sum_{i > r} t_i^2`` and
    ``within^2 = sum_{i <= r} t_i^2 / v_i``.

    Parameters
    ----------
    fit : Tensor or array, shape (N, P), N >= 2
        Normal features.

    Attributes
    ----------
    shares : ndarray, shape (R,)
        Share of the variance that the first r directions hold, r = 1 to R.

    Examples
    --------
    >>> cross = [[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    >>> sweep = RankSweep(cross)
    >>> sweep.shares.round(9).tolist()
    [0.9, 1.0]
    >>> sweep.distances([[6.0, 2.0]])["outside"].round(9).tolist()
    [[2.0, 0.0]]
    """

    def __init__(self, fit: Any) -> None:
        fit = as_sample(fit, "fit", minimum=2, error=ExplorerError)
        self._plane = DIME(1.0).fit(fit)
        self._variances = self._plane.transform(fit).var(dim=0)
        self._variances.clamp_(min=_FLOOR * float(self._variances[0]))
        self.shares: Array = self._plane.explained_variance.cumsum(dim=0).numpy()

    def distances(self, x: Any) -> dict[str, Array]:
        """Both distances of samples ``(M, P)`` for every rank: two arrays ``(M, R)``.

        Infinite for samples that hold NaN. An outside distance that is rounding only is 0: at full
        rank no direction is left.
        """
        squares = self._plane.transform(x).square()
        rest = self._plane.residual_sum_of_squares(x)[:, None]
        # total of the directions from each one on, summed from the small ones
        beyond = squares.flip(1).cumsum(dim=1).flip(1)
        outside = torch.cat([beyond[:, 1:], torch.zeros_like(rest)], dim=1) + rest
        outside[outside < _ROUNDING**2 * (beyond[:, :1] + rest)] = 0.0
        within = (squares / self._variances).cumsum(dim=1)
        return {
            name: squared.sqrt().nan_to_num(nan=math.inf).numpy()
            for name, squared in (("outside", outside), ("within", within))
        }


def auroc_by_column(normal: Any, strange: Any) -> Array:
    """AUROC of every column of ``(N, R)`` and ``(M, R)`` distances, ties half, shape (R,).

    Examples
    --------
    >>> auroc_by_column([[1.0, 1.0], [3.0, 1.0]], [[2.0, 1.0], [4.0, 1.0]]).tolist()
    [0.75, 0.5]
    """
    n, m = len(normal), len(strange)
    ranks = stats.rankdata(np.concatenate([normal, strange]), axis=0)[n:].sum(axis=0)
    return (ranks - m * (m + 1) / 2) / (n * m)


class PlaneExplorer(Explorer):
    """Move the rank of a plane and the promised rate; watch one distance of two sets of samples.

    Left: the distance of unseen normal and of strange samples, with the conformal threshold from
    calibration samples. Right: AUROC of both distances against the rank, larger = more unusual,
    and the share of the variance, which is all that a user without strange samples can see.
    Controls: ``rank``, ``alpha``, ``distance`` (outside, within) and ``strangers``.

    Parameters
    ----------
    fit, calibration, normal : Tensor or array, shapes (N, P), (C, P), (M, P)
        Normal features: for the plane, for the threshold, and unseen.
    strange : mapping of str to Tensor or array, shapes (K, P)
        Features of named strange sets.
    rank : int
        Where the slider starts.
    alpha : float
        Promised false-alarm rate, 0.01 to 0.2.
    name : str
        What the normal samples are, in the plural.

    Raises
    ------
    ExplorerError
        Without strange samples, or with too few calibration samples for an alpha of 0.01.
    """

    _panels = (1.55, 1.0)

    def __init__(
        self,
        fit: Any,
        calibration: Any,
        normal: Any,
        strange: Mapping[str, Any],
        *,
        rank: int = 1,
        alpha: float = 0.05,
        name: str = "normal samples",
    ) -> None:
        if not strange:
            raise ExplorerError("strange: expected at least one set of samples, got none")
        if len(calibration) < required_samples(0.01):
            raise ExplorerError(
                f"calibration: the slider goes down to alpha = 0.01, which needs at least "
                f"{required_samples(0.01)} samples, got {len(calibration)}"
            )
        sweep = RankSweep(fit)
        self._name, self._shares = name, sweep.shares
        self._calibration, self._normal = sweep.distances(calibration), sweep.distances(normal)
        self._strange = {str(k): sweep.distances(x) for k, x in strange.items()}
        self._curves = {
            k: {d: auroc_by_column(self._normal[d], x[d]) for d in DISTANCES}
            for k, x in self._strange.items()
        }
        top = len(sweep.shares)
        self._start(
            {
                "rank": number_control("rank of the plane", min(rank, top), 1, top, 1),
                "alpha": number_control("promised rate alpha", alpha, 0.01, 0.2, 0.01),
                "distance": choice_control("distance", DISTANCES),
                "strangers": choice_control("strangers", list(self._strange)),
            }
        )

    def curves(self, **values: Any) -> dict[str, Array]:
        """AUROC of both distances for rank 1, 2, ... on the chosen strange set, or another."""
        strangers = self._values_at(values)["strangers"]
        return {d: curve.copy() for d, curve in self._curves[strangers].items()}

    def scores(self, **values: Any) -> tuple[Array, Array, float]:
        """Distances of the normal and the strange samples, and the threshold.

        With values: there, and nothing moves.
        """
        return self._scores(**self._values_at(values))

    def _scores(
        self, rank: int, alpha: float, distance: str, strangers: str
    ) -> tuple[Array, Array, float]:
        sets = self._normal, self._strange[strangers], self._calibration
        normal, strange, calibration = (s[distance][:, rank - 1] for s in sets)
        return normal, strange, conformal_threshold(calibration, round(alpha, 6))

    def _sentence(self, rank: int, alpha: float, distance: str, strangers: str) -> str:
        normal, strange, threshold = self._scores(rank, alpha, distance, strangers)
        estimate = auroc(normal, strange)
        if estimate.low > 0.5:
            reading = ""
        elif estimate.high < 0.5:
            reading = ", below a coin: they look more normal than normal ones"
        else:
            reading = ", no better than a coin"
        return (
            f"Rank {rank} holds {100 * self._shares[rank - 1]:.1f} % of the variance. Distance "
            f"{distance}, alpha {100 * alpha:.3g} %: alarm for "
            f"{100 * np.mean(normal > threshold):.1f} % of {len(normal)} {self._name} and "
            f"{100 * np.mean(strange > threshold):.1f} % of {len(strange)} {strangers}; "
            f"AUROC {estimate}{reading}."
        )

    def _draw(
        self, axes: list[Any], rank: int, alpha: float, distance: str, strangers: str
    ) -> None:
        normal, strange, threshold = self._scores(rank, alpha, distance, strangers)
        unit = {"outside": "activation units", "within": "standard deviations"}[distance]
        tails = [np.quantile(s, [0.0, 0.99]) for s in (normal, strange)]
        artists = figures.draw_two_histograms(
            axes[0], normal, strange, (self._name, strangers),
            title=f"Rank {rank}, {distance}: share above the threshold",
            xlabel=f"distance {distance} ({unit})", threshold=threshold,
            edges=figures.histogram_edges(*tails, np.array([threshold]), n_bins=40),
        )  # fmt: skip
        for key in ("label_a", "label_b"):  # the title says "above"; two labels fit side by side
            artists[key].set_text(artists[key].get_text().removesuffix(" above"))
        draw_rank_curves(axes[1], self._curves[strangers], self._shares, rank, distance)
