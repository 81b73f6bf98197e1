"""How many images does a model draw from? The birthday paradox, on samples alone.

Two samples of a model that draws from n images, each as often, are the same image with chance 1/n.
So k samples hold about ``k (k - 1) / (2 n)`` pairs of twins, and the twins that are counted tell n.
Neither training nor validation images are needed, only the number of images trained on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deepdrift.diffusion.inputs import (
    DiffusionError,
    check_finite,
    check_positive,
    check_whole,
)

TWIN = 0.1


@dataclass(frozen=True)
class Collisions:
    """Twins among k samples.

    Attributes
    ----------
    n_samples, twins : int
        Pairs of samples that are nearer than the radius.
    radius : float
    effective, low, high : float
        Number of images drawn from, ``k (k - 1) / (2 twins)``, infinite without twins; with a 95 %
        interval (exact Poisson; pairs that share a sample are counted as independent).
    """

    n_samples: int
    twins: int
    radius: float
    effective: float
    low: float
    high: float

    def alarm(self, n_train: int) -> bool:
        """Whether the model draws from no more than twice as many images as it was trained on.

        True only if the upper end of the interval is at most ``2 n_train``.

        Parameters
        ----------
        n_train : int
            How many images it was trained on; the images themselves are not needed.
        """
        return self.high <= 2 * check_whole(n_train, "n_train")

    def __str__(self) -> str:
        if not self.twins:
            return f"No twins among {self.n_samples} samples: drawn from {self.low:.0f} or more."
        pairs = "1 pair" if self.twins == 1 else f"{self.twins} pairs"
        return (
            f"{pairs} of twins among {self.n_samples} samples: as if drawn from "
            f"{self.effective:.0f} [{self.low:.0f}, {self.high:.0f}] images."
        )


def collisions(samples: Tensor, *, radius: float | None = None) -> Collisions:
    """Count twins among samples.

    Parameters
    ----------
    samples : Tensor, shape (k, C, H, W)
        Drawn from independent noise; k >= 20.
    radius : float, optional
        Distance below which two samples are twins. Default: a tenth of the median distance of
        two samples.

    Raises
    ------
    DiffusionError
        For too few samples, or samples that are all alike.

    Examples
    --------
    Forty samples of eight images, five of each: 8 x 10 pairs are twins.

    >>> g = torch.Generator().manual_seed(0)
    >>> samples = torch.randn(8, 1, 4, 4, generator=g).repeat(5, 1, 1, 1)
    >>> found = collisions(samples)
    >>> found.twins, found.effective
    (80, 9.75)
    >>> print(found)
    80 pairs of twins among 40 samples: as if drawn from 10 [8, 12] images.
    """
    flat = check_finite(samples, "samples").detach().cpu().double().flatten(1)
    k = len(flat)
    if k < 20:
        raise DiffusionError(
            f"samples: expected at least 20, got {k}; samples_needed(n_train) says how many tell "
            "something"
        )
    distances = torch.pdist(flat)
    if radius is None:
        middle = float(distances.median())
        if middle == 0:
            raise DiffusionError(
                "samples: more than half of all pairs are the same image; did every sample start "
                "from the same noise?"
            )
        radius = TWIN * middle
    radius = check_positive(radius, "radius")
    twins, pairs = int((distances < radius).sum()), k * (k - 1) / 2
    fewest, most = _poisson(twins)
    return Collisions(
        k,
        twins,
        float(radius),
        pairs / twins if twins else math.inf,
        pairs / most,
        pairs / fewest if twins else math.inf,
    )


def samples_needed(n_train: int, twins: int = 20) -> int:
    """Samples among which a model that copies ``n_train`` images has so many twins on average.

    Examples
    --------
    >>> samples_needed(32), samples_needed(4000)
    (37, 401)
    """
    n_train, twins = check_whole(n_train, "n_train"), check_whole(twins, "twins")
    return max(20, math.ceil(0.5 + math.sqrt(0.25 + 2 * n_train * twins)))


def _poisson(count: int) -> tuple[float, float]:
    """Exact 95 % interval of a Poisson mean (Garwood 1936)."""
    from scipy import stats

    low = float(stats.chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0
    return low, float(stats.chi2.ppf(0.975, 2 * count + 2)) / 2
